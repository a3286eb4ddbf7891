"""clang, whose assembler is LLVM's."""

from __future__ import annotations

from emu.subject.assemblers.tool import Tool, program

NAME = "clang"
ORDER = 2
INSTALL = "clang"

_ARCH = "armv8.5-a+memtag+rng+crypto+sve2"  # what clang 10 knows


def find() -> Tool | None:
    """Return it with its target, if it is installed."""
    path = program("clang")
    return Tool(NAME, (path, "--target=aarch64-linux-gnu", f"-march={_ARCH}")) if path else None
