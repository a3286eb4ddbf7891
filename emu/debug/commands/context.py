"""What the debugger's commands share: the session, the last stop, and the table that they are listed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from emu.debug.approach import approach
from emu.debug.operands import NextInstruction, referred
from emu.debug.session import Session
from emu.debug.stops import SessionStop
from emu.debug.view import View, changed
from emu.errors import InvalidCase
from emu.machine.replay import coming
from emu.operation import OPERATIONS

_T = TypeVar("_T")
_POLL_MOVES = 64  # between two looks at whether the user wants to stop


class GoBack(Exception):
    """A command needs an earlier position: the front end travels there.

    :ivar position: the position to go to
    :ivar stop: the reason to report there
    """

    def __init__(self, position: int, stop: SessionStop) -> None:
        super().__init__(f"back to {position}")
        self.position = position
        self.stop = stop


class SourcedError(InvalidCase):
    """A line of a sourced file cannot be done.

    :ivar said: what the lines before it said
    """

    def __init__(self, message: str, said: list[str]) -> None:
        super().__init__(message)
        self.said = said


@dataclass(slots=True)
class SeenRegisters:
    """What going back in time keeps of a front end: registers at the last stop, lines of sourced files.

    :ivar by_cpu: the registers
    :ivar rest: lines yet to be run, each with its place (``FILE:LINE``)
    :ivar said: what those before have said, not yet told
    :ivar sourced: lines that one command has led to
    """

    by_cpu: dict[int, dict[str, int]]
    rest: list[tuple[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    sourced: int = 0


class Context:
    """What the commands on one session share.

    :ivar seen: the registers at the last stop
    :ivar stop: the last stop
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.view = View(session)
        self.seen = SeenRegisters({})
        self.stop = SessionStop("start", session.settings.cpu)

    @property
    def cpu(self) -> int:
        """The selected CPU."""
        return self.session.settings.cpu

    def load(self, cpu: int, address: int, size: int) -> bytes:
        """Return what a CPU would load from an address (VA or PA); fewer bytes where memory ends."""
        return self.session.loads.load(cpu, address, size)

    def named(self, address: int) -> str:
        """Return an address (VA or PA), and the name of what is there, if it has one."""
        return f"{address:#x} {self.pointed(address)}".rstrip()

    def pointed(self, value: int) -> str:
        """Return the name of what ``value`` is an address of, VA or PA; nothing when it is of nothing."""
        if value >> 63:
            return self.view.va_name(value).strip() or self.view.own_name(self.session.places.pa(value))
        if not self.session.machine.memory.contains(value, 1):
            return ""
        name = self.view.data_name(value)
        return "" if name.startswith("0x") else name

    def heeding(self, items: Iterable[_T], every: int = _POLL_MOVES) -> Iterator[_T]:
        """Yield the items; between two of them an interrupt ends the command.

        :param every: so many items the user is asked
        :raises InvalidCase: it was interrupted
        """
        for number, item in enumerate(items):
            if not number % every:
                self.heed()
            yield item

    def heed(self) -> None:
        """Let an interrupt end the command.

        :raises InvalidCase: it was interrupted
        """
        if self.session.interrupted():
            raise InvalidCase("interrupted")

    def remember(self) -> None:
        """Keep the registers of all PEs that run guest code, to mark at the next stop those that changed."""
        session = self.session
        self.seen.by_cpu = {
            cpu: self.view.registers(cpu) for cpu in session.cpus if session.machine.actors[cpu].task is None
        }

    def changed(self, cpu: int) -> set[str]:
        """Return the registers of ``cpu`` that differ from those at the last stop."""
        return changed(self.seen.by_cpu.get(cpu, {}), self.view.registers(cpu))

    def stopped(self, stop: SessionStop) -> list[str]:
        """Keep a stop as the last one, select its CPU, and return it as text: why, and where.

        At a position that was gone to the CPU is the one that acts next, where a recorded schedule says so.
        """
        settings = self.session.settings
        self.stop = stop
        if stop.reason == "goal" and (next_cpu := coming(self.session.machine)) >= 0:
            settings.cpu = next_cpu
        if stop.reason not in ("step", "interrupt", "goal", "end", "start"):
            settings.cpu = stop.cpu
        return [*self.why(stop), self.where(self.cpu)]

    def why(self, stop: SessionStop) -> list[str]:
        """Return why the session stopped; no line for a step that ended as asked."""
        if stop.reason == "breakpoint":
            return [f"breakpoint {stop.number}: {stop.text}, CPU{stop.cpu}"]
        if stop.reason == "watchpoint":
            return [f"watchpoint {stop.number}: {stop.text}, CPU{stop.cpu}", *self._touched(stop)]
        if stop.reason == "event":
            return [f"CPU{stop.cpu}: {stop.text}"]
        if stop.reason == "end":
            unmet = [made for made in self.session.settings.breakpoints.values() if not made.hits]
            return [
                f"the end: {stop.text}",
                *(f"breakpoint {made.number} was not met: {made.text}" for made in unmet),
            ]
        return [stop.text] if stop.text else []

    def _touched(self, stop: SessionStop) -> list[str]:
        # The operation that a watchpoint stopped at, when the last step performed it.
        session = self.session
        if session.position == 0:
            return []
        found = []
        for record in session.log.records_of(session.position - 1):
            if record.pa == stop.pa and record.kind in OPERATIONS and record.size:
                found.append(f"  {self.view.record(record)}")
        return found[:1]

    def refers(self, cpu: int, va: int) -> str:
        """Return what an instruction (VA, or PA with the MMU off) refers to, or nothing.

        Of the next one of ``cpu`` that is what it will access, with the value there.
        """
        places, pe = self.session.places, self.session.pe(cpu)
        word = places.word(places.pa(va))
        said = ""
        if (
            word is not None
            and va == pe.pc
            and self.view.cpu(cpu).el >= 0
            and self.session.state(cpu) != "ended"
        ):
            load = partial(self.load, cpu)
            said = NextInstruction(self.session, cpu, load, self.pointed).words(word)
        if not said:
            address = referred(lambda at: places.word(places.pa(at)), va)
            said = "" if address is None else f"{address:#x} {self.pointed(address)}".strip()
        return f"  ; {said}" if said else ""

    def where(self, cpu: int) -> str:
        """Return the position, a CPU and where its PC is, in one line."""
        found = self.view.cpu(cpu)
        place = f"  {found.place}" if found.place.name else ""
        text = f": {found.place.text}" if found.place.text else ""
        if found.el >= 0:
            text += self.refers(cpu, self.session.pe(cpu).pc)
        return f"#{self.session.position} CPU{cpu} {found.mode}{place}{text}"

    def go_to(self, position: int, stop: SessionStop) -> list[str]:
        """Go to a position, earlier or later.

        :param stop: the reason to report there
        :raises GoBack: it is an earlier one
        """
        self.remember()
        if position < self.session.position:
            raise GoBack(position, stop)
        if position > self.session.position:
            reached = approach(self.session, position, heeded=True)
            stop = stop if reached.reason == "goal" else reached
        return self.stopped(stop)

    def forward(self, move: Callable[[], SessionStop], times: int = 1) -> list[str]:
        """Call ``move``, which steps, up to ``times`` times; stop early when it reports more than a step."""
        self.remember()
        stop = self.stop
        for done in range(1, times + 1):
            stop = move()
            if stop.reason != "step" or stop.text:
                break
            if not done % _POLL_MOVES and self.session.interrupted():
                stop = SessionStop("interrupt", stop.cpu, "interrupted")
                break
        return self.stopped(stop)


Handler = Callable[[Context, str], list[str]]


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """One command: its names (the first is its own), its arguments, its purpose, and the function."""

    names: tuple[str, ...]
    usage: str
    purpose: str
    run: Handler


class CommandTable:
    """The commands of one module, in the order of ``help``."""

    def __init__(self) -> None:
        self.entries: list[CommandEntry] = []

    def command(self, names: str, usage: str, purpose: str) -> Callable[[Handler], Handler]:
        """Return a decorator that adds a function to the table."""

        def add(run: Handler) -> Handler:
            self.entries.append(CommandEntry(tuple(names.split()), usage, purpose, run))
            return run

        return add
