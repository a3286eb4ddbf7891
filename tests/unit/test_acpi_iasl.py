"""ACPI's own compiler reads our tables, and we read its."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from emu.topology import Cpu, Topology
from emu.topology.acpi.devices import AcpiDevices
from emu.topology.acpi.pptt import ID_VALID, IS_THREAD, LEAF, PHYSICAL_PACKAGE
from emu.topology.acpi.read import read_acpi
from emu.topology.acpi.rsdp import write_rsdp
from emu.topology.acpi.write import write_acpi

_PLACES = [(socket, cluster, core, thread) for socket in (0, 1) for cluster in (0, 1) for core in (0, 1)
           for thread in (0, 1)]  # fmt: skip
_CPUS = tuple(
    Cpu(
        0x1_0000_0000 * socket | 0x1_0000 * cluster | 0x100 * core | thread,
        enabled=index != 9,
        enable_method="psci",
        uid=300 * index,
        socket=socket,
        cluster=cluster,
        core=core,
        thread=thread,
    )
    for index, (socket, cluster, core, thread) in enumerate(_PLACES)
)
_TOPOLOGY = Topology("t", _CPUS, conduit="hvc", firmware="acpi")
# What a compiler of tables writes of its own: checksum, its name and its revision.
_COMPILERS = {9, *range(28, 36)}


def _iasl(directory: Path, *arguments: str) -> str:
    iasl = shutil.which("iasl")
    if iasl is None:
        pytest.skip("iasl is missing: apt-get install acpica-tools")
    done = subprocess.run(
        [iasl, *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert not re.search(r"^(Error|Warning)\b|\b[1-9]\d* (Errors|Warnings)", output, re.MULTILINE), output
    return output


def _compile(directory: Path, name: str, text: str) -> None:
    (directory / f"{name}.dsl").write_text(text)
    _iasl(directory, "-p", name, f"{name}.dsl")
    (directory / f"{name}.dsl").unlink()


GICV3 = AcpiDevices(
    3, 0x800_0000, 0, ((0x80A_0000, 1 << 20), (1 << 38, 1 << 17)), (29, 30, 27, 26, 28), (0x900_0000, 33)
)
GICV2 = AcpiDevices(2, 0x800_0000, 0x801_0000, (), (29, 30, 27, 26, 28), (0x900_0000, 33))


@pytest.mark.parametrize("signature", ["APIC", "DSDT", "FACP", "PPTT", "XSDT", "GTDT", "SPCR"])
def test_iasl_compiles_its_disassembly_to_the_same_bytes(tmp_path: Path, signature: str) -> None:
    devices = GICV3 if signature in ("GTDT", "SPCR") else None
    table = write_acpi(_TOPOLOGY, 0x4800_0000, devices=devices).tables[signature]
    (tmp_path / "table.dat").write_bytes(table)
    _iasl(tmp_path, "-d", "table.dat")
    if "terminates early" in (tmp_path / "table.dsl").read_text():
        assert signature == "APIC"  # an iasl that knows longer GICCs writes only those
        return
    _iasl(tmp_path, "-p", "again", "table.dsl")
    again = (tmp_path / "again.aml").read_bytes()
    assert len(again) == len(table)
    assert {at for at, pair in enumerate(zip(again, table, strict=True)) if len(set(pair)) > 1} <= _COMPILERS


def test_iasl_reads_giccs_of_acpi_5_1(tmp_path: Path) -> None:
    (tmp_path / "table.dat").write_bytes(write_acpi(_TOPOLOGY, 0x4800_0000, gicc_size=76).tables["APIC"])
    _iasl(tmp_path, "-d", "table.dat")
    text = (tmp_path / "table.dsl").read_text()
    assert [int(mpidr, 16) for mpidr in re.findall(r"ARM MPIDR : (\w+)", text)] == [cpu.hwid for cpu in _CPUS]


def test_our_rsdp_is_the_one_that_iasl_makes(tmp_path: Path) -> None:
    _iasl(tmp_path, "-T", "RSDP")
    text = (tmp_path / "rsdp.asl").read_text().replace('"INTEL "', '"EMU   "')
    text = _with(text, {"XSDT Address": 0x1_4800_1240})
    _compile(tmp_path, "made", text)
    assert (tmp_path / "made.aml").read_bytes() == write_rsdp(0x1_4800_1240)


def test_iasl_sees_the_cpus_of_the_dsdt(tmp_path: Path) -> None:
    (tmp_path / "dsdt.dat").write_bytes(write_acpi(_TOPOLOGY, 0x4800_0000).tables["DSDT"])
    _iasl(tmp_path, "-d", "dsdt.dat")
    text = (tmp_path / "dsdt.dsl").read_text()
    assert re.findall(r"Device \((\w+)\)", text) == [f"C{number:03X}" for number in range(16)]
    assert text.count('Name (_HID, "ACPI0007"') == 16
    assert [int(uid, 0) if uid[0] == "0" else 0 for uid in re.findall(r"Name \(_UID, (\w+)\)", text)] == [
        300 * number for number in range(16)
    ]
    assert text.count("Name (_STA, Zero)") == 1


def _disassembled(directory: Path, signature: str, devices: AcpiDevices) -> str:
    (directory / "table.dat").write_bytes(write_acpi(_TOPOLOGY, 0, devices=devices).tables[signature])
    _iasl(directory, "-d", "table.dat")
    return re.sub(r" +", " ", (directory / "table.dsl").read_text())


@pytest.mark.parametrize(
    ("signature", "devices", "told"),
    [
        ("APIC", GICV3, ["Generic Interrupt Redistributor", "Length : 00100000", "Version : 03"]),
        ("APIC", GICV2, ["Base Address : 0000000008010000", "Version : 02"]),
        ("GTDT", GICV3, ["Secure EL1 Interrupt : 0000001D", "Non-Secure EL1 Interrupt : 0000001E"]),
        ("GTDT", GICV3, ["Virtual Timer Interrupt : 0000001B", "Non-Secure EL2 Interrupt : 0000001A"]),
        ("GTDT", GICV3, ["Virtual EL2 Timer GSIV : 0000001C", "Always On : 1"]),
        ("SPCR", GICV3, ["Interface Type : 03", "Address : 0000000009000000", "Interrupt : 00000021"]),
        ("DSDT", GICV3, ['Name (_HID, "ARMH0011")', "0x09000000, // Address Base", "0x00000021,"]),
    ],
)
def test_iasl_sees_the_devices_of_a_board(
    tmp_path: Path, signature: str, devices: AcpiDevices, told: list[str]
) -> None:
    text = _disassembled(tmp_path, signature, devices)
    assert [each for each in told if each not in text] == [], text


def _template(directory: Path, signature: str) -> list[str]:
    # The compiler's own example of a table: the head, then its structures.
    _iasl(directory, "-T", signature)
    file = directory / f"{signature.lower()}.asl"
    text = file.read_text()
    file.unlink()
    return re.split(r"(?=^.*Subtable Type : )", text, flags=re.MULTILINE)


def _with(text: str, values: dict[str, int]) -> str:
    # A field by a part of its name; " :" ends the name.
    for field, value in values.items():
        name = re.escape(field.removesuffix(" :")) + ("" if field.endswith(" :") else r"[^:\n]*")
        text, count = re.subn(rf"({name} : )\w+", rf"\g<1>{value:X}", text)
        assert count == 1, field
    return text


def test_tables_that_iasl_compiled_are_read_exactly(tmp_path: Path) -> None:
    """CPU 1 is off, CPU 2 parked; two are threads of a core, the third is a core of another cluster."""
    head, *structures = _template(tmp_path, "APIC")
    gicc, distributor = (
        next(text for text in structures if kind in text)
        for kind in ("[Generic Interrupt Controller]", "[Generic Interrupt Distributor]")
    )
    first = {"Processor UID": 0x10, "ARM MPIDR": 0x8000_0000, "Efficiency Class": 1}
    second = {"CPU Interface": 1, "Processor UID": 0x11, "Processor Enabled": 0, "ARM MPIDR": 1}
    third = {
        "CPU Interface": 4,
        "Processor UID": 0x20,
        "Performance Interrupt Trigger": 1,
        "Parking Protocol": 1,
        "Performance Interrupt :": 0x17,
        "Parked Address": 0x8_8000_1000,
        "Virtual GIC Interrupt :": 0x19,
        "ARM MPIDR": 0xAB_0001_0000,
        "SPE Overflow": 0x15,
    }
    giccs = [_with(gicc, values) for values in (first, second, third)]
    _compile(tmp_path, "apic", head + giccs[0] + distributor + giccs[1] + giccs[2])

    head, *structures = _template(tmp_path, "PPTT")
    node = next(text for text in structures if "[Processor Hierarchy Node]" in text)
    size = 0x18  # with the one private resource of the example
    package, left, right, core = (0x24 + number * size for number in range(4))
    leaf = ID_VALID | LEAF
    # Releases of iasl differ in whether the word or the bits below it count.
    nodes = [
        {"Flags": PHYSICAL_PACKAGE, "Physical package": 1},
        {"Parent": package},
        {"Parent": package},
        {"Parent": left},
        {
            "Parent": core,
            "Flags": leaf | IS_THREAD,
            "ID valid": 1,
            "is a thread": 1,
            "is a leaf": 1,
            "Processor ID :": 0x10,
        },
        {
            "Parent": core,
            "Flags": leaf | IS_THREAD,
            "ID valid": 1,
            "is a thread": 1,
            "is a leaf": 1,
            "Processor ID :": 0x11,
        },
        {"Parent": right, "Flags": leaf, "ID valid": 1, "is a leaf": 1, "Processor ID :": 0x20},
    ]
    _compile(
        tmp_path, "pptt", _with(head, {"  Revision :": 2}) + "".join(_with(node, each) for each in nodes)
    )

    cpus = (
        Cpu(0x8000_0000, uid=0x10, interface=0, core=0),
        Cpu(1, enabled=False, uid=0x11, interface=1, core=0, thread=1),
        Cpu(
            0xAB_0001_0000,
            enable_method="parking-protocol",
            release_addr=0x8_8000_1000,
            parking_version=1,
            uid=0x20,
            interface=4,
            cluster=1,
            core=0,
        ),
    )
    assert read_acpi(tmp_path) == Topology(str(tmp_path), cpus, firmware="acpi")


@pytest.mark.parametrize(("hvc", "conduit"), [(0, "smc"), (1, "hvc")])
def test_a_fadt_that_iasl_compiled_gives_psci_and_its_conduit(tmp_path: Path, hvc: int, conduit: str) -> None:
    flags = {"Hardware Reduced": 1, "PSCI Compliant": 1, "Must use HVC": hvc}
    text = _with("".join(_template(tmp_path, "FACP")), flags)
    _compile(tmp_path, "facp", text)
    (tmp_path / "APIC").write_bytes(write_acpi(_TOPOLOGY, 0x4800_0000).tables["APIC"])
    found = read_acpi(tmp_path)
    assert found.conduit == conduit
    assert {cpu.enable_method for cpu in found.cpus} == {"psci"}
