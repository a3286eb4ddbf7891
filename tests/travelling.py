"""Helper of tests that go back in time: the debugger runs in processes of its own and sends what it saw."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from emu.debug.checkpoints import Checkpoints, with_checkpoints


def watch(debugger: Callable[[Checkpoints, Callable[[Any], None]], None]) -> list[Any]:
    """Run ``debugger(checkpoints, tell)``; return what it told, from whichever process, in order."""
    read, write = os.pipe()

    def tell(what: Any) -> None:
        os.write(write, json.dumps(what).encode() + b"\n")

    def run(checkpoints: Checkpoints) -> int:
        os.close(read)
        debugger(checkpoints, tell)
        checkpoints.close()
        return 0

    status = with_checkpoints(run)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = [json.loads(line) for line in pipe]
    assert status == 0, f"the debugger ended with status {status} after {told}"
    return told
