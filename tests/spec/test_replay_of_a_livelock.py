"""A livelock that an exploration finds, its story, its case and the replay of the case agree.

The case has the picks of one round behind the word ``loop`` (docs/formats.md).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from programs import run_emu

_IN_STEP = """/* in-step - each waits until the other one has stored what it has
 *
 * start: cpu* main
 */
main:   mrs     x9, mpidr_el1
        adr     x0, one
        adr     x1, two
        tbz     x9, #0, 1f
        adr     x1, one
        adr     x0, two
1:      mov     x2, #1
again:  eor     x2, x2, #1
        str     x2, [x0]
        ldr     x3, [x1]
        cmp     x3, #{until}
        b.ne    again
        b       .
        .balign 64
one:    .quad   0
        .balign 64
two:    .quad   0
"""
NEVER, AT_ONCE = 2, 0


def _subject(tmp_path: Path, until: int) -> str:
    path = tmp_path / "in-step.S"
    path.write_text(_IN_STEP.format(until=until))
    return str(path)


def _case(subject: str, picks: str) -> str:
    return f"{subject} topology=flat:2 grain=operation scheduler=replay:{picks}"


@pytest.fixture
def found(tmp_path: Path) -> list[dict[str, object]]:
    done = run_emu("explore", _subject(tmp_path, NEVER), "--cpus", "2", "--json")
    assert done.returncode == 1, done.stderr
    return list(json.loads(done.stdout)["findings"])


def test_replay_shows_what_explore_found(found: list[dict[str, object]]) -> None:
    done = run_emu("replay", str(found[0]["case"]), "--json")
    assert done.returncode == 1, done.stderr
    shown = json.loads(done.stdout)["findings"]
    assert [(each["rule"], each["cpus"], each["data"]) for each in shown] == [
        (each["rule"], each["cpus"], each["data"]) for each in found
    ]


def test_boot_and_step_take_the_schedule_of_a_livelock(
    found: list[dict[str, object]], tmp_path: Path
) -> None:
    case = str(found[0]["case"])
    assert run_emu("boot", "--case", case).returncode == 1
    script = tmp_path / "script"
    script.write_text("continue\n")
    assert run_emu("step", "--case", case, "--script", str(script)).returncode == 1


def test_the_twin_that_comes_out_passes(tmp_path: Path) -> None:
    assert run_emu("explore", _subject(tmp_path, AT_ONCE), "--cpus", "2").returncode == 0


def test_a_loop_shows_each_cpu_that_goes_round(found: list[dict[str, object]]) -> None:
    loop = re.search(r"loop,(\S+)", str(found[0]["case"]))
    assert loop
    assert {pick.partition("x")[0] for pick in loop[1].split(",")} == {"0", "1"}


@pytest.mark.parametrize(
    ("loop", "why"),
    [
        ("0x40,1x20,loop,0x4,1x3", "do not lead back"),
        ("0x40,1x20,loop,0x4", "not all go round"),
        ("0x40,loop", "no picks behind it"),
        ("0x40,loop,0x4,loop,1x4", "none of"),
    ],
    ids=["elsewhere", "one-alone", "nothing", "two"],
)
def test_a_loop_that_is_none_is_refused(loop: str, why: str, tmp_path: Path) -> None:
    done = run_emu("replay", _case(_subject(tmp_path, NEVER), loop))
    assert done.returncode == 2
    assert why in done.stderr


def test_a_loop_that_leads_back_is_taken_however_it_was_written(tmp_path: Path) -> None:
    done = run_emu("replay", _case(_subject(tmp_path, NEVER), "0x40,1x20,0x4,loop,0x4,1x4"))
    assert done.returncode == 1, done.stdout + done.stderr
