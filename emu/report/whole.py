"""What reports of a kernel that boots by itself say: its CPUs, its findings, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import merge
from typing import TYPE_CHECKING, Any

from emu.arch.mpidr import hwid
from emu.arch.psci import Function
from emu.finding import Finding, Verdict
from emu.host.whole.boot import WholeBoot
from emu.host.whole.ending import How
from emu.machine.actor import Actor, State
from emu.operation import LOADS, STORES, Kind, Record, Register
from emu.outcome import End
from emu.report.json_form import finding_json
from emu.report.words import Namer, finding_words, fix_words, outcome_words, wrap

if TYPE_CHECKING:
    from emu.explore.whole import WholeExploration, WholeRun
    from emu.explore.whole_races import RacesFound

_SAID = sorted(frozenset(Kind) - {*LOADS, *STORES, Kind.BARRIER})
_SMC64 = 1 << 30  # of a function ID
_WORDS = {
    How.REACHED: "it came to {until!r}",
    How.FAILED: "it says that it has failed, with exit code {exit_code}",
    How.SKIPPED: "it says that it has skipped all, with exit code {exit_code}",
    How.FOUND: "two CPUs came to C on one stack; it ends there, before {until!r}",
    How.PANIC: "CPU{panicked} panicked before it came to {until!r}",
    How.SHUTDOWN: "firmware was called to end it ({shutdown}) before it came to {until!r}",
    How.STUCK: "every CPU sleeps, spins or has ended and no timer is set; it never comes to {until!r}",
    How.BOUND: "{stopped}; it had not come to {until!r}",
    How.UNMODELLED: "{stopped}",
    How.INTERRUPTED: "interrupted",
}
_VERDICTS = {
    How.REACHED: "pass",
    How.FAILED: "fail",
    How.SKIPPED: "untestable",
    How.FOUND: "fail",
    How.PANIC: "fail",
    How.SHUTDOWN: "fail",
    How.STUCK: "fail",
    How.BOUND: "undecided",
    How.UNMODELLED: "untestable",
    How.INTERRUPTED: "undecided",
}
_STATES = {
    State.OFF: "off",
    State.RUNNABLE: "running",
    State.IDLE: "WFI",
    State.WAITING: "WFE",
    State.ENDED: "ended",
}


@dataclass(frozen=True, slots=True)
class WholeCpu:
    """One CPU: instructions retired, its time and what of it was WFI (ns), SGIs and other IRQs taken."""

    cpu: int
    hwid: int
    state: str
    at: str
    instructions: int
    time: int
    asleep: int
    sgis: int
    irqs: int


def verdict_of(how: How, verdict: Verdict) -> str:
    """Return pass, fail, undecided or untestable."""
    return "fail" if verdict.findings else _VERDICTS[how]


def how_words(boot: WholeBoot, how: How) -> str:
    """Return in words how the run has ended."""
    machine = boot.machine
    return _WORDS[how].format(
        until=boot.until.text,
        panicked=boot.panicked,
        exit_code=boot.exit_code,
        shutdown=machine.power.shutdown,
        stopped=machine.stopped,
    )


def whole_cpus(boot: WholeBoot) -> list[WholeCpu]:
    """Return the CPUs by number."""
    machine = boot.machine
    free, controller = machine.free, machine.devices.controller
    assert free is not None
    assert controller is not None
    found = []
    for cpu, actor in enumerate(machine.actors):
        sgis, irqs = controller.acknowledged(cpu)
        pe = actor.pe
        has_run = bool(pe.counters.instructions)
        found.append(
            WholeCpu(
                cpu,
                hwid(pe.mpidr),
                _state(actor),
                boot.name(pe.pc) if has_run else "",
                pe.counters.instructions,
                actor.time,
                free.asleep_ns[cpu],
                sgis,
                irqs,
            )
        )
    return found


def _state(actor: Actor) -> str:
    if actor.outcome is not None and actor.outcome.end is End.SPINS:
        return "spins"
    return _STATES.get(actor.state, str(actor.state.value))


def event_lines(boot: WholeBoot) -> list[str]:
    """Return the log with every firmware call, start and arrival, in the order of simulated time.

    Of a kernel without a console these are the lines of its printk ring, each where it came into the ring.
    """
    from emu.report.text import event_words, stamp

    trace, now = boot.machine.trace, 0
    found: list[tuple[int, str]] = []
    for number, row in trace.flagged(trace.columns().are(*_SAID)):
        kind, size, cpu, pc, pa, value = row
        record, time = Record(Kind(kind), cpu, size, pc, pa, value), trace.times[number]
        now = max(now, time)  # a call has the time of its end, and comes before what it has started
        words = event_words(trace, record, boot.name)
        if words is not None:
            found.append((now, f"  {stamp(time)}{words}"))
        elif kind == Kind.LOG and not boot.lines:
            found.append((now, stamp(pa) + trace.text_of(record)))
    lines = [(line.time, line.text) for line in boot.lines]
    return [line for _, line in merge(lines, found, key=lambda each: each[0])]


def exploration_summary(found: WholeExploration) -> tuple[str, str]:
    """Return the verdict on schedules with their number, and what it is about."""
    failing = found.failing
    word = "fail" if failing else "undecided" if found.undecided else "pass"
    said = f"{word}: {found.runs:,} schedules from {found.start}, {found.failed:,} with findings"
    if found.failed > len(failing):
        said += f" ({len(failing)} told: those that show something new)"
    if found.undecided:
        said += f", {found.undecided} that came to a bound or to what is not modelled"
    covered = "covered: these schedules; other orders, and stores that others see late, are not"
    return f"{said}; {found.instructions:,} instructions", covered


def story_of(run: WholeRun) -> list[str]:
    """Return what firmware and the kernel did with the CPUs of the findings of a schedule."""
    assert run.boot is not None, "a schedule that shows something was run from the beginning"
    return story_lines(run.boot, run.findings)


def run_lines(run: WholeRun) -> list[str]:
    """Return the story of a schedule that shows something, and its findings in words behind that."""
    assert run.boot is not None, "a schedule that shows something was run from the beginning"
    told = [line for finding in run.findings for line in finding_lines(finding, run.boot.name)]
    return story_of(run) + told


def exploration_json(found: WholeExploration) -> dict[str, Any]:
    """Return an exploration as docs/formats.md has it."""
    return {
        "case": found.case.text(),
        "from": found.start,
        "schedules": found.runs,
        "failed": found.failed,
        "undecided": found.undecided,
        "instructions": found.instructions,
        "failing": [
            {
                "schedule": number,
                "ended": run.how.value,
                "case": run.case.text(),
                "findings": [finding_json(each, run.case.text()) for each in run.findings],
            }
            for number, run in found.failing
        ],
    }


def story_lines(boot: WholeBoot, findings: Sequence[Finding]) -> list[str]:
    """Return what firmware and the kernel did with the CPUs of the findings from smp_init() on."""
    cpus = {cpu for finding in findings for cpu in finding.cpus}
    trace, began = boot.machine.trace, False
    hwids = {hwid(actor.pe.mpidr): cpu for cpu, actor in enumerate(boot.machine.actors)}
    found: list[tuple[int, str]] = []
    tasks: set[int] = set()
    for number, (kind, _size, actor, pc, pa, value) in trace.numbered():
        said = ""
        began = began or kind == Kind.TAKE_OVER
        if kind == Kind.CALL and value & ~_SMC64 == Function.CPU_ON32 and hwids.get(pa) in cpus:
            said = f"calls CPU_ON for CPU{hwids[pa]}, in {boot.name(pc)}"
        elif kind == Kind.POWER_ON and actor in cpus:
            said = f"starts at {boot.name(pc)}"
        elif kind == Kind.LAND and actor in cpus:
            tasks.add(actor)
            said = f"is at {boot.name(pc)}"
        elif kind == Kind.REGISTER and pa == Register.SP_EL0 and actor in tasks:
            time, said_before = found[-1]
            found[-1] = time, f"{said_before}, with the task {value:#x}"
            tasks.remove(actor)
        if began and said:
            found.append((trace.times[number], f"CPU{actor:<3} {said}"))
    return [f"{time / 1e6:10.6f} ms  {said}" for time, said in sorted(found)]


def finding_lines(finding: Finding, name: Namer) -> list[str]:
    """Return a finding in words, with the names of addresses, and what would keep it from happening."""
    words = finding_words(finding, name)
    lines = wrap(f"finding ({finding.rule}): {words}", "  ")
    fix = fix_words(finding)
    return lines + (wrap(f"fix: {fix}", "  ") if fix else [])


def whole_json(boot: WholeBoot, how: How, verdict: Verdict, races: RacesFound | None) -> dict[str, Any]:
    """Return the run as docs/formats.md has it."""
    recorded: dict[str, Any] = {}
    if races is not None:
        from emu.report.races import races_json

        recorded = races_json(boot, races)
    return recorded | {
        "case": boot.case.text(),
        "verdict": verdict_of(how, verdict),
        "findings": [finding_json(finding, boot.case.text()) for finding in verdict.findings],
        "ended": how.value,
        "why": how_words(boot, how),
        "cpus": [
            {
                "cpu": cpu.cpu,
                "hwid": cpu.hwid,
                "outcome": outcome_words(boot.machine.outcome(cpu.cpu)),
                "state": cpu.state,
                "at": cpu.at,
                "instructions": cpu.instructions,
                "ns": cpu.time,
                "wfi_ns": cpu.asleep,
                "sgis": cpu.sgis,
                "irqs": cpu.irqs,
            }
            for cpu in whole_cpus(boot)
        ],
        "log": [{"cpu": line.cpu, "ns": line.time, "text": line.text} for line in boot.lines],
    }
