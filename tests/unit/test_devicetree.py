"""The device tree for real kernels, read back by the fdt library and by dtc."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from typing import Any

import fdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.arch.flat_tree import u32, u64
from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.devicetree.names import node_names
from emu.topology.devicetree.write import write_devicetree, write_stub_devicetree

_DRAM: dict[str, Any] = {"dram_base": 0x4000_0000, "dram_size": 0x1000_0000}
_PSCI = [Cpu(hwid, enable_method="psci") for hwid in (0, 1, 0x100, 0x1_0000_0001)]
_ALL_ONES = 2**64 - 1


def _topology(cpus: Sequence[Cpu] = _PSCI, **fields: Any) -> Topology:
    return Topology("test", tuple(cpus), **fields)


def _tree(topology: Topology | None = None, **changes: Any) -> fdt.FDT:
    return fdt.parse_dtb(write_devicetree(topology or _topology(), **_DRAM | changes))


def _u64(tree: fdt.FDT, name: str, path: str) -> list[int]:
    cells = list(tree.get_property(name, path))
    return [high << 32 | low for high, low in zip(cells[::2], cells[1::2], strict=True)]


def _dtc(blob: bytes) -> str:
    dtc = shutil.which("dtc")
    if dtc is None:
        pytest.skip("dtc is missing: apt-get install device-tree-compiler")
    done = subprocess.run([dtc, "-I", "dtb", "-O", "dts"], input=blob, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def test_memory_chosen_and_psci_are_as_the_kernel_reads_them() -> None:
    """Bindings: arm/psci.yaml; Devicetree Specification 3.4 and 3.6."""
    tree = _tree(_topology(conduit="hvc"), bootargs="nokaslr maxcpus=2")
    assert _u64(tree, "reg", "/memory@40000000") == [0x4000_0000, 0x1000_0000]
    assert tree.get_property("device_type", "/memory@40000000").value == "memory"
    assert tree.get_property("bootargs", "/chosen").value == "nokaslr maxcpus=2"
    assert list(tree.get_property("compatible", "/psci")) == ["arm,psci-1.0", "arm,psci-0.2"]
    assert tree.get_property("method", "/psci").value == "hvc"
    assert not tree.exist_node("/reserved-memory")


def test_psci_is_there_when_an_entry_uses_it() -> None:
    """Linux v6.12 psci_dt_init(); with no conduit said it is smc."""
    assert _tree().get_property("method", "/psci").value == "smc"
    one = [Cpu(0), Cpu(1, enable_method="spin-table"), Cpu(2, enable_method="psci")]
    assert _tree(_topology(one)).exist_node("/psci")
    assert not _tree(_topology(one[:2], conduit="hvc")).exist_node("/psci")


@given(st.lists(st.integers(0, _ALL_ONES), min_size=1, max_size=20), st.data())
def test_every_entry_has_its_node_in_order_however_bad_it_is(hwids: list[int], data: st.DataObject) -> None:
    """Bindings: arm/cpus.yaml. Duplicates and bits outside MPIDR_HWID_BITMASK are the kernel's to refuse."""
    boot_cpu = data.draw(st.integers(0, len(hwids) - 1))
    topology = _topology([Cpu(hwid, enable_method="psci") for hwid in hwids], boot_cpu=boot_cpu)
    tree = _tree(topology)
    nodes = tree.get_node("/cpus").nodes
    assert [node.name for node in nodes] == node_names(topology)
    for node, hwid in zip(nodes, hwids, strict=True):
        assert list(node.get_property("reg")) == [hwid >> 32, hwid & 0xFFFF_FFFF]
        assert node.get_property("device_type").value == "cpu"
        assert node.get_property("compatible").value == "arm,cortex-a72"
        assert node.get_property("enable-method").value == "psci"
        assert not node.exist_property("cpu-release-addr")
    assert tree.header.boot_cpuid_phys == hwids[boot_cpu] & 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("cpus", "names"),
    [
        ([Cpu(0), Cpu(0x1_0000_0001)], ["cpu@0", "cpu@100000001"]),
        ([Cpu(1), Cpu(1), Cpu(1)], ["cpu@1", "cpu@1,1", "cpu@1,2"]),
        ([Cpu(0, node="cpu@1"), Cpu(1)], ["cpu@1", "cpu@1,1"]),
        ([Cpu(1), Cpu(0, node="cpu@1")], ["cpu@1,0", "cpu@1"]),
        ([Cpu(1), Cpu(1), Cpu(2, node="cpu@1,1")], ["cpu@1", "cpu@1,1,1", "cpu@1,1"]),
        ([Cpu(7, node="A57_0")], ["A57_0"]),
    ],
)
def test_names_within_cpus_are_unique(cpus: list[Cpu], names: list[str]) -> None:
    """Devicetree Specification 2.2.1; the kernel's messages name nodes (%pOF)."""
    topology = _topology(cpus)
    assert node_names(topology) == names
    assert [node.name for node in _tree(topology).get_node("/cpus").nodes] == names


