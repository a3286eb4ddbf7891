"""``emu step``: a script is run from end to end, forwards and backwards, and what it did there holds."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import FOREVER, run_program

from emu.case import Case
from emu.cli.step import run_script
from emu.debug.commands import Commands
from emu.trace import read_trace

_DEFECT_5 = ("v2", "--cpus", "4", "--fault", "2:no-52bit-va")


def step(script: str, *arguments: str, status: int = 0) -> list[str]:
    """Run a script from standard input; return what was printed."""
    done = _run(script, *arguments)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout.splitlines()


def _run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emu", "step", *arguments, "--script", "-"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False)


def test_who_erased_a_failed_cpu_s_status() -> None:
    """Defect 5: the early status is one word for all, and every CPU that passes zeroes it.

    The debugger says who did: CPU, PC and source line, of the last store and of those before it.
    """
    lines = step("continue\nwho-wrote __early_cpu_boot_status 3\n", *_DEFECT_5, status=1)
    at = lines.index("(emu) who-wrote __early_cpu_boot_status 3")
    shown = [re.sub(r"#\d+", "#N", line) for line in lines[at + 1 : at + 8]]
    cleared = "    at __secondary_switched+0x14 (asm/boot/__secondary_switched.S:20), PC 0xffff80008000024c"
    assert shown == [
        "__early_cpu_boot_status (PA 0x40202800, 8 bytes) is 0x0",
        "  #N CPU3 stored 0x0, before: 0x0",
        cleared,
        "  #N CPU1 stored 0x0, before: 0x102",
        cleared,
        "  #N CPU2 stored 0x102, before: as at the start",
        "    at va52_missing+0x8 (asm/boot/__cpu_secondary_check52bitva.S:25), PC 0x40200094",
    ]
    assert lines[-2] == "fail: 1 finding"
    assert lines[-5].startswith("finding (telemetry): CPU2: its reason ")


def test_a_watchpoint_backwards_finds_the_store_that_erased_it() -> None:
    lines = step(
        "continue\nwatch __early_cpu_boot_status\nrcontinue\nrcontinue\nwhere\nx __early_cpu_boot_status\n",
        *_DEFECT_5,
    )
    assert lines[-1].endswith("0x0000000000000102  stuck in kernel, no 52-bit VA"), lines
    assert "CPU1 EL1 MMU on  __secondary_switched+0x14" in lines[-3]


def test_v3_keeps_the_status_of_each_cpu() -> None:
    lines = step("continue\ndata early_cpu\n", "v3", *_DEFECT_5[1:], status=0)
    assert "__early_cpu_boot_status[2] 0x102  stuck in kernel, no 52-bit VA" in lines


def test_every_command_is_printed_once_however_often_time_is_travelled() -> None:
    commands = ["until scan", "step 5", "back 3", "goto 10", "goto 4500", "goto 20", "step", "back", "where"]
    lines = step("\n".join(commands), "--cpus", "4")
    assert [line for line in lines if line.startswith("(emu) ")] == [f"(emu) {line}" for line in commands]


def test_back_is_the_inverse_of_step() -> None:
    lines = step("until scan\nregs\nstep 7\nback 7\nregs\n", "--cpus", "4")
    first = lines.index("(emu) regs")
    second = lines.index("(emu) regs", first + 1)
    before = [line.replace("*", " ") for line in lines[first + 1 : lines.index("(emu) step 7")]]
    after = [line.replace("*", " ") for line in lines[second + 1 :]]
    assert before == after


def test_a_sourced_file_goes_on_where_it_has_gone_back_to(tmp_path: Path) -> None:
    inner = tmp_path / "inner.emu"
    inner.write_text("back 2\nprint x0\nset x0 = 7\nback\nstep 2\nprint x0\n")
    lines = step(f"until scan cpu 2\nstep 3\nsource {inner}\nwhere\n", "v3", "--cpus", "4")
    commands = [line for line in lines if line.startswith("(emu)")]
    assert commands == [
        "(emu) until scan cpu 2",
        "(emu) step 3",
        f"(emu) source {inner}",
        *(f"(emu) {line}" for line in inner.read_text().splitlines()),
        "(emu) where",
    ]
    assert lines[lines.index("(emu) print x0", lines.index("(emu) set x0 = 7")) + 1] == "0x7 (7)"
    inner.write_text("back\nnonsense\n")
    done = _run(f"until scan cpu 2\nstep 3\nsource {inner}\nwhere\n", "v3", "--cpus", "4")
    assert (done.returncode, done.stderr) == (
        2,
        f"emu: standard input:3: {inner}:2: nonsense: no such command; try help\n",
    )
    assert "(emu) back" in done.stdout
    assert "(emu) where" not in done.stdout


def test_breakpoints_come_along_through_time() -> None:
    lines = step("break scan+0x4 cpu 2\ncontinue\nback 4\ninfo breakpoints\ncontinue\n", "--cpus", "4")
    assert lines[-3] == "(emu) continue", lines
    assert lines[-2] == "breakpoint 1: scan+0x4, CPU2"
    assert "1 break scan+0x4 cpu 2 (1 hits)" in lines


def test_the_end_of_the_run_is_judged_as_emu_boot_does() -> None:
    assert step("continue\n", "--cpus", "2")[-2] == "pass: 0 findings"
    assert step("step\n", "--cpus", "2")[-1].startswith("#1 "), "a run in its midst is not judged"
    assert (
        step("continue\n", "--cpus", "2", "--instructions-max", "50", status=125)[-2]
        == "untestable: 0 findings"
    )


def test_comments_and_blank_lines_are_skipped_and_quit_ends() -> None:
    assert step("# a comment\n\nwhere\nquit\nbogus\n", "--cpus", "2")[0] == "(emu) where"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("where\n\nbogus\nstep\n", "standard input:3: bogus: no such command; try help"),
        ("until scan\nback 2\nbreak nowhere", "standard input:3: nowhere: no symbol nowhere in v3"),
    ],
)
def test_a_command_that_fails_ends_the_script(script: str, message: str) -> None:
    done = _run(script)
    assert (done.returncode, done.stderr) == (2, f"emu: {message}\n")


def test_a_script_is_a_file_and_its_name_is_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "my.emu"
    path.write_text("flop\n")
    command = [sys.executable, "-m", "emu", "step", "--script", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "(emu) flop\n")
    assert done.stderr == f"emu: {path}:1: flop: no such command; try help\n"
    path.write_bytes(b"\xff\xfe")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"emu: --script {path}: not UTF-8 text\n")


def test_without_a_terminal_a_script_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emu", "step"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "emu: step: not a terminal; give --script FILE, or --script - for standard input\n"


def test_a_case_that_breaks_a_rule_is_refused() -> None:
    done = _run("where\n", "--cpus", "0")
    assert done.returncode == 2
    assert done.stderr.startswith("emu: cpus=0: ")


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_or_the_end_of_its_parent_stops_a_run(ends: signal.Signals, tmp_path: Path) -> None:
    """The first as on a terminal, to all of its processes; the second to the one that was started."""
    mine = (Path(__file__).parents[2] / "examples" / "my_boot.S").read_text()
    path = tmp_path / "spin.S"
    path.write_text(mine.replace("my_scan:", FOREVER))
    command = [sys.executable, "-m", "emu", "step", str(path), "--cpus", "2", "--script", "-"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdin.write("until forever\nback 1\ncontinue\n")
        run.stdin.close()
        for line in run.stdout:
            if line == "(emu) continue\n":
                break
        if ends == signal.SIGINT:
            os.killpg(run.pid, ends)
        else:
            os.kill(run.pid, ends)
        printed, said = run.stdout.read(), run.stderr.read()  # to the end: nobody has them open any more
        status = run.wait()
    assert "emu: interrupted" in said
    assert "interrupted" in printed or ends == signal.SIGKILL
    assert status == (130 if ends == signal.SIGINT else -signal.SIGKILL)


_LONG_ONES = (
    "goto 1000000000",
    "step 1000000000",
    "continue",
    "until my_scan",
    "until forever\nfinish",
    "until forever\nop 1000000000",
    "until forever\nothers stand\nstep 1000000000",
    "until forever\ncpu 0\nothers free\nstep 1000000000",
    "watch 0x40200000\nuntil forever\ngoto 1000000000",
)


@pytest.mark.parametrize("script", _LONG_ONES)
def test_an_interrupt_ends_whatever_runs(script: str, tmp_path: Path) -> None:
    """Each would take a minute at least."""
    mine = (Path(__file__).parents[2] / "examples" / "my_boot.S").read_text()
    path = tmp_path / "spin.S"
    path.write_text(mine.replace("my_scan:", FOREVER))
    (tmp_path / "s").write_text(f"{script}\nwhere\n")
    command = [sys.executable, "-m", "emu", "step", str(path), "--cpus", "2", "--script", str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        for line in run.stdout:
            if line == f"(emu) {script.splitlines()[-1]}\n":
                break
        run.send_signal(signal.SIGINT)
        printed, said = run.stdout.read(), run.stderr.read()
    assert (run.returncode, said) == (130, "emu: interrupted\n")
    assert "(emu) where" not in printed


def test_an_interrupt_in_the_midst_of_a_command_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As the second one is, and one while the case is built."""

    def interrupted(*_: object) -> list[str]:
        raise KeyboardInterrupt

    for name in ("run", "__init__"):
        monkeypatch.setattr(Commands, name, interrupted)
        case = Case("v3", topology="flat:2", grain="instruction")
        assert run_script(case, ["where"], "s") == 130
        assert capfd.readouterr().err == "emu: interrupted\n"


