"""The list of deep tests is one of tests that are there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from deep import DEEP, is_deep
from programs import run_program

ROOT = Path(__file__).parents[2]


def test_each_part_of_the_list_names_tests() -> None:
    """A deep test that gets another name would be one of make test again."""
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}  # else whoever runs this may ask for other output
    done = run_program(sys.executable, "-m", "pytest", "--collect-only", "tests", cwd=ROOT, env=environment)
    ids = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(ids) > 1000, done.stdout[-2000:]
    assert [part for part in DEEP if not any(re.search(part, each) for each in ids)] == []
    assert 0 < sum(map(is_deep, ids)) < len(ids) / 10
