"""The devices of a board as ACPI tables name them: GTDT for the timers, SPCR for the console.

Sources: ACPI 6.5, 5.2.25 (GTDT); Microsoft, Serial Port Console Redirection Table, revision 2; Linux v6.12
Documentation/arch/arm64/arm-acpi.rst, drivers/acpi/spcr.c.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from emu.topology.acpi.table import make_table

GTDT, SPCR = "GTDT", "SPCR"
_NO_ADDRESS = 2**64 - 1
_ALWAYS_ON = 1 << 2  # level-triggered and active high are 0
_TIMERS = struct.Struct("<QI8IQII2I")
_PL011, _GIC, _BAUD_115200, _STOP_BITS = 3, 1 << 3, 7, 1
_SYSTEM_MEMORY, _BITS, _DWORD = 0, 32, 3
# Interface; GAS; interrupt type, IRQ, GSIV; baud, parity, stop bits, flow, terminal, language; PCI, none.
_CONSOLE = struct.Struct("<B3x4BQ2BI6BHH3BIBI")


class AcpiDevices(NamedTuple):
    """Where the devices are (PA, bytes) and which GSIVs (INTIDs) they have.

    :ivar gic_version: 2 or 3
    :ivar distributor_pa: of the GIC
    :ivar cpu_interface_pa: of a GICv2; 0: it is reached by system registers
    :ivar redistributors: PA and bytes of each region of redistributors of a GICv3
    :ivar timers: GSIVs: Secure physical, physical, virtual, hypervisor's, hypervisor's virtual
    :ivar uart: PA and GSIV of a PL011
    """

    gic_version: int
    distributor_pa: int
    cpu_interface_pa: int
    redistributors: tuple[tuple[int, int], ...]
    timers: tuple[int, int, int, int, int]
    uart: tuple[int, int]


def write_gtdt(timers: tuple[int, int, int, int, int]) -> bytes:
    """Return a GTDT of revision 3 with the GSIVs of these timers: level-triggered, active high, always on."""
    *first, last = ((gsiv, _ALWAYS_ON) for gsiv in timers)
    body = _TIMERS.pack(
        _NO_ADDRESS, 0, *(value for pair in first for value in pair), _NO_ADDRESS, 0, 0, *last
    )
    return make_table(GTDT, 3, body)


def write_spcr(uart: tuple[int, int]) -> bytes:
    """Return an SPCR of revision 2: the console is the PL011 at this PA, with this GSIV, at 115,200 baud."""
    pa, gsiv = uart
    body = _CONSOLE.pack(
        *(_PL011, _SYSTEM_MEMORY, _BITS, 0, _DWORD, pa),
        *(_GIC, 0, gsiv),
        *(_BAUD_115200, 0, _STOP_BITS, 0, 0, 0),
        *(0xFFFF, 0xFFFF, 0, 0, 0, 0, 0, 0),
    )
    return make_table(SPCR, 2, body)
