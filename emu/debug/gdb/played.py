"""Breakpoints of gdb in a function that the host plays, behind the first instruction: no CPU comes there.

With the DWARF of a kernel gdb puts ``break secondary_start_kernel`` behind the prologue. Below the whole
depth a CPU comes to the first instruction alone: there the host goes on in its stead. So such a breakpoint is
one at the first instruction, and the session says so.
"""

from __future__ import annotations

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


def why_elsewhere(session: Session, address: int, first: int) -> str:
    """Return what a breakpoint at ``address`` is taken for, in words."""
    describe = session.places.describe
    return (
        f"{describe(address)}: no CPU comes there, the host plays the kernel from {describe(first)} on; "
        f"the breakpoint stops there ({first:#x})"
    )
