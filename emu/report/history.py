"""What each CPU did in a trace, in words that do not depend on where things lie in memory.

An address is told by its symbol, by whose task or stack it lies in, or as it is. ``own`` is the CPU's itself.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from emu.arch import a64
from emu.arch.a64 import Other
from emu.arch.psci import Function
from emu.constraints import constraint_words
from emu.host.played import function_at
from emu.instructions import InstructionRow
from emu.operation import OPERATIONS, Expect, Kind, Record
from emu.report.disassembly import disassemble
from emu.report.words import outcome_words
from emu.subject.symbols import Symbols
from emu.trace import SymbolTable, Trace

_U64 = 2**64 - 1
_KERNEL = 0xFFFF << 48  # VAs of the kernel's half, above those of host operations
_TASK_MAX = 1 << 12  # bytes of a task_struct that a pointer may point into
_COUNTED = ("instructions", "loads", "loads_mmu_off", "stores", "wfe", "calls", "exceptions", "host")
# What the host notes for the checks, and what every actor has said elsewhere.
NOTES = frozenset(
    {
        Kind.REGISTER,
        Kind.LOG,
        Kind.TAKE_OVER,
        Kind.EXPECT,
        Kind.TABLE,
        Kind.MASKS,
        Kind.WANTED,
        Kind.BOOT_MODE,
        Kind.REPORT,
        Kind.NEXT_BOOT,
        Kind.MILESTONE,
    }
) | {Kind.CALL_ARGS, Kind.INSTRUCTIONS, Kind.STOPPED}


class Names:
    """Names for the addresses of one trace."""

    def __init__(self, trace: Trace, table: SymbolTable) -> None:
        self._trace = trace
        self._table = table
        self._symbols = Symbols(table.text)
        self._words: dict[int, tuple[str, int]] = {}  # of the host's own, by PA
        for name, address in self._symbols if table.text[:1] == b"0" else ():
            if address >= table.start:
                break
            word, at, owner = name.partition("@")
            self._words[address] = (word, int(owner) if at else -1)
        tasks: dict[int, int] = {}
        lows: dict[int, int] = {}
        stacks: list[tuple[int, int, int]] = []
        self._per_cpu: dict[int, int] = {}
        for kind, size, cpu, _pc, _pa, value in trace.rows():
            if kind != Kind.EXPECT:
                continue
            if size == Expect.TASK:
                tasks[value] = cpu
            elif size == Expect.STACK_LOW:
                lows[cpu] = value
            elif size == Expect.STACK_HIGH:
                stacks.append((lows.get(cpu, value), value, cpu))
            elif size == Expect.PER_CPU_OFFSET and value:
                self._per_cpu[value] = cpu
        self._tasks = sorted(tasks.items())
        self._stacks = sorted(stacks)
        self._places: dict[int, str] = {}
        self._functions: dict[int, str] = {}
        self._values: dict[int, tuple[str, int, str] | str] = {}

    def is_host(self, pc: int) -> bool:
        """Tell whether ``pc`` is that of a host task's operation."""
        return self._trace.location(pc) is not None

    def place(self, pc: int) -> str:
        """Return where an instruction (VA, or PA while the MMU is off) or a host operation stands."""
        found = self._places.get(pc)
        if found is None:
            location = self._trace.location(pc)
            found = location.rpartition("/")[2] if location else self._symbol(pc) or f"{pc:#x}"
            self._places[pc] = found
        return found

    def function(self, pc: int) -> str:
        """Return the function at ``pc``: a symbol of the image, or what a host task plays; empty: none."""
        found = self._functions.get(pc)
        if found is None:
            location = self._trace.location(pc)
            found = function_at(location) if location else self._symbol(pc).partition("+")[0]
            self._functions[pc] = found
        return found

    def value(self, value: int, cpu: int) -> str:
        """Return a name for a value that may be a VA or a PA, as ``cpu`` sees it; else the value."""
        found = self._values.get(value)
        if found is None:
            found = self._values[value] = self._name(value)
        if isinstance(found, str):
            return found
        before, owner, after = found
        return f"{before}{'own' if owner == cpu else f'CPU{owner}'}{after}"

    def pa(self, pa: int, cpu: int) -> str:
        """Return a name for memory, by its PA."""
        if pa in self._words:
            word, owner = self._words[pa]
            return word if owner < 0 else f"{'own' if owner == cpu else f'CPU{owner}'} {word}"
        for offset in (self._table.va_offset, self._table.linear_offset):
            name = self.value(pa + offset & _U64, cpu)
            if not name.startswith("0x"):
                return name
        return f"{pa:#x}"

    def _symbol(self, address: int) -> str:
        # symbol+offset of a VA or PA of the image, or nothing.
        va = address if address >> 63 else address + self._table.va_offset & _U64
        return self._symbols.describe(va) if self._table.start <= va < self._table.end else ""

    def _name(self, value: int) -> tuple[str, int, str] | str:
        for offset in (0, self._table.linear_offset, self._table.va_offset):
            if offset and value >> 63:
                break
            va = value + offset & _U64
            before, after = ("__pa(", ")") if offset else ("", "")
            at = bisect_right(self._stacks, (va, _U64, 0)) - 1
            if at >= 0 and va <= self._stacks[at][1]:
                low, high, cpu = self._stacks[at]
                return before, cpu, f" stack{f'-{high - va:#x}' if high > va else ' top'}{after}"
            at = bisect_right(self._tasks, (va, _U64)) - 1
            if at >= 0 and va - self._tasks[at][0] < _TASK_MAX:
                task, cpu = self._tasks[at]
                return before, cpu, f" task{f'+{va - task:#x}' if va > task else ''}{after}"
        if value in self._per_cpu:
            return "", self._per_cpu[value], " per-CPU offset"
        name = self._symbol(value)
        if name:
            return name if value >> 63 else f"__pa({name})"
        return f"{value:#x}"


