"""The first i with ``table[i] == mpidr & MPIDR_HWID_BITMASK``, used or not.

It takes the table at its word: with unused entries of 0 the first of them is right for hwid 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.lookup.models import Model, Tables, answers_of

NAME = "first-match"


def _expected_many(
    logical_map: Sequence[int | None], tables: Tables, mpidrs: Sequence[int]
) -> list[int | None]:
    entries = tables["hwid"].entries()
    # Backwards, so that the first of several stays.
    first = dict(zip(reversed(entries), range(len(entries) - 1, -1, -1), strict=True))
    return answers_of(first, mpidrs)


MODEL = Model(_expected_many, needs=("hwid",), literal=True)
