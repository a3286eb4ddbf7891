"""Drawn programs leave the same registers, memory and exceptions on emu as on QEMU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from reference.comparing import Comparison
from reference.drawn import KINDS, draw
from reference.qemu import missing
from reference.world import missing_assembler

COUNT = 50  # programs of each kind
CPU = "cortex-a72"  # what the engine is made to be

# Kinds that emu does not get right yet, and what is wrong. What rightly differs is not here: programs leave
# it out (UNLIKE in register_names.py), or QEMU's side is corrected (_architectural() in referenced.py).
KNOWN_DIFFERENT = {
    "aborts-stage2-walk": "a stage 2 fault on a walk is always a translation fault of level 3",
    "trap-hstr": "PMCNTENSET_EL0 keeps bits of counters that there are not",
}

pytestmark = pytest.mark.skipif(
    bool(missing() or missing_assembler()), reason=missing() or missing_assembler()
)


@pytest.fixture(scope="module")
def comparison() -> Iterator[Comparison]:
    """Return both sides, ready for programs."""
    with Comparison(CPU) as both:
        yield both


@pytest.mark.parametrize("kind", KINDS)
def test_programs_do_the_same_on_qemu(comparison: Comparison, kind: str) -> None:
    found = list(filter(None, comparison.compare([draw(kind, seed) for seed in range(COUNT)])))
    if kind in KNOWN_DIFFERENT:
        assert found, f"{kind} differs no more: take it out of KNOWN_DIFFERENT"
        return
    if found:
        shortest = comparison.minimised(min(found, key=lambda each: len(each.program.body)))
        pytest.fail(
            f"{len(found)} of {COUNT} differ (QEMU | emu):\n" + "\n".join(shortest.lines()), pytrace=False
        )


def test_kinds_that_differ_are_kinds() -> None:
    assert KNOWN_DIFFERENT.keys() <= KINDS.keys()


def test_programs_depend_on_their_seed_alone() -> None:
    for kind in KINDS:
        assert draw(kind, 7) == draw(kind, 7)
        drawn = [draw(kind, seed) for seed in range(COUNT)]
        assert len({(program.setup.text([]), program.body) for program in drawn}) > 3, kind
