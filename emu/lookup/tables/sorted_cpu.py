"""Entry i is the logical number of the CPU with the i-th hwid in ascending order.

It stands beside a table that holds ``sorted-hwid``. The rest, unused, stands at the end; all ones unless
said.
"""

from __future__ import annotations

from emu.lookup.tables import LogicalMap, Shape, TableKind

NAME = "sorted-cpu"


def _fill(logical_map: LogicalMap, shape: Shape) -> bytes:
    pairs = [(hwid, cpu) for cpu, hwid in enumerate(logical_map) if hwid is not None]
    pairs.sort()
    return shape.pack([cpu for _, cpu in pairs])


KIND = TableKind(_fill, element=4)
