"""ID registers of each core read the same on QEMU, but for the fields that cores.py lists."""

from __future__ import annotations

import pytest
from reference.comparing import Comparison
from reference.cores import COMPARED
from reference.drawn import Program
from reference.qemu import missing
from reference.register_names import IDENTIFICATION, access
from reference.setup import COUNTERS, Setup
from reference.world import missing_assembler

PMCR_EL0, PMCEID0_EL0, PMCEID1_EL0 = (3, 3, 9, 12, 0), (3, 3, 9, 12, 6), (3, 3, 9, 12, 7)
ASKED = [each for each in IDENTIFICATION if each != (3, 0, 0, 0, 5)] + [PMCR_EL0, PMCEID0_EL0, PMCEID1_EL0]
_AT_ONCE = 20

pytestmark = pytest.mark.skipif(
    bool(missing() or missing_assembler()), reason=missing() or missing_assembler()
)


@pytest.mark.parametrize("name", COMPARED)
def test_id_registers_read_the_same_but_for_what_emus_core_lacks(name: str) -> None:
    core = COMPARED[name]
    asked = [encoding for encoding in ASKED if encoding != (3, 0, 0, 0, 0)]
    unequal: dict[tuple[int, ...], tuple[int, int]] = {}
    with Comparison(name) as both:
        for start in range(0, len(asked), _AT_ONCE):
            part = asked[start : start + _AT_ONCE]
            lines = tuple(access(encoding, f"x{number}", read=True) for number, encoding in enumerate(part))
            program = Program("identification", start, Setup(2, 1), (0,) * 31, lines)
            theirs, ours = both.outcomes(program)
            assert theirs.log == ours.log, "UNDEFINED on both, or on neither"
            for number, encoding in enumerate(part):
                if theirs.general[number] != ours.general[number]:
                    unequal[encoding] = theirs.general[number], ours.general[number]
    for encoding, values in unequal.items():
        assert core.is_same(encoding, *values), (encoding, [f"{value:#x}" for value in values])
    listed = core.fields.keys() & set(asked)
    assert unequal.keys() <= listed
    assert listed - unequal.keys() <= {(3, 0, 0, 1, 1), (3, 0, 0, 1, 2), (3, 0, 0, 4, 0)}, (
        "these do not differ"
    )
    assert core.core.pmcr >> 11 & 31 == COUNTERS
