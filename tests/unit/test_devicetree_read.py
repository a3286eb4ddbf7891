"""Device trees of others: QEMU's, dtc's, and small ones that show one rule each."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fdt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import run_program

from emu.arch.flat_tree import BEGIN_NODE, END, END_NODE, NOP, PROP, Writer, u32, u64
from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.devicetree.names import node_names
from emu.topology.devicetree.read import read_devicetree, read_dts
from emu.topology.devicetree.write import write_devicetree, write_stub_devicetree

_DRAM: dict[str, Any] = {"dram_base": 0x4000_0000, "dram_size": 0x1000_0000}
_ALL_ONES = 2**64 - 1
_Tree = Mapping[str, Any]  # bytes: a property; a mapping: a node


def _add(tree: Writer, node: _Tree) -> None:
    for name, value in node.items():
        if isinstance(value, bytes):
            tree.prop(name, value)
    for name, value in node.items():
        if not isinstance(value, bytes):
            tree.begin(name)
            _add(tree, value)
            tree.end()


def _blob(root: _Tree, boot_cpuid_phys: int = 0) -> bytes:
    tree = Writer()
    tree.begin("")
    _add(tree, root)
    tree.end()
    return tree.to_bytes(boot_cpuid_phys)


def _read(cpus: _Tree, boot_cpuid_phys: int = 0, **root: Any) -> Topology:
    return read_devicetree(_blob({"cpus": cpus, **root}, boot_cpuid_phys), "x.dtb")


def _reg(*cells: int) -> dict[str, bytes]:
    return {"reg": b"".join(map(u32, cells))}


def _dtc(path: Path, *options: str) -> Path:
    dtc = shutil.which("dtc")
    if dtc is None:
        pytest.skip("dtc is missing: apt-get install device-tree-compiler")
    out = path.with_suffix("." + options[-1])
    run_program(dtc, "-q", *options, "-o", out, path)
    return out


def _qemu(folder: Path, machine: str, smp: str) -> Path:
    qemu = shutil.which("qemu-system-aarch64")
    if qemu is None:
        pytest.skip("qemu-system-aarch64 is missing: apt-get install qemu-system-arm")
    blob = folder / "virt.dtb"
    # Without -nic none QEMU wants the boot ROM of its default network card, which is in another package.
    options = ["-smp", smp, "-cpu", "cortex-a57", "-nic", "none"]
    run_program(qemu, "-M", f"virt,{machine}dumpdtb={blob}", *options)
    return blob


# QEMU's hw/arm/virt.c: 8 CPUs per Aff1 with GICv2, 16 with GICv3; nodes are named by index; one CPU has no
# enable-method; the conduit is hvc unless there is an EL2 to take it, and firmware's to say with an EL3.
@pytest.mark.parametrize(
    ("machine", "smp", "hwids", "conduit"),
    [
        ("", "1", [0], "hvc"),
        ("", "8", list(range(8)), "hvc"),
        ("gic-version=3,", "18", [*range(16), 0x100, 0x101], "hvc"),
        ("virtualization=on,", "2", [0, 1], "smc"),
        ("secure=on,", "2", [0, 1], ""),
        ("highmem=off,", "2", [0, 1], "hvc"),
    ],
)
def test_what_qemu_says_is_read(
    machine: str, smp: str, hwids: list[int], conduit: str, tmp_path: Path
) -> None:
    blob = _qemu(tmp_path, machine, smp)
    topology = read_devicetree(blob.read_bytes(), "virt.dtb")
    assert [cpu.hwid for cpu in topology.cpus] == hwids
    assert [cpu.node for cpu in topology.cpus] == [f"cpu@{index}" for index in range(len(hwids))]
    assert {cpu.enable_method for cpu in topology.cpus} == ({"psci"} if len(hwids) > 1 else {""})
    assert (topology.conduit, topology.boot_cpu, topology.firmware) == (conduit, 0, "devicetree")


def test_qemus_cpu_map_is_read(tmp_path: Path) -> None:
    blob = _qemu(tmp_path, "", "8,sockets=2,clusters=2,cores=1,threads=2")
    cpus = read_devicetree(blob.read_bytes(), "virt.dtb").cpus
    places = [(cpu.socket, cpu.cluster, cpu.core, cpu.thread) for cpu in cpus]
    assert places == [(s, c, 0, t) for s in (0, 1) for c in (0, 1) for t in (0, 1)]


def test_the_fdt_library_and_dtc_see_what_we_see_in_qemus_blob(tmp_path: Path) -> None:
    blob = _qemu(tmp_path, "gic-version=3,", "18,sockets=1,clusters=3,cores=3,threads=2")
    topology = read_devicetree(blob.read_bytes(), "virt.dtb")
    nodes = [
        node for node in fdt.parse_dtb(blob.read_bytes()).get_node("/cpus").nodes if node.name != "cpu-map"
    ]
    assert [node.name for node in nodes] == [cpu.node for cpu in topology.cpus]
    assert [node.get_property("reg").value for node in nodes] == [cpu.hwid for cpu in topology.cpus]
    assert read_dts(_dtc(blob, "-I", "dtb", "-O", "dts")).cpus == topology.cpus


_HWIDS = st.one_of(st.integers(0, 3), st.integers(0, _ALL_ONES))
_PLACES = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3), st.integers(0, 2))
_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)


@st.composite
def _topologies(draw: st.DrawFn) -> Topology:
    # What a device tree can say: any hwids and methods, and each place at most once.
    count = draw(st.integers(1, 12))
    places = draw(st.lists(st.none() | _PLACES, min_size=count, max_size=count))
    taken: set[tuple[int, ...]] = set()
    cpus = []
    for place in places:
        cpu = Cpu(
            draw(_HWIDS),
            enable_method=draw(st.sampled_from(["psci", "spin-table", ""]) | _TEXT),
            release_addr=draw(st.sampled_from([0, 0x4F00_0000]) | st.integers(0, _ALL_ONES)),
        )
        if place and place not in taken:
            taken.add(place)
            socket, cluster, core, thread = place
            cpu = replace(cpu, socket=socket, cluster=cluster, core=core, thread=thread)
        cpus.append(cpu)
    boot_cpu = draw(st.integers(0, count - 1))
    return Topology("x.dtb", tuple(cpus), boot_cpu, draw(st.sampled_from(["smc", "hvc"])))


def _named(topology: Topology) -> tuple[Cpu, ...]:
    names = node_names(topology)
    return tuple(replace(cpu, node=name) for cpu, name in zip(topology.cpus, names, strict=True))


@given(_topologies())
def test_what_is_written_is_read(topology: Topology) -> None:
    found = read_devicetree(write_devicetree(topology, **_DRAM), "x.dtb")
    assert found.cpus == _named(topology)
    assert (found.boot.hwid - topology.boot.hwid) % 2**32 == 0
    psci = any(cpu.enable_method == "psci" for cpu in topology.cpus)
    assert found.conduit == (topology.conduit if psci else "")
    again = replace(found, conduit=topology.conduit)
    assert write_devicetree(again, **_DRAM) == write_devicetree(topology, **_DRAM)


def test_what_is_written_is_read_at_4096_cpus() -> None:
    cpus = tuple(
        Cpu(n, enable_method="psci", socket=n >> 11, core=n >> 1 & 1023, thread=n & 1) for n in range(4096)
    )
    topology = Topology("x.dtb", cpus)
    assert read_devicetree(write_devicetree(topology, **_DRAM), "x.dtb").cpus == _named(topology)


@pytest.mark.parametrize(
    ("node", "listed"),
    [
        ({"cpu@0": {}}, True),
        ({"cpu": {}}, True),
        ({"A57_0": {"device_type": b"cpu\0"}}, True),
        ({"A57_0": {"device_type": b"cpus\0"}}, False),
        ({"A57_0": {}}, False),
        ({"cpus@0": {}}, False),
        ({"cpu@0": {"status": b"okay\0"}}, True),
        ({"cpu@0": {"status": b"disabled\0"}}, True),
        ({"cpu@0": {"status": b"fail\0"}}, False),
        ({"cpu@0": {"status": b"fail-sss\0"}}, False),
        ({"cpu@0": {"status": b"failed\0"}}, True),
        ({"cpu@0": {"status": b""}}, True),
    ],
)
def test_entries_are_those_of_of_get_next_cpu_node(node: _Tree, listed: bool) -> None:
    """Linux v6.12 drivers/of/base.c. A disabled CPU is one that may be started, so it counts."""
    found = _read({"#address-cells": u32(1), **node, "cpu@7": _reg(7)})
    assert [cpu.hwid for cpu in found.cpus] == ([_ALL_ONES, 7] if listed else [7])


@pytest.mark.parametrize(
    ("cells", "reg", "hwid"),
    [
        (1, _reg(0x80000100), 0x80000100),
        (2, _reg(1, 0x100), 0x1_0000_0100),
        (2, _reg(1, 0x100, 7), 0x1_0000_0100),
        (2, _reg(0x100), _ALL_ONES),
        (1, {"reg": b"\0\0\1"}, _ALL_ONES),
        (1, {}, _ALL_ONES),
    ],
)
def test_hwids_are_those_of_of_get_cpu_hwid(cells: int, reg: _Tree, hwid: int) -> None:
    """Linux v6.12 drivers/of/cpu.c."""
    assert _read({"#address-cells": u32(cells), "cpu@0": reg}).cpus[0].hwid == hwid


def test_address_cells_are_those_of_the_nearest_parent() -> None:
    """Linux v6.12 drivers/of/base.c, of_n_addr_cells(); 1 where nobody says it."""
    cpus = {"cpu@0": _reg(1, 2)}
    two: dict[str, Any] = {"#address-cells": u32(2)}
    assert _read(cpus).cpus[0].hwid == 1
    assert _read(cpus, **two).cpus[0].hwid == 0x1_0000_0002
    assert _read({"#address-cells": u32(1), **cpus}, **two).cpus[0].hwid == 1
    assert _read({"#address-cells": b"\1", **cpus}, **two).cpus[0].hwid == 0x1_0000_0002


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (u64(0x1_0000_0008), 0x1_0000_0008),
        (u32(0x4F00_0000), 0x4F00_0000),
        (u64(8, 16), 8),
        (b"\1\2", 0),
        (b"", 0),
    ],
)
def test_release_addresses_have_one_cell_or_two(value: bytes, address: int) -> None:
    """Bindings: arm/cpus.yaml; Linux v6.12 smp_spin_table_cpu_init() reads a u64."""
    node = {"enable-method": b"spin-table\0psci\0", "cpu-release-addr": value}
    (cpu,) = _read({"cpu@0": node}).cpus
    assert (cpu.enable_method, cpu.release_addr) == ("spin-table", address)


_PSCI = {"compatible": b"arm,psci-1.0\0", "method": b"smc\0"}


@pytest.mark.parametrize(
    ("root", "conduit"),
    [
        ({"psci": {"compatible": b"arm,psci\0", "method": b"hvc\0"}}, "hvc"),
        ({"psci": {"compatible": b"arm,psci-0.2\0", "method": b"smc\0"}}, "smc"),
        ({"psci": {"compatible": b"acme,psci\0ARM,psci-1.0\0", "method": b"smc\0"}}, "smc"),
        ({"firmware": {"any": {"compatible": b"arm,psci\0", "method": b"hvc\0"}}}, "hvc"),
        ({"a": {"compatible": b"arm,psci\0", "method": b"hvc\0"}, "psci": {"method": b"smc\0"}}, "hvc"),
        ({"a": {"b": {"compatible": b"arm,psci\0", "method": b"hvc\0"}}, "psci": _PSCI}, "hvc"),
        ({"psci": _PSCI, "a": {"compatible": b"arm,psci\0", "method": b"hvc\0"}}, "smc"),
        ({"psci": {**_PSCI, "status": b"ok\0"}}, "smc"),
        ({"psci": {**_PSCI, "status": b"disabled\0"}}, ""),
        ({"psci": {"compatible": b"arm,psci-1.0\0", "method": b"svc\0"}}, ""),
        ({"psci": {"compatible": b"arm,psci-1.0\0"}}, ""),
        ({"psci": {"method": b"smc\0"}}, ""),
        ({}, ""),
    ],
)
def test_the_conduit_is_that_of_psci_dt_init(root: _Tree, conduit: str) -> None:
    """Linux v6.12 drivers/firmware/psci/psci.c."""
    assert _read({"cpu@0": {}}, **root).conduit == conduit


def test_the_boot_cpu_is_the_headers_or_the_first() -> None:
    """Devicetree Specification 5.2: boot_cpuid_phys is the boot CPU's reg; of two cells the low half."""
    cpus = {"#address-cells": u32(2), "cpu@0": _reg(0, 0), "cpu@1": _reg(1, 5), "cpu@2": _reg(0, 5)}
    assert [_read(cpus, boot).boot_cpu for boot in (0, 5, 6)] == [0, 1, 0]


