"""The hwids in ascending order; the rest, unused, stands at the end.

Unused entries are all ones unless said, and so no smaller than any hwid.
"""

from __future__ import annotations

from emu.lookup.tables import LogicalMap, Shape, TableKind

NAME = "sorted-hwid"


def _fill(logical_map: LogicalMap, shape: Shape) -> bytes:
    return shape.pack(sorted([hwid for hwid in logical_map if hwid is not None]))


KIND = TableKind(_fill)
