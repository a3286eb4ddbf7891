"""The debugger's command language: a line of text in, lines of text out, for scripts, prompts and monitors.

A command that goes back in time raises :class:`GoBack`; the front end travels and calls
:meth:`Commands.arrived` where it arrives. This is one file because its commands are one table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from emu.debug.session import Session
from emu.debug.sources import read_source
from emu.debug.stops import Event, Others, Stop
from emu.debug.view import Place, View, changed, flags, stop_lines
from emu.errors import InvalidCase
from emu.operation import OPERATIONS, Record
from emu.registry import not_one_of
from emu.report.words import finding_words

_CPU_AT_END = re.compile(r"(?:^|\s+)cpu\s+(\d+)$")
_SIZE_AT_END = re.compile(r"\s+size\s+(\d+)$")
_SIZES = (1, 2, 4, 8)
_LIST_LINES = 5


class GoBack(Exception):
    """A command wants an earlier position: the front end is to travel there.

    :ivar position: where to
    :ivar stop: why it stands there then
    """

    def __init__(self, position: int, stop: Stop) -> None:
        super().__init__(f"back to {position}")
        self.position = position
        self.stop = stop


class Quit(Exception):
    """The command ``quit``."""


@dataclass(slots=True)
class Memory:
    """What the commands remember between stops; it comes along through time.

    :ivar seen: registers by CPU at the last stop, for what has changed since
    """

    seen: dict[int, dict[str, int]]


Handler = Callable[["Commands", str], list[str]]


@dataclass(frozen=True, slots=True)
class _Entry:
    names: tuple[str, ...]
    usage: str
    what: str
    run: Handler


_TABLE: dict[str, _Entry] = {}
_LISTED: list[_Entry] = []


def _command(names: str, usage: str, what: str) -> Callable[[Handler], Handler]:
    # Enter a function into the table: its names (the first is the command's own), its arguments, its purpose.
    def enter(run: Handler) -> Handler:
        entry = _Entry(tuple(names.split()), usage, what, run)
        _LISTED.append(entry)
        for name in entry.names:
            assert name not in _TABLE, f"two commands named {name}"
            _TABLE[name] = entry
        return run

    return enter


class Commands:
    """Runs commands on one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.view = View(session)
        self.memory = Memory({})
        self.stop = Stop("start", session.settings.cpu)

    def run(self, line: str) -> list[str]:
        """Run one line; a blank one and a comment (``# ...``) do nothing.

        :raises InvalidCase: no such command, or it cannot be done
        :raises GoBack: it needs an earlier position
        :raises Quit: nothing more is to be run
        """
        word, _, rest = line.strip().partition(" ")
        if not word or word.startswith("#"):
            return []
        entry = _TABLE.get(word)
        if entry is None:
            near = [name for name in _TABLE if name.startswith(word)]
            hint = f"; did you mean {', '.join(near)}?" if near else "; try help"
            raise InvalidCase(f"{word}: no such command{hint}")
        return entry.run(self, rest.strip())

    def arrived(self, stop: Stop) -> list[str]:
        """Return what to say after a journey back."""
        return self.stopped(stop)

    @property
    def names(self) -> list[str]:
        """The commands, each by its first name."""
        return [entry.names[0] for entry in _LISTED]

    # -- what the commands share ------------------------------------------------------------------

    @property
    def cpu(self) -> int:
        """The selected CPU."""
        return self.session.settings.cpu

    def remember(self) -> None:
        """Keep the registers as they are, for what changes from here on."""
        session = self.session
        self.memory.seen = {
            cpu: self.view.registers(cpu) for cpu in session.cpus if session.machine.actors[cpu].task is None
        }

    def changed(self, cpu: int) -> set[str]:
        """Return the registers of ``cpu`` that differ from those at the last stop."""
        return changed(self.memory.seen.get(cpu, {}), self.view.registers(cpu))

    def stopped(self, stop: Stop) -> list[str]:
        """Take note of a stop, and return it as text: why, and where."""
        settings = self.session.settings
        self.stop = stop
        if stop.reason not in ("step", "interrupt", "goal", "end", "start"):
            settings.cpu = stop.cpu
        return [*self.why(stop), self.where(self.cpu)]

    def why(self, stop: Stop) -> list[str]:
        """Return why it stopped, or nothing when that was the plan."""
        if stop.reason == "breakpoint":
            return [f"breakpoint {stop.number}: {stop.text}, CPU{stop.cpu}"]
        if stop.reason == "watchpoint":
            return [f"watchpoint {stop.number}: {stop.text}, CPU{stop.cpu}", *self._touched(stop)]
        if stop.reason == "event":
            return [f"CPU{stop.cpu}: {stop.text}"]
        if stop.reason == "end":
            return [f"the end: {stop.text}"]
        return [stop.text] if stop.text else []

    def _touched(self, stop: Stop) -> list[str]:
        # The operation behind a watchpoint's stop: the last step's, or the next one's after a way back.
        session = self.session
        if session.position == 0:
            return []
        found = []
        for index in session.log.rows_of(session.position - 1):
            record = session.log.row(index)
            if record.pa == stop.pa and record.kind in OPERATIONS and record.size:
                found.append(f"  {self.view.record(record)}")
        return found[:1]

    def where(self, cpu: int) -> str:
        """Return the position, a CPU and where it stands, in one line."""
        found = self.view.cpu(cpu)
        place = f"  {found.place}" if found.place.name else ""
        text = f": {found.place.text}" if found.place.text else ""
        return f"#{self.session.position} CPU{cpu} {found.mode}{place}{text}"

    def go_to(self, position: int, stop: Stop) -> list[str]:
        """Stand at a position, earlier or later."""
        self.remember()
        if position < self.session.position:
            raise GoBack(position, stop)
        if position > self.session.position:
            stop_ = self.session.run_to(position)
            stop = stop_ if stop_.reason == "end" else stop
        return self.stopped(stop)

    def forward(self, move: Callable[[], Stop], times: int = 1) -> list[str]:
        """Do something that steps, so many times unless something stops it."""
        self.remember()
        stop = self.stop
        for _ in range(times):
            stop = move()
            if stop.reason != "step" or stop.text:
                break
        return self.stopped(stop)


