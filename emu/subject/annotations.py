"""Lines of a file's leading comments that say something to emu: ``KEY: VALUE`` behind the comment's marker.

Comments behind the first statement say nothing: there a word with a colon is prose.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

_LINE = re.compile(r"^\s*(?:/\*+|\*|//+|#)?\s*([a-z]+):\s*(.*?)\s*(?:\*/)?\s*$")
_COMMENT = re.compile(r"\s*(?://|#\s|#$|$)")


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
    for number, line in _leading_comments(text):
        match = _LINE.match(line)
        if match and match[1] in keys:
            found.append(Annotation(f"{name}:{number}", match[1], match[2]))
    return found


def _leading_comments(text: str) -> Iterator[tuple[int, str]]:
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if not inside and not line.lstrip().startswith("/*") and not _COMMENT.match(line):
            return
        yield number, line
        begin, end = line.rfind("/*"), line.rfind("*/")
        inside = begin > end or (inside and end < 0)
        if end >= 0 and not inside and line[end + 2 :].strip():
            return  # a statement behind the comment
