"""A run along simulated time: phase and function that each CPU was in, and what happened when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from emu.compare.times import PARTS, STARTING
from emu.instructions import InstructionRow
from emu.milestone import Milestone
from emu.operation import LOADS, OPERATIONS, STORES, Kind, Record
from emu.report.functions import Functions, Phase, within
from emu.report.history import NOTES, Item, Names, tell
from emu.trace import SymbolTable, Trace

FIRMWARE = "firmware"
EARLY = "early boot, MMU off"
MMU_ON = "MMU on"
HOST = "secondary_start_kernel"
BOOT_CPU = "boot CPU"
ASLEEP = "asleep in WFE"
IDLE = "idle"
# What wakes a sleeper: WAKE stands right behind it.
_WAKES = frozenset({Kind.SEV, Kind.SEND_INTERRUPT, *STORES, Kind.COPY})
_MEMORY = frozenset({*LOADS, *STORES})


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one moment (ns); ``effects`` of :class:`Item` are in the text."""

    cpu: int
    ns: int
    kind: Kind
    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Flow:
    """What one CPU did to another: a kick and the start, a SEV and the wake-up."""

    name: str
    from_cpu: int
    from_ns: int
    to_cpu: int
    to_ns: int


@dataclass(slots=True)
class Timeline:
    """All CPUs; phases of one CPU follow each other, functions lie within them, marks are in order."""

    cpus: int
    phases: list[Phase] = field(default_factory=list)
    functions: list[Phase] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)


def timeline(
    trace: Trace,
    symbols: SymbolTable,
    cpus: int,
    *,
    accesses: bool = True,
    functions: bool = True,
    whole: bool = False,
) -> Timeline:
    """Return the timeline of a trace that has the times of its records.

    :param accesses: with loads, stores and barriers
    :param functions: with functions: it is known from one record to the next where a CPU is
    :param whole: it begins where the boot CPU turns to the first secondary, if it does
    """
    names = Names(trace, symbols)
    found = Timeline(cpus)
    walk, in_functions = _Walk(found, cpus), Functions(cpus, names, trace.word)
    for record, steps, ns in _timed(trace):
        if functions:
            in_functions.record(record, steps, ns)
        if not accesses and (record.kind in _MEMORY or record.kind is Kind.BARRIER):
            continue
        if record.kind is Kind.LOG:
            found.marks.append(Mark(record.actor, ns, Kind.LOG, "", trace.text_of(record)))
        elif record.kind is Kind.MILESTONE:
            walk.milestone(Milestone(record.size), record.actor, record.pa, ns)
        elif record.kind not in NOTES:
            item = tell(record, trace, names)
            walk.record(record, ns, host=names.is_host(record.pc))
            found.marks.append(Mark(record.actor, ns, record.kind, item.place, _line(item)))
    in_functions.close(walk.close())
    found.marks.sort(key=lambda mark: mark.ns)
    found.phases.sort(key=_by_cpu_and_time)
    found.functions = list(within(sorted(in_functions.found, key=_by_cpu_and_time), found.phases))
    return _from(found, walk.begun) if whole else found


def _from(found: Timeline, begin: int) -> Timeline:
    # What happens from `begin` on.
    def clipped(slices: list[Phase]) -> list[Phase]:
        return [replace(each, start=max(each.start, begin)) for each in slices if each.end > begin]

    return Timeline(
        found.cpus,
        clipped(found.phases),
        clipped(found.functions),
        [mark for mark in found.marks if mark.ns >= begin],
        [flow for flow in found.flows if flow.from_ns >= begin],
    )


def _by_cpu_and_time(phase: Phase) -> tuple[int, int]:
    return phase.cpu, phase.start


def _timed(trace: Trace) -> Iterator[tuple[Record, list[InstructionRow], int]]:
    # Records with the time, which does not go back on any CPU; nobody wakes before who wakes it.
    latest: dict[int, int] = {}
    cause = 0
    assert len(trace.times) == len(trace), "record_times() before the run"
    for (record, steps), ns in zip(trace.steps_of(), trace.times, strict=True):
        latest[record.actor] = max(ns, latest.get(record.actor, 0), cause if record.kind is Kind.WAKE else 0)
        if record.kind in _WAKES:
            cause = latest[record.actor]
        yield record, steps, latest[record.actor]


