"""Look-ups per second in one process: emu's search, the bare loop inside the guest, one engine entry each.

``python -m bench.lookup_rates ENTRIES MATCHES`` prints one object. The three take turns, so that what else
the machine does meets all of them.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from array import array
from pathlib import Path
from random import Random
from typing import Any

import unicorn as uc
from unicorn import arm64_const as regs

from emu.arch.boot import IMAGE_PA
from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.fuzz.questions import random_mpidrs
from emu.fuzz.rig import UnderTest
from emu.fuzz.search import BATCH, Search
from emu.subject.fragment import load_source

_TABLE_PA, _QUESTIONS_PA, _ANSWERS_PA = IMAGE_PA + 0x2_0000, IMAGE_PA + 0x10_0000, IMAGE_PA + 0x20_0000
_TURNS = 3
_TEXT = Path(__file__).with_name("bare_lookup.S")


class Bare:
    """The loop by itself in Unicorn: no checks, one fixed table."""

    def __init__(self, entries: int, matches: int) -> None:
        rng = Random(1)
        subject = load_source(_TEXT, nr_cpus=entries, defines={"TABLE": _TABLE_PA})
        self._engine = uc.Uc(uc.UC_ARCH_ARM64, uc.UC_MODE_ARM)
        self._engine.ctl_set_cpu_model(regs.UC_CPU_ARM64_A72)
        self._engine.mem_map(IMAGE_PA, 4 << 20)
        self._engine.hook_add(uc.UC_HOOK_INTR, lambda engine, _number, _data: engine.emu_stop())
        self._engine.mem_write(IMAGE_PA, subject.segments[0].data)
        self.table = [rng.getrandbits(40) & MPIDR_HWID_BITMASK for _ in range(entries)]
        self._engine.mem_write(_TABLE_PA, struct.pack(f"<{entries}Q", *self.table))
        self.mpidrs = random_mpidrs(rng, self.table, BATCH, matches)
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


def measure(entries: int, matches: int) -> dict[str, Any]:
    """Return cases per second of CPU time of each of the three, the best of so many turns."""
    under_test = UnderTest("rfc")
    rig = under_test.at(entries)
    bare = Bare(entries, matches)
    cases = max(20 * BATCH * 256 // entries, BATCH)
    rates: dict[str, float] = {}

    def note(name: str, count: int, start: float) -> None:
        rates[name] = max(rates.get(name, 0.0), count / (time.process_time() - start))

    rig.wrong_of([None] * entries, [1 << 31])  # translated, placed, warm
    for turn in range(_TURNS):
        search = Search(under_test)
        start = time.process_time()
        for _ in search.random([rig], cases, turn + 1, matches):
            pass
        note("emu", search.cases, start)
        start = time.process_time()
        note("bare", sum(bare.batch() for _ in range(max(cases // BATCH // 2, 1))), start)
        start = time.process_time()
        note("one_by_one", bare.one_by_one(), start)
    return rates


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
