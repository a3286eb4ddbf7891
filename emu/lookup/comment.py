"""The header of a fragment in its text: the first comment with contract fields in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from emu.errors import InvalidContract

FIELDS = ("in", "out", "clobbers", "memory", "state", "exits", "model", "source")

_FIELD = re.compile(r"([a-z]+):(?:\s+(.*)|$)")
_TITLE = re.compile(r"([A-Za-z_.$][\w.$]*) - \S")


@dataclass(frozen=True, slots=True)
class Header:
    """The eight fields.

    :ivar title: the name before `` - `` in the line above them, or nothing
    :ivar values: text of each field, on one line
    :ivar lines: line of the file, from 1, at which each field begins
    """

    title: str
    values: Mapping[str, str]
    lines: Mapping[str, int]


def find_header(text: str, name: str) -> Header | None:
    """Return the fields of the first comment that has three of them at the start of lines, or None.

    :param name: the file, for messages
    :raises InvalidContract: ``FILE:LINE: FIELD: ...``: a field is there twice, empty or not at all
    """
    for first, comment in _comments(text):
        values: dict[str, str] = {}
        lines: dict[str, int] = {}
        title, current = "", ""
        for number, line in enumerate(comment, first):
            match = _FIELD.match(line)
            if match and match[1] in FIELDS:
                current = match[1]
                if current in values:
                    raise InvalidContract(f"{name}:{number}: {current}: is there twice")
                values[current], lines[current] = (match[2] or "").strip(), number
            elif current and line:
                values[current] += " " + line
            elif not current and not title and (named := _TITLE.match(line)):
                title = named[1]
        if len(values) < 3:
            continue
        for key in FIELDS:
            if not values.get(key):
                at = lines.get(key, min(lines.values()))
                raise InvalidContract(f"{name}:{at}: {key}: not said; a header has {', '.join(FIELDS)}")
        return Header(title, {key: " ".join(value.split()) for key, value in values.items()}, lines)
    return None


def _comments(text: str) -> list[tuple[int, list[str]]]:
    # (number of the first line, lines without their markers) of each /* */ and each run of // lines.
    found: list[tuple[int, list[str]]] = []
    block, run = False, False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if block or line.startswith("/*"):
            if not block:
                found.append((number, []))
            body, end, _ = (line if block else line[2:]).partition("*/")
            found[-1][1].append(re.sub(r"^\*+", "", body.strip()).strip())
            block, run = not end, False
        elif line.startswith("//"):
            if not run:
                found.append((number, []))
            found[-1][1].append(line.lstrip("/").strip())
            run = True
        else:
            run = False
    return found