def _leaf(number: int) -> dict[str, bytes]:
    return {"cpu": u32(number + 1)}


@pytest.mark.parametrize(
    ("cpu_map", "places"),
    [
        ({"cluster0": {"core0": _leaf(0), "core1": _leaf(1)}}, [(0, 0, 0, 0), (0, 0, 1, 0)]),
        ({"cluster1": {"core0": _leaf(0)}, "cluster0": {"core0": _leaf(1)}}, [(0, 1, 0, 0), (0, 0, 0, 0)]),
        ({"socket1": {"cluster0": {"core3": {"thread1": _leaf(1)}}}}, [None, (1, 0, 3, 1)]),
        (
            {
                "socket0": {
                    "cluster0": {"cluster0": {"core0": _leaf(0)}},
                    "cluster1": {"cluster0": {"core0": _leaf(1)}},
                }
            },
            [(0, 0, 0, 0), (0, 1, 0, 0)],
        ),
        (
            {
                "cluster0": {"core0": {"thread0": _leaf(0)}},
                "cluster1": {"cluster0": {"core0": {"thread0": _leaf(1)}}},
            },
            [(0, 0, 0, 0), (0, 1, 0, 0)],
        ),
        ({"core0": _leaf(0), "cluster0": {"core0": _leaf(1)}}, [None, (0, 0, 0, 0)]),
        ({"socket0": {"core0": _leaf(0)}, "cluster0": {"core0": _leaf(1)}}, [None, None]),
        ({"cluster0": {"core0": {**_leaf(0), "thread0": _leaf(1)}}}, [None, (0, 0, 0, 0)]),
        ({"cluster0": {"core0": _leaf(0), "core1": _leaf(0)}}, [(0, 0, 0, 0), None]),
        ({"cluster0": {"core00": _leaf(0), "corex": _leaf(1), "core0x": _leaf(1)}}, [None, None]),
        ({"cluster0": {"core0": {}, "core1": _leaf(98)}}, [None, None]),
        ({}, [None, None]),
    ],
)
def test_cpu_map_gives_places(cpu_map: _Tree, places: list[tuple[int, ...] | None]) -> None:
    """Linux v6.12 Documentation/devicetree/bindings/cpu/cpu-topology.txt; parse_dt_topology()."""
    cpus = {"cpu-map": cpu_map, "cpu@0": {"phandle": u32(1)}, "cpu@1": {"linux,phandle": u32(2)}}
    found = [(cpu.socket, cpu.cluster, cpu.core, cpu.thread) for cpu in _read(cpus).cpus]
    assert found == [place or (0, 0, -1, 0) for place in places]


