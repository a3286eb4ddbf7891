"""A loop that does nothing but read the counter until its time has come: that time passes at once.

docs/model.md says what the counter shows: simulated time at 62.5 MHz, and each look is a tick later.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from programs import run_emu

_HEAD = "/* wait - for the counter\n *\n * start: boot main\n */\n"
_BEHIND = """
        sub     x2, x2, x1
        cmp     x2, #32
        b.hs    wrong
        b       .
wrong:  brk     #1
"""
# By name: what waits for the counter to be X1; X2 is what it was read as last.
LOOPS = {
    "compare": "spin: mrs x2, cntvct_el0\n cmp x2, x1\n b.lo spin",
    "physical": "spin: mrs x2, cntpct_el0\n cmp x2, x1\n b.cc spin",
    "since": "sub x4, x1, x0\nspin: isb\n mrs x2, cntvct_el0\n sub x3, x2, x0\n cmp x3, x4\n b.lo spin",
    "difference": "spin: mrs x2, cntvct_el0\n sub x3, x1, x2\n cmp x3, #0\n b.gt spin",
    "other-way": "spin: mrs x2, cntvct_el0\n cmp x1, x2\n b.hi spin",
}
SHORT, LONG, TOO_LONG = 0x200, 0x1000_0000, 1 << 40  # ticks; 4.3 s and 5 h
INSTRUCTIONS_MAX = 1 << 17


def _written(tmp_path: Path, loop: str, ticks: int, behind: str = _BEHIND) -> str:
    path = tmp_path / "wait.S"
    begin = f"main: mrs x0, cntvct_el0\n movz x5, #{ticks >> 32}, lsl #32\n"
    begin += f" movk x5, #{ticks >> 16 & 0xFFFF}, lsl #16\n movk x5, #{ticks & 0xFFFF}\n add x1, x0, x5\n "
    path.write_text(_HEAD + begin + loop + behind)
    return str(path)


@pytest.mark.parametrize("ticks", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("grain", ["free", "operation", "instruction"])
@pytest.mark.parametrize("name", LOOPS)
def test_the_counter_is_right_behind_a_wait(name: str, grain: str, ticks: int, tmp_path: Path) -> None:
    """As behind a short wait, each round of which is made: at most one turn of the CPU (0.5 us) later."""
    done = run_emu("boot", _written(tmp_path, LOOPS[name], ticks), "--cpus", "2", "--grain", grain, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)
    assert sum(cpu["instructions"] for cpu in data["cpus"]) <= INSTRUCTIONS_MAX


def test_a_wrong_value_would_be_seen(tmp_path: Path) -> None:
    behind = _BEHIND.replace("sub     x2, x2, x1", "sub     x2, x2, x0")
    done = run_emu("boot", _written(tmp_path, LOOPS["compare"], LONG, behind), "--cpus", "2")
    assert done.returncode == 1, done.stdout + done.stderr


def test_an_exploration_waits_too(tmp_path: Path) -> None:
    done = run_emu("explore", _written(tmp_path, LOOPS["compare"], LONG), "--cpus", "2")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", ["boot", "explore"])
def test_a_wait_beyond_the_limit_is_told_at_once(command: str, tmp_path: Path) -> None:
    done = run_emu(command, _written(tmp_path, LOOPS["compare"], TOO_LONG), "--cpus", "2")
    assert done.returncode == 125, done.stdout + done.stderr
    assert "CPU0 waits longer for the counter" in done.stdout + done.stderr
    assert "--instructions-max" in done.stdout + done.stderr


def test_the_limit_goes_by_the_instructions_of_the_run(tmp_path: Path) -> None:
    subject = _written(tmp_path, LOOPS["compare"], LONG)
    asked = ("boot", subject, "--cpus", "2", "--instructions-max")
    assert run_emu(*asked, "4000000").returncode == 125
    assert run_emu(*asked, "5000000").returncode == 0


def test_a_loop_that_looks_at_a_word_too_is_not_a_wait_for_the_counter(tmp_path: Path) -> None:
    """Another CPU may store the word: each round is made."""
    loop = "adr x6, main\nspin: ldr x7, [x6]\n mrs x2, cntvct_el0\n cmp x2, x1\n b.lo spin"
    done = run_emu("boot", _written(tmp_path, loop, LONG), "--cpus", "2", "--instructions-max", "2000000")
    assert done.returncode == 125, done.stdout + done.stderr


POLL = """adr x6, word
spin:   ldr     x7, [x6]
        cbnz    x7, out
        mrs     x2, cntvct_el0
        cmp     x2, x1
        b.lo    spin
out:    b       .
        .balign 64
word:   .quad   {word}
"""


@pytest.mark.parametrize(("word", "status"), [(0, 125), (1, 0)], ids=["time-out", "twin"])
def test_a_poll_that_the_counter_ends_is_no_livelock(word: int, status: int, tmp_path: Path) -> None:
    """No time passes between the steps of an exploration: it cannot say what such a poll comes to."""
    done = run_emu("explore", _written(tmp_path, POLL.format(word=word), SHORT, ""), "--cpus", "2")
    assert done.returncode == status, done.stdout + done.stderr
    assert status == 0 or "CPU0 goes round and reads the counter" in done.stderr


_POLL = """/* a poll of a word, with a time-out of a quarter of a second
 *
 * start: boot main
 */
main:   mrs     x1, cntvct_el0
        movz    x2, #0x100, lsl #16
        add     x2, x1, x2
        adr     x4, word
spin:   {look}
        mrs     x1, cntvct_el0
        cmp     x1, x2
        b.lo    spin
out:    b       out
        .balign 64
word:   .quad   0
"""


@pytest.mark.parametrize("look", ["nop", "ldr x3, [x4]\n        cbnz x3, out"])
def test_time_passes_where_each_instruction_is_recorded_and_where_nobody_else_can_store_the_word(
    look: str, tmp_path: Path
) -> None:
    (tmp_path / "poll.S").write_text(_POLL.format(look=look))
    done = run_emu("trace", "poll.S", "--cpus", "1", "-o", "t", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"([\d,]+) instructions", done.stdout)[1].replace(",", "")) < 1 << 16
    assert run_emu("boot", "poll.S", "--cpus", "1", cwd=tmp_path).returncode == 0
