"""The guest's printk() as lines of our log, and what these lines say of CPUs.

Source: Linux v6.12 kernel/printk, lib/vsprintf.c; AAPCS64 for the variable arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from emu.host.guest import Guest
from emu.machine import Machine
from emu.operation import Report, Reported

_CONVERSION = re.compile(r"%([-+ #0]*)(\d*)(?:\.(\d+))?(hh|h|ll|l|z|t|j)?([diuxXscp%])")
# Source: Linux v6.12 kernel/cpu.c, drivers/firmware/psci/psci.c, arch/arm64/kernel/smp.c and mm/fault.c.
_OF_CPU = re.compile(r"(?:psci: )?CPU(\d+):? (.*)")
_REPORTS = (
    (re.compile(r"Booted secondary processor"), Report.BOOTED),
    (re.compile(r"failed to report alive state$"), Report.NOT_ALIVE),
    (re.compile(r"failed to come online$"), Report.NOT_ONLINE),
    (re.compile(r"is stuck"), Report.STUCK),
    (re.compile(r"does not support 52-bit VAs"), Report.NO_52_BIT_VA),
    (re.compile(r"does not support (\d+)K granule"), Report.NO_GRANULE),
    (re.compile(r"died during"), Report.DIED),
    (re.compile(r"may not have"), Report.UNCLEAN),
    (re.compile(r"killed"), Report.KILLED),
    (re.compile(r"failed to|failed in|does not support"), Report.FAILED),
)
_READ_ONLY = re.compile(r"Unable to handle kernel write to read-only memory at virtual address ([0-9a-f]+)$")
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


def report_of(line: str) -> Reported | None:
    """Return what a line that a kernel has logged says of a CPU, or None."""
    fault = _READ_ONLY.match(line)
    if fault:
        return Reported(Report.READ_ONLY, detail=int(fault[1], 16))
    of_cpu = _OF_CPU.match(line)
    if not of_cpu:
        return None
    for pattern, what in _REPORTS:
        found = pattern.match(of_cpu[2])
        if found:
            return Reported(what, int(of_cpu[1]), int(found[1]) if found.groups() else 0)
    return None


def report_of_panic(message: str) -> Reported:
    """Return what the message of a kernel's panic() says of a CPU."""
    of_cpu = _OF_CPU.match(message)
    return Reported(Report.CPU_PANIC, int(of_cpu[1])) if of_cpu else Reported(Report.PANIC)
