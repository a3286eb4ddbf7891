"""Maintenance by set and way, and instructions that were fetched with the MMU off: planted, and mended."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from booting import run
from planting import plant

from emu.case import Case
from emu.explore.explorer import explore_case
from emu.explore.search import Bounds
from emu.subject.fragment import asm_dir

OFF = ("boot/secondary_startup_mmu", "secondary_startup_mmu:", "secondary_startup_mmu:\n\t{}")
ON = ("boot/secondary_load_task", "secondary_load_task:", "secondary_load_task:\n\t{}")
IC = f"        ic      iallu{35 * ' '}// drop what was fetched by PA and is now stale\n"
DSB, ISB = "        dsb     nsh\n", "        isb\n        ret\n"


@pytest.fixture
def planted(tmp_path: Path):
    """Return a function that writes v3 as one .S file with some text of one fragment replaced."""
    return partial(plant, tmp_path, "v3")


def plant_also(case: str, fragment: str, old: str, new: str) -> None:
    """Replace text of another fragment that the planted file includes."""
    path, text = Path(case.split()[0]), (asm_dir() / f"{fragment}.S").read_text()
    assert text.count(old) == 1
    path.write_text(path.read_text().replace(f'#include "{fragment}.S"', text.replace(old, new)))


def rules_and_whats(case: str) -> set[tuple[str, str]]:
    done = run(case, record=True)
    return {(finding.rule, finding.what) for finding in done.verdict.findings}


@pytest.mark.parametrize(
    ("where", "text", "what"),
    [
        (OFF, "mov x9, #0\n\tdc isw, x9", "set-way-invalidate"),
        (OFF, "mov x9, #2\n\tdc isw, x9", "set-way-invalidate"),
        (ON, "mov x9, #0\n\tdc isw, x9", "set-way-invalidate"),
        (OFF, "mov x9, #2\n\tdc cisw, x9", "set-way-shared"),
        (OFF, "mov x9, #2\n\tdc csw, x9", "set-way-shared"),
        (ON, "mov x9, #0\n\tdc cisw, x9", "set-way-cached"),
        (ON, "mov x9, #0\n\tdc csw, x9", "set-way-cached"),
        # What it is for: a CPU empties the level that is its own, with its caches off.
        (OFF, "mov x9, #0\n\tdc cisw, x9", None),
        (OFF, "mov x9, #0\n\tdc csw, x9", None),
        (OFF, "dc civac, x9", None),
    ],
)
@pytest.mark.parametrize("options", ["", " memory=caches", " grain=operation"])
def test_maintenance_by_set_and_way_is_misuse_where_it_does_not_do_what_it_is_for(
    planted, where: tuple[str, str, str], text: str, what: str | None, options: str
) -> None:
    fragment, old, new = where
    case = planted(fragment, old, new.format(text))
    done = run(f"{case} topology=flat:3{options}")
    found = [finding for finding in done.verdict.findings if finding.rule == "misuse"]
    assert {finding.what for finding in found} == ({what} if what else set())
    assert [finding.cpus for finding in found] == ([(1,), (2,)] if what else [])
    if what:
        data = dict(found[0].data)
        assert data["level"] == (2 if "#2" in text else 1)
        assert f", level {data['level']} (" in done.messages[0]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (IC, "", "not-invalidated"),
        (IC, "        ic      ivau, x1\n", "not-invalidated"),
        (DSB, "", "not-completed"),
        (DSB, "        dsb     nshst\n", "not-completed"),
        (ISB, "        ret\n", None),  # the one of VBAR_EL1 is in time
        (IC, "        ic      ialluis\n", None),
        (DSB, "        dsb     sy\n", None),
        (IC, IC, None),
    ],
)
def test_what_was_fetched_with_the_mmu_off_is_invalidated_before_c(
    planted, old: str, new: str, what: str | None
) -> None:
    case = planted("boot/__enable_mmu", old, new) + " topology=flat:2"
    assert rules_and_whats(case) == ({("icache", what)} if what else set())


def test_an_invalidation_before_the_mmu_is_on_does_not_count(planted) -> None:
    case = planted("boot/__enable_mmu", IC, "")
    path = Path(case.split()[0])
    path.write_text(path.read_text().replace("mmu_on:", "        ic iallu\n        dsb nsh\nmmu_on:"))
    assert rules_and_whats(f"{case} topology=flat:2") == {("icache", "not-invalidated")}


def test_an_invalidation_that_no_isb_follows_does_not_count(planted) -> None:
    case = planted("boot/__enable_mmu", IC, "")
    fragment, old, new = ON
    plant_also(case, fragment, old, new.format("ic iallu\n\tdsb nsh"))
    assert rules_and_whats(f"{case} topology=flat:2") == {("icache", "not-synchronised")}


@pytest.mark.parametrize("memory", ["coherent", "caches"])
def test_an_exploration_finds_both(planted, memory: str) -> None:
    fragment, old, new = OFF
    case = planted(fragment, old, new.format("mov x9, #0\n\tdc isw, x9"))
    plant_also(case, "boot/__enable_mmu", IC, "")
    explorer, _ = explore_case(Case.parse(f"{case} topology=flat:3 memory={memory}"))
    result = explorer.search(Bounds(), everything=True)
    assert {(found.finding.rule, found.finding.what) for found in result.findings} == {
        ("misuse", "set-way-invalidate"),
        ("icache", "not-invalidated"),
    }
