"""Going to a position forwards, with a checkpoint a little before it: a step back from there is likely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.debug.stops import SessionStop

if TYPE_CHECKING:
    from emu.debug.session import Session


def approach(session: Session, position: int, *, heeded: bool = False) -> SessionStop:
    """Run to a position as :meth:`emu.debug.session.Session.run_to` does; if it is far, by a checkpoint."""
    if position - session.position > 2 * session.near:
        stop = session.run_to(position - session.near, heeded=heeded)
        if stop.reason != "goal":
            return stop
        session.save()
    return session.run_to(position, heeded=heeded)
