"""Loads of PAs that are passed over: neither recorded nor counted, and they fault as others do."""

from __future__ import annotations

import pytest
from bare_pe import DATA, Bare

from emu.cpu.stops import ConstraintViolation, SelfBranch
from emu.operation import Kind

PASSED = range(DATA, DATA + 64)


def _run(text: str, x0: int) -> Bare:
    bare = Bare(observe=False)
    bare.engine.observe(record=True, pass_over=[PASSED])
    bare.load(text)
    bare.put(DATA, *range(1, 17))
    bare.pe(x0=x0)
    return bare


@pytest.mark.parametrize(
    ("load", "recorded"),
    [
        ("ldr x1, [x0]", []),
        ("ldrb w1, [x0, #40]", []),
        ("ldp x1, x2, [x0, #16]", []),
        ("ldr x1, [x0, #64]", [DATA + 64]),
        ("ldr x1, [x0, #-8]", [DATA - 8]),
        ("ldp x1, x2, [x0, #56]", [DATA + 56, DATA + 64]),
        ("ldr w1, [x0, #60]", [DATA + 60]),
    ],
)
def test_a_load_that_may_reach_beyond_them_is_recorded(load: str, recorded: list[int]) -> None:
    """And whatever the last 15 bytes are loaded with, since an access is told by its first."""
    bare = _run(f"{load}\nb .", DATA)
    (pe,) = bare.pes
    assert isinstance(bare.go(pe), SelfBranch)
    assert [pa for _kind, _size, _va, pa, _value in bare.records] == recorded
    assert pe.counters.loads == len(recorded)


def test_stores_and_exclusives_there_are_recorded() -> None:
    bare = _run("str x0, [x0]\nldxr x1, [x0, #0]\nldr x2, [x0]\nb .", DATA)
    (pe,) = bare.pes
    assert isinstance(bare.go(pe), SelfBranch)
    kinds = [kind for kind, _size, _va, _pa, _value in bare.records]
    assert kinds[:2] == [Kind.STORE, Kind.LOAD_EXCLUSIVE]


def test_a_load_there_that_is_not_aligned_faults() -> None:
    bare = _run("ldr x1, [x0]\nb .", DATA + 4)
    (pe,) = bare.pes
    assert isinstance(bare.go(pe), ConstraintViolation)


def test_who_observes_without_them_is_told_of_all() -> None:
    """As a proof that a loop goes on does, which has to know what it loads."""
    bare = _run("ldr x1, [x0]\nb .", DATA)
    bare.engine.observe(record=True)
    (pe,) = bare.pes
    assert isinstance(bare.go(pe), SelfBranch)
    assert [record[3] for record in bare.records] == [DATA]
