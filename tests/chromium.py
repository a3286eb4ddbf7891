"""Headless Chromium, driven over its debugging pipe: pages of this machine, opened, asked and pictured.

:source: Chrome DevTools Protocol; --remote-debugging-pipe: messages of JSON, each with a NUL behind it, to
    file descriptor 3 and from file descriptor 4
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

COMMAND = "chromium"
_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
# The shell moves the pipes to where Chromium wants them, whatever their numbers are.
_SHELL = 'exec "$0" "$@" 3<&"$EMU_FROM" 4>&"$EMU_TO"'


class Page:
    """One page of a browser."""

    def __init__(self, folder: Path, width: int = 1600, height: int = 900) -> None:
        theirs, self._to = os.pipe()
        self._from, back = os.pipe()
        words = [*_OPTIONS, f"--user-data-dir={folder}"]
        environment = {**os.environ, "EMU_FROM": str(theirs), "EMU_TO": str(back)}
        self._process = subprocess.Popen(
            ["bash", "-c", _SHELL, COMMAND, *words],
            pass_fds=(theirs, back),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(back)
        self._number, self._kept, self._session = 0, b"", ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command; return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> Any:
        while b"\0" not in self._kept:
            data = os.read(self._from, 1 << 16)
            assert data, f"{COMMAND} has ended"
            self._kept += data
        message, _, self._kept = self._kept.partition(b"\0")
        return json.loads(message)

    def evaluate(self, script: str) -> Any:
        """Return what a script, or the promise that it gives, comes to."""
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Begin to load a page."""
        self.ask("Page.navigate", url=url)

    def wait_for(self, script: str) -> None:
        """Look every 0.1 s, at most 600 times, until the script gives something true."""
        pause = "await new Promise(then => setTimeout(then, 100))"
        until = f"for (let look = 0; look < 600 && !({script}); look++) {pause};"
        assert self.evaluate(f"(async () => {{ {until} return !!({script}); }})()"), script

    def picture(self) -> bytes:
        """Return what is seen, as PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot")["data"])

    def close(self) -> None:
        """End the browser."""
        os.close(self._to)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback interface; gives the URL of its root."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
