"""From a case to what is debugged and to its session: the one way of all front ends."""

from __future__ import annotations

from emu.case import Case
from emu.debug.checkpoints import Checkpoints
from emu.debug.session import Session
from emu.debug.whole.session import WholeSession
from emu.debug.whole.target import WholeTarget, check_no_start
from emu.host.build import Boot, build
from emu.host.effects import WHOLE
from emu.host.whole.boot import build_whole
from emu.host.whole.kept import boot_at

Target = Boot | WholeTarget


def target_of(case: Case, start: str = "") -> Target:
    """Return what a debugger of ``case`` debugs.

    :param start: at the whole depth: the symbol that it runs to first
    :raises EmuError: the case cannot be built, or does not come to ``start``
    """
    if case.depth != WHOLE:
        check_no_start(start)
        return build(case)
    return WholeTarget(boot_at(case, start) if start else build_whole(case))


def session_of(target: Target, checkpoints: Checkpoints | None = None) -> Session:
    """Return the session that debugs it."""
    if isinstance(target, WholeTarget):
        return WholeSession(target, checkpoints)
    return Session(target, checkpoints)
