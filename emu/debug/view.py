"""What a debugger shows, as data that can be sent as JSON: CPUs, registers, code, operations, boot data.

Nothing here changes the machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emu.arch import psci, sysreg
from emu.arch.fields import syndrome
from emu.arch.mpidr import INVALID_HWID, hwid
from emu.constraints import constraint_words
from emu.cpu.sysregs.rows import BY_NAME
from emu.debug.data_names import DataNames
from emu.debug.debugged import Code
from emu.debug.host_locals import host_locals
from emu.debug.session import Session
from emu.debug.sources import find_source
from emu.debug.stops import Breakpoint, DebugSettings, Watchpoint
from emu.finding import Verdict
from emu.host.played import frames, function_at
from emu.machine.actor import State, end_pc
from emu.models import MODELS
from emu.operation import OPERATIONS, Kind, Record, Store
from emu.report.disassembly import disassemble
from emu.report.words import outcome_words
from emu.rules import judge

_OF_LEVEL = ("SCTLR", "TTBR0", "TTBR1", "TCR", "MAIR", "VBAR", "TPIDR")
_FLAGS = "NZCV"
_TARGET = re.compile(r"#(0xffff[0-9a-f]{12})\b")  # of a branch or of ADR, as Capstone writes it


@dataclass(frozen=True, slots=True)
class CodeLocation:
    """The code that a PC is at, or the line of a host task.

    :ivar name: ``symbol+0x10``, or the name of the host function
    :ivar file: source file as the assembler, the compiler or Python names it; empty when unknown
    :ivar text: the instruction, or the host's next operation
    """

    name: str
    file: str
    line: int
    text: str

    @property
    def source(self) -> str:
        """``file:line``, or empty."""
        return f"{self.file}:{self.line}" if self.file else ""

    def __str__(self) -> str:
        return self.name + (f" ({self.source})" if self.file else "")


@dataclass(frozen=True, slots=True)
class CpuView:
    """One CPU: ``hwid`` is -1 for a number without a CPU; ``state`` as :meth:`Session.state` names it.

    ``el`` is -1 while the PE is off, or a host task runs on this CPU.
    """

    cpu: int
    hwid: int
    state: str
    el: int
    mmu: bool
    place: CodeLocation

    @property
    def mode(self) -> str:
        """The exception level and the MMU, and whether it sleeps; of a CPU without guest code its state."""
        asleep = " asleep" if self.state in ("wfe", "wfi") else " spins" if self.state == "spins" else ""
        return f"EL{self.el} MMU {'on' if self.mmu else 'off'}{asleep}" if self.el >= 0 else self.state


@dataclass(frozen=True, slots=True)
class CodeLine:
    """One instruction: its address (VA, or PA with the MMU off); whether the PC or a breakpoint is there."""

    address: int
    name: str
    source: str
    text: str
    here: bool
    breakpoint: bool


@dataclass(frozen=True, slots=True)
class Datum:
    """One shared word, its value, and the meaning of that value."""

    name: str
    value: int
    size: int
    meaning: str


class View:
    """Reads a session; changes nothing."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._data_names: tuple[Code, DataNames] | None = None  # of a guest, which kexec replaces

    # -- places -----------------------------------------------------------------------------------

    def place(self, cpu: int) -> CodeLocation:
        """Return the code location of ``cpu``."""
        session = self.session
        actor = session.machine.actors[cpu]
        if actor.task is not None:
            frame = frames(actor.task)[0]
            return CodeLocation(frame.shown, frame.file, frame.line, self._pending(cpu))
        if actor.state is State.OFF:
            return CodeLocation("", "", 0, "")
        found = self.place_of(end_pc(actor))
        if actor.state is State.ENDED:
            ended = actor.outcome
            text = found.text if ended is None else outcome_words(ended)
            return CodeLocation(found.name, found.file, found.line, text)
        return found

    def place_of(self, pc: int) -> CodeLocation:
        """Return the location of a PC in a trace record: of guest code, or of a host task."""
        session = self.session
        host = session.machine.trace.location(pc)
        if host is not None:
            file, _, line = host.rpartition(":")
            return CodeLocation(function_at(host), file, int(line), "")
        pa = session.places.pa(pc)
        word = session.places.word(pa)
        line_of = session.boot.guest.subject.lines.at(pa)
        text = disassemble(word, session.places.va(pc)) if word is not None else ""
        if not text.startswith("adrp"):  # a page, not a place
            text = _TARGET.sub(self._named, text)
        file, number = line_of or ("", 0)
        return CodeLocation(session.places.describe(pc), file, number, text)

    def path(self, place: CodeLocation) -> str:
        """Return the absolute path of the source file of a location, or an empty string."""
        found = find_source(place.file, self.session.boot.guest.subject.lines.folders)
        return str(found.absolute()) if found else ""

    def _named(self, match: re.Match[str]) -> str:
        # An address in an instruction as symbol+offset.
        return self.session.boot.guest.subject.symbols.describe(int(match[1], 16))

    def _pending(self, cpu: int) -> str:
        operation = self.session.machine.actors[cpu].pending
        if operation is None:
            return ""
        name = type(operation).__name__
        pa = getattr(operation, "pa", None)
        of = f" {self.data_name(pa)}" if pa is not None else ""
        if isinstance(operation, Store):
            of += f" = {operation.value % (1 << 8 * operation.size):#x}"
        return f"{name}{of}"

    def data_name(self, pa: int) -> str:
        """Return the name of the byte at a PA: a shared word, a task, a stack, a symbol, or the address."""
        guest = self.session.boot.guest
        named = self.own_name(pa)
        if named:
            return named
        if any(segment.pa <= pa < segment.pa + segment.size for segment in guest.subject.segments):
            return guest.subject.symbols.describe((pa + guest.subject.va_offset) % 2**64)
        return f"{pa:#x}"

    def named(self, pa: int) -> str:
        """Return a PA, and the name of the byte there, if it has one."""
        name = self.data_name(pa)
        return f"{pa:#x}" if name == f"{pa:#x}" else f"{pa:#x} {name}"

    def own_name(self, pa: int) -> str:
        """Return the name of the byte at a PA if it lies in a shared word, a task or a stack, or nothing."""
        guest = self.session.boot.guest
        if self._data_names is None or self._data_names[0] is not guest:
            self._data_names = guest, DataNames(guest, self.session.places.words)
        return self._data_names[1].of(pa)

    def va_name(self, va: int) -> str:
        """Return `` symbol+0x10`` for a VA of the image; nothing for another address."""
        subject = self.session.boot.guest.subject
        pa = (va - subject.va_offset) % 2**64
        if not any(segment.pa <= pa < segment.pa + segment.size for segment in subject.segments):
            return ""
        name = subject.symbols.describe(va)
        return "" if name.startswith("0x") else f" {name}"

    # -- panes ------------------------------------------------------------------------------------

    def cpu(self, cpu: int) -> CpuView:
        """Return one CPU."""
        pe = self.session.pe(cpu)
        number = -1 if pe.mpidr == INVALID_HWID else hwid(pe.mpidr)
        actor = self.session.machine.actors[cpu]
        el = -1 if actor.task is not None or actor.state is State.OFF else pe.el
        return CpuView(cpu, number, self.session.state(cpu), el, pe.mmu_on, self.place(cpu))

    def registers(self, cpu: int) -> dict[str, int]:
        """Return the registers of ``cpu`` by name; ``NZCV`` has the flags in bits 3:0."""
        pe = self.session.pe(cpu)
        found = {f"X{number}": int(pe.x[number]) for number in range(31)}
        found |= {"SP": pe.sp, "PC": pe.pc, "NZCV": pe.nzcv >> 28, "EL": pe.el}
        found["SP_EL0"] = pe.stack_pointer(0)
        found |= {name: pe.sysreg(BY_NAME[name].encoding) for name in self._system(cpu)}
        return found

    def _system(self, cpu: int) -> list[str]:
        # The system registers that count where the CPU is, and those of EL2 below it.
        if self.session.machine.entry_el != 2:
            return [f"{name}_EL1" for name in _OF_LEVEL]
        pe = self.session.pe(cpu)
        if pe.el < 2:
            return [*(f"{name}_EL1" for name in _OF_LEVEL), "HCR_EL2", "VBAR_EL2", "TPIDR_EL2"]
        is_vhe = pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_E2H
        return [*(f"{name}_EL2" for name in _OF_LEVEL if is_vhe or name != "TTBR1"), "HCR_EL2"]

    def code(self, pc: int, before: int, after: int) -> list[CodeLine]:
        """Return the instructions around an address (PA or VA)."""
        session = self.session
        stops = {made.pa for made in session.settings.breakpoints.values()}
        found = []
        for address in range(pc - 4 * before, pc + 4 * (after + 1), 4):
            pa = session.places.pa(address)
            if session.places.word(pa) is None:
                continue
            place = self.place_of(address)
            found.append(CodeLine(address, place.name, place.source, place.text, address == pc, pa in stops))
        return found

    def data(self) -> list[Datum]:
        """Return the shared words as the selected CPU sees them."""
        found, cpu = [], self.session.settings.cpu
        for word in self.session.places.words:
            if word.minor:
                continue
            raw = self.session.loads.load_data(cpu, word.pa, word.size)
            if len(raw) == word.size:
                value = int.from_bytes(raw, "little")
                found.append(Datum(word.name, value, word.size, word.meaning(value)))
        return found

    def operations(self, count: int) -> list[str]:
        """Return the last operations and events, the oldest first, as lines."""
        found: list[str] = []
        for position, record in self._records_back():
            found.append(f"#{position} {self.record(record)}")
            if len(found) == count:
                break
        return found[::-1]

    def _records_back(self) -> Iterator[tuple[int, Record]]:
        session = self.session
        for position, record in session.log.records_back():
            if record.kind in _SHOWN:
                yield position, record

    def record(self, record: Record) -> str:
        """Return an operation or event as one line."""
        if record.kind is Kind.LINE:
            choices = list(MODELS[self.session.boot.case.memory].choices.values())
            return choices[record.value].format(f"the line of {self.data_name(record.pa)}")
        if record.kind is Kind.LOST:
            return f"{self.data_name(record.pa)} = {record.value:#x} is lost"
        place = self.place_of(record.pc) if record.pc else None
        at = f"  {place}" if place else ""
        return f"CPU{record.actor} {self._what(record)}{at}"

    def _what(self, record: Record) -> str:
        value, kind = record.value, record.kind
        trace = self.session.machine.trace
        match kind:
            case Kind.STORE | Kind.STORE_EXCLUSIVE | Kind.ATOMIC:
                return f"{_VERBS[kind]} {value:#x} to {self.data_name(record.pa)}"
            case Kind.LOAD | Kind.LOAD_EXCLUSIVE:
                return f"{_VERBS[kind]} {value:#x} from {self.data_name(record.pa)}"
            case Kind.BARRIER:
                return disassemble(value, 0)
            case Kind.CACHE:
                name, has_address, _ = disassemble(value, 0).partition(",")
                return f"{name} {self.data_name(self.session.places.pa(record.pa))}" if has_address else name
            case Kind.WFE:
                return "wfe, sleeps" if value else "wfe, goes on"
            case Kind.CALL:
                return f"calls {psci.function_words(value)}, x1={record.pa:#x}"
            case Kind.RETURN:
                return f"returns {value - (value >> 63 << 64)}"
            case Kind.DELAY:
                return f"waits {value} ns"
            case Kind.SEND_INTERRUPT:
                return f"interrupts CPU{value}"
            case Kind.POWER_ON:
                return f"is switched on, x0={value:#x}"
            case Kind.EXCEPTION:
                taken = f"takes an exception to EL{record.size}, ESR {value:#x}, FAR {record.pa:#x}"
                return f"{taken} ({syndrome.words(value, self.session.system.name_at)})"
            case Kind.MMU:
                return f"MMU {'on' if value & 1 else 'off'}"
            case Kind.EL:
                return f"enters EL{value}"
            case Kind.LOG:
                return f"logs: {trace.strings[value]}"
            case Kind.OUTCOME:
                return outcome_words(trace.outcome(record.size, value, record.pa))
            case Kind.MISUSE:
                return constraint_words(trace.strings[value])
            case Kind.UNSUPPORTED | Kind.STOPPED:
                return trace.strings[value]
            case Kind.SLOT:
                return f"takes slot {record.pa:#x} of {value}"
            case Kind.FETCH:
                return "executes what was stored"
            case Kind.COPY:
                return f"copies {value:#x} bytes to {record.pa:#x}"
        return _VERBS.get(kind, kind.name.lower().replace("_", " "))

    def dmesg(self) -> list[str]:
        """Return the kernel's log, with time stamps."""
        return self.session.dmesg()

    def findings(self, turns: Callable[[Iterable[str]], Iterable[str]] = iter) -> Verdict:
        """Return what the rules find in the trace so far, as if the run ended here.

        :param turns: as :func:`emu.rules.judge` has it
        """
        return judge(self.session.machine.trace_if_over(), turns=turns)

    # -- all of it --------------------------------------------------------------------------------

    def snapshot(self, before: int, after: int, operations: int) -> dict[str, Any]:
        """Return everything that a screen shows, as data for JSON.

        :param before: lines of code before the PC; ``after``: behind it
        :param operations: how many of the last operations
        """
        session, settings = self.session, self.session.settings
        cpu = settings.cpu
        silent = self.cpu(cpu).el < 0
        place = self.place(cpu)
        lines = session.boot.guest.subject.lines
        marked = [lines.at(made.pa) for made in settings.breakpoints.values()]
        return {
            "position": session.position,
            "ended": session.ended,
            "now": session.machine.now,
            "cpu": cpu,
            "others": settings.others.value,
            "cpus": [{**asdict(found), "mode": found.mode} for found in map(self.cpu, session.cpus)],
            "registers": {} if silent else self.registers(cpu),
            "place": asdict(place),
            "path": self.path(place),
            "stack": [asdict(frame) for frame in frames(session.machine.actors[cpu].task)],
            "locals": [asdict(each) for each in host_locals(session.machine.actors[cpu].task)],
            "code": [] if silent else [asdict(line) for line in self.code(session.pe(cpu).pc, before, after)],
            "marked": [list(at) for at in marked if at],
            "operations": self.operations(operations),
            "data": [asdict(datum) for datum in self.data()],
            "stops": stop_lines(settings),
        }