@dataclass(slots=True)
class Item:
    """One instruction, operation or event of a CPU.

    :ivar place: symbol+offset or file:line
    :ivar text: the instruction or the operation
    :ivar effects: what it changed: (register or place in memory, value), in words
    :ivar like: equal for items that do the same, wherever they stand
    :ivar verb, operand: of an access: load or store, and the name of the place
    """

    place: str
    text: str
    like: tuple[object, ...]
    effects: list[tuple[str, str]] = field(default_factory=list)
    is_instruction: bool = False
    verb: str = ""
    operand: str = ""
    after: Callable[[str], str | None] = lambda _register: None

    def same_as(self, other: Item) -> bool:
        """Tell whether both did the same at the same place."""
        here, there = self.place, other.place
        if not self.is_instruction:  # a host operation: its line number is no matter
            here, there = here.partition(":")[0], there.partition(":")[0]
        return here == there and self.like == other.like and not (self.only(other) or other.only(self))

    def only(self, other: Item) -> list[tuple[str, str]]:
        """Return the effects that ``other`` has not; a register that has the value already has them."""
        if self.effects == other.effects:
            return []
        return [
            (name, value)
            for name, value in self.effects
            if (name, value) not in other.effects and other.after(name) != value
        ]


@dataclass(slots=True)
class History:
    """What one CPU did: ``items`` in order, and how often it did what."""

    items: list[Item] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))


def histories(trace: Trace, names: Names, *, instructions: bool) -> dict[int, History]:
    """Return the history of each CPU that did anything.

    :param instructions: every instruction is an item; else every operation is
    """
    found: dict[int, History] = {}
    tellers: dict[int, _Teller] = {}
    for record, steps in trace.steps_of():
        if record.kind in NOTES and not steps:
            continue
        cpu = record.actor
        if cpu not in tellers:
            found[cpu] = History()
            tellers[cpu] = _Teller(cpu, found[cpu], trace, names, instructions)
        if steps:
            tellers[cpu].steps(steps, are_instructions=not record.size)
        else:
            tellers[cpu].record(record)
    return found


