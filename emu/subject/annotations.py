"""Lines of comments that say something to emu: ``KEY: VALUE`` behind the comment's marker."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

_LINE = re.compile(r"^\s*(?:/\*+|\*|//+|#)\s*([a-z]+):\s*(.*?)\s*(?:\*/)?\s*$")


class Annotation(NamedTuple):
    """One of them; ``where`` is ``FILE:LINE``."""

    where: str
    key: str
    value: str


def find_annotations(text: str, name: str, keys: Collection[str]) -> list[Annotation]:
    """Return the annotations of assembly text with these keys, in order.

    :param name: the file, for ``where``
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.match(line)
        if match and match[1] in keys:
            found.append(Annotation(f"{name}:{number}", match[1], match[2]))
    return found
