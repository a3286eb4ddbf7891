"""Schedules of a kernel that boots by itself: one run for each, from a checkpoint that all share.

The kernel boots once to where the schedules begin. Each schedule is a fork of this process there: the other
order of CPUs, the length of their turns, how long firmware takes to start each CPU, and how late interrupts
are, drawn from the number of the schedule. It is told as a case, which runs from the beginning; a finding
counts when that run shows it too. Until the secondaries are there, one CPU runs, and none of the four changes
anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

from emu.case import Case
from emu.errors import InvalidCase
from emu.explore.forks import in_forks
from emu.explore.whole_races import judge_whole
from emu.finding import PC, Finding
from emu.host.choices import parse_case
from emu.host.effects import default_of
from emu.host.whole.boot import WholeBoot
from emu.host.whole.choices import scheduler_of
from emu.host.whole.ending import How
from emu.host.whole.recording import boot_from
from emu.host.whole.warm import warm
from emu.machine.irq_delays import parse_irq_delays
from emu.schedulers import scheduler_kind

SCHEDULES = 1000
LATENCY_MAX = 500_000  # ns that firmware takes to start a CPU, at most
START = "smp_init"
# So many schedules are run before one that is run ahead for them would have paid.
_FEW = 3
_IRQS_LATE = (0, 0, 300, 3_000, 30_000)  # ns that interrupts are late, at most
_TURNS = (500, 2_000, 10_000, 20_000, 50_000)
_FAILED = (How.FOUND, How.PANIC, How.SHUTDOWN, How.STUCK)


@dataclass(frozen=True, slots=True)
class WholeRun:
    """What one schedule came to.

    :ivar case: runs it again, from the beginning
    :ivar instructions: of all CPUs, from the checkpoint on
    :ivar boot: the run, where it was one of this process
    """

    case: Case
    how: How
    findings: tuple[Finding, ...]
    instructions: int
    boot: WholeBoot | None = None

    @property
    def fails(self) -> bool:
        """Whether it shows something: a rule's finding, or an end that no boot should have."""
        return bool(self.findings) or self.how in _FAILED


@dataclass(slots=True)
class WholeExploration:
    """What schedules came to.

    :ivar runs: how many were run
    :ivar failed: how many of them show something
    :ivar failing: those that show what none before them has shown, by number, as their cases show it when
        they run alone
    :ivar undecided: how many came to a bound, or to what is not modelled
    """

    case: Case
    start: str
    runs: int = 0
    failed: int = 0
    instructions: int = 0
    undecided: int = 0
    failing: list[tuple[int, WholeRun]] = field(default_factory=list)


class Elsewhere(Protocol):
    """What runs schedules on other machines.

    :ivar slots: schedules that can be in progress at the same time
    """

    slots: int

    def run(self, case: Case, cases: Sequence[Case]) -> Iterator[WholeRun]:
        """Yield what each of ``cases`` comes to, in order; ``case`` is what they are variants of."""


def explore_whole(
    case: Case,
    *,
    start: str = START,
    schedules: int = SCHEDULES,
    latency_max: int = LATENCY_MAX,
    everything: bool = False,
    known: Collection[str] = (),
    jobs: int = 1,
    elsewhere: Elsewhere | None = None,
    tell: Callable[[int], bool] = lambda done: False,
) -> WholeExploration:
    """Run so many schedules of ``case`` from where a CPU first gets to ``start``.

    :param latency_max: ns, of the start of each CPU
    :param everything: go on behind the first schedule that shows something
    :param known: symbols whose races are known, where the case is recorded
    :param jobs: processes at a time; the result is the same whatever it is
    :param elsewhere: runs the schedules in place of processes here
    :param tell: is called with the number of schedules that are done; True: end
    :raises InvalidCase: there is no such symbol, or the boot does not come to it
    """
    boot = checkpoint(case, start)
    if schedules > _FEW and elsewhere is None:
        warm(boot)
    shown: set[object] = set()
    done = WholeExploration(boot.case, start)
    cpus = len(boot.machine.actors)
    cases = (vary(boot.case, cpus, number, latency_max) for number in range(schedules))
    stops = False

    def run(some: Sequence[Case]) -> Iterator[WholeRun]:
        if elsewhere is not None:
            return elsewhere.run(boot.case, some)
        return in_forks(lambda varied: run_from(boot, varied, known), some, jobs, changes=True)

    at_once = elsewhere.slots if elsewhere is not None else 8 * jobs
    while not stops and (some := list(islice(cases, at_once))):
        for varied, found in zip(some, run(some), strict=True):
            done.runs += 1
            done.instructions += found.instructions
            done.undecided += found.how in (How.BOUND, How.UNMODELLED)
            if not found.fails:
                continue
            done.failed += 1
            if not _shown(found) <= shown:
                short = confirm(shorten(boot, varied, found, shown, known), known)
                done.failing.append((done.runs - 1, short))
                shown |= _shown(found) | _shown(short)
            if not everything:
                return done
        stops = tell(done.runs)
    return done


