"""The EFI tables that lead a kernel to the RSDP, read back as UEFI says."""

from __future__ import annotations

import struct
import uuid
import zlib

import pytest

from emu.errors import InvalidCase
from emu.host.efi import EFI_SIZE, GRANULE, RANGES_MAX, MemoryRange, MemoryType, memory_map, write_efi

_DRAM = (0x4000_0000, 0x1000_0000)
_KEPT = (0x4800_0000, 0x10_0000)
_EFI_PA = 0x4800_4000


def test_the_gaps_of_the_map_are_the_kernels_own() -> None:
    found = memory_map(dram=_DRAM, kept=[(0x4F00_0000, GRANULE), _KEPT], unmapped=[(0x4810_0000, GRANULE)])
    assert found == (
        MemoryRange(0x4000_0000, 0x800_0000, MemoryType.CONVENTIONAL),
        MemoryRange(*_KEPT, MemoryType.ACPI_RECLAIM),
        MemoryRange(0x4810_0000, GRANULE, MemoryType.RESERVED),
        MemoryRange(0x4811_0000, 0x6EF_0000, MemoryType.CONVENTIONAL),
        MemoryRange(0x4F00_0000, GRANULE, MemoryType.ACPI_RECLAIM),
        MemoryRange(0x4F01_0000, 0xFF_0000, MemoryType.CONVENTIONAL),
    )
    assert sum(each.size for each in found) == _DRAM[1]
    assert memory_map(dram=_DRAM, kept=[_DRAM]) == (MemoryRange(*_DRAM, MemoryType.ACPI_RECLAIM),)


def test_the_properties_of_chosen_lead_to_the_rsdp_and_the_map() -> None:
    """UEFI 2.10, 4.2, 4.3, 4.6, 7.2.3; Linux v6.12 Documentation/arch/arm/uefi.rst."""
    ranges = memory_map(dram=_DRAM, kept=[_KEPT])
    efi = write_efi(_EFI_PA, rsdp_pa=0x4800_0000, ranges=ranges)
    assert len(efi.data) <= EFI_SIZE
    chosen = {name.removeprefix("linux,uefi-"): int.from_bytes(value) for name, value in efi.chosen.items()}
    assert chosen == {
        "system-table": _EFI_PA,
        "mmap-start": _EFI_PA + 512,
        "mmap-size": 3 * 40,
        "mmap-desc-size": 40,
        "mmap-desc-ver": 1,
        "secure-boot": 2,
    }
    assert [len(value) for value in efi.chosen.values()] == [8, 8, 4, 4, 4, 4]
    signature, revision, size, crc, reserved = struct.unpack_from("<8sIIII", efi.data)
    assert (signature, revision, size, reserved) == (b"IBI SYST", 2 << 16 | 100, 120, 0)
    assert crc == zlib.crc32(efi.data[:16] + bytes(4) + efi.data[20:size])
    vendor, firmware_revision = struct.unpack_from("<QI", efi.data, 24)
    at = vendor - _EFI_PA
    assert (efi.data[at : at + 8].decode("utf-16-le"), firmware_revision) == ("emu\0", 1)
    assert efi.data[40:104] == bytes(64)  # no consoles, runtime or boot services
    count, tables = struct.unpack_from("<QQ", efi.data, 104)
    guid, rsdp = struct.unpack_from("<16sQ", efi.data, tables - _EFI_PA)
    assert (count, rsdp) == (2, 0x4800_0000)
    assert guid.hex() == "71e86888f1e4d311bc220080c73c8881"
    guid, properties = struct.unpack_from("<16sQ", efi.data, tables - _EFI_PA + 24)
    assert uuid.UUID(bytes_le=guid) == uuid.UUID("eb66918a-7eef-402a-842e-931d21c38ae9")
    # Version, length, and no runtime service that is supported.
    assert struct.unpack_from("<HHI", efi.data, properties - _EFI_PA) == (1, 8, 0)
    descriptors = list(struct.iter_unpack("<IIQQQQ", efi.data[512 : 512 + 120]))
    assert descriptors == [(each.type, 0, each.base_pa, 0, each.size // 4096, 8) for each in ranges]


@pytest.mark.parametrize(
    ("kept", "rule"),
    [
        ((0x4800_1000, GRANULE), r"acpi_reclaim=0x48001000\+0x10000: must be whole 64 KiB granules"),
        ((0x4800_0000, 4096), r"acpi_reclaim=0x48000000\+0x1000: must be whole 64 KiB granules"),
        ((0x4800_0000, 0), "must be whole 64 KiB granules of a 52-bit PA"),
        ((0x3FFF_0000, GRANULE), r"must lie in the rest of RAM, 0x40000000\.\.0x50000000"),
        ((0x4FFF_0000, 2 * GRANULE), r"must lie in the rest of RAM, 0x40000000\.\.0x50000000"),
    ],
)
def test_a_range_outside_of_ram_or_off_its_granule_is_refused(kept: tuple[int, int], rule: str) -> None:
    with pytest.raises(InvalidCase, match=rule):
        memory_map(dram=_DRAM, kept=[kept])


def test_ranges_that_overlap_are_refused() -> None:
    with pytest.raises(InvalidCase, match=r"must lie in the rest of RAM, 0x48100000\.\.0x50000000"):
        memory_map(dram=_DRAM, kept=[_KEPT], unmapped=[(0x480F_0000, GRANULE)])


def test_tables_outside_of_what_the_kernel_keeps_are_refused() -> None:
    ranges = memory_map(dram=_DRAM, kept=[_KEPT])
    for efi_pa, rsdp_pa, rule in (
        (0x4800_0010, 0x4800_0000, "base_pa=0x48000010: must be 4096-byte aligned"),
        (0x4700_0000, 0x4800_0000, "base_pa=0x47000000: its 16384 bytes must be in a range that"),
        (0x480F_D000, 0x4800_0000, "base_pa=0x480fd000: its 16384 bytes must be in a range that"),
        (_EFI_PA, 0x480F_FFE0, "rsdp_pa=0x480fffe0: its 36 bytes must be in a range that"),
    ):
        with pytest.raises(InvalidCase, match=rule):
            write_efi(efi_pa, rsdp_pa=rsdp_pa, ranges=ranges)


def test_the_largest_map_fits_its_place() -> None:
    kept = [(_DRAM[0] + 2 * number * GRANULE, GRANULE) for number in range(RANGES_MAX // 2)]
    ranges = memory_map(dram=(_DRAM[0], 2 * len(kept) * GRANULE), kept=kept)
    assert len(ranges) == RANGES_MAX
    assert len(write_efi(kept[0][0], rsdp_pa=kept[1][0], ranges=ranges).data) <= EFI_SIZE
    with pytest.raises(InvalidCase, match="ranges=257: at most 256"):
        write_efi(kept[0][0], rsdp_pa=kept[1][0], ranges=(*ranges, ranges[0]))