def _number(text: str, what: str, default: int | None = None, least: int = 0) -> int:
    if not text and default is not None:
        return default
    try:
        value = int(text.removeprefix("#"), 0)
    except ValueError:
        raise InvalidCase(f"{text or 'nothing'}: {what} is a number") from None
    if value < least:
        raise InvalidCase(f"{value}: {what} is at least {least}")
    return value


def _none(text: str) -> None:
    if text:
        raise InvalidCase(f"{text}: the command takes nothing more")


def _cpu_of(commands: Commands, text: str) -> tuple[str, int]:
    # The text without "cpu N" at its end, and N or -1.
    match = _CPU_AT_END.search(text)
    if not match:
        return text, -1
    return text[: match.start()].strip(), _checked_cpu(commands, int(match[1]))


def _checked_cpu(commands: Commands, cpu: int) -> int:
    if cpu not in commands.session.cpus:
        raise InvalidCase(f"cpu {cpu}: there are {len(commands.session.cpus)}, from 0 on")
    return cpu


# -- forwards -------------------------------------------------------------------------------------


@_command("step s stepi si", "[N]", "let the CPU do N instructions (of a host task, operations)")
def _step(self: Commands, text: str) -> list[str]:
    return self.forward(lambda: self.session.step(self.cpu), _number(text, "N", 1, 1))


@_command("op o", "[N]", "run until the CPU has done an operation that others can see")
def _op(self: Commands, text: str) -> list[str]:
    return self.forward(lambda: self.session.step_operation(self.cpu), _number(text, "N", 1, 1))


@_command("finish fin", "", "run until the CPU's function returns")
def _finish(self: Commands, text: str) -> list[str]:
    _none(text)
    return self.forward(lambda: self.session.step_out(self.cpu))


