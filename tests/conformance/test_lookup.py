"""What every look-up of asm/lookup keeps to: it promises what it does, and does what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.search import LookupSearch
from emu.lookup.header import contract_of_header
from emu.lookup.models import MODELS
from emu.lookup.tables import KINDS
from emu.subject.fragment import asm_dir

LOOKUPS = {path.stem: path for path in sorted((asm_dir() / "lookup").glob("*.S"))}
# The RFC's takes an entry that belongs to no CPU for that of hwid 0.
FLAWED = {"rfc": "entry that belongs to no CPU"}
every_lookup = pytest.mark.parametrize("name", LOOKUPS)
sound_lookup = pytest.mark.parametrize("name", [name for name in LOOKUPS if name not in FLAWED])


def searched(path: Path, seed: int) -> LookupSearch:
    """Ask every small question, those that once found something, and some at random."""
    under_test = UnderTest(str(path), None, None)
    search = LookupSearch(under_test)
    for _ in search.run([size for size in under_test.sizes if size <= 16], 400, seed, 75):
        pass
    return search


@every_lookup
def test_its_header_is_a_contract(name: str) -> None:
    contract = contract_of_header(LOOKUPS[name].read_text(), f"asm/lookup/{name}.S")
    assert contract is not None
    assert contract.tables
    assert all(table.holds in KINDS for table in contract.tables)
    assert contract.model in MODELS


@sound_lookup
def test_it_keeps_its_contract(name: str) -> None:
    search = searched(LOOKUPS[name], 1)
    assert search.cases > 400
    assert search.findings == []


@every_lookup
def test_two_searches_with_one_seed_are_the_same(name: str) -> None:
    first, second = searched(LOOKUPS[name], 2), searched(LOOKUPS[name], 2)
    assert (first.cases, first.findings) == (second.cases, second.findings)


@pytest.mark.parametrize("name", FLAWED)
def test_a_known_flaw_is_found(name: str) -> None:
    assert searched(LOOKUPS[name], 1).findings