_DRIVER = """
import hashlib, json, sys
from emu.case import Case
from emu.debug.session import Session
from emu.debug.checkpoints import Travelled, with_checkpoints
from emu.debug.view import View
from emu.host.build import build

jumps = json.loads(sys.argv[1])
length = int(sys.argv[2])

def debugger(timeline):
    session = Session(build(Case("v3", topology="flat:8", grain="instruction")), timeline)
    view = View(session)
    seen, next_jump, started = {}, 0, False

    def look():
        state = json.dumps([[view.registers(cpu) for cpu in session.cpus],
                            [session.state(cpu) for cpu in session.cpus],
                            [session.machine.interconnect.has_event(session.pe(cpu)) for cpu in session.cpus],
                            [datum.value for datum in view.data()], session.machine.now])
        digest = hashlib.sha256(state.encode()).hexdigest()
        assert seen.setdefault(session.position, digest) == digest, f"#{session.position} differs"

    journey = None
    while True:
        try:
            if not started:
                started = True
                session.begin()
            if journey is not None:  # on the way there a later journey may begin, too
                travelled, journey = journey, None
                seen, next_jump, steps = session.arrive(travelled.target, travelled.payload)
                look()
                for _ in range(steps):
                    session.step(session.machine.current if session.machine.current >= 0 else 0)
                    look()
            while next_jump < len(jumps):
                target, steps = jumps[next_jump]
                next_jump += 1
                target = target * length // 1000
                if target < session.position:
                    session.go_back(target, (seen, next_jump, steps))
                for stop in (*range(session.position // 40 * 40 + 40, target, 40), target):
                    session.run_to(stop)
                    look()
                for _ in range(steps):
                    session.step(session.machine.current if session.machine.current >= 0 else 0)
                    look()
            session.go_on()
            break
        except Travelled as travelled:
            journey = travelled
    trace = session.machine.trace
    session.machine.finish()
    with open(sys.argv[3], "wb") as file:
        trace.attach(file)
    timeline.close()
    return 0

sys.exit(with_checkpoints(debugger))
"""


