"""The story of a finding: what its actors did to each other, step by step, and what would fix it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import PurePath

from emu.explore.api import Exploration
from emu.explore.confirm import Confirmed
from emu.explore.global_state import GlobalState, Transition
from emu.explore.watch import pc_of
from emu.finding import PA, PC, VA, Finding, Word
from emu.host.build import Boot
from emu.host.played import function_at
from emu.host.tracing import symbol_table
from emu.machine.actor import State
from emu.operation import LOADS, STORES, Kind, Record, WaitForEvent
from emu.properties.resolve import Resolved
from emu.report.history import Names, tell
from emu.report.words import WIDTH, finding_words, fix_words, wrap
from emu.trace import Trace

LINES_MAX = 40
_WHERE = 27  # columns of the place
_U64 = 2**64 - 1
_ACTORS_MAX = 3
_VALUE_MIN = 0x100  # smaller values say nothing of the word that holds them
_ACCESSES = (*LOADS, *STORES)
# Told of every CPU of the story, whatever the finding is.
_ALWAYS = (Kind.CALL, Kind.WFE, Kind.SEV, Kind.POWER_ON, Kind.LAND, Kind.OUTCOME, Kind.LOG, Kind.WAKE)


class Part(Enum):
    """What a step has to do with the finding."""

    NONE = ""
    STORE = "store"  # the store, or event, that is at fault
    LOAD = "load"  # the load that gets its value, or ought to


@dataclass(frozen=True, slots=True)
class StoryStep:
    """One thing that happened: ``cpu`` -1 is the caches; ``state`` what lines and event registers became.

    :ivar number: the position of a debug session at which it is about to happen
    """

    number: int
    cpu: int
    text: str
    where: str
    state: str = ""
    part: Part = Part.NONE


@dataclass(slots=True)
class Story:
    """What is violated, the actors, the steps, and the fix where the rule knows one."""

    rule: str
    message: str
    cpus: tuple[int, ...]
    steps: list[StoryStep]
    fix: str
    case: str
    confirmed: bool = True  # the machine itself shows it, when it takes the schedule
    report: list[str] = field(default_factory=list)  # in the kernel's own shape, for a race

    def lines(self) -> list[str]:
        """Return it as text: at most LINES_MAX lines, of WIDTH columns but for the case."""
        head = wrap(f"finding ({self.rule}): {self.message}", "  ") + [f"  {line}" for line in self.report]
        tail = wrap(f"fix: {self.fix}", "     ") if self.fix else []
        if not self.confirmed:
            tail.append("note: the machine did not show this when it took the schedule: a bug of emu")
        tail.append(f"case: {self.case}")
        table = list(self._table())
        room = LINES_MAX - len(head) - len(tail)
        if len(table) > room:
            cut = len(table) - room + 1
            table = [table[0], f"      ... {cut} lines before", *table[cut + 1 :]]
        return head + table + tail

    def _table(self) -> Iterator[str]:
        width = (WIDTH - 6 - _WHERE) // max(len(self.cpus), 1)
        names = "".join(f"{f'CPU{cpu}':<{width}}" for cpu in self.cpus)
        yield f"{'step':>5} {names}at".rstrip()
        for step in self.steps:
            if step.cpu < 0:
                yield f"{step.number:5} {step.text}"
            else:
                at = self.cpus.index(step.cpu) * width
                room = len(self.cpus) * width
                text, who = step.text, ""
                if at + len(text) >= room and at:  # the columns beside it are empty
                    who = f" (CPU{step.cpu})"
                if len(text) + len(who) >= room:
                    text = text[: room - 2 - len(who)] + "…"
                text += who
                cell = " " * min(at, room - 1 - len(text)) + text
                where = step.where if len(step.where) <= _WHERE else f"…{step.where[1 - _WHERE :]}"
                yield f"{step.number:5} {cell:<{room}}{where}".rstrip()
            if step.state:
                yield f"      = {step.state}"[:WIDTH]


def tell_story(boot: Boot, confirmed: Confirmed) -> Story:
    """Return the story of a finding along the run that shows it."""
    return _Teller(boot, confirmed).story()


def story_of(done: Exploration, number: int = 0) -> str:
    """Return the story of a finding of :func:`emu.explore.explore` as text, for who tests with it::

        assert not done.findings, story_of(done)

    :param number: of ``done.findings``
    :raises InvalidCase: there is no such finding
    """
    return "\n".join(tell_story(done.boot, done.confirmed(number)).lines())


def step_text(record: Record, trace: Trace, names: Names) -> str:
    """Return what a story says of a record of ``trace``."""
    if record.kind is Kind.LOG:
        return f"log: {trace.text_of(record)}"
    if record.kind is Kind.LAND:
        return "comes to C"
    item = tell(record, trace, names)
    text = f"{item.verb} {item.operand}" if item.operand else item.text
    told = " ".join([text, *(f"{arrow} {value}" for arrow, value in item.effects)])
    return told.replace(f"{_U64:#x}", "~0")


class _Teller:
    # Picks out of a path what a finding is about.

    def __init__(self, boot: Boot, confirmed: Confirmed) -> None:
        self._boot = boot
        self._confirmed = confirmed
        self._system = system = confirmed.system
        self._trace = trace = confirmed.trace
        self._path = path = confirmed.path
        self._states = states = confirmed.states
        self._positions = confirmed.positions
        self._finding = confirmed.found.finding
        self._names = Names(trace, symbol_table(boot.guest))
        self._granule = system.footprints.granule
        self._choices = system.stepper.model.choices
        self._waiters = {
            local.cpu
            for state in states
            for local in state.locals
            if local.state is State.WAITING or isinstance(local.action.operation, WaitForEvent)
        }
        self._records = [
            [Record(Kind(kind), cpu, size, pc, pa, value) for kind, size, cpu, pc, pa, value in rows]
            for rows in (
                [row for _, edge in transition.edges for row in trace.rows_of(edge.records)]
                for transition in path
            )
        ]
        self._fault = self._at_fault()  # records of the trace

    def story(self) -> Story:
        found = self._finding
        words = self._words(found)
        self._fault = self._fault or self._passed(words)
        property_ = self._property()
        about = found.cpus
        if property_ is not None:
            about = (*about, *sorted(property_.named)) or tuple(range(len(self._states[0].locals)))
        cpus = self._cpus(about, words)
        return Story(
            found.rule,
            finding_words(found, self._named),
            cpus,
            list(self._steps(words, cpus)),
            fix_words(found),
            self._confirmed.found.case,
            self._confirmed.on_machine,
            self._race() if found.rule == "race" else [],
        )

    def _named(self, address: PA | PC) -> str:
        known = self._local(address) if isinstance(address, PC) else self._names.pa(address, -1)
        return "" if known.startswith("0x") else known

    def _words(self, found: Finding) -> set[int]:
        # Bytes that the finding is about: those it names, else those that its CPUs fight over.
        if (property_ := self._property()) is not None:
            named = {pa + at for pa, size in property_.words for at in range(size)}
            if any(record.kind in STORES and record.pa in named for each in self._records for record in each):
                return named
        pas = [address for address in found.addresses if isinstance(address, PA)]
        if pas:
            return {pa + at for pa in pas for at in range(8)}
        values = {
            int(value)
            for _, value in found.data
            if isinstance(value, VA | Word) and not isinstance(value, PC) and value >= _VALUE_MIN
        }
        held = {
            record.pa
            for records in self._records
            for record in records
            if record.kind in STORES and record.value in values
        }
        if held:
            return held
        users: dict[int, set[int]] = {}
        stores: dict[int, set[int]] = {}
        for records in self._records:
            for record in records:
                if record.kind in _ACCESSES:
                    users.setdefault(record.pa, set()).add(record.actor)
                    if record.kind in STORES:
                        stores.setdefault(record.pa, set()).add(record.actor)
        ours = set(self._finding.cpus) or set(range(len(self._states[0].locals)))
        state = {pa for pa, who in users.items() if len(who) > 1 and pa in stores and who & ours}
        several = {pa for pa in state if len(users[pa] & ours) > 1 or len(users[pa]) > 2}
        return several or state

    def _cpus(self, involved: tuple[int, ...], words: set[int]) -> tuple[int, ...]:
        found = list(dict.fromkeys(involved))[:_ACTORS_MAX]
        room = 2 if len(involved) == 1 else _ACTORS_MAX
        for records in reversed(self._records):
            for record in records:
                stores = record.pa in words and record.kind in STORES
                if stores and record.actor not in found and len(found) < room:
                    found.append(record.actor)
        if not found:
            found = [0]
        return tuple(sorted(found))

    def _steps(self, words: set[int], cpus: tuple[int, ...]) -> Iterator[StoryStep]:
        lines = {index for index, pa in enumerate(self._system.model.units) if self._holds(pa, words)}
        for number, (transition, records) in enumerate(zip(self._path, self._records, strict=True)):
            state = self._changes(self._states[number], self._states[number + 1], lines, cpus)
            told = list(self._told(number, transition, records, words, cpus, lines))
            for at, step in enumerate(told):
                last = at == len(told) - 1
                yield step if not last else replace(step, state=state)
        if self._property() is not None:
            yield from self._where_they_are(cpus)
        for text in self._at_end(words):
            yield StoryStep(self._positions.end, -1, text, "")

    def _property(self) -> Resolved | None:
        # The user's property that the finding is about.
        watch = self._system.stepper.watch
        if watch is None or self._finding.rule != "property":
            return None
        return watch.of_text(str(self._finding["text"]))

    def _where_they_are(self, cpus: tuple[int, ...]) -> Iterator[StoryStep]:
        # What a property sees of a CPU is where it stands, which no record tells.
        for cpu in cpus:
            pc = pc_of(self._states[-1].locals[cpu])
            if pc:
                yield StoryStep(self._positions.end, cpu, "stands here", self._at(pc))

    def _at_end(self, words: set[int]) -> Iterator[str]:
        # What happens when no CPU does anything more.
        marks = [mark for mark in self._confirmed.found.marks if self._holds(mark[4] & -self._granule, words)]
        for kind, _, _, _, pa, value in marks:
            if kind is Kind.LINE:
                yield list(self._choices.values())[value].format(self._line(pa)) + ", at the end"
        for kind, _, _, _, pa, value in marks:
            if kind is Kind.LOST:
                yield self._lost(pa, value)

    def _lost(self, pa: int, value: int) -> str:
        return f"{self._names.pa(pa, -1)} = {value:#x} is lost"

    def _holds(self, first: int, words: set[int]) -> bool:
        return any(first <= pa < first + self._granule for pa in words)

    def _told(
        self,
        number: int,
        transition: Transition,
        records: list[Record],
        words: set[int],
        cpus: tuple[int, ...],
        lines: set[int],
    ) -> Iterator[StoryStep]:
        kind, target = transition.pick
        begins = self._positions.of_pick(number)
        if kind in self._choices and self._system.footprints.unit_index[target] in lines:
            yield StoryStep(begins, -1, self._choices[kind].format(self._line(target)), "")
        if kind == "delay" and target in cpus:
            yield StoryStep(begins, target, "its maintenance takes effect later", self._where(records))
        if kind == "fail" and target in cpus:
            yield StoryStep(begins, target, "its store-exclusive fails by itself", self._where(records))
        if kind == "start" and target in cpus:
            yield StoryStep(begins, target, "firmware starts it", "")
        if kind == "timeout" and target in cpus:
            yield StoryStep(begins, target, "gives up waiting", self._where(records))
        for record, position in zip(records, self._positions.of_records(number, records), strict=True):
            cpu = record.actor
            if cpu not in cpus:
                continue
            if record.kind in _ACCESSES:
                touched = any(pa in words for pa in range(record.pa, record.pa + record.size))
                if not touched and not any(self._holds_line(record.pa, index) for index in lines):
                    continue
                if record.kind not in STORES and not touched:
                    continue
            elif record.kind is Kind.CACHE:
                if not any(self._holds_line(self._pa_of(record.pa), index) for index in lines):
                    continue
            elif record.kind not in _ALWAYS:
                continue
            text, part = step_text(record, self._trace, self._names), self._part(record)
            yield StoryStep(position, cpu, text, self._at(record.pc), part=part)
        for note in transition.notes:
            if note.kind is Kind.LOST and self._holds(note.pa & -self._granule, words):
                yield StoryStep(begins, -1, self._lost(note.pa, note.value), "")

    def _part(self, record: Record) -> Part:
        # The finding names records; where these are no accesses: what was loaded of its words, and its store.
        for each in self._fault:
            if each is record:
                return Part.LOAD if record.kind in LOADS else Part.STORE
        return Part.NONE

    def _at_fault(self) -> list[Record]:
        rows = [self._trace.row(number) for number in self._finding.records]
        wanted = [row for row in rows if row[0] in (*_ACCESSES, Kind.SEV)]
        found = []
        for row in wanted:
            same = [
                each
                for records in self._records
                for each in records
                if (each.kind, each.size, each.actor, each.pc, each.pa, each.value) == row
            ]
            found += same[-1:]
        return found

    def _passed(self, words: set[int]) -> list[Record]:
        # The first load by a CPU of the finding that gave a value it is about, and the store of that before.
        values = {int(value) for _, value in self._finding.data if isinstance(value, VA | Word)}
        stored: dict[tuple[int, int], Record] = {}
        for record in (record for records in self._records for record in records):
            key = (record.pa, record.value)
            if record.kind in STORES and record.value >= _VALUE_MIN:
                stored[key] = record
            elif record.kind not in LOADS or record.actor not in self._finding.cpus or record.pa not in words:
                continue
            elif record.value in values and key in stored and stored[key].actor != record.actor:
                return [stored[key], record]
        return []

    def _holds_line(self, pa: int, index: int) -> bool:
        return pa & -self._granule == self._system.model.units[index]

    def _pa_of(self, address: int) -> int:
        return self._boot.guest.pa_of(address) if address >> 63 else address

    def _where(self, records: list[Record]) -> str:
        return self._at(records[0].pc) if records else ""

    def _at(self, pc: int) -> str:
        local = self._local(pc) if pc else ""
        return "" if local.startswith("0x") else local

    def _local(self, pc: int) -> str:
        # file:line where that is known, else symbol+offset.
        if self._names.is_host(pc):
            return self._names.place(pc)
        source = self._boot.guest.subject.lines.at(self._pa_of(pc))
        return f"{PurePath(source[0]).name}:{source[1]}" if source else self._names.place(pc)

    def _line(self, first: int) -> str:
        for pa in range(first, first + self._granule, 4):
            name = self._names.pa(pa, -1)
            if not name.startswith("0x"):
                return f"the line of {name.partition('+')[0]}"
        return f"the line at {first:#x}"

    def _changes(
        self, before: GlobalState, after: GlobalState, lines: set[int], cpus: tuple[int, ...]
    ) -> str:
        parts = []
        for index in sorted(lines):
            told = self._system.model.describe(before.model, after.model, index)
            if told:
                parts.append(f"{self._line(self._system.model.units[index])}: {told}")
        for cpu in [cpu for cpu in cpus if cpu in self._waiters]:
            bit = 1 << cpu
            slept = before.locals[cpu].state is State.WAITING
            sleeps = after.locals[cpu].state is State.WAITING
            if (before.system.events ^ after.system.events) & bit or slept != sleeps:
                event = int(bool(after.system.events & bit))
                parts.append(f"CPU{cpu}: event register {event}{', asleep' if sleeps else ''}")
        return "; ".join(parts)

    def _race(self) -> list[str]:
        # As kernel/kcsan/report.c prints it.
        rows = [row for row in self._trace.rows() if row[0] == Kind.RACE][-2:]
        found = [f"BUG: KCSAN: data-race in {' / '.join(self._function(row[3]) for row in rows)}"]
        values = {}
        for _, size, cpu, pc, pa, value in rows:
            stores = bool(size & 0x80)
            values[stores] = value
            what = "write" if stores else "read"
            name = self._names.pa(pa, cpu)
            found.append(f"{what} to {pa:#x} ({name}) of {size & 0x7F} bytes by CPU{cpu}:")
            found.append(f" {self._function(pc)} at {self._local(pc)}")
        if len(values) == 2:
            found.append(f"value changed: {values[False]:#x} -> {values[True]:#x}")
        return found

    def _function(self, pc: int) -> str:
        location = self._trace.location(pc)
        if location is None:
            return self._names.place(pc).partition("+")[0]
        return function_at(location)
