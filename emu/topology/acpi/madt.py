"""MADT (signature APIC): a GICC per CPU, the list that smp_init_cpus() walks.

Sources: ACPI 6.5, 5.2.12 (MADT), 5.2.12.14 (GICC), 5.2.12.15 (GICD), 5.2.12.17 (GICR); ACPI 5.1, 5.2.12.14
for the GICC of 76 bytes; Linux v6.12 arch/arm64/include/asm/acpi.h, BAD_MADT_GICC_ENTRY.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from emu.errors import InvalidCase
from emu.topology import check_count
from emu.topology.acpi.devices import AcpiDevices
from emu.topology.acpi.table import check_table, make_table, structures

SIGNATURE = "APIC"
ENABLED = 1 << 0
ONLINE_CAPABLE = 1 << 3
GICC_SIZE_MIN = 76  # ACPI 5.1; the kernel refuses shorter ones and takes longer ones
GICC_SIZES = (76, 80)  # that we write; ACPI 5.1, ACPI 6.3
_GICC, _GICD, _GICR = 11, 12, 14
_FIRST = 44  # behind the address of the local interrupt controller and the flags
_GICC_FIELDS = struct.Struct("<BBHIIIIIQQQQIQQ")
_GICD_FIELDS = struct.Struct("<BBHIQIB3x")
_GICR_FIELDS = struct.Struct("<BBHQI")
_REVISION = {76: 3, 80: 5}
# The addresses of QEMU's virt machine; below DRAM, and not accessed before the take-over.
_GICD_PA, _GICR_PA, _GICR_STRIDE = 0x0800_0000, 0x080A_0000, 128 << 10


class Gicc(NamedTuple):
    """One CPU of the MADT.

    :ivar interface: CPU interface number, u32
    :ivar uid: ACPI Processor UID, u32
    :ivar flags: u32; ENABLED, ONLINE_CAPABLE
    :ivar parking_version: of the parking protocol, u32; 0: not supported
    :ivar parked_address: PA of the mailbox, u64
    :ivar mpidr: u64 as listed, reserved bits included
    """

    interface: int
    uid: int
    flags: int
    parking_version: int
    parked_address: int
    mpidr: int


def write_madt(cpus: Sequence[Gicc], gicc_size: int = 80, devices: AcpiDevices | None = None) -> bytes:
    """Return a MADT with these GICCs in this order, a distributor and, of a GICv3, redistributor regions.

    :param gicc_size: bytes of each GICC, one of GICC_SIZES
    :param devices: where the GIC is; None: a GICv3 at the addresses of QEMU's virt machine
    :raises InvalidCase: another size
    """
    if gicc_size not in GICC_SIZES:
        raise InvalidCase(
            f"gicc_size={gicc_size}: a GICC is written with 76 (ACPI 5.1) or 80 bytes (ACPI 6.3)"
        )
    version, distributor, interface, redistributors = (
        devices[:4] if devices else (3, _GICD_PA, 0, ((_GICR_PA, _GICR_STRIDE * len(cpus)),))
    )
    parts = [struct.pack("<II", 0, 0)]
    for cpu in cpus:
        parking = (cpu.flags, cpu.parking_version, 0, cpu.parked_address)
        fields = (_GICC, gicc_size, 0, cpu.interface, cpu.uid, *parking, interface, 0, 0, 0, 0, cpu.mpidr)
        parts.append(_GICC_FIELDS.pack(*fields) + bytes(gicc_size - _GICC_FIELDS.size))
    parts.append(_GICD_FIELDS.pack(_GICD, _GICD_FIELDS.size, 0, 0, distributor, 0, version))
    parts += [_GICR_FIELDS.pack(_GICR, _GICR_FIELDS.size, 0, *region) for region in redistributors]
    return make_table(SIGNATURE, _REVISION[gicc_size], b"".join(parts))


def read_madt(data: bytes, name: str) -> tuple[Gicc, ...]:
    """Return the GICCs in the order of the table; other structures are skipped.

    :param name: of the file, for errors
    :raises InvalidCase: truncated or corrupt; a GICC that BAD_MADT_GICC_ENTRY refuses; not 1..4096 GICCs
    """
    table = check_table(data, name, SIGNATURE, _FIRST)
    found = []
    for at, kind, length in structures(table, _FIRST, "structure"):
        if kind != _GICC:
            continue
        if length < GICC_SIZE_MIN:
            raise InvalidCase(
                f"{name}: GICC at {at:#x} length={length}: must be at least {GICC_SIZE_MIN} (ACPI 5.1)"
            )
        _, _, _, interface, uid, flags, version, _, parked, _, _, _, _, _, mpidr = _GICC_FIELDS.unpack_from(
            data, at
        )
        found.append(Gicc(interface, uid, flags, version, parked, mpidr))
    check_count(len(found), f"{name}: GICCs")
    return tuple(found)
