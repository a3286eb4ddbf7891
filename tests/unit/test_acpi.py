"""ACPI tables of a topology, and the topology of ACPI tables."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.acpi.fadt import read_fadt
from emu.topology.acpi.madt import Gicc, read_madt, write_madt
from emu.topology.acpi.pptt import ID_VALID, IS_THREAD, LEAF, PHYSICAL_PACKAGE, CpuPosition, read_pptt
from emu.topology.acpi.read import is_acpi, is_acpi_directory, read_acpi
from emu.topology.acpi.table import TABLE_SIZE_MAX, make_table, with_checksum
from emu.topology.acpi.write import AcpiTables, write_acpi

_BASE = 0x4800_0000
_PSCI = Topology("t", tuple(Cpu(0x100 * i, enable_method="psci") for i in range(4)), conduit="hvc")


def _write(directory: Path, tables: AcpiTables) -> Path:
    for signature, table in tables.tables.items():
        (directory / signature).write_bytes(table)
    return directory


def _gicc(number: int, mpidr: int, length: int = 80) -> bytes:
    fields = (11, length, 0, number, number, 1, 0, 0, 0, 0, 0, 0, 0, 0, mpidr)
    return struct.pack("<BBHIIIIIQQQQIQQ", *fields).ljust(length, b"\xff")[:length]


def _madt(*structures: bytes) -> bytes:
    return make_table("APIC", 5, bytes(8) + b"".join(structures))


def _node(flags: int, parent: int, uid: int = 0, resources: tuple[int, ...] = ()) -> bytes:
    size = 20 + 4 * len(resources)
    head = struct.pack("<BBHIIII", 0, size, 0, flags, parent, uid, len(resources))
    return head + struct.pack(f"<{len(resources)}I", *resources)


def _pptt(*nodes: bytes, revision: int = 2) -> bytes:
    return make_table("PPTT", revision, b"".join(nodes))


def test_the_rsdp_leads_to_every_table_and_all_checksums_hold() -> None:
    """ACPI 6.5, 5.2.5.3, 5.2.8, 5.2.9: RSDP, XSDT, FADT, and the DSDT by X_DSDT."""
    topology = replace(_PSCI, cpus=(*_PSCI.cpus, Cpu(7, core=0)))
    written = write_acpi(topology, _BASE)
    assert (written.base_pa, written.rsdp_pa) == (_BASE, _BASE)

    def at(pa: int) -> bytes:
        found = written.data[pa - _BASE :]
        (length,) = struct.unpack_from("<I", found, 4)
        assert sum(found[:length]) & 0xFF == 0
        assert pa % 64 == 0
        return found[:length]

    rsdp = written.data[:36]
    assert (rsdp[:8], rsdp[15]) == (b"RSD PTR ", 2)
    assert (sum(rsdp[:20]) & 0xFF, sum(rsdp) & 0xFF) == (0, 0)
    assert struct.unpack_from("<II", rsdp, 16) == (0, 36)
    xsdt = at(struct.unpack_from("<Q", rsdp, 24)[0])
    listed = [at(pa) for (pa,) in struct.iter_unpack("<Q", xsdt[36:])]
    assert [table[:4] for table in listed] == [b"FACP", b"APIC", b"PPTT"]
    dsdt = at(struct.unpack_from("<Q", listed[0], 140)[0])
    assert dsdt[:4] == b"DSDT"
    assert {table[:4].decode(): table for table in (xsdt, dsdt, *listed)} == written.tables


def test_a_machine_without_cores_said_has_no_pptt() -> None:
    assert "PPTT" not in write_acpi(_PSCI, _BASE).tables


@pytest.mark.parametrize("size", [76, 80])
def test_a_gicc_says_what_the_topology_says_of_its_cpu(size: int) -> None:
    """ACPI 6.5, table 5.36: flags Enabled (bit 0) and Online Capable (bit 3), parking, UID, MPIDR."""
    cpus = (
        Cpu(0x1_0000_0001, uid=9, interface=3),
        Cpu(1 << 24 | 5, enabled=False, online_capable=True),
        Cpu(2**64 - 1, enabled=False, release_addr=0x4F00_1000, parking_version=1),
        Cpu(5, online_capable=True),
    )
    table = write_acpi(Topology("t", cpus), _BASE, gicc_size=size).tables["APIC"]
    assert table[44:46] == bytes([11, size])
    assert table[8] == {76: 3, 80: 5}[size]
    assert read_madt(table, "f") == (
        Gicc(3, 9, 1, 0, 0, 0x1_0000_0001),
        Gicc(1, 1, 8, 0, 0, 1 << 24 | 5),
        Gicc(2, 2, 0, 1, 0x4F00_1000, 2**64 - 1),
        Gicc(3, 3, 9, 0, 0, 5),
    )


@pytest.mark.parametrize(
    ("method", "conduit", "psci"),
    [
        ("psci", "smc", (True, "smc")),
        ("psci", "hvc", (True, "hvc")),
        ("psci", "", (True, "smc")),
        ("", "hvc", (True, "hvc")),
        ("", "", (False, "")),
        ("parking-protocol", "hvc", (False, "")),
    ],
)
def test_the_fadt_says_psci_of_the_whole_machine(method: str, conduit: str, psci: tuple[bool, str]) -> None:
    """ACPI 6.5, table 5.11: PSCI_COMPLIANT, PSCI_USE_HVC."""
    topology = Topology("t", (Cpu(0, enable_method=method), Cpu(1, enable_method=method)), conduit=conduit)
    assert read_fadt(write_acpi(topology, _BASE).tables["FACP"], "f") == psci


def test_the_dsdt_has_a_device_per_cpu_with_minimal_integers() -> None:
    """ACPI 6.5, 20.2.3 (constants), 20.2.4 (package length)."""
    cpus = tuple(Cpu(uid, uid=uid) for uid in (0, 1, 0x30, 0x300, 0x30000))
    dsdt = write_acpi(Topology("t", cpus), _BASE).tables["DSDT"]
    for number, encoded in enumerate((b"\0", b"\1", b"\x0a\x30", b"\x0b\0\3", b"\x0c\0\0\3\0")):
        body = f"C{number:03X}".encode() + b"\x08_HID\x0dACPI0007\0\x08_UID" + encoded
        assert b"\x5b\x82" + bytes([len(body) + 1]) + body in dsdt
    big = write_acpi(Topology("t", tuple(Cpu(n) for n in range(4096))), _BASE).tables["DSDT"]
    length = len(big) - 37
    assert big[37:40] == bytes([2 << 6 | length & 15, length >> 4 & 255, length >> 12])


def test_a_value_that_no_table_can_hold_is_refused() -> None:
    for changes, rule in (
        ({"uid": 1 << 32}, "uid=0x100000000: a GICC has 32 bits for it"),
        ({"interface": -2}, "interface=-0x2: a GICC has 32 bits for it"),
        ({"release_addr": -1}, "release_addr=-0x1: a GICC has 64 bits for it"),
        ({"parking_version": 1 << 32}, "parking_version=0x100000000: a GICC has 32 bits for it"),
        ({"enable_method": "spin-table"}, "enable_method='spin-table': ACPI has psci and parking-protocol"),
    ):
        cpu = replace(Cpu(1), **changes)
        with pytest.raises(InvalidCase) as refused:
            write_acpi(Topology("t", (Cpu(0), cpu)), _BASE)
        assert str(refused.value) == f"topology t: cpus[1] {rule}"
    mixed = (Cpu(0, enable_method="psci"), Cpu(1, enable_method="parking-protocol"))
    with pytest.raises(InvalidCase, match="a FADT has PSCI for all or none"):
        write_acpi(Topology("t", mixed), _BASE)
    with pytest.raises(InvalidCase, match="base_pa=0x4: must be a 52-bit PA, 64-byte aligned"):
        write_acpi(_PSCI, 4)
    with pytest.raises(InvalidCase, match="gicc_size=82"):
        write_acpi(_PSCI, _BASE, gicc_size=82)


def test_a_directory_reads_back_as_the_topology_that_was_written(tmp_path: Path) -> None:
    places = [(0, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (1, 0, 1, 0)]
    cpus = tuple(
        Cpu(
            0x100 * index,
            enabled=index != 2,
            online_capable=index == 2,
            enable_method="psci",
            uid=40 + index,
            interface=index,
            socket=socket,
            cluster=cluster,
            core=core,
            thread=thread,
        )
        for index, (socket, cluster, core, thread) in enumerate(places)
    )
    topology = Topology(str(tmp_path), cpus, conduit="smc", firmware="acpi")
    assert read_acpi(_write(tmp_path, write_acpi(topology, _BASE))) == topology


def test_a_madt_alone_says_nothing_of_psci_and_cores(tmp_path: Path) -> None:
    file = tmp_path / "apic.dat"
    file.write_bytes(write_acpi(_PSCI, _BASE).tables["APIC"])
    found = read_acpi(file)
    assert (found.name, found.conduit, found.firmware, found.boot_cpu) == (str(file), "", "acpi", 0)
    assert [(cpu.hwid, cpu.enable_method, cpu.core) for cpu in found.cpus] == [
        (0x100 * i, "", -1) for i in range(4)
    ]


def test_parking_needs_an_address_and_a_version(tmp_path: Path) -> None:
    """Linux v6.12 arch/arm64/kernel/acpi_parking_protocol.c, acpi_parking_protocol_valid()."""
    giccs = [Gicc(0, 0, 1, 1, 0x1000, 0), Gicc(1, 1, 1, 0, 0x2000, 1), Gicc(2, 2, 1, 1, 0, 2)]
    file = tmp_path / "APIC"
    file.write_bytes(write_madt(giccs))
    assert [cpu.enable_method for cpu in read_acpi(file).cpus] == ["parking-protocol", "", ""]


@pytest.mark.parametrize(("flags", "boot_cpu"), [([0, 8, 1, 1], 2), ([0, 8, 0], 0), ([9, 1], 0)])
def test_the_boot_cpu_is_the_first_enabled_or_the_first(
    tmp_path: Path, flags: list[int], boot_cpu: int
) -> None:
    file = tmp_path / "APIC"
    file.write_bytes(write_madt([Gicc(i, i, flag, 0, 0, i) for i, flag in enumerate(flags)]))
    assert read_acpi(file).boot_cpu == boot_cpu


@pytest.mark.parametrize("length", [76, 80, 82, 88, 255])
def test_giccs_of_every_revision_since_5_1_are_read(length: int) -> None:
    """The kernel takes any length from 76 on (BAD_MADT_GICC_ENTRY): later revisions only append."""
    table = _madt(_gicc(0, 5, length), struct.pack("<BBHIQI4x", 12, 24, 0, 0, 0, 0), _gicc(1, 6, length))
    assert [gicc.mpidr for gicc in read_madt(table, "f")] == [5, 6]


_SHORT_MADT = _madt(_gicc(0, 0))


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "signature=b'': a APIC table begins with APIC"),
        (b"FACP", "signature=b'FACP': a APIC table begins with APIC"),
        (b"APIC", "size=4: APIC has at least 44 bytes"),
        (_SHORT_MADT[:-1], "length=124: the file has 123 bytes"),
        (_SHORT_MADT + b"\0", "length=124: the file has 125 bytes"),
        (_SHORT_MADT[:-1] + b"\0", "checksum=0x"),
        (_madt(), "GICCs=0: NR_CPUS is 1..4096"),
        (_madt(*[_gicc(0, 0)] * 4097), "GICCs=4097: NR_CPUS is 1..4096"),
        (_madt(_gicc(0, 0, 75)), "GICC at 0x2c length=75: must be at least 76 (ACPI 5.1)"),
        (_madt(_gicc(0, 0), b"\x0b\x50"), "structure at 0x7c length=80: runs past the end, 0x7e"),
        (_madt(_gicc(0, 0), b"\x0b"), "structure at 0x7c: type and length run past the end, 0x7d"),
        (_madt(_gicc(0, 0), b"\x0b\x00"), "structure at 0x7c length=0: its header alone has 2 bytes"),
        (_madt(b"\x0c\x01"), "structure at 0x2c length=1: its header alone has 2 bytes"),
    ],
)
def test_a_broken_madt_is_refused_in_one_line(data: bytes, rule: str) -> None:
    with pytest.raises(InvalidCase) as refused:
        read_madt(data, "apic.dat")
    assert str(refused.value).startswith(f"apic.dat: {rule}")
    assert "\n" not in str(refused.value)


def _fadt(revision: int, minor: int, flags: int, arm: int) -> bytes:
    table = bytearray(276)
    struct.pack_into("<I", table, 112, flags)
    struct.pack_into("<HB", table, 129, arm, minor)
    return make_table("FACP", revision, bytes(table[36:]))


def test_a_fadt_is_taken_and_refused_as_by_the_kernel() -> None:
    """Linux v6.12 arch/arm64/kernel/acpi.c, acpi_fadt_sanity_check()."""
    reduced = 1 << 20
    assert read_fadt(_fadt(5, 1, reduced, 0), "f") == (False, "")
    assert read_fadt(_fadt(5, 0, reduced, 1), "f") == (True, "smc")  # "assuming 5.1"
    assert read_fadt(_fadt(6, 0x21, reduced, 3), "f") == (True, "hvc")
    assert read_fadt(_fadt(6, 0, reduced, 2), "f") == (False, "")
    for table, rule in (
        (_fadt(5, 0x10, reduced, 0), "f: revision=5.0: arm64 needs 5.1 or newer"),
        (_fadt(4, 1, reduced, 0), "f: revision=4.1: arm64 needs 5.1 or newer"),
        (_fadt(6, 3, 0, 1), "f: flags=0x0: arm64 needs HW_REDUCED_ACPI (bit 20)"),
        (make_table("FACP", 6, bytes(95)), "f: size=131: FACP has at least 132 bytes"),
    ):
        with pytest.raises(InvalidCase) as refused:
            read_fadt(table, "f")
        assert str(refused.value) == rule


def test_the_pptt_of_another_firmware_is_numbered_in_the_order_of_the_table() -> None:
    """No clusters in the first socket, a level above the clusters of the second, caches in between."""
    cache = bytes([1, 24]) + bytes(22)
    first = 36 + len(cache)
    nodes = [
        _node(PHYSICAL_PACKAGE, 0),  # first
        _node(ID_VALID | LEAF, first, 7, (36,)),  # + 20
        _node(ID_VALID | LEAF, first, 3),  # + 44
        _node(0, 0),  # + 64, root of the second
        _node(PHYSICAL_PACKAGE, first + 64),  # + 84
        _node(0, first + 84),  # + 104, die
        _node(0, first + 104),  # + 124, cluster
        _node(0, first + 124),  # + 144, core
        _node(ID_VALID | LEAF | IS_THREAD, first + 144, 1),
        _node(ID_VALID | LEAF | IS_THREAD, first + 144, 2),
        _node(ID_VALID | LEAF | IS_THREAD, first + 144, 7),  # a second leaf of this UID
        _node(LEAF, first + 124, 4),
    ]
    assert read_pptt(_pptt(cache, *nodes), "f") == {
        7: CpuPosition(0, 0, 0, 0),
        3: CpuPosition(0, 0, 1, 0),
        1: CpuPosition(1, 0, 0, 0),
        2: CpuPosition(1, 0, 0, 1),
        4: CpuPosition(1, 0, 1, 0),
    }


def test_in_revision_1_a_leaf_is_nobodys_parent_and_there_are_no_threads() -> None:
    """Linux v6.12 drivers/acpi/pptt.c, acpi_pptt_leaf_node(): LEAF came with revision 2."""
    table = _pptt(
        _node(PHYSICAL_PACKAGE, 0),
        _node(0, 36),
        _node(ID_VALID, 56, 5),
        _node(ID_VALID | IS_THREAD, 56, 6),
        revision=1,
    )
    assert read_pptt(table, "f") == {5: CpuPosition(0, 0, 0, 0), 6: CpuPosition(0, 0, 1, 0)}


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (
            _pptt(_node(0, 56), _node(LEAF, 36)),
            "at 0x38 parent=0x24: more than 32 levels above it; parents must not loop",
        ),
        (
            _pptt(_node(LEAF, 36)),
            "at 0x24 parent=0x24: more than 32 levels above it; parents must not loop",
        ),
        (_pptt(_node(LEAF, 37)), "at 0x24 parent=0x25: not the start of one"),
        (_pptt(_node(0, 0x8000_0000)), "at 0x24 parent=0x80000000: not the start of one"),
        (_pptt(_node(0, 0) + bytes(4)), "structure at 0x38 length=0: its header alone has 2 bytes"),
        (
            _pptt(b"\0\x18" + _node(0, 0)[2:] + bytes(4)),
            "at 0x24 length=24: must be 20 and 4 for each of 0 private resources",
        ),
        (_pptt(b"\0\x04\0\0"), "at 0x24 length=4: must be 20 and 4 for each of 0 private resources"),
    ],
)
def test_a_broken_pptt_is_refused_in_one_line(table: bytes, rule: str) -> None:
    with pytest.raises(InvalidCase) as refused:
        read_pptt(table, "pptt.dat")
    assert str(refused.value).startswith("pptt.dat: ")
    assert str(refused.value).endswith(rule)


def test_a_file_is_known_by_the_signature_inside(tmp_path: Path) -> None:
    tables = write_acpi(replace(_PSCI, cpus=(Cpu(0, core=0), Cpu(1, core=1))), _BASE).tables
    assert [signature for signature, table in tables.items() if is_acpi(table)] == ["FACP", "APIC", "PPTT"]
    assert not is_acpi(b"{}")
    assert not is_acpi_directory(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "notes").write_text("none")
    (tmp_path / "x.aml").write_bytes(tables["APIC"])
    assert is_acpi_directory(tmp_path)
    assert len(read_acpi(tmp_path).cpus) == 2


def test_what_is_wrong_with_a_directory_or_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidCase, match="signature=APIC: no file with it"):
        read_acpi(tmp_path)
    table = write_acpi(_PSCI, _BASE).tables["APIC"]
    (tmp_path / "a").write_bytes(table)
    (tmp_path / "b").write_bytes(table)
    with pytest.raises(InvalidCase, match=r"b: signature=APIC: .*a is one too; leave one"):
        read_acpi(tmp_path)
    with pytest.raises(InvalidCase, match="none: cannot be read: No such file"):
        read_acpi(tmp_path / "none")
    (tmp_path / "b").write_bytes(b"APIC" + bytes(TABLE_SIZE_MAX))
    with pytest.raises(InvalidCase, match=f"a table here has at most {TABLE_SIZE_MAX} bytes"):
        read_acpi(tmp_path / "b")


def test_with_checksum_repairs_a_changed_table() -> None:
    table = bytearray(_SHORT_MADT)
    table[112] = 9
    assert read_madt(with_checksum(bytes(table)), "f")[0].mpidr == 9