@_command("leave", "", "run the CPU alone until it is out of the loop around its PC")
def _leave(self: Commands, text: str) -> list[str]:
    _none(text)
    return self.forward(lambda: self.session.leave_loop(self.cpu))


@_command("other", "", "run until another CPU acts, and select that one")
def _other(self: Commands, text: str) -> list[str]:
    _none(text)
    self.remember()
    stop = self.session.until_other()
    if stop.reason == "step":
        self.session.settings.cpu = stop.cpu
    return self.stopped(stop)


@_command("continue c", "", "run until something stops it")
def _continue(self: Commands, text: str) -> list[str]:
    _none(text)
    return self.forward(self.session.go_on)


@_command("until", "PLACE [cpu N]", "run until a CPU gets to a place")
def _until(self: Commands, text: str) -> list[str]:
    place, cpu = _cpu_of(self, text)
    made = self.session.add_breakpoint(_given(place, "PLACE"), cpu=cpu, temporary=True)
    self.remember()
    try:
        stop = self.session.go_on()
    finally:
        self.session.delete(made.number)
    if stop.reason == "breakpoint" and stop.number == made.number:
        self.session.settings.cpu = stop.cpu
        stop = Stop("step", stop.cpu)
    return self.stopped(stop)


@_command("goto", "POSITION", "go to a position, earlier or later; #N is a position too")
def _goto(self: Commands, text: str) -> list[str]:
    return self.go_to(_number(text, "a position"), Stop("goal", self.cpu))


# -- backwards ------------------------------------------------------------------------------------


@_command("back b-", "[N]", "undo the CPU's last N steps, and all that came after them")
def _back(self: Commands, text: str) -> list[str]:
    count, position = _number(text, "N", 1, 1), -1
    for at, cpu, _pc in self.session.log.steps_back():
        if cpu == self.cpu:
            position, count = at, count - 1
            if not count:
                break
    if position < 0:
        raise InvalidCase(f"CPU{self.cpu} has done nothing that could be undone")
    why = "as far back as it goes" if count else ""
    return self.go_to(position, Stop("step", self.cpu, why))


@_command("back-op", "", "go back to before the CPU's last operation that others can see")
def _back_op(self: Commands, text: str) -> list[str]:
    _none(text)
    log = self.session.log
    for position, cpu, _pc in log.steps_back():
        if cpu == self.cpu and any(log.row(i).kind in OPERATIONS for i in log.rows_of(position)):
            return self.go_to(position, Stop("step", self.cpu))
    raise InvalidCase(f"CPU{self.cpu} has done no operation")


@_command("rcontinue rc", "", "go back to the last breakpoint or watchpoint")
def _rcontinue(self: Commands, text: str) -> list[str]:
    _none(text)
    position, stop = self.session.find_stop_back()
    return self.go_to(position, stop)


# -- stops ----------------------------------------------------------------------------------------


def _given(text: str, what: str) -> str:
    if not text:
        raise InvalidCase(f"{what} is missing")
    return text


def _add_breakpoint(self: Commands, text: str, temporary: bool) -> list[str]:
    text, cpu = _cpu_of(self, text)
    place, _, condition = text.partition(" if ")
    place, cpu = _cpu_of(self, place.strip()) if cpu < 0 else (place.strip(), cpu)
    condition = condition.strip()
    if condition:
        _check_condition(self, condition)
    where = place or _here(self)
    made = self.session.add_breakpoint(where, cpu=cpu, condition=condition, temporary=temporary)
    line = self.view.place_of(made.pa)
    return [f"breakpoint {made.number} at PA {made.pa:#x}: {line}"]


def _here(self: Commands) -> str:
    if self.session.machine.actors[self.cpu].task is not None:
        raise InvalidCase(f"CPU{self.cpu} runs a host task: name a place")
    if self.view.cpu(self.cpu).el < 0:
        raise InvalidCase(f"CPU{self.cpu} is off: name a place")
    return self.session.places.describe(self.session.pe(self.cpu).pc)