def stop_lines(settings: DebugSettings) -> list[str]:
    """Return the breakpoints and watchpoints, one a line, by number."""
    made: dict[int, Breakpoint | Watchpoint] = {**settings.breakpoints, **settings.watchpoints}
    return [_stop_line(made[number]) for number in sorted(made)]


def _stop_line(made: Breakpoint | Watchpoint) -> str:
    if isinstance(made, Breakpoint):
        parts = [f"{made.number}", "tbreak" if made.temporary else "break", made.text]
        parts += [f"if {made.condition}"] if made.condition else []
    else:
        parts = [f"{made.number}", "watch", made.text, made.access]
    parts += [f"cpu {made.cpu}"] if made.cpu >= 0 else []
    return " ".join([*parts, f"({made.hits} hits)"] if made.hits else parts)


def changed(before: Mapping[str, int], now: Mapping[str, int]) -> set[str]:
    """Return the names whose values differ or are new; none when ``before`` is empty."""
    return {name for name, value in now.items() if before and before.get(name) != value}


def flags(value: int) -> str:
    """Return NZCV (bits 3:0) as letters, capital when set."""
    return "".join(letter if value >> 3 - bit & 1 else letter.lower() for bit, letter in enumerate(_FLAGS))


_VERBS = {
    Kind.LOAD: "loads",
    Kind.STORE: "stores",
    Kind.ATOMIC: "exchanges",
    Kind.LOAD_EXCLUSIVE: "loads exclusively",
    Kind.STORE_EXCLUSIVE: "stores exclusively",
    Kind.TLB: "tlbi",
    Kind.PARK: "parks",
    Kind.POWER_OFF: "is switched off",
    Kind.LAND: "arrives in C",
    Kind.WAKE: "wakes",
}
_SHOWN = (OPERATIONS - {Kind.CALL_ARGS}) | {
    Kind.POWER_ON,
    Kind.POWER_OFF,
    Kind.EXCEPTION,
    Kind.MMU,
    Kind.EL,
    Kind.LAND,
    Kind.WAKE,
    Kind.MISUSE,
    Kind.SLOT,
    Kind.LINE,
    Kind.LOST,
    Kind.UNSUPPORTED,
    Kind.LOG,
    Kind.OUTCOME,
    Kind.COPY,
    Kind.FETCH,
}
