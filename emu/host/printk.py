"""The guest's printk() as lines of our log (Linux v6.12 kernel/printk, lib/vsprintf.c, asm AAPCS64
varargs).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from emu.host.guest import Guest
from emu.machine import Machine

_CONVERSION = re.compile(r"%([-+ #0]*)(\d*)(?:\.(\d+))?(hh|h|ll|l|z|t|j)?([diuxXscp%])")
_LINE_MAX = 1024
_BITS = {"hh": 8, "h": 16, None: 32, "l": 64, "ll": 64, "z": 64, "t": 64, "j": 64}


def read_string(machine: Machine, guest: Guest, va: int) -> str:
    """Return the C string at a kernel VA, at most 1024 bytes of it."""
    pa = guest.pa_of(va)
    found = bytearray()
    while len(found) < _LINE_MAX and machine.memory.contains(pa, 1):
        byte = machine.memory.read(pa, 1)
        if not byte:
            break
        found.append(byte)
        pa += 1
    return found.decode("latin-1")


def format_message(text: str, next_argument: Callable[[], int], string_at: Callable[[int], str]) -> str:
    """Format as vsnprintf() does; arguments are u64, taken in order.

    Pointers (``%p`` and its extensions) are printed as hexadecimal: the kernel hashes most of them.
    """

    def convert(match: re.Match[str]) -> str:
        flags, width, precision, length, kind = match.groups()
        if kind == "%":
            return "%"
        value = next_argument()
        if kind == "s":
            shown = string_at(value)
            return f"%{flags}{width}{'.' + precision if precision else ''}s" % shown
        if kind == "c":
            return chr(value & 0xFF)
        bits = 64 if kind == "p" else _BITS[length]
        value &= (1 << bits) - 1
        if kind in "di" and value >> bits - 1:
            value -= 1 << bits
        code = {"u": "d", "i": "d", "p": "x"}.get(kind, kind)
        return f"%{flags}{width}{'.' + precision if precision else ''}{code}" % value

    return _CONVERSION.sub(convert, text)


def printk_message(machine: Machine, guest: Guest, cpu: int) -> str:
    """Return the message of a printk(fmt, ...) or panic(fmt, ...) at whose entry ``cpu`` stands."""
    pe = machine.actors[cpu].pe
    text = read_string(machine, guest, pe.x[0])
    if text.startswith("\x01"):
        text = text[2:]  # KERN_SOH and the level
    taken = 0

    def next_argument() -> int:
        # x1..x7, then the stack.
        nonlocal taken
        taken += 1
        if taken < 8:
            return pe.x[taken]
        return machine.memory.read(guest.pa_of(pe.sp + 8 * (taken - 8)), 8)

    return format_message(text, next_argument, lambda va: read_string(machine, guest, va)).rstrip("\n")