_SOURCE = """/dts-v1/;
/ {
    #address-cells = <2>; #size-cells = <2>;
    psci { compatible = "arm,psci-1.0"; method = "smc"; };
    cpus {
        #address-cells = <1>; #size-cells = <0>;
        b: cpu@100 { device_type = "cpu"; reg = <0x100>; enable-method = "psci"; };
        a: cpu@0 { device_type = "cpu"; reg = <0>; enable-method = "psci"; };
        cpu-map { cluster0 { core0 { cpu = <&a>; }; }; cluster1 { core0 { cpu = <&b>; }; }; };
    };
};
"""


def test_a_source_is_read_through_dtc(tmp_path: Path) -> None:
    """dtc names the first CPU in the header when its reg has one cell."""
    if shutil.which("dtc") is None:
        pytest.skip("dtc is missing: apt-get install device-tree-compiler")
    path = tmp_path / "board.dts"
    path.write_text(_SOURCE)
    topology = read_dts(path)
    assert topology.name == str(path)
    assert [(cpu.hwid, cpu.cluster, cpu.core) for cpu in topology.cpus] == [(0x100, 1, 0), (0, 0, 0)]
    assert (topology.boot_cpu, topology.conduit) == (0, "smc")
    path.write_text(_SOURCE.replace("reg = <0>;", "reg = <0>"))
    with pytest.raises(
        InvalidCase, match=r"board\.dts: dtc: .*board\.dts:8\.\d+-\d+ syntax error; .*pass the \.dtb$"
    ):
        read_dts(path)


