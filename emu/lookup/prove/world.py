"""What a proof is about: every MPIDR_EL1, and every logical map of so many CPUs with the tables it gives.

A logical map is, for each CPU, whether it is there and its hwid; tables are functions of that, as
:mod:`emu.lookup.tables` fills them, and what is right as :mod:`emu.lookup.models` has it. Where a table is
sorted, the sorted order is chosen first and the map follows from it: a permutation of symbols costs a solver
dearly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import z3

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.errors import Untestable
from emu.lookup.case import Question
from emu.lookup.prove import bits
from emu.lookup.prove.bits import Truth, Value
from emu.lookup.prove.situation import Table
from emu.lookup.tables import shape_of
from emu.lookup.target import Placed, Target

_LEVELS = (0, 8, 16, 32)  # lowest bit of each affinity field


@dataclass(frozen=True, slots=True)
class Cpu:
    """One place of the logical map: whether a CPU is there, and its hwid (64 bits)."""

    there: Truth
    hwid: Value


class World:
    """Symbols and what is known of them.

    :ivar known: what always holds
    :ivar mpidr: MPIDR_EL1 of the CPU that asks (64 bits)
    :ivar tables: those of the target, in its order
    :ivar right: of each logical CPU, whether to find it is right; where none holds, it has to miss
    """

    def __init__(self, target: Target, cpus: int) -> None:
        """Make the symbols for maps of at most ``cpus`` CPUs, with the numbers below that.

        :raises Untestable: a table or a model of the user's own
        """
        self.target = target
        self.cpus_max = cpus
        self.known: list[z3.BoolRef] = []
        self.mpidr: z3.BitVecRef = z3.BitVec("mpidr", 64)
        self.hwid = bits.both(self.mpidr, MPIDR_HWID_BITMASK, 64)
        held = {placed.table.holds for placed in target.tables}
        self._sorted: list[tuple[z3.BoolRef, Value, z3.BitVecRef]] = []
        if held & {"sorted-hwid", "sorted-cpu"}:
            self._make_sorted()
            self.map = self._map_of_sorted() if held - {"sorted-hwid", "sorted-cpu"} else ()
        else:
            self.map = self._make_map()
        self._hash = _Hash(self.map, self.known) if "mpidr-hash" in held or "hash-to-cpu" in held else None
        self.tables: Sequence[Table] = tuple(self._table(placed) for placed in target.tables)
        self.right = self._right()

    @property
    def nobody(self) -> Truth:
        """Tell whether it is right to find nothing."""
        return bits.negate(bits.some(*self.right))

    def finds(self, index: Value) -> Truth:
        """Tell whether it is right to find the logical CPU ``index`` (64 bits)."""
        return bits.some(
            *(
                bits.every(bits.equal(index, cpu, 64), each)
                for cpu, each in enumerate(self.right)
                if each is not False
            )
        )

    # -- logical maps -----------------------------------------------------------------------------

    def _valid(self, name: str) -> Value:
        # Any hwid: bits outside of the mask are 0.
        aff3, low = z3.BitVec(f"{name}.aff3", 8), z3.BitVec(f"{name}.aff", 24)
        return bits.simple(z3.Concat(z3.BitVecVal(0, 24), aff3, z3.BitVecVal(0, 8), low))

    def _make_map(self) -> tuple[Cpu, ...]:
        found = tuple(Cpu(z3.Bool(f"cpu{cpu}"), self._valid(f"hwid{cpu}")) for cpu in range(self.cpus_max))
        for number, one in enumerate(found):
            for other in found[:number]:
                alike = bits.every(one.there, other.there, bits.equal(one.hwid, other.hwid, 64))
                self.known.append(bits.boolean(bits.negate(alike)))
        return found

    def _make_sorted(self) -> None:
        # (whether the place is used, its hwid, whose it is), in ascending order.
        for place in range(self.cpus_max):
            used, hwid = z3.Bool(f"used{place}"), self._valid(f"sorted{place}")
            cpu = z3.BitVec(f"cpu-at{place}", 64)
            self.known.append(z3.ULT(cpu, self.cpus_max))
            if self._sorted:
                before, lower, _cpu = self._sorted[-1]
                self.known.append(
                    z3.Implies(used, z3.And(before, z3.ULT(bits.bv(lower, 64), bits.bv(hwid, 64))))
                )
            self.known += [z3.Or(z3.Not(used), cpu != other) for _used, _hwid, other in self._sorted]
            self._sorted.append((used, hwid, cpu))

    def _map_of_sorted(self) -> tuple[Cpu, ...]:
        found = []
        for number in range(self.cpus_max):
            there: Truth = False
            hwid: Value = 0
            for used, value, cpu in self._sorted:
                here = bits.every(used, bits.equal(cpu, number, 64))
                there, hwid = bits.some(there, here), bits.choose(here, value, hwid, 64)
            found.append(Cpu(there, hwid))
        return tuple(found)

    # -- tables -----------------------------------------------------------------------------------

    def _table(self, placed: Placed) -> Table:
        shape = shape_of(placed.table, self.target.defines)
        width, unused = 8 * shape.element, shape.unused
        match placed.table.holds:
            case "hwid":
                values = [
                    bits.choose(cpu.there, self._fit(cpu.hwid, cpu.there, width), unused, width)
                    for cpu in self.map
                ]
            case "sorted-hwid":
                values = [
                    bits.choose(used, self._fit(hwid, used, width), unused, width)
                    for used, hwid, _ in self._sorted
                ]
            case "sorted-cpu":
                values = [
                    bits.choose(used, self._fit(cpu, used, width), unused, width)
                    for used, _, cpu in self._sorted
                ]
            case "mpidr-hash":
                assert self._hash is not None
                whole = self._hash.structure()
                values = [bits.part(whole, width * at + width - 1, width * at) for at in range(256 // width)]
            case "hash-to-cpu":
                return Table(placed, shape.element, self._buckets(width, unused, shape.count))
            case holds:
                raise Untestable(f"{self.target.contract.source}: cannot be proved: a table of {holds}")
        return Table(placed, shape.element, _chosen(values, unused, width))

    def _fit(self, value: Value, used: Truth, width: int) -> Value:
        # Maps that the table cannot hold are left out, as the search leaves them out.
        if width < 64:
            high = bits.equal(bits.part(value, 63, width), 0, 64 - width)
            self.known.append(bits.boolean(bits.some(bits.negate(used), high)))
        return bits.part(value, width - 1, 0)

    def _buckets(self, width: int, unused: int, count: int) -> Callable[[Value], Value]:
        found = self._hash
        assert found is not None
        self.known.append(bits.boolean(bits.negate(bits.below(count, bits.left(1, found.bits, 64), 64))))
        places = [found.bucket(cpu.hwid) for cpu in self.map]

        def entry(number: Value) -> Value:
            value: Value = unused
            for cpu, place in enumerate(places):
                here = bits.every(self.map[cpu].there, bits.equal(place, number, 64))
                value = bits.choose(here, cpu & bits.mask(width), value, width)
            return value

        return entry

    # -- what is right ----------------------------------------------------------------------------

    def _right(self) -> list[Truth]:
        model = self.target.contract.model
        if model == "logical-map":
            if not self._sorted:
                return [bits.every(cpu.there, bits.equal(cpu.hwid, self.hwid, 64)) for cpu in self.map]
            return [
                bits.some(
                    *(
                        bits.every(used, bits.equal(hwid, self.hwid, 64), bits.equal(cpu, number, 64))
                        for used, hwid, cpu in self._sorted
                    )
                )
                for number in range(self.cpus_max)
            ]
        if model in ("first-match", "skip-invalid"):
            return self._first_of(model == "skip-invalid")
        if model == "permutation":
            return self._right_of_permutation()
        if model == "hash":
            return self._right_of_hash()
        raise Untestable(f"{self.target.contract.source}: cannot be proved: the model {model}")

    def _of(self, holds: str) -> Table:
        return next(table for table in self.tables if table.placed.table.holds == holds)

    def _first_of(self, skips_invalid: bool) -> list[Truth]:
        table = self._of("hwid")
        width = 8 * table.element
        # Hwids are distinct: where an unused entry is none, at most one entry matches, and it is the first.
        is_one = bool(shape_of(table.placed.table, self.target.defines).unused & ~MPIDR_HWID_BITMASK)
        found: list[Truth] = []
        earlier: Truth = False
        for number in range(table.placed.count):
            value = table.entry(number)
            if skips_invalid and value == bits.mask(width):
                found.append(False)
                continue
            hit = bits.equal(bits.widen(value, width, 64), self.hwid, 64)
            if skips_invalid:
                hit = bits.every(hit, bits.negate(bits.equal(value, bits.mask(width), width)))
            found.append(bits.every(hit, bits.negate(earlier)))
            if not is_one:
                earlier = bits.some(earlier, hit)
        return found

    def _right_of_permutation(self) -> list[Truth]:
        hwids, cpus = self._of("sorted-hwid"), self._of("sorted-cpu")
        width, cpu_width = 8 * hwids.element, 8 * cpus.element
        hits = [
            (bits.equal(bits.widen(hwids.entry(place), width, 64), self.hwid, 64), cpus.entry(place))
            for place in range(min(self.cpus_max, hwids.placed.count, cpus.placed.count))
        ]
        return [
            bits.some(*(bits.every(hit, bits.equal(cpu, number, cpu_width)) for hit, cpu in hits))
            for number in range(self.cpus_max)
        ]

    def _right_of_hash(self) -> list[Truth]:
        assert self._hash is not None
        buckets, hwids = self._of("hash-to-cpu"), self._of("hwid")
        cpu, width = buckets.entry(self._hash.bucket(self.hwid)), 8 * buckets.element
        return [
            bits.every(
                bits.equal(cpu, number, width),
                bits.equal(bits.widen(hwids.entry(number), 8 * hwids.element, 64), self.hwid, 64),
            )
            for number in range(self.cpus_max)
        ]

    # -- from a model of z3's to a question ----------------------------------------------------------

    def question(self, model: z3.ModelRef) -> Question:
        """Return the question that the values of ``model`` make."""

        def number(value: Value) -> int:
            return value if isinstance(value, int) else int(model.eval(value, True).as_long())

        def holds(value: Truth) -> bool:
            return value if isinstance(value, bool) else z3.is_true(model.eval(value, True))

        found: list[int | None] = [None] * self.target.nr_cpus
        if self._sorted:
            for used, hwid, cpu in self._sorted:
                if holds(used):
                    found[number(cpu)] = number(hwid)
        else:
            for place, each in enumerate(self.map):
                if holds(each.there):
                    found[place] = number(each.hwid)
        return Question(tuple(found), number(self.mpidr))


def _chosen(values: list[Value], unused: int, width: int) -> Callable[[Value], Value]:
    # The entries of a table: those of CPUs, then unused ones.
    def entry(number: Value) -> Value:
        if isinstance(number, int):
            return values[number] if number < len(values) else unused
        found: Value = unused
        for place in range(len(values) - 1, -1, -1):
            found = bits.choose(bits.equal(number, place, 64), values[place], found, width)
        return found

    return entry


class _Hash:
    """The kernel's struct mpidr_hash for a map of symbols; see :mod:`emu.lookup.tables.mpidr_hash`."""

    def __init__(self, cpus: tuple[Cpu, ...], known: list[z3.BoolRef]) -> None:
        every: Value = 0
        common: Value = bits.mask(64)
        for cpu in cpus:
            every = bits.either(every, bits.choose(cpu.there, cpu.hwid, 0, 64), 64)
            common = bits.both(common, bits.choose(cpu.there, cpu.hwid, bits.mask(64), 64), 64)
        # A name for each of its numbers: what the look-up computes of them is then right term for term.
        self.mask = _named("hash-mask", bits.both(every, bits.invert(common, 64), 64), 40, known)
        self.bits: Value = 0
        self.shifts: list[Value] = []
        for low in _LEVELS:
            differ = bits.part(self.mask, low + 7, low)
            first, end = _first_bit(differ), _length(differ)
            shift = bits.sub(bits.add(low, first, 64), self.bits, 64)
            self.shifts.append(_named(f"hash-shift{low}", shift, 6, known))
            self.bits = _named(f"hash-bits{low}", bits.add(self.bits, bits.sub(end, first, 64), 64), 6, known)

    def bucket(self, hwid: Value) -> Value:
        """Return the hash of a hwid (64 bits)."""
        kept = bits.both(hwid, self.mask, 64)
        found: Value = 0
        for low, shift in zip(_LEVELS, self.shifts, strict=True):
            found = bits.either(found, bits.right(bits.both(kept, 0xFF << low, 64), shift, 64), 64)
        return found

    def structure(self) -> Value:
        """Return its 32 bytes as one number."""
        words = [bits.part(shift, 31, 0) for shift in (*self.shifts, self.bits)]
        return bits.join([bits.part(self.mask, 31, 0), bits.part(self.mask, 63, 32), *words, 0], 32)


def _named(name: str, value: Value, width: int, known: list[z3.BoolRef]) -> Value:
    # A symbol of ``width`` bits that is ``value`` (64 bits), which fits them.
    symbol = bits.widen(z3.BitVec(name, width), width, 64)
    known.append(bits.boolean(bits.equal(symbol, value, 64)))
    return symbol


def _first_bit(byte: Value) -> Value:
    found: Value = 0
    for number in range(7, -1, -1):
        found = bits.choose(bits.bit(byte, number), number, found, 64)
    return found


def _length(byte: Value) -> Value:
    found: Value = 0
    for number in range(8):
        found = bits.choose(bits.bit(byte, number), number + 1, found, 64)
    return found