def test_each_cpu_has_its_own_enable_method_verbatim() -> None:
    """Linux v6.12 arch/arm64/kernel/cpu_ops.c: messages for an unknown method and for none."""
    methods = ["", "psci", "spin-table", "acme,mailbox"]
    topology = _topology([Cpu(hwid, enable_method=method) for hwid, method in enumerate(methods)])
    found = [node.get_property("enable-method") for node in _tree(topology).get_node("/cpus").nodes]
    assert found[0] is None
    assert [prop.value for prop in found[1:]] == methods[1:]


def test_spin_table_cpus_have_their_release_address_and_there_is_no_psci() -> None:
    addresses = [0x4F00_0000 + 8 * cpu for cpu in range(4)]
    cpus = [Cpu(cpu, enable_method="spin-table", release_addr=pa) for cpu, pa in enumerate(addresses)]
    tree = _tree(_topology(cpus))
    found = [_u64(tree, "cpu-release-addr", f"/cpus/{node.name}")[0] for node in tree.get_node("/cpus").nodes]
    assert found == addresses
    assert not tree.exist_node("/psci")


def test_a_boot_cpu_that_is_not_listed_is_in_the_header_alone() -> None:
    """Linux v6.12 smp_init_cpus(): "missing boot CPU MPIDR, not enabling secondaries"."""
    tree = _tree(_topology(boot_cpu=Cpu(0x2_0000_0300)))
    assert tree.header.boot_cpuid_phys == 0x300
    assert [node.name for node in tree.get_node("/cpus").nodes] == [
        "cpu@0",
        "cpu@1",
        "cpu@100",
        "cpu@100000001",
    ]


def test_compatible_follows_the_part_number() -> None:
    """Linux v6.12 asm/cputype.h; cpus.yaml keeps arm,armv8 for models."""
    midrs = {
        0x410F_D034: "arm,cortex-a53",
        0x410F_D083: "arm,cortex-a72",
        0x413F_D0C1: "arm,neoverse-n1",
        0x480F_D083: "arm,armv8",
    }
    nodes = _tree(_topology([Cpu(cpu, midr=midr) for cpu, midr in enumerate(midrs)])).get_node("/cpus").nodes
    assert [node.get_property("compatible").value for node in nodes] == list(midrs.values())


def _map_of(tree: fdt.FDT) -> dict[str, str]:
    # The leaves of cpu-map: path below it -> name of the CPU's node.
    names = {node.get_property("phandle").value: node.name for node in tree.get_node("/cpus").nodes[1:]}
    return {
        path.removeprefix("/cpus/cpu-map/"): names[prop.value]
        for path, _, props in tree.walk("/cpus/cpu-map")
        for prop in props
    }


def test_cpu_map_has_threads_only_where_a_core_has_more_than_one() -> None:
    """Linux v6.12 Documentation/devicetree/bindings/cpu/cpu-topology.txt."""
    cpus = [
        Cpu(0x000, core=0, thread=0),
        Cpu(0x001, core=0, thread=1),
        Cpu(0x100, core=1),
        Cpu(0x10000, cluster=1, core=0),
        Cpu(0x1_0000_0000, socket=1, core=0),
    ]
    assert _map_of(_tree(_topology(cpus))) == {
        "socket0/cluster0/core0/thread0": "cpu@0",
        "socket0/cluster0/core0/thread1": "cpu@1",
        "socket0/cluster0/core1": "cpu@100",
        "socket0/cluster1/core0": "cpu@10000",
        "socket1/cluster0/core0": "cpu@100000000",
    }


def test_a_place_in_cpu_map_has_the_first_that_claims_it() -> None:
    """A second entry of the same CPU has a node and no place: the kernel refuses that entry anyhow."""
    tree = _tree(_topology([Cpu(0, core=0), Cpu(1, core=1), Cpu(1, core=1), Cpu(2)]))
    nodes = tree.get_node("/cpus").nodes
    assert [node.name for node in nodes if node.exist_property("phandle")] == ["cpu@0", "cpu@1"]
    assert not _tree().exist_node("/cpus/cpu-map")


def test_a_lone_second_thread_keeps_its_number() -> None:
    assert "/cpus/cpu-map/socket0/cluster0/core0/thread1" in [
        path for path, *_ in _tree(_topology([Cpu(1, core=0, thread=1)])).walk()
    ]


def test_reserved_ranges_are_mapped_and_not_handed_out() -> None:
    """Without "no-map" (reserved-memory.yaml) the linear map covers the range and memblock keeps it."""
    tree = _tree(reserved=[(0x4E00_0000, 0x1000), (0x4F00_0000, 0x2000)])
    assert [node.name for node in tree.get_node("/reserved-memory").nodes] == ["emu@4e000000", "emu@4f000000"]
    assert _u64(tree, "reg", "/reserved-memory/emu@4f000000") == [0x4F00_0000, 0x2000]
    assert not tree.exist_property("no-map", "/reserved-memory/emu@4f000000")
    for name in ("#address-cells", "#size-cells"):
        assert tree.get_property(name, "/reserved-memory").value == tree.get_property(name, "/").value == 2
    assert tree.exist_property("ranges", "/reserved-memory")


_UEFI = {"linux,uefi-system-table": u64(0x1_4000_0000), "linux,uefi-mmap-size": u32(0x90)}


