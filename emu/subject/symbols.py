"""Symbol tables, kept as System.map text so that 100,000 of them cost nothing to load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from emu.errors import InvalidSubject, Untestable

_LINE_MIN = 19  # 16 hex digits, space, type, space; then the name


class Symbols:
    """Names and virtual addresses (u64), sorted by address.

    The text is that of System.map (Linux, scripts/mksysmap): ``%016x T name`` a line. Look-ups search
    the bytes, so a table of any size is usable as soon as it is read.
    """

    def __init__(self, text: bytes) -> None:
        self._text = b"\n" + text.strip() + b"\n" if text.strip() else b"\n"
        first = self._text[1:20]
        if len(self._text) > 1:
            try:
                int(first[:16], 16)
            except ValueError:
                raise InvalidSubject(
                    f"System.map: {first!r}: expected '<16 hex digits> <type> <name>'"
                ) from None

    @classmethod
    def of(cls, addresses: Mapping[str, int]) -> Symbols:
        """Build a table from a mapping of name to VA."""
        rows = sorted((va, name) for name, va in addresses.items())
        return cls("".join(f"{va:016x} T {name}\n" for va, name in rows).encode())

    @property
    def text(self) -> bytes:
        """The System.map text."""
        return self._text[1:]

    def address(self, name: str) -> int | None:
        """Return the VA of ``name``, or None."""
        end = self._text.find(b" " + name.encode() + b"\n")
        if end < 0:
            return None
        return int(self._text[end - 18 : end - 2], 16)

    def require(self, name: str, subject: str) -> int:
        """Return the VA of ``name``; raise :class:`Untestable` naming ``subject`` when it is absent."""
        va = self.address(name)
        if va is None:
            raise Untestable(f"{subject}: no symbol {name}")
        return va

    def at(self, va: int) -> tuple[str, int] | None:
        """Return (name, offset) of the nearest symbol at or below ``va``, or None below the first."""
        if not self or self._va_after(0) > va:
            return None
        low = self._line_of(va)
        end = self._text.index(b"\n", low + 1)
        return self._text[low + 20 : end].decode(), va - self._va_after(low)

    def _line_of(self, va: int) -> int:
        # The newline before the last line at or below va; the first line must be.
        text, low, high = self._text, 0, len(self._text) - 1
        # Invariant: the line that starts after `low` is at or below va, the one after `high` is not.
        while True:
            middle = text.rfind(b"\n", low + 1, (low + high) // 2 + 1)
            if middle < 0:
                middle = text.find(b"\n", low + 1, high)
            if middle < 0:
                break
            if self._va_after(middle) <= va:
                low = middle
            else:
                high = middle
        return low

    def after(self, va: int) -> int | None:
        """Return the lowest symbol address above ``va``, or None: the bound of an object without a size."""
        if not self:
            return None
        first = self._va_after(0)
        newline = 0 if first > va else self._line_of(va)
        while newline < len(self._text) - 1:
            found = self._va_after(newline)
            if found > va:
                return found
            newline = self._text.index(b"\n", newline + 1)
        return None

    def describe(self, va: int) -> str:
        """Return ``name+0xoff`` for ``va``, or the bare hex address."""
        hit = self.at(va)
        if hit is None:
            return f"{va:#x}"
        return f"{hit[0]}+{hit[1]:#x}" if hit[1] else hit[0]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for line in self._text[1:].splitlines():
            yield line[19:].decode(), int(line[:16], 16)

    def __bool__(self) -> bool:
        return len(self._text) > 1

    def _va_after(self, newline: int) -> int:
        # The address on the line that follows this newline.
        return int(self._text[newline + 1 : newline + 17], 16)