class OperationHistories:
    """What each CPU of a trace did, operation by operation, told as it is asked for."""

    def __init__(self, trace: Trace, names: Names) -> None:
        self._trace, self._names = trace, names
        self._numbers: dict[int, array[int]] = {}  # of records, by CPU
        self._instructions: dict[int, int] = {}  # by CPU
        # At depth whole nobody tells when an MMU goes on.
        self._knows_mmu, kernel = False, False
        for number, (kind, size, cpu, pc, _pa, value) in enumerate(trace.rows()):
            self._knows_mmu |= kind == Kind.MMU
            kernel |= pc >= _KERNEL
            if kind not in NOTES:
                self._numbers.setdefault(cpu, array("Q")).append(number)
            elif kind == Kind.INSTRUCTIONS and value:
                self._numbers.setdefault(cpu, array("Q"))
                self._instructions[cpu] = self._instructions.get(cpu, 0) + (0 if size else value)
        self._knows_mmu |= not kernel

    @property
    def cpus(self) -> Iterable[int]:
        """The CPUs that did anything."""
        return self._numbers

    def items(self, cpu: int) -> Iterator[Item]:
        """Yield all items of ``cpu``; none of one that did nothing."""
        history = History()
        teller = _Teller(cpu, history, self._trace, self._names, False)
        for number in self._numbers.get(cpu, ()):
            teller.record(_record_at(self._trace, number))
            yield from history.items
            history.items.clear()

    def counts(self, cpu: int) -> dict[str, int]:
        """Return how often ``cpu`` did what, in all."""
        history = History()
        teller = _Teller(cpu, history, self._trace, self._names, False)
        for number in self._numbers.get(cpu, ()):
            teller.count(_record_at(self._trace, number))
        history.counts["instructions"] = self._instructions.get(cpu, 0)
        if not self._knows_mmu:
            history.counts["loads_mmu_off"] = 0
        return history.counts


def _record_at(trace: Trace, number: int) -> Record:
    kind, *rest = trace.row(number)
    return Record(Kind(kind), *rest)


def tell(record: Record, trace: Trace, names: Names) -> Item:
    """Return one operation or event in words."""
    teller = _Teller(record.actor, History(), trace, names, instructions=False)
    return teller.operation(record) if record.kind in OPERATIONS else teller.event(record)


