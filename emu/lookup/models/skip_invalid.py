"""The first i with ``table[i] == mpidr & MPIDR_HWID_BITMASK``; an entry of all ones never matches.

Entries of fewer than 8 bytes are all ones too when all their bits are.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.lookup.models import Model, Tables, answers_of

NAME = "skip-invalid"


def _expected_many(
    logical_map: Sequence[int | None], tables: Tables, mpidrs: Sequence[int]
) -> list[int | None]:
    table = tables["hwid"]
    invalid = (1 << 8 * table.element) - 1
    entries = table.entries()
    # Backwards, so that the first of several stays.
    first = dict(zip(reversed(entries), range(len(entries) - 1, -1, -1), strict=True))
    first.pop(invalid, None)
    return answers_of(first, mpidrs)


MODEL = Model(_expected_many, needs=("hwid",), literal=True)
