"""Breakpoints of gdb in a function that the host plays, behind the first instruction: no CPU comes there.

With the DWARF of a kernel gdb puts ``break secondary_start_kernel`` behind the prologue. Below the whole
depth a CPU comes to the first instruction alone: there the host goes on in its stead. So such a breakpoint is
one at the first instruction, and the session says so.
"""

from __future__ import annotations

from collections.abc import Collection

from emu.debug.gdb.fields import Inserted
from emu.debug.session import Session


def first_instruction(session: Session, address: int) -> int | None:
    """Return the VA where the host takes over the function that ``address`` (VA or PA) is inside of.

    None: the host plays no function there, or it is the first instruction.
    """
    va = session.places.va(address)
    symbols = session.boot.guest.subject.symbols
    for first in session.machine.landings.tasks:
        end = symbols.after(first)
        if first < va and (end is None or va < end):
            return first
    return None


def pc_behind(session: Session, cpu: int, inserted: Collection[Inserted]) -> int | None:
    """Return the PC (VA) that gdb is told of a CPU whose code the host has taken over; None: the one it has.

    It is behind the first instruction of what the host plays. From a breakpoint there gdb goes on by a step
    without it, and takes a PC that has stayed the same for a CPU that has come there again.

    :param inserted: where gdb has breakpoints: it is at none of them
    """
    actor = session.machine.actors[cpu]
    if actor.task is None or actor.pe.pc not in session.machine.landings.tasks:
        return None
    pc, taken = actor.pe.pc + 4, {each.address for each in inserted}
    while pc in taken:
        pc += 4
    return pc


def why_elsewhere(session: Session, address: int, first: int) -> str:
    """Return what a breakpoint at ``address`` is taken for, in words."""
    describe = session.places.describe
    return (
        f"{describe(address)}: no CPU comes there, the host plays the kernel from {describe(first)} on; "
        f"the breakpoint stops there ({first:#x})"
    )