class _Teller:
    # Makes the items of one CPU.

    def __init__(self, cpu: int, history: History, trace: Trace, names: Names, instructions: bool) -> None:
        self._cpu = cpu
        self._history = history
        self._trace = trace
        self._names = names
        self._instructions = instructions
        self._mmu_on = False
        self._last: InstructionRow | None = None  # whose effects are not known yet
        self._item: Item | None = None
        self._pages: set[int] = set()  # registers that hold what ADRP gave

    def steps(self, steps: list[InstructionRow], *, are_instructions: bool) -> None:
        for step in steps:
            if are_instructions:
                self._history.counts["instructions"] += 1
            if self._instructions:
                self._tell_effects(step)
                self._last, self._item = None, None
                if are_instructions:
                    self._step(step)

    def _tell_effects(self, after: InstructionRow) -> None:
        # The registers that the last instruction changed, now that those after it are known.
        before, item = self._last, self._item
        if before is None or item is None:
            return
        word = self._trace.word(before.pc) or 0
        is_page = a64.is_adrp(word)
        changed = []
        for number in range(32):
            value = after.x[number]
            if value == before.x[number]:
                continue
            name = f"x{number}" if number < 31 else "sp"
            if is_page and number == word & 31:
                self._pages.add(number)
            else:
                self._pages.discard(number)
                changed.append((name, self._names.value(value, self._cpu)))
        if before.nzcv != after.nzcv:
            changed.append(("nzcv", f"{after.nzcv:04b}"))
        if before.el != after.el:
            changed.append(("el", str(after.el)))
        item.effects[:0] = changed
        item.after = self._reader(after)

    def _reader(self, step: InstructionRow) -> Callable[[str], str | None]:
        # Gives a register's value by the name that effects have for it.
        names, cpu = self._names, self._cpu

        def read(name: str) -> str | None:
            if name in ("nzcv", "el"):
                return f"{step.nzcv:04b}" if name == "nzcv" else str(step.el)
            number = 31 if name == "sp" else int(name[1:]) if name[1:].isdigit() else -1
            return names.value(step.x[number], cpu) if number >= 0 else None

        return read

    def _step(self, step: InstructionRow) -> None:
        word = self._trace.word(step.pc)
        place = self._names.place(step.pc)
        if word is None:
            item = Item(place, "?", ("?",), is_instruction=True)
        else:
            item = Item(place, self._text(word, step.pc), (_shape(word, self._pages),), is_instruction=True)
            if a64.classify(word) is Other.MSR:
                value = step.x[word & 31] if word & 31 != 31 else 0
                name = item.text.removeprefix("msr ").partition(",")[0]
                item.effects.append((name, self._names.value(value, self._cpu)))
        self._history.items.append(item)
        self._last, self._item = step, item

    def _text(self, word: int, pc: int) -> str:
        text = _disassembled(word, pc)
        target = text.rpartition("#")[2]
        if _is_relative(word) and target.startswith("0x"):
            shown = self._names.place(int(target, 16))
            if a64.is_adrp(word):
                shown = "page of " + shown.partition("+")[0]
            return text.rpartition("#")[0] + shown
        return text

    def record(self, record: Record) -> None:
        kind = record.kind
        if kind is Kind.MAPPED:
            return  # the operation that follows has the VA
        self.count(record)
        if kind in OPERATIONS:
            if self._names.is_host(record.pc) or not self._instructions:
                self._history.items.append(self.operation(record))
            elif self._item is not None and kind in (Kind.STORE, Kind.STORE_EXCLUSIVE):
                where = f"[{self._names.pa(record.pa, self._cpu)}]"
                self._item.effects.append((where, self._names.value(record.value, self._cpu)))
            elif self._item is not None and kind in (Kind.LOAD, Kind.LOAD_EXCLUSIVE):
                self._item.effects.append(("from", f"[{self._names.pa(record.pa, self._cpu)}]"))
            return
        if self._instructions and kind in (Kind.MMU, Kind.EL):
            return  # the instruction says it
        self._last, self._item = None, None
        if kind is Kind.POWER_ON:
            self._pages.clear()
        self._history.items.append(self.event(record))

    def count(self, record: Record) -> None:
        """Count one operation or event."""
        kind, counts = record.kind, self._history.counts
        if kind is Kind.MMU:
            self._mmu_on = bool(record.value & 1)
        elif kind is Kind.POWER_ON:
            self._mmu_on = False
        elif kind is Kind.EXCEPTION:
            counts["exceptions"] += 1
        if kind not in OPERATIONS:
            return
        if kind is Kind.CALL:
            counts["calls"] += 1
        if kind is Kind.WFE and record.value:
            counts["wfe"] += 1
        if self._names.is_host(record.pc):
            counts["host"] += 1
        elif kind in (Kind.LOAD, Kind.LOAD_EXCLUSIVE):
            counts["loads"] += 1
            counts["loads_mmu_off"] += not self._mmu_on
        elif kind in (Kind.STORE, Kind.STORE_EXCLUSIVE):
            counts["stores"] += 1

    def operation(self, record: Record) -> Item:
        kind, names, cpu = record.kind, self._names, self._cpu
        place = names.place(record.pc)
        name = kind.name.lower().replace("_", " ")
        value = names.value(record.value, cpu)
        if kind is Kind.CALL:
            what = f"call {_function(record.value)} x1={names.value(record.pa, cpu)}"
        elif kind is Kind.RETURN:
            what = f"return {record.value - (1 << 64 if record.value >> 63 else 0)}"
        elif kind in (Kind.BARRIER, Kind.CACHE, Kind.TLB):
            what = _disassembled(record.value, 0)
            if kind is not Kind.BARRIER and record.value & 31 != 31 or record.pa:
                what = what.rpartition(",")[0] + " " + (names.pa(record.pa, cpu) if record.pa else "")
        elif kind in (Kind.WFE, Kind.WFI):
            what = f"{name}, {'sleeps' if record.value else 'goes on'}"
        elif kind in (Kind.SEV, Kind.SEVL, Kind.YIELD, Kind.PARK):
            what = name
        elif kind is Kind.DELAY:
            return Item(place, f"delay {record.value} ns", (kind,))  # time is no behaviour
        elif kind is Kind.SEND_INTERRUPT:
            what = f"interrupt CPU{record.value}"
        else:
            where, arrow = names.pa(record.pa, cpu), "=" if "LOAD" in kind.name else "<-"
            text, like = f"{name} [{where}].{record.size}", (kind, where, record.size)
            return Item(place, text, like, [(arrow, value)], verb=name, operand=where)
        return Item(place, what, (kind, what))

    def event(self, record: Record) -> Item:
        kind, names = record.kind, self._names
        place = names.place(record.pc) if record.pc else "-"
        if kind is Kind.OUTCOME:
            text = f"outcome: {outcome_words(self._trace.outcome(record.size, record.value, record.pa))}"
            return Item("-", text, (kind, text))
        if kind in (Kind.MISUSE, Kind.UNSUPPORTED):
            text = f"{kind.name.lower()}: {constraint_words(self._trace.text_of(record))}"
            return Item(place, text, (kind, text))
        if kind is Kind.SLOT:
            text = f"takes slot {record.pa:#x} of {record.value}"
        elif kind is Kind.FETCH:
            text = "executes what was stored"
        elif kind is Kind.EXCEPTION:
            text = f"exception to EL{record.size}, ESR {record.value:#x}, FAR {record.pa:#x}"
        elif kind is Kind.POWER_ON:
            return Item(place, "power on", (kind,), [("x0", names.value(record.value, self._cpu))])
        elif kind is Kind.MMU:
            text = f"SCTLR {record.value:#x}: MMU {'on' if record.value & 1 else 'off'}"
        elif kind is Kind.EL:
            text = f"enters EL{record.value}"
        else:
            text = kind.name.lower().replace("_", " ")
        return Item(place, text, (kind, text))


