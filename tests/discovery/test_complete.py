"""What a complete exploration without a finding must have looked at: of each kind what it must not miss."""

from __future__ import annotations

from pathlib import Path

import pytest
from exploring import X, Y, explore, explorer_of, task
from planting import plant

from emu.case import Case
from emu.explore.confirm import confirm_shortest
from emu.explore.explorer import ExplorationResult, explore_case
from emu.explore.search import Bounds
from emu.operation import Store

SLOT = "        adr_l   x0, cpu_boot_data\n"
WORD = ".balign 64\nplanted_word: .zero 64\nplanted: "


def explored(folder: Path, code: str, *options: str, cpus: int = 3) -> ExplorationResult:
    """Explore v3 with ``code`` in front of its slot: x19 is the CPU's number, x1 the VA of a word."""
    text = f"b planted\n{WORD}\nadr_l x1, planted_word\n{code}\n{SLOT}"
    case = plant(folder, "v3", "slot/slot_per_cpu", SLOT, text)
    explorer, boot = explore_case(Case.parse(" ".join([case, f"topology=flat:{cpus}", *options])))
    result = explorer.search(Bounds(), everything=True)
    assert result.complete, result.incomplete
    for found in result.findings:
        assert confirm_shortest(explorer, boot, found).on_machine
    return result


def rules(result: ExplorationResult) -> set[str]:
    """The rules that found something."""
    return {found.finding.rule for found in result.findings}


# -- states are told apart exactly ----------------------------------------------------------------


@pytest.mark.parametrize(("one", "other"), [(7, (1 << 64) - 1), (0, (1 << 61) - 1), (5, 5 + (1 << 61) - 1)])
def test_values_with_one_python_hash_are_two_states(one: int, other: int) -> None:
    """The last one to store decides what the reader sees; Python's hash() is modulo 2^61-1."""
    assert hash(one) == hash(other)
    programs = [task(Store(X, one), Store(Y, 1)), task(Store(X, other)), "ldr x1, [x0]\nb ."]
    _, ends = explore(explorer_of(programs), X)
    assert {words[0] for words, _ in ends.seen} == {one, other}


# -- events and power -----------------------------------------------------------------------------

LATE_FOR_SEV = """
        cmp     x19, #1
        b.ne    9f
        sev
        b       8f
9:      wfe
8:
"""
SEV_AFTER_BOTH = """
        add     x2, x1, #8
        cmp     x19, #1
        b.ne    9f
1:      ldr     x3, [x2]
        cbz     x3, 1b
        sev
        b       8f
9:      mov     x3, #1
        str     x3, [x2]
        wfe
8:
"""


def test_a_sev_that_comes_before_its_cpu_is_on_does_not_wake_it(tmp_path: Path) -> None:
    """CPU_ON clears the event register that SEV has set of the CPUs that were on."""
    assert "stuck" in rules(explored(tmp_path, LATE_FOR_SEV, "bringup=parallel"))


def test_a_sev_that_waits_for_its_cpu_wakes_it(tmp_path: Path) -> None:
    assert rules(explored(tmp_path, SEV_AFTER_BOTH, "bringup=parallel")) == set()


@pytest.mark.parametrize("first", ["sev", "ldr x3, [x1]\nsev"])
def test_a_sev_between_a_look_and_wfe_is_kept_in_every_order(first: str) -> None:
    """All four orders of SEV, store, look and WFE: asleep for ever in those where SEV is spent."""
    waker = f"{first}\nmov x1, #1\nstr x1, [x0]\nb ."
    sleeper = "again: wfe\nldr x1, [x0]\ncbz x1, again\nb ."
    _, reduced = explore(explorer_of([waker.replace("[x1]", "[x0, #256]"), sleeper]), X)
    _, every = explore(explorer_of([waker.replace("[x1]", "[x0, #256]"), sleeper]), X, reduce=False)
    assert set(reduced.seen) == set(every.seen)


# -- lines that can still move at an end ----------------------------------------------------------


def test_a_dirty_line_takes_away_at_the_end_what_nobody_reads_again() -> None:
    """One stores through its cache, another past it into the same line; nobody looks afterwards."""
    programs = [task(Store(X, 1, 8, True, False)), task(Store(X + 8, 2, 8, False, False))]
    result = explorer_of(programs, cached=True).search(Bounds(), everything=True)
    assert (result.complete, rules(result)) == (True, {"lost-write"})


def test_two_lines_take_nothing_away() -> None:
    programs = [task(Store(X, 1, 8, True, False)), task(Store(Y, 2, 8, False, False))]
    result = explorer_of(programs, cached=True).search(Bounds(), everything=True)
    assert (result.complete, rules(result)) == (True, set())
