"""The debugger's commands on a session of their own, for tests."""

from __future__ import annotations

from emu.case import Case
from emu.debug.commands import Commands
from emu.debug.session import Session
from emu.host.build import build


def commands_on(subject: str = "v3", **options: object) -> Commands:
    """Return the commands on a new session of a subject; ``options`` are parts of its case."""
    case = Case(subject, topology=str(options.pop("topology", "flat:4")), grain="instruction")
    return Commands(Session(build(Case.parse(case.text() + _text(options)))))


def _text(options: dict[str, object]) -> str:
    return "".join(f" {name}={value}" for name, value in options.items())
