"""GNU as, alone or behind GNU C: the cross assembler, or an arm64 Linux host's own."""

from __future__ import annotations

import platform
import sys

from emu.subject.assemblers.tool import Tool, program

NAME = "gnu"
ORDER = 1
INSTALL = "gcc-aarch64-linux-gnu or binutils-aarch64-linux-gnu of Debian, binutils on arm64"

GCC, AS = "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-as"


def find() -> Tool | None:
    """Return GNU C if it is there, else the assembler alone."""
    # What is called gcc or as makes objects of its host; on macOS both are clang's, for Mach-O.
    native = sys.platform == "linux" and platform.machine() == "aarch64"
    if gcc := program(GCC, *["gcc"][:native]):
        # The assembler's own -march comes last and counts: all that it knows.
        return Tool(GCC, (gcc, "-march=armv8.5-a", "-Wa,-march=all"))
    if gas := program(AS, *["as"][:native]):
        return Tool(AS, (gas, "-march=all"), compiles=False)
    return None
