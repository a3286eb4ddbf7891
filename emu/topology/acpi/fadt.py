"""FADT (signature FACP): whether firmware has PSCI, by which conduit, and where the DSDT lies.

Sources: ACPI 6.5, 5.2.9 (FADT), 5.2.9.4 (ARM Architecture Boot Flags); Linux v6.12 arch/arm64/kernel/acpi.c,
acpi_fadt_sanity_check().
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from emu.errors import InvalidCase
from emu.topology.acpi.table import HEADER_SIZE, check_table, make_table

SIGNATURE = "FACP"
HW_REDUCED = 1 << 20
PSCI_COMPLIANT = 1 << 0
PSCI_USE_HVC = 1 << 1
_MAJOR, _MINOR, _SIZE = 6, 3, 276
_SIZE_MIN = 132  # up to the minor revision, which ACPI 5.1 put at 131
_PROFILE_AT, _FLAGS_AT, _ARM_FLAGS_AT, _X_DSDT_AT = 45, 112, 129, 140
_ENTERPRISE_SERVER = 4


class Fadt(NamedTuple):
    """The FADT's boot flags for starting CPUs.

    :ivar psci: PSCI_COMPLIANT
    :ivar conduit: of PSCI, "smc" or "hvc"; "" without PSCI
    """

    psci: bool
    conduit: str


def write_fadt(*, psci: bool, hvc: bool, dsdt_pa: int) -> bytes:
    """Return a FADT of revision 6.3 for a machine with reduced hardware.

    :param psci: firmware has PSCI; ``hvc``: its conduit is HVC, not SMC
    :param dsdt_pa: u64, PA of the DSDT
    """
    table = bytearray(_SIZE)
    table[_PROFILE_AT] = _ENTERPRISE_SERVER
    struct.pack_into("<I", table, _FLAGS_AT, HW_REDUCED)
    flags = PSCI_COMPLIANT * psci | PSCI_USE_HVC * (psci and hvc)
    struct.pack_into("<HB", table, _ARM_FLAGS_AT, flags, _MINOR)
    struct.pack_into("<Q", table, _X_DSDT_AT, dsdt_pa)
    return make_table(SIGNATURE, _MAJOR, bytes(table[HEADER_SIZE:]))


def read_fadt(data: bytes, name: str) -> Fadt:
    """Return the boot flags of a FADT.

    :param name: of the file, for errors
    :raises InvalidCase: truncated or corrupt, or a FADT for which the kernel disables ACPI
    """
    table = check_table(data, name, SIGNATURE, _SIZE_MIN)
    (flags,) = struct.unpack_from("<I", data, _FLAGS_AT)
    arm_flags, minor = struct.unpack_from("<HB", data, _ARM_FLAGS_AT)
    minor &= 0xF  # the high half is the errata level since ACPI 6.0
    if (table.revision, minor) < (5, 1) and not arm_flags:
        raise InvalidCase(f"{name}: revision={table.revision}.{minor}: arm64 needs 5.1 or newer")
    if not flags & HW_REDUCED:
        raise InvalidCase(f"{name}: flags={flags:#x}: arm64 needs HW_REDUCED_ACPI (bit 20)")
    psci = bool(arm_flags & PSCI_COMPLIANT)
    conduit = "hvc" if arm_flags & PSCI_USE_HVC else "smc"
    return Fadt(psci, conduit if psci else "")
