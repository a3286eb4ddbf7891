"""A lookup in memory: assembled for one set of defines, its places found, its tables placed.

It runs with the MMU off, at physical addresses: code that is fit to run before the MMU is on, and code that
finds its data relative to the PC, cannot tell. The tables that the text leaves undefined lie by themselves,
each at the end of a page with nothing behind it: right before the code, where ADR reaches them, or behind it
when they are too large for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from emu.arch.boot import DRAM_BASE, IMAGE_PA
from emu.arch.mpidr import RES1
from emu.errors import InvalidCase, InvalidContract
from emu.lookup.contract import RETURN, Contract, LookupTable, Place
from emu.lookup.expression import evaluate
from emu.lookup.tables import fill, shape_of
from emu.memory import Memory
from emu.registry import not_one_of
from emu.subject import Subject

PAGE = 4096
RETURN_PA = DRAM_BASE + PAGE  # where a routine returns to: nothing else lies there
# PAs of symbols that the text leaves undefined and that are not tables: places outside of the code.
OUTSIDE_PA, OUTSIDE_MAX = IMAGE_PA + 0xF_0000, 64
_TABLES_PA = IMAGE_PA + (2 << 20)  # of large tables that the text leaves to us
_NEAR_SIZE = 512 << 10  # bytes before the code for them: half of what ADR spans (Arm DDI 0487, C6.2.10)
_STACK_SIZE = 64 << 10
SP_ENDS = 64 << 10  # SP may end in any multiple of 16 below it: the room under that of a look-up

# Assembles the subject: NR_CPUS, and the other defines together with the PAs of our tables.
Loader = Callable[[int, Mapping[str, int]], Subject]


@dataclass(frozen=True, slots=True)
class Placed:
    """A table where it lies: PA of its first byte, entries, and what the contract says of it."""

    table: LookupTable
    pa: int
    count: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * self.table.element

    @property
    def bytes_at(self) -> range:
        """PAs of its bytes."""
        return range(self.pa, self.pa + self.size)


@dataclass(frozen=True, slots=True)
class Target:
    """A lookup for one set of defines.

    :ivar defines: constants by name, NR_CPUS among them
    :ivar entry_pa: PA, like the next two
    :ivar missing_pa: None when there is no such place
    :ivar instructions_max: from entry to exit; 0: no bound is promised
    :ivar ours: symbols of the tables that the text leaves undefined
    """

    contract: Contract
    subject: Subject
    defines: Mapping[str, int]
    entry_pa: int
    found_pa: int
    missing_pa: int | None
    tables: tuple[Placed, ...]
    instructions_max: int
    ours: frozenset[str]
    _filled: dict[tuple[int | None, ...], tuple[bytes, ...]] = field(default_factory=dict, compare=False)

    def fill(self, logical_map: Sequence[int | None]) -> tuple[bytes, ...]:
        """Return the bytes of each table for this logical map.

        :raises DoesNotFit: a table cannot hold it
        """
        key, filled = tuple(logical_map), self._filled
        found = filled.get(key)
        if found is None:  # of the last map, which all that look at one question ask for
            found = tuple(fill(placed.table, key, self.defines) for placed in self.tables)
            filled.clear()
            filled[key] = found
        return found

    @property
    def better_aligned(self) -> frozenset[str]:
        """Symbols of the tables of ours that lie at a better alignment than the look-up may rely on."""
        tables = (each for each in self.tables if each.table.symbol in self.ours)
        return frozenset(each.table.symbol for each in tables if not each.pa & each.table.granted)

    @property
    def nr_cpus(self) -> int:
        """CONFIG_NR_CPUS, as many logical CPUs as a map may have."""
        return self.defines["NR_CPUS"]

    def mpidr_el1(self, mpidr: int) -> int:
        """Return MPIDR_EL1 (u64) when ``mpidr`` is asked for: another one, when that comes in a register."""
        return mpidr if self.contract.mpidr == "mpidr_el1" else RES1

    @property
    def instructions_limit(self) -> int:
        """Retired instructions after which it is taken to come to no exit: well over its bound.

        Without a promised bound: enough for any look at every entry.
        """
        entries = sum(placed.count for placed in self.tables)
        return 1000 + (2 * self.instructions_max or 200 * entries)

    @property
    def instructions_expected(self) -> int:
        """Retired instructions within which it is expected to come to an exit."""
        entries = sum(placed.count for placed in self.tables)
        return 1000 + (self.instructions_max or 10 * entries)

    @property
    def stack_top(self) -> int:
        """PA that SP has at entry: of a stack, or of nothing."""
        end = max((placed.bytes_at.stop for placed in self.tables), default=_TABLES_PA)
        return _up(max(end, *(s.pa + s.size for s in self.subject.segments))) + 16 * PAGE + _STACK_SIZE

    def sp_that_ends_in(self, end: int) -> int:
        """Return the highest SP up to ``stack_top`` with these low 16 bits (u64), where there is a stack."""
        return self.stack_top - (self.stack_top - end) % SP_ENDS

    def memory(self) -> Memory:
        """Return memory with the code in it, and room for what else a harness puts above the stack."""
        size = _up(self.stack_top) + PAGE - DRAM_BASE
        memory = Memory(DRAM_BASE, size + (8 << 20))
        for segment in self.subject.segments:
            memory.write_bytes(segment.pa, segment.data)
        return memory


def place(
    contract: Contract, load: Loader, changes: Mapping[str, int], *, least_aligned: bool = False
) -> Target:
    """Return the lookup of ``contract`` with the defines of ``changes`` in place of their defaults.

    :param least_aligned: the tables that the text leaves undefined lie at no better alignment than is granted
    :raises InvalidCase: a define that the contract does not have, or a table of no or too many bytes
    :raises AssemblyError: the text does not assemble
    :raises InvalidContract: a place or a table of the contract is not in the subject
    """
    defines = {"NR_CPUS": 256} | {name: define.default for name, define in contract.defines.items()}
    for name in changes:
        if name not in defines:
            raise InvalidCase(f"{contract.source}: {name}: no define of it: {not_one_of(name, defines)}")
    defines |= changes
    ours = _place_tables(contract, defines, least_aligned)
    others = {name: value for name, value in defines.items() if name != "NR_CPUS"}
    subject = load(defines["NR_CPUS"], others | ours)
    end = max(segment.pa + segment.size for segment in subject.segments)
    placed = []
    for table in contract.tables:
        own = subject.symbols.address(table.symbol)
        if own is None and end > _TABLES_PA:
            raise InvalidContract(f"{contract.source}: table {table.symbol}: no symbol of {subject.name}")
        pa = ours[table.symbol] if own is None else _pa(subject, own)
        placed.append(Placed(table, pa, shape_of(table, defines).count))
        if own is not None:
            _check_room(contract, subject, placed[-1], own)
    missing = contract.missing
    elsewhere = missing is not None and missing != RETURN
    return Target(
        contract=contract,
        subject=subject,
        defines=defines,
        entry_pa=_code_pa(contract, subject, "entry"),
        found_pa=_code_pa(contract, subject, "found"),
        missing_pa=_code_pa(contract, subject, "missing") if elsewhere else None,
        tables=tuple(placed),
        instructions_max=_bound(contract, defines),
        ours=frozenset(name for name in ours if subject.symbols.address(name) is None),
    )


def _place_tables(contract: Contract, defines: Mapping[str, int], least_aligned: bool) -> dict[str, int]:
    # PA of each table, by its symbol: behind an unused page, and up to the end of a page, or as near to that
    # as its alignment lets it: at a multiple of what is granted, an odd one where that is all it may rely on.
    at, ours = 0, {}
    for table in contract.tables:
        size, granted = shape_of(table, defines).count * table.element, table.granted
        at = _up(at + PAGE + size + granted * least_aligned)
        start = at - size & -granted
        ours[table.symbol] = start - granted if least_aligned and not start & granted else start
    start = IMAGE_PA - _NEAR_SIZE if at + PAGE <= _NEAR_SIZE else _TABLES_PA
    return {symbol: start + offset for symbol, offset in ours.items()}


def find_place(subject: Subject, place: Place) -> int:
    """Return the PA of a label, ``symbol+0x10``, or an address (a VA, or a PA below 2**63) of ``subject``.

    :raises InvalidContract: it has no such symbol
    """
    if place == RETURN:
        return RETURN_PA
    if isinstance(place, int):
        return _pa(subject, place)
    symbol, plus, offset = place.partition("+")
    va = subject.symbols.address(symbol)
    if va is None:
        raise InvalidContract(f"no symbol {symbol} in {subject.name}")
    return _pa(subject, va) + (int(offset, 0) if plus else 0)


def _code_pa(contract: Contract, subject: Subject, key: str) -> int:
    # PA of a place of the contract where an instruction can be.
    place: Place = getattr(contract, key)
    said = f"{place:#x}" if isinstance(place, int) else place
    where = f"{contract.source}: lookup.{key}={said}"
    try:
        pa = find_place(subject, place)
    except InvalidContract as error:
        raise InvalidContract(f"{where}: {error}") from None
    if pa & 3:
        raise InvalidContract(f"{where}: {pa:#x} is no address of an instruction: those are multiples of 4")
    # A label may stand behind the last instruction, or be of code that is somewhere else.
    inside = any(segment.pa <= pa <= segment.pa + segment.size for segment in subject.segments)
    if not inside and place != RETURN and (isinstance(place, int) or "+" in place):
        raise InvalidContract(f"{where}: {pa:#x} is not in {subject.name}")
    return pa


def _check_room(contract: Contract, subject: Subject, placed: Placed, va: int) -> None:
    # A table of the subject ends before its next symbol.
    behind, symbol = subject.symbols.after(va), placed.table.symbol
    if behind is not None and va + placed.size > behind:
        room = (behind - va) // placed.table.element
        raise InvalidContract(
            f"{contract.source}: table {symbol}: {placed.count} entries of {placed.table.element} bytes; "
            f"before {subject.symbols.describe(behind)} there is room for {room}: is NR_CPUS right?"
        )


def _pa(subject: Subject, address: int) -> int:
    return (address - subject.va_offset) % 2**64 if address >> 63 else address


def _bound(contract: Contract, defines: Mapping[str, int]) -> int:
    if not contract.instructions_max:
        return 0
    lengths = {table.length: evaluate(table.count, defines) for table in contract.tables if table.length}
    return evaluate(contract.instructions_max, {**defines, **lengths})


def _up(pa: int) -> int:
    return (pa + PAGE - 1) & -PAGE
