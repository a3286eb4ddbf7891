"""The device tree: write the one a real kernel boots from, and read the one of a machine.

:mod:`.flat` has the format, :mod:`.cpu_map` the node cpu-map, :mod:`.write` and :mod:`.read` the rest.
"""

from emu.topology.devicetree.flat import u32, u64
from emu.topology.devicetree.read import read_devicetree, read_dts
from emu.topology.devicetree.write import node_names, write_devicetree, write_stub_devicetree

__all__ = [
    "node_names",
    "read_devicetree",
    "read_dts",
    "u32",
    "u64",
    "write_devicetree",
    "write_stub_devicetree",
]
