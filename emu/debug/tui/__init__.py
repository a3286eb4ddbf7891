"""``emu step`` on a terminal."""

from __future__ import annotations

from emu.case import Case


def run(case: Case, start: str = "") -> int:
    """Show the boot of a case on the terminal until the user leaves; return the exit status.

    :raises EmuError: the case cannot be booted
    """
    from emu.debug.remote import Debugger
    from emu.debug.tui.app import StepApp

    debugger = Debugger(case, start)
    try:
        return StepApp(debugger).run() or 0
    finally:
        debugger.close()
