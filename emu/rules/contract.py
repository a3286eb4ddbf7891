"""The contract of slot_per_cpu, held where early boot ends: X19 is the logical number of its CPU.

Source: the headers of asm/lookup/ (out) and asm/slot/slot_per_cpu.S (in); nothing behind them changes X19.
"""

from __future__ import annotations

from emu.finding import PC, Finding, Word
from emu.operation import Expect, Kind, Register
from emu.trace import Trace

NAME = "contract"
WORDS = {"wrong-index": "CPU{cpu} has x19 = {got} at {pc}, not its logical number {cpu}"}


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each CPU that comes to secondary_start_kernel with another number."""
    found: list[Finding] = []
    for boot, rows in enumerate(trace.numbered_boots()):
        promised: set[int] = set()
        for number, (kind, size, cpu, pc, pa, value) in rows:
            if kind == Kind.EXPECT and size == Expect.INDEX and value:
                promised.add(cpu)
            elif kind == Kind.REGISTER and pa == Register.X19 and cpu in promised and cpu and value != cpu:
                data = {"cpu": cpu, "got": Word(value), "pc": PC(pc)}
                found.append(Finding.of(NAME, "wrong-index", (cpu,), data, (number,), boot))
    return found