Records = tuple[str, list[tuple[int, ...]], list[str]]


def _records(path: Path) -> Records:
    # All that a trace has in it, whatever pieces it was written in.
    trace = read_trace(path)
    return trace.case, list(trace.rows()), trace.strings


def _boot(folder: Path) -> tuple[Records, int]:
    # The trace of a straight boot, and how many steps it has.
    path = folder / "straight.trace"
    arguments = ["boot", "v3", "--cpus", "8", "--grain", "instruction", "--trace", str(path)]
    run_program(sys.executable, "-m", "emu", *arguments)
    lines = step("continue\nwhere\n", "v3", "--cpus", "8")
    return _records(path), int(lines[-3].split()[0].removeprefix("#"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, int, Path]:
    """The trace of a straight boot, its steps, and a folder to write in."""
    folder = tmp_path_factory.mktemp("straight")
    return *_boot(folder), folder


_JUMPS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 6)), min_size=1, max_size=8)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(jumps=_JUMPS)
def test_a_boot_that_is_travelled_in_is_the_boot(
    straight: tuple[Records, int, Path], jumps: list[Any]
) -> None:
    """Jumps to anywhere and steps in between, then to the end: the trace is as ``emu boot`` has it.

    Registers, states, event registers, boot data and time at a position are what they were there before.
    """
    trace, length, folder = straight
    path = folder / "travelled.trace"
    command = [sys.executable, "-c", _DRIVER, json.dumps(jumps), str(length), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert _records(path) == trace
