"""CPUs as gdb's threads: thread N + 1 is logical CPU N."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from emu.arch.mpidr import hwid
from emu.debug.session import Session
from emu.host.played import frames


def describe(session: Session, cpu: int) -> str:
    """Return the identity and state of a CPU: ``CPU3 0x100000 EL1 mmu-on wfe``."""
    actor, state = session.machine.actors[cpu], session.state(cpu)
    pe = actor.pe
    if state == "off":
        return f"CPU{cpu} {hwid(pe.mpidr):#x} off"
    if actor.task is not None:
        does = f"host {frames(actor.task)[0].shown}()"
        return f"CPU{cpu} {hwid(pe.mpidr):#x} {does}" + (f" {state}" if state != "host" else "")
    return f"CPU{cpu} {hwid(pe.mpidr):#x} EL{pe.el} mmu-{'on' if pe.mmu_on else 'off'} {state}"


def threads_xml(session: Session) -> bytes:
    """Return the XML object of ``qXfer:threads:read``."""
    rows = [
        f'<thread id="{cpu + 1:x}" core="{cpu}" name={quoteattr(describe(session, cpu))}/>\n'
        for cpu in session.cpus
    ]
    return f'<?xml version="1.0"?>\n<threads>\n{"".join(rows)}</threads>\n'.encode()
