"""Whether the last step of a debug session is one to stop after, and which earlier step would have been."""

from __future__ import annotations

from emu.debug.step_log import StepLog
from emu.debug.stops import EVENTS, DebugSettings, SessionStop
from emu.debug.target import DebugTarget
from emu.machine.actor import State
from emu.operation import LOADS, STORES, Kind

_BACK = {"read": LOADS, "access": (*LOADS, *STORES)}
_WORDS = {kind: word for word, kind in EVENTS.items()}


class StopChecker:
    """Compares the steps of a session with its breakpoints, watchpoints and events."""

    def __init__(self, target: DebugTarget, log: StepLog) -> None:
        self._target = target
        self._log = log

    def check(self, settings: DebugSettings, cpu: int) -> SessionStop | None:
        """Return what stops the session after the last step, which ``cpu`` made (-1: no CPU), or None."""
        if settings.watchpoints or settings.events or settings.breakpoints:
            stop = self.check_records(settings, self._log.last_rows())
            if stop is not None:
                return stop
        if settings.breakpoints and cpu >= 0:
            actor = self._target.machine.actors[cpu]
            if actor.task is None and actor.state is State.RUNNABLE:
                return self.at_breakpoint(settings, cpu)
        return None

    def check_records(self, settings: DebugSettings, rows: range) -> SessionStop | None:
        """Return the stop for a watchpoint or event among these trace records, or at the entry of a CPU."""
        trace = self._target.machine.trace
        found: SessionStop | None = None
        for index in rows:
            kind, size, actor, pc, pa, value = trace.row(index)
            if kind in STORES or kind in LOADS:
                found = found or self.watched(settings, kind, size, actor, pa)
            elif kind == Kind.POWER_ON and settings.breakpoints and found is None:
                found = self.at_breakpoint(settings, actor)
            if kind in settings.events and found is None and (value or kind != Kind.WFE):
                what = trace.strings[value] if kind == Kind.LOG else self._target.places.describe(pc)
                found = SessionStop("event", actor, f"{_WORDS[Kind(kind)]}: {what}")
        return found

    def watched(
        self, settings: DebugSettings, kind: int, size: int, actor: int, pa: int
    ) -> SessionStop | None:
        """Return the stop behind an access by ``actor``, if a watchpoint is for it."""
        for watch in settings.watchpoints.values():
            if not (pa < watch.pa + watch.size and watch.pa < pa + size):
                continue
            now = self._target.read(watch.pa, watch.size)
            changed, watch.value = now != watch.value, now
            wanted = {
                "write": kind in STORES,
                "read": kind in LOADS,
                "access": True,
                "change": kind in STORES and changed,
            }
            if wanted[watch.access] and watch.cpu in (-1, actor):
                watch.hits += 1
                return SessionStop("watchpoint", actor, watch.text, watch.number, pa)
        return None

    def at_breakpoint(self, settings: DebugSettings, cpu: int) -> SessionStop | None:
        """Return the stop before the instruction that ``cpu`` is at, if a breakpoint is for it."""
        pa = self._target.code_pa(cpu)
        for made in list(settings.breakpoints.values()):
            if made.pa != pa or made.cpu not in (-1, cpu):
                continue
            if made.condition and not self._target.evaluate(made.condition, cpu):
                continue
            made.hits += 1
            if made.temporary:
                del settings.breakpoints[made.number]
            return SessionStop("breakpoint", cpu, made.text, made.number)
        return None

    def find_back(self, settings: DebugSettings) -> tuple[int, SessionStop]:
        """Return the last earlier position at which a breakpoint or watchpoint would have stopped, and why.

        For a breakpoint this is the position before its instruction, for a watchpoint the one before the
        access; 0 when nothing would have stopped. Conditions are not evaluated: the registers of an earlier
        position are not known.
        """
        log, trace = self._log, self._target.machine.trace
        places = {made.pa: made for made in settings.breakpoints.values()}
        for position, cpu, pc in log.steps_back():
            for index in log.rows_of(position) if settings.watchpoints else ():
                kind, size, actor, _pc, pa, _value = trace.row(index)
                for watch in settings.watchpoints.values():
                    touched = pa < watch.pa + watch.size and watch.pa < pa + size
                    kinds = _BACK.get(watch.access, STORES)
                    if touched and kind in kinds and watch.cpu in (-1, actor):
                        return position, SessionStop("watchpoint", actor, watch.text, watch.number, pa)
            made = places.get(self._target.places.pa(pc)) if pc else None
            if made is not None and made.cpu in (-1, cpu):
                return position, SessionStop("breakpoint", cpu, made.text, made.number)
        return 0, SessionStop("start", settings.cpu, "the start of the recording")
