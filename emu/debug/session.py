"""A debug session: steps a machine forwards, stops it, changes it, and takes it back in time.

A position is the number of steps made: one instruction of a PE, or one operation of a host task.
:mod:`emu.debug.step_log` keeps what each step did; :mod:`emu.debug.checkpoints` restores earlier positions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from emu.debug.approach import approach
from emu.debug.boots import Boots
from emu.debug.checkpoints import Checkpoints
from emu.debug.debugged import Debugged
from emu.debug.edits import Edit
from emu.debug.ends import AT_END, at_its_end, how, not_there, why_over
from emu.debug.host_entries import HostEntries
from emu.debug.leaving import leave_loop
from emu.debug.redone import make_again, tell_runs_apart
from emu.debug.step_log import StepLog
from emu.debug.stop_checker import StopChecker
from emu.debug.stops import FREE_STEPS, Breakpoint, DebugSettings, Others, SessionStop, Watchpoint, plain_step
from emu.debug.target import DebugTarget
from emu.finding import Verdict
from emu.machine.actor import Grain
from emu.machine.machine import NOBODY
from emu.operation import OPERATIONS, Kind
from emu.report.json_form import verdict_word

CHECKPOINT_STEPS = 3072
NEAR_STEPS = 256  # a checkpoint is made this far before a position that is gone to
ARRIVE_STEPS = 1 << 20  # of all CPUs, until a command says that it has not come where it was to go
_POLL_STEPS = 1024  # between two polls of Session.interrupted
# Each step asks for these; to take a member from its enum is a call in Python 3.11.
_SCHEDULE, _STAND, _FREE = Others.SCHEDULE, Others.STAND, Others.FREE


def interrupt_stop(cpu: int) -> SessionStop:
    """Return the stop of a user who has interrupted while ``cpu`` ran (-1: nobody yet)."""
    return SessionStop("interrupt", max(cpu, 0), "interrupted")


class Session(DebugTarget):
    """Debugs one boot.

    :ivar near: a checkpoint is made so many steps before a position that is gone to
    :ivar interrupted: polled while the session runs; True stops it
    :ivar ended: no CPU can go on, or the run has stopped
    :cvar partly_seen: of events that the session does not stop at each of: which are left out, in words
    """

    partly_seen: Mapping[Kind, str] = {}

    def __init__(self, boot: Debugged, checkpoints: Checkpoints | None = None) -> None:
        """Set the machine up to step one instruction at a time; without checkpoints it cannot go back."""
        super().__init__(boot)
        self.settings = DebugSettings()
        self.log, entries = self._prepare()
        self.ended = False
        self.near = NEAR_STEPS
        self.interrupted: Callable[[], bool] = lambda: False
        self._checkpoints = checkpoints
        self.boots = Boots(boot)
        self.checker = StopChecker(self, self.log, entries, self.boots)
        if checkpoints is not None:
            checkpoints.answer = self._answer

    def _prepare(self) -> tuple[StepLog, HostEntries | None]:
        # Let the machine go by instructions, keep what it does, and where host tasks enter functions.
        machine = self.machine
        machine.grain = Grain.INSTRUCTION
        machine.recorder.recording = True
        machine.observe()
        return StepLog(machine), HostEntries(machine, lambda: self.position)

    def begin(self) -> None:
        """Make the checkpoint of the start. From here on every step may raise ``Travelled``.

        This is not done by the constructor: the code that catches ``Travelled`` calls :meth:`arrive`.
        """
        self.save()

    @property
    def position(self) -> int:
        """The number of steps made."""
        return self.log.position

    def verdict_name(self, verdict: Verdict) -> str:
        """Return what the run that has ended is called: pass, fail, undecided or untestable."""
        return verdict_word(verdict.findings, stopped=bool(self.machine.stopped))

    # -- breakpoints ------------------------------------------------------------------------------

    def add_breakpoint(
        self, text: str, *, cpu: int = -1, condition: str = "", temporary: bool = False
    ) -> Breakpoint:
        """Add a stop at a place: a symbol, ``symbol+0x10``, ``FILE:LINE``, a PA or a VA.

        The name of a kernel function that the host plays is a place too: where a host task enters it.

        :raises InvalidCase: there is no such place
        """
        host_only = self.checker.knows(text) and self.boot.guest.subject.symbols.address(text) is None
        pa = -1 if host_only else self.places.instruction(text)
        settings = self.settings
        settings.last_number += 1
        made = Breakpoint(settings.last_number, pa, text, cpu, condition, temporary)
        settings.breakpoints[made.number] = made
        return made

    def add_watchpoint(self, text: str, size: int = 0, *, access: str = "write", cpu: int = -1) -> Watchpoint:
        """Add a stop after an access to data: ``symbol``, ``symbol[3].field``, a PA or a VA.

        :param size: bytes; 0: the size of the data that the text names, or 8 where that is not known
        :raises InvalidCase: there is no such place
        """
        pa, width = self.places.data(text)
        settings = self.settings
        settings.last_number += 1
        made = Watchpoint(settings.last_number, pa, size or width, text, access, cpu)
        made.value = self.loads.copies(made.pa, made.size)
        settings.watchpoints[made.number] = made
        return made

    def delete(self, number: int) -> bool:
        """Delete a breakpoint or watchpoint; return False when none has this number."""
        settings = self.settings
        found = settings.breakpoints.pop(number, None) or settings.watchpoints.pop(number, None)
        return found is not None

    def edit(self, edit: Edit) -> None:
        """Change memory or a register; the change is made again each time this position is reached again."""
        self.settings.edits.setdefault(self.position, []).append(edit)
        edit.apply(self.machine)

    # -- forwards ---------------------------------------------------------------------------------

    def step(self, cpu: int) -> SessionStop:
        """Run until ``cpu`` has made one step; the others step as the settings say."""
        return self._run(None, cpu)

    def step_operation(self, cpu: int) -> SessionStop:
        """Run until ``cpu`` has performed an operation that other CPUs can observe."""
        trace = self.machine.trace

        def done(ran: int, number: int) -> bool:
            return ran == number and any(
                trace.row(index)[0] in OPERATIONS and trace.row(index)[2] == number
                for index in self.log.last_rows()
            )

        return self._run(done, cpu)

    def return_to(self, cpu: int, va: int) -> SessionStop:
        """Run until ``cpu`` is at a VA, and SP is not below what it is now."""
        pe = self.pe(cpu)
        target, sp = self.places.pa(va), pe.x[31]
        return self._run(
            lambda ran, _: ran == cpu and self.places.pa(pe.pc) == target and pe.x[31] >= sp,
            cpu,
            ARRIVE_STEPS,
        )

    def until_other(self) -> SessionStop:
        """Run until a CPU steps that is not the one that made the last step."""
        now = self.machine.current
        return self._run(lambda ran, _: ran != now, -1)

    def go_on(self, cpu: int = -1) -> SessionStop:
        """Run until a stop. With ``cpu`` and the others not scheduled: or until that CPU is not runnable."""
        return self._run(lambda *_: False, cpu)

    def go_on_for(self, cpu: int) -> SessionStop:
        """Run until a stop, until nothing lets ``cpu`` go on (-1: anybody), or for ARRIVE_STEPS."""
        others, self.settings.others = self.settings.others, Others.SCHEDULE
        try:
            return self._run(lambda *_: False, cpu, ARRIVE_STEPS)
        finally:
            self.settings.others = others

    def leave_loop(self, cpu: int) -> SessionStop:
        """Run ``cpu`` alone until it leaves the innermost loop around its PC (:mod:`emu.debug.leaving`)."""
        return leave_loop(self, cpu)

    def run_alone(self, cpu: int, halts: Collection[int], steps: int) -> SessionStop | None:
        """Run ``cpu`` at full speed to one of these VAs, so many steps at most; return what stops it."""
        machine, row = self.machine, len(self.machine.trace)
        pe = self.pe(cpu)
        if pe.pc not in machine.landings:
            pe.reached = pe.pc  # it goes on from a place that it has stopped at
        made = machine.guest_code.run_alone(cpu, halts, steps)
        if machine.model is not None:
            machine.model.settle()
        self.settings.force(range(self.position, self.position + made), cpu)
        self.log.add_run(cpu, made, row)
        self.save()
        if machine.stopped:
            self.ended = True
            return SessionStop("end", cpu, machine.stopped)
        self.checker.note_arrivals(range(row, len(machine.trace)), cpu)
        return self.checker.begin(self.settings, -1)

    def run_to(self, position: int, *, heeded: bool = False) -> SessionStop:
        """Run to a position; breakpoints, watchpoints and events do not stop it.

        :param heeded: an interrupt does
        """
        machine, log, forced = self.machine, self.log, self.settings.forced
        while (now := log.position) < position:
            if heeded and not now % _POLL_STEPS and self.interrupted():
                return interrupt_stop(machine.current)
            if not self._one(forced.pop(now, -1) if forced else -1):
                return SessionStop("end", machine.current, self._why_over())
        return SessionStop("goal", machine.current)

    def _run(self, done: Callable[[int, int], bool] | None, cpu: int, steps_max: int = 0) -> SessionStop:
        # Step until `done` or a stop; it is asked with the CPU that has stepped and the number that `cpu` has
        # then, and is by itself whether these are one. `cpu` is the CPU that the command is about, or -1 for
        # all; 0 steps: as many as it takes.
        machine, settings, log = self.machine, self.settings, self.log
        last = log.position + steps_max if steps_max else -1
        unpolled = 0
        alone = settings.others is not _SCHEDULE and cpu >= 0
        checker, actors = self.checker, machine.actors
        told = checker.begin(settings, cpu)
        if told is not None:
            return told
        stops = bool(settings.breakpoints or settings.watchpoints or settings.events)
        while True:
            if unpolled >= _POLL_STEPS:
                unpolled = 0
                if self.interrupted():
                    return interrupt_stop(machine.current)
            if cpu >= 0 and actors[cpu].state in AT_END and not self.ended:
                over = at_its_end(self, cpu)
                if over:
                    return SessionStop("step", cpu, over)
            if not alone:
                choose = settings.forced.pop(log.position, -1) if settings.forced else -1
            else:
                if not machine.is_runnable(cpu):
                    if settings.others is _STAND or not self._let_others(cpu):
                        return SessionStop("step", cpu, f"CPU{cpu} cannot go on: {how(self, cpu)}")
                    unpolled += FREE_STEPS
                    continue
                choose = cpu
                settings.force(range(log.position, log.position + 1), cpu)
            reboots = machine.next_boot is not None
            if not self._one(choose):
                self.ended = True
                return SessionStop("end", max(machine.current, 0), self._why_over())
            ran = machine.current if machine.pc_before != NOBODY else -1
            if reboots:
                numbers = log.renumbered()
                cpu, settings.cpu = (numbers.get(each, each) for each in (cpu, settings.cpu))
            stop = checker.check(settings, ran) if stops else None
            if stop is not None:
                return stop
            if ran >= 0 and (ran == cpu if done is None else done(ran, cpu)):
                if settings.others is _FREE and cpu >= 0:
                    self._let_others(cpu)
                return plain_step(ran)
            if last >= 0 and log.position == last:
                return SessionStop("step", ran, not_there(self, steps_max))
            unpolled += 1

    def _why_over(self) -> str:
        # Why no step is left.
        return why_over(self)

    def _one(self, choose: int) -> bool:
        # Make one step and log it; False when no CPU can.
        machine, settings, log = self.machine, self.settings, self.log
        if settings.edits:
            settings.edit(log.position, machine)
        rows = len(machine.recorder.trace)
        if not machine.step(choose):
            return False
        if self.boot.guest is not self.boots.guest:
            self.boots.begin(self.position + 1, settings.breakpoints.values())
        pc = machine.pc_before
        if pc == NOBODY:
            position = log.add(-1, 0, rows, forced=choose >= 0)
        else:
            position = log.add(machine.current, pc, rows, forced=choose >= 0)
        if settings.edits:
            settings.edit(position, machine)
        if not position % CHECKPOINT_STEPS:
            self.save()
        return True

    def _let_others(self, cpu: int) -> bool:
        # Step every other CPU while it is runnable, up to FREE_STEPS; False when none made a step.
        machine, moved = self.machine, False
        for other in self.cpus:
            for _ in range(FREE_STEPS):
                if other == cpu or not machine.is_runnable(other):
                    break
                self.settings.force(range(self.position, self.position + 1), other)
                if not self._one(other):
                    break
                moved = True
        return moved

    def check_operations(self) -> None:
        """See that the session knows of operations, beside instructions.

        :raises InvalidCase: it does not
        """

    def unseen(self, event: Kind) -> str:
        """Return why the session cannot stop at an event, in words; empty: it can."""
        return ""

    # -- backwards --------------------------------------------------------------------------------

    @property
    def can_go_back(self) -> bool:
        """Whether the session makes checkpoints."""
        return self._checkpoints is not None

    def save(self) -> None:
        """Make a checkpoint here, if the session makes any."""
        if self._checkpoints is not None:
            self._checkpoints.save(self.position)

    def go_back(self, position: int, payload: Any = None, fds: tuple[int, ...] = ()) -> None:
        """Go to an earlier position. Does not return: the catcher of ``Travelled`` calls :meth:`arrive`.

        :param position: 0..the current one
        :param payload: data of the front end, which :meth:`arrive` returns; it is pickled
        :param fds: file descriptors that the restored process gets
        """
        assert self._checkpoints is not None, "a session without checkpoints does not go back"
        assert 0 <= position <= self.position
        settings = self.settings
        settings.forced = self.log.forced(self._checkpoints.before(position))
        self._checkpoints.travel(position, (settings, payload), fds)

    def arrive(self, target: int, packed: tuple[DebugSettings, Any]) -> Any:
        """Run from the restored checkpoint to ``target``; return the payload of :meth:`go_back`."""
        settings, payload = packed
        self.settings = settings
        self.ended = False
        self.checker.forget()
        approach(self, target)
        self.boots.place(settings.breakpoints.values())
        self.settings.edit(self.position, self.machine)
        for watch in settings.watchpoints.values():
            watch.value = self.loads.copies(watch.pa, watch.size)
        return payload

    def find_stop_back(self) -> tuple[int, SessionStop]:
        """Return where going back stops, and why (:meth:`emu.debug.stop_checker.StopChecker.find_back`)."""
        if self._checkpoints is not None:
            tell_runs_apart(self.log, self._checkpoints, self.settings)
        return self.checker.find_back(self.settings)

    def _answer(self, question: Any) -> Any:
        # In a copy of a checkpoint.
        self._checkpoints = None
        return make_again(self, question)
