"""One bring-up of a comparison, and all of them: what each took, and what it did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from emu.arch.mpidr import hwid
from emu.arch.psci import Function
from emu.case import Case
from emu.compare.times import Bringup, bringup
from emu.errors import EmuError, InvalidCase
from emu.explore.forks import in_forks
from emu.host.build import build
from emu.host.effects import WHOLE
from emu.machine import Machine
from emu.operation import Kind
from emu.outcome import ONLINE
from emu.rules import judge

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
_CPU_ON = (Function.CPU_ON32, Function.CPU_ON64)


@dataclass(slots=True)
class Run:
    """One bring-up.

    :ivar case: the subject, bring-up and latency that were asked for are in it
    :ivar text: the case that runs it again, in one line
    :ivar refused: why there is none
    :ivar counters: by the names of :data:`COUNTERS`, those that are counted
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
    times, loads = bringup(machine.trace), _of_aps(machine, "loads_mmu_off")
    counters = {
        **asdict(machine.waits),
        "waiting_ns": times.waiting,
        "instructions": _of_aps(machine, "instructions"),
        "loads_mmu_off": loads,
        "wfe_sleeps": _of_aps(machine, "wfe_sleeps"),
    }
    online = sum(outcome == ONLINE for _, _, outcome in machine.ends())
    return _run(boot.case, machine, times, online, counters, hwids=boot.guest.hwids)


def _run_whole(case: Case) -> Run:
    from emu.compare.whole import run_whole

    try:
        boot, times, instructions = run_whole(case)
    except EmuError as error:
        return Run(case, refused=str(error))
    machine = boot.machine
    asked = replace(boot.case, bringup=case.bringup)
    waits = {key: value for key, value in asdict(machine.waits).items() if key.startswith("lock")}
    counters = {**waits, "waiting_ns": times.waiting, "instructions": instructions}
    more = {"text": boot.case.text(), "hwids": tuple(hwid(actor.pe.mpidr) for actor in machine.actors)}
    return _run(asked, machine, times, len(boot.arrivals.online()), counters, **more)


def _run(
    case: Case, machine: Machine, times: Bringup, online: int, counters: dict[str, int], **more: Any
) -> Run:
    # Of a machine that has come to its end.
    calls = machine.trace.numbered(frozenset((Kind.CALL,)))
    counters["cpu_on"] = sum(row[5] in _CPU_ON for _, row in calls)
    return Run(
        case,
        refused="" if times.cpus else "no secondary is brought up",
        times=times,
        cpus=len(machine.actors),
        online=online,
        counters={key: counters[key] for key in COUNTERS if key in counters},
        findings=len(judge(machine.trace).findings),
        stopped=machine.stopped,
        **more,
    )


def _of_aps(machine: Machine, counter: str) -> int:
    return sum(getattr(actor.pe.counters, counter) for actor in machine.actors[1:])


def run_all(cases: Sequence[Case], jobs: int, *, record: bool = False) -> Iterator[Run]:
    """Yield the run of each case, in order; what it says does not depend on ``jobs``."""
    return in_forks(lambda case: run_one(case, record=record), cases, jobs)
