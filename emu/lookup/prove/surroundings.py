"""Memory and system registers around a look-up that is proved: its tables, its stack, its own image.

What an access must keep to is noted as a duty: a condition that has to hold on the path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import z3

from emu.arch.mpidr import RES1
from emu.lookup.constants import Constants
from emu.lookup.prove import bits
from emu.lookup.prove.bits import Truth, Value
from emu.lookup.prove.situation import Situation, Table
from emu.lookup.prove.state import SP, Access, State
from emu.lookup.target import SP_ENDS, Target


@dataclass(frozen=True, slots=True)
class Duty:
    """What has to hold.

    :ivar prop: the property that is broken otherwise, one of :data:`emu.lookup.single.PROPERTIES`
    """

    holds: Truth
    prop: str
    words: str


class Around:
    """The surroundings of one target; the duties of the instruction under way.

    :ivar duties: of the instruction under way
    :ivar loads: of tables, each with the byte in it, in the order in which they were met
    :ivar sp: SP at entry, where the contract gives a stack: a symbol, a multiple of 16
    :ivar known: what always holds of it
    :ivar possible: tells whether a condition can hold on the path
    :ivar values: returns the values that an address can have on the path where a condition holds; None: too
        many
    """

    def __init__(self, target: Target, situation: Situation) -> None:
        self.duties: list[Duty] = []
        self.loads: list[tuple[Table, Value]] = []
        self.possible: Callable[[Truth], bool] = lambda _condition: True
        self.values: Callable[[z3.BitVecRef, Truth], list[int] | None] = lambda _address, _condition: None
        self._target = target
        self._situation = situation
        self._memory = target.memory()
        self._constants = Constants(target)
        # What the code has relative to SP is taken to be there.
        self._stack = range(target.stack_top - target.contract.stack, target.stack_top)
        self.sp: z3.BitVecRef | None = None
        self.known: tuple[z3.BoolRef, ...] = ()
        if target.contract.stack:
            self._sp_high: z3.BitVecRef = z3.BitVec("sp-high", 60)
            self.sp = z3.Concat(self._sp_high, z3.BitVecVal(0, 4))
            top = target.stack_top
            self.known = z3.ULE(self.sp, top), z3.UGT(self.sp, top - SP_ENDS)

    def register(self, encoding: tuple[int, int, int, int, int]) -> Value | None:
        """Return MPIDR_EL1."""
        return self._situation.mpidr if self._target.contract.mpidr == "mpidr_el1" else RES1

    def load(self, state: State, access: Access) -> Value:
        """Return what is there; duties: that it is of a table, the stack or a constant, and aligned."""
        access = self._by_stack_top(access)
        self._aligned(access)
        if isinstance(access.address, int):
            return self._load_known(state, access, access.address)
        return self._load_symbol(state, access, access.address)

    def store(self, state: State, access: Access, value: Value) -> None:
        """Store to the stack; a duty: that it is the stack."""
        access = self._by_stack_top(access)
        self._aligned(access)
        at, size = access.address, access.size
        places = [at] if isinstance(at, int) else self.values(at, True) or []
        in_stack = sorted(pa for pa in places if self._is_in_stack(pa, size))
        words = f"stores {size} bytes at {at:#x}" if isinstance(at, int) else f"stores {size} bytes elsewhere"
        self._duty(bits.some(*(bits.equal(at, pa, 64) for pa in in_stack)), "memory", words)
        for pa in in_stack:
            here = bits.equal(at, pa, 64)
            for number in range(size):
                byte = bits.part(value, 8 * number + 7, 8 * number)
                before = 0 if here is True else self._on_stack(state, pa + number)
                assert state.stored is not None
                state.stored[pa + number] = bits.choose(here, byte, before, 8)

    def _by_stack_top(self, access: Access) -> Access:
        # With what is relative to SP at entry as if that were the top of the stack.
        if self.sp is None:
            return access
        address, base = self._relative(access.address), self._relative(access.base_value)
        return replace(access, address=address, base_value=base)

    def _relative(self, at: Value) -> Value:
        if isinstance(at, int) or not self._is_of_sp(at):
            return at
        assert self.sp is not None
        found = bits.add(bits.sub(at, self.sp, 64), self._stack.stop, 64)
        if isinstance(found, int) or not self._is_of_sp(found):
            return found
        values = self.values(found, True)  # SP was aligned to more than 16 bytes
        if values is None:
            return at
        return values[0] if len(values) == 1 else found

    def _is_of_sp(self, at: z3.BitVecRef) -> bool:
        return any(each.eq(self._sp_high) for each in bits.symbols(at))

    def _on_stack(self, state: State, pa: int) -> Value:
        assert state.stored is not None
        return state.stored.setdefault(pa, z3.BitVec(f"stack{pa - self._stack.stop}", 8))

    def _duty(self, holds: Truth, prop: str, words: str) -> None:
        if holds is not True:
            self.duties.append(Duty(holds, prop, words))

    def _aligned(self, access: Access) -> None:
        low = access.size.bit_length() - 2
        if low >= 0:  # with the MMU off, all memory is Device memory
            self._duty(
                bits.equal(bits.part(access.address, low, 0), 0, low + 1),
                "exit",
                "access that is not aligned",
            )
        if access.base == SP:
            self._duty(
                bits.equal(bits.part(access.base_value, 3, 0), 0, 4),
                "exit",
                "access by a stack pointer that is not aligned",
            )

    def _load_known(self, state: State, access: Access, at: int) -> Value:
        size = access.size
        for table in self._situation.tables:
            if table.placed.pa <= at and at + size <= table.placed.bytes_at.stop:
                return self._of_table(table, at - table.placed.pa, size)
        if self._is_in_stack(at, size):
            return bits.join([self._on_stack(state, pa) for pa in range(at, at + size)], 8)
        if access.base >= 0 and not self._constants.has(at, size):
            self._duty(False, "memory", f"reads {size} bytes at {at:#x}")
            return 0
        return self._memory.read(at, size)

    def _load_symbol(self, state: State, access: Access, at: z3.BitVecRef) -> Value:
        # Of a table that it can be in on this path; mostly of one. Else of constants or the stack, where it
        # has few values: a table of the code's own.
        size = access.size
        fits: list[tuple[Truth, Table, Value]] = []
        for table in self._situation.tables:
            offset = bits.sub(at, table.placed.pa, 64)
            room = table.placed.size - size + 1
            inside: Truth = bits.below(offset, room, 64) if room > 0 else False
            if self.possible(inside):
                fits.append((inside, table, offset))
        in_tables = bits.some(*(inside for inside, _, _ in fits))
        others = self._others(at, size, bits.negate(in_tables))
        allowed = bits.some(in_tables, *(bits.equal(at, pa, 64) for pa in others))
        self._duty(allowed, "memory", f"reads {size} bytes out of its tables")
        value: Value = 0
        for number, (inside, table, offset) in enumerate(fits):
            found = self._of_table(table, offset, size)
            value = found if number == 0 else bits.choose(inside, found, value, 8 * size)
        for pa in others:
            known = bits.bv(self._load_known(state, access, pa), 8 * size)
            value = z3.If(at == pa, known, bits.bv(value, 8 * size))
        return value

    def _others(self, at: z3.BitVecRef, size: int, elsewhere: Truth) -> list[int]:
        # PAs out of the tables that it may read, ascending.
        if not self.possible(elsewhere):
            return []
        found = self.values(at, elsewhere) or []
        return sorted(pa for pa in found if self._is_in_stack(pa, size) or self._constants.has(pa, size))

    def _of_table(self, table: Table, offset: Value, size: int) -> Value:
        self.loads.append((table, offset))
        return _of_table(table, offset, size)

    def _is_in_stack(self, pa: int, size: int) -> bool:
        return pa in self._stack and pa + size - 1 in self._stack


def _of_table(table: Table, offset: Value, size: int) -> Value:
    # ``size`` bytes at an offset, which is aligned to ``size``.
    element = table.element
    number = bits.right(offset, element.bit_length() - 1, 64)
    if element <= size:
        entries = [table.entry(bits.add(number, place, 64)) for place in range(size // element)]
        return bits.join(entries, 8 * element)
    within = bits.left(bits.both(offset, element - 1, 64), 3, 64)
    value = bits.right(table.entry(number), bits.part(within, 8 * element - 1, 0), 8 * element)
    return bits.part(value, 8 * size - 1, 0)
