"""The rows of :mod:`emu.debug.unwind` as a section .debug_frame.

Addresses are VAs, as those of the symbols: gdb relocates them with the file. What is known behind a call is
told from its second byte on: gdb asks about the caller of a function at the byte before the return address,
but about a CPU that stands at the call at its first one.

:source: DWARF Debugging Information Format, version 3, 6.4.1 and 7.23; DWARF for the Arm 64-bit Architecture
    (IHI 0057)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from emu.debug.unwind import LINK, SP, Row, Unwinding
from emu.subject import Subject

_SAME_VALUE, _UNDEFINED, _REGISTER = 0x08, 0x07, 0x09
_ADVANCE_4, _DEF_CFA_SF, _OFFSET_SF = 0x04, 0x12, 0x11
_NOP, _ADVANCE, _ADVANCE_MAX = b"\0", 0x40, 0x40
_CIE_ID, _VERSION = 0xFFFF_FFFF, 3
_U64 = 2**64 - 1

_Rule = tuple[str, int]
_Places = list[tuple[int, Row]]  # PA from which on it holds, and the row
_SAME: _Rule = ("same", 0)


def frame_section(subject: Subject) -> bytes:
    """Return the bytes of .debug_frame: a CIE, and an FDE for each symbol of code that is known."""
    unwinding = Unwinding(subject)
    section = bytearray(_entry(_CIE_ID, _cie()))
    for first, end, places in _functions(subject, unwinding):
        va = (first + subject.va_offset) & _U64
        body = struct.pack("<QQ", va, end - first) + _program(first, places)
        section += _entry(0, body)
    return bytes(section)


def _entry(pointer: int, body: bytes) -> bytes:
    # A CIE, or an FDE of the CIE at an offset; of a multiple of 8 bytes with its length.
    body += _NOP * (-(len(body) + 8) % 8)
    return struct.pack("<II", 4 + len(body), pointer) + body


def _cie() -> bytes:
    # CFA is SP, and all registers are the caller's; offsets are in bytes.
    head = bytes((_VERSION, 0)) + _uleb(1) + _sleb(1) + _uleb(LINK)
    return head + bytes((_DEF_CFA_SF,)) + _uleb(SP) + _sleb(0)


def _functions(subject: Subject, unwinding: Unwinding) -> Iterator[tuple[int, int, _Places]]:
    # (PA, PA of its end, its rows) of consecutive instructions under one symbol.
    symbols, offset = subject.symbols, subject.va_offset
    starts = {(va - offset) & _U64 for _, va in symbols} if unwinding.rows else set()
    places: _Places = []
    for pa in sorted(unwinding.rows):
        places.append((pa, unwinding.rows[pa]))
        behind = unwinding.row(pa + 4, called=True)
        if behind is not None:
            places.append((pa + 1, behind))
        if pa + 4 in starts or pa + 4 not in unwinding.rows:
            yield places[0][0], pa + 4, places
            places = []


def _program(first: int, places: _Places) -> bytes:
    # The instructions that take the CIE's row to each of the rows.
    program = bytearray()
    at, base = first, (SP, 0)
    rules: dict[int, _Rule] = {}
    for pa, row in places:
        changed = bytearray()
        if row.base != base:
            base = row.base
            changed += bytes((_DEF_CFA_SF,)) + _uleb(base[0]) + _sleb(base[1])
        outermost = row.where(LINK)[0] == "undefined"
        for register in (LINK,) if outermost else range(LINK + 1):
            rule = row.where(register)
            if rule != rules.get(register, _SAME):
                rules[register] = rule
                changed += _told(register, rule)
        if changed:
            program += _advanced(pa - at) + changed
            at = pa
    return bytes(program)


def _told(register: int, rule: _Rule) -> bytes:
    kind, value = rule
    if kind == "slot":
        return bytes((_OFFSET_SF,)) + _uleb(register) + _sleb(value)
    if kind == "register":
        return bytes((_REGISTER,)) + _uleb(register) + _uleb(value)
    return bytes((_SAME_VALUE if kind == "same" else _UNDEFINED,)) + _uleb(register)


def _advanced(delta: int) -> bytes:
    if not delta:
        return b""
    return bytes((_ADVANCE | delta,)) if delta < _ADVANCE_MAX else struct.pack("<BI", _ADVANCE_4, delta)


def _uleb(value: int) -> bytes:
    # Unsigned LEB128.
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _sleb(value: int) -> bytes:
    # Signed LEB128.
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value & 0x7F))
