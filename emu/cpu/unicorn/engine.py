"""The run loop on Unicorn: one engine, N register contexts.

A PE runs until an :data:`emu.cpu.stops.EngineStop`. Memory accesses come from Unicorn's memory hooks,
exceptions from its interrupt hook, and what it shows to no hook from code hooks on the sites of
:mod:`emu.cpu.unicorn.sites`, which the edge hook finds before a new block runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from ctypes import memmove
from threading import Event

from emu.cpu.cores import Core
from emu.cpu.engine import INVISIBLE_MAX, UNCOUNTED_SECONDS, UNLIMITED, SeenCode
from emu.cpu.exception_return import ILLEGAL_STATE
from emu.cpu.interconnect import Interconnect
from emu.cpu.loops import LookAhead, Loop
from emu.cpu.next_operation import decode
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, EngineStop, Raised, Unsupported
from emu.cpu.traps import default_target_el
from emu.cpu.unicorn.ahead import run_ahead, run_ahead_together, run_to_wait
from emu.cpu.unicorn.binding import EXECUTE, READ, WRITE, Handle, emu_start
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.device_accesses import device_callbacks
from emu.cpu.unicorn.emulated_words import EmulatedWords
from emu.cpu.unicorn.faults import ABORTS, FETCHES, external_abort, misaligned, raised
from emu.cpu.unicorn.free_run import FreeRunner
from emu.cpu.unicorn.hooks import Hooks
from emu.cpu.unicorn.misrun import Misrun
from emu.cpu.unicorn.observed_words import ObservedWords
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.parts import InParts
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.pending import Pending
from emu.cpu.unicorn.preview import execute_and_undo
from emu.cpu.unicorn.sites import CodeMap
from emu.cpu.unicorn.steps import StepCopies, unrecorded
from emu.cpu.unicorn.watchdog import Watchdog
from emu.memory import Memory
from emu.operation import Access, Invisible, Operation


class UnicornEngine:
    """Runs PEs on ``memory`` (:class:`emu.cpu.engine.Engine`)."""

    def __init__(self, memory: Memory, interconnect: Interconnect, cores: Collection[Core] = ()) -> None:
        self.memory = memory
        self._interconnect = interconnect
        self._observing = Observing(interconnect)
        self._steps: StepCopies | None = None
        features = frozenset(feature for core in cores for feature in core.features)
        self._handle = Handle(memory, beyond_v8_0=bool(features))
        self._address = self._handle.address
        self._code = CodeMap(memory, self._handle.fetch_pa)
        self._code.features = features
        self._pending = Pending()
        self._contexts = Contexts(self._handle, memory, self._code)
        self._live = self._contexts.live
        self._counter = self._contexts.counter
        misrun = Misrun(self._observing, self._contexts, memory)
        observed = ObservedWords(self._observing, self._contexts, memory, self._pending, misrun)
        self._words = EmulatedWords(self._observing, self._contexts, memory, misrun)
        self._hooks = Hooks(self._observing, self._contexts, observed, memory, self._pending)
        self._traced_steps: Callable[[], StepCopies | None] = lambda: (
            self._steps if self._hooks.shows_steps else None
        )
        self.in_parts = InParts(self._observing, self._contexts, memory, self.step, self._traced_steps)
        self.free = FreeRunner(self._hooks, self._observing, self._contexts, memory, self._pending)
        self._watchdog = Watchdog()
        self._counted = True
        self._recount = False  # blocks without the instruction counter may be about

    # -- PEs --------------------------------------------------------------------------------------

    def new_pe(self, index: int, mpidr: int, midr: int, el: int) -> UnicornPE:
        """Return a PE at its reset state, to enter at EL ``el`` (1 or 2); ``mpidr``, ``midr``: raw u64."""
        return self._contexts.new_pe(index, mpidr, midr, el)

    def reset(self, pe: PE, el: int, entry_pa: int, x0: int) -> None:
        """Switch ``pe`` on at ``entry_pa``. X1..X30 are unspecified and hold a pattern."""
        assert isinstance(pe, UnicornPE), "a PE of another engine"
        self._contexts.reset(pe, el, entry_pa, x0)
        self._hooks.begin_edges()
        self._interconnect.clear_exclusive(pe)

    # -- observing --------------------------------------------------------------------------------

    def observe(self, *, record: bool, accesses: bool = False, pass_over: Sequence[range] = ()) -> None:
        """From now on count memory accesses, and tell the interconnect of operations."""
        self._observing.record = self._interconnect.record if record else None
        self._observing.passes_over = self._observing.record if pass_over else None
        self._observing.access = self._interconnect.access if accesses else None
        if self._steps is not None and not self._hooks.shows_steps:
            self._hooks.show_steps(self._steps)
        hooked = self._code.observing
        if self._code.observe(record or accesses):
            if not hooked:
                self._hooks.observe_accesses(sorted(pass_over, key=lambda pas: pas.start))
            self.forget_code()

    def unobserve(self, *, maintenance: bool = False) -> None:
        """Neither count nor record from now on, as before :meth:`observe`.

        :param maintenance: tell the interconnect of maintenance by VA all the same, and of writes to SCTLR
        """
        self._observing.maintenance = self._code.maintenance = maintenance
        self._observing.record = self._observing.access = None
        self._hooks.unobserve()
        self._code.unobserve()
        self.forget_code()

    def watch_stores(self, pas: range) -> None:
        """Record the stores to these PAs even while nothing else is recorded."""
        self._observing.watched = pas

    def watch_index(self, vas: Mapping[int, int], limit: int) -> None:
        """Record (Kind.SLOT) each PE that gets to one of ``vas`` with an index of ``limit`` or more."""
        self._observing.indexed, self._observing.slots = dict(vas), limit
        for va in vas:
            self._hooks.watch(va)

    def record_steps(self) -> StepCopies:
        """Return a recorder that gets every instruction after the next :meth:`observe`."""
        self._steps = StepCopies(self._live)
        return self._steps

    def take_state(self, pe: PE) -> None:
        """Give the recorder of steps the state that ``pe`` stops in, as if an instruction followed."""
        self._contexts.load(pe)
        assert self._steps is not None
        self._steps.take()

    @property
    def begun(self) -> int:
        """Instructions that the running PE has begun and its counter does not have yet."""
        return int(self._counter.value)

    def collect_edges(self, into: set[tuple[int, int]] | None) -> None:
        """From now on add every edge of the control flow to ``into``; None: stop it."""
        self._hooks.collect_edges(into)

    # -- code -------------------------------------------------------------------------------------

    def break_at(self, va: int) -> None:
        """Stop any PE whose PC gets to ``va``, before the instruction runs."""
        (self.free if self.free.is_on else self._hooks).break_at(va)

    def unbreak(self, va: int) -> None:
        """Forget a breakpoint."""
        (self.free if self.free.is_on else self._hooks).unbreak(va)

    def forget_code(self) -> None:
        """Drop every translation and everything known about code: the host rewrote some, or hooks changed."""
        self._contexts.forget_code()

    def word(self, va: int) -> int | None:
        """Return the instruction word (u32) that the PE that runs fetches at ``va``, or None."""
        return self._code.word(va)

    def translate_live(self, va: int) -> int | None:
        """Return the PA of ``va`` for the PE that runs, also in a callback; None when it is not mapped."""
        return self._handle.translate(va)

    @property
    def code(self) -> SeenCode:
        """What is known of the code in memory."""
        return SeenCode(self._code.lines, self._code.executed, self._code.stored)

    def is_code(self, pa: int, size: int) -> bool:
        """Tell whether a PE has, or may have, fetched from the lines (64 bytes) of these bytes."""
        return self._code.holds(pa, size)

    def protect(self, pa: int, size: int, *, read: bool, write: bool, execute: bool) -> None:
        """Let PEs do no more than this to whole pages of memory; anything else is an external abort."""
        self._contexts.unload()
        self._handle.protect(pa, size, read * READ | write * WRITE | execute * EXECUTE)

    def map_device(self, pas: range) -> None:
        """Let accesses of PEs to these PAs go to the interconnect."""
        self._contexts.unload()
        callbacks = device_callbacks(pas.start, self._observing, self._contexts, self._pending)
        self._handle.map_callbacks(pas, *callbacks)

    # -- running ----------------------------------------------------------------------------------

    def run(self, pe: PE, instructions_max: int = UNLIMITED) -> EngineStop:
        """Run ``pe`` at full speed until it stops or has retired ``instructions_max`` (1 at least)."""
        assert instructions_max > 0, "the engine takes 0 for no limit"
        if self._contexts.loaded is not pe:
            self._contexts.load(pe)
        return self.free.run(instructions_max) if self.free.is_on else self._run(instructions_max)

    def run_uncounted(self, pe: PE, seconds: float = UNCOUNTED_SECONDS) -> EngineStop:
        """Run ``pe`` until it stops, with no limit and no instruction count: at least twice as fast."""
        assert not self._code.observing, "counted code does not run uncounted"
        self._contexts.load(pe)
        self._counted = False
        self._recount = True
        counters = pe.counters.instructions
        # Not Unicorn's own time-out: its thread looks at the clock every other microsecond.
        self._watchdog.begin(self._handle.stop, seconds)
        try:
            stop = self._run(UNLIMITED, self._watchdog.over)
        finally:
            self._watchdog.end()
        pe.counters.instructions = counters
        self._counted = True
        return stop

    def step(self, pe: PE) -> EngineStop:
        """Run one instruction."""
        if self._contexts.loaded is not pe:
            self._contexts.load(pe)
        return self._run(1)

    def run_operation(self, pe: PE) -> EngineStop:
        """Run the operation at the PC, if there is one, then up to the next one."""
        if self._contexts.loaded is not pe:
            self._contexts.load(pe)
        left = INVISIBLE_MAX
        pc, code = self._live.pc, self._code
        if code.stale:
            self._contexts.enter_space()
        va = pc.value
        count = (code.plans.get(va) or code.plan(va))[0]
        while left > 0:
            stop = self._run(count)
            if stop is not STEP_LIMIT:
                return stop
            left -= count
            if code.stale:
                self._contexts.enter_space()
            va = pc.value
            count, is_operation = code.plans.get(va) or code.plan(va)
            if is_operation:
                break
        return STEP_LIMIT

    def at_operation(self, pe: PE) -> bool:
        """Tell whether the instruction at the PC is one that others can observe."""
        self._contexts.load(pe)
        if self._code.stale:
            self._contexts.enter_space()
        return self._code.plan(pe.pc)[1]

    def next_operation(self, pe: PE, *, conduit: str = "", attributes: bool = False) -> Operation:
        """Return what ``pe`` does next, without doing it; Invisible when no other PE can observe it."""
        if not self.at_operation(pe):
            return Invisible()
        word, loaded = self.word(pe.pc), self._contexts.loaded
        assert word is not None
        assert loaded is not None

        def execute() -> tuple[Access, ...]:
            with unrecorded(self._traced_steps(), 1):
                return execute_and_undo(loaded, self.memory, self._observing, self.step)

        return decode(pe, word, self.memory, execute, conduit=conduit, attributes=attributes)

    def run_ahead(
        self,
        pes: Sequence[PE],
        outside: LookAhead,
        instructions_max: int,
        goes_on_for: int = 0,
        turn: int = 1,
    ) -> list[Loop] | None:
        """Return how PEs would go round from here on, with no effect; None: they do not, or it is longer."""
        mine = [pe for pe in pes if isinstance(pe, UnicornPE)]
        assert len(mine) == len(pes), "a PE of another engine"

        def word(pe: PE) -> int | None:
            self._contexts.load(pe)
            return self.word(pe.pc)

        with unrecorded(self._traced_steps(), instructions_max) as limit:
            if len(mine) > 1:
                return run_ahead_together(mine, self._observing, word, self.step, outside, limit, turn)
            self._contexts.load(mine[0])
            found = run_ahead(mine[0], self._observing, self.word, self.step, outside, limit, goes_on_for)
        return None if found is None else [found]

    def run_to_wait(
        self, pe: PE, outside: LookAhead, instructions_max: int
    ) -> tuple[tuple[int, int], ...] | None:
        """Return what ``pe``, which waits, executes from waking up to its next WFE; None: it does not."""
        assert self._steps is None, "they would be recorded"
        self._contexts.load(pe)
        loaded = self._contexts.loaded
        assert loaded is not None
        return run_to_wait(loaded, self._observing, self.word, self.step, outside, instructions_max)

    def _run(self, limit: int, over: Event | None = None) -> EngineStop:
        # Of the PE that is loaded. Enter the engine as often as emulated instructions and new sites make it
        # return; a run without a count may be `over` between two of them.
        contexts, code, pending = self._contexts, self._code, self._pending
        pe = contexts.loaded
        assert pe is not None
        live_pc, counters, handle = self._live.pc, pe.counters, self._address
        if self._recount and self._counted:
            self._recount = False
            contexts.forget_code()
            contexts.load(pe)
        pending.resume_at = pe.reached if pe.reached == live_pc.value else -1
        pe.reached = -1
        while True:
            pc = live_pc.value
            if code.stale:
                contexts.enter_space()
            if pc not in code.blocks and not self._hooks.look_at_entry(pc):
                return misaligned(pe, pc)
            if contexts.in_illegal_state and code.word(pc) is not None:
                return Raised(ILLEGAL_STATE, None, default_target_el(pe), pc)
            pending.stop = pending.undo = None
            pending.at_site = False
            pending.emulate = None
            pending.exception = None
            # The engine ends at 0, or, where it begins there, at an address that no instruction has.
            error = emu_start(handle, pc, not pc, 0, limit if self._counted else 0)
            begun = self._counter.value
            self._counter.value = 0
            if pending.at_site:
                begun -= 1
                if pending.emulate is None and self._steps is not None and self._hooks.shows_steps:
                    self._steps.drop()
            elif begun > limit:
                begun = limit
            counters.instructions += begun
            limit -= begun
            if pending.error is not None:
                failure, pending.error = pending.error, None
                raise failure
            progress = bool(pending.found) or pending.emulate is not None or not live_pc.value
            if pending.found:
                self._hooks.install_found()
            if pending.exception is not None:
                return raised(contexts, pe, pending.exception, self.memory)
            if error in ABORTS:
                counters.instructions -= error not in FETCHES
                return external_abort(contexts, pe, error, pending.fault_pa, self.memory)
            if error:
                return Unsupported(f"unicorn error {error}", live_pc.value)
            if pending.emulate is not None:
                stop = self._words.emulate(pe, *pending.emulate)
                if stop is not None:
                    return stop
                counters.instructions += 1
                limit -= 1
            elif pending.stop is not None:
                if pending.undo is not None:
                    self._undo(*pending.undo)
                return pending.stop
            if limit <= 0 or not (self._counted or progress) or (over is not None and over.is_set()):
                return STEP_LIMIT
            pending.resume_at = -1

    def _undo(self, state: bytes, pa: int, data: bytes) -> None:
        # Take back the instruction that the engine has been in the middle of.
        pe = self._contexts.loaded
        assert pe is not None
        memmove(self._live.address, state, len(state))
        self.memory.write_bytes(pa, data)
        pe.counters.instructions -= 1