def _line(item: Item) -> str:
    signs = ("=", "<-")
    effects = (f"{name} {value}" if name in signs else f"{name}={value}" for name, value in item.effects)
    return " ".join([item.text, *effects])


def is_memory(mark: Mark) -> bool:
    """Tell whether a mark is a load, a store or an atomic: the many."""
    return mark.kind in _MEMORY


class _Walk:
    # Follows the phase of each CPU.

    def __init__(self, found: Timeline, cpus: int) -> None:
        self._found = found
        self.begun = 0  # when the boot CPU turns to the first secondary
        self._now: dict[int, tuple[str, int]] = {0: (BOOT_CPU, 0)}
        self._last = [0] * cpus
        self._back: dict[int, str] = {}  # what a sleeper does when it wakes
        self._caller: tuple[int, int] | None = None  # CPU and time of the firmware call that is going on
        self._asked: dict[int, tuple[int, int]] = {}  # CPU and time of the call, by CPU that is to be started
        self._event: tuple[int, int] | None = None

    def _enter(self, cpu: int, name: str, ns: int) -> None:
        self._leave(cpu, ns)
        if name:
            self._now[cpu] = (name, ns)

    def _leave(self, cpu: int, ns: int) -> None:
        name, start = self._now.pop(cpu, ("", 0))
        if name and ns > start:
            self._found.phases.append(Phase(cpu, name, start, ns))

    def record(self, record: Record, ns: int, *, host: bool) -> None:
        cpu, kind = record.actor, record.kind
        self._last[cpu] = max(self._last[cpu], ns)
        name = self._now.get(cpu, ("", 0))[0]
        if not name and kind in OPERATIONS:
            name = FIRMWARE if host else EARLY
            self._enter(cpu, name, ns)
        if kind in _WAKES:
            self._event = (cpu, ns)
        match kind:
            case Kind.CALL:
                self._caller = (cpu, ns)
            case Kind.RETURN:
                self._caller = None
            case Kind.POWER_ON:
                kicked = self._asked.pop(cpu, self._caller)
                if kicked is not None and kicked[0] != cpu:
                    self._found.flows.append(Flow("kick", *kicked, cpu, ns))
                self._enter(cpu, EARLY, ns)
            case Kind.MMU if record.value & 1 and name == EARLY:
                self._enter(cpu, MMU_ON, ns)
            case Kind.LAND:
                self._enter(cpu, HOST, ns)
            case Kind.WFE | Kind.WFI if record.value:
                self._back[cpu] = name
                self._enter(cpu, ASLEEP if kind is Kind.WFE else IDLE, ns)
            case Kind.WAKE:
                if self._event is not None and self._event[0] != cpu:
                    self._found.flows.append(Flow("wake", *self._event, cpu, ns))
                self._enter(cpu, self._back.pop(cpu, EARLY), ns)
            case Kind.POWER_OFF:
                self._leave(cpu, ns)
            case Kind.OUTCOME if cpu:
                self._enter(cpu, IDLE if name == HOST else "", ns)

    def milestone(self, what: Milestone, actor: int, cpu: int, ns: int) -> None:
        if what is Milestone.BEGIN:
            self.begun = self.begun or ns
        if what in PARTS:
            name = PARTS[what]
            self._enter(actor, f"{name}: CPU{cpu}" if actor != cpu else name, ns)
        elif what is Milestone.ASKED:
            self._asked[cpu] = (actor, ns)
            self._enter(cpu, STARTING, ns)
        elif what is Milestone.STARTED and cpu in self._now:
            self._now[cpu] = (STARTING, self._now[cpu][1])
            self._enter(cpu, EARLY, ns)
        elif what is Milestone.MAPPED:
            self._enter(actor, MMU_ON if actor else BOOT_CPU, ns)
        elif what is Milestone.END:
            self._enter(actor, BOOT_CPU, ns)
        elif what is Milestone.THREAD_END:
            self._enter(actor, IDLE, ns)

    def close(self) -> int:
        # Returns when the last thing happened.
        end = max(self._last, default=0)
        for cpu in list(self._now):
            self._leave(cpu, end)
        return end
