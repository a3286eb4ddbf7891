"""A debug session at the whole depth: CPUs run freely between two stops.

The run is that of ``emu boot --depth whole``, in pieces: breakpoints are places that a free run halts at, and
watchpoints are ranges that it watches, so only stops cost anything. Nothing else is recorded. What has
happened before is found by running it again: a checkpoint of :mod:`emu.debug.checkpoints` is asked, which
answers from a copy of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import copy
from typing import Any, NamedTuple

from emu.arch.a64 import changes_mode
from emu.arch.sysreg import ELR_EL1, ELR_EL2, VBAR_EL1, VBAR_EL2
from emu.cpu.engine import UNLIMITED, SeenAccess
from emu.debug.checkpoints import Checkpoints
from emu.debug.ends import not_there
from emu.debug.session import Session
from emu.debug.step_log import StepLog
from emu.debug.stops import DebugSettings, Others, SessionStop, Watchpoint
from emu.debug.whole.log import WholeLog
from emu.debug.whole.target import WholeTarget
from emu.errors import InvalidCase
from emu.finding import Verdict
from emu.host.whole.ending import How
from emu.machine.free_turns import TURN, FreeTurns
from emu.operation import Kind, Record
from emu.report.whole import how_words, verdict_of

CHECKPOINT_INSTRUCTIONS = 2_000_000
NEAR_INSTRUCTIONS = 50_000
ARRIVE_INSTRUCTIONS = 1 << 28  # of all CPUs, until a command says that it has not come where it was to go
_FROM_LOWER = range(0x400, 0x800, 0x80)  # offsets in a table of vectors
# Events that a free run does not see, and what to do instead.
_NOT_SEEN = {
    Kind.WFE: "break at the WFE",
    Kind.LAND: "the host plays no function there",
}
_PARTLY_SEEN = {Kind.EXCEPTION: "not interrupts, at depth whole: break at their vector, el1h_64_irq"}


class _Question(NamedTuple):
    # What a checkpoint is asked: to run to `end` and tell the last stop before it, and the last store.
    settings: DebugSettings
    end: int


class WholeSession(Session):
    """Debugs one boot of the whole depth. A step is an instruction."""

    partly_seen = _PARTLY_SEEN

    def __init__(self, target: WholeTarget, checkpoints: Checkpoints | None = None) -> None:
        self.whole = target.whole
        self.free: FreeTurns
        self._before = 0  # position before the last piece
        self._accesses: list[SeenAccess] = []
        # Where pieces end: halts, watches, and whether before what changes a mode.
        self._armed: tuple[frozenset[int], tuple[tuple[int, int, bool], ...], bool] = frozenset(), (), False
        super().__init__(target, checkpoints)
        self.near = NEAR_INSTRUCTIONS

    def _prepare(self) -> tuple[StepLog, None]:
        assert self.machine.free is not None
        self.free = self.machine.free
        self.free.alone = TURN  # lines of the log are seen behind turns
        self.turns = WholeLog(self.machine, self._last_write)
        return self.turns, None  # no host task plays a function of the kernel

    def code_pa(self, cpu: int) -> int:
        """Return the PA of the instruction that ``cpu`` is at; of no mapped one its PC."""
        pc = self.pe(cpu).pc
        pa = self.pa_of(cpu, pc)
        return pc if pa is None else pa

    def left_mode_at(self, cpu: int, *, raised: bool) -> int:
        """Return the VA that ``cpu`` came to another EL from, or at which its MMU was switched.

        :param raised: the EL is higher: an exception has led there, in the middle of a piece maybe
        """
        pe = self.pe(cpu)
        return pe.system_register((ELR_EL1, ELR_EL2)[pe.el - 1]) if raised else self.machine.pc_before

    def dmesg(self) -> list[str]:
        """Return the kernel's log so far, with time stamps: of its console, or of the printk ring."""
        kept = copy(self.whole)
        kept.lines, kept.on_line = list(self.whole.lines), None
        kept.read_log()
        return [line.text for line in kept.lines]

    def unseen(self, event: Kind) -> str:
        """Return why the session cannot stop at an event, in words; empty: it can."""
        instead = _NOT_SEEN.get(event, "")
        return instead and f"not seen at depth whole; {instead}"

    def check_operations(self) -> None:
        """Refuse what goes by operations.

        :raises InvalidCase: always
        """
        raise InvalidCase("operations are not kept at depth whole: go by instructions, or watch")

    def verdict_name(self, verdict: Verdict) -> str:
        """Return what the run that has ended is called: pass, fail, undecided or untestable."""
        return verdict_of(self.whole.how, verdict)

    # -- forwards ---------------------------------------------------------------------------------

    def step(self, cpu: int) -> SessionStop:
        """Run until ``cpu`` has retired one instruction; the others go on as the settings say."""
        if self.settings.others is Others.STAND:
            return self._go(lambda ran: ran == cpu, cpu=cpu, single=lambda _amid: True)
        return self._go(lambda ran: ran == cpu, single=lambda amid: amid in (-1, cpu))

    def step_operation(self, cpu: int) -> SessionStop:
        """Refuse it: operations are not kept."""
        self.check_operations()
        raise AssertionError

    def return_to(self, cpu: int, va: int) -> SessionStop:
        """Run until ``cpu`` is at a VA, and SP is not below what it is now."""
        pe = self.pe(cpu)
        pa, sp = self.pa_of(cpu, va), pe.x[31]
        if pa is None:
            raise InvalidCase(f"CPU{cpu} would return to {va:#x}, and nothing is mapped there")
        return self._go(
            lambda ran: ran == cpu and pe.pc == va and pe.x[31] >= sp, halts=(pa,), most=ARRIVE_INSTRUCTIONS
        )

    def until_other(self) -> SessionStop:
        """Run until a CPU steps that is not the one that made the last step."""
        now = self.machine.current
        return self._go(lambda ran: ran != now, single=lambda amid: amid != now)

    def go_on(self, cpu: int = -1) -> SessionStop:
        """Run until a stop. With ``cpu`` and the others not scheduled: or until that CPU is not runnable."""
        alone = self.settings.others is Others.STAND
        return self._go(lambda _ran: False, cpu=cpu if alone else -1)

    def go_on_for(self, cpu: int) -> SessionStop:
        """Run until a stop, until ``cpu`` (-1: any) cannot go on, or for ARRIVE_INSTRUCTIONS."""
        others, self.settings.others = self.settings.others, Others.SCHEDULE
        try:
            return self._go(lambda _ran: False, most=ARRIVE_INSTRUCTIONS)
        finally:
            self.settings.others = others

    def leave_loop(self, cpu: int) -> SessionStop:
        """Run until ``cpu`` has left the innermost loop around its PC."""
        pe = self.pe(cpu)
        loop = self.places.loop(pe.pc)
        if loop is None or not self.machine.is_runnable(cpu):
            return SessionStop("step", cpu, "no loop around the PC")
        first, last, exits = loop
        before = pe.counters.instructions
        places = [pa for va in exits if (pa := self.pa_of(cpu, va)) is not None]
        stop = self._go(lambda ran: ran == cpu and pe.pc in exits, halts=places)
        if stop.reason != "step":
            return stop
        done = pe.counters.instructions - before
        where = self.places.describe(pe.pc)
        return SessionStop("step", cpu, f"left {first:#x}..{last:#x} after {done} instructions, at {where}")

    def run_to(self, position: int, *, heeded: bool = False) -> SessionStop:
        """Run to a position; breakpoints, watchpoints and events do not stop it.

        :param heeded: an interrupt does
        """
        self._arm((), ())
        while self.position < position:
            if self._piece(position - self.position) < 0:
                return SessionStop("end", max(self.machine.current, 0), self._why_over())
            if heeded and self.interrupted():
                return SessionStop("interrupt", max(self.machine.current, 0), "interrupted")
        return SessionStop("goal", max(self.machine.current, 0))

    def _go(
        self,
        done: Callable[[int], bool],
        *,
        cpu: int = -1,
        single: Callable[[int], bool] = lambda _amid: False,
        halts: Collection[int] = (),
        most: int = UNLIMITED,
    ) -> SessionStop:
        """Run until ``done``, asked after each piece with the CPU that ran, or a stop.

        :param cpu: it goes on, whatever the scheduler picks; -1: as the scheduler picks
        :param single: whether a piece is of one instruction, by the CPU amid whose turn it is (-1: none's);
            else it is of what is left of the turn
        :param halts: PAs to end pieces at, beside breakpoints
        :param most: instructions of all CPUs, after which it is not there
        """
        end = self.position + most
        settings, machine = self.settings, self.machine
        breakpoints = [made.pa for made in settings.breakpoints.values()]
        modes = self.checker.note_modes(settings)
        places = [*breakpoints, *halts]
        self._arm(places, settings.watchpoints.values(), modes)
        while True:
            if cpu >= 0 and self.free.amid != cpu:
                if not machine.is_runnable(cpu):
                    return SessionStop("step", cpu, f"CPU{cpu} cannot go on: {self.state(cpu)}")
                self.turns.force(cpu)
                settings.forced[self.position] = cpu
            before, was = self.position, self._pcs()
            alone = single(self.free.amid) or (modes and self._at_mode())
            ran = self._piece(1 if alone else end - before)
            if modes:  # vectors may be elsewhere now
                self._arm(places, settings.watchpoints.values(), modes)
            if ran < 0:
                self.ended = True
                return SessionStop("end", max(machine.current, 0), self._why_over())
            stop = self._check(ran, was)
            if stop is not None:
                return stop
            if self.position > before and done(ran):
                return SessionStop("step", ran)
            if self.position >= end:
                return SessionStop("step", ran, not_there(self, most))
            if self.interrupted():
                return SessionStop("interrupt", ran, "interrupted")

    def _pcs(self) -> list[int]:
        # Where CPUs are, so that a breakpoint is told once; nothing where there is none.
        return [each.pe.pc for each in self.machine.actors] if self.settings.breakpoints else []

    def _check(self, ran: int, was: list[int]) -> SessionStop | None:
        # What stops the session after a piece of CPU `ran`; `was`: the PCs before it.
        settings, checker = self.settings, self.checker
        found = checker.mode_changed(settings)
        for access in self.turns.touched:
            found = found or checker.watched(settings, access.kind, access.size, access.actor, access.pa)
        found = found or checker.check_records(settings, self.turns.last_rows())
        for row in map(self.machine.trace.row, self.turns.last_rows()):
            if row[0] == Kind.POWER_ON and found is None and settings.breakpoints:
                found = checker.at_breakpoint(settings, row[2])
        # It has not moved where it was switched on, and where the boot itself stops it.
        if found is None and was and (self.position > self._before or was[ran] != self.pe(ran).pc):
            found = checker.at_breakpoint(settings, ran)
        return found

    def _piece(self, instructions: int) -> int:
        # Run at most so many instructions, of one CPU, and keep a checkpoint where one is due; return the
        # CPU, -1: none can go on.
        machine, free, position = self.machine, self.free, self.position
        due = CHECKPOINT_INSTRUCTIONS - position % CHECKPOINT_INSTRUCTIONS
        edits = self.settings.edits
        if edits:
            self.settings.edit(self.position, self.machine)
            due = min([due, *(at - position for at in edits if at > position)])
        choose = self.settings.forced.pop(position, -1)
        if choose >= 0 and not machine.is_runnable(choose):
            choose = -1
        free.piece = max(min(instructions, due), 1)
        self._before = position
        self.turns.begin_step()
        self._accesses.clear()
        goes_on = machine.step(choose)
        free.piece = UNLIMITED
        if not goes_on:
            return -1
        if edits:
            self.settings.edit(self.position, self.machine)
        self.turns.end_step(machine.current, position)
        self.turns.touched = [
            Record(each.kind, each.pe.index, each.size, each.pc, each.pa, each.value)
            for each in self._accesses
        ]
        if self.position > position and not self.position % CHECKPOINT_INSTRUCTIONS:
            self.save()
        return machine.current

    def _at_mode(self) -> bool:
        # Whether who goes on, or may if nobody is amid a turn, stands at what may change its EL or MMU.
        machine, amid = self.machine, self.free.amid
        cpus = [amid] if amid >= 0 else [cpu for cpu in self.cpus if machine.is_runnable(cpu)]
        pas = (self.pa_of(cpu, self.pe(cpu).pc) for cpu in cpus)
        words = (
            machine.memory.read(pa, 4) for pa in pas if pa is not None and machine.memory.contains(pa, 4)
        )
        return any(changes_mode(word) for word in words)

    def _vectors(self) -> set[int]:
        # PAs of the vectors to which exceptions lead from a lower EL.
        found: set[int] = set()
        for cpu in self.cpus:
            pe = self.pe(cpu)
            for base in (VBAR_EL1, VBAR_EL2):
                table = pe.system_register(base)
                places = (
                    (self.pa_of(cpu, table + at) for at in _FROM_LOWER)
                    if self.machine.is_runnable(cpu)
                    else ()
                )
                found.update(pa for pa in places if pa is not None)
        return found

    def _arm(
        self, halts: Collection[int], watches: Collection[Watchpoint], before_modes: bool = False
    ) -> None:
        # Let pieces end at these, and no others.
        halts = {*halts, *self._vectors()} if before_modes else halts
        kept = tuple(sorted({(each.pa, each.size, each.access in ("read", "access")) for each in watches}))
        wanted = frozenset(halts), kept, before_modes
        free = self.machine.engine.free
        if (wanted[0], before_modes) != (self._armed[0], self._armed[2]):
            free.halt_at(wanted[0], before_modes=before_modes)
        if kept != self._armed[1]:
            pas = [range(pa, pa + size) for pa, size, _ in kept]
            free.watch(pas, loads=any(loads for _, _, loads in kept), seen=self._seen)
        self._armed = wanted

    def _seen(self, access: SeenAccess) -> None:
        self._accesses.append(access)
        self.machine.engine.free.pause_behind()

    def _why_over(self) -> str:
        whole = self.whole
        if whole.how is How.REACHED:
            return f"it has come to {whole.until.text!r}"
        return how_words(whole, whole.how)

    # -- backwards --------------------------------------------------------------------------------

    def go_back(self, position: int, payload: Any = None, fds: tuple[int, ...] = ()) -> None:
        """Go to an earlier position, which is not before the start of the session."""
        super().go_back(max(position, self.turns.first), payload, fds)

    def find_stop_back(self) -> tuple[int, SessionStop]:
        """Return the last earlier position at which a breakpoint or watchpoint would stop, and why."""
        settings = copy(self.settings)
        settings.events = set()
        found = self._ask(settings, self.position, lambda answer: answer[0])
        if found is None:
            return self.turns.first, SessionStop("start", settings.cpu, "the start of the session")
        position, stop = found
        return int(position), stop

    def _last_write(self, pa: int, size: int, before: int) -> tuple[int, Record] | None:
        # The last store to bytes before a position: (position, record).
        settings = DebugSettings(edits=self.settings.edits)
        settings.watchpoints = {1: Watchpoint(1, pa, size, "")}
        found: tuple[int, Record] | None = self._ask(settings, before, lambda answer: answer[1])
        return found

    def _ask(self, settings: DebugSettings, end: int, pick: Callable[[Any], Any]) -> Any:
        # Ask checkpoints before `end`, the latest first, until one answers.
        if self._checkpoints is None:
            raise InvalidCase("this session does not go back")
        for start in reversed(self._checkpoints.positions):
            if start >= end:
                continue
            if self.interrupted():
                raise InvalidCase("interrupted")
            settings.forced = self.turns.forced(start)
            found = pick(self._checkpoints.ask(start, _Question(settings, end)))
            if found is not None:
                return found
            end = start
        return None

    def _answer(self, question: _Question) -> Any:
        # In a copy of a checkpoint: the last stop before a position, and the last store that is watched.
        self._checkpoints = None
        self.interrupted = lambda: False
        settings = self.settings = question.settings
        for watch in settings.watchpoints.values():
            watch.value = self.loads.copies(watch.pa, watch.size)
        for made in settings.breakpoints.values():
            made.temporary = False
        self._arm([made.pa for made in settings.breakpoints.values()], settings.watchpoints.values())
        stop: tuple[int, SessionStop] | None = None
        store: tuple[int, Record] | None = None
        for cpu in self.cpus:  # who stands at a breakpoint already has got there before
            if self.machine.is_runnable(cpu):
                found = self.checker.at_breakpoint(settings, cpu)
                stop = (self.position, found) if found is not None else stop
        while self.position < question.end:
            before, was = self.position, self._pcs()
            ran = self._piece(question.end - before)
            if ran < 0:
                break
            for record in self.turns.touched:
                if record.kind is Kind.STORE:
                    store = self.position - 1, record
            found = self._check(ran, was)
            if found is not None:
                at = self.position - (found.reason == "watchpoint")
                stop = (at, found) if at < question.end else stop
        return stop, store