def test_dtc_keeps_what_we_write(tmp_path: Path) -> None:
    cpus = [Cpu(n, enable_method="psci", socket=n >> 2, core=n >> 1 & 1, thread=n & 1) for n in range(8)]
    topology = Topology("x.dtb", (*cpus, Cpu(1), Cpu(0x1_0000_0001)), boot_cpu=3)
    ours = tmp_path / "ours.dtb"
    ours.write_bytes(write_devicetree(topology, **_DRAM))
    assert read_dts(_dtc(ours, "-I", "dtb", "-O", "dts")).cpus == _named(topology)


def test_without_dtc_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "board.dts"
    with pytest.raises(InvalidCase, match=r"board\.dts: must be a file"):
        read_dts(path)
    path.write_text(_SOURCE)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InvalidCase, match=r"board\.dts: dtc is missing: apt-get install device-tree-compiler"
    ):
        read_dts(path)


@pytest.mark.parametrize(
    ("cpus", "rule"),
    [
        ({}, "/cpus: no CPU; where ACPI describes them, pass its tables"),
        ({"#address-cells": u32(3), "cpu@0": {}}, "/cpus: #address-cells=3: must be 1 or 2"),
        ({"#address-cells": u32(0), "cpu@0": {}}, "/cpus: #address-cells=0: must be 1 or 2"),
        (
            {"cpu@0": {"enable-method": b"psci"}},
            "/cpus/cpu@0: enable-method='psci': must be printable ASCII with",
        ),
        (
            {"cpu@0": {"enable-method": b"\n\0"}},
            r"/cpus/cpu@0: enable-method='\\n\\x00': must be printable ASCII",
        ),
        ({"cpu@\n": {}}, r"/cpus: node='cpu@\\n': must be printable ASCII without '/'"),
        ({"cpu@0/x": {}}, "/cpus: node='cpu@0/x': must be printable ASCII without '/'"),
        ({f"cpu@{number:x}": {} for number in range(4097)}, "/cpus: 4097 CPUs: NR_CPUS is 1..4096 on arm64"),
    ],
)
def test_a_tree_that_says_no_cpus_is_refused(cpus: _Tree, rule: str) -> None:
    with pytest.raises(InvalidCase, match=f"x.dtb: {rule}") as refused:
        _read(cpus)
    assert "\n" not in str(refused.value)


