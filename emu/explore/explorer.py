"""An exploration from its case to its findings: rounds of a search until nothing new is learned.

A round knows of an actor's future what the rounds before have seen of it. A round that has seen nothing new
has left nothing out; what others find is as true, but they do not say that there is nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

from emu.case import Case
from emu.errors import InvalidCase, ReplayDiverged
from emu.explore import alike
from emu.explore.coverage import Coverage, coverage_of
from emu.explore.finding_collector import FindingCollector, Found
from emu.explore.follow import Followed, follow, minimise, preemptions, rewind
from emu.explore.footprints import Footprints
from emu.explore.global_state import GlobalState, Transition
from emu.explore.judge import NoJudge
from emu.explore.livelock import cpus_of_loop, find_livelock, may_go_round
from emu.explore.reduction import EnabledSet
from emu.explore.resume import Saved
from emu.explore.search import Bounds, Count, Search
from emu.explore.thread_stepper import ThreadStepper
from emu.explore.transition_system import TransitionSystem
from emu.explore.walk import walk_once
from emu.explore.watch import Watch
from emu.host.build import Boot, build_config
from emu.host.choices import parse_case
from emu.machine.actor import Grain, HostTask
from emu.machine.firmware import Firmware
from emu.models import memory_model
from emu.rules import identity
from emu.schedulers import Pick, make_scheduler
from emu.schedulers.replay import picks_text

ROUNDS_MAX = 100
LEARNING = "it was still learning"
NO_END = "no schedule came to an end"
_EDGES_MAX = 3_000_000  # of the state graph that is looked through for cycles
_KEY = attrgetter("key")  # of a finding
_FEWER_MAX = 1000  # schedules with fewer preemptions that are tried for a finding
Tell = Callable[[Count, int], bool]


@dataclass(slots=True)
class ExplorationResult:
    """What came of an exploration.

    :ivar incomplete: why it does not say that there is nothing else; nothing: it does
    :ivar bounds_hit: which of its limits it came to, as names of fields of Bounds where they are that
    :ivar places: of actors, each run once on the machine
    """

    count: Count
    incomplete: list[str]
    findings: list[Found]
    actors: int = 0  # at most, of one state: CPUs, followed cache lines
    saved: Saved | None = None  # where it was interrupted, of a search of all orders
    learned: bool = False  # the last round has seen something new
    bounds_hit: frozenset[str] = frozenset()
    undecided: bool = False  # nothing was found as far as a bound that nobody asked for
    coverage: Coverage | None = None

    @property
    def complete(self) -> bool:
        """Whether every schedule was covered."""
        return not self.incomplete


class Explorer:
    """Explores the actors of ``stepper``; findings are told with ``case``, its text without a schedule."""

    def __init__(
        self,
        stepper: ThreadStepper,
        firmware: Firmware | None,
        case: str,
        *,
        event_register: int = 0,
        granule: int = 64,
    ) -> None:
        self.stepper = stepper
        self.case = case
        self._firmware = firmware
        self._event_register = event_register
        self._granule = granule
        self._always: tuple[int, ...] = ()  # units of a schedule from elsewhere
        self._tries: dict[object, int] = {}
        if firmware is not None:
            self._reset = firmware.state()

    def system(
        self,
        bounds: Bounds = Bounds(failures=0),  # noqa: B008 - frozen
        *,
        joins_alike: bool = False,
        mirrors: bool = False,
    ) -> TransitionSystem:
        """Return the transition system of a new round, with all that is known of the actors.

        :param mirrors: as of :class:`emu.explore.transition_system.TransitionSystem`
        :param joins_alike: take local states that do the same for one (:mod:`emu.explore.alike`)
        """
        goes_round = may_go_round(self.stepper.locals)
        alike.forget(self.stepper.locals)
        footprints = Footprints(
            self.stepper,
            self._granule,
            early=bounds.early > 0,
            always=self._always,
            all_parts=not bounds.reduce,
        )
        if bounds.finds_waits and not goes_round:
            footprints.find_waits(self.stepper, self._tries)
        waits = footprints.waits is not None and footprints.waits.staying
        if joins_alike and bounds.reduce and not (goes_round or waits or self.stepper.watch):
            alike.unite(self.stepper.locals, footprints.history, self.stepper.machine.trace.rows_of)
        if self._firmware is not None:
            self._firmware.set_state(self._reset)
        memory = self.stepper.model.explored(footprints.units, self._granule)
        return TransitionSystem(
            self.stepper,
            footprints,
            memory,
            self._firmware,
            self._event_register,
            bounds.failures,
            mirrors=mirrors,
        )

    # -- all of it --------------------------------------------------------------------------------

    def search(
        self,
        bounds: Bounds,
        *,
        everything: bool = False,
        tell: Tell = lambda _count, _depth: False,
        saved: Saved | None = None,
        keep: Callable[[Saved], None] = lambda _saved: None,
    ) -> ExplorationResult:
        """Search depth first.

        :param everything: go on behind the first finding
        :param saved: where an interrupted search stood
        :param keep: called now and then with where it stands
        :raises ReplayDiverged: what was saved does not fit
        """
        rounds = saved.count.rounds - 1 if saved else 0
        before = self._go_on(saved) if saved else {}
        while True:
            rounds += 1
            self.stepper.grew = False
            system = self.system(bounds, joins_alike=True)
            collector = FindingCollector(self.case, everything)
            search = Search(system, bounds, collector, tell)
            if saved:
                search.saved, search.count = saved.frames, replace(saved.count)
            search.count.rounds = rounds
            collector.count = search.count
            collector.found.update(before)
            search.keep = lambda search, found=collector.found: keep(  # type: ignore[misc]
                self._saved(search, bounds, everything, found.values(), self._learned(search))
            )
            search.run()
            learned = self._learned(search)
            if learned or not may_go_round(self.stepper.locals):
                self._look_for_livelock(search, collector)
            else:
                learned = self._search_cycles(search, collector)
            found = list(collector.found.values())
            enough = found and not everything and self._holds(system)
            if learned and not search.stopped and rounds < ROUNDS_MAX and not enough:
                if not self._holds(system):
                    saved = None  # its frames are those of other units
                continue
            if saved and (saved.learned or search.misfits) and not (search.stopped or enough):
                saved = None  # what was tried before it was interrupted may not be all that there is
                continue
            if found and learned and not self._holds(system):
                found = []  # it may be due to a line that was not followed
            incomplete = [search.stopped] if search.stopped else []
            incomplete += sorted(search.cut)
            if search.found:
                incomplete = ["stopped at the first finding"]
            elif learned:
                incomplete.append(LEARNING)
            if not (found or incomplete or search.count.complete):
                incomplete.append(NO_END)  # there is a livelock that the reduction has hidden
            actors = self.stepper.cpus + len(system.footprints.units)
            hit = frozenset(
                search.bounds_hit | (set() if search.stopped else {LEARNING, NO_END} & set(incomplete))
            )
            where = self._saved(search, bounds, everything, found, learned)
            covered = coverage_of(self.stepper, failures=bounds.failures, early=bounds.early)
            return ExplorationResult(
                search.count, incomplete, found, actors, where, learned, hit, coverage=covered
            )

    def _learned(self, search: Search) -> bool:
        # Whether the round has come to something that it did not know when it began.
        return self.stepper.grew or search.system.footprints.changed

    def _saved(
        self, search: Search, bounds: Bounds, everything: bool, found: Iterable[Found], learned: bool
    ) -> Saved:
        # Where a search stands, or where it ended.
        frames = search.stack or search.save()
        units = tuple(search.system.footprints.units)
        shown = tuple(dict.fromkeys(each.picks for each in found))
        return Saved(self.case, bounds, replace(search.count), frames, learned, units, everything, shown)

    def _go_on(self, saved: Saved) -> dict[Hashable, Found]:
        # Follow the units that an interrupted search followed; give what it had found.
        self._always = self._units(saved.units)
        if self._always != saved.units:
            raise ReplayDiverged("resume: units: not those of this case")
        found: dict[Hashable, Found] = {}
        system = self.system()
        for picks in saved.found:
            done, shown = self.replay(system, picks, to_the_end=True)
            rewind(system, done)
            for each in shown.values():
                found.setdefault(identity(each.finding), each)
        return found

    def _units(self, pas: Iterable[int]) -> tuple[int, ...]:
        # Those that are units of the memory model.
        if not self.stepper.model.granules:
            return ()
        memory, granule = self.stepper.machine.memory, self._granule
        return tuple(sorted(pa for pa in pas if not pa % granule and memory.contains(pa, granule)))

    def _holds(self, system: TransitionSystem) -> bool:
        # Whether a finding of a round that has learned is one: no more lines are to be followed.
        now = Footprints(self.stepper, self._granule, always=self._always)
        return now.units == system.footprints.units and now.exclusive == system.footprints.exclusive

    def _search_cycles(self, search: Search, collector: FindingCollector) -> bool:
        # Livelocks with the orders that sleep sets leave out; True when something new is learned.
        if search.stopped or (search.found and not collector.everything):
            return False
        every = Search(search.system, replace(search.bounds, sleep=False), NoJudge(), search.tell)
        every.run()
        self._look_for_livelock(every, collector)
        search.stopped, search.found = every.stopped, search.found or every.found
        search.cut |= every.cut
        search.bounds_hit |= every.bounds_hit
        return self.stepper.grew or search.system.footprints.changed

    def _look_for_livelock(self, search: Search, collector: FindingCollector) -> None:
        if search.found and not collector.everything:
            return
        if search.entries and len(search.edges) > _EDGES_MAX:
            search.cut.add("livelocks in so many states")  # they would take gigabytes
            search.bounds_hit.add("livelocks")
            return
        learned = self.stepper.grew or search.system.footprints.changed
        livelock = find_livelock(search)
        if livelock is not None and not livelock.once_round:
            if not learned:
                search.cut.add("a livelock whose round cannot be told")
                search.bounds_hit.add("livelocks")
        elif livelock is not None:
            done = follow(search.system, livelock.picks)
            search.found |= collector.cycle(search.system, done, livelock.cpus)
            rewind(search.system, done)

    # -- some of it -------------------------------------------------------------------------------

    def walk(
        self,
        schedules: Callable[[int], str],
        bounds: Bounds,
        *,
        everything: bool = False,
        tell: Tell = lambda _count, _depth: False,
    ) -> ExplorationResult:
        """Take random schedules.

        :param schedules: the scheduler's text by the number of the schedule, from 0 on
        """
        count = Count(rounds=1)
        collector = FindingCollector(self.case, everything)
        system = self.system(mirrors=True)
        cut: set[str] = set()
        while count.schedules < bounds.schedules:
            self.stepper.grew = False
            steps, ended = walk_once(system, schedules(count.schedules), bounds, collector)
            if not ended:
                cut.add(f"{bounds.depth} steps")
            if self.stepper.grew:
                if not self._holds(system):  # once more, with the new lines
                    collector.found.clear()
                    system = self.system(mirrors=True)
                    count = Count(rounds=count.rounds + 1)
                    continue
                system = self.system(mirrors=True)
            count.schedules += 1
            count.complete += 1
            count.operations += steps
            count.depth = max(count.depth, steps)
            if collector.found and not everything:
                why = ["stopped at the first finding"]
                break
            if tell(count, steps):
                why = [f"{count.schedules} random schedules", *sorted(cut | {"interrupted"})]
                break
        else:
            why = [f"{count.schedules} random schedules", *sorted(cut)]
        actors = self.stepper.cpus + len(system.footprints.units)
        found = list(collector.found.values())
        covered = coverage_of(self.stepper, failures=0, early=bounds.early)
        hit = frozenset({"depth"} if cut else ())
        return ExplorationResult(count, why, found, actors, bounds_hit=hit, coverage=covered)

    def learn(self, picks: Sequence[Pick]) -> None:
        """Take a schedule as often as it shows lines of the caches that have to be followed."""
        self._always = self._units({pick.number for pick in picks if pick.kind in self.stepper.model.choices})
        while True:
            self.stepper.grew = False
            system = self.system()
            rewind(system, follow(system, picks))
            if not self.stepper.grew or self._holds(system):
                return

    # -- findings ---------------------------------------------------------------------------------

    def shrink(self, found: Found) -> Found:
        """Return the finding with the shortest schedule that could be made of its own."""
        system = self.system()
        key = found.finding.key

        def attempt(picks: Sequence[Pick]) -> tuple[tuple[int, int], tuple[Pick, ...]] | None:
            done, findings = self.replay(system, picks, until=key, to_the_end=True)
            rewind(system, done)
            if key not in findings:
                return None
            return (preemptions(system, done), len(done.path)), done.picks()

        picks = minimise(found.picks, attempt)
        made = attempt(picks)
        for fewer in range(made[0][0] if made else 0):
            other = self._with_preemptions(system, fewer, key)
            if other is not None:
                picks = minimise(other, attempt)
                break
        return replace(found, picks=picks)

    def _with_preemptions(
        self, system: TransitionSystem, most: int, key: Hashable
    ) -> tuple[Pick, ...] | None:
        # A schedule with so few changes of a CPU that could go on, if a short search shows one.
        collector = FindingCollector(self.case, everything=True, same=_KEY)
        search = Search(system, Bounds(schedules=_FEWER_MAX, preemptions=most, early=1), collector)
        search.run()
        return collector.found[key].picks if key in collector.found else None

    def replay(
        self,
        system: TransitionSystem,
        picks: Sequence[Pick],
        *,
        until: Hashable = None,
        strict: bool = False,
        to_the_end: bool = False,
    ) -> tuple[Followed, dict[Hashable, Found]]:
        """Take ``picks`` and return what that shows, by key; the caller rewinds.

        :param until: stop where this shows, or at the end
        :raises ReplayDiverged: ``strict``, and a pick cannot be taken
        """
        collector = FindingCollector(self.case, everything=True, same=_KEY)

        def see(state: GlobalState, path: list[Transition]) -> bool:
            moves = EnabledSet(system, state, 0, False)
            time_passes = moves.expired and moves.expired == moves.enabled
            looks = time_passes or self.stepper.watch is not None
            if looks or any(local.action.is_plain for local in state.locals):
                collector.state(system, state, moves, path)
            return until in collector.found

        done = follow(system, picks, strict=strict, to_the_end=to_the_end, see=see)
        last = done.states[-1]
        if until not in collector.found and (cpus := cpus_of_loop(system, done)):
            collector.cycle(system, done, cpus)
        elif strict and until not in collector.found and done.loop_at >= 0:
            rewind(system, done)
            raise ReplayDiverged(
                "schedule: loop: the picks behind it do not lead back to where it stands, or not all go round"
            )
        for cpu in range(len(last.locals)):
            system.look_round(last, cpu)  # a loop that another process has known may not be known here
        if until not in collector.found and not EnabledSet(system, last, 0, False).enabled:
            collector.end(system, last, done.path)
        return done, collector.found


def explore_case(case: Case) -> tuple[Explorer, Boot]:
    """Return what explores ``case``, and its machine, which is the explorer's now.

    :raises InvalidCase: it has a part that cannot be explored
    :raises EmuError: as :func:`emu.host.build.build`
    """
    config = parse_case(case, record=True)
    for name in ("hotplug", "kexec"):
        if getattr(case, name):
            raise InvalidCase(
                f"{name}={getattr(case, name)}: an exploration ends with the boot; leave it out"
            )
    if case.latency != Case(case.subject).latency:
        raise InvalidCase(f"latency={case.latency}: no time passes while orders are tried; leave it out")
    if case.grain == "instruction":
        raise InvalidCase("grain=instruction: an exploration goes by operations; leave it out")
    if case.device:
        raise InvalidCase(f"device={case.device}: the state of a device cannot be explored; leave it out")
    # The transition system has the memory model; the machine that takes single steps needs none.
    stepped = replace(case, memory="coherent", scheduler="round-robin", grain="operation")
    boot = build_config(
        replace(
            config,
            case=stepped,
            scheduler=make_scheduler(stepped.scheduler),
            grain=Grain(stepped.grain),
            model=memory_model(stepped.memory, stepped.granule),
        )
    )
    boot.case = replace(
        boot.case, memory=case.memory, granule=case.granule, scheduler=case.scheduler, grain=case.grain
    )
    machine = boot.machine
    tasks: dict[int, Callable[[], HostTask]] = {} if boot.new_task is None else {0: boot.new_task}
    firmware = machine.power.firmware
    for cpu, actor in enumerate(machine.actors):
        if cpu and actor.task is not None:
            tasks[cpu] = partial(_firmware_task, boot, cpu)
    stepper = ThreadStepper(machine, tasks, config.model)
    stepper.watch = Watch(machine, boot.properties) if boot.properties else None
    explorer = Explorer(
        stepper, firmware, boot.case.text(), event_register=case.event_register, granule=case.granule
    )
    return explorer, boot


def _firmware_task(boot: Boot, cpu: int) -> HostTask:
    task = boot.method.firmware_task(cpu)
    assert task is not None, "it had one when the machine was built"
    return task


def case_of(boot: Boot, picks: Sequence[Pick]) -> str:
    """Return the text of the case that takes ``picks``."""
    return replace(boot.case, scheduler=f"replay:{picks_text(picks)}", grain="operation").text()
