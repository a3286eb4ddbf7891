"""The device tree for real kernels, read back by the fdt library and by dtc."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import Any

import fdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.errors import InvalidCase
from emu.topology.devicetree import write_devicetree

_FIXED: dict[str, Any] = {
    "hwids": [0, 1, 0x100, 0x1_0000_0001],
    "boot_cpu": 0,
    "dram_base": 0x4000_0000,
    "dram_size": 0x1000_0000,
    "conduit": "smc",
}
_HWIDS = st.integers(0, 2**40 - 1).map(lambda value: value & MPIDR_HWID_BITMASK)


def _tree(**changes: Any) -> fdt.FDT:
    return fdt.parse_dtb(write_devicetree(**_FIXED | changes))


def _u64(tree: fdt.FDT, name: str, path: str) -> list[int]:
    cells = list(tree.get_property(name, path))
    return [high << 32 | low for high, low in zip(cells[::2], cells[1::2], strict=True)]


def test_memory_chosen_and_psci_are_as_the_kernel_reads_them() -> None:
    """Bindings: arm/psci.yaml; Devicetree Specification 3.4 and 3.6."""
    tree = _tree(bootargs="nokaslr maxcpus=2", conduit="hvc")
    assert _u64(tree, "reg", "/memory@40000000") == [0x4000_0000, 0x1000_0000]
    assert tree.get_property("device_type", "/memory@40000000").value == "memory"
    assert tree.get_property("bootargs", "/chosen").value == "nokaslr maxcpus=2"
    assert list(tree.get_property("compatible", "/psci")) == ["arm,psci-1.0", "arm,psci-0.2"]
    assert tree.get_property("method", "/psci").value == "hvc"
    assert not tree.exist_node("/reserved-memory")


@given(st.lists(_HWIDS, min_size=1, max_size=20, unique=True), st.data())
def test_every_cpu_has_its_node_in_order(hwids: list[int], data: st.DataObject) -> None:
    """Bindings: arm/cpus.yaml."""
    boot_cpu = data.draw(st.integers(0, len(hwids) - 1))
    tree = _tree(hwids=hwids, boot_cpu=boot_cpu)
    nodes = tree.get_node("/cpus").nodes
    assert [node.name for node in nodes] == [f"cpu@{hwid:x}" for hwid in hwids]
    for node, hwid in zip(nodes, hwids, strict=True):
        assert list(node.get_property("reg")) == [hwid >> 32, hwid & 0xFFFF_FFFF]
        assert node.get_property("device_type").value == "cpu"
        assert node.get_property("compatible").value == "arm,cortex-a72"
        assert node.get_property("enable-method").value == "psci"
        assert not node.exist_property("cpu-release-addr")
    assert tree.header.boot_cpuid_phys == hwids[boot_cpu] & 0xFFFF_FFFF


def test_spin_table_cpus_have_their_release_address_and_there_is_no_psci() -> None:
    addresses = [0x4F00_0000 + 8 * cpu for cpu in range(4)]
    tree = _tree(enable_method="spin-table", release_addrs=addresses, conduit="")
    found = [_u64(tree, "cpu-release-addr", f"/cpus/{node.name}")[0] for node in tree.get_node("/cpus").nodes]
    assert found == addresses
    assert not tree.exist_node("/psci")


def test_reserved_ranges_are_mapped_and_not_handed_out() -> None:
    """Without "no-map" (reserved-memory.yaml) the linear map covers the range and memblock keeps it."""
    tree = _tree(reserved=[(0x4E00_0000, 0x1000), (0x4F00_0000, 0x2000)])
    assert [node.name for node in tree.get_node("/reserved-memory").nodes] == ["emu@4e000000", "emu@4f000000"]
    assert _u64(tree, "reg", "/reserved-memory/emu@4f000000") == [0x4F00_0000, 0x2000]
    assert not tree.exist_property("no-map", "/reserved-memory/emu@4f000000")
    for name in ("#address-cells", "#size-cells"):
        assert tree.get_property(name, "/reserved-memory").value == tree.get_property(name, "/").value == 2
    assert tree.exist_property("ranges", "/reserved-memory")


@pytest.mark.parametrize("cpus", [1, 512, 4096])
def test_sizes_in_the_header_are_exact_for_any_number_of_cpus(cpus: int) -> None:
    blob = write_devicetree(**_FIXED | {"hwids": [cpu >> 8 << 8 | cpu & 255 for cpu in range(cpus)]})
    magic, total, structure, strings, reserve, version = struct.unpack_from(">6I", blob)
    strings_size, structure_size = struct.unpack_from(">2I", blob, 32)
    assert (magic, total, version) == (0xD00DFEED, len(blob), 17)
    assert (reserve % 8, structure % 4) == (0, 0)
    assert structure + structure_size == strings
    assert strings + strings_size == total


def test_dtc_reads_it_without_a_warning() -> None:
    dtc = shutil.which("dtc")
    if dtc is None:
        pytest.skip("dtc is missing: apt-get install device-tree-compiler")
    spin_table = {"enable_method": "spin-table", "release_addrs": [0x4F00_0000] * 4}
    for changes in ({"reserved": [(0x4E00_0000, 0x1000)]}, spin_table):
        blob = write_devicetree(**_FIXED | changes)
        done = subprocess.run([dtc, "-I", "dtb", "-O", "dts"], input=blob, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"cpu@100000001" in done.stdout


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"hwids": []}, "0 hwids: must be 1 to 4096"),
        ({"hwids": range(4097)}, "4097 hwids: must be 1 to 4096"),
        (
            {"hwids": [0, 1 << 24]},
            r"hwids\[1\]=0x1000000: bit 24 is outside MPIDR_HWID_BITMASK; pass hwid\(mpidr\)",
        ),
        ({"hwids": [0, -1]}, r"hwids\[1\]=-0x1: a hwid is a u64"),
        ({"hwids": [1, 2, 1]}, r"hwids\[2\]=0x1: also hwids\[0\]; the kernel refuses duplicates"),
        ({"boot_cpu": 4}, "boot_cpu=4: must be an index into the 4 hwids"),
        ({"boot_cpu": -1}, "boot_cpu=-1: must be an index into the 4 hwids"),
        ({"conduit": "svc"}, "conduit='svc': must be smc or hvc"),
        ({"enable_method": "acpi"}, "enable_method='acpi': must be psci or spin-table"),
        ({"enable_method": "spin-table"}, "0 release_addrs: one per hwid for spin-table, none for psci"),
        ({"release_addrs": [8] * 4}, "4 release_addrs: one per hwid for spin-table, none for psci"),
        (
            {"enable_method": "spin-table", "release_addrs": [8, 8, 12, 8]},
            r"release_addrs\[2\]=0xc: must be a u64 PA, 8-byte aligned",
        ),
        ({"dram_size": 0}, r"dram=0x40000000\+0x0: must be whole 4 KiB pages"),
        ({"dram_base": 0x4000_0001}, r"dram=0x40000001\+0x10000000: must be whole 4 KiB pages"),
        ({"dram_base": 2**52 - 4096}, "must be whole 4 KiB pages of a 52-bit PA"),
        ({"reserved": [(0x4000_0000, 8), (0x4FFF_FFFF, 2)]}, r"reserved\[1\]=0x4fffffff\+0x2: must lie in"),
        ({"bootargs": "a\nb"}, r"bootargs='a\\nb': must be printable ASCII below 2048 characters"),
        ({"bootargs": "x" * 2048}, "must be printable ASCII below 2048 characters"),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidCase, match=f"{rule}") as refused:
        write_devicetree(**_FIXED | changes)
    assert "\n" not in str(refused.value)
