"""Look-ups that come to no exit, or come to one late: known by instructions, and checked like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from zoo import under_test

from emu.cpu.engine import Engine
from emu.cpu.stops import STEP_LIMIT
from emu.cpu.unicorn.engine import UnicornEngine
from emu.fuzz.built_lookup import BuiltLookup
from emu.lookup.case import Question
from emu.lookup.single import Short, judge
from emu.lookup.without_effect import without_effect

_HEADER = """/* SPDX-License-Identifier: GPL-2.0-or-later
 * late - a look-up that takes its time
 *
 * in:       x0 = PA of the hwid table, u64[x1], 8-byte aligned; x1 = entries, 1..4096
 * out:      x0 = logical CPU number, or -1 when no entry matches
 * clobbers: x1-x5, NZCV
 * memory:   reads [x0, x0 + 8*x1); writes none
 * state:    EL1 or EL2, MMU off, no stack
 * exits:    ret
 * model:    first-match
 * source:   original
 */
late:
"""
_MAP = tuple(range(64))
_ENDLESS = "again:  ldr     x3, [x0]\n        add     x2, x2, #1\n        b       again\n"
# It counts longer than is expected of a look-up, and loads from outside of its table when it is done.
_LATE = """        mov     x2, #{count}
count:  subs    x2, x2, #1
        b.ne    count
        ldr     x3, [x0, #{offset}]
        mov     x0, #0
"""


@pytest.fixture
def late(tmp_path: Path) -> Callable[[str], BuiltLookup]:
    """Return a function that gives the look-up of this code, for 64 CPUs."""

    def build(code: str) -> BuiltLookup:
        path = tmp_path / "late.S"
        path.write_text(_HEADER + code + "        ret\n        .size   late, . - late\n")
        return under_test(path).at(64)

    return build


def test_an_endless_lookup_is_run_to_its_limit_and_checked_up_to_what_is_expected(
    late: Callable[[str], BuiltLookup],
) -> None:
    built = late(_ENDLESS)
    answer = built.single.ask(Question(_MAP, 1 << 31))
    assert (answer.exit, answer.short, answer.instructions) == (
        "",
        Short.LIMIT,
        built.target.instructions_limit,
    )
    assert built.target.instructions_expected < built.target.instructions_limit // 4


@pytest.mark.parametrize(("offset", "told"), [(0, None), (512, "memory")])
def test_a_late_exit_is_checked_to_the_end(
    late: Callable[[str], BuiltLookup], offset: int, told: str | None
) -> None:
    """An access behind what is expected of a look-up is judged as an early one is."""
    built = late(_LATE.format(count=2500, offset=offset))
    answer = built.single.ask(Question(_MAP, 1 << 31))
    assert built.target.instructions_expected < answer.instructions < built.target.instructions_limit
    wrong = judge(answer, 0, built.target)
    assert (wrong.prop if wrong else None) == told


def test_a_batch_that_hangs_is_known_by_instructions(
    late: Callable[[str], BuiltLookup], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the host: a time-out leads to a counted run, and code that hangs runs counted alone."""
    built = late(_ENDLESS)
    uncounted: list[int] = []
    original = UnicornEngine.run_uncounted

    def at_once(self: Engine, pe: object, seconds: float = 0) -> object:
        uncounted.append(1)
        return original(self, pe, 0.0001)  # type: ignore[arg-type]

    monkeypatch.setattr(UnicornEngine, "run_uncounted", at_once)
    for _ in range(3):
        assert built.wrong_of(_MAP, [1 << 31, 1 << 31 | 1]) == [0]
        assert built.batch.unasked == 1
    assert len(uncounted) == 1
    right = late(_LATE.format(count=3000, offset=0))
    assert right.wrong_of(_MAP, [1 << 31] * 20) == []


def test_a_batch_that_times_out_before_its_first_instruction_has_answered_nothing(
    late: Callable[[str], BuiltLookup], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host so busy that no instruction is run in time: the questions are asked again, counted."""
    monkeypatch.setattr(UnicornEngine, "run_uncounted", lambda *_arguments: STEP_LIMIT)
    # RET goes where a register says, so the driver counts in memory; in code without it, in registers.
    by_cells, by_registers = late(_LATE.format(count=8, offset=0)), late(_ENDLESS)
    assert by_cells.wrong_of(_MAP, [1 << 31] * 20) == []
    assert by_cells.wrong_of(_MAP, [1 << 31, 1 << 31 | 1, 1 << 31]) == [1]
    assert by_registers.wrong_of(_MAP, [1 << 31, 1 << 31 | 1]) == [0]
    assert by_registers.batch.unasked == 1


def test_questions_that_take_their_time_are_not_looked_at_one_by_one(
    late: Callable[[str], BuiltLookup], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that has hung is counted: whether it goes on is asked of a question that takes long, no other."""
    looks: list[int] = []

    def look(*_arguments: object) -> bool:
        looks.append(1)
        return False

    monkeypatch.setattr("emu.lookup.batch.goes_on", look)
    monkeypatch.setattr("emu.lookup.single.goes_on", look)
    built = late(
        "cbnz x0, 1f\nb .\n1: mrs x2, mpidr_el1\ntbz x2, #3, over\n"
        + _LATE.format(count=0x1000, offset=0)
        + "over:\n"
    )
    hangs, quick = (1 << 31 | 8, 1 << 31 | 0)
    assert built.batch.ask([hangs, *[quick] * 100], [None] * 101)
    for mpidr in (hangs, quick):
        built.single.ask(Question(_MAP, mpidr))
    assert looks == []


@pytest.mark.parametrize(
    "code",
    [
        "again:  ldr     x3, [x0]\n        sev\n        b       again\n",
        "again:  sev\n        dsb     sy\n        add     x2, x2, #1\n        b       again\n",
        "again:  sevl\n        wfe\n        b       again\n",
        "again:  mrs     x2, cntvct_el0\n        b       again\n",
        "again:  tlbi    vmalle1\n        b       again\n",
        "again:  tlbi    vmalle1\n        add     x2, x2, #1\n        b       again\n",
        "again:  dc      cvac, x0\n        b       again\n",
        "again:  isb\n        ldxr    x3, [x0]\n        b       again\n",
    ],
)
def test_an_endless_lookup_that_the_host_takes_part_in_is_proved_endless(
    late: Callable[[str], BuiltLookup], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its rounds would stop the engine, which takes a thousand times as long."""
    built = late(code)
    executed: list[int] = []
    original = UnicornEngine.run
    monkeypatch.setattr(
        UnicornEngine,
        "run",
        lambda self, pe, limit: executed.append(limit) or original(self, pe, limit),  # type: ignore[func-returns-value]
    )
    answer = built.single.ask(Question(_MAP, 1 << 31))
    assert (answer.exit, answer.short) == ("", Short.LIMIT)
    assert answer.instructions == built.target.instructions_limit
    assert sum(executed) <= 300


@pytest.mark.parametrize(
    ("code", "runs"),
    [
        ("        tlbi    vae1is, x3\n        tlbi    vmalle1\n        sev\n", 0),
        ("        tlbi    vmalle1\n        sev\n        msr     sctlr_el1, x3\n", 1),  # the MMU may be on
        ("        sev\n        sevl\n        wfe\n", 3),  # each is seen
        ("        tlbi    alle1\n", 1),  # UNDEFINED at EL1
    ],
)
def test_a_batch_leaves_out_what_has_no_effect(
    late: Callable[[str], BuiltLookup], code: str, runs: int
) -> None:
    """A TLBI where nothing turns the MMU on, an event where nobody waits; all else is executed."""
    built = late("        b       first\n" + code + "first:  mov     x0, #0\n")
    segments = [(segment.pa, segment.data) for segment in built.target.subject.segments]
    left_out = list(without_effect(segments))
    assert len(left_out) == len(code.splitlines()) - runs - code.count("msr")
    assert built.wrong_of(_MAP, [1 << 31] * 20) == []


def test_what_a_batch_leaves_out_is_aligned_and_nothing_else() -> None:
    sev = (0xD503_209F).to_bytes(4, "little")
    assert list(without_effect([(0x1000, b"\0\0" + sev + b"\0\0" + sev)])) == [0x1008]
    assert list(without_effect([(0x1002, b"\0\0" + sev), (0x2000, sev)])) == [0x1004, 0x2000]
