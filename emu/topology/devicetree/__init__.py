"""The device tree, both ways: what a real kernel boots from, and what somebody's firmware says.

:mod:`.flat` knows the format, :mod:`.cpu_map` who shares a core, :mod:`.write` and :mod:`.read` the rest.
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
