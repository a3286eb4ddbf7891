"""DSDT: AML with one processor device per CPU, and a UART, as short as the AML compiler would write it.

Source: ACPI 6.5, chapter 20 (AML), 8.4 (processor devices, ACPI0007), 6.3.7 (_STA), 6.4 (resources). Only a
kernel that boots by itself executes it: it starts its AML interpreter long after the CPUs are up.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from emu.topology.acpi.table import make_table

SIGNATURE = "DSDT"
_REVISION = 2  # integers have 64 bits
_ZERO_OP, _ONE_OP, _NAME_OP, _BYTE, _WORD, _DWORD, _STRING = 0x00, 0x01, 0x08, 0x0A, 0x0B, 0x0C, 0x0D
_SCOPE_OP, _DEVICE_OP, _BUFFER_OP = b"\x10", b"\x5b\x82", b"\x11"
# Memory32Fixed, ReadWrite; Interrupt, consumer, level, active high, exclusive; the end.
_RESOURCES = struct.Struct("<BHBII BHBBI BB")
_MEMORY, _INTERRUPT, _END = (0x86, 9, 1), (0x89, 6, 1, 1), (0x79, 0)
_UART_HID, _UART_SIZE = b"ARMH0011", 0x1000
STA_PRESENT_NOT_ENABLED = 0x0D


def write_dsdt(cpus: Sequence[tuple[int, int | None]], uart: tuple[int, int] | None = None) -> bytes:
    r"""Return a DSDT with \_SB.C000, \_SB.C001 ... for these CPUs, at most 4,096, and \_SB.COM0.

    :param cpus: _UID (u32) and _STA (u8; None: no _STA, which means present and working) of each
    :param uart: PA (u32) and GSIV of a PL011; None: there is none
    """
    devices = b"".join(_device(index, uid, status) for index, (uid, status) in enumerate(cpus))
    if uart is not None:
        devices += _uart(*uart)
    return make_table(SIGNATURE, _REVISION, _SCOPE_OP + _package(b"_SB_" + devices))


def _device(index: int, uid: int, status: int | None) -> bytes:
    body = f"C{index:03X}".encode()
    body += _name("_HID", bytes([_STRING]) + b"ACPI0007\0") + _name("_UID", _integer(uid))
    if status is not None:
        body += _name("_STA", _integer(status))
    return _DEVICE_OP + _package(body)


def _uart(pa: int, gsiv: int) -> bytes:
    resources = _RESOURCES.pack(*_MEMORY, pa, _UART_SIZE, *_INTERRUPT, gsiv, *_END)
    body = b"COM0" + _name("_HID", bytes([_STRING]) + _UART_HID + b"\0") + _name("_UID", _integer(0))
    body += _name("_CRS", _BUFFER_OP + _package(_integer(len(resources)) + resources))
    return _DEVICE_OP + _package(body)


def _name(segment: str, value: bytes) -> bytes:
    return bytes([_NAME_OP]) + segment.encode() + value


def _integer(value: int) -> bytes:
    if value < 2:
        return bytes([(_ZERO_OP, _ONE_OP)[value]])
    for prefix, size in ((_BYTE, 1), (_WORD, 2), (_DWORD, 4)):
        if value < 1 << 8 * size:
            return bytes([prefix]) + value.to_bytes(size, "little")
    raise AssertionError(f"{value:#x} is no u32")


def _package(body: bytes) -> bytes:
    # PkgLength counts itself: one byte up to 63, else a nibble and one to three bytes (ACPI 6.5, 20.2.4).
    if len(body) + 1 < 1 << 6:
        return bytes([len(body) + 1]) + body
    for more in (1, 2, 3):
        total = len(body) + 1 + more
        if total < 1 << 4 + 8 * more:
            return bytes([more << 6 | total & 0xF]) + (total >> 4).to_bytes(more, "little") + body
    raise AssertionError(f"{len(body)} bytes do not fit a package")