def test_the_stub_tree_of_acpi_is_refused() -> None:
    with pytest.raises(InvalidCase, match="x.dtb: /cpus: no CPU; where ACPI describes them, pass its tables"):
        read_devicetree(write_stub_devicetree(), "x.dtb")


_GOOD = _blob({"cpus": {"cpu@0": _reg(0)}})
_FIELDS = ["magic", "total", "structure", "strings", "reserve", "version", "compatible", "boot"]


def _patched(field: str, value: int) -> bytes:
    at = 4 * _FIELDS.index(field)
    return _GOOD[:at] + struct.pack(">I", value) + _GOOD[at + 4 :]


def _structure(*cells: int) -> bytes:
    structure = struct.pack(f">{len(cells)}I", *cells)
    size = 56 + len(structure)
    return (
        struct.pack(">10I", 0xD00DFEED, size, 56, size, 40, 17, 16, 0, 0, len(structure))
        + bytes(16)
        + structure
    )


@pytest.mark.parametrize(
    ("blob", "rule"),
    [
        (b"", "0 bytes: the header of a device tree blob has 40"),
        (_GOOD[:39], "39 bytes: the header"),
        (_GOOD[:-1], r"totalsize=\d+: at most 2 MiB \(booting.rst\) and the file's \d+"),
        (_patched("total", 2 << 20 | 1) + bytes(2 << 20), r"totalsize=2097153: at most 2 MiB"),
        (_patched("magic", 0xEDFE0DD0), "magic=0xedfe0dd0: a device tree blob begins with 0xd00dfeed"),
        (_patched("version", 15), "version=15, compatible=16: must be readable as 16 or 17"),
        (_patched("compatible", 18), "version=17, compatible=18: must be readable"),
        (_patched("structure", 0x10000), r"off_dt_struct=0x10000\+0x[0-9a-f]+: must lie in totalsize="),
        (_patched("strings", 0xFFFFFFFF), r"off_dt_strings=0xffffffff\+0x[0-9a-f]+: must lie in"),
        (_patched("reserve", 0xFFFFFFF0), r"off_mem_rsvmap=0xfffffff0\+0x10: must lie in"),
        (_patched("structure", 54), "off_dt_struct=0x36: must be 4-byte aligned"),
        (_structure(), "structure block at 0x0: must end with END"),
        (_structure(BEGIN_NODE, 0, END_NODE), "structure block at 0xc: must end with END"),
        (_structure(END), "END: must follow the end of the root node"),
        (_structure(BEGIN_NODE, 0, END), "END: must follow the end of the root node"),
        (_structure(END_NODE, END), "END_NODE: no node is open"),
        (
            _structure(BEGIN_NODE, 0, END_NODE, BEGIN_NODE, 0, END_NODE, END),
            "a second root: the tree has one",
        ),
        (_structure(PROP, 0, 0, END), "PROP: properties come before the children"),
        (
            _structure(BEGIN_NODE, 0, BEGIN_NODE, 0, END_NODE, PROP, 0, 0, END_NODE, END),
            "PROP: properties come before the children of a node",
        ),
        (_structure(BEGIN_NODE, 0, PROP, 0), "PROP: the block ends within it"),
        (_structure(BEGIN_NODE, 0, PROP, 5, 0, 0), "PROP of 0x5 bytes: must lie in the structure block"),
        (_structure(BEGIN_NODE, 0, PROP, 0, 0, END_NODE, END), "nameoff=0x0: must be a string"),
        (_structure(BEGIN_NODE, 0x61616161), "node name: must end with NUL within 255 bytes"),
        (_structure(BEGIN_NODE, *[0x61616161] * 64, 0), "node name: must end with NUL within 255 bytes"),
        (
            _structure(BEGIN_NODE, 0, 5, END_NODE, END),
            "token=0x5: must be BEGIN_NODE, END_NODE, PROP, NOP or END",
        ),
        (_structure(*[BEGIN_NODE, 0] * 65), "a node at depth 64: at most 64 levels"),
    ],
)
def test_a_damaged_blob_is_refused(blob: bytes, rule: str) -> None:
    """Devicetree Specification v0.4, chapter 5; Linux v6.12 Documentation/arch/arm64/booting.rst."""
    with pytest.raises(InvalidCase, match=f"x.dtb: .*{rule}") as refused:
        read_devicetree(blob, "x.dtb")
    assert "\n" not in str(refused.value)


def test_padding_nops_and_a_later_version_are_no_damage() -> None:
    """QEMU's blobs are padded inside totalsize, boot loaders' behind it; version 16 has no size_dt_struct."""
    nodes = (BEGIN_NODE, 0, NOP, BEGIN_NODE, 0x63707573, 0, BEGIN_NODE, 0x63707500, NOP, END_NODE, END_NODE)
    for blob in (
        _GOOD + bytes(3 << 20),
        _patched("version", 18),
        _patched("version", 16),
        _structure(NOP, *nodes, END_NODE, NOP, END, 5),
    ):
        assert len(read_devicetree(blob, "x.dtb").cpus) == 1
