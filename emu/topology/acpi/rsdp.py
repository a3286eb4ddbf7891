"""RSDP and XSDT: EFI's configuration table points to the RSDP, which points to the XSDT, the list of tables.

Sources: ACPI 6.5, 5.2.5.3 (RSDP), 5.2.8 (XSDT).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from emu.topology.acpi.table import checksum, make_table

RSDP_SIZE = 36
_RSDP = struct.Struct("<8sB6sBIIQB3x")
_FIRST_SIZE = 20  # what ACPI 1.0 had; the first checksum is over these bytes


def write_rsdp(xsdt_pa: int) -> bytes:
    """Return an RSDP of revision 2 (36 bytes, to be 16-byte aligned) that has no RSDT.

    :param xsdt_pa: u64, PA of the XSDT
    """
    fields = (b"EMU   ", 2, 0, RSDP_SIZE, xsdt_pa)
    first = checksum(_RSDP.pack(b"RSD PTR ", 0, *fields, 0)[:_FIRST_SIZE])
    all_of_it = checksum(_RSDP.pack(b"RSD PTR ", first, *fields, 0))
    return _RSDP.pack(b"RSD PTR ", first, *fields, all_of_it)


def write_xsdt(tables: Sequence[int]) -> bytes:
    """Return an XSDT that lists tables by their PAs (u64)."""
    return make_table("XSDT", 1, struct.pack(f"<{len(tables)}Q", *tables))