def _function(number: int) -> str:
    try:
        return Function(number & 0xFFFF_FFFF).name
    except ValueError:
        return f"{number:#x}"


@cache
def _disassembled(word: int, pc: int) -> str:
    return disassemble(word, pc)


def _is_relative(word: int) -> bool:
    # ADR, ADRP, B, BL, B.cond, CBZ, CBNZ, TBZ, TBNZ, LDR (literal): the operand depends on the place.
    return (
        word & 0x1F00_0000 == 0x1000_0000
        or word & 0x7C00_0000 == 0x1400_0000
        or word & 0xFF00_0000 == 0x5400_0000
        or word & 0x7C00_0000 == 0x3400_0000
        or word & 0x3B00_0000 == 0x1800_0000
    )


def _shape(word: int, pages: set[int]) -> int:
    # The word without what depends on where things lie.
    if word & 0x1F00_0000 == 0x1000_0000:  # ADR, ADRP
        return word & 0x9F00_001F
    if word & 0x7C00_0000 == 0x1400_0000:
        return word & 0xFC00_0000
    if word & 0x7E00_0000 == 0x3600_0000:  # TBZ, TBNZ
        return word & 0xFFF8_001F
    if _is_relative(word):
        return word & 0xFF00_001F
    is_low = (
        word & 0x7F80_0000 == 0x1100_0000 or word & 0x3B00_0000 == 0x3900_0000
    )  # ADD, LDR, STR (immediate)
    if is_low and word >> 5 & 31 in pages:
        return word & 0xFFC0_03FF
    return word
