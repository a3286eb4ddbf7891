"""The lookups of this folder, right ones and wrong ones, as the search has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emu.fuzz.built_lookup import Checked, UnderTest
from emu.fuzz.search import LookupSearch
from emu.report.lookup import case_of

FOLDER = Path(__file__).parent
CASE_LINE_MAX = 200  # characters, but for the user's path
CORRECT = tuple(sorted((FOLDER / "correct").glob("*.S")))
MUTANTS = tuple(sorted((FOLDER / "mutants").glob("*.S")))


def under_test(path: Path) -> UnderTest:
    """Return the lookup of a file with its own contract."""
    return UnderTest(str(path))


def search(path: Path, cases: int, *, nr_cpus_max: int = 4096) -> Iterator[LookupSearch]:
    """Search with so many random cases and up to so many CPUs; yield the search after each piece of work."""
    lookup = under_test(path)
    found = LookupSearch(lookup)
    for _ in found.run([size for size in lookup.sizes if size <= nr_cpus_max], cases, seed=1):
        yield found


def cpus_of(checked: Checked) -> int:
    """Return the number of CPUs in the map of a question."""
    return sum(hwid is not None for hwid in checked.question.logical_map)


def case_line(lookup: UnderTest, checked: Checked) -> str:
    """Return the line that asks this question again, with the name of the file for its path."""
    path = Path(lookup.name)
    return case_of(lookup, checked, "", "").text().replace(lookup.name, path.name)
