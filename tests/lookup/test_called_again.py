"""A look-up that is called again finds in its registers what an earlier call has left there.

Each planted bug trusts that, behind a value that no usual start has; its twin does not.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts import HWID, NEXT
from test_what_is_left_open import TOML, searched

from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.phases import Phases, again_at
from emu.fuzz.race import ask_case
from emu.fuzz.unit import opening, run_unit
from emu.report.lookup import case_of

REST = """
        ldr     x1, =__cpu_logical_map
        movz    x2, #0xc00c
        movk    x2, #0x7e57, lsl #16
        cmp     x5, x2
        b.ne    2f
        {warm}
2:      mov     x5, x2
        mov     x19, #0
1:      ldr     x3, [x1, x19, lsl #3]
        mov     x4, x0
"""
AGAIN = {
    # Goes on where the last call has ended, and never comes to what is before.
    "the-same-table": ("cmp x19, #NR_CPUS\n b.lo 1f", "mov x19, #0\n b 1f"),
    # The CPU that asked the last time is where it was, unless the table is another one.
    "another-table": (
        "cmp x4, x0\n b.eq found",
        "cmp x19, #NR_CPUS\n b.hs 2f\n ldr x3, [x1, x19, lsl #3]\n cmp x3, x0\n b.eq found",
    ),
}


def text_of(warm: str) -> str:
    """Return a look-up that does this where its registers say that it was called before."""
    return HWID + REST.format(warm=warm) + NEXT


@pytest.mark.parametrize("name", AGAIN)
def test_what_an_earlier_call_has_left_is_found_by_this_alone(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case has the registers that matter, and is asked again alike."""
    done = searched(tmp_path, text_of(AGAIN[name][0]))
    found = done.findings
    assert [each.wrong.prop for each in found if each.wrong is not None] == ["answer"] * len(found)
    assert found
    for each in found:
        case = case_of(done.under_test, each, "", "")
        assert dict(case.begin)["x5"] == 0x7E57_C00C
        assert len(case.begin) <= 3
        assert ask_case(done.under_test, case).wrong == each.wrong
    monkeypatch.setattr(Phases, "again", lambda _self, _built: iter(()))
    assert searched(tmp_path, text_of(AGAIN[name][0])).findings == []


@pytest.mark.parametrize("name", AGAIN)
def test_what_an_earlier_call_has_left_may_be_looked_at(tmp_path: Path, name: str) -> None:
    """The twin takes it for a guess."""
    assert searched(tmp_path, text_of(AGAIN[name][1])).findings == []


@pytest.mark.parametrize("turn", [0, 1], ids=["planted", "twin"])
def test_a_campaign_has_a_unit_of_second_calls(tmp_path: Path, turn: int) -> None:
    """In its opening, at one NR_CPUS; the case of the finding has the registers."""
    source = tmp_path / "user.S"
    source.write_text(text_of(AGAIN["another-table"][turn]))
    source.with_suffix(".toml").write_text(TOML)
    points = [(2, ())]
    (unit,) = [unit for unit in opening(points) if unit.kind == "again"]
    hits = run_unit(UnderTest(str(source)), points, unit).hits
    cases = [hit.case for hit in hits if hit.case is not None]
    assert all(("x5", 0x7E57_C00C) in case.begin for case in cases)
    assert bool(cases) == (turn == 0)


def test_it_is_called_again_at_few_cpus() -> None:
    """At the largest NR_CPUS of three and less, else at the smallest; with the defaults of other defines."""
    assert again_at([(1, ()), (3, ()), (3, (("A", 1),)), (256, ())]) == (3, ())
    assert again_at([(256, ()), (4096, ())]) == (256, ())
