"""Keystone 0.9.2, a library, which has wheels for x86-64 alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from emu.subject.assemblers import Assembled
from emu.subject.assembly_text import Flat

NAME = "keystone"
ORDER = 0
INSTALL = "keystone-engine of PyPI, on x86-64"


@dataclass(frozen=True, slots=True)
class Keystone:
    """The library in a process of its own."""

    identity: str
    name: str = NAME

    def assemble(self, flat: Flat, externals: Mapping[str, int]) -> Assembled:
        """Return what it makes of a text; as :func:`emu.subject.assembler.assemble`."""
        from emu.subject.keystone_parent import run_keystone

        return run_keystone(flat, externals)


def find() -> Keystone | None:
    """Return it with the name of the folder that says its release, if it is installed."""
    # importlib.metadata looks for the same folder, and takes as long to be imported as all that a start of
    # emu needs of this room.
    spec = find_spec("keystone")
    if spec is not None and spec.origin is not None:
        for found in sorted(Path(spec.origin).parent.parent.glob("keystone_engine-*.*-info")):
            return Keystone(found.name)
    return None