def _check_condition(self: Commands, condition: str) -> None:
    # Of now nothing is asked but that it is an expression: there may be no memory yet where it looks.
    try:
        self.session.evaluate(condition, self.cpu)
    except InvalidCase as error:
        if not str(error).endswith("no memory there"):
            raise


@_command("break b", "[PLACE] [if CONDITION] [cpu N]", "stop at an instruction, whatever the MMU does")
def _break(self: Commands, text: str) -> list[str]:
    return _add_breakpoint(self, text, temporary=False)


@_command("tbreak tb", "[PLACE] [if CONDITION] [cpu N]", "stop there once")
def _tbreak(self: Commands, text: str) -> list[str]:
    return _add_breakpoint(self, text, temporary=True)


@_command("toggle", "[PLACE]", "set a breakpoint there, or delete the one that is there")
def _toggle(self: Commands, text: str) -> list[str]:
    pa = self.session.places.instruction(text or _here(self))
    for made in self.session.settings.breakpoints.values():
        if made.pa == pa:
            self.session.delete(made.number)
            return [f"breakpoint {made.number} deleted"]
    return _add_breakpoint(self, text, temporary=False)


@_command(
    "watch w", "DATA [write|read|access|change] [size N] [cpu N]", "stop when it is touched, by anybody"
)
def _watch(self: Commands, text: str) -> list[str]:
    text, cpu = _cpu_of(self, text)
    found = _SIZE_AT_END.search(text)
    size = int(found[1]) if found else 0
    if found and not 1 <= size <= 4096:
        raise InvalidCase(f"size {size}: 1..4096 bytes")
    text = text[: found.start()] if found else text
    place, _, access = text.strip().partition(" ")
    access = access.strip() or "write"
    if access not in ("write", "read", "access", "change"):
        raise InvalidCase(f"{access}: write, read, access or change")
    made = self.session.add_watchpoint(_given(place, "DATA"), size, access=access, cpu=cpu)
    return [f"watchpoint {made.number} at PA {made.pa:#x}, {made.size} bytes: {made.text}"]


@_command("delete d", "[N]", "forget a breakpoint or watchpoint, or all")
def _delete(self: Commands, text: str) -> list[str]:
    settings = self.session.settings
    if not text:
        settings.breakpoints.clear()
        settings.watchpoints.clear()
        return []
    if not self.session.delete(_number(text, "N")):
        raise InvalidCase(f"{text}: no breakpoint and no watchpoint has that number")
    return []


@_command("events", "[EVENT ...|all|none]", "stop at events; without arguments: which there are")
def _events(self: Commands, text: str) -> list[str]:
    settings, names = self.session.settings, {event.value: event for event in Event}
    words = text.split()
    if words == ["none"]:
        settings.events = set()
    elif words == ["all"]:
        settings.events = set(Event)
    elif words:
        for word in words:
            if word not in names:
                raise InvalidCase(f"{word}: {not_one_of(word, [*names, 'all', 'none'])}")
        settings.events |= {names[word] for word in words}
    return [f"{'*' if event in settings.events else ' '} {event.value}" for event in Event]


@_command("info", "breakpoints|cpus|events", "list them")
def _info(self: Commands, text: str) -> list[str]:
    if text in ("breakpoints", "break", "b"):
        return stop_lines(self.session.settings) or ["none"]
    if text in ("cpus", "threads"):
        return _cpus(self, "")
    if text == "events":
        return _events(self, "")
    raise InvalidCase(f"{text or 'nothing'}: breakpoints, cpus or events")


# -- CPUs -----------------------------------------------------------------------------------------


@_command("cpu thread", "[N]", "select a CPU; without N: which is")
def _cpu(self: Commands, text: str) -> list[str]:
    self.session.settings.cpu = _checked_cpu(self, _number(text, "N", self.cpu))
    return [self.where(self.cpu)]


