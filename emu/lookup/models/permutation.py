"""``cpu[i]`` for the i with ``sorted[i] == mpidr & MPIDR_HWID_BITMASK``, from two tables side by side.

``sorted-hwid`` has the hwids, ascending, and ``sorted-cpu`` the logical id of each. An entry whose logical id
is unused (all ones) belongs to no CPU. Two entries of one hwid have no right answer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.lookup.models import Model, Tables

NAME = "permutation"


def _expected_many(
    logical_map: Sequence[int | None], tables: Tables, mpidrs: Sequence[int]
) -> list[int | None]:
    hwids, cpus = tables["sorted-hwid"].entries(), tables["sorted-cpu"]
    none = (1 << 8 * cpus.element) - 1
    found: list[int | None] = []
    for mpidr in mpidrs:
        hwid = mpidr & MPIDR_HWID_BITMASK
        index = bisect_left(hwids, hwid)
        hit = index < min(len(hwids), len(cpus)) and hwids[index] == hwid
        cpu = cpus.entry(index) if hit else none
        found.append(None if cpu == none else cpu)
    return found


MODEL = Model(_expected_many, needs=("sorted-hwid", "sorted-cpu"))
