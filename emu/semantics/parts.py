"""Single-copy atomicity: the parts in which one instruction makes its accesses (Arm DDI 0487, B2.2.1).

Others may see any of the parts done and any not, in every order. What is aligned to its size, 8 bytes at
most, is made at once. LDP, STP, LDXP and accesses of 16 bytes are one part for each register, and for each
half of 16 bytes; the two words of an LDXP of W registers are one. What is not aligned is made byte by byte.
An atomic instruction and a store-exclusive are made at once, pairs (CASP, STXP) too.

MODEL: no core here has FEAT_LSE2, which makes more of them at once; DC ZVA and the elements of structures are
made by doubleword and by element, where the architecture promises no more than bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from emu.operation import Access, LoadExclusive, MemoryAccess, Operation

_AT_ONCE = 8  # bytes of a load-exclusive, at most


class Made(NamedTuple):
    """A part that was made: its number, and the value that it has loaded; 0 of a store."""

    number: int
    value: int


def parts_of(operation: Operation) -> tuple[Access, ...]:
    """Return the parts of an operation of a PE, in program order; () when it is made at once."""
    match operation:
        case MemoryAccess(found):
            if any(access.is_store for access in found) != all(access.is_store for access in found):
                return ()  # an atomic instruction
            parts = tuple(part for access in found for part in _parts_of(access))
        case LoadExclusive(found) if sum(access.size for access in found) > _AT_ONCE:
            parts = found
        case _:
            return ()
    return parts if len(parts) > 1 else ()


def _parts_of(access: Access) -> Iterator[Access]:
    if not access.pa % access.size:
        yield access
        return
    for at in range(access.size):
        yield access._replace(pa=access.pa + at, size=1, value=access.value >> 8 * at & 0xFF)


def operation_of(
    parts: Sequence[Access], made: Sequence[Made], number: int, operation: Operation
) -> Operation:
    """Return the operation of one part; the first part of a load-exclusive that is made arms the monitor.

    :param made: those of the same instruction that were made before
    :param operation: the whole
    """
    part = (parts[number],)
    if isinstance(operation, LoadExclusive) and not made:
        return LoadExclusive(part, parts[0].pa)
    return MemoryAccess(part)


def rest_of(parts: Sequence[Access], made: Sequence[Made]) -> MemoryAccess:
    """Return the operation of all parts that were not made yet; some were."""
    done = {each.number for each in made}
    return MemoryAccess(tuple(part for number, part in enumerate(parts) if number not in done))
