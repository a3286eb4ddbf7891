"""Drawn programs leave the same registers, memory and exceptions on emu as on QEMU, on each core."""

from __future__ import annotations

import pytest
from reference.comparing import Comparison, Difference
from reference.cores import COMPARED
from reference.drawn import KINDS, draw
from reference.qemu import missing
from reference.world import missing_assembler

# Programs of each kind. Nothing may differ: what rightly does is left out of the programs (NOT_COMPARED and
# UNLIKE in register_names.py, `fields` in cores.py, docstrings of kinds), or QEMU's side is corrected
# (_architectural() in referenced.py).
COUNTS = {"cortex-a53": 3, "cortex-a57": 3, "cortex-a72": 12, "neoverse-n1": 8, "max": 10}

pytestmark = pytest.mark.skipif(
    bool(missing() or missing_assembler()), reason=missing() or missing_assembler()
)


@pytest.mark.parametrize("name", COMPARED)
def test_programs_do_the_same_on_qemu(name: str) -> None:
    with Comparison(name) as comparison:
        programs = [program for kind in KINDS for program in comparison.draw(kind, range(COUNTS[name]))]
        shortest: dict[str, Difference] = {}
        for found in filter(None, comparison.compare(programs)):
            best = shortest.setdefault(found.program.kind, found)
            if len(found.program.body) < len(best.program.body):
                shortest[found.program.kind] = found
        if shortest:
            lines = [line for each in shortest.values() for line in comparison.minimised(each).lines()]
            pytest.fail("These differ (QEMU | emu):\n" + "\n".join(lines), pytrace=False)


def test_every_core_is_compared() -> None:
    assert COUNTS.keys() == COMPARED.keys()


def test_programs_depend_on_their_seed_and_core_alone() -> None:
    core = COMPARED["max"]
    for kind in KINDS:
        assert draw(kind, 7, core) == draw(kind, 7, core)
        drawn = [draw(kind, seed, core) for seed in range(20)]
        assert len({(program.setup.text([]), program.body) for program in drawn}) > 3, kind
