"""Whatever is in a file, the command that reads it ends with a documented status and in one line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from damaging import LOADERS, complaint, mutated

_MUTATIONS = 12  # tools/damage-inputs tries hundreds


@pytest.mark.parametrize("name", LOADERS)
def test_damaged_bytes_end_in_one_line_and_a_documented_status(name: str, tmp_path: Path) -> None:
    loader, rng = LOADERS[name], random.Random(f"{name} 0")
    good = loader.make(tmp_path)
    assert complaint(loader, tmp_path, good) == ""
    for number in range(_MUTATIONS // 4 if loader.slow else _MUTATIONS):
        data = mutated(rng, good, text=loader.text)
        assert not (found := complaint(loader, tmp_path, data)), f"{number}: {data[:400]!r}\n{found}"
