"""Memory as gdb addresses it: by VA or PA, through the current translation of the selected CPU."""

from __future__ import annotations

from emu.debug.edits import Edit
from emu.debug.session import Session

_PAGE = 4096


def pa_of(session: Session, cpu: int, address: int) -> int | None:
    """Return the PA of gdb's ``address`` on a CPU, or None when there is no memory.

    The CPU's current translation decides. An address that it does not map is translated as the running kernel
    maps it (image or linear map), so that symbols can be read while the MMU is off; a PA stays as it is, so
    that it can be read while the MMU is on.
    """
    pa = session.pa_of(cpu, address)
    if pa is None:
        pa = session.places.pa(address)
    return pa if session.machine.memory.contains(pa, 1) else None


def read(session: Session, cpu: int, address: int, size: int) -> bytes:
    """Return ``size`` bytes; fewer where memory ends."""
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
    """Write bytes to memory; return False, and write none, when some of them are outside of memory."""
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