def checkpoint(case: Case, start: str) -> WholeBoot:
    """Return the boot of ``case`` at the first instruction of ``start``, as a CPU first gets to it.

    :raises InvalidCase: there is no such symbol, the boot does not come to it, or secondaries run there: what
        is varied would have changed how it has come there
    """
    boot = boot_from(case, start)
    begun = [cpu for cpu, actor in enumerate(boot.machine.actors) if cpu and actor.pe.counters.instructions]
    if begun or boot.not_started:
        first = (begun + boot.not_started)[0]
        why = f"CPU{first} has been started there, and schedules are told from power-on on"
        raise InvalidCase(f"from={start}: {why}; give {START}, or what comes before that")
    return boot


def vary(case: Case, cpus: int, number: int, latency_max: int) -> Case:
    """Return the case of schedule ``number``, of so many CPUs: 0 is the case itself.

    A case that has a scheduler with a seed keeps it, with a seed for each schedule.
    """
    if not number:
        return case
    draw = random.Random(number)
    late = [f"{cpu}:late:{1 + int(draw.random() * latency_max)}" for cpu in range(1, cpus) if latency_max]
    turn = _TURNS[int(draw.random() * len(_TURNS))]
    kind, rest = scheduler_kind(case.scheduler)
    scheduler = kind.walk(rest)(number) if kind.walk is not None else case.scheduler
    fault = ",".join(filter(None, (case.fault, *late)))
    most = _IRQS_LATE[int(draw.random() * len(_IRQS_LATE))]
    irq_late = case.irq_late or (f"{number}:{most}" if most else "")
    return replace(case, scheduler=scheduler, fault=fault, turn=case.turn or turn, irq_late=irq_late)


def run_from(boot: WholeBoot, case: Case, known: Collection[str] = ()) -> WholeRun:
    """Run ``boot``, which is at the checkpoint, to its end as ``case`` has it."""
    machine = boot.machine
    before = sum(actor.pe.counters.instructions for actor in machine.actors)
    boot.case = case
    config = parse_case(replace(case, scheduler=scheduler_of(case)))
    boot.firmware.faults = config.faults
    assert machine.free is not None
    machine.free.use(config.scheduler, case.turn, parse_irq_delays(case.irq_late))
    boot.on_line = None
    how = boot.run()
    boot.finish()
    after = sum(actor.pe.counters.instructions for actor in machine.actors)
    return WholeRun(case, how, judge_whole(boot, known)[0].findings, after - before)


def shorten(
    boot: WholeBoot, case: Case, found: WholeRun, shown: Collection[object] = (), known: Collection[str] = ()
) -> WholeRun:
    """Return a schedule with as few delays as show what ``found`` shows: each is left out in turn.

    :param shown: what other schedules have shown, which is no matter here
    """
    wanted = _shown(found).difference(shown)

    def shows(run: WholeRun) -> bool:
        return bool(wanted & _shown(run))

    for smaller in _smaller(case):
        (run,) = in_forks(lambda each: run_from(boot, each, known), [smaller(found.case)], 1, changes=True)
        if shows(run):
            found = run
    return found


def _shown(run: WholeRun) -> set[object]:
    # What a run shows: faults of rules, of races where they are, or else its end.
    shown: set[object] = set()
    for each in run.findings:
        places = [value for _, value in each.data if isinstance(value, PC)] if each.rule == "race" else []
        shown.add((each.rule, each.what, *sorted(places)))
    return shown or {run.how}


def _smaller(case: Case) -> Iterator[Callable[[Case], Case]]:
    # Ways to make a case simpler, each applied to what the ones before have left.
    yield lambda last: replace(last, irq_late="")
    yield lambda last: replace(last, turn=0)
    yield lambda last: replace(last, scheduler=str(default_of("scheduler")))
    for word in case.fault.split(","):

        def without(last: Case, word: str = word) -> Case:
            return replace(last, fault=",".join(each for each in last.fault.split(",") if each != word))

        yield without


def confirm(found: WholeRun, known: Collection[str] = ()) -> WholeRun:
    """Run the case of a schedule from the beginning; it must come to the same."""
    boot = boot_from(found.case, keeps=False)
    how = boot.run()
    boot.finish()
    verdict, _ = judge_whole(boot, known)
    again = WholeRun(boot.case, how, verdict.findings, found.instructions, boot)
    said = f"{found.case.text()}: the run from the beginning does not show what the schedule did"
    assert (how, _facts(again)) == (found.how, _facts(found)), said
    return again


def _facts(run: WholeRun) -> list[tuple[object, ...]]:
    # The findings but for the places of their records.
    return [(each.rule, each.what, each.cpus, each.data) for each in run.findings]
