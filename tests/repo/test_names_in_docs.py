"""Files and names of the code that the prose mentions are there.

The prose writes a path as `emu/trace.py`, a name in it as `emu/trace.py:Trace.add`, and a file that the
reader is to add as `emu/rules/NAME.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PROSE = [*sorted(_ROOT.glob("*.md")), *sorted((_ROOT / "docs").glob("*.md"))]
_PATH = re.compile(r"`((?:asm|bench|docs|emu|examples|tests|tools|\.ci)/[\w./-]*)(?::([A-Za-z_][\w.]*))?`")
_LINK = re.compile(r"\]\(([\w./-]+\.(?:md|S))(?:#([\w-]+))?\)")


def _missing(path: str, name: str | None) -> str:
    # What is wrong with a path and a name in it; nothing: both are there.
    file = _ROOT / path
    if "NAME" in path:
        return "" if file.parent.is_dir() else "no such folder"
    if not file.exists():
        return "no such file"
    text = file.read_text() if name else ""
    for part in name.split(".") if name else ():
        if not re.search(rf"^\s*(?:def|class|async def) {part}\b|^\s*{part}\b\s*[:=]", text, re.MULTILINE):
            return f"no {part} in it"
    return ""


@pytest.mark.parametrize("prose", _PROSE, ids=lambda path: path.name)
def test_files_and_names_are_there(prose: Path) -> None:
    found = [(match[1], match[2]) for match in _PATH.finditer(prose.read_text())]
    wrong = [f"{path}:{name or ''} {why}" for path, name in found if (why := _missing(path, name))]
    assert not wrong


@pytest.mark.parametrize("prose", _PROSE, ids=lambda path: path.name)
def test_links_lead_somewhere(prose: Path) -> None:
    """To a file, and to a heading of it."""
    wrong = []
    for match in _LINK.finditer(prose.read_text()):
        target = prose.parent / match[1]
        if not target.exists() or (match[2] and match[2] not in _anchors(target)):
            wrong.append(match[0])
    assert not wrong


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    ("path", "name", "wrong"),
    [
        ("emu/trace.py", "Trace.add", ""),
        ("emu/trace.py", "Trace.no_such_method", "no no_such_method in it"),
        ("emu/no_such_file.py", None, "no such file"),
        ("emu/rules/NAME.py", None, ""),
        ("emu/no_such_folder/NAME.py", None, "no such folder"),
    ],
)
def test_what_is_not_there_is_found(path: str, name: str | None, wrong: str) -> None:
    assert _missing(path, name) == wrong
