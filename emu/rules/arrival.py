"""Check on arrival: every CPU came to secondary_start_kernel once, with what the host prepared for it.

Judges from the trace alone: EXPECT and TAKE_OVER records say what should be, LAND and REGISTER what was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from emu.finding import PC, VA, Finding, Value, Word, each_once, end_place
from emu.operation import Expect, Kind, Register, Report, Wanted, WrittenAtEl2
from emu.outcome import End, Outcome
from emu.trace import Row, Trace

NAME = "arrival"
WORDS = {
    "shared-task": "{cpus} took the task {value}: one of it for {count} CPUs",
    "shared-stack": "{cpus} took the stack pointer {value}: one of it for {count} CPUs",
    "never-came": "CPU{cpu} never came to secondary_start_kernel: {outcome}, {pc}",
    "never-came-nor-ended": "CPU{cpu} never came to secondary_start_kernel: no trace of it",
    "boot-cpu": "CPU{cpu}, the boot CPU, does not come out of its own set-up code: {outcome}, {pc}",
    "not-again": "CPU{cpu} did not come again to secondary_start_kernel: {outcome}, {pc}",
    "not-again-nor-ended": "CPU{cpu} did not come again to secondary_start_kernel: no trace of it",
    "unhandled": "CPU{cpu} takes an exception that no code handles, ESR {esr}, ELR {pc}: {outcome}",
    "brk": "CPU{cpu} executes BRK #{number}, ESR {esr}, ELR {pc}",
    "started-twice": "CPU{cpu} was switched on while it was on",
    "landed-twice": "CPU{cpu} came to secondary_start_kernel again without having been off",
    "wrong-task": "CPU{cpu} has the task {got} in SP_EL0; its own is {own}",
    "outside-stack": "CPU{cpu} has SP {got}, outside its stack {low}..{high}",
    "misaligned-stack": "CPU{cpu} has SP {got}, not 16-byte aligned",
    "wrong-per-cpu-offset": "CPU{cpu} has the per-CPU offset {got}; its own is {own}",
    "wrong-vectors": "CPU{cpu} has VBAR_EL1 {got}; vectors is at {own}",
    "wrong-el": "CPU{cpu} is at EL{got}, not EL{own}",
    "unlike-boot-cpu": "CPU{cpu} has {register} {got}; the boot CPU has {own}",
    "other-fields": "CPU{cpu} has {register} {got}, as the boot CPU has; its fields are others with "
    "HCR_EL2.E2H, which one of the two has set",
    "left-out": "CPU{cpu} comes without having written {register} at EL2, where it is UNKNOWN at reset; the "
    "boot CPU has written it",
    "unset": "CPU{cpu} has left EL2 without having written {register}, which is UNKNOWN at reset",
    "wrong-virtual-id": "CPU{cpu} has VMPIDR_EL2 {got}, which EL1 takes for its MPIDR; it is {own}",
    "wrong-virtual-midr": "CPU{cpu} has VPIDR_EL2 {got}, which EL1 takes for its MIDR; it is {own}",
    "wrong-boot-mode": "__boot_cpu_mode is {{{first}, {second}}}, not {own} twice",
}
FIX = {
    "shared-task": "a slot for each CPU, or no kick before the CPU kicked last has taken what is in the one "
    "slot"
}

_ALL = 2**64 - 1
# EnIA, EnIB, EnDA and EnDB, which the boot CPU sets when it has looked at all features.
_POINTER_AUTHENTICATION = 1 << 31 | 1 << 30 | 1 << 27 | 1 << 13
_EC_BRK = 0x3C
_E2H = 1 << 34
_CNTHCTL_BOTH, _EL0VCTEN = 3 << 10 | 3, 1 << 1
_CPTR_RES1 = 0x32FF
# What must equal the boot CPU's, and in which bits: not the ASID and CnP, not T0SZ, which the kernel
# switches together with TTBR0_EL1 (cpu_install_idmap, cpu_uninstall_idmap), and not IPS, which __cpu_setup()
# takes from each CPU's own ID_AA64MMFR0_EL1.PARange.
_SAME_AS_BOOT_CPU = {
    Register.TTBR1_EL1: 0x0000_FFFF_FFFF_FFFE,
    Register.TCR_EL1: _ALL & ~(0x3F | 7 << 32),
    Register.MAIR_EL1: _ALL,
    Register.SCTLR_EL1: _ALL & ~_POINTER_AUTHENTICATION,
}
# The kernel takes the boot CPU's CLIDR_EL1 for all (Linux v6.12 arch/arm64/kernel/cacheinfo.c), and keeps its
# CTR_EL0 (cpufeature.c, ftr_ctr): CPUs may differ in L1Ip alone. It keeps no CCSIDR_EL1.
_CACHES = {Register.CLIDR_EL1: _ALL, Register.CTR_EL0: _ALL & ~(3 << 14)}
# Likewise of what was entered at EL2: all that init_el2 sets (Linux v6.12, asm/el2_setup.h).
_SET_AT_EL2 = (
    Register.HCR_EL2,
    Register.CPTR_EL2,
    Register.MDCR_EL2,
    Register.CNTHCTL_EL2,
    Register.CNTVOFF_EL2,
    Register.VTTBR_EL2,
    Register.HSTR_EL2,
    Register.SCTLR_EL2,
    Register.VBAR_EL2,
)
# HCR_EL2 is compared.
_SET_ALWAYS = WrittenAtEl2.SCTLR_EL1
_BOOT_MODE = {1: 0xE11, 2: 0xE12}
_KINDS = frozenset(
    {
        Kind.EXPECT,
        Kind.WANTED,
        Kind.TAKE_OVER,
        Kind.EXCEPTION,
        Kind.LAND,
        Kind.POWER_OFF,
        Kind.POWER_ON,
        Kind.REGISTER,
        Kind.OUTCOME,
        Kind.REENTRY,
        Kind.STOPPED,
        Kind.REPORT,
        Kind.BOOT_MODE,
    }
)


@dataclass(slots=True)
class _Landing:
    record: int = -1
    registers: dict[Register, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Seen:
    expect: dict[Expect, int] = field(default_factory=dict)
    landings: list[_Landing] = field(default_factory=list)
    since_on: int = 0  # landings since it was last off
    on: bool = False
    awaited: bool = False  # it is to come, and has not
    brks: dict[tuple[int, int], int] = field(default_factory=dict)  # PC and ESR to the number of the record
    raised: tuple[int, int] = (0, 0)  # PC and ESR of its last exception
    started_twice: int = -1  # number of the record
    landed_twice: int = -1
    outcome: Outcome | None = None
    ended: tuple[int, int] = (0, -1)  # PC, and number of the record


@dataclass(slots=True)
class _Boot:
    number: int
    cpus: dict[int, _Seen] = field(default_factory=dict)
    boot_cpu: dict[Register, int] = field(default_factory=dict)
    modes: tuple[int, int] | None = None  # __boot_cpu_mode, and number of the record
    cut_off: bool = False
    panic: bool = False

    def finding(
        self, what: str, cpus: tuple[int, ...], record: int = -1, data: dict[str, Value] | None = None
    ) -> Finding:
        named: dict[str, Value] = {"cpu": cpus[0], **(data or {})} if len(cpus) == 1 else data or {}
        return Finding.of(NAME, what, cpus, named, (record,) if record >= 0 else (), self.number)


def judge(trace: Trace) -> list[Finding]:
    """Return a finding for each CPU and rule that does not hold, in each boot."""
    return [
        finding
        for number, rows in enumerate(trace.numbered_boots(_KINDS))
        for finding in _judge(_read(trace, number, rows))
    ]


def _read(trace: Trace, number: int, rows: Iterator[tuple[int, Row]]) -> _Boot:
    # What happened in one boot.
    boot = _Boot(number)
    current = _Landing()
    for index, (kind, size, actor, pc, pa, value) in rows:
        if kind < Kind.POWER_ON:
            continue
        seen = boot.cpus.setdefault(actor, _Seen())
        if kind == Kind.EXPECT:
            seen.expect[Expect(size)] = value
            if size == Expect.SECONDARY:
                seen.awaited = bool(value)
        elif kind == Kind.WANTED:
            seen.awaited = bool(value & Wanted.ARRIVE) or seen.awaited and value != 0
        elif kind == Kind.TAKE_OVER:
            current = _Landing(index, boot.boot_cpu)
        elif kind == Kind.EXCEPTION:
            seen.raised = (pc, value)
            if value >> 26 == _EC_BRK and not seen.since_on:
                seen.brks.setdefault((pc, value), index)
        elif kind == Kind.LAND:
            current = _Landing(index)
            seen.landings.append(current)
            seen.since_on += 1
            seen.awaited = False
            if seen.since_on > 1 and seen.landed_twice < 0:
                seen.landed_twice = index
        elif kind == Kind.POWER_OFF:
            seen.since_on, seen.on = 0, False
        elif kind == Kind.POWER_ON:
            if seen.on and seen.started_twice < 0:
                seen.started_twice = index
            seen.on = True
        elif kind == Kind.REGISTER:
            current.registers[Register(pa)] = value
        elif kind == Kind.OUTCOME:
            seen.outcome, seen.ended = trace.outcome(size, value, pa), (pc, index)
        elif kind == Kind.REENTRY:
            seen.on = bool(size)
        elif kind == Kind.STOPPED:
            boot.cut_off = True
        elif kind == Kind.REPORT:
            boot.panic = boot.panic or size in (Report.CPU_PANIC, Report.PANIC)
        elif kind == Kind.BOOT_MODE:
            boot.modes = (value, index)
    return boot


def _judge(boot: _Boot) -> Iterator[Finding]:
    yield from _shared(boot)
    for cpu in sorted(boot.cpus):
        seen = boot.cpus[cpu]
        # The boot CPU goes from one to the next; in a spin table the others sleep from the start.
        waits = seen.outcome is not None and seen.outcome.end in (End.OFF, End.ASLEEP_WFE)
        never_kicked = boot.panic and waits and not seen.landings
        if boot.cut_off or never_kicked or seen.expect.get(Expect.FAULTY):
            seen.awaited = False  # of a faulty CPU the telemetry rule tells what became
        yield from _of_one(boot, cpu, seen)
    if boot.modes is not None:
        value, record = boot.modes
        own = _BOOT_MODE[next(iter(boot.cpus.values())).expect[Expect.ENTRY_EL]]
        if value != own << 32 | own:
            modes: dict[str, Value] = {"first": Word(value & 0xFFFFFFFF), "second": Word(value >> 32)}
            yield boot.finding("wrong-boot-mode", (), record, {**modes, "own": Word(own)})


def _of_one(boot: _Boot, cpu: int, seen: _Seen) -> Iterator[Finding]:
    if seen.awaited:
        what = "not-again" if seen.landings else "never-came"
        if seen.outcome is None or seen.outcome.end is End.OTHER:
            yield boot.finding(f"{what}-nor-ended", (cpu,))
        else:
            pc, record = seen.ended
            if cpu == 0 and not boot.boot_cpu:  # it is awaited only where the host cannot play it
                what = "boot-cpu"
            yield boot.finding(what, (cpu,), record, {"outcome": seen.outcome, "pc": end_place(pc)})
    elif _dies(seen):
        yield boot.finding("unhandled", (cpu,), seen.ended[1], _death(seen))
    for (at, esr), record in seen.brks.items():
        data: dict[str, Value] = {"number": Word(esr & 0xFFFF), "esr": Word(esr), "pc": PC(at)}
        yield boot.finding("brk", (cpu,), record, data)
    if seen.started_twice >= 0:
        yield boot.finding("started-twice", (cpu,), seen.started_twice)
    if seen.landed_twice >= 0:
        yield boot.finding("landed-twice", (cpu,), seen.landed_twice)
    yield from each_once(
        finding for landing in seen.landings for finding in _registers(boot, cpu, landing, seen.expect)
    )


def _dies(seen: _Seen) -> bool:
    # Of an exception, and nothing else tells of it.
    if seen.outcome is None or seen.brks or seen.expect.get(Expect.FAULTY):
        return False
    return seen.outcome.end in (End.VECTOR_WITHOUT_CODE, End.VECTOR_RAISES)


def _death(seen: _Seen) -> dict[str, Value]:
    (at, esr), outcome = seen.raised, seen.outcome
    assert outcome is not None, "it dies"
    return {"esr": Word(esr), "pc": PC(at), "outcome": outcome}


def _registers(boot: _Boot, cpu: int, landing: _Landing, expect: dict[Expect, int]) -> Iterator[Finding]:
    got, record = landing.registers, landing.record

    def wrong(what: str, **data: Value) -> Finding:
        return boot.finding(what, (cpu,), record, data)

    sp = VA(got[Register.SP])
    if Expect.TASK in expect:  # a kernel that boots by itself may not say
        low, high = VA(expect[Expect.STACK_LOW]), VA(expect[Expect.STACK_HIGH])
        if got[Register.SP_EL0] != expect[Expect.TASK]:
            yield wrong("wrong-task", got=VA(got[Register.SP_EL0]), own=VA(expect[Expect.TASK]))
        if not low < sp <= high:
            yield wrong("outside-stack", got=sp, low=low, high=high)
    if sp % 16:
        yield wrong("misaligned-stack", got=sp)
    per_cpu = Register.TPIDR_EL2 if got[Register.EL] == 2 else Register.TPIDR_EL1
    for register, what, wanted in (
        (per_cpu, "wrong-per-cpu-offset", Expect.PER_CPU_OFFSET),
        (Register.VBAR_EL1, "wrong-vectors", Expect.VECTORS),
    ):
        if got[register] != expect.get(wanted, got[register]):
            yield wrong(what, got=VA(got[register]), own=VA(expect[wanted]))
    mpidr, virtual = got[Register.MPIDR_EL1], got.get(Register.VMPIDR_EL2)
    if virtual is not None and virtual != mpidr:
        yield wrong("wrong-virtual-id", got=Word(virtual), own=Word(mpidr))
    if Register.MIDR_EL1 in got:
        midr, virtual = got[Register.MIDR_EL1], got[Register.VPIDR_EL2]
        yield wrong("wrong-virtual-midr", got=Word(virtual), own=Word(midr))
    el = boot.boot_cpu.get(Register.EL, 1)  # 2 for a kernel that is a hypervisor's host (VHE)
    if got[Register.EL] != el:
        yield wrong("wrong-el", got=got[Register.EL], own=el)
    if Register.WRITTEN_AT_EL2 in got:  # it was entered at EL2
        written = WrittenAtEl2(got[Register.WRITTEN_AT_EL2])
        by_boot_cpu = WrittenAtEl2(boot.boot_cpu.get(Register.WRITTEN_AT_EL2, written))
        for each in (by_boot_cpu | _SET_ALWAYS) & ~written:
            yield wrong("left-out" if each in by_boot_cpu else "unset", register=str(each.name))
    same = {**_SAME_AS_BOOT_CPU, **_CACHES, **dict.fromkeys(_SET_AT_EL2, _ALL)}
    same[Register.SCTLR_EL2] &= ~_POINTER_AUTHENTICATION
    for register, mask in same.items():
        if register not in got or register not in boot.boot_cpu:
            continue  # it was entered at EL1, or an emu before these has made the trace
        if (_comparable(register, got) ^ _comparable(register, boot.boot_cpu)) & mask:
            own = Word(boot.boot_cpu[register])
            what = "other-fields" if own == got[register] else "unlike-boot-cpu"
            yield wrong(what, register=register.name, got=Word(got[register]), own=own)


def _comparable(register: Register, of: Mapping[Register, int]) -> int:
    # The value, in the layout without HCR_EL2.E2H where init_el2 writes one that follows that bit (Linux
    # v6.12 asm/el2_setup.h): a CPU whose E2H is RES1 has it from the start, others set it later, or never.
    value = of[register]
    if not of.get(Register.HCR_EL2, 0) & _E2H:
        return value
    if register is Register.CNTHCTL_EL2:
        # EL1PCTEN and EL1PTEN; 1:0 are these too where E2H was set later. With it they are what EL0 may do,
        # which the timer's driver sets on each CPU: on a boot CPU that has come to smp_init() by itself it
        # has left EL0VCTEN alone of both (arch_counter_set_user_access()).
        both = 3 if value & _CNTHCTL_BOTH == _EL0VCTEN else (value >> 10 | value) & 3
        return value & ~_CNTHCTL_BOTH | both
    if register is Register.CPTR_EL2:  # FPEN and ZEN
        return (
            _CPTR_RES1 | (value >> 20 & 3 != 3) << 10 | (value >> 16 & 3 != 3) << 8 | (value >> 28 & 1) << 20
        )
    return value


def _shared(boot: _Boot) -> Iterator[Finding]:
    # One task or one stack with two CPUs on it.
    for register, what in ((Register.SP_EL0, "shared-task"), (Register.SP, "shared-stack")):
        holders: dict[int, list[tuple[int, int]]] = {}
        for cpu in sorted(boot.cpus):
            for landing in boot.cpus[cpu].landings[-1:]:
                holders.setdefault(landing.registers[register], []).append((cpu, landing.record))
        for value, found in holders.items():
            if len(found) > 1:
                cpus, records = (tuple(column) for column in zip(*found, strict=True))
                data: dict[str, Value] = {"value": VA(value), "count": len(found)}
                yield Finding.of(NAME, what, cpus, data, records, boot.number)
