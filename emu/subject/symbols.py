"""Symbol tables, kept as System.map text so that 100,000 of them cost nothing to load."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence

from emu.errors import InvalidSubject, Untestable

_ROW = re.compile(rb"[0-9a-f]{16} [!-~] [!-~]+")
_ROWS = re.compile(rb"(?:[0-9a-f]{16} [!-~] [!-~]+\n)*")
_MODULE = re.compile(rb"[ \t]+\[[!-~]+\]$", re.M)  # /proc/kallsyms: the name's module
_SEARCHES_MAX = 4096  # by address: who asks more often gets an index, which takes as long to make
_NAME = 20  # where the name starts, counted from the newline before the line


def _name(text: bytes) -> str:
    return text.decode(errors="backslashreplace")


class Symbols:
    """Names and virtual addresses (u64), sorted by address.

    The text is that of System.map (Linux, scripts/mksysmap): ``%016x T name`` a line. Look-ups search
    the bytes, so a table of any size is usable as soon as it is read. The text must be complete and sorted;
    :meth:`of` and :meth:`parse` ensure that.

    :param by_name: what :meth:`by_name` of the same table returned, where that was kept
    """

    def __init__(self, text: bytes, by_name: Sequence[int] = ()) -> None:
        text = text.strip()
        self._text = b"\n%b\n" % text if text else b"\n"
        first = self._text[1 : self._text.find(b"\n", 1)]
        if len(self._text) > 1 and not _ROW.fullmatch(first):
            raise InvalidSubject(f"System.map: {first[:40]!r}: expected '<16 hex digits> <type> <name>'")
        self._by_name = by_name
        # A look-up without that scans the text; callers ask for the same few names.
        self._asked: dict[str, int | None] = {}
        self._looked = 0  # look-ups by address that have searched the text
        self._index: tuple[array[int], array[int]] | None = None  # addresses, and where their lines begin

    @classmethod
    def of(cls, addresses: Mapping[str, int]) -> Symbols:
        """Build a table from a mapping of name to VA.

        Of several names at one address that of an end, ``..._end``, comes last: it is about what lies before.
        """
        rows = sorted((va, name.endswith("_end"), name) for name, va in addresses.items())
        return cls("".join(f"{va:016x} T {name}\n" for va, _, name in rows).encode())

    @classmethod
    def parse(cls, text: bytes, name: str) -> Symbols:
        """Build a table from text of unknown origin: each line is checked, and sorted by VA when it is not.

        :param text: System.map, ``nm`` or /proc/kallsyms output
        :param name: its name in messages
        :raises InvalidSubject: a line of another form; the message has its number
        """
        text = text.replace(b"\r\n", b"\n").rstrip()
        text += b"\n" if text else b""
        if b"]\n" in text:
            text = _MODULE.sub(b"", text)
        whole = _ROWS.match(text)
        if whole is None or whole.end() < len(text):
            at = whole.end() if whole else 0
            line, number = text[at : text.find(b"\n", at)], text.count(b"\n", 0, at) + 1
            shown = repr(line[:40]) if line[:40].decode("latin1").isprintable() else "no text"
            raise InvalidSubject(f"{name}:{number}: {shown}: expected '<16 hex digits> <type> <name>'")
        rows = text.split(b"\n")[:-1]
        keys = [row[:16] for row in rows]
        if keys != sorted(keys):
            rows.sort(key=lambda row: row[:16])
            text = b"\n".join(rows)
        return cls(text)

    def with_data(self, addresses: Mapping[str, int]) -> Symbols:
        """Return a table that also has ``addresses`` (name to VA), as data symbols."""
        if not addresses:
            return self
        rows = self.text.split(b"\n")[:-1]
        rows += [f"{va:016x} D {name}".encode() for name, va in addresses.items()]
        rows.sort(key=lambda row: row[:16])
        return Symbols(b"\n".join(rows))

    @property
    def text(self) -> bytes:
        """The System.map text."""
        return self._text[1:]

    def address(self, name: str) -> int | None:
        """Return the VA of ``name`` (of the lowest, when there are several), or None."""
        if name not in self._asked:
            wanted = name.encode(errors="backslashreplace")
            line = self._search(wanted) if self._by_name else self._scan(wanted)
            self._asked[name] = self._va_after(line) if line >= 0 else None
        return self._asked[name]

    def by_name(self) -> array[int]:
        """Return where the line of each symbol begins (u32), in the order of names, then of addresses."""
        lines, at = array("I"), 0
        while at < len(self._text) - 1:
            lines.append(at)
            at = self._text.index(b"\n", at + 1)
        return array("I", sorted(lines, key=self._name_after))

    def _scan(self, name: bytes) -> int:
        # The newline before the first line of that name, or -1.
        wanted = b" " + name + b"\n"
        end = self._text.find(wanted)
        while end >= 0 and self._text[end - 19 : end - 18] != b"\n":
            end = self._text.find(wanted, end + 1)  # the tail of a line that only looks like a name
        return end - 19 if end >= 0 else -1

    def _search(self, name: bytes) -> int:
        # The same, by the lines in the order of their names.
        lines = self._by_name
        at = bisect_left(lines, name, key=self._name_after)
        return lines[at] if at < len(lines) and self._name_after(lines[at]) == name else -1

    def _name_after(self, newline: int) -> bytes:
        # The name on the line that follows this newline.
        return self._text[newline + _NAME : self._text.index(b"\n", newline + 1)]

    def require(self, name: str, subject: str) -> int:
        """Return the VA of ``name``; raise :class:`Untestable` naming ``subject`` when it is absent."""
        va = self.address(name)
        if va is None:
            raise Untestable(f"{subject}: no symbol {name}")
        return va

    def at(self, va: int) -> tuple[str, int] | None:
        """Return (name, offset) of the nearest symbol at or below ``va``, or None below the first.

        Of several symbols at one address the first in the table wins (Linux kernel/kallsyms.c,
        get_symbol_pos). A number that is kept as a symbol (``_kernel_size_le_lo32``) lies below every
        address of the kernel, and is near none.
        """
        line = self._line_at(va)
        nearest = self._va_after(line) if line >= 0 else 0
        if line < 0 or (va ^ nearest) >> 63:
            return None
        while line and self._va_after(before := self._text.rindex(b"\n", 0, line)) == nearest:
            line = before
        return _name(self._name_after(line)), va - nearest

    def after(self, va: int) -> int | None:
        """Return the lowest symbol address above ``va``, or None: the bound of an object without a size."""
        line = self._line_at(va)
        following = self._text.index(b"\n", line + 1) if line >= 0 else 0
        return self._va_after(following) if following < len(self._text) - 1 else None

    def describe(self, va: int) -> str:
        """Return ``name+0xoff`` for ``va``, or the bare hex address."""
        hit = self.at(va)
        if hit is None:
            return f"{va:#x}"
        return f"{hit[0]}+{hit[1]:#x}" if hit[1] else hit[0]

    def describe_pc(self, pc: int, va_offset: int) -> str:
        """Return ``name+0xoff`` for a PC, or the PC as it is: a VA with bit 63 set, else a PA.

        :param va_offset: what a VA of the image is above its PA
        """
        hit = self.at(pc if pc >> 63 else (pc + va_offset) % 2**64)
        if hit is None:
            return f"{pc:#x}"
        return f"{hit[0]}+{hit[1]:#x}" if hit[1] else hit[0]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for line in self._text[1:-1].split(b"\n") if self else ():
            yield _name(line[_NAME - 1 :]), int(line[:16], 16)

    def __bool__(self) -> bool:
        return len(self._text) > 1

    def _line_at(self, va: int) -> int:
        # The newline before the last line at or below va, or -1.
        if self._looked >= _SEARCHES_MAX:
            vas, lines = self._index = self._index or self._indexed()
            at = bisect_right(vas, va) - 1
            return lines[at] if at >= 0 else -1
        self._looked += 1
        text, low, high = self._text, 0, len(self._text) - 1
        if not self or self._va_after(0) > va:
            return -1
        # Invariant: the line after `low` is at or below va, the one after `high` (if any) is not.
        while True:
            middle = text.rfind(b"\n", low + 1, (low + high) // 2 + 1)
            if middle < 0:
                middle = text.find(b"\n", low + 1, high)
            if middle < 0:
                return low
            if self._va_after(middle) <= va:
                low = middle
            else:
                high = middle

    def _indexed(self) -> tuple[array[int], array[int]]:
        # The address on each line (u64), and the newline before it (u32).
        vas, lines, at = array("Q"), array("I"), 0
        for line in self._text[1:-1].split(b"\n") if self else ():
            vas.append(int(line[:16], 16))
            lines.append(at)
            at += len(line) + 1
        return vas, lines

    def _va_after(self, newline: int) -> int:
        # The address on the line that follows this newline.
        return int(self._text[newline + 1 : newline + 17], 16)
