"""Check on arrival: every CPU came to secondary_start_kernel once, with what the host prepared for it.

Judges from the trace alone: EXPECT and TAKE_OVER records say what should be, LAND and REGISTER what was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from emu.finding import Finding
from emu.operation import Expect, Kind, Register, Report, Wanted
from emu.outcome import OFF, End, Outcome, outcome_words
from emu.trace import Trace

NAME = "arrival"

_ALL = 2**64 - 1
# What must equal the boot CPU's, and in which bits: not the ASID and CnP, not T0SZ, which the kernel
# switches together with TTBR0_EL1 (cpu_install_idmap, cpu_uninstall_idmap), and not IPS, which __cpu_setup()
# takes from each CPU's own ID_AA64MMFR0_EL1.PARange.
_SAME_AS_BOOT_CPU = {
    Register.TTBR1_EL1: 0x0000_FFFF_FFFF_FFFE,
    Register.TCR_EL1: _ALL & ~(0x3F | 7 << 32),
    Register.MAIR_EL1: _ALL,
    Register.SCTLR_EL1: _ALL,
}
_BOOT_MODE = {1: 0xE11, 2: 0xE12}


@dataclass(slots=True)
class _Seen:
    expect: dict[Expect, int] = field(default_factory=dict)
    landings: list[dict[Register, int]] = field(default_factory=list)
    since_on: int = 0  # landings since it was last off
    on: bool = False
    awaited: bool = False  # it is to come, and has not
    started_twice: bool = False
    landed_twice: bool = False
    outcome: Outcome | None = None
    ended_at: int = 0


def judge(case: str, trace: Trace) -> list[Finding]:
    """Return a finding for each CPU and rule that does not hold, in each boot."""
    return [
        Finding(NAME, ("after kexec: " if number else "") + message, cpus, case)
        for number, rows in enumerate(trace.boots())
        for message, cpus in _judge(trace.strings, rows)
    ]


def _judge(strings: list[str], rows: Iterator[tuple[int, ...]]) -> list[tuple[str, tuple[int, ...]]]:
    # (message, CPUs) of one boot.
    cpus: dict[int, _Seen] = {}
    boot: dict[Register, int] = {}
    current: dict[Register, int] = {}
    modes: int | None = None
    cut_off = panic = False
    for kind, size, actor, pc, pa, value in rows:
        if kind < Kind.POWER_ON:
            continue
        seen = cpus.setdefault(actor, _Seen())
        if kind == Kind.EXPECT:
            seen.expect[Expect(size)] = value
            if size == Expect.SECONDARY:
                seen.awaited = bool(value)
        elif kind == Kind.WANTED:
            seen.awaited = bool(value & Wanted.ARRIVE) or seen.awaited and value != 0
        elif kind == Kind.TAKE_OVER:
            current = boot
        elif kind == Kind.LAND:
            current = {}
            seen.landings.append(current)
            seen.since_on += 1
            seen.awaited = False
            seen.landed_twice = seen.landed_twice or seen.since_on > 1
        elif kind == Kind.POWER_OFF:
            seen.since_on, seen.on = 0, False
        elif kind == Kind.POWER_ON:
            seen.started_twice, seen.on = seen.started_twice or seen.on, True
        elif kind == Kind.REGISTER:
            current[Register(pa)] = value
        elif kind == Kind.OUTCOME:
            seen.outcome, seen.ended_at = Outcome(End(size), strings[value], pa), pc
        elif kind == Kind.REENTRY:
            seen.on = bool(size)
        elif kind == Kind.STOPPED:
            cut_off = True
        elif kind == Kind.REPORT:
            panic = panic or size in (Report.CPU_PANIC, Report.PANIC)
        elif kind == Kind.BOOT_MODE:
            modes = value
    findings = _shared(cpus)
    for cpu in sorted(cpus):
        seen = cpus[cpu]
        never_kicked = panic and seen.outcome == OFF
        if cut_off or never_kicked or seen.expect.get(Expect.FAULTY):
            seen.awaited = False  # of a faulty CPU the telemetry rule tells what became
        findings += [(message, (cpu,)) for message in _of_one(cpu, seen, boot)]
    if modes is not None:
        wanted = _BOOT_MODE[next(iter(cpus.values())).expect[Expect.ENTRY_EL]]
        if modes != wanted << 32 | wanted:
            message = (
                f"__boot_cpu_mode is {{{modes & 0xFFFFFFFF:#x}, {modes >> 32:#x}}}, not {wanted:#x} twice"
            )
            findings.append((message, ()))
    return findings


def _of_one(cpu: int, seen: _Seen, boot: dict[Register, int]) -> list[str]:
    messages = []
    if seen.awaited:
        where = f"{outcome_words(seen.outcome)}, PC {seen.ended_at:#x}" if seen.outcome else "no trace of it"
        never = "did not come again" if seen.landings else "never came"
        messages.append(f"CPU{cpu} {never} to secondary_start_kernel: {where}")
    if seen.started_twice:
        messages.append(f"CPU{cpu} was switched on while it was on")
    if seen.landed_twice:
        messages.append(f"CPU{cpu} came to secondary_start_kernel again without having been off")
    for got in seen.landings:
        messages += [m for m in _registers(cpu, got, seen.expect, boot) if m not in messages]
    return messages


def _registers(
    cpu: int, got: dict[Register, int], expect: dict[Expect, int], boot: dict[Register, int]
) -> list[str]:
    messages = []
    if got[Register.SP_EL0] != expect[Expect.TASK]:
        messages.append(
            f"CPU{cpu} has the task {got[Register.SP_EL0]:#x} in SP_EL0; its own is {expect[Expect.TASK]:#x}"
        )
    low, high = expect[Expect.STACK_LOW], expect[Expect.STACK_HIGH]
    if not low < got[Register.SP] <= high:
        messages.append(f"CPU{cpu} has SP {got[Register.SP]:#x}, outside its stack {low:#x}..{high:#x}")
    if got[Register.SP] % 16:
        messages.append(f"CPU{cpu} has SP {got[Register.SP]:#x}, not 16-byte aligned")
    if got[Register.TPIDR_EL1] != expect[Expect.PER_CPU_OFFSET]:
        wanted = expect[Expect.PER_CPU_OFFSET]
        messages.append(
            f"CPU{cpu} has the per-CPU offset {got[Register.TPIDR_EL1]:#x}; its own is {wanted:#x}"
        )
    if got[Register.VBAR_EL1] != expect[Expect.VECTORS]:
        wanted = expect[Expect.VECTORS]
        messages.append(f"CPU{cpu} has VBAR_EL1 {got[Register.VBAR_EL1]:#x}; vectors is at {wanted:#x}")
    if got[Register.EL] != 1:
        messages.append(f"CPU{cpu} is at EL{got[Register.EL]}, not EL1")
    for register, mask in _SAME_AS_BOOT_CPU.items():
        if (got[register] ^ boot[register]) & mask:
            messages.append(
                f"CPU{cpu} has {register.name} {got[register]:#x}; the boot CPU has {boot[register]:#x}"
            )
    return messages


def _shared(cpus: dict[int, _Seen]) -> list[tuple[str, tuple[int, ...]]]:
    # One task or one stack with two CPUs on it.
    found = []
    for register, what in ((Register.SP_EL0, "the task"), (Register.SP, "the stack pointer")):
        holders: dict[int, list[int]] = {}
        for cpu in sorted(cpus):
            for landing in cpus[cpu].landings[-1:]:
                holders.setdefault(landing[register], []).append(cpu)
        for value, who in holders.items():
            if len(who) > 1:
                names = ", ".join(f"CPU{cpu}" for cpu in who)
                found.append((f"{names} took {what} {value:#x}: one of it for {len(who)} CPUs", tuple(who)))
    return found
