"""Runs in which a table changes, as a part of a case: a store amid a read, or stores one by one."""

from __future__ import annotations

import re
from typing import NamedTuple

from emu.errors import InvalidCase

_TEXT = re.compile(r"torn:(\d{1,4}):(\d{1,9}):(-?\d{1,2}):(\d{1,2})")
_CHANGE = re.compile(r"(\d{1,4}):(-|0x[0-9a-f]{1,16})@(\d{1,9})([+-]\d{1,2})?")


class Tear(NamedTuple):
    """Where a store comes between the parts of a read, and which hwid is looked up.

    :ivar cpu: whose entry is stored to
    :ivar read: number of the instruction that reads of the entry, from 0: those before it are done
    :ivar parts: parts of it that are done, in program order; below 0: so many of the last ones
    :ivar old: fields of the hwid that is looked up that are the old ones, a bit each, Aff0 the lowest
    """

    cpu: int
    read: int
    parts: int
    old: int

    def __str__(self) -> str:
        return f"torn:{self.cpu}:{self.read}:{self.parts}:{self.old}"

    @property
    def size(self) -> tuple[int, ...]:
        """A sort key: the earlier place is the smaller one."""
        return self.cpu, self.read, abs(self.parts), self.parts < 0, self.old


def parse_tear(text: str, where: str) -> Tear | None:
    """Return the tear that ``torn:CPU:READ:PARTS:OLD`` is; None: it does not begin so.

    :raises InvalidCase: it begins so, and is none
    """
    if not text.startswith("torn"):
        return None
    match = _TEXT.fullmatch(text)
    if match is None or match[3] in ("0", "-0"):
        raise InvalidCase(f"{where}={text!r:.60}: a number, or torn:CPU:READ:PARTS:OLD, PARTS not 0")
    return Tear(*map(int, match.groups()))


class Change(NamedTuple):
    """A store to an entry, and when it comes.

    :ivar hwid: what the entry gets (u64); None: it is emptied
    :ivar read: so many instructions that read of the table are done
    :ivar parts: and parts of the next one, in program order; below 0: so many of the last ones
    """

    cpu: int
    hwid: int | None
    read: int
    parts: int = 0

    def __str__(self) -> str:
        parts = f"{self.parts:+}" if self.parts else ""
        return f"{self.cpu}:{'-' if self.hwid is None else f'{self.hwid:#x}'}@{self.read}{parts}"

    @property
    def when(self) -> tuple[int, ...]:
        """A sort key: the earlier place is the smaller one."""
        return self.read, abs(self.parts), self.parts < 0


class Changes(NamedTuple):
    """The stores of a run, in order; its map is that at the start."""

    each: tuple[Change, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.each))


Happens = int | Tear | Changes  # what happens in a run: the plan of a seed, a tear, or stores one by one


def parse_changes(text: str, where: str) -> Changes | None:
    """Return the stores that ``CPU:HWID@READ`` and so on, between commas, are; None: there is no ``@``.

    :raises InvalidCase: there is, and it is none
    """
    if "@" not in text:
        return None
    found = []
    for word in text.split(","):
        match = _CHANGE.fullmatch(word)
        if match is None or match[4] in ("+0", "-0"):
            raise InvalidCase(
                f"{where}={word!r:.60}: CPU:HWID@READ, or @READ+PARTS, HWID - where it is emptied"
            )
        hwid = None if match[2] == "-" else int(match[2], 16)
        found.append(Change(int(match[1]), hwid, int(match[3]), int(match[4] or 0)))
    return Changes(tuple(found))
