"""The CPU whose hwid is ``mpidr & MPIDR_HWID_BITMASK``; none: it has to miss.

The truth itself: what the tables say does not matter. Two CPUs with one hwid have no right answer. Source:
Linux v6.12 arch/arm64/include/asm/smp_plat.h, get_logical_index().
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.lookup.models import Model, Tables, answers_of

NAME = "logical-map"


def _expected_many(
    logical_map: Sequence[int | None], tables: Tables, mpidrs: Sequence[int]
) -> list[int | None]:
    cpu_of = {hwid: cpu for cpu, hwid in enumerate(logical_map) if hwid is not None}
    return answers_of(cpu_of, mpidrs)


MODEL = Model(_expected_many)
