"""A program that makes relocatable objects: GNU as, clang, zig."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from emu.subject.assemblers import Assembled
from emu.subject.assembly_text import Flat


@dataclass(frozen=True, slots=True)
class Tool:
    """An assembler that is a program: its name, and the start of its command line.

    ``compiles`` tells whether it is a compiler's driver, with a C preprocessor and ``-c -x``; one that is
    none reads text with its includes resolved. ``file`` changes with its release: by default the program.
    """

    name: str
    command: tuple[str, ...]
    compiles: bool = True
    file: str = ""

    @property
    def identity(self) -> str:
        """The command, and size and time of change of its file: to ask it takes as long as to assemble."""
        try:
            status = os.stat(self.file or self.command[0])
        except OSError:
            return " ".join(self.command)  # running it says why
        return f"{' '.join(self.command)} {status.st_size} {status.st_mtime_ns}"

    def assemble(self, flat: Flat, externals: Mapping[str, int]) -> Assembled:
        """Return what it makes of a flat text; as :func:`emu.subject.assembler.assemble`."""
        from emu.subject.flat_object import assemble_flat

        return assemble_flat(self, flat, externals)


def program(*names: str) -> str | None:
    """Return the path of the first of these programs that is on the PATH."""
    return next((path for name in names if (path := shutil.which(name))), None)
