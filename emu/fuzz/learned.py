"""Questions made of the constants in a look-up's own code: what it compares with is what it may be wrong for.

Random questions never meet one hwid of 2^40. Constants that every look-up has are left out: masks of ones,
NR_CPUS, small numbers and addresses. Most look-ups have no other. What constants do not show, compares do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.fuzz.built_lookup import BuiltLookup
from emu.fuzz.compares import Compared, compared
from emu.lookup.constants import own_constants, unusual

_VALUES_MAX, _BYTES_MAX, _QUESTIONS_MAX = 8, 6, 4096


def learned_mpidrs(built: BuiltLookup, met: Sequence[Compared] | None = None) -> list[int]:
    """Return MPIDR_EL1 values (u64) that compares and constants of the code make.

    First those for which operands of a compare are equal (:mod:`emu.fuzz.compares`), then constants: whole,
    moved, joined of parts.

    :param met: what was compared in look-ups of the same code; None: in this one
    """
    target = built.target
    met = [compared(built)] if met is None else met
    mpidrs = [mpidr for each in met for mpidr in each.mpidrs]
    found = dict.fromkeys((mpidr + step) & 2**64 - 1 for mpidr in mpidrs for step in (0, 1, -1))
    own = [*own_constants(target), *unusual(target, [value for each in met for value in each.values])]
    if values := list(dict.fromkeys(own))[:_VALUES_MAX]:
        hwids = dict.fromkeys(value & MPIDR_HWID_BITMASK for value in _joined(values))
        found |= dict.fromkeys(RES1 | hwid for hwid in islice(hwids, _QUESTIONS_MAX))
    return list(found)


def _joined(values: list[int]) -> Iterator[int]:
    for value in values:
        for step in (0, 1, -1):
            yield value + step
        for by in (8, 16, 32):
            yield value << by
    parts = (0, *values)
    for low, middle, high in product(parts, repeat=3):
        yield low | middle << 16 | high << 32
        yield low | high << 32
    fields = (0, *dict.fromkeys(value & 0xFF for value in values))[: _BYTES_MAX + 1]
    for aff3, aff2, aff1, aff0 in product(fields, repeat=4):
        yield aff3 << 32 | aff2 << 16 | aff1 << 8 | aff0
