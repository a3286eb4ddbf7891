"""A zoo of lookups: in the right ones nothing may be found, in the wrong ones what is planted there.

A mutant's comment says what was planted, and why the smallest wrong answer has the size that MUTANTS says.
``EMU_ZOO_CASES=1000000`` asks every right lookup so many random questions, with up to 4096 CPUs; by default
the search is short, and test_paths.py has the large tables.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest
from zoo import CASE_LINE_MAX, CORRECT, FOLDER, case_line, cpus_of, search

from emu.cli import main
from emu.fuzz.built_lookup import Checked
from emu.fuzz.search import LookupSearch

CASES = int(os.environ.get("EMU_ZOO_CASES", "20000"))
NR_CPUS_MAX = 4096 if "EMU_ZOO_CASES" in os.environ else 16
MUTANT_CASES = 20_000


class Expected(NamedTuple):
    """What a search has to find: the property that breaks, and its smallest question.

    ``cpus`` is the number of CPUs in the map, None where it may be any; ``cases`` bounds the questions asked.
    """

    prop: str
    nr_cpus: int
    cpus: int | None
    cases: int


MUTANTS = {
    "mask_without_aff3": Expected("answer", 1, 1, 200),
    "mask_with_mt": Expected("answer", 1, 1, 200),
    "mask_with_u": Expected("answer", 1, 1, 200),
    "mask_without_aff2": Expected("answer", 1, 1, 200),
    "mask_misplaced": Expected("answer", 1, 1, 200),
    "mask_one_bit_short": Expected("answer", 1, 1, 1_000),
    "unmasked": Expected("answer", 1, 1, 200),
    "wrong_width": Expected("answer", 1, 1, 1_000),
    "low_32_bits": Expected("answer", 1, 1, 200),
    "low_24_bits": Expected("answer", 1, 0, 200),
    "aff3_folded_twice": Expected("answer", 1, 1, 1_000),
    "torn_halves": Expected("concurrent", 1, 1, 50_000),
    "wrong_shift": Expected("exit", 2, 0, 1_000),
    "wrong_shift_aligned": Expected("answer", 2, 1, 3_000),
    "wrong_stride": Expected("answer", 2, 1, 3_000),
    "first_entry_missing": Expected("answer", 1, 1, 200),
    "last_entry_missing": Expected("answer", 2, 1, 3_000),
    "reads_one_more": Expected("memory", 1, 0, 200),
    "checked_too_late": Expected("memory", 1, 0, 200),
    "prefetches": Expected("memory", 1, 0, 200),
    "pair_over_the_end": Expected("memory", 1, 0, 200),
    "reads_before": Expected("memory", 1, 0, 200),
    "backward_without_first": Expected("answer", 1, 1, 200),
    "backward_unsigned": Expected("memory", 1, 0, 200),
    "index_of_8_bits": Expected("answer", 257, 1, 30_000),
    "index_of_8_signed_bits": Expected("memory", 129, 0, 30_000),
    "signed_end": Expected("answer", 2, 1, 3_000),
    "skips_zero": Expected("answer", 1, 1, 200),
    "stops_at_hole": Expected("answer", 2, 1, 3_000),
    "returns_the_hole": Expected("answer", 1, 0, 200),
    "unrolled_lane": Expected("answer", 4, 1, 30_000),
    "unrolled_without_rest": Expected("answer", 1, 1, 200),
    "unrolled_rest_of_two": Expected("answer", 3, 1, 10_000),
    "unrolled_once": Expected("answer", 8, 1, 50_000),
    "pair_first_only": Expected("answer", 2, 1, 3_000),
    "wrong_register": Expected("answer", 1, 1, 200),
    "upper_half_stale": Expected("answer", 1, 1, 200),
    "offset_for_index": Expected("answer", 2, 1, 3_000),
    "index_behind": Expected("answer", 1, 1, 200),
    "minus_one_of_32_bits": Expected("answer", 1, 0, 200),
    "number_for_none": Expected("answer", 1, 0, 200),
    "csel_inverted": Expected("answer", 1, 0, 200),
    "guess_not_verified": Expected("answer", 1, 0, 200),
    "guess_not_bounded": Expected("memory", 1, 0, 200),
    "mpidr_from_elsewhere": Expected("answer", 1, 1, 200),
    "flags_clobbered": Expected("registers", 1, 0, 200),
    "flags_of_the_counter": Expected("registers", 1, 0, 200),
    "callee_saved": Expected("registers", 1, 0, 200),
    "scratch_when_found": Expected("registers", 1, 1, 200),
    "input_changed": Expected("registers", 1, 0, 200),
    "base_changed": Expected("registers", 1, 0, 200),
    "stale_scratch": Expected("answer", 1, 1, 200),
    "index_never_set": Expected("exit", 1, 0, 200),
    "flags_never_set": Expected("answer", 1, 1, 200),
    "flags_of_the_caller": Expected("answer", 1, 1, 200),
    "lr_clobbered": Expected("exit", 1, 0, 200),
    "sp_not_restored": Expected("registers", 1, 0, 200),
    "saved_in_wrong_slot": Expected("registers", 1, 0, 200),
    "stack_too_deep": Expected("memory", 1, 0, 200),
    "no_stack": Expected("exit", 1, 0, 200),
    "empties_the_entry": Expected("memory", 1, 1, 200),
    "writes_it_back": Expected("memory", 1, 0, 200),
    "locks_the_table": Expected("memory", 1, 0, 200),
    "reads_its_neighbour": Expected("memory", 1, 0, 200),
    "endless": Expected("exit", 1, 0, 200),
    "wfe_for_ever": Expected("exit", 1, 0, 200),
    "stuck_at_hole": Expected("exit", 1, 0, 200),
    "asks_firmware": Expected("exit", 1, 0, 200),
    "wrong_label": Expected("answer", 1, 1, 200),
    "slow_at_the_end": Expected("bound", 1, 1, 200),
    "slow_when_absent": Expected("bound", 1, 0, 200),
    "quadratic": Expected("bound", 6, 0, 30_000),
    "binary_signed": Expected("answer", 2, 1, 3_000),
    "binary_rounds_up": Expected("memory", 1, 0, 200),
    "binary_ends_early": Expected("answer", 1, 1, 200),
    "binary_skips_below": Expected("answer", 2, 1, 3_000),
    "binary_does_not_move": Expected("exit", 1, 1, 200),
    "binary_forgets_permutation": Expected("answer", 2, 1, 3_000),
    "binary_underflow": Expected("exit", 1, 0, 200),
    "binary_narrow_entry": Expected("answer", 2, 1, 3_000),
    "hash_not_verified": Expected("answer", 1, 1, 200),
    "hash_shift_swapped": Expected("answer", 2, 2, 3_000),
    "hash_without_aff3": Expected("answer", 2, 2, 3_000),
    "hash_mask_of_32_bits": Expected("answer", 2, 2, 3_000),
    "hash_empty_bucket": Expected("exit", 1, 0, 200),
}


def first(path: Path, prop: str) -> tuple[LookupSearch, Checked]:
    """Return the search when it has found a question that breaks this property, and that question."""
    done = None
    for done in search(path, MUTANT_CASES):
        for found in done.findings:
            if found.wrong is not None and found.wrong.prop == prop:
                return done, found
    assert done is not None
    pytest.fail(f"{path.name}: no {prop}: {[(found.wrong, found.question) for found in done.findings]}")


@pytest.mark.parametrize("path", CORRECT, ids=lambda path: path.stem)
def test_nothing_is_found_in_a_correct_lookup(path: Path) -> None:
    """Every small question, the regression corpus, random ones, and a table that changes."""
    *_, last = search(path, CASES, nr_cpus_max=NR_CPUS_MAX)
    assert [(found.wrong, found.question) for found in last.findings] == []
    assert last.cases > CASES, "maps that do not fit count for nothing"
    assert not last.under_test.refused


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found_and_made_small(name: str) -> None:
    """The property that breaks, the size of its counterexample, and how many questions that may take."""
    expected = MUTANTS[name]
    done, found = first(FOLDER / "mutants" / f"{name}.S", expected.prop)
    assert found.nr_cpus == expected.nr_cpus
    assert expected.cpus in (None, cpus_of(found)), found.question
    assert done.cases <= expected.cases
    assert all(len(case_line(done.under_test, each)) <= CASE_LINE_MAX for each in done.findings)


def test_every_mutant_is_in_the_table() -> None:
    """And says what was planted, and why its counterexample has the size that it has."""
    files = {path.stem: path.read_text() for path in (FOLDER / "mutants").glob("*.S")}
    assert set(files) == set(MUTANTS)
    for name, text in files.items():
        assert "\n// Planted: " in text, name
        assert "\n// Smallest: " in text, name


@pytest.mark.parametrize(
    ("path", "status"),
    [("correct/forward.S", 0), ("mutants/low_32_bits.S", 1), ("mutants/wfe_for_ever.S", 1)],
)
def test_the_command_says_it_with_its_status(
    path: str,
    status: int,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """0 holds, 1 a finding: what ``git bisect run`` goes by."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["lookup", str(FOLDER / path), "--cases", "2000", "--max-cpus", "2"])
    assert ended.value.code == status, capsys.readouterr()
