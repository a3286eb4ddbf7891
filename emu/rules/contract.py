"""The contract of slot_per_cpu, held where early boot ends: X19 is the logical number of its CPU.

Source: the headers of asm/lookup/ (out) and asm/slot/slot_per_cpu.S (in); nothing behind them changes X19.
"""

from __future__ import annotations

from emu.finding import Finding
from emu.operation import Expect, Kind, Register
from emu.trace import Trace

NAME = "contract"


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each CPU that comes to secondary_start_kernel with another number."""
    found: list[Finding] = []
    for rows in trace.boots():
        promised: set[int] = set()
        for kind, size, cpu, pc, pa, value in rows:
            if kind == Kind.EXPECT and size == Expect.INDEX and value:
                promised.add(cpu)
            elif kind == Kind.REGISTER and pa == Register.X19 and cpu in promised and cpu and value != cpu:
                message = f"CPU{cpu} has x19 = {value:#x} at PC {pc:#x}, not its logical number {cpu}"
                found.append(Finding(NAME, message, (cpu,), case))
    return found
