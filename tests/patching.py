"""Change the code of a real kernel, by symbol, for a test."""

from __future__ import annotations

import re
from pathlib import Path

NOP = 0xD503201F


class Kernel:
    """An Image to change, by symbol."""

    def __init__(self, folder: Path) -> None:
        self.map = folder / "System.map"
        self.image = bytearray((folder / "arch/arm64/boot/Image").read_bytes())
        self._symbols = {
            name: int(va, 16) for va, name in re.findall(r"^(\w+) \w ([\w.$]+)$", self.map.read_text(), re.M)
        }

    def at(self, name: str) -> int:
        """Return the offset in the Image."""
        return self._symbols[name] - self._symbols["_text"]

    def word(self, at: int) -> int:
        return int.from_bytes(self.image[at : at + 4], "little")

    def put(self, at: int, code: bytes) -> None:
        self.image[at : at + len(code)] = code

    def branch(self, at: int, to: int, link: bool = False) -> None:
        word = (0x9400_0000 if link else 0x1400_0000) | (to - at) >> 2 & 0x3FF_FFFF
        self.put(at, word.to_bytes(4, "little"))

    def call_of(self, caller: str, callee: str) -> int:
        """Return the offset of the BL."""
        at, to = self.at(caller), self.at(callee)
        while self.word(at) != (0x9400_0000 | (to - at) >> 2 & 0x3FF_FFFF):
            at += 4
        return at

    def find(self, function: str, word: int, mask: int = 2**32 - 1) -> int:
        """Return the offset of the first instruction of ``function`` that is ``word`` in ``mask``."""
        start = self.at(function)
        for at in range(start, start + 0x400, 4):
            if self.word(at) & mask == word & mask:
                return at
        raise AssertionError(f"{function} has no {word:#x}")

    def write(self, folder: Path) -> list[str]:
        """Write it to ``folder`` and return the words of a command line that are it."""
        path = folder / "Image"
        path.write_bytes(self.image)
        return [str(path), "--system-map", str(self.map)]
