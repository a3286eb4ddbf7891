"""The one place that makes an engine, and so the only one outside of it that knows which there is."""

from __future__ import annotations

from collections.abc import Collection

from emu.cpu.cores import Core
from emu.cpu.engine import Engine
from emu.cpu.interconnect import Interconnect
from emu.cpu.unicorn.engine import UnicornEngine
from emu.memory import Memory


def make_engine(memory: Memory, interconnect: Interconnect, cores: Collection[Core] = ()) -> Engine:
    """Return an engine that runs PEs on ``memory``.

    :param interconnect: what is outside of the PEs
    :param cores: those that its PEs will be; Armv8.0 ones need not be named
    :raises EngineError: the engine's library is not the build that is supported
    """
    return UnicornEngine(memory, interconnect, cores)