@_command("cpus", "", "list the CPUs")
def _cpus(self: Commands, text: str) -> list[str]:
    _none(text)
    rows = ["  CPU hwid         state    EL MMU  at"]
    for number in self.session.cpus:
        cpu = self.view.cpu(number)
        name = "-" if cpu.hwid < 0 else f"{cpu.hwid:#x}"
        mode = f"{cpu.el:<2} {'on' if cpu.mmu else 'off':<3}" if cpu.el >= 0 else "-  -  "
        mark = "*" if number == self.cpu else " "
        rows.append(f"{mark} {number:<3} {name:<12} {cpu.state:<8} {mode}  {_short(cpu.place)}".rstrip())
    return rows


def _short(place: Place) -> str:
    return f"{place}" if place.name else ""


@_command("others", "[schedule|stand|free]", "what the other CPUs do while one is stepped")
def _others(self: Commands, text: str) -> list[str]:
    settings, names = self.session.settings, {others.value: others for others in Others}
    if text and text not in names:
        raise InvalidCase(f"{text}: {', '.join(names)}")
    settings.others = names.get(text, settings.others)
    return [f"the others: {settings.others.value}"]


# -- looking --------------------------------------------------------------------------------------


@_command("where position", "", "the position, the CPU, and where it stands")
def _where(self: Commands, text: str) -> list[str]:
    _none(text)
    return [*self.why(self.stop), self.where(self.cpu)]


