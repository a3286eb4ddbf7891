"""docs/model.md lists every place where the model departs from the architecture or the kernel."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| `([\w./-]+)` \| \S", re.MULTILINE)


def test_each_mark_has_its_row() -> None:
    """A row for each ``MODEL:`` of ``emu/`` and ``asm/``, and no other."""
    marks: Counter[str] = Counter()
    for folder, suffixes in (("emu", {".py"}), ("asm", {".S", ".inc"})):
        for path in (_ROOT / folder).rglob("*"):
            if path.suffix in suffixes and (count := path.read_text().count("MODEL:")):
                marks[path.relative_to(_ROOT).as_posix()] = count
    page = (_ROOT / "docs" / "model.md").read_text().partition("### Simplified in detail")[2]
    assert Counter(_ROW.findall(page)) == marks
