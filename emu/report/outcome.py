"""What a run came to, as plain data: the form that every report starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from emu.arch.mpidr import INVALID_HWID, hwid
from emu.finding import Verdict
from emu.host.build import Boot
from emu.machine.actor import end_pc
from emu.operation import Kind, Mask, Register
from emu.outcome import HOLE, OFF, Outcome
from emu.report.disassembly import disassemble
from emu.report.json_form import finding_json, outcome_json, verdict_word
from emu.report.words import outcome_words


@dataclass(frozen=True, slots=True)
class CpuOutcome:
    """One CPU: ``task`` is SP_EL0 (VA) as it landed, or None; ``hwid`` None is a number without a CPU.

    ``at`` names the instruction at which guest code ended, or nothing when it ended in a host task.
    """

    cpu: int
    hwid: int | None
    outcome: Outcome
    at: str
    landed: int
    task: int | None
    counters: dict[str, int]


def cpu_outcomes(boot: Boot) -> list[CpuOutcome]:
    """Return the CPUs by logical number."""
    tasks: dict[int, int] = {}
    for _, (kind, _size, cpu, _pc, pa, value) in boot.machine.trace.numbered_boots()[-1]:
        if kind == Kind.REGISTER and pa == Register.SP_EL0:
            tasks[cpu] = value
    found = []
    machine = boot.machine
    for cpu, actor in enumerate(machine.actors):
        at = "" if actor.task is not None or actor.outcome == OFF else _place(boot, cpu)
        task = tasks.get(cpu) if actor.landings else None
        hole = actor.pe.mpidr == INVALID_HWID
        number = None if hole else hwid(actor.pe.mpidr)
        outcome = HOLE if hole else machine.outcome(cpu)
        counters = actor.pe.counters.as_dict()
        found.append(CpuOutcome(cpu, number, outcome, at, actor.landings, task, counters))
    return found


def _place(boot: Boot, cpu: int) -> str:
    # symbol+offset: instruction; of a sleeper the WFE, which its PC is past.
    subject, actor = boot.guest.subject, boot.machine.actors[cpu]
    pc = end_pc(actor)
    va = pc if pc >> 63 else (pc + subject.va_offset) & (2**64 - 1)
    pa = boot.guest.pa_of(va)
    where = subject.symbols.describe_pc(pc, subject.va_offset)
    if not boot.machine.memory.contains(pa, 4):
        return where
    return f"{where}: {disassemble(boot.machine.memory.read(pa, 4), va)}"


@dataclass(frozen=True, slots=True)
class Reentry:
    """The boot after kexec: what boots, and ``cpu``, the number that its boot CPU had before."""

    subject: str
    cpu: int
    hwid: int


def reentry(boot: Boot) -> Reentry | None:
    """Return what booted after the first boot, or None."""
    trace, subject = boot.machine.trace, ""
    for _, (kind, _size, cpu, _pc, _pa, value) in trace.numbered():
        if kind == Kind.NEXT_BOOT:
            subject = trace.strings[value]
        elif kind == Kind.REENTRY and cpu == 0:
            return Reentry(subject, value, hwid(boot.machine.actors[0].pe.mpidr))
    return None


def dmesg(boot: Boot) -> list[tuple[int, str]]:
    """Return the log: (simulated ns, line)."""
    trace = boot.machine.trace
    rows = (row for _, row in trace.numbered())
    return [(pa, trace.strings[value]) for kind, _size, _cpu, _pc, pa, value in rows if kind == Kind.LOG]


_MASKS = {
    "possible": Mask.POSSIBLE,
    "present": Mask.PRESENT,
    "enabled": Mask.ENABLED,
    "online": Mask.ONLINE,
}


def masks(boot: Boot) -> dict[str, list[int]]:
    """Return the CPUs of each of the kernel's masks after the last step of CPU hotplug, if there was one."""
    last: dict[int, int] = {}
    for _, (kind, size, cpu, _pc, _pa, _value) in boot.machine.trace.numbered_boots()[-1]:
        if kind == Kind.MASKS:
            last[cpu] = size
    if not last:
        return {}
    return {name: [cpu for cpu in sorted(last) if last[cpu] & bit] for name, bit in _MASKS.items()}


def verdict_name(boot: Boot, verdict: Verdict) -> str:
    """Return "pass", "fail", or "untestable" when the run was cut off without a finding."""
    return verdict_word(verdict.findings, stopped=bool(boot.machine.stopped))


def as_json(boot: Boot, verdict: Verdict) -> dict[str, Any]:
    """Return the object that ``--json`` prints. VAs are hexadecimal strings: they exceed 2**53."""
    cpus = cpu_outcomes(boot)
    totals: dict[str, int] = {}
    again = reentry(boot)
    known = masks(boot)
    for cpu in cpus:
        for name, count in cpu.counters.items():
            totals[name] = totals.get(name, 0) + count
    return {
        "case": boot.case.text(),
        "verdict": verdict_name(boot, verdict),
        "reentry": asdict(again) if again else None,
        "cpus": [
            {
                "cpu": cpu.cpu,
                "hwid": cpu.hwid,
                "outcome": outcome_words(cpu.outcome),
                "ended": outcome_json(cpu.outcome),
                "at": cpu.at or None,
                "landed": cpu.landed,
                "task": f"{cpu.task:#x}" if cpu.task is not None else None,
                **cpu.counters,
            }
            for cpu in cpus
        ],
        **({"masks": known} if known else {}),
        "findings": [finding_json(finding, boot.case.text()) for finding in verdict.findings],
        "counters": {
            **totals,
            "picks": boot.machine.picks,
            "simulated_ns": boot.machine.now,
            "cpus_stuck_in_kernel": boot.machine.memory.read(boot.guest.data.stuck, 4),
        },
        "dmesg": [line for _ns, line in dmesg(boot)],
        "stopped": boot.machine.stopped or None,
    }
