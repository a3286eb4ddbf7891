"""Lookups that are right, in many shapes: nothing may be found in any of them.

Their 1,000,000 cases each take minutes: ``make zoo`` or ``EMU_ZOO_CASES=1000000`` asks for them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo import CORRECT, search

CASES = int(os.environ.get("EMU_ZOO_CASES", "20000"))


@pytest.mark.parametrize("path", CORRECT, ids=lambda path: path.stem)
def test_nothing_is_found_in_a_correct_lookup(path: Path) -> None:
    """Every small question, the regression corpus, random ones, and a table that changes."""
    *_, last = search(path, CASES)
    assert [(found.wrong, found.question) for found in last.findings] == []
    assert last.cases > CASES
    assert not last.under_test.refused
