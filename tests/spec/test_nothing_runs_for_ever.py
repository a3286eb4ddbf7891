"""Loops of every kind, in every command that runs guest code: each ends by itself, and is told.

No limit is asked for: what a command comes to with its own limits is the subject. Such a loop, run to the
limit of 500,000,000 instructions, would take hours in most cells.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import run_emu

_HEAD = "/* {name} - a loop\n *\n * start: {who} main\n */\n"
_WORDS = "\n        .balign 64\nword:   .quad 0\n        .balign 64\nother:  .quad 0\n"
_VBAR = "main:   adr x9, vectors\n        msr vbar_el1, x9\n        isb\n"
_VECTORS = "\n .balign 2048\nvectors: .fill 128, 4, 0xd503201f\n {}\n .balign 2048\n nop\n"
_TWO = """main:   adr x0, word
        adr x1, other
        mrs x2, mpidr_el1
        tbz x2, #0, 1f
        mov x3, x0
        mov x0, x1
        mov x1, x3
1:      mov x4, #1
"""


def _handled(code: str, handler: str) -> str:
    return _VBAR + code + "\n        b ." + _VECTORS.format(handler)


FAILS, CUT = 1, 125  # a finding; it cannot be tested within the limit
# By name: the program, and the status of what judges it.
KINDS: dict[str, tuple[str, int]] = {
    "exception-at-one-pc": (_handled("mov x1, #8\nfaults: ldr x1, [x1]", "mov x1, #8\n eret"), FAILS),
    "vector-that-faults-without-a-stack": (
        _handled("mov x0, #0x20\n mov sp, x0\n brk #1", "sub sp, sp, #32\n str x0, [sp]"),
        FAILS,
    ),
    "trap-that-returns-to-itself": (_handled("faults: .word 0", "eret"), FAILS),
    "svc-that-returns-to-itself": (
        _handled("faults: svc #0", "mrs x1, elr_el1\n sub x1, x1, #4\n msr elr_el1, x1\n eret"),
        FAILS,
    ),
    "trap-whose-handler-counts": (
        _handled("mov x2, #0\nfaults: .word 0", "add x2, x2, #1\n eret"),
        FAILS,
    ),
    "abort-whose-handler-counts-and-looks-at-the-syndrome": (
        _handled(
            "mov x1, #8\nfaults: ldr x3, [x1]",
            "mrs x4, esr_el1\n lsr x4, x4, #26\n mrs x5, far_el1\n cmp x4, #0x15\n b.eq out\n"
            " add x2, x2, #1\nout: eret",
        ),
        FAILS,
    ),
    "undefined-instructions-that-are-passed-over": (
        _handled(
            "faults: .word 0\n b faults",
            "add x2, x2, #1\n mrs x3, elr_el1\n add x3, x3, #4\n msr elr_el1, x3\n eret",
        ),
        FAILS,
    ),
    "spin-on-a-register": ("main: mov x1, #0\nspin: cmp x1, #1\n b.ne spin\n b .", FAILS),
    "spin-on-memory": ("main: adr x0, word\nspin: ldr x1, [x0]\n cbz x1, spin\n b .", FAILS),
    "store-of-the-same-value": ("main: adr x0, word\nspin: str x1, [x0]\n b spin", FAILS),
    "store-of-two-values-in-turn": (
        "main: adr x0, word\nspin: ldr x1, [x0]\n eor x1, x1, #1\n str x1, [x0]\n b spin",
        FAILS,
    ),
    "wake-up-calls-to-itself": ("main: sev\n wfe\n b main", FAILS),
    "wake-up-calls-to-nobody": ("main: sev\n b main", FAILS),
    "spin-with-an-event": ("main: sevl\n adr x0, word\nspin: ldr x1, [x0]\n cbz x1, spin\n b .", FAILS),
    "two-of-which-one-wakes-the-other": (
        "main: mrs x2, mpidr_el1\n tbz x2, #0, 2f\n1: wfe\n b 1b\n2: sev\n b 2b",
        FAILS,
    ),
    "questions-to-firmware": (
        "main: movz x0, #0xc400, lsl #16\n movk x0, #4\n mov x1, #1\n mov x2, #0\n smc #0\n"
        " cbnz x0, main\n b .",
        FAILS,
    ),
    "two-that-answer-each-other": (
        _TWO + "spin: ldr x5, [x1]\n add x5, x5, #1\n and x5, x5, #3\n str x5, [x0]\n b spin",
        FAILS,
    ),
    "two-that-wait-for-each-other": (
        _TWO + "spin: eor x4, x4, #1\n str x4, [x0]\n ldr x5, [x1]\n cmp x5, #2\n b.ne spin\n b .",
        FAILS,
    ),
    "count-to-2^40": ("main: movz x2, #0x100, lsl #32\nspin: subs x2, x2, #1\n b.ne spin\n b .", CUT),
    "count-in-memory": (
        "main: adr x0, word\nspin: ldr x1, [x0]\n add x1, x1, #1\n str x1, [x0]\n b spin",
        CUT,
    ),
    "poll-with-a-long-time-out": (
        "main: adr x0, word\n mov x2, #-1\nspin: ldr x1, [x0]\n cbnz x1, out\n subs x2, x2, #1\n b.ne spin\n"
        "out: b .",
        CUT,
    ),
}
# In a WFE that nobody ends a CPU is asleep, which is how a program may end.
ASLEEP = "main: adr x0, word\nspin: wfe\n ldr x1, [x0]\n cbz x1, spin\n b ."
INSTRUCTIONS_MAX = 1 << 19  # of both CPUs together


def _written(folder: Path, name: str, code: str) -> str:
    path = folder / "loop.S"
    who = "cpu*" if name.startswith("two-") else "boot"
    lines = re.sub(r"^(?=[a-z])(?!\w+:)", "        ", code, flags=re.MULTILINE)
    path.write_text(_HEAD.format(name=name, who=who) + lines + _WORDS)
    return str(path)


@pytest.mark.parametrize("grain", ["free", "operation", "instruction"])
@pytest.mark.parametrize("name", KINDS)
def test_a_boot_ends_and_tells_of_the_loop(name: str, grain: str, tmp_path: Path) -> None:
    code, status = KINDS[name]
    done = run_emu("boot", _written(tmp_path, name, code), "--cpus", "2", "--grain", grain, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    data = json.loads(done.stdout)
    assert sum(cpu["instructions"] for cpu in data["cpus"]) <= INSTRUCTIONS_MAX
    if status == FAILS:
        assert {finding["rule"] for finding in data["findings"]} <= {"stuck", "misuse", "arrival"}
        assert data["findings"]
    else:
        assert "--instructions-max" in data["stopped"]
        assert "CPU0's loop takes more" in data["stopped"]


@pytest.mark.parametrize("name", KINDS)
def test_a_trace_of_each_instruction_ends(name: str, tmp_path: Path) -> None:
    code, status = KINDS[name]
    subject = _written(tmp_path, name, code)
    done = run_emu("trace", subject, "--cpus", "2", "-o", str(tmp_path / "t.trace"))
    assert done.returncode == (125 if status == CUT else 0), done.stdout + done.stderr


@pytest.mark.parametrize("name", KINDS)
def test_a_session_that_goes_on_ends(name: str, tmp_path: Path) -> None:
    """As gdb's "continue" does, which has the same session."""
    code, status = KINDS[name]
    script = tmp_path / "script"
    script.write_text("continue\n" * 8)
    words = ["step", _written(tmp_path, name, code), "--cpus", "2", "--script", str(script)]
    done = subprocess.run([sys.executable, "-m", "emu", *words], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    end = next(line for line in done.stdout.splitlines() if line.startswith("the end: "))
    told = r"CPU0 (spins|takes an exception) for ever.*, at \w" if status == FAILS else "CPU0's loop"
    assert re.search(told, end), end


@pytest.mark.parametrize("name", KINDS)
def test_an_exploration_ends_and_its_finding_has_a_story(name: str, tmp_path: Path) -> None:
    code, status = KINDS[name]
    done = run_emu("explore", _written(tmp_path, name, code), "--cpus", "2", "--json")
    assert done.returncode == status, done.stdout + done.stderr
    if status == FAILS:
        case = json.loads(done.stdout)["findings"][0]["case"]
        assert run_emu("replay", case).returncode == FAILS


COUNTING = {
    "in-a-register": "main: mov x6, #0\nl: add x6, x6, #1\n sev\n wfe\n b l",
    "in-memory": "main: adr x1, word\nl: ldr x6, [x1]\n add x6, x6, #1\n str x6, [x1]\n sev\n wfe\n b l",
}


@pytest.mark.parametrize("cpus", [2, 3])
@pytest.mark.parametrize("name", COUNTING)
def test_cpus_that_all_count_and_send_events_are_noticed_at_once(
    name: str, cpus: int, tmp_path: Path
) -> None:
    """Each looks as if it could be waiting for the others: that none gets anywhere shows at one state."""
    subject = _written(tmp_path, f"two-{name}", COUNTING[name])
    done = run_emu("explore", subject, "--cpus", str(cpus), "--json")
    data = json.loads(done.stdout)
    assert done.returncode == CUT
    assert data["counters"]["operations"] < 1000
    assert f"loops of {', '.join(f'CPU{cpu}' for cpu in range(cpus))} that count" in data["incomplete"][0]


POLL = """main: mrs x3, mpidr_el1
 adr x0, word
 tbnz x3, #0, store
 movz x2, #0x100, lsl #32
spin: ldr x1, [x0]
 cbnz x1, out
 subs x2, x2, #1
 b.ne spin
out: b .
store: mov x1, #{value}
 str x1, [x0]
 b ."""
SCHEDULES_MAX = 1000


@pytest.mark.parametrize(("value", "status"), [(1, FAILS), (0, CUT)], ids=["seen", "twin"])
def test_what_others_do_while_a_poll_counts_is_explored(value: int, status: int, tmp_path: Path) -> None:
    """Its path ends where it is proved that it counts further than any path goes, and others go on there."""
    subject = _written(tmp_path, "two-poll", POLL.format(value=value))
    asked = ("--cpus", "2", "--json", "--all", "--assert", "unreachable out")
    done = run_emu("explore", subject, *asked)
    assert done.returncode == status, done.stdout + done.stderr
    data = json.loads(done.stdout)
    assert data["schedules"] <= SCHEDULES_MAX
    assert any("in a loop of CPU0 that counts" in why for why in data["incomplete"])


@pytest.mark.parametrize("options", [("boot",), ("explore",), ("trace", "-o", "t")], ids=lambda each: each[0])
def test_a_sleep_that_nobody_ends_is_an_end(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_emu(*options, _written(tmp_path, "asleep", ASLEEP), "--cpus", "2")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("cpus", [2, 3, 20])
def test_cpus_that_sleep_and_wake_each_other_for_ever_are_told(cpus: int, tmp_path: Path) -> None:
    subject = _written(tmp_path, "two-wake", "main: sev\n wfe\n wfe\n b main")
    done = run_emu("boot", subject, "--cpus", str(cpus), "--json")
    data = json.loads(done.stdout)
    assert done.returncode == FAILS, done.stdout + done.stderr
    assert [(each["rule"], each["cpus"]) for each in data["findings"]] == [
        ("stuck", [cpu]) for cpu in range(cpus)
    ]
    assert max(cpu["instructions"] for cpu in data["cpus"]) <= INSTRUCTIONS_MAX
    assert run_emu("explore", subject, "--cpus", "2").returncode == FAILS


def test_cpus_that_wake_each_other_and_count_end_at_a_bound_of_sleeps(tmp_path: Path) -> None:
    code = "main: sev\n nop\n wfe\n wfe\n add x1, x1, #1\n wfe\n b main"
    subject = _written(tmp_path, "two-count", code)
    done = run_emu("boot", subject, "--cpus", "3", "--instructions-max", "300000", "--json")
    assert done.returncode == CUT
    stopped = json.loads(done.stdout)["stopped"]
    assert stopped.startswith("limit of 1018 sleeps in WFE (--instructions-max): CPUs wake each other")


def test_two_runs_of_one_loop_are_the_same(tmp_path: Path) -> None:
    subject = _written(tmp_path, "two-x", KINDS["two-that-answer-each-other"][0])
    assert run_emu("diff", subject, subject, "--cpus", "2").returncode == 0
