"""The lookups of this folder, right ones and wrong ones, as the search has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emu.fuzz.rig import Checked, UnderTest
from emu.fuzz.search import Search
from emu.lookup.load import load_lookup

FOLDER = Path(__file__).parent
CORRECT = tuple(sorted((FOLDER / "correct").glob("*.S")))
MUTANTS = tuple(sorted((FOLDER / "mutants").glob("*.S")))


def under_test(path: Path, contract: Path | None = None) -> UnderTest:
    """Return the lookup of a file, with its own contract or another one."""
    understood, load, fixed = load_lookup(str(path), contract, None)
    return UnderTest(str(path), understood, load, fixed=fixed)


def search(path: Path, cases: int, seed: int = 1, contract: Path | None = None) -> Iterator[Search]:
    """Search with so many random cases; yield the search after each piece of work."""
    lookup = under_test(path, contract)
    found = Search(lookup)
    for _ in found.run(lookup.sizes, cases, seed):
        yield found


def cpus_of(checked: Checked) -> int:
    """Return the number of CPUs in the map of a question."""
    return sum(hwid is not None for hwid in checked.question.logical_map)
