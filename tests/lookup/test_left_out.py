"""A search counts what it does not ask, and says why, in text, in JSON and in KTAP."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

import pytest
from programs import run_emu
from zoo import FOLDER, under_test

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.fuzz import phases as searching
from emu.fuzz import search
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.left_out import LeftOut
from emu.fuzz.phases import RACES, Phases
from emu.fuzz.search import LookupSearch
from emu.fuzz.small import MPIDRS, small_maps
from emu.lookup.corpus import situations
from emu.report.lookup import REASONS

HASH = FOLDER / "correct" / "hash.S"  # whose table has room for 4 buckets for each CPU
ENDLESS = FOLDER / "mutants" / "endless.S"


def _searched(lookup: UnderTest, sizes: list[int], cases: int = 2000) -> LookupSearch:
    found = LookupSearch(lookup)
    for _ in found.run(sizes, cases, 0):
        pass
    return found


def _emu(*arguments: str | Path) -> str:
    return run_emu("lookup", *arguments).stdout


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(LeftOut)


def test_a_model_that_takes_tables_at_their_word_is_asked_everything() -> None:
    assert _searched(UnderTest("v3"), [2, 16]).left_out == {}


def test_a_right_lookup_is_asked_all_that_its_model_answers() -> None:
    literal = sum(len(found.mpidrs) for found in situations(16, literal=True) if found.literal)
    found = _searched(under_test(FOLDER / "correct" / "padded.S"), [16])
    # Twice: 16 entries lie at their least alignment in the second.
    assert found.left_out == {("regression", LeftOut.RULED_OUT): 2 * literal}
    assert literal == 56


def test_known_findings_end_a_phase_and_the_rest_is_counted() -> None:
    """What was asked of each small map, and what was not, is all there is."""
    lookup = UnderTest("rfc")
    found = _searched(lookup, [3], 100_000)
    left = found.left_out
    asked_of = Phases(lookup, "small")
    for _ in asked_of.small(lookup.at(3)):
        pass
    maps = sum(1 for _ in small_maps(3))
    skipped = left["small", LeftOut.KNOWN]
    assert skipped % len(MPIDRS) == 0
    assert 0 < skipped // len(MPIDRS) < maps
    assert asked_of.left_out["small", LeftOut.KNOWN] == skipped
    assert 0 < left["random", LeftOut.KNOWN] < 100_000
    assert left["concurrent", LeftOut.WRONG_AT_REST] == RACES


def test_of_the_random_cases_none_is_lost() -> None:
    """Those that were asked and those that were left out add up to the number that was wanted."""
    lookup = UnderTest("rfc")
    found = Phases(lookup)
    lookups = lookup.build_all([16])
    rounds = sum(1 for _ in found.random(lookups, 50_000, Random(0), 75))
    closely = found.cases - (50_000 - found.left_out["", LeftOut.KNOWN])
    assert found.left_out["", LeftOut.KNOWN] > 0
    assert rounds <= closely <= 17 * rounds  # of each map one at least is asked again, by itself


def test_batches_are_small_only_while_maps_show_what_is_known() -> None:
    """A look-up that is wrong for one hwid of 2^40 is asked at full speed, as one that is right is."""
    found = Phases(UnderTest("v3"), known={("answer", "another")})
    rounds = sum(1 for _ in found.random([found.under_test.at(16)], 50_000, Random(0), 75))
    assert 50_000 / 1024 < rounds < 50_000 / 1024 + 8
    wrong = Phases(under_test(FOLDER / "mutants" / "low_24_bits.S"))
    for _ in wrong.random([wrong.under_test.at(16)], 4096, Random(0), 75):
        pass
    assert wrong.left_out["", LeftOut.KNOWN] == 4096 - 1024 - 8 * 256


def test_maps_that_no_table_can_hold_are_counted() -> None:
    found = _searched(under_test(HASH), [2])
    assert found.left_out["small", LeftOut.MISFIT] % len(MPIDRS) == 0
    assert found.left_out["small", LeftOut.MISFIT] > 0
    assert found.left_out["regression", LeftOut.MISFIT] > 0
    assert found.left_out["concurrent", LeftOut.NO_ENTRIES] == RACES


def test_random_maps_that_never_fit_leave_all_the_cases_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = under_test(HASH)
    monkeypatch.setattr(searching, "random_map", lambda rng, nr_cpus: (0, MPIDR_HWID_BITMASK))
    found = Phases(lookup)
    for _ in found.random([lookup.at(2)], 500, Random(0), 75):
        pass
    assert (found.cases, found.left_out) == (0, {("", LeftOut.MISFIT): 500})


def test_what_code_that_hangs_was_not_asked_is_no_case_of_it() -> None:
    lookup = under_test(ENDLESS)
    found = Phases(lookup)
    built = lookup.at(3)
    mpidrs = [1 << 31 | Random(0).getrandbits(24) | 1 << 39] * 100
    found.ask(built, (0, 1, 2), mpidrs, ())
    assert built.batch.unasked == found.left_out["", LeftOut.HANGS] > 0
    closely = found.cases - (100 - built.batch.unasked)
    assert 1 <= closely <= 16


def test_enough_causes_end_the_search_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "CAUSES_MAX", 1)
    monkeypatch.setattr(search, "CAUSES_MAX", 1)
    found = _searched(UnderTest("rfc"), [1, 2], 3000)
    assert len(found.findings) == 1
    assert found.left_out["small", LeftOut.ENOUGH] > 0
    assert found.left_out["regression", LeftOut.ENOUGH] > 0
    assert found.left_out["random", LeftOut.ENOUGH] == 3000


def test_more_wrong_answers_than_are_judged_are_counted() -> None:
    lookup = under_test(FOLDER / "mutants" / "asks_firmware.S")
    found = Phases(lookup)
    found.ask(lookup.at(3), (0, 1, 2), [1 << 31 | 5] * 100, ())
    assert found.left_out["", LeftOut.ALIKE] == 100 - 16


def test_text_json_and_ktap_say_it_alike() -> None:
    arguments = "rfc", "--nr-cpus", "1", "--cases", "1000"
    part = "300 concurrent (one CPU alone: nobody changes the table)"
    lines = _emu(*arguments).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("left out: "))
    assert part in " ".join(line.strip() for line in lines[first : first + 4])
    (line,) = [line for line in _emu(*arguments, "--ktap").splitlines() if line.startswith("# left out")]
    assert part in line
    found = json.loads(_emu(*arguments, "--json"))["left_out"]
    assert {"phase": "concurrent", "reason": "alone", "cases": 300} in found
    assert {"phase": "regression", "reason": "ruled-out", "cases": 16} in found


def test_one_short_line_says_all_of_it() -> None:
    """What a maintainer reads is the finding: each count is there, and each reason once."""
    name = str(FOLDER / "mutants" / "low_24_bits.S")
    done = json.loads(_emu(name, "--cases", "3000", "--json"))["left_out"]
    text = _emu(name, "--cases", "3000")
    said = text[text.index("left out: ") : text.index("\nfail: ")]
    assert len(done) > 3
    assert len(said.splitlines()) <= 4
    assert max(map(len, said.splitlines())) <= 80
    whole = " ".join(said.split())
    for row in done:
        assert f"{row['cases']} {row['phase']}" in whole
    reasons = re.findall(r"\(([^()]*)\)", whole)
    assert len(reasons) == len(set(reasons)) == len({row["reason"] for row in done})


def test_random_cases_of_maps_that_do_not_fit_are_drawn_again() -> None:
    found = json.loads(_emu(HASH, "--nr-cpus", "2", "--cases", "70000", "--json"))
    assert not any(row["phase"] == "random" for row in found["left_out"])


def test_the_formats_list_every_reason() -> None:
    lines = (Path(__file__).parents[2] / "docs" / "formats.md").read_text().splitlines()
    told = {
        line.split("`")[1] for line in lines if any(line.startswith(f"| `{why.value}` |") for why in LeftOut)
    }
    assert told == {why.value for why in LeftOut}
