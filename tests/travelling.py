"""Helper of tests that go back in time: the debugger runs in processes of its own and sends what it saw."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from emu.debug.timeline import Timeline, with_timeline


def watch(debugger: Callable[[Timeline, Callable[[Any], None]], None]) -> list[Any]:
    """Run ``debugger(timeline, tell)``; return what it told, from whichever process, in order."""
    read, write = os.pipe()

    def tell(what: Any) -> None:
        os.write(write, json.dumps(what).encode() + b"\n")

    def run(timeline: Timeline) -> int:
        os.close(read)
        debugger(timeline, tell)
        timeline.close()
        return 0

    status = with_timeline(run)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = [json.loads(line) for line in pipe]
    assert status == 0, f"the debugger ended with status {status} after {told}"
    return told
