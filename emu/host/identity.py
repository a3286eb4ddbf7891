"""The identity of a case: which bytes the files that it names had when it was made.

A part for each file that the case names, in the order of :func:`roles`, joined by ``-``: a prefix of the
SHA-256 of its bytes. An empty part stands for a file that the case names and that it was not made with: one
that an option has put in the place of the case's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from emu.case import TYPED, Case
from emu.designs import DESIGNS
from emu.errors import InvalidCase
from emu.host.choices import parse_kexec
from emu.latency import file_of
from emu.topology.presets import is_preset
from emu.topology.read import topology_files

# The fields of a case that may name a file, and the name in each.
_FILES: Mapping[str, Callable[[Case], str]] = {
    "subject": lambda case: "" if case.subject in DESIGNS else case.subject,
    "topology": lambda case: "" if is_preset(case.topology) else case.topology,
    "system_map": lambda case: case.system_map,
    "initrd": lambda case: case.initrd,
    "input": lambda case: "" if case.input == TYPED else case.input,
    "dtb": lambda case: case.dtb,
    "latency": lambda case: file_of(case.latency),
    "kexec": lambda case: _unless_design(parse_kexec(case.kexec).subject) if case.kexec else "",
}


def _unless_design(name: str) -> str:
    return "" if name in DESIGNS else name


def files_of(case: Case) -> dict[str, str]:
    """Return the name of each file that ``case`` names by its field, in the order of the identity's parts."""
    return {field: name for field, file in _FILES.items() if (name := file(case))}


def roles(case: Case) -> list[str]:
    """Return the fields of ``case`` that name a file, in the order of the parts of its identity."""
    return list(files_of(case))


def kept_identity(before: Case, after: Case, given: set[str]) -> str:
    """Return the identity of ``after``, a case that options have made of ``before``.

    A file that an option names has no identity yet.

    :param given: the fields that the options name
    :raises InvalidCase: the identity of ``before`` has not a part for each of its files
    """
    if not before.identity:
        return ""
    known = dict(zip(roles(before), _parts(before), strict=True))
    parts = ["" if field in given else known.get(field, "") for field in roles(after)]
    return "-".join(parts) if any(parts) else ""


def identity_of(case: Case, subjects: Mapping[str, str]) -> str:
    """Return the identity of ``case`` as its files are now.

    :param subjects: of the subjects that were loaded, by their fields
    """
    digests = {
        "topology": lambda: _digest(*topology_files(Path(case.topology))),
        "system_map": lambda: _digest(Path(case.system_map)),
        "initrd": lambda: _digest(Path(case.initrd)),
        "input": lambda: _digest(Path(case.input)),
        "dtb": lambda: _digest(Path(case.dtb)),
        "latency": lambda: _digest(Path(file_of(case.latency))),
    }
    return "-".join(subjects[field] if field in subjects else digests[field]() for field in roles(case))


def check_identity(case: Case, now: str) -> None:
    """Compare the identity that ``case`` has with the one of its files ``now``.

    :raises InvalidCase: they differ
    """
    if not case.identity:
        return
    if any(part not in ("", found) for part, found in zip(_parts(case), now.split("-"), strict=True)):
        raise InvalidCase(
            f"case: identity={case.identity}: its files now are {now}; "
            "the bytes that the case was made with are gone"
        )


def _parts(case: Case) -> list[str]:
    parts, named = case.identity.split("-"), roles(case)
    if len(parts) != len(named):
        listed = ", ".join(field.replace("_", "-") for field in named) or "no file"
        raise InvalidCase(f"case: identity={case.identity}: a part for each file that it names: {listed}")
    return parts


def _digest(*paths: Path) -> str:
    # Of one file its SHA-256; of a directory that of its files' digests.
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    whole = found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()
    return whole[:8]
