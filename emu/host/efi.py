"""EFI as the kernel meets it after ExitBootServices(): a system table, a configuration table, a memory map.

This is how an arm64 kernel finds the RSDP. To boot one from ACPI:

1. ``tables = write_acpi(topology, firmware_pa)``; ``tables.data`` goes there.
2. ``efi_pa`` is the end of ``tables.data``, aligned to PAGE. EFI_SIZE bytes from there and the tables lie in
   one range, aligned to GRANULE at both ends: 1 MiB holds those of 4,096 CPUs.
3. ``ranges = memory_map(dram=(pa, size), kept=[that range, what the host keeps for itself])``. Mailboxes of
   the parking protocol may go into ``unmapped``: a kernel that runs maps them itself, which it cannot do with
   RAM of its own. Up to the take-over it does not look.
4. ``efi = write_efi(efi_pa, rsdp_pa=tables.rsdp_pa, ranges=ranges)``; ``efi.data`` goes to efi_pa.
5. The device tree is a stub: a root with ``#address-cells`` and ``#size-cells`` of 2, and below it only
   /chosen with ``bootargs`` and each property of ``efi.chosen``. A node besides /chosen makes the kernel take
   the device tree unless bootargs has ``acpi=on`` or ``acpi=force``; memory nodes it forgets in any case.
6. A kernel without the symbols ``acpi_boot_table_init`` and ``efi_init`` finds no memory and panics.

Sources: UEFI 2.10, 4.2 (EFI table header), 4.3 (system table), 4.6 (configuration table,
EFI_RT_PROPERTIES_TABLE), 7.2.3 (memory map), 2.3.6 (AArch64); Linux v6.12
drivers/firmware/efi/fdtparams.c, efi-init.c; Documentation/arch/arm/uefi.rst.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from emu.errors import InvalidCase

PAGE = 4096  # EFI's page, whatever the kernel's is
GRANULE = 64 << 10  # ranges of one type are whole pages of every kernel (UEFI 2.10, 2.3.6)
EFI_SIZE = 4 * PAGE  # bytes to keep for what write_efi() gives
RANGES_MAX = 256
ACPI_20_TABLE_GUID = uuid.UUID("8868e871-e4f1-11d3-bc22-0080c73c8881")
RT_PROPERTIES_TABLE_GUID = uuid.UUID("eb66918a-7eef-402a-842e-931d21c38ae9")
_SIGNATURE = int.from_bytes(b"IBI SYST", "little")
_REVISION = 2 << 16 | 100  # 2.10
_WB = 1 << 3  # EFI_MEMORY_WB
_SECURE_BOOT_DISABLED = 2  # enum efi_secureboot_mode
_VENDOR = "emu"
_SYSTEM_TABLE = struct.Struct("<QIIIIQIIQQQQQQQQQQ")
_DESCRIPTOR = struct.Struct("<IIQQQQ")
_DESCRIPTOR_VERSION = 1
_TABLES = 2  # of the configuration table
_RT_PROPERTIES = struct.Struct("<HHI")
_RT_PROPERTIES_VERSION = 1
_MAP_AT, _CONFIGURATION_AT, _RT_PROPERTIES_AT, _VENDOR_AT = 512, 128, 192, 256


class MemoryType(IntEnum):
    """EFI_MEMORY_TYPE, those that are used (UEFI 2.10, 7.2.1), and what the kernel makes of such memory."""

    RESERVED = 0  # RAM that it knows and does not map
    CONVENTIONAL = 7  # its own
    ACPI_RECLAIM = 9  # mapped like its own, never handed out


class MemoryRange(NamedTuple):
    """Part of RAM: PA and bytes, both multiples of GRANULE, and its type."""

    base_pa: int
    size: int
    type: MemoryType


@dataclass(frozen=True, slots=True)
class Efi:
    """What the kernel reads.

    :ivar data: to be placed at the ``base_pa`` given; at most EFI_SIZE bytes
    :ivar chosen: properties of /chosen in the order of the kernel's list, values as the device tree has them
    """

    data: bytes
    chosen: Mapping[str, bytes]


def memory_map(
    *,
    dram: tuple[int, int],
    kept: Sequence[tuple[int, int]] = (),
    unmapped: Sequence[tuple[int, int]] = (),
) -> tuple[MemoryRange, ...]:
    """Return the ranges of RAM by address, gaps filled with conventional memory.

    :param dram: PA and bytes of all RAM
    :param kept: (PA, bytes) that the kernel maps and never hands out: the tables, what the host keeps
    :param unmapped: (PA, bytes) that the kernel leaves out of its linear map
    :raises InvalidCase: not multiples of 64 KiB, outside of RAM, or overlapping
    """
    taken = [MemoryRange(*each, MemoryType.ACPI_RECLAIM) for each in kept]
    taken += [MemoryRange(*each, MemoryType.RESERVED) for each in unmapped]
    return tuple(_filled(dram, sorted(taken)))


def _filled(dram: tuple[int, int], taken: Sequence[MemoryRange]) -> Iterator[MemoryRange]:
    at, end = dram[0], dram[0] + dram[1]
    _check_range("dram", *dram)
    for each in taken:
        _check_range(each.type.name.lower(), each.base_pa, each.size)
        if each.base_pa < at or each.base_pa + each.size > end:
            raise InvalidCase(
                f"{each.type.name.lower()}={each.base_pa:#x}+{each.size:#x}: must lie in the rest of RAM, "
                f"{at:#x}..{end:#x}"
            )
        if each.base_pa > at:
            yield MemoryRange(at, each.base_pa - at, MemoryType.CONVENTIONAL)
        yield each
        at = each.base_pa + each.size
    if at < end:
        yield MemoryRange(at, end - at, MemoryType.CONVENTIONAL)


def _check_range(name: str, base_pa: int, size: int) -> None:
    if base_pa < 0 or size <= 0 or base_pa + size > 1 << 52 or (base_pa | size) % GRANULE:
        raise InvalidCase(f"{name}={base_pa:#x}+{size:#x}: must be whole 64 KiB granules of a 52-bit PA")


def write_efi(base_pa: int, *, rsdp_pa: int, ranges: Sequence[MemoryRange]) -> Efi:
    """Return the system table, the configuration table with the RSDP, and the memory map.

    There are no runtime services, and a table that says so: without it a kernel calls them.

    :param base_pa: 4 KiB aligned; EFI_SIZE bytes from there must be of type ACPI_RECLAIM
    :param rsdp_pa: PA of the RSDP, in memory of type ACPI_RECLAIM
    :param ranges: all RAM, see :func:`memory_map`
    :raises InvalidCase: a value breaks its rule
    """
    if base_pa % PAGE:
        raise InvalidCase(f"base_pa={base_pa:#x}: must be {PAGE}-byte aligned")
    if len(ranges) > RANGES_MAX:
        raise InvalidCase(f"ranges={len(ranges)}: at most {RANGES_MAX}")
    for name, pa, size in (("base_pa", base_pa, EFI_SIZE), ("rsdp_pa", rsdp_pa, 36)):
        if not _is_kept(ranges, pa, size):
            raise InvalidCase(f"{name}={pa:#x}: its {size} bytes must be in a range that the kernel keeps")
    data = bytearray(_MAP_AT)
    data[: _SYSTEM_TABLE.size] = _system_table(base_pa)
    tables = ((ACPI_20_TABLE_GUID, rsdp_pa), (RT_PROPERTIES_TABLE_GUID, base_pa + _RT_PROPERTIES_AT))
    configuration = b"".join(guid.bytes_le + struct.pack("<Q", pa) for guid, pa in tables)
    data[_CONFIGURATION_AT : _CONFIGURATION_AT + len(configuration)] = configuration
    _RT_PROPERTIES.pack_into(data, _RT_PROPERTIES_AT, _RT_PROPERTIES_VERSION, _RT_PROPERTIES.size, 0)
    vendor = _VENDOR.encode("utf-16-le") + bytes(2)
    data[_VENDOR_AT : _VENDOR_AT + len(vendor)] = vendor
    for each in ranges:
        data += _DESCRIPTOR.pack(each.type, 0, each.base_pa, 0, each.size // PAGE, _WB)
    assert len(data) <= EFI_SIZE
    chosen = {
        "linux,uefi-system-table": struct.pack(">Q", base_pa),
        "linux,uefi-mmap-start": struct.pack(">Q", base_pa + _MAP_AT),
        "linux,uefi-mmap-size": struct.pack(">I", _DESCRIPTOR.size * len(ranges)),
        "linux,uefi-mmap-desc-size": struct.pack(">I", _DESCRIPTOR.size),
        "linux,uefi-mmap-desc-ver": struct.pack(">I", _DESCRIPTOR_VERSION),
        # Without it the kernel forgets the rest.
        "linux,uefi-secure-boot": struct.pack(">I", _SECURE_BOOT_DISABLED),
    }
    return Efi(bytes(data), chosen)


def _is_kept(ranges: Sequence[MemoryRange], pa: int, size: int) -> bool:
    return any(
        each.type is MemoryType.ACPI_RECLAIM and each.base_pa <= pa and pa + size <= each.base_pa + each.size
        for each in ranges
    )


def _system_table(base_pa: int) -> bytes:
    def packed(crc: int) -> bytes:
        # No console, no runtime and no boot services: seven pointers and handles, and two more, are 0.
        header = (_SIGNATURE, _REVISION, _SYSTEM_TABLE.size, crc, 0)
        pointers = (0,) * 8
        return _SYSTEM_TABLE.pack(
            *header, base_pa + _VENDOR_AT, 1, 0, *pointers, _TABLES, base_pa + _CONFIGURATION_AT
        )

    return packed(zlib.crc32(packed(0)))
