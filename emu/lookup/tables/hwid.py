"""Entry i is the hwid of logical CPU i, as in the kernel's ``__cpu_logical_map``.

Entries of CPUs that do not exist are unused; INVALID_HWID unless said. Source: Linux v6.12
arch/arm64/kernel/setup.c, __cpu_logical_map.
"""

from __future__ import annotations

from emu.lookup.tables import LogicalMap, Shape, TableKind

NAME = "hwid"


def _fill(logical_map: LogicalMap, shape: Shape) -> bytes:
    return shape.pack([shape.unused if hwid is None else hwid for hwid in logical_map])


KIND = TableKind(_fill)
