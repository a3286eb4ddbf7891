"""The contract of a lookup: entry, exits, memory, registers, instruction bound, and the right answer.

The right answer, unless ``model`` says otherwise: with distinct valid hwids and holes anywhere, for every
MPIDR_EL1 the code reaches ``found`` with the logical id of ``mpidr & MPIDR_HWID_BITMASK`` when the map has
it, else ``missing``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Place = str | int  # a label or symbol, or an address in the subject's own space

RETURN: Place = "ret"  # the exit of a routine that returns to its caller
ALIGNMENTS = tuple(1 << power for power in range(13))  # bytes that a table may be said to be aligned to


@dataclass(frozen=True, slots=True)
class Define:
    """A constant for the assembler: its default, and the values that the regression corpus tries."""

    default: int
    sweep: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LookupTable:
    """One table that the code may read.

    :ivar symbol: absolute symbol at its first byte, defined for the assembler; or of the subject itself
    :ivar element: bytes of an entry, 1, 2, 4 or 8
    :ivar count: entries, an expression over the defines
    :ivar holds: kind of its entries, one of :data:`emu.lookup.tables.KINDS`
    :ivar unused: value of an entry that belongs to no CPU, u64 or an expression over the defines; None: that
        of the kind
    :ivar base: register that holds the address of its first byte at entry; nothing: none does
    :ivar length: register that holds the number of its entries at entry; nothing: none does
    :ivar align: its address is a multiple of so many bytes, a power of two; 0: as its elements need it
    """

    symbol: str
    element: int = 8
    count: str = "NR_CPUS"
    holds: str = "hwid"
    unused: int | str | None = None
    base: str = ""
    length: str = ""
    align: int = 0

    @property
    def granted(self) -> int:
        """Bytes that its address is a multiple of, and the look-up may rely on no more."""
        return self.align or min(self.element & -self.element, 8)


@dataclass(frozen=True, slots=True)
class Contract:
    """What a lookup promises.

    :ivar source: what the contract was read from, for messages
    :ivar entry: where it begins
    :ivar found: reached with the index in place; RETURN: it returns
    :ivar missing: reached when no entry matches; None: then it must never reach ``found``; RETURN only with
        ``missing_index``
    :ivar index: register with the result, "x0".."x30"
    :ivar missing_index: index register's value (u64) that says "none"; None: a place of its own says so
    :ivar mpidr: "mpidr_el1": the code reads it itself; or the register that holds it on entry
    :ivar may_change: registers that may come out changed, beside ``index``
    :ivar preserve_flags: NZCV must come out as it went in
    :ivar parks: whether not to come to any exit is an answer for "missing"
    :ivar instructions_max: retired instructions from entry to exit, an expression over the defines
    :ivar constants: whether it may read constants of its own image (:mod:`emu.lookup.constants`)
    :ivar el: exception level it runs at, 1 or 2
    :ivar stack: bytes of stack below SP that it may use; 0: none
    :ivar model: name of the reference model, one of :data:`emu.lookup.models.MODELS`
    :ivar defines: constants by name
    :ivar tables: reads outside all of them, and any store but to the stack, are findings
    """

    source: str
    entry: Place
    found: Place
    index: str
    missing: Place | None = None
    missing_index: int | None = None
    mpidr: str = "mpidr_el1"
    may_change: tuple[str, ...] = ()
    preserve_flags: bool = False
    parks: bool = False
    instructions_max: str = ""
    constants: bool = True
    el: int = 1
    stack: int = 0
    model: str = "logical-map"
    defines: Mapping[str, Define] = field(default_factory=dict)
    tables: tuple[LookupTable, ...] = ()