@_command("regs r", "[cpu N]", "registers; * is changed since the last stop")
def _regs(self: Commands, text: str) -> list[str]:
    rest, cpu = _cpu_of(self, text)
    _none(rest)
    cpu = self.cpu if cpu < 0 else cpu
    values, marked = self.view.registers(cpu), self.changed(cpu)
    cells = []
    for name, value in values.items():
        mark = "*" if name in marked else " "
        if name == "NZCV":
            cells.append(f"{mark}{name:<9} {flags(value):<18}")
        else:
            cells.append(f"{mark}{name:<9} {value:#018x}")
    third = -(-len(cells) // 2)
    pairs = [(cells[row], cells[row + third] if row + third < len(cells) else "") for row in range(third)]
    return ["  ".join(pair).rstrip() for pair in pairs]


@_command("x", "DATA [N]", "N words of memory, 8 bytes each")
def _x(self: Commands, text: str) -> list[str]:
    place, _, count = text.partition(" ")
    pa, width = self.session.places.data(_given(place, "DATA"))
    size = width if width in _SIZES and not count else 8
    rows = []
    for at in range(pa, pa + size * _number(count.strip(), "N", 1, 1), size):
        raw = self.session.read(at, size)
        if len(raw) < size:
            raise InvalidCase(f"{at:#x}: no memory there")
        value = int.from_bytes(raw, "little")
        meaning = next((word.meaning(value) for word in self.session.places.words if word.pa == at), "")
        means = f"  {meaning}" if meaning else ""
        rows.append(f"{at:#x} {self.view.data_name(at)}: {value:#0{2 + 2 * size}x}{means}")
    return rows


@_command("print p", "EXPRESSION", "its value on the CPU: x0, sp, symbol, [address], u32[address] ...")
def _print(self: Commands, text: str) -> list[str]:
    value = self.session.evaluate(_given(text, "EXPRESSION"), self.cpu)
    return [f"{value:#x} ({value})"]


@_command("disas", "[PLACE] [N]", "instructions around the PC, or N from a place on")
def _disas(self: Commands, text: str) -> list[str]:
    place, _, count = text.partition(" ")
    if place:
        pa = self.session.places.instruction(place)
        found = self.view.code(pa, 0, _number(count.strip(), "N", 10, 1) - 1)
    else:
        _here(self)
        found = self.view.code(self.session.pe(self.cpu).pc, _LIST_LINES, _LIST_LINES)
    width = max((len(line.name) for line in found), default=0)
    here = self.session.places.pa(self.session.pe(self.cpu).pc)
    rows = []
    for line in found:
        mark = ">" if self.session.places.pa(line.address) == here else " "
        stop = "b" if line.breakpoint else " "
        rows.append(f"{mark}{stop} {line.address:016x} {line.name:<{width}} {line.text}")
    return rows


@_command("list l", "", "source around the place where the CPU stands")
def _list(self: Commands, text: str) -> list[str]:
    _none(text)
    place = self.view.place(self.cpu)
    lines = read_source(self.view.path(place))
    if not lines:
        raise InvalidCase(f"{place.source or place.name or 'off'}: no source; try disas")
    first = max(1, place.line - _LIST_LINES)
    last = min(len(lines), place.line + _LIST_LINES)
    return [
        f"{'>' if n == place.line else ' '} {n:4} {lines[n - 1]}".rstrip() for n in range(first, last + 1)
    ]


@_command("who-wrote who", "DATA [N]", "the last N stores to it, the last first")
def _who_wrote(self: Commands, text: str) -> list[str]:
    session, (place, _, count) = self.session, text.partition(" ")
    pa, size = session.places.data(_given(place, "DATA"))
    raw = session.read(pa, size)
    if not raw:
        raise InvalidCase(f"{place}: no memory there")
    rows = [f"{place} (PA {pa:#x}, {size} bytes) is {int.from_bytes(raw, 'little'):#x}"]
    before = None
    for _ in range(_number(count.strip(), "N", 1, 1)):
        found = session.log.last_write(pa, size, before)
        if found is None:
            rows.append("  nobody has, since the start" if before is None else "  nobody before that")
            break
        before, record = found
        to = "" if (record.pa, record.size) == (pa, size) else f" to {self.view.data_name(record.pa)}"
        was = _was(self, before, record)
        rows.append(f"  #{before} CPU{record.actor} stored {record.value:#x}{to}, before: {was}")
        rows.append(f"    at {self.view.place_of(record.pc)}, PC {_pc(self, record.pc)}")
    return rows


def _was(self: Commands, position: int, record: Record) -> str:
    # What the bytes held that a store has written.
    found = self.session.log.last_write(record.pa, record.size, position)
    if found is None:
        return "as at the start"
    earlier = found[1]
    if earlier.pa > record.pa or earlier.pa + earlier.size < record.pa + record.size:
        return f"partly {earlier.value:#x}"
    return f"{earlier.value >> 8 * (record.pa - earlier.pa) & (1 << 8 * record.size) - 1:#x}"


def _pc(self: Commands, pc: int) -> str:
    host = self.session.machine.trace.location(pc)
    return "of a host task" if host is not None else f"{pc:#x}"


@_command("log", "[N]", "the last N operations and events")
def _log(self: Commands, text: str) -> list[str]:
    return self.view.operations(_number(text, "N", 10, 1)) or ["nothing yet"]


@_command("dmesg", "", "the kernel's log")
def _dmesg(self: Commands, text: str) -> list[str]:
    _none(text)
    return self.view.dmesg() or ["nothing yet"]


@_command("data", "[TEXT]", "the boot path's shared words, decoded; only those with TEXT in their name")
def _data(self: Commands, text: str) -> list[str]:
    found = [datum for datum in self.view.data() if text in datum.name]
    if not found:
        raise InvalidCase(f"{text}: no shared word has that in its name")
    width = max(len(datum.name) for datum in found)
    return [f"{datum.name:<{width}} {datum.value:#x}  {datum.meaning}".rstrip() for datum in found]


@_command("findings", "", "let the rules judge what there is, as if the run ended here")
def _findings(self: Commands, text: str) -> list[str]:
    _none(text)
    return [f"({found.rule}) {finding_words(found)}" for found in self.view.findings().findings] or ["none"]


@_command("help h", "[COMMAND]", "this")
def _help(self: Commands, text: str) -> list[str]:
    if text and text not in _TABLE:
        raise InvalidCase(f"{text}: no such command")
    listed = [_TABLE[text]] if text else _LISTED
    rows = []
    for entry in listed:
        names = "|".join(entry.names)
        rows.append(f"{f'{names} {entry.usage}'.strip():<38} {entry.what}")
    return rows


@_command("quit q", "", "end")
def _quit(self: Commands, text: str) -> list[str]:
    raise Quit
