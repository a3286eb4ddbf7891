"""The one place that makes an engine, and so the only one outside of it that knows which there is."""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.engine import Engine
from emu.cpu.unicorn.engine import UnicornEngine
from emu.memory import Memory


def make_engine(memory: Memory, clock: Callable[[], int] = lambda: 0) -> Engine:
    """Return an engine that runs PEs on ``memory``.

    :param clock: the generic counter's value (CNTVCT_EL0, CNTPCT_EL0), a tick later at each call
    :raises EngineError: the engine's library is not the build that is supported
    """
    return UnicornEngine(memory, clock)
