"""A lookup asked one question at a time, with every promise of its contract checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from emu.arch import a64, sysreg
from emu.arch.fields import syndrome
from emu.constraints import constraint_words
from emu.cpu.factory import make_engine
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE, Registers
from emu.cpu.stops import (
    STEP_LIMIT,
    Call,
    ConstraintViolation,
    EngineStop,
    Raised,
    Reached,
    SelfBranch,
    StepLimit,
    Unsupported,
    Waiting,
)
from emu.errors import InvalidCase, Untestable
from emu.lookup.case import Question
from emu.lookup.constants import BESIDE, Constants, code_words
from emu.lookup.contract import RETURN
from emu.lookup.endless import FIRST, goes_on
from emu.lookup.starts import STARTS, Start
from emu.lookup.target import OUTSIDE_MAX, OUTSIDE_PA, RETURN_PA, SP_ENDS, Placed, Target
from emu.memory import Memory
from emu.operation import STORES, Kind

_LOOK = 20_000  # instructions that take as long as a look whether it comes to an end
_EVENTS = 16  # that a look-up may have before it is looked at, whether it comes to an end
_NO_STACK = 0xDEAD_0000_0000_0000  # SP where there is none: nothing is mapped there
_SA = 1 << 3  # SCTLR_ELx: accesses by an SP that is not aligned fault
_DAIF = (3, 3, 4, 2, 1)
_MSR = 0xD51  # of a register: bits 31:20
_STRETCH_MAX = 256  # instructions that a walk runs at once
_SYSTEM = (
    sysreg.SCTLR_EL1,
    sysreg.CPACR_EL1,
    sysreg.TTBR0_EL1,
    sysreg.TTBR1_EL1,
    sysreg.TCR_EL1,
    sysreg.MAIR_EL1,
    sysreg.VBAR_EL1,
    sysreg.TPIDR_EL1,
    sysreg.TPIDR_EL2,
    sysreg.CONTEXTIDR_EL1,
    sysreg.HCR_EL2,
)
# Not looked at: what a look-up may change, or has to itself.
_OPEN = {sysreg.MPIDR_EL1, sysreg.PMUSERENR_EL0, sysreg.PMCR_EL0, sysreg.PMSELR_EL0}


class Short(Enum):
    """What stopped a lookup short of an exit."""

    LIMIT = "limit"  # of instructions
    SELF_BRANCH = "self-branch"
    WAITS = "waits"  # in WFE or WFI
    LEAVES = "leaves"  # its own code
    EXCEPTION = "exception"
    CALLS = "calls"  # firmware
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Wrong:
    """A promise that was broken.

    :ivar prop: which of PROPERTIES
    :ivar cause: what tells this fault from others of the property: answers of one cause are alike
    :ivar text: how, in words
    """

    prop: str
    cause: str
    text: str


@dataclass(frozen=True, slots=True)
class LookupAnswer:
    """What a lookup did with one question.

    :ivar exit: "found", "missing", or "" when it reached no exit
    :ivar index: the index register (u64) at the exit
    :ivar instructions: retired instructions, to the exit or to the stop
    :ivar pc: PA of the instruction at which it stopped
    :ivar broken: violations of the contract, in program order
    :ivar why: why it stopped without an exit, in words
    :ivar short: likewise, as data
    """

    exit: str
    index: int
    instructions: int
    pc: int
    broken: tuple[Wrong, ...]
    why: str = ""
    short: Short | None = None


_LOAD = Kind.LOAD  # most of all accesses


class _Accesses(LocalInterconnect):
    # Checks the accesses of the code under test against its contract.

    def __init__(self, target: Target, memory: Memory) -> None:
        super().__init__()
        self.broken: list[Wrong] = []
        self.overwritten: list[tuple[int, bytes]] = []  # outside of the stack: PA and what was there
        self.events = 0  # of the code so far: what the host takes part in and is no load or store
        self._target = target
        self._memory = memory
        self._tables = [(placed.pa, placed.bytes_at.stop) for placed in target.tables]
        self.stack = range(target.stack_top - target.contract.stack, target.stack_top)
        self._constants = Constants(target)

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        """Record an access that the contract does not allow."""
        if kind == _LOAD or kind == Kind.LOAD_EXCLUSIVE:
            for start, stop in self._tables:
                if start <= pa and pa + size <= stop:
                    return
            if pa in self.stack or self._memory.read(va, 4) & 0x3B00_0000 == 0x1800_0000:
                return  # a literal is part of the code
            if self._constants.has(pa, size):
                return
            self._note("reads", pa, f"reads {size} bytes at {self._name(pa)}, outside its tables")
        elif kind in (Kind.STORE, Kind.STORE_EXCLUSIVE):
            if not (pa in self.stack and pa + size - 1 in self.stack):
                if self._memory.contains(pa, size):
                    self.overwritten.append((pa, self._memory.read_bytes(pa, size)))
                self._note("stores", pa, f"stores {value:#x} ({size} bytes) at {self._name(pa)}")
        elif kind not in STORES:
            self.events += 1

    def send_event(self, pe: PE) -> None:
        """Count it."""
        self.events += 1
        super().send_event(pe)

    def send_event_local(self, pe: PE) -> None:
        """Count it."""
        self.events += 1
        super().send_event_local(pe)

    def counter(self, pe: PE) -> int:
        """Count it; time stands still."""
        self.events += 1
        return super().counter(pe)

    def _note(self, access: str, pa: int, text: str) -> None:
        if len(self.broken) < 8:
            placed = self._nearest(pa)
            near = placed.table.symbol if placed else "elsewhere"
            self.broken.append(Wrong("memory", f"{access} {near}", text))

    def _nearest(self, pa: int) -> Placed | None:
        return next(
            (each for each in self._target.tables if -BESIDE <= pa - each.pa < each.size + BESIDE), None
        )

    def _name(self, pa: int) -> str:
        # As an offset in the nearest table, where there is one: that is what its author counts in.
        placed = self._nearest(pa)
        return f"{placed.table.symbol}{pa - placed.pa:+#x}" if placed else f"{pa:#x}"


class Single:
    """One lookup in an engine of its own."""

    def __init__(self, target: Target) -> None:
        self.target = target
        contract = target.contract
        self.memory = target.memory()
        self._accesses = _Accesses(target, self.memory)
        self.engine = make_engine(self.memory, self._accesses)
        self.pe = self.engine.new_pe(0, 1 << 31, 0x410F_D083, contract.el)
        self._observe()
        self._exits = {target.found_pa: "found"}
        if target.missing_pa is not None:
            self._exits[target.missing_pa] = "missing"
        for pa in self._exits:
            self.engine.break_at(pa)
        kept = {contract.index, *contract.may_change}
        self._sp = target.stack_top  # of the last question, where there is a stack
        self._kept = [number for number in range(31) if f"x{number}" not in kept]
        self.limit = target.instructions_limit
        # Where no exit cannot be right, the accesses of code that comes to none are checked only so far.
        may_park = contract.parks or contract.missing is None
        self._checked = self.limit if may_park else min(self.limit, target.instructions_expected)
        self._map: tuple[int | None, ...] | None = None
        named = {a64.system_register(word) for _pa, word in code_words(target) if word >> 20 == _MSR}
        self._written = sorted((named & sysreg.NAMES.keys()) - {*_SYSTEM, *_OPEN})
        self._system_names = (*map(sysreg.name, (*_SYSTEM, *self._written)), "SP_EL0", "DAIF")

    def fill(self, logical_map: Sequence[int | None]) -> None:
        """Write the tables for this logical map, and what a look-up stored over."""
        self._map = tuple(logical_map)
        for pa, data in reversed(self._accesses.overwritten):
            self.memory.write_bytes(pa, data)
        self._accesses.overwritten.clear()
        target = self.target
        for placed, filled in zip(target.tables, target.fill(self._map), strict=True):
            self.memory.write_bytes(placed.pa, filled)

    def ask(self, question: Question, begin: Start = STARTS[0]) -> LookupAnswer:
        """Run the lookup once; ``begin`` is what it finds where the contract leaves it open."""
        if question.logical_map != self._map or self._accesses.overwritten:
            self.fill(question.logical_map)
        pe, contract = self.pe, self.target.contract
        pe.mpidr = self.target.mpidr_el1(question.mpidr)
        if contract.el == 2:
            pe.override(sysreg.MPIDR_EL1, pe.mpidr)
        given = self.registers(question, begin)
        self._begin(given, begin)
        system = self._system()
        before = pe.counters.instructions
        stop = self._run(given, begin)
        instructions = pe.counters.instructions - before
        broken = self._accesses.broken
        if not (isinstance(stop, Reached) and stop.va in self._exits):
            return LookupAnswer("", 0, instructions, pe.pc, tuple(broken), *self._why(stop))
        exit_ = self._exits[stop.va]
        index = pe.x[int(contract.index[1:])]
        if contract.missing_index is not None and index == contract.missing_index and exit_ == "found":
            exit_ = "missing" if contract.missing == RETURN else exit_
        self._compare(given, begin.nzcv)
        for name, now, then in zip(self._system_names, self._system(), system, strict=True):
            if now != then:
                self._changed(name, f"{now:#x}", f"{then:#x}")
        return LookupAnswer(exit_, index, instructions, pe.pc, tuple(broken))

    def left(self) -> Start:
        """Return what the last question has left, as the start of another one."""
        pe, size = self.pe, self.target.contract.stack & -8
        registers = tuple(pe.x[number] for number in range(31))
        data = memoryview(self.memory.read_bytes(self._sp - size, size) if size else b"").cast("Q")
        stack = [(size - 8 * place, value) for place, value in enumerate(data) if value != STARTS[0].filler]
        return replace(STARTS[0], registers=registers, nzcv=pe.nzcv, stack=tuple(reversed(stack)))

    def walk(
        self, question: Question, most: int, wanted: Callable[[int], bool]
    ) -> Iterator[tuple[int, int, Registers]]:
        """Run the lookup up to an exit or for ``most`` instructions, and stop before those that are wanted.

        Yields before each instruction (u32) for which ``wanted`` is true its PA, itself, and X0..X30 and SP
        (u64).
        """
        if question.logical_map != self._map or self._accesses.overwritten:
            self.fill(question.logical_map)
        pe, begin = self.pe, STARTS[0]
        pe.mpidr = self.target.mpidr_el1(question.mpidr)
        if self.target.contract.el == 2:
            pe.override(sysreg.MPIDR_EL1, pe.mpidr)
        self._begin(self.registers(question, begin), begin)
        stretches: dict[int, tuple[int, bool, int]] = {}
        while most > 0:
            pc = pe.pc
            if pc in self._exits or not self.memory.contains(pc, 4):
                return
            if pc not in stretches:
                stretches[pc] = self._stretch(pc, wanted)
            word, is_wanted, count = stretches[pc]
            if is_wanted:
                yield pc, word, pe.x
            count = min(count, most)
            most -= count
            if not isinstance(self.engine.run(pe, count), StepLimit):
                return

    def _stretch(self, pc: int, wanted: Callable[[int], bool]) -> tuple[int, bool, int]:
        # The instruction at `pc`, whether it is wanted, and how many to run up to one that may be next, or to
        # where another stretch begins: where there is no code no branch ends one.
        word = self.memory.read(pc, 4)
        count, end = 1, pc + 4
        last = word
        while count < _STRETCH_MAX and not a64.is_branch(last) and self.memory.contains(end, 4):
            last = self.memory.read(end, 4)
            if end in self._exits or wanted(last):
                break
            count, end = count + 1, end + 4
        return word, wanted(word), count

    def _begin(self, given: Sequence[int], begin: Start) -> None:
        pe, el = self.pe, self.target.contract.el
        self.engine.reset(pe, el, self.target.entry_pa, 0)
        if begin.daif != pe.daif:
            pe.set_system_register(_DAIF, begin.daif)
        if begin.checks_sp and self.target.contract.stack:  # without a stack any access by SP is wrong
            control = sysreg.SCTLR_EL1 if el == 1 else sysreg.SCTLR_EL2
            pe.set_system_register(control, pe.sysreg(control) | _SA)
        x = pe.x
        for number, value in enumerate(given):
            x[number] = value
        pe.nzcv = begin.nzcv
        self._fill_stack(begin)
        self._accesses.broken = []
        self._accesses.events = 0

    def _fill_stack(self, begin: Start) -> None:
        target, size = self.target, self.target.contract.stack
        self._sp = self._sp_at(begin)
        self._accesses.stack = range(self._sp - size, self._sp)
        for below, _value in begin.stack:
            if below > size:
                name = target.subject.name
                raise InvalidCase(f"case: with=stack-{below}: {name} has {size} bytes of stack")
        if size:
            self.memory.write_bytes(self._sp - size, begin.on_stack(size))

    def _sp_at(self, begin: Start) -> int:
        # SP at entry; what is below it is the stack of the contract, if there is one.
        target, end = self.target, begin.sp
        if not target.contract.stack:
            return _NO_STACK if end is None else end
        if end is None:
            return target.stack_top
        if end % 16 or end >= SP_ENDS:
            name = target.subject.name
            raise InvalidCase(
                f"case: with=sp:{end:#x}: {name} has a stack: the low 16 bits, a multiple of 16"
            )
        return target.sp_that_ends_in(end)

    def _run(self, given: Sequence[int], begin: Start) -> EngineStop:
        # Up to the limit. What takes longer than expected goes on unchecked, at full speed: to the limit, or
        # it is run again to be checked.
        engine, pe, checked = self.engine, self.pe, self._checked
        before = pe.counters.instructions
        done = 0
        for first in (FIRST, self.target.instructions_expected):
            if not done < first <= checked:
                continue
            stop = engine.run(pe, first - done)
            if not isinstance(stop, StepLimit) or first == self.limit:
                return stop
            done = first
            # A look takes as long as many instructions, but not of those that the host does.
            is_slow = first > FIRST and self.limit - done > _LOOK or self._accesses.events > _EVENTS
            endless = is_slow and goes_on(engine, self.memory, pe, self.limit)
            if is_slow:
                self._observe()
            if endless:
                pe.counters.instructions = before + self.limit
                return stop
        stop = engine.run(pe, checked - done) if checked > done else STEP_LIMIT
        if not isinstance(stop, StepLimit) or checked == self.limit:
            return stop
        engine.unobserve()
        self._accesses.overwritten += self._contents()
        stop = engine.run(pe, self.limit - checked)
        self._observe()
        if isinstance(stop, StepLimit):
            return stop
        pe.counters.instructions = before
        self._begin(given, begin)
        return engine.run(pe, self.limit)

    def _observe(self) -> None:
        # Loads of tables, most of all, are what is allowed.
        self.engine.observe(record=True, pass_over=[placed.bytes_at for placed in self.target.tables])

    def _contents(self) -> list[tuple[int, bytes]]:
        # What stores that nobody sees may overwrite.
        return [(segment.pa, segment.data) for segment in self.target.subject.segments]

    def _system(self) -> list[int]:
        # System registers that a lookup must not write, and the interrupt masks: those of _system_names.
        pe = self.pe
        written = map(pe.system_register, self._written)
        return [*map(pe.sysreg, _SYSTEM), *written, pe.stack_pointer(0), pe.daif]

    def registers(self, question: Question, begin: Start = STARTS[0]) -> list[int]:
        """Return X0..X30 and SP (u64) as the contract has them at entry."""
        contract, target = self.target.contract, self.target
        given = list(begin.registers)
        given.append(self._sp_at(begin))
        if RETURN in (contract.found, contract.missing):
            given[30] = RETURN_PA
        if contract.mpidr != "mpidr_el1":
            given[int(contract.mpidr[1:])] = question.mpidr
        for placed in target.tables:
            if placed.table.base:
                given[int(placed.table.base[1:])] = placed.pa
            if placed.table.length:
                given[int(placed.table.length[1:])] = placed.count
        return given

    def _compare(self, given: Sequence[int], nzcv: int) -> None:
        now = tuple(self.pe.x)
        for number in self._kept:
            if now[number] != given[number]:
                self._changed(f"x{number}", f"{now[number]:#x}", f"{given[number]:#x}", "general")
        if now[31] != given[31]:
            self._changed("SP", f"{now[31]:#x}", f"{given[31]:#x}")
        if self.target.contract.preserve_flags:
            flags = self.pe.nzcv
            if flags != nzcv:
                self._changed("NZCV", f"{flags >> 28:#06b}", f"{nzcv >> 28:#06b}")

    def _changed(self, name: str, now: str, before: str, kind: str = "") -> None:
        text = f"{name} comes out as {now}, not as it went in ({before})"
        self._accesses.broken.append(Wrong("registers", kind or name, text))

    def _why(self, stop: EngineStop) -> tuple[str, Short]:
        match stop:
            case StepLimit():
                return f"no exit within {self.limit} instructions", Short.LIMIT
            case SelfBranch():
                return "it branches to itself", Short.SELF_BRANCH
            case Waiting(kind):
                return f"it waits in {kind.name}", Short.WAITS
            case Raised() if OUTSIDE_PA <= self.pe.pc < OUTSIDE_PA + 16 * OUTSIDE_MAX:
                return f"it leaves for {self._place(self.pe.pc)}", Short.LEAVES
            case Raised():
                far = f"; FAR {stop.far:#x}" if stop.far is not None else ""
                said = syndrome.words(stop.syndrome)
                return f"exception, ESR {stop.syndrome:#x}: {said}{far}", Short.EXCEPTION
            case Call():
                return f"it calls firmware ({stop.conduit})", Short.CALLS
            case ConstraintViolation(constraint, raised=raised):
                return f"{constraint_words(constraint)}, ESR {raised.syndrome:#x}", Short.EXCEPTION
            case Unsupported(what, va):
                raise Untestable(f"{self.target.subject.name}: {self._place(va)}: not modelled: {what}")
            case Reached():
                return f"it stops at {stop.va:#x}", Short.OTHER

    def _place(self, pc: int) -> str:
        subject = self.target.subject
        return subject.symbols.describe_pc(pc, subject.va_offset)


# The properties that are checked, in the order of reports.
PROPERTIES = ("answer", "exit", "registers", "memory", "bound", "concurrent")


def judge(answer: LookupAnswer, expected: int | None, target: Target) -> Wrong | None:
    """Return what is wrong with ``answer``, the worst first, or None.

    :param expected: the logical id, or None when no entry matches
    """
    contract, bound = target.contract, target.instructions_max
    if not answer.exit:
        # To reach no exit means "missing" where the contract says so.
        harmless = expected is None and (contract.parks or contract.missing is None)
        if not (harmless and answer.short in _IDLE):
            there = f"; CPU {expected} is in the map" if expected is not None else ""
            short = answer.short.value if answer.short else "none"
            return Wrong("exit", f"{short}, {'' if expected is None else 'in the map'}", answer.why + there)
    elif answer.exit == "found" and expected is None:
        text = f"finds CPU {_number(answer.index)}; no CPU of the map has this hwid"
        return Wrong("answer", "found, not there", text)
    elif answer.exit == "missing" and expected is not None:
        return Wrong("answer", "missing, there", f"finds nothing; CPU {expected} is in the map")
    elif answer.exit == "found" and answer.index != expected:
        return Wrong("answer", "another", f"finds CPU {_number(answer.index)}, not CPU {expected}")
    if answer.broken:
        return answer.broken[0]
    if answer.exit and bound and answer.instructions > bound:
        return Wrong("bound", "", f"takes {answer.instructions} instructions; its bound is {bound}")
    return None


_IDLE = (Short.LIMIT, Short.SELF_BRANCH, Short.WAITS)


def _number(index: int) -> str:
    return str(index) if index < 1 << 16 else f"{index:#x}"
