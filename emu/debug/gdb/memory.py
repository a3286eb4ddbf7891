"""Memory as gdb asks for it: by the address that the selected CPU would use now."""

from __future__ import annotations

from emu.debug.edits import Edit
from emu.debug.session import Session

_PAGE = 4096


def pa_of(session: Session, cpu: int, address: int) -> int | None:
    """Return the PA of what gdb calls ``address`` on a CPU, or None when nothing is there.

    The CPU's current translation decides. Where that has nothing, an address of the kernel's image or of its
    linear map is taken for what the running kernel has there, so that symbols can be looked at before the MMU
    is on, and a PA for itself, so that they can still be looked at at their PA when it is on.
    """
    pa = session.pa_of(cpu, address)
    if pa is None:
        pa = session.places.pa(address)
    return pa if session.machine.memory.contains(pa, 1) else None


def read(session: Session, cpu: int, address: int, size: int) -> bytes:
    """Return up to ``size`` bytes: fewer where memory ends."""
    found = bytearray()
    while len(found) < size:
        at = (address + len(found)) % 2**64
        pa = pa_of(session, cpu, at)
        if pa is None:
            break
        data = session.read(pa, min(size - len(found), _PAGE - at % _PAGE))
        if not data:
            break
        found += data
    return bytes(found)


def write(session: Session, cpu: int, address: int, data: bytes) -> bool:
    """Store bytes; False, and nothing is stored, when not all of them are memory."""
    edits = []
    done = 0
    while done < len(data):
        at = (address + done) % 2**64
        size = min(len(data) - done, _PAGE - at % _PAGE)
        pa = pa_of(session, cpu, at)
        if pa is None or not session.machine.memory.contains(pa, size):
            return False
        edits.append(Edit(pa, data[done : done + size]))
        done += size
    for edit in edits:
        session.edit(edit)
    return True