def test_chosen_takes_properties_of_32_and_64_bits() -> None:
    """Linux v6.12 drivers/firmware/efi/fdtparams.c."""
    for tree in (_tree(chosen=_UEFI), fdt.parse_dtb(write_stub_devicetree(chosen=_UEFI))):
        assert _u64(tree, "linux,uefi-system-table", "/chosen") == [0x1_4000_0000]
        assert list(tree.get_property("linux,uefi-mmap-size", "/chosen")) == [0x90]
        assert tree.get_property("bootargs", "/chosen").value == "nokaslr"


def test_the_stub_tree_has_chosen_and_nothing_else() -> None:
    """Linux v6.12 arch/arm64/kernel/acpi.c, dt_is_stub(): another node turns ACPI off."""
    tree = fdt.parse_dtb(write_stub_devicetree(bootargs="acpi=on"))
    assert [node.name for node in tree.root.nodes] == ["chosen"]
    assert tree.get_property("bootargs", "/chosen").value == "acpi=on"
    assert "chosen {" in _dtc(write_stub_devicetree())


@pytest.mark.parametrize("cpus", [1, 512, 4096])
def test_sizes_in_the_header_are_exact_for_any_number_of_cpus(cpus: int) -> None:
    topology = _topology(
        [Cpu(cpu >> 8 << 8 | cpu & 255, core=cpu >> 1, thread=cpu & 1) for cpu in range(cpus)]
    )
    blob = write_devicetree(topology, **_DRAM)
    magic, total, structure, strings, reserve, version = struct.unpack_from(">6I", blob)
    strings_size, structure_size = struct.unpack_from(">2I", blob, 32)
    assert (magic, total, version) == (0xD00DFEED, len(blob), 17)
    assert (reserve % 8, structure % 4) == (0, 0)
    assert structure + structure_size == strings
    assert strings + strings_size == total


def test_dtc_reads_it_without_a_warning() -> None:
    spin_table = [Cpu(cpu, enable_method="spin-table", release_addr=0x4F00_0000) for cpu in range(4)]
    threads = [
        Cpu(cpu, enable_method="psci", socket=cpu >> 2, core=cpu >> 1 & 1, thread=cpu & 1) for cpu in range(8)
    ]
    assert "cpu@100000001" in _dtc(write_devicetree(_topology(), **_DRAM, reserved=[(0x4E00_0000, 0x1000)]))
    assert "cpu-release-addr" in _dtc(write_devicetree(_topology(spin_table), **_DRAM, chosen=_UEFI))
    assert "socket1" in _dtc(write_devicetree(_topology(threads), **_DRAM))


@pytest.mark.parametrize(
    ("cpu", "rule"),
    [
        (Cpu(0, release_addr=1 << 64), r"cpus\[0\].release_addr=0x10000000000000000: must be a u64 PA"),
        (Cpu(0, enable_method="psci\n"), r"cpus\[0\].enable_method='psci\\n': must be printable ASCII"),
        (Cpu(0, node="cpu@0\0"), r"cpus\[0\].node='cpu@0\\x00': must be printable ASCII"),
        (Cpu(0, node="a/b"), r"cpus\[0\].node='a/b': is no name of a CPU's node"),
        (Cpu(0, node="cpu-map"), r"cpus\[0\].node='cpu-map': is no name of a CPU's node"),
        (Cpu(0, core=0, socket=-1), r"cpus\[0\].socket=-1: nodes of cpu-map count from 0"),
    ],
)
def test_what_no_node_can_hold_is_refused(cpu: Cpu, rule: str) -> None:
    with pytest.raises(InvalidCase, match=rule) as refused:
        write_devicetree(_topology([cpu]), **_DRAM)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"dram_size": 0}, r"dram=0x40000000\+0x0: must be whole 4 KiB pages"),
        ({"dram_base": 0x4000_0001}, r"dram=0x40000001\+0x10000000: must be whole 4 KiB pages"),
        ({"dram_base": 2**52 - 4096}, "must be whole 4 KiB pages of a 52-bit PA"),
        ({"reserved": [(0x4000_0000, 8), (0x4FFF_FFFF, 2)]}, r"reserved\[1\]=0x4fffffff\+0x2: must lie in"),
        ({"bootargs": "a\nb"}, r"bootargs='a\\nb': must be printable ASCII below 2048 characters"),
        ({"bootargs": "x" * 2048}, "must be printable ASCII below 2048 characters"),
        ({"chosen": {"bootargs": b"x\0"}}, "chosen=bootargs: has a parameter of its own"),
        ({"chosen": {"linux,big": bytes(2 << 20)}}, r"device tree of \d+ bytes: at most 2 MiB"),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidCase, match=rule) as refused:
        write_devicetree(_topology(), **_DRAM | changes)
    assert "\n" not in str(refused.value)


def test_cells_hold_what_fits() -> None:
    with pytest.raises(InvalidCase, match="cell=0x100000000: a cell of a device tree is a u32"):
        u32(1 << 32)
    with pytest.raises(InvalidCase, match="cells=-0x1: two cells of a device tree are a u64"):
        u64(-1)
