"""What the engine does by itself: loops in Unicorn with nothing of ours around them, for comparison."""

from __future__ import annotations

import struct
import time
from array import array
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from unicorn import arm64_const as regs
from unicorn import unicorn_const as constants

from emu.arch.boot import IMAGE_PA
from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.fuzz.questions import random_mpidrs
from emu.subject.fragment import load_source

_TABLE_PA, _QUESTIONS_PA, _ANSWERS_PA = IMAGE_PA + 0x2_0000, IMAGE_PA + 0x10_0000, IMAGE_PA + 0x20_0000
_LOOKUP = Path(__file__).with_name("bare_lookup.S")
QUESTIONS = 4096
# ldr x0, [x1]; sub x2, x2, #1; cbnz x2, .-8; hvc #0
_LOADS = struct.pack("<4I", 0xF940_0020, 0xD100_0442, 0xB5FF_FFC2, 0xD400_0002)
_LOADS_COUNT, _ENTRIES_COUNT = 200_000, 60_000


def _engine() -> Any:
    unicorn: Any = import_module("unicorn")  # it has no hints
    engine = unicorn.Uc(constants.UC_ARCH_ARM64, constants.UC_MODE_ARM)
    engine.ctl_set_cpu_model(regs.UC_CPU_ARM64_A72)
    engine.mem_map(IMAGE_PA, 4 << 20)
    engine.hook_add(constants.UC_HOOK_INTR, lambda engine, _number, _data: engine.emu_stop())
    return engine


def hooked_loads() -> dict[str, Any]:
    """Time loads that a Python callback sees."""
    engine = _engine()
    engine.mem_write(IMAGE_PA, _LOADS)
    engine.hook_add(constants.UC_HOOK_MEM_READ, lambda *_: None)
    engine.reg_write(regs.UC_ARM64_REG_X1, _TABLE_PA)
    engine.reg_write(regs.UC_ARM64_REG_X2, _LOADS_COUNT)
    start = time.process_time()
    engine.emu_start(IMAGE_PA, 0)
    return {"loads": _LOADS_COUNT, "seconds": time.process_time() - start}


def entries() -> dict[str, Any]:
    """Time engine entries that run one instruction each."""
    engine = _engine()
    engine.mem_write(IMAGE_PA, _LOADS)
    engine.reg_write(regs.UC_ARM64_REG_X1, _TABLE_PA)
    engine.reg_write(regs.UC_ARM64_REG_X2, _ENTRIES_COUNT)
    start = time.process_time()
    for _ in range(_ENTRIES_COUNT):
        engine.emu_start(engine.reg_read(regs.UC_ARM64_REG_PC) or IMAGE_PA, 0, count=1)
    return {"instructions": _ENTRIES_COUNT, "seconds": time.process_time() - start}


class BareLookup:
    """The least loop that looks MPIDRs up: no checks, one fixed table.

    :ivar table: hwid (u64) of each entry
    :ivar mpidrs: who asks
    """

    def __init__(self, entries: int, matches: int) -> None:
        rng = Random(1)
        subject = load_source(_LOOKUP, nr_cpus=entries, defines={"TABLE": _TABLE_PA})
        self._engine = _engine()
        self._engine.mem_write(IMAGE_PA, subject.segments[0].data)
        self.table = [rng.getrandbits(40) & MPIDR_HWID_BITMASK for _ in range(entries)]
        self._engine.mem_write(_TABLE_PA, struct.pack(f"<{entries}Q", *self.table))
        self.mpidrs = random_mpidrs(rng, self.table, QUESTIONS, matches)
        self._engine.mem_write(_QUESTIONS_PA, array("Q", self.mpidrs).tobytes())
        self._check()

    def batch(self) -> int:
        """Ask for every MPIDR in one engine entry; return how many."""
        self._ask(_QUESTIONS_PA, len(self.mpidrs))
        return len(self.mpidrs)

    def one_by_one(self) -> int:
        """Ask for some of them with an engine entry each; return how many."""
        count = len(self.mpidrs) // 4
        for number in range(count):
            self._ask(_QUESTIONS_PA + 8 * number, 1)
            self._engine.reg_read(regs.UC_ARM64_REG_X19)
        return count

    def _ask(self, questions_pa: int, count: int) -> None:
        self._engine.reg_write(regs.UC_ARM64_REG_X20, questions_pa)
        self._engine.reg_write(regs.UC_ARM64_REG_X21, _ANSWERS_PA)
        self._engine.reg_write(regs.UC_ARM64_REG_X22, count)
        self._engine.emu_start(IMAGE_PA, 0)

    def _check(self) -> None:
        self.batch()
        data = self._engine.mem_read(_ANSWERS_PA, 8 * len(self.mpidrs))
        index = {hwid: number for number, hwid in enumerate(self.table)}
        for mpidr, answer in zip(self.mpidrs, struct.unpack(f"<{len(self.mpidrs)}Q", data), strict=True):
            assert answer == index.get(mpidr & MPIDR_HWID_BITMASK, len(self.table)), hex(mpidr)
