"""Questions as text, in a folder: a line for each, so that corpora go from one campaign to another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from emu.errors import EmuError, InvalidCase
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.size import size_of
from emu.fuzz.unit import Edge
from emu.lookup.case import LookupCase
from emu.lookup.tables import DoesNotFit

CORPUS, FINDINGS = "corpus.txt", "findings.txt"
_SIZE_MAX = 64 << 20  # bytes of one file


def write_cases(folder: Path, name: str, cases: Iterable[LookupCase]) -> int:
    """Write a file of cases, one a line, and return how many; the folder is made where there is none.

    :raises EmuError: it cannot be written
    """
    lines = [f"{case.text()}\n" for case in cases]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise EmuError(f"{folder / name}: {error.strerror}") from None
    return len(lines)


def read_cases(folder: Path) -> list[LookupCase]:
    """Return the cases of all ``*.txt`` of a folder, each once; empty lines and those with ``#`` are none.

    :raises InvalidCase: no such folder, none in it, or a line that is no question
    """
    found: dict[str, LookupCase] = {}
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".txt")
        for path in paths:
            if path.stat().st_size > _SIZE_MAX:
                raise InvalidCase(f"{path}: more than {_SIZE_MAX} bytes")
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if line.strip() and not line.startswith("#"):
                    case = _parse(line, f"{path}:{number}")
                    found.setdefault(case.text(), case)
    except OSError as error:
        raise InvalidCase(f"{folder}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidCase(f"{folder}: a file in it is no UTF-8 text") from None
    if not found:
        raise InvalidCase(f"{folder}: no case in a *.txt of it")
    return list(found.values())


def _parse(line: str, where: str) -> LookupCase:
    try:
        case = LookupCase.parse(line)
    except InvalidCase as error:
        raise InvalidCase(f"{where}: {error}") from None
    if case.prove:
        raise InvalidCase(f"{where}: a proof is no question")
    return case


def minimised(under_test: UnderTest, cases: Sequence[LookupCase]) -> list[LookupCase]:
    """Return as few of ``cases`` as reach the same edges: again and again the one with the most new ones.

    Those that cannot be asked of this look-up are left out.
    """
    reached = {case: edges for case in cases if (edges := _edges(under_test, case))}
    missing: set[Edge] = set().union(*reached.values()) if reached else set()
    found: list[LookupCase] = []
    while missing:
        best = min(reached, key=lambda case: (-len(reached[case] & missing), size_of(case), case.text()))
        found.append(best)
        missing -= reached.pop(best)
    return sorted(found, key=size_of)


def _edges(under_test: UnderTest, case: LookupCase) -> set[Edge]:
    # What it reaches, from all starts.
    if case.race is not None:
        return set()
    found: set[tuple[int, int]] = set()
    try:
        built = under_test.at(case.nr_cpus, case.others)
        engine = built.single.engine
        engine.collect_edges(found)
        try:
            built.check(case.question)
        finally:
            engine.collect_edges(None)
    except (DoesNotFit, EmuError):
        return set()
    return {(case.nr_cpus, case.others, source, target) for source, target in found if source}
