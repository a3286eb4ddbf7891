"""Assemblers: who makes bytes of flat text, a file each. The first that is installed does, in their order.

A text that Keystone takes has the same bytes from each of them, so a case is the same on every host:
``tests/conformance/test_assembler.py``. What an assembler needs to run is imported when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from emu.registry import discover
from emu.subject.assembly_text import Flat

BESIDES = ("tool",)


class Assembled(NamedTuple):
    """Assembled text: its bytes, the PA of every label, and the PA of each line that is an instruction."""

    code: bytes
    labels: dict[str, int]
    lines: list[int | None]


class Installed(Protocol):
    """An assembler of this host."""

    @property
    def name(self) -> str:
        """Its name in messages and in the Subject."""

    @property
    def identity(self) -> str:
        """Which one exactly: another release may make other bytes."""

    def assemble(self, flat: Flat, externals: Mapping[str, int]) -> Assembled:
        """Return what it makes of a text; as :func:`emu.subject.assembler.assemble`."""


@dataclass(frozen=True, slots=True)
class Assembler:
    """One file of this folder.

    ``order`` says who is asked first, the lowest; ``install`` what brings it to a host that lacks it.
    """

    name: str
    order: int
    install: str
    find: Callable[[], Installed | None]
    summary: str = ""


ASSEMBLERS = dict(sorted(discover(__name__, Assembler).items(), key=lambda item: item[1].order))
