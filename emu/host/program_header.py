"""What a ``.S`` says of itself when it brings its CPUs' programs: who begins where, with the MMU on or off,
and what answers SMC and HVC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emu.errors import InvalidCase
from emu.properties.expression import Cpus
from emu.properties.language import parse_cpus
from emu.registry import not_one_of
from emu.subject.annotations import find_annotations

KEYS = ("start", "mmu", "firmware")
_WORDS = ("psci", "none", "at LABEL", "FILE.py")


@dataclass(frozen=True, slots=True)
class ProgramHeader:
    """The lines of one file.

    :ivar starts: ``FILE:LINE``, which CPUs, the label where they begin
    :ivar mmu: they begin with their MMU and caches on, memory mapped to itself
    :ivar firmware: ``psci``, ``none``, ``at LABEL`` or ``FILE.py``, and where that is said
    """

    starts: tuple[tuple[str, Cpus, str], ...]
    mmu: bool = False
    firmware: str = "psci"
    firmware_where: str = ""

    def label_of(self, cpu: int, hwid: int) -> str | None:
        """Return the label where a CPU begins; None: it is off until firmware switches it on.

        A line for one CPU counts before one for several.
        """
        several = one = None
        for _, cpus, label in self.starts:
            match cpus:
                case Cpus("cpu", number) if number == cpu:
                    one = label
                case Cpus("hwid", number) if number == hwid:
                    one = label
                case Cpus("boot") if cpu == 0:
                    one = label
                case Cpus("secondary") if cpu:
                    several = label
                case Cpus("any"):
                    several = several or label
        return one or several


def read_header(path: Path) -> ProgramHeader | None:
    """Return what assembly text says; None: it brings no programs, and a kernel's host side plays its boot.

    :raises InvalidCase: FILE:LINE: a line that is not understood
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None  # who loads it says so
    return make_header(
        [(each.where, each.key, each.value) for each in find_annotations(text, str(path), KEYS)]
    )


def make_header(lines: Sequence[tuple[str, str, str]]) -> ProgramHeader | None:
    """Return the header of these lines: ``FILE:LINE``, key, value; None without a ``start``."""
    starts: list[tuple[str, Cpus, str]] = []
    mmu, firmware, firmware_where = False, "psci", ""
    for where, key, value in lines:
        if key == "start":
            who, _, label = value.partition(" ")
            label = label.strip()
            if not label or " " in label:
                raise InvalidCase(f"{where}: start: {value!r}: CPUs and a label are expected: boot main")
            cpus = parse_cpus(who, f"{where}: start")
            if cpus.every is False:
                raise InvalidCase(f"{where}: start: {who}: each of them begins there; write {who[:-1]}*")
            if cpus in [other for _, other, _ in starts]:
                raise InvalidCase(f"{where}: start: {who} is there twice")
            starts.append((where, cpus, label))
        elif key == "mmu":
            if value not in ("on", "off"):
                raise InvalidCase(f"{where}: mmu: {not_one_of(value, ('on', 'off'))}")
            mmu = value == "on"
        else:
            told = value.startswith(("at ", "registered ")) or value.endswith(".py")
            if value not in ("psci", "none") and not told:
                raise InvalidCase(f"{where}: firmware: {not_one_of(value, _WORDS)}")
            firmware, firmware_where = value, where
    return ProgramHeader(tuple(starts), mmu, firmware, firmware_where) if starts else None
