"""Whether the last step of a debug session is one to stop after, and which earlier step would have been.

A CPU stops at a breakpoint where it *arrives*: at the position behind the step that brings it there, which is
its own, or that of whoever switches it on or wakes it. Forwards and backwards name the same position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from typing import NamedTuple

from emu.arch import psci
from emu.arch.fields import syndrome
from emu.debug.boots import Boots
from emu.debug.host_entries import HostEntries, HostEntry
from emu.debug.step_log import WRITES, StepLog
from emu.debug.stops import EVENTS, Breakpoint, DebugSettings, SessionStop, Watchpoint
from emu.debug.target import DebugTarget
from emu.host.played_names import played_names
from emu.machine.actor import State
from emu.operation import LOADS, Kind

_ACCESSES = {"read": LOADS, "access": (*LOADS, *WRITES)}
_WORDS = {kind: word for word, kind in EVENTS.items()}
_OF_MODE = frozenset((Kind.MMU, Kind.EL))
_AT_CODE = (State.RUNNABLE, State.SPINNING)  # of one that runs guest code, at its next instruction
_BRINGS = (Kind.POWER_ON, Kind.WAKE)  # another CPU to a place
_UNRECORDED = "the boot of a kernel up to its take-over, which is not recorded"


class _Mode(NamedTuple):
    # What the events of MMU and EL are about, of one CPU.
    is_on: bool  # the CPU
    el: int
    mmu: bool


class StopChecker:
    """Compares the steps of a session with its breakpoints, watchpoints and events."""

    def __init__(self, target: DebugTarget, log: StepLog, entries: HostEntries | None, boots: Boots) -> None:
        self._target = target
        self._log = log
        self._boots = boots
        self._entries = entries  # None: the host plays nothing
        self._entered: list[HostEntry] = []  # those that are still to be compared with breakpoints
        self._modes: list[_Mode] = []  # by CPU, at the last check
        self._arrived: list[int] = []  # CPUs whose place is still to be compared with breakpoints

    def knows(self, text: str) -> bool:
        """Tell whether a place is a kernel function that the host plays."""
        return self._entries is not None and text in played_names()

    # -- forwards ---------------------------------------------------------------------------------

    def begin(self, settings: DebugSettings, cpu: int) -> SessionStop | None:
        """A command begins, which steps ``cpu`` (-1: all): return the stop that is still to be told, if any.

        Several CPUs can arrive by one step, and a watchpoint be touched by it: they are told one by one.
        """
        if settings.events or self._modes:
            self.note_modes(settings)
        if not settings.breakpoints:
            if self._arrived or self._entered:
                self.forget()
            return None
        self._entered = [entry for entry in self._entered if entry.cpu != cpu]
        if cpu in self._arrived:
            self._arrived.remove(cpu)  # it is stepped off
        return self._next_arrival(settings)

    def note_modes(self, settings: DebugSettings) -> bool:
        """Note what the events of MMU and EL go by; tell whether one of them is wanted."""
        self._modes = self._modes_now() if settings.events and settings.events & _OF_MODE else []
        return bool(self._modes)

    def forget(self) -> None:
        """The session is somewhere else."""
        self._arrived.clear()
        self._entered.clear()

    def check(self, settings: DebugSettings, cpu: int) -> SessionStop | None:
        """Return what stops the session after the last step, which ``cpu`` made (-1: no CPU), or None."""
        rows, stop = self._log.last_rows(), None
        if settings.watchpoints or settings.events:
            stop = self.check_records(settings, rows)
        if self._modes:
            changed = self.mode_changed(settings)
            stop = stop or changed
        if settings.breakpoints:
            self.note_arrivals(rows, cpu)
            stop = stop or self._next_arrival(settings)
        return stop

    def note_arrivals(self, rows: Iterable[int], cpu: int) -> None:
        """After a step of ``cpu`` with these trace records: remember who has come to another place."""
        arrived, trace = self._arrived, self._target.machine.trace
        if cpu >= 0 and cpu not in arrived:
            arrived.append(cpu)
        for index in rows:
            kind, _size, actor, *_ = trace.row(index)
            if kind in _BRINGS and actor not in arrived:
                arrived.append(actor)
        self._entered += self._entries.at(self._log.position) if self._entries is not None else ()

    def _next_arrival(self, settings: DebugSettings) -> SessionStop | None:
        while self._entered:
            entry = self._entered.pop(0)
            for made in self._on_entry(settings, entry):
                if not made.condition or self._target.evaluate(made.condition, entry.cpu):
                    return _hit(settings, made, entry.cpu)
        while self._arrived:
            cpu = self._arrived.pop(0)
            actor = self._target.machine.actors[cpu]
            if actor.task is None and actor.state in _AT_CODE:
                stop = self.at_breakpoint(settings, cpu)
                if stop is not None:
                    return stop
        return None

    def check_records(self, settings: DebugSettings, rows: range) -> SessionStop | None:
        """Return the stop for a watchpoint or event among these trace records."""
        trace = self._target.machine.trace
        found: SessionStop | None = None
        if not (settings.watchpoints or settings.events):
            return None
        for index in rows:
            kind, size, actor, pc, pa, value = trace.row(index)
            if kind in LOADS or kind in WRITES:
                found = found or self.watched(settings, kind, value if kind == Kind.COPY else size, actor, pa)
            elif self._log.is_unrecorded(kind):
                found = found or self._unrecorded(settings, actor)
            is_event = kind in settings.events and kind not in _OF_MODE
            if is_event and found is None and (value or kind != Kind.WFE):
                what = self._what(Kind(kind), size, pc, pa, value)
                found = SessionStop("event", actor, f"{_WORDS[Kind(kind)]}: {what}")
        return found

    def _what(self, kind: Kind, size: int, pc: int, pa: int, value: int) -> str:
        # What an event is, and where: of a line of the log that is its text.
        at = self._target.places.describe(pc)
        if kind is Kind.LOG:
            return self._target.machine.trace.strings[value]
        if kind is Kind.CALL:
            return f"{psci.function_words(value)}, x1={pa:#x}, at {at}"
        if kind is Kind.EXCEPTION:
            return f"to EL{size}, {syndrome.words(value, self._target.system.name_at)}, at {at}"
        return at

    def watched(
        self, settings: DebugSettings, kind: int, size: int, actor: int, pa: int
    ) -> SessionStop | None:
        """Return the stop behind an access by ``actor``, if a watchpoint is for it."""
        found: SessionStop | None = None
        for watch in settings.watchpoints.values():
            if not _touches(watch, pa, size):
                continue
            changed = self._has_changed(watch)
            wanted = kind in _ACCESSES.get(watch.access, WRITES) and (changed or watch.access != "change")
            if found is None and wanted and watch.cpu in (-1, actor):
                watch.hits += 1
                found = SessionStop("watchpoint", actor, watch.text, watch.number, pa)
        return found

    def _has_changed(self, watch: Watchpoint) -> bool:
        now = self._target.loads.copies(watch.pa, watch.size)
        changed, watch.value = now != watch.value, now
        return changed

    def _unrecorded(self, settings: DebugSettings, actor: int) -> SessionStop | None:
        # The stop behind a boot that has no records, if it has changed what is watched.
        found: SessionStop | None = None
        for watch in settings.watchpoints.values():
            changed = self._has_changed(watch)
            if found is None and changed and watch.access != "read" and watch.cpu in (-1, actor):
                watch.hits += 1
                found = SessionStop(
                    "watchpoint", actor, f"{watch.text}: {_UNRECORDED}", watch.number, watch.pa
                )
        return found

    def _modes_now(self) -> list[_Mode]:
        actors = self._target.machine.actors
        return [_Mode(actor.state is not State.OFF, actor.pe.el, actor.pe.mmu_on) for actor in actors]

    def mode_changed(self, settings: DebugSettings) -> SessionStop | None:
        """Return the stop for a CPU whose EL is another one since the last call, or its MMU switched.

        By a write to SCTLR, or because at another EL the MMU is on or off. The CPU was on before.
        """
        if not self._modes:
            return None
        before, self._modes = self._modes, self._modes_now()
        for cpu, (old, new) in enumerate(zip(before, self._modes, strict=False)):
            if old == new or not (old.is_on and new.is_on) or cpu in self._powered_on():
                continue
            at = self._target.places.describe(self._target.left_mode_at(cpu, raised=new.el > old.el))
            if Kind.MMU in settings.events and old.mmu != new.mmu:
                return SessionStop("event", cpu, f"mmu: {'on' if new.mmu else 'off'}, at {at}")
            if Kind.EL in settings.events and old.el != new.el:
                return SessionStop("event", cpu, f"el: EL{old.el} to EL{new.el}, at {at}")
        return None

    def _powered_on(self) -> set[int]:
        trace = self._target.machine.trace
        return {row[2] for row in map(trace.row, self._log.last_rows()) if row[0] == Kind.POWER_ON}

    def at_breakpoint(self, settings: DebugSettings, cpu: int) -> SessionStop | None:
        """Return the stop before the instruction that ``cpu`` is at, if a breakpoint is for it."""
        pa = self._target.code_pa(cpu)
        for made in list(settings.breakpoints.values()):
            if made.pa != pa or made.cpu not in (-1, cpu):
                continue
            if made.condition and not self._target.evaluate(made.condition, cpu):
                continue
            return _hit(settings, made, cpu)
        return None

    def _on_entry(self, settings: DebugSettings, entry: HostEntry) -> Iterator[Breakpoint]:
        # Where code of the subject goes on in a host task it has stopped already.
        cpu, pc = self._log.stepped(entry.position - 1)
        for made in list(settings.breakpoints.values()):
            if made.text not in entry.names or made.cpu not in (-1, entry.cpu):
                continue
            _, places, stops = self._boots.at(entry.position, [made])
            if cpu != entry.cpu or not pc or places.pa(pc) not in stops:
                yield made

    # -- backwards --------------------------------------------------------------------------------

    def find_back(self, settings: DebugSettings) -> tuple[int, SessionStop]:
        """Return the last earlier position at which a breakpoint or watchpoint would have stopped, and why.

        For a breakpoint this is where the CPU arrives, for a watchpoint the position before the access; 0
        when nothing would have stopped. Conditions are not evaluated: the registers of an earlier position
        are not known.
        """
        log = self._log
        arrivals = self.arrivals_back(settings)
        arrival = next(arrivals, None)
        for position, _cpu, _pc in log.steps_back():
            if arrival is not None and arrival[0] == position + 1:
                return arrival
            for index in log.rows_of(position) if settings.watchpoints else ():
                stop = self._watched_back(settings, index)
                if stop is not None:
                    return position, stop
        return 0, SessionStop("start", settings.cpu, "the start of the recording")

    def _watched_back(self, settings: DebugSettings, index: int) -> SessionStop | None:
        kind, size, actor, _pc, pa, value = self._target.machine.trace.row(index)
        size = value if kind == Kind.COPY else size
        unrecorded = self._log.is_unrecorded(kind)
        for watch in settings.watchpoints.values():
            if watch.cpu not in (-1, actor):
                continue
            if unrecorded and watch.access != "read":
                return SessionStop(
                    "watchpoint", actor, f"{watch.text}: {_UNRECORDED}", watch.number, watch.pa
                )
            if kind in _ACCESSES.get(watch.access, WRITES) and _touches(watch, pa, size):
                return SessionStop("watchpoint", actor, watch.text, watch.number, pa)
        return None

    def arrivals_back(self, settings: DebugSettings) -> Iterator[tuple[int, SessionStop]]:
        """Yield (position, stop) of each arrival at a breakpoint before here, the last first."""
        if not settings.breakpoints:
            return iter(())
        both = self._at_code_back(settings), self._entered_back(settings)
        return merge(*both, key=lambda arrival: arrival[0], reverse=True)

    def _entered_back(self, settings: DebugSettings) -> Iterator[tuple[int, SessionStop]]:
        for entry in self._entries.back() if self._entries is not None else ():
            for made in self._on_entry(settings, entry) if entry.position < self._log.position else ():
                yield entry.position, SessionStop("breakpoint", entry.cpu, made.text, made.number)

    def _at_code_back(self, settings: DebugSettings) -> Iterator[tuple[int, SessionStop]]:
        target, log, trace = self._target, self._log, self._target.machine.trace
        first, places, stops = self._boots.at(log.position, settings.breakpoints.values())
        # By CPU, the PC of its next step from there on; 0: it does not come to that place by a step.
        coming = {cpu: target.pe(cpu).pc if _is_at_guest_code(target, cpu) else 0 for cpu in target.cpus}
        here = log.position
        for position, cpu, pc in log.steps_back():
            if position + 1 < first:
                first, places, stops = self._boots.at(position + 1, settings.breakpoints.values())
            rows = [trace.row(index) for index in log.rows_of(position)]
            brought = [row[2] for row in rows if row[0] in _BRINGS]
            for each in dict.fromkeys((*brought[::-1], cpu)):
                at, coming[each] = coming.get(each, 0), 0
                for made in stops.get(places.pa(at), ()) if at else ():
                    if made.cpu in (-1, each) and position + 1 < here:
                        yield position + 1, SessionStop("breakpoint", each, made.text, made.number)
            coming[cpu] = pc
            if any(row[0] == Kind.REENTRY for row in rows):  # CPUs had other numbers before
                coming = {row[5]: coming.get(row[2], 0) for row in rows if row[0] == Kind.REENTRY}


def _hit(settings: DebugSettings, made: Breakpoint, cpu: int) -> SessionStop:
    made.hits += 1
    if made.temporary:
        del settings.breakpoints[made.number]
    return SessionStop("breakpoint", cpu, made.text, made.number)


def _touches(watch: Watchpoint, pa: int, size: int) -> bool:
    return pa < watch.pa + watch.size and watch.pa < pa + size


def _is_at_guest_code(target: DebugTarget, cpu: int) -> bool:
    actor = target.machine.actors[cpu]
    return actor.task is None and actor.state in _AT_CODE
