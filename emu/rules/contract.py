"""The contract of slot_per_cpu: X19 is the logical number of its CPU.

It is held where early boot ends, and where a CPU takes its slot: that must be one of the table's.

Source: the headers of asm/lookup/ (out) and asm/slot/slot_per_cpu.S (in); nothing behind them changes X19.
"""

from __future__ import annotations

from emu.finding import PC, Finding, Value, Word, each_once
from emu.operation import Expect, Kind, Register
from emu.trace import Trace

NAME = "contract"
WORDS = {
    "wrong-index": "CPU{cpu} has x19 = {got} at {pc}, not its logical number {cpu}",
    "no-slot": "CPU{cpu} takes slot {index} at {pc}; the table has slots 0..{last}",
}
_LARGE = 1 << 32  # an index that is none, but -1 or an address: told in hexadecimal
_KINDS = frozenset({Kind.EXPECT, Kind.REGISTER, Kind.SLOT})


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each CPU that takes a slot of none, or comes to C with another number."""
    found: list[Finding] = []
    for boot, rows in enumerate(trace.numbered_boots(_KINDS)):
        promised: set[int] = set()
        for number, (kind, size, cpu, pc, pa, value) in rows:
            if kind == Kind.EXPECT and size == Expect.INDEX and value:
                promised.add(cpu)
            elif kind == Kind.REGISTER and pa == Register.X19 and cpu in promised and cpu and value != cpu:
                data: dict[str, Value] = {"cpu": cpu, "got": Word(value), "pc": PC(pc)}
                found.append(Finding.of(NAME, "wrong-index", (cpu,), data, (number,), boot))
            elif kind == Kind.SLOT:
                index = pa if pa < _LARGE else Word(pa)
                data = {"cpu": cpu, "index": index, "pc": PC(pc), "last": value - 1}
                found.append(Finding.of(NAME, "no-slot", (cpu,), data, (number,), boot))
    return each_once(found)
