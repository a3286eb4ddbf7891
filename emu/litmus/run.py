"""Runs a litmus test: its threads on PEs, all orders by the explorer, the set of final states.

A final state is an end in which every thread has come behind its last instruction. herd has no others either:
an execution that faults, or one that never ends, is none. They are counted, and told with the place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emu.arch import sysreg
from emu.cpu.cores import Core
from emu.errors import InvalidCase, Untestable
from emu.explore.bare import Start, bare_explorer
from emu.explore.coverage import PUBLICATION, coverage_of
from emu.explore.ends import EndState, See, find_ends
from emu.explore.explorer import Explorer
from emu.explore.local_state import LocalState
from emu.explore.registers import Registers
from emu.explore.search import Bounds
from emu.litmus.condition import Location, Register, holds
from emu.litmus.layout import BASE, CODE, SIZE, Layout
from emu.litmus.test import Instruction, LitmusTest, Value
from emu.machine.actor import State
from emu.memory import Memory
from emu.outcome import End
from emu.registry import not_one_of

MODELS = {"sc": "coherent"}  # the memory model of the exploration, by herd's name for it
SCHEDULES_MAX = 1_000_000
_FAILURES_MAX = 15
_EC_UNKNOWN = 0
_FAULTS = (0x20, 0x21, 0x22, 0x24, 0x25, 0x26)  # ECs: aborts, and alignment of PC and SP


@dataclass(frozen=True, slots=True)
class FinalState:
    """One final state: the text of each location that is shown, and whether the proposition holds."""

    values: tuple[str, ...]
    is_positive: bool
    order: tuple[tuple[int, object], ...] = ()


@dataclass(slots=True)
class LitmusResult:
    """What came of a test.

    :ivar states: in herd's order
    :ivar others: why there are ends that are no final states
    :ivar incomplete: why states may be missing; nothing: none is
    """

    test: LitmusTest
    model: str
    core: str
    states: list[FinalState]
    others: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    schedules: int = 0

    @property
    def positive(self) -> int:
        """How many states have the proposition."""
        return sum(state.is_positive for state in self.states)

    @property
    def negative(self) -> int:
        """How many have not."""
        return len(self.states) - self.positive

    @property
    def validated(self) -> bool:
        """Whether the condition is true."""
        return self.test.condition.validated(self.positive, self.negative)

    @property
    def observation(self) -> str:
        """``Never``, ``Always`` or ``Sometimes``."""
        if not self.positive:
            return "Never"
        return "Sometimes" if self.negative else "Always"


def check_model(model: str) -> str:
    """Return the memory model of an exploration by herd's name.

    :raises InvalidCase: there is no such one
    """
    if model not in MODELS:
        raise InvalidCase(f"model={model}: {not_one_of(model, MODELS)}")
    return MODELS[model]


def run_test(layout: Layout, model: str, core: Core, schedules: int = SCHEDULES_MAX) -> LitmusResult:
    """Explore a test.

    :raises InvalidCase: an unknown model
    :raises Untestable: an instruction that the core has not, or that is not modelled
    """
    test = layout.test
    memory = Memory(BASE, SIZE)
    memory.write_bytes(CODE, layout.code)
    for pa, size, value in layout.memory():
        memory.write(pa, size, value)
    starts = [Start(pa, layout.registers(thread)) for thread, pa in enumerate(layout.entries)]
    explorer = bare_explorer(memory, starts, core, model=check_model(model), name=test.name)
    bounds = Bounds(failures=_failures(test), schedules=schedules)
    found: list[_Round] = []

    def begin() -> See:
        found.append(_Round(layout, explorer, core))
        return found[-1].see

    try:
        ends = find_ends(explorer, bounds, begin)
    except Untestable as error:
        raise Untestable(f"{test.file}: {error}") from None
    _check_code(layout, explorer)
    covered = coverage_of(explorer.stepper, failures=bounds.failures, early=0)
    unmodelled = [what for what, _ in covered.unmodelled if what != PUBLICATION]
    if unmodelled:
        raise Untestable(f"{test.file}: not modelled: {', '.join(unmodelled)}")
    last = found[-1]
    states = sorted(last.states.values(), key=lambda state: state.order)
    return LitmusResult(
        test, model, core.name, states, sorted(last.others), ends.incomplete, ends.count.schedules
    )


def _failures(test: LitmusTest) -> int:
    # A store-exclusive may always fail: as often in a row as a thread without loops can.
    most = max(sum("XR" in line.text.upper() for line in thread) for thread in test.threads)
    return min(most, _FAILURES_MAX)


def _check_code(layout: Layout, explorer: Explorer) -> None:
    code = range(CODE, CODE + len(layout.code))
    for local in explorer.stepper.locals:
        for access in local.action.accesses:
            if access.is_store and access.pa in code:
                raise Untestable(
                    f"{layout.test.file}: P{local.cpu} stores to code: what is fetched is not explored"
                )


class _Round:
    # The ends of one round of the search.

    def __init__(self, layout: Layout, explorer: Explorer, core: Core) -> None:
        self.layout, self.test, self.core = layout, layout.test, core
        self.states: dict[tuple[str, ...], FinalState] = {}
        self.others: set[str] = set()
        self._registers = Registers(explorer.stepper.machine)
        self._explorer = explorer

    def see(self, end: EndState) -> None:
        why = [self._why_not(local) for local in end.locals]
        if any(why):
            self.others.update(text for text in why if text)
            return
        raw = {at: self._raw(end, at) for at in self.test.shown}
        values = tuple(self._text(at, raw[at]) for at in self.test.shown)
        if values in self.states:
            return
        order = tuple(self._order(at, raw[at]) for at in self.test.shown)
        is_positive = holds(
            self.test.condition.proposition, lambda at, value: self._equals(at, raw[at], value)
        )
        self.states[values] = FinalState(values, is_positive, order)

    def _why_not(self, local: LocalState) -> str:
        # Why a thread is not behind its last instruction; nothing: it is.
        if local.state is State.ENDED and local.outcome.end is End.SELF_BRANCH:
            if local.at == self.layout.ends[local.cpu]:
                return ""
            return f"P{local.cpu} goes round at {self._place(local.at)}"
        if local.state is State.ENDED and local.outcome.end is End.VECTOR_WITHOUT_CODE:
            return self._faulted(local)
        if local.state is State.WAITING:
            return f"P{local.cpu} sleeps in WFE at {self._place(local.at)}"
        return f"P{local.cpu} does not come to its end, at {self._place(local.at)}"

    def _faulted(self, local: LocalState) -> str:
        self._registers.of(local)  # puts the PE there
        pe = self._explorer.stepper.machine.actors[local.cpu].pe
        syndrome, at = pe.system_register(sysreg.ESR_EL1), pe.system_register(sysreg.ELR_EL1)
        if syndrome >> 26 == _EC_UNKNOWN:
            raise Untestable(f"P{local.cpu}: {self._place(at)} is UNDEFINED on {self.core.name}")
        if syndrome >> 26 not in _FAULTS:
            raise Untestable(f"P{local.cpu}: {self._place(at)} raises an exception, ESR {syndrome:#x}")
        far = pe.system_register(sysreg.FAR_EL1)
        return f"P{local.cpu} faults at {self._place(at)}, address {far:#x}"

    def _place(self, pa: int) -> str:
        # The instruction at a PA as it is written, else the address.
        code, at = self.layout.code, pa - CODE
        word = int.from_bytes(code[at : at + 4], "little") if 0 <= at < len(code) else -1
        return self.layout.instructions.get(word, f"{pa:#x}")

    def _raw(self, end: EndState, at: Location) -> int:
        # The u64 at a location.
        if isinstance(at, Register):
            value = self._registers.of(end.locals[at.thread])[at.number]
            return value & 0xFFFF_FFFF if at.is_half else value
        size = 8 if at.element is None else self.test.type_of(at).size
        return end.memory(self.layout.pa(at), size)

    def _text(self, at: Location, raw: int) -> str:
        name = self.layout.name_of(raw)
        if name is not None:
            return name
        type_ = self.test.type_of(at)
        number = type_.number(raw)
        if type_.is_code and number in self.layout.instructions:
            return f'instr:"{self.layout.instructions[number]}"'
        return str(number)

    def _order(self, at: Location, raw: int) -> tuple[int, object]:
        # Numbers before names.
        name = self.layout.name_of(raw)
        return (0, self.test.type_of(at).number(raw)) if name is None else (1, name)

    def _equals(self, at: Location, raw: int, value: Value) -> bool:
        wanted = self.layout.number(value)
        if isinstance(value, int | Instruction):
            type_ = self.test.type_of(at)
            return self.layout.name_of(raw) is None and type_.number(raw) == type_.number(wanted)
        return raw == wanted
