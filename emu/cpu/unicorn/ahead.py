"""Running a PE ahead to see whether it goes round: everything that it does is undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

from emu.arch import a64, sysreg
from emu.arch.a64 import Other
from emu.cpu.counting import goes_on, wait_for_counter
from emu.cpu.loops import NESTED_MAX, LookAhead, Loop
from emu.cpu.pe import PE
from emu.cpu.round_proof import Access, Step
from emu.cpu.stops import STEP_LIMIT, Call, ConstraintViolation, EngineStop, Raised, Reached, Waiting
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pe import UnicornPE
from emu.operation import LOADS, STORES, Kind

_FOR_EVER = 1 << 60  # instructions: centuries
_HCR_IMO, _PSTATE_I = 1 << 4, 1 << 7
_WORDS_THAT_ACT = (Other.ZERO, Kind.PARK)


class _Tracker:
    # Notices a state that was there before (Brent 1980), and an exception that its own handler takes again.

    def __init__(self, pe: UnicornPE, outside: LookAhead) -> None:
        self._pe = pe
        self._outside = outside
        self._until = 1  # instructions after which another state is kept
        self._done = 0
        self._nested = 0
        self._last: tuple[int, int] | None = None  # of the exception: return address and syndrome
        self.raised: Raised | None = None
        self._keep()

    def _keep(self) -> None:
        pe = self._pe
        self._pc, self._registers = pe.pc, pe.general(0, 32)
        self._state, self._system = pe.state(), self._outside.state()
        self.first = self.last = self._pc
        self.raised = None

    def has_come_back(self) -> bool:
        """Tell whether the PE, after one more instruction, is in the state that was kept."""
        pe = self._pe
        pc = pe.pc
        if (
            pc == self._pc
            and pe.general(0, 32) == self._registers
            and pe.state() == self._state
            and self._outside.state() == self._system
        ):
            return True
        self.first, self.last = min(self.first, pc), max(self.last, pc)
        self._done += 1
        if self._done == self._until:
            self._until *= 2
            self._done = 0
            self._keep()
        return False

    def returns(self) -> None:
        """The PE returns from an exception."""
        self._nested = 0

    def has_repeated(self, raised: Raised) -> bool:
        """Tell whether the exception, which the PE takes now, is one too many of its kind."""
        kind = (raised.preferred_return, raised.syndrome)
        self._nested = self._nested + 1 if kind == self._last else 0
        self._last, self.raised = kind, raised
        return self._nested >= NESTED_MAX


class _Steps:
    # Keeps what is done, for a proof that it goes on for so many instructions.

    def __init__(self, pe: UnicornPE, outside: LookAhead, instructions: int, *, with_model: bool) -> None:
        self._pe, self._outside, self._instructions = pe, outside, instructions
        self._with_model = with_model
        self._accesses: list[Access] = []
        self._steps: list[Step] = []
        self.pc, self._registers = pe.pc, b""

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        if kind in LOADS or kind in STORES:
            self._accesses.append(Access(kind in STORES, pa, size, value))
        self._outside.record(pe, kind, size, va, pa, value)

    def begin(self) -> None:
        self.pc, self._registers = self._pe.pc, self._pe.general(0, 32)
        if self._outside.interrupts and not _masks_interrupts(self._pe):
            self._steps.clear()  # the proof knows nothing of what an interrupt does

    def end(self, word: int | None, stop: EngineStop) -> None:
        if isinstance(stop, Raised) and stop.target_el <= 2:
            state = blake2b(self._pe.state_without_general()).digest()
            self._steps.append(Step(self.pc, word or 0, self._registers, (), stop, state))
        elif word is None or stop is not STEP_LIMIT:
            self._steps.clear()  # the proof knows nothing of what happened
        else:
            self._steps.append(Step(self.pc, word, self._registers, tuple(self._accesses)))
        self._accesses.clear()

    def loop(self) -> Loop | None:
        if self._outside.ticks_max:
            return self._wait()
        found = goes_on(self._steps, self._instructions)
        if not found or self._with_model and any(step.accesses for step in found):
            return None  # a memory model has a say in what loads find
        pcs = [step.pc for step in found]
        raised = next((step.raised for step in found if step.raised), None)
        if raised and goes_on(self._steps, _FOR_EVER):
            return Loop(min(pcs), max(pcs), raised, counts=True)  # nothing that it counts ends it
        return Loop(min(pcs), max(pcs), None, counts=True)

    def _wait(self) -> Loop | None:
        alone = self._outside.alone and not self._with_model
        if any(access.is_store or not alone for step in self._steps for access in step.accesses):
            return None  # others may have a say in it
        wait = wait_for_counter(self._steps, self._outside.ticks_max)
        return wait and Loop(wait.pc, wait.pc, None, wait=wait)


def _masks_interrupts(pe: UnicornPE) -> bool:
    # Whether it takes no IRQ now, wherever that is routed to.
    to_el2 = pe.el < 2 and pe.sysreg(sysreg.HCR_EL2) & _HCR_IMO
    return not to_el2 and bool(pe.daif & _PSTATE_I)


def run_ahead(
    pe: UnicornPE,
    observing: Observing,
    word: Callable[[int], int | None],
    step: Callable[[UnicornPE], EngineStop],
    outside: LookAhead,
    limit: int,
    instructions: int = 0,
) -> Loop | None:
    """Return how ``pe`` goes round; :meth:`emu.cpu.engine.Engine.run_ahead` says what that is.

    :param word: gives the instruction word at a VA
    :param step: runs one instruction; observed accesses must be on
    :param limit: instructions that are run
    """
    with_model = observing.access is not None
    steps = _Steps(pe, outside, instructions, with_model=with_model) if instructions else None
    with _undone([pe], observing, outside):
        if steps is not None:
            observing.record = steps.record
        return _run(pe, word, step, outside, limit, steps)


def run_to_wait(
    pe: UnicornPE,
    observing: Observing,
    word: Callable[[int], int | None],
    step: Callable[[UnicornPE], EngineStop],
    outside: LookAhead,
    limit: int,
) -> tuple[tuple[int, int], ...] | None:
    """Return what ``pe`` executes up to its next WFE (:meth:`emu.cpu.engine.Engine.run_to_wait`)."""
    state, code = pe.state(), []
    with _undone([pe], observing, outside):
        for _ in range(limit):
            va = pe.pc
            next_word = word(va)
            if next_word is None:
                return None
            code.append((va, next_word))
            stop = step(pe)
            if outside.acts:
                return None
            if isinstance(stop, Waiting):
                goes_round = stop.kind is Kind.WFE and pe.state() == state
                return tuple(code) if goes_round else None
            if stop is not STEP_LIMIT:
                return None
    return None


@contextmanager
def _undone(pes: Sequence[UnicornPE], observing: Observing, outside: LookAhead) -> Iterator[None]:
    # What `pes` do in here goes to `outside`, and is undone.
    kept = observing.to, observing.record, observing.access
    saved = [(pe, pe.state(), pe.counters, pe.reached) for pe in pes]
    for pe in pes:
        pe.reset_counters()
    observing.to, observing.record = outside, outside.record
    if observing.access is not None:
        observing.access = outside.access
    try:
        yield
    finally:
        observing.to, observing.record, observing.access = kept
        for pe, state, counters, reached in saved:
            pe.set_state(state)
            pe.counters, pe.reached = counters, reached


def _run(
    pe: UnicornPE,
    word: Callable[[int], int | None],
    step: Callable[[UnicornPE], EngineStop],
    outside: LookAhead,
    limit: int,
    steps: _Steps | None,
) -> Loop | None:
    tracker = _Tracker(pe, outside)
    for _ in range(limit):
        next_word = word(pe.pc)
        kind = a64.classify(next_word) if next_word is not None else Other.INVISIBLE
        if kind in _WORDS_THAT_ACT:
            return None
        if steps is not None:
            steps.begin()
        stop = step(pe)
        if isinstance(stop, ConstraintViolation):
            stop = stop.raised
        if steps is not None:
            steps.end(next_word, stop)
        if kind is Other.ERET:
            tracker.returns()
        if isinstance(stop, Raised):
            if stop.target_el > 2:
                return None
            if tracker.has_repeated(stop):
                return Loop(tracker.first, tracker.last, stop)
            pe.take(stop)
        elif isinstance(stop, Call):
            answer = outside.call(pe, stop.conduit)
            if answer is None:
                return None
            pe.x[0] = answer
        elif isinstance(stop, Reached) and outside.passes(stop.va):
            continue
        elif stop is not STEP_LIMIT:
            return None
        if outside.acts:
            return None
        if tracker.has_come_back():
            return Loop(tracker.first, tracker.last, tracker.raised)
    return None if steps is None else steps.loop()


def run_ahead_together(
    pes: Sequence[UnicornPE],
    observing: Observing,
    word: Callable[[UnicornPE], int | None],
    step: Callable[[UnicornPE], EngineStop],
    outside: LookAhead,
    limit: int,
    turn: int,
) -> list[Loop] | None:
    """Return how ``pes`` go round when they take turns of ``turn`` instructions.

    :param word: gives the instruction word that a PE is about to do
    :param limit: instructions of all that are run
    """
    with _undone(pes, observing, outside):
        return _run_together(pes, word, step, outside, limit, turn)


def _run_together(
    pes: Sequence[UnicornPE],
    word: Callable[[UnicornPE], int | None],
    step: Callable[[UnicornPE], EngineStop],
    outside: LookAhead,
    limit: int,
    turn: int,
) -> list[Loop] | None:
    def now() -> tuple[object, ...]:
        return *((pe.pc, pe.state()) for pe in pes), outside.state()

    kept, until, done = now(), 1, 0
    spans = [(pe.pc, pe.pc) for pe in pes]
    for _ in range(limit // (turn * len(pes))):
        all_sleep = True
        for number, pe in enumerate(pes):
            for _ in range(turn):
                if outside.sleeps(pe):
                    break
                all_sleep = False
                next_word = word(pe)
                if next_word is None or a64.classify(next_word) in _WORDS_THAT_ACT:
                    return None
                stop = step(pe)
                waits = isinstance(stop, Waiting) and stop.kind is Kind.WFE
                if (stop is not STEP_LIMIT and not waits) or outside.acts:
                    return None
                first, last = spans[number]
                spans[number] = min(first, pe.pc), max(last, pe.pc)
        if all_sleep:
            return None
        here = now()
        if here == kept:
            return [Loop(first, last, None) for first, last in spans]
        done += 1
        if done == until:
            kept, until, done = here, 2 * until, 0
            spans = [(pe.pc, pe.pc) for pe in pes]
    return None
