"""One run in which an entry of a table is stored to in the middle of its read, as a part of a case."""

from __future__ import annotations

import re
from typing import NamedTuple

from emu.errors import InvalidCase

_TEXT = re.compile(r"torn:(\d{1,4}):(\d{1,9}):(-?\d{1,2}):(\d{1,2})")


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
