"""One bring-up of a comparison, and all of them: what each took, and what it did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from emu.case import Case
from emu.compare.times import Bringup, bringup
from emu.errors import EmuError, InvalidCase
from emu.explore.forks import in_forks
from emu.host.build import Boot, build
from emu.host.effects import WHOLE
from emu.operation import Kind
from emu.outcome import ONLINE
from emu.rules import judge
from emu.trace import Trace

TIMED = "timed"
# What the counters of a run are, in the order in which they are shown.
COUNTERS = {
    "cpu_on": "CPU_ON",
    "looks": "looks",
    "sleeps": "sleeps",
    "lock_waits": "lock waits",
    "lock_ns": "lock ns",
    "waiting_ns": "AP wait ns",
    "instructions": "AP instr",
    "loads_mmu_off": "ld mmu-off",
    "wfe_sleeps": "wfe",
}
_CPU_ON = frozenset((0x8400_0003, 0xC400_0003))


@dataclass(slots=True)
class Run:
    """One bring-up.

    :ivar case: the subject, bring-up and latency that were asked for are in it
    :ivar text: the case that runs it again, in one line
    :ivar refused: why there is none
    :ivar counters: by the names of :data:`COUNTERS`
    :ivar findings: how many rules' findings there are
    :ivar stopped: why it did not come to its end
    """

    case: Case
    refused: str = ""
    times: Bringup = field(default_factory=Bringup)
    cpus: int = 0
    online: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    findings: int = 0
    stopped: str = ""
    hwids: tuple[int, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        self.text = self.text or self.case.text()


def timed(case: Case) -> Case:
    """Return the case in the order of simulated time, which alone gives times a meaning.

    :raises InvalidCase: another order was asked for
    """
    if case.scheduler not in (TIMED, Case(case.subject).scheduler):
        raise InvalidCase(f"scheduler={case.scheduler}: times are compared in the order of time ({TIMED})")
    return replace(case, scheduler=TIMED)


def run_one(case: Case, *, record: bool = False) -> Run:
    """Bring up the CPUs of one case.

    :param record: the phases of early boot as well
    """
    if case.depth == WHOLE:
        return _run_whole(case)
    try:
        boot = build(case, record=record)
    except EmuError as error:
        return Run(case, refused=str(error))
    machine = boot.machine
    machine.record_times()
    machine.run()
    machine.finish()
    times = bringup(machine.trace)
    run = Run(
        boot.case,
        times=times,
        cpus=len(machine.actors),
        online=sum(machine.outcome(cpu) == ONLINE for cpu in range(len(machine.actors))),
        counters=_counters(boot, times),
        findings=len(judge(machine.trace).findings),
        stopped=machine.stopped,
        hwids=boot.guest.hwids,
    )
    if not times.cpus:
        run.refused = "no secondary is brought up"
    return run


def _run_whole(case: Case) -> Run:
    from emu.compare.whole import run_whole

    try:
        boot, times = run_whole(case)
    except EmuError as error:
        return Run(case, refused=str(error))
    machine = boot.machine
    secondaries = [actor.pe.counters for actor in machine.actors[1:]]
    counters = dict.fromkeys(COUNTERS, 0) | {
        "cpu_on": _cpu_on_calls(machine.trace),
        "instructions": sum(each.instructions for each in secondaries),
        "wfe_sleeps": sum(each.wfe_sleeps for each in secondaries),
    }
    run = Run(
        replace(boot.case, bringup=case.bringup),
        times=times,
        cpus=len(machine.actors),
        online=len(boot.arrivals.online()),
        counters=counters,
        findings=len(judge(machine.trace).findings),
        stopped=machine.stopped,
        text=boot.case.text(),
    )
    if not times.cpus:
        run.refused = "no secondary is brought up"
    return run


def run_all(cases: Sequence[Case], jobs: int, *, record: bool = False) -> Iterator[Run]:
    """Yield the run of each case, in order; what it says does not depend on ``jobs``."""
    return in_forks(lambda case: run_one(case, record=record), cases, jobs)


def _cpu_on_calls(trace: Trace) -> int:
    return sum(row[5] in _CPU_ON for _, row in trace.numbered(frozenset((Kind.CALL,))))


def _counters(boot: Boot, times: Bringup) -> dict[str, int]:
    machine = boot.machine
    secondaries = [actor.pe.counters for actor in machine.actors[1:]]
    return {
        "cpu_on": _cpu_on_calls(machine.trace),
        "looks": machine.waits.looks,
        "sleeps": machine.waits.sleeps,
        "lock_waits": machine.waits.lock_waits,
        "lock_ns": machine.waits.lock_ns,
        "waiting_ns": times.waiting,
        "instructions": sum(each.instructions for each in secondaries),
        "loads_mmu_off": sum(each.loads_mmu_off for each in secondaries),
        "wfe_sleeps": sum(each.wfe_sleeps for each in secondaries),
    }
