"""Whatever is in a file, the command that reads it ends with a documented status and in one line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from damaging import LOADERS, complaint, ended, mutated

_MUTATIONS = 12  # tools/damage-inputs tries hundreds


@pytest.mark.parametrize("name", LOADERS)
def test_damaged_bytes_end_in_one_line_and_a_documented_status(name: str, tmp_path: Path) -> None:
    loader, rng = LOADERS[name], random.Random(f"{name} 0")
    good = loader.make(tmp_path)
    done = ended(loader, tmp_path, good)
    assert done.returncode in (0, 1, 125), done.stderr  # it is read: 125 is of a search with a bound
    assert done.stdout, done.stderr
    for number in range(_MUTATIONS // 4 if loader.slow else _MUTATIONS):
        data = mutated(rng, good, text=loader.text)
        assert not (found := complaint(loader, tmp_path, data)), f"{number}: {data[:400]!r}\n{found}"
