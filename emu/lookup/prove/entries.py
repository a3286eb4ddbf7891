"""A logical map as long as NR_CPUS, without a symbol for each CPU: its entries are functions of their number.

So what is said of one entry, by a symbol for its number, is said of each. Hwids are distinct since each has
one owner: entry i is used only where it is the owner of its hwid.
"""

from __future__ import annotations

from collections.abc import Sequence

import z3

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.lookup.case import Question
from emu.lookup.prove import bits
from emu.lookup.prove.asking import CannotProve
from emu.lookup.prove.bits import Truth, Value
from emu.lookup.prove.situation import Table
from emu.lookup.tables import Shape, shape_of
from emu.lookup.target import Placed, Target

_U64 = 64
_MODELS = ("logical-map", "first-match", "skip-invalid")


class Entries:
    """Functions for the entries, and a symbol for any one of them: whatever holds for it holds for each.

    :ivar known: what always holds
    :ivar mpidr: MPIDR_EL1 of the CPU that asks (64 bits)
    :ivar tables: those of the target, in its order
    :ivar any_entry: the number of any entry (64 bits)
    :ivar loaded: numbers of the entries that were loaded, each once
    """

    def __init__(self, target: Target) -> None:
        """Make the functions.

        :raises CannotProve: a table whose entry i is not the hwid of CPU i, or a model for others
        """
        for placed in target.tables:
            if placed.table.holds != "hwid":
                raise CannotProve(f"a table of {placed.table.holds}")
        if target.contract.model not in _MODELS:
            raise CannotProve(f"the model {target.contract.model}")
        self.known: list[z3.BoolRef] = []
        self.mpidr: z3.BitVecRef = z3.BitVec("mpidr", _U64)
        self.any_entry: z3.BitVecRef = z3.BitVec("any-entry", _U64)
        self.loaded: list[Value] = []
        self._nr_cpus, self._model = target.nr_cpus, target.contract.model
        self._hwid = bits.both(self.mpidr, MPIDR_HWID_BITMASK, _U64)
        self._shapes = [shape_of(each.table, target.defines) for each in target.tables]
        # Maps that a table cannot hold are left out, as the search leaves them out.
        self._cpus = min([self._nr_cpus, *(shape.count for shape in self._shapes)])
        self._bits = min([_U64, *(8 * shape.element for shape in self._shapes)])
        number = z3.BitVecSort(_U64)
        self._used = z3.Function("used", number, z3.BoolSort())
        self._low = z3.Function("aff", number, z3.BitVecSort(24))
        self._aff3 = z3.Function("aff3", number, z3.BitVecSort(8))
        self._owner = z3.Function("owner", number, number)
        self.tables: Sequence[Table] = tuple(map(self._table, target.tables, self._shapes))

    def hwid_of(self, number: Value) -> Value:
        """Return the hwid of an entry (64 bits), which counts where it is used."""
        at = bits.bv(number, _U64)
        low = z3.Concat(z3.BitVecVal(0, 8), self._low(at))
        if self._bits < 32:
            low = z3.ZeroExt(32 - self._bits, z3.Extract(self._bits - 1, 0, low))
        high = z3.ZeroExt(24, self._aff3(at)) if self._bits == _U64 else z3.BitVecVal(0, 32)
        return bits.simple(z3.Concat(high, low))

    def is_used(self, number: Value) -> Truth:
        """Tell whether an entry is of a CPU."""
        at = bits.bv(number, _U64)
        owned = self._owner(bits.bv(self.hwid_of(number), _U64)) == at
        return bits.truth(z3.And(z3.ULT(at, self._cpus), self._used(at), owned))

    def matches(self, number: Value) -> Truth:
        """Tell whether an entry is the one of the CPU that asks, or reads like it."""
        if self._model == "logical-map":
            return bits.every(self.is_used(number), bits.equal(self.hwid_of(number), self._hwid, _U64))
        shape = self._shapes[0]
        value, width = self._entry(shape, number), 8 * shape.element
        hit = bits.equal(bits.widen(value, width, _U64), self._hwid, _U64)
        if self._model == "skip-invalid":
            hit = bits.every(hit, bits.negate(bits.equal(value, bits.mask(width), width)))
        return bits.every(bits.below(number, shape.count, _U64), hit)

    @property
    def nobody(self) -> Truth:
        """Tell whether it is right to find nothing: no entry matches, so any one does not."""
        return bits.negate(self.matches(self.any_entry))

    def finds(self, index: Value) -> Truth:
        """Tell whether it is right to find the logical CPU ``index`` (64 bits)."""
        if self._model == "logical-map":
            return self.matches(index)
        earlier = bits.every(bits.below(self.any_entry, index, _U64), self.matches(self.any_entry))
        return bits.every(self.matches(index), bits.negate(earlier))

    def question(self, model: z3.ModelRef) -> Question:
        """Return the question that the values of ``model`` make: of the entries that were looked at."""
        found: list[int | None] = [None] * self._nr_cpus
        for number in (self.any_entry, *self.loaded):
            place = int(model.eval(bits.bv(number, _U64), True).as_long())
            if place < self._nr_cpus and z3.is_true(model.eval(bits.boolean(self.is_used(place)), True)):
                found[place] = int(model.eval(bits.bv(self.hwid_of(place), _U64), True).as_long())
        return Question(tuple(found), int(model.eval(self.mpidr, True).as_long()))

    def _table(self, placed: Placed, shape: Shape) -> Table:
        def entry(number: Value) -> Value:
            if not any(bits.is_same(number, other) for other in self.loaded):
                self.loaded.append(number)
            return self._entry(shape, number)

        return Table(placed, shape.element, entry)

    def _entry(self, shape: Shape, number: Value) -> Value:
        width = 8 * shape.element
        hwid = bits.part(self.hwid_of(number), width - 1, 0)
        return bits.choose(self.is_used(number), hwid, shape.unused, width)
