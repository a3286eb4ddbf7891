"""Designs with a bug planted in one fragment, as .S files."""

from __future__ import annotations

from pathlib import Path

from emu.designs import DESIGNS
from emu.subject.fragment import asm_dir


def plant(folder: Path, design: str, fragment: str, old: str, new: str) -> str:
    """Write a design as one .S file with ``old`` in one fragment replaced; give the case's first words."""
    lines = []
    for item in DESIGNS[design].fragments:
        if item != fragment:
            suffix = ".inc" if (asm_dir() / f"{item}.inc").exists() else ".S"
            lines.append(f'#include "{item}{suffix}"')
            continue
        text = (asm_dir() / f"{item}.S").read_text()
        assert text.count(old) == 1, f"{fragment}: {old!r} must stand there once"
        lines.append(text.replace(old, new))
    path = folder / "planted.S"
    path.write_text("\n".join(lines) + "\n")
    return f"{path} design={design}"
