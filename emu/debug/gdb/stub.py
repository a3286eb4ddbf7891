"""The packets of gdb's remote protocol, answered from a debug session.

No sockets here. Going back in time leaves this process: :class:`TravelNeeded` is raised to the
server, which takes the :class:`ConnectionState` along and calls :meth:`Stub.arrived` at the target.

This is one file because all packets read and change one state, that of the connection.

Source: Debugging with GDB, appendix E (GDB Remote Serial Protocol).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from emu.cpu.sysregs import vhe
from emu.debug.commands import Commands, GoBack, SeenRegisters, SourcedError
from emu.debug.edits import PC
from emu.debug.gdb import monitor, played, registers
from emu.debug.gdb.data_packets import ERROR, OK, DataPackets
from emu.debug.gdb.description import target_xml
from emu.debug.gdb.fields import (
    BREAKPOINTS,
    WATCHPOINTS,
    Inserted,
    parse_actions,
    parse_hex,
    parse_inserted,
    parse_pair,
)
from emu.debug.gdb.packets import PACKET_MAX
from emu.debug.gdb.threads import describe, threads_xml
from emu.debug.session import Session
from emu.debug.stops import Others, SessionStop, plain_step
from emu.errors import EmuError

_UNKNOWN = b""
_WRITE_BINARY = ord("X")
_FEATURES = (
    f"PacketSize={PACKET_MAX:x};QStartNoAckMode+;qXfer:features:read+;vContSupported+;"
    "ReverseStep+;ReverseContinue+;swbreak+;hwbreak+;error-message+"
)
# Not qXfer:threads, though it is answered: gdb would read that object after each step, which costs more than
# the step. With its "set remote threads-packet on" it does.
_THREADS_A_PACKET = 256
_CONSOLE_BYTES = 2000  # of text in one O packet
_INSERTED_MAX = 4096


@dataclass(slots=True)
class ConnectionState:
    """The state of a connection; going back in time keeps it."""

    no_ack: bool = False
    cpu: int = 0  # the CPU whose registers and memory gdb reads (Hg)
    resumed: int = -1  # the CPU that s and c step (Hc); -1: `cpu`
    inserted: dict[Inserted, int] = field(default_factory=dict)  # number in the session, of each
    seen: SeenRegisters = field(default_factory=lambda: SeenRegisters({}))
    steps: bool = False  # gdb has asked for a step, and takes a SIGTRAP without a reason for its end
    stepped: int = -1  # gdb will step this CPU off an access that is done already
    explained: set[int] = field(default_factory=set)  # addresses whose breakpoints are elsewhere
    notes: list[str] = field(default_factory=list)  # to be said with the next stop
    last: bytes = b""  # the stop reply that ? repeats


class TravelNeeded(BaseException):
    """Raised by :meth:`Stub.answer` when the answer is that of an earlier position.

    :ivar position: the position to go to
    :ivar what: the argument of :meth:`Stub.arrived` there
    """

    def __init__(self, position: int, what: Any) -> None:
        super().__init__(position)
        self.position = position
        self.what = what


class Stub:
    """Answers packets about one session.

    :param ended: called when gdb kills the target
    """

    def __init__(self, session: Session, ended: Callable[[], None] = lambda: None) -> None:
        self.session = session
        self.state = ConnectionState(cpu=session.settings.cpu)
        self._ended = ended
        actors = session.machine.actors
        self._xml = target_xml(with_vhe=any(each.pe.core.has(vhe.FEATURE) for each in actors))
        self._threads = b""
        self._listed = 0  # threads told so far
        self._console = Commands(session)
        self._data = data = DataPackets(
            session,
            lambda: self.state.cpu,
            lambda cpu: played.pc_behind(session, cpu, self.state.inserted),
        )
        self._commands: dict[int, Callable[[str], list[bytes]]] = {
            ord(name[0]): function
            for name, function in (
                ("?", self._why),
                ("g", data.read_registers),
                ("G", data.write_registers),
                ("p", data.read_register),
                ("P", data.write_register),
                ("m", data.read_memory),
                ("M", data.write_memory),
                ("H", self._select),
                ("T", self._is_alive),
                ("s", partial(self._resume_one, True)),
                ("c", partial(self._resume_one, False)),
                ("S", lambda text: self._resume_one(True, text.partition(";")[2])),
                ("C", lambda text: self._resume_one(False, text.partition(";")[2])),
                ("b", self._back),
                ("Z", self._insert),
                ("z", self._remove),
                ("D", self._detach),
                ("k", self._kill),
                ("q", self._query),
                ("Q", self._set),
                ("v", self._named),
            )
        }

    # -- packets ----------------------------------------------------------------------------------

    def answer(self, packet: bytes) -> list[bytes]:
        """Return the payloads that answer a packet: none, or some of console output and one answer.

        A malformed packet gets an error reply.

        :raises TravelNeeded: the answer is that of an earlier position
        """
        if not packet:
            return [_UNKNOWN]
        kind = packet[0]
        if kind == _WRITE_BINARY:
            return self._data.write_binary(packet)
        function = self._commands.get(kind)
        if function is None:
            return [_UNKNOWN]
        try:
            return function(packet[1:].decode("latin-1"))
        except (ValueError, IndexError, OverflowError):
            return [ERROR]
        except EmuError as error:
            return [f"E.{error}".encode(errors="replace")]

    def gone(self) -> None:
        """Delete the breakpoints and watchpoints of a client that has disconnected."""
        for number in self.state.inserted.values():
            self.session.delete(number)
        self.state = ConnectionState(cpu=self.state.cpu)

    def arrived(self, what: Any) -> list[bytes]:
        """Return the answer that a :class:`TravelNeeded` was made for."""
        kind, stop = what
        if kind == "monitor":
            return self._said(lambda: monitor.arrived(self._console.arrived(stop)))
        if stop.reason == "watchpoint":
            self.state.stepped = stop.cpu  # gdb steps back over the access, which is undone already
        return self._stopped(stop)

    @staticmethod
    def console(lines: list[str]) -> list[bytes]:
        """Return O packets that let gdb print these lines."""
        data = "".join(f"{line}\n" for line in lines).encode(errors="replace")
        starts = range(0, len(data), _CONSOLE_BYTES)
        return [b"O" + data[at : at + _CONSOLE_BYTES].hex().encode() for at in starts]

    # -- threads ----------------------------------------------------------------------------------

    def _select(self, text: str) -> list[bytes]:
        cpu = self._cpu(text[1:])
        if text[:1] == "c":
            self.state.resumed = cpu
        elif text[:1] == "g":
            if cpu >= 0:
                self.state.cpu = self.session.settings.cpu = cpu
        else:
            return [ERROR]
        return [OK]

    def _is_alive(self, text: str) -> list[bytes]:
        return [OK if self._cpu(text) >= 0 else ERROR]

    def _cpu(self, text: str) -> int:
        # The CPU of a thread-id; -1: any or all. A process id is ignored: there is one process.
        if text.startswith("p"):
            text = text.partition(".")[2] or "-1"
        if text in ("-1", "0"):
            return -1
        cpu = parse_hex(text) - 1
        if cpu not in self.session.cpus:
            raise ValueError(f"thread {text}")
        return cpu

    # -- going on ---------------------------------------------------------------------------------

    def _resume_one(self, step: bool, text: str) -> list[bytes]:
        # The packets s, S (`step`), c and C; what is in the text: the PC to go on from.
        state, session = self.state, self.session
        cpu = state.resumed if state.resumed >= 0 else state.cpu
        if text:
            made = registers.edit(cpu, PC, parse_hex(text).to_bytes(8, "little"))
            assert made is not None
            session.edit(made)
        state.steps = step
        state.stepped = -1
        return self._stopped(session.step(cpu) if step else session.go_on())

    def _continue(self, text: str) -> list[bytes]:
        # vCont: the first action with a thread is for that CPU, the one without a thread for all others.
        chosen, action, default = -1, "", ""
        for what, thread in parse_actions(text):
            cpu = self._cpu(thread) if thread else -1
            if cpu >= 0 and chosen < 0:
                chosen, action = cpu, what
            elif cpu < 0 and not default:
                default = what
        if chosen < 0:
            chosen, action = self.state.cpu, default
            if action[0] in "cC":
                return self._go(self.session.go_on)
        alone = not default
        session = self.session
        self.state.steps = action[0] in "sSr"
        if action[0] in "sS":
            if alone and self.state.stepped == chosen:
                self.state.stepped = -1  # off the access that it has stopped behind
                return self._stopped(SessionStop("step", chosen))
            return self._go(lambda: session.step(chosen), alone)
        if action[0] == "r":
            first, last = (parse_hex(number) for number in action[1:].split(","))
            return self._go(lambda: self._step_range(chosen, first, last), alone)
        if action[0] == "t":
            return [OK]
        return self._go(lambda: session.go_on(chosen if alone else -1), alone)

    def _step_range(self, cpu: int, first: int, last: int) -> SessionStop:
        # Step until the PC is outside of [first, last).
        pe = self.session.pe(cpu)
        while True:
            stop = self.session.step(cpu)
            if (
                stop.reason != "step"
                or not first <= pe.pc < last
                or not self.session.machine.is_runnable(cpu)
            ):
                return stop
            if self.session.interrupted():
                return SessionStop("interrupt", cpu)

    def _go(self, run: Callable[[], SessionStop], alone: bool = False) -> list[bytes]:
        self.state.stepped = -1
        if not alone:
            return self._stopped(run())
        settings = self.session.settings
        others, settings.others = settings.others, Others.STAND
        try:
            stop = run()
        finally:
            self.session.settings.others = others
        return self._stopped(stop)

    def _back(self, text: str) -> list[bytes]:
        session, state = self.session, self.state
        cpu = state.resumed if state.resumed >= 0 else state.cpu
        if text == "s":
            if state.stepped >= 0:
                stop = SessionStop("step", state.stepped)
                state.stepped = -1
                return self._stopped(stop)
            position, _ = session.log.back(cpu, 1)
            if position < 0:
                return self._stopped(SessionStop("start", cpu))
            raise TravelNeeded(position, ("stop", SessionStop("step", cpu)))
        if text == "c":
            position, stop = session.find_stop_back()
            state.stepped = -1
            if position == session.position:
                return self._stopped(stop)
            raise TravelNeeded(position, ("stop", stop))
        return [_UNKNOWN]

    def _stopped(self, stop: SessionStop) -> list[bytes]:
        # The stop reply; console output before it tells what a stop reply cannot.
        state, session, cpu = self.state, self.session, stop.cpu
        state.cpu = session.settings.cpu = cpu
        signal, why, said = b"T05", b"", ""
        if stop is not plain_step(cpu):
            why, said = self._reason(stop)
            # While gdb steps (stepi N, next, until) it goes on behind a SIGTRAP that it knows no reason for.
            if stop.reason == "interrupt" or (state.steps and said and not why):
                signal = b"T02"
        state.steps = False
        known = registers.EXPEDITED_OF_NONE
        if session.has_registers(cpu):
            actor = session.machine.actors[cpu]
            host = actor.task is not None
            pc = played.pc_behind(session, cpu, state.inserted) if host else None
            known = registers.expedited(actor.pe, pc)
        state.last = b"%b%bthread:%x;%b" % (signal, why, cpu + 1, known)
        if not (said or state.notes):
            return [state.last]
        notes, state.notes = state.notes, []
        return [*self.console([*notes, said] if said else notes), state.last]

    def _reason(self, stop: SessionStop) -> tuple[bytes, str]:
        # What a stop reply says of the stop, and what is said in words.
        state, said, why = self.state, "", b""
        if stop.reason == "breakpoint":
            mine = self._inserted_at(self.session.pe(stop.cpu).pc)
            if mine is not None:
                why = f"{BREAKPOINTS[mine.kind]}:;".encode()
            else:  # the session's own, or gdb's at another address of the instruction: gdb shows a SIGTRAP
                said = f"breakpoint at {stop.text}"
        elif stop.reason == "watchpoint":
            mine = self._inserted(stop.number)
            if mine is None:
                said = f"watchpoint {stop.number}, {stop.text}"
            else:
                why = f"{WATCHPOINTS[mine.kind][1]}:{mine.address:x};".encode()
                state.stepped = stop.cpu  # a gdb for AArch64 steps off the access before it looks
        elif stop.reason == "end":
            said, why = stop.text, b"replaylog:end;"
        elif stop.reason == "start":
            why = b"replaylog:begin;"
        elif stop.text and stop.reason != "interrupt":
            said = stop.text
        return why, said

    def _inserted(self, number: int) -> Inserted | None:
        return next((mine for mine, made in self.state.inserted.items() if made == number), None)

    def _inserted_at(self, pc: int) -> Inserted | None:
        breakpoints = (mine for mine in self.state.inserted if mine.kind in BREAKPOINTS)
        return next((mine for mine in breakpoints if mine.address == pc), None)

    def _why(self, _text: str) -> list[bytes]:
        return [self.state.last] if self.state.last else self._stopped(SessionStop("step", self.state.cpu))

    # -- breakpoints ------------------------------------------------------------------------------

    def _insert(self, text: str) -> list[bytes]:
        mine = parse_inserted(text)
        if mine is None:
            return [_UNKNOWN]
        session, inserted = self.session, self.state.inserted
        if mine in inserted:
            return [OK]
        if len(inserted) >= _INSERTED_MAX:
            return [ERROR]
        if mine.kind in BREAKPOINTS:
            number = session.add_breakpoint(f"{self._place(mine.address):#x}").number
        else:
            located = session.loads.locate(self.state.cpu, mine.address)
            if located is None:
                return [ERROR]
            access = WATCHPOINTS[mine.kind][0]
            number = session.add_watchpoint(f"{located.pa:#x}", max(mine.size, 1), access=access).number
        inserted[mine] = number
        return [OK]

    def _place(self, address: int) -> int:
        # Where a breakpoint of gdb stops. Why not at its address is said once, with the next stop.
        first = played.first_instruction(self.session, address)
        if first is None:
            return address
        if address not in self.state.explained:
            self.state.explained.add(address)
            self.state.notes.append(played.why_elsewhere(self.session, address, first))
        return first

    def _remove(self, text: str) -> list[bytes]:
        mine = parse_inserted(text)
        if mine is None:
            return [_UNKNOWN]
        number = self.state.inserted.pop(mine, None)
        if number is not None:
            self.session.delete(number)
        return [OK]

    # -- the rest ---------------------------------------------------------------------------------

    def _detach(self, _text: str) -> list[bytes]:
        no_ack = self.state.no_ack
        self.gone()
        self.state.no_ack = no_ack
        return [OK]

    def _kill(self, _text: str) -> list[bytes]:
        self._ended()
        return []

    def _query(self, text: str) -> list[bytes]:
        name, _, rest = text.partition(":")
        if name == "Supported":
            return [_FEATURES.encode()]
        if name == "Xfer":
            return self._transfer(rest)
        if name == "C":
            return [b"QC%x" % (self.state.cpu + 1)]
        if name in ("fThreadInfo", "sThreadInfo"):
            return self._thread_ids(first=name[0] == "f")
        if name == "Attached":
            return [b"1"]
        if name == "Symbol":
            return [OK]
        if text.startswith("ThreadExtraInfo,"):
            cpu = self._cpu(text.partition(",")[2])
            return [describe(self.session, max(cpu, 0)).encode().hex().encode()]
        if text.startswith("Rcmd,"):
            return self._monitor(bytes.fromhex(text[5:]).decode(errors="replace"))
        return [_UNKNOWN]

    def _monitor(self, text: str) -> list[bytes]:
        self.session.settings.cpu = self.state.cpu
        return self._said(lambda: monitor.run(self._console, monitor.parse(text)))

    def _said(self, act: Callable[[], list[str]]) -> list[bytes]:
        # The answer to a monitor command, of which `act` does what is left.
        commands = self._console
        commands.seen = self.state.seen
        try:
            said = act()
        except GoBack as back:
            self.state.seen = commands.seen
            raise TravelNeeded(back.position, ("monitor", back.stop)) from None
        except EmuError as error:
            said = [*(error.said if isinstance(error, SourcedError) else ()), str(error)]
        self.state.seen = commands.seen
        return [*self.console(said), OK]

    def _thread_ids(self, *, first: bool) -> list[bytes]:
        self._listed = 0 if first else self._listed
        some = list(self.session.cpus)[self._listed : self._listed + _THREADS_A_PACKET]
        self._listed += len(some)
        return [b"m" + b",".join(b"%x" % (cpu + 1) for cpu in some) if some else b"l"]

    def _transfer(self, text: str) -> list[bytes]:
        what, verb, annex, place = text.split(":")
        if verb != "read":
            return [_UNKNOWN]
        offset, size = parse_pair(place)
        if what == "features":
            if annex != "target.xml":
                return [b"E00"]
            data = self._xml
        elif what == "threads":
            if not offset:
                self._threads = threads_xml(self.session)
            data = self._threads
        else:
            return [_UNKNOWN]
        part = data[offset : offset + min(size, PACKET_MAX // 2)]
        return [(b"m" if offset + len(part) < len(data) else b"l") + part]

    def _set(self, text: str) -> list[bytes]:
        if text == "StartNoAckMode":
            self.state.no_ack = True
            return [OK]
        return [_UNKNOWN]

    def _named(self, text: str) -> list[bytes]:
        if text.startswith("Cont;"):
            return self._continue(text[5:])
        if text == "Cont?":
            return [b"vCont;c;C;s;S;t;r"]
        if text.startswith("Kill;"):
            self._ended()
            return [OK]
        return [_UNKNOWN]
