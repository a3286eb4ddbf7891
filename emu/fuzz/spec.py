"""What a worker needs to build the lookup under test: names, or the files for a worker on another machine."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emu.designs import DESIGNS
from emu.errors import EmuError, InvalidSubject
from emu.fuzz.built_lookup import Point, UnderTest
from emu.lookup.contract import Contract
from emu.subject.kernel import is_kernel
from emu.subject.kernel_files import find_files
from emu.version import VERSION

_INCLUDE = re.compile(r'^\s*(?:#\s*include|\.include|\.incbin)\s+["<]([^">]+)[">]', re.M)
_folders: list[tempfile.TemporaryDirectory[str]] = []  # of unpacked files, as long as the process
_TEXT = (".S", ".s", ".inc", ".h")


@dataclass(frozen=True, slots=True)
class Spec:
    """A lookup under test, as plain data.

    :ivar subject: a design's name or a path
    :ivar contract: path of a TOML; "": what belongs to the subject
    :ivar system_map: path; "": none
    :ivar points: values of NR_CPUS and of other defines to ask at
    :ivar identity: SHA-256 over the code at all points, in hexadecimal
    :ivar matches: percentage of random MPIDRs that are in the map
    :ivar files: absolute paths and contents, for a worker that does not have these files
    """

    subject: str
    contract: str = ""
    system_map: str = ""
    points: tuple[Point, ...] = ()
    identity: str = ""
    matches: int = 75
    files: tuple[tuple[str, bytes], ...] = ()


def make_spec(
    subject: str,
    contract: Path | None = None,
    system_map: Path | None = None,
    matches: int = 75,
    sizes: Sequence[int] = (),
) -> tuple[Spec, UnderTest]:
    """Return the spec of a lookup under test, and the lookup.

    :param sizes: values of NR_CPUS; none: the contract's
    :raises EmuError: as :func:`emu.lookup.load.load_lookup`; or it assembles for no NR_CPUS
    """
    under_test = UnderTest(subject, contract, system_map)
    return spec_of(under_test, contract, system_map, matches, sizes or under_test.sizes), under_test


def spec_of(
    under_test: UnderTest, contract: Path | None, system_map: Path | None, matches: int, sizes: Sequence[int]
) -> Spec:
    """Return the spec of a lookup that was built from these files, at these values of NR_CPUS.

    :raises AssemblyError: it assembles for none
    """
    points = tuple((built.nr_cpus, built.others) for built in under_test.build_all(sizes))
    spec = Spec(under_test.name, str(contract or ""), str(system_map or ""), points, matches=matches)
    return replace(spec, identity=_identity(under_test, points))


def load_spec(spec: Spec) -> UnderTest:
    """Return the lookup of ``spec``.

    :raises EmuError: it cannot be built here, or its code differs from that of the spec
    """
    names = spec.subject, spec.contract, spec.system_map
    if spec.files:
        folder = tempfile.TemporaryDirectory(prefix="emu-fuzz-")
        _folders.append(folder)
        names = _unpack(spec, Path(folder.name))
    subject, contract, system_map = names
    under_test = UnderTest(
        subject, Path(contract) if contract else None, Path(system_map) if system_map else None
    )
    found = _identity(under_test, spec.points)
    if found != spec.identity:
        version = VERSION
        raise InvalidSubject(
            f"{spec.subject}: not the same code here as where it began; emu here is {version}"
        )
    return under_test


def absolute(spec: Spec) -> Spec:
    """Return the spec with absolute paths; the name of a design stays."""

    def full(name: str) -> str:
        return os.path.abspath(name) if name and name not in DESIGNS else name

    return replace(
        spec, subject=full(spec.subject), contract=full(spec.contract), system_map=full(spec.system_map)
    )


def digests(spec: Spec, under_test: UnderTest) -> dict[str, str]:
    """Return the SHA-256 of the code, and of each file that it is built from, by absolute path."""
    found = {str(path): hashlib.sha256(data).hexdigest() for path, data in _files(spec, under_test.contract)}
    return {"code": spec.identity, **found}


def packed(spec: Spec, under_test: UnderTest) -> Spec:
    """Return the spec with absolute paths and the contents of its files."""
    return replace(
        absolute(spec), files=tuple((str(path), data) for path, data in _files(spec, under_test.contract))
    )


def _identity(under_test: UnderTest, points: tuple[Point, ...]) -> str:
    digest = hashlib.sha256()
    for point in points:
        target = under_test.at(*point).target
        digest.update(f"{point} {target.subject.identity} {target.entry_pa} {target.found_pa}\n".encode())
    return digest.hexdigest()


def _files(spec: Spec, contract: Contract) -> list[tuple[Path, bytes]]:
    subject = Path(spec.subject)
    beside = subject.with_suffix(".toml") if subject.name else subject
    paths = [Path(name) for name in (spec.contract, spec.system_map) if name]
    paths += [
        Path(name) for name in (contract.model, *(t.holds for t in contract.tables)) if name.endswith(".py")
    ]
    if subject.exists():
        paths += [beside] if beside.is_file() else []
        if is_kernel(subject):
            kernel = find_files(subject, Path(spec.system_map) if spec.system_map else None, None)
            paths += [path for path in (kernel.image, kernel.system_map, kernel.vmlinux) if path is not None]
        else:
            paths.append(subject)
    found: dict[Path, bytes] = {}
    while paths:
        path = Path(os.path.abspath(paths.pop()))
        if path in found:
            continue
        try:
            data = found[path] = path.read_bytes()
        except OSError as error:
            raise InvalidSubject(f"{path}: {error.strerror}") from None
        if path.suffix in _TEXT:
            named = [path.parent / name for name in _INCLUDE.findall(data.decode(errors="replace"))]
            paths += [name for name in named if name.is_file()]
    return sorted(found.items())


def _unpack(spec: Spec, folder: Path) -> tuple[str, str, str]:
    # Write the same tree below `folder`; return subject, contract and System.map by their names there.
    for name, data in spec.files:
        place = folder / Path(name).relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def here(name: str) -> str:
        place = folder / name.lstrip("/")
        return str(place) if name.startswith("/") and place.exists() else name

    return here(spec.subject), here(spec.contract), here(spec.system_map)


def check_same(old: Mapping[str, str], new: Mapping[str, str], where: str) -> None:
    """Check that a campaign is resumed with the files that it began with.

    :raises EmuError: a file has changed, is new, or is missing
    """
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            what = "the code" if name == "code" else name
            raise EmuError(
                f"{where}: {what} is not what this campaign began with; --restart begins again and keeps "
                "its findings as questions"
            )
