"""zig, which has LLVM's assembler in it: the package of PyPI, or a program."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from emu.subject.assemblers.tool import Tool, program

NAME = "zig"
ORDER = 3
INSTALL = "ziglang of PyPI"

# zig has its own names for what LLVM calls memtag and rng.
_TARGET = ("cc", "-target", "aarch64-linux-gnu", "-mcpu=generic+v8_5a+mte+rand+sve2")


def find() -> Tool | None:
    """Return the package's if it is installed, else the program."""
    if spec := find_spec("ziglang"):
        return Tool(NAME, (sys.executable, "-m", "ziglang", *_TARGET), file=spec.origin or "")
    path = program("zig")
    return Tool(NAME, (path, *_TARGET)) if path else None
