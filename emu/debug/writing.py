"""Memory that a debugger writes: by VA or PA, through the current translation of the selected CPU."""

from __future__ import annotations

from emu.debug.edits import Edit
from emu.debug.session import Session

_PAGE = 4096


def write_memory(session: Session, cpu: int, address: int, data: bytes) -> bool:
    """Write bytes to memory; return False, and write none, when some of them are outside of memory."""
    edits = []
    done = 0
    while done < len(data):
        at = (address + done) % 2**64
        size = min(len(data) - done, _PAGE - at % _PAGE)
        located = session.loads.locate(cpu, at)
        if located is None or not session.machine.memory.contains(located.pa, size):
            return False
        edits.append(Edit(located.pa, data[done : done + size]))
        done += size
    for edit in edits:
        session.edit(edit)
    return True
