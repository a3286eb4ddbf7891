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


def meeting(folder: Path, first: str, second: str, *, header: str = "") -> str:
    """Write v3 with code of CPU1 and CPU2 before they take their tasks, MMU on; give the path.

    x1, x2: VAs of the words wx and wy, in lines of their own; x10 is 1, x19 the logical CPU number, others
    are free. CPU1 begins at ``begin1``, CPU2 at ``begin2``; ``met`` is behind both, ``hang`` a branch to
    itself.
    """
    lines = [header]
    for item in DESIGNS["v3"].fragments:
        if item == "slot/slot_per_cpu":
            lines += [
                "        adr_l x1, wx\n        adr_l x2, wy\n        mov x10, #1\n        mov x11, #0",
                "        cmp x19, #2\n        b.eq begin2\n        b.hi met",
                f"begin1:\n{first}\n        b met\nbegin2:\n{second}\n        b met\nhang:   b hang\nmet:",
            ]
        suffix = ".inc" if (asm_dir() / f"{item}.inc").exists() else ".S"
        lines.append(f'#include "{item}{suffix}"')
    lines.append(
        "        .balign 64\nwx:     .quad 0\n        .balign 64\nwy:     .quad 0\n        .balign 64"
    )
    path = folder / "meeting.S"
    path.write_text("\n".join(lines) + "\n")
    return str(path)
