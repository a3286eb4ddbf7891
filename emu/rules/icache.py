"""Whether a CPU comes to C with instructions in its cache that it fetched before its MMU was on.

With the MMU off it fetches from the PoC, by itself and ahead of what it executes. The kernel patches its text
at run time (alternatives, static keys) and cleans it to the PoU alone, so these may be old instructions. They
go with IC IALLU, which a DSB completes and an ISB makes fetches follow (Arm DDI 0487 B2.4.4 and D7.5;
Linux v6.12 arch/arm64/include/asm/assembler.h, set_sctlr). IC IVAU is not counted: it takes out one line.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.finding import Finding
from emu.operation import Kind
from emu.trace import Trace

NAME = "icache"
SEES = "operations"
_COMES = "CPU{cpu} has turned its MMU on at {at} and comes to secondary_start_kernel "
_WHY = (
    ": it may execute instructions that it fetched before, from the PoC, although they have been patched and "
    "cleaned to the PoU since (Arm DDI 0487 B2.4.4)"
)
WORDS = {
    "not-invalidated": _COMES + "without an IC IALLU behind that" + _WHY,
    "not-completed": _COMES + "without a DSB behind its IC IALLU" + _WHY,
    "not-synchronised": _COMES + "without an ISB behind the DSB that completes its IC IALLU" + _WHY,
}
FIX = dict.fromkeys(
    WORDS,
    "IC IALLU, DSB NSH, ISB behind the write of SCTLR_ELx at {at}, before CPU{cpu} executes what may have "
    "been patched",
)
_IC_ALL = (0xD508_751F, 0xD508_711F)  # IC IALLU, IALLUIS
_M = 1
_DSB, _ISB, _OF_ALL = 4, 6, 3  # op2 of barriers; CRm[1:0] of a DSB that is not of loads or stores alone
_SYNCHRONISES = (Kind.EXCEPTION, Kind.EL)  # contexts, as an ISB does


@dataclass(slots=True)
class _Cpu:
    # What is still to be done, and the MSR that made it due: PC and record.
    is_on: bool = False
    missing: str = ""
    pc: int = 0
    record: int = 0


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each landing of a CPU whose instruction cache may be old."""
    cpus: dict[int, _Cpu] = {}
    found = []
    for boot, rows in enumerate(trace.numbered_boots()):
        for number, (kind, _size, cpu, pc, _pa, value) in rows:
            if kind == Kind.POWER_ON:
                cpus[cpu] = _Cpu()
            elif kind == Kind.MMU:
                _written(cpus.setdefault(cpu, _Cpu()), value, pc, number)
            elif cpu not in cpus or not cpus[cpu].missing:
                continue
            elif kind == Kind.LAND:
                state = cpus[cpu]
                data = {"cpu": cpu, "at": trace.place(state.pc)}
                found.append(Finding.of(NAME, state.missing, (cpu,), data, (state.record, number), boot))
            else:
                _follow(cpus[cpu], kind, value)
    return found


def _written(cpu: _Cpu, sctlr: int, pc: int, number: int) -> None:
    # SCTLR_ELx of the current level has been written.
    if not sctlr & _M:
        cpu.is_on, cpu.missing = False, ""
    elif not cpu.is_on:
        cpu.is_on, cpu.missing, cpu.pc, cpu.record = True, "not-invalidated", pc, number


def _follow(cpu: _Cpu, kind: int, value: int) -> None:
    # An operation or an event between that write and the landing.
    barrier = value >> 5 & 7 if kind == Kind.BARRIER else -1
    if kind == Kind.CACHE and value in _IC_ALL:
        cpu.missing = "not-completed"
    elif cpu.missing == "not-completed" and barrier == _DSB and value >> 8 & 3 == _OF_ALL:
        cpu.missing = "not-synchronised"
    elif cpu.missing == "not-synchronised" and (barrier == _ISB or kind in _SYNCHRONISES):
        cpu.missing = ""
