"""A breakpoint where no CPU will come says so at once; commands come to an end and say where."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import FOREVER

from emu.case import Case
from emu.debug import reach
from emu.debug.commands import Commands
from emu.debug.reach import reached_code
from emu.debug.session import Session
from emu.errors import InvalidCase
from emu.host.build import build

_CASES = (
    "v3 topology=flat:3",
    "v3 topology=flat:3 el=2 fault=1:no-52bit-va",
    "v2 topology=flat:3 enable-method=spin-table",
    "mainline topology=flat:3 enable-method=parking-protocol append=maxcpus=2",
    "rfc topology=flat:3 el=2 cycle=1",
    "context-id topology=flat:3 fault=2:no-granule",
)


def session(text: str) -> Session:
    return Session(build(Case.parse(text)))


@pytest.mark.parametrize("text", _CASES)
def test_what_is_executed_was_not_said_to_be_out_of_reach(text: str) -> None:
    debugged = session(text)
    debugged.go_on()
    executed = {debugged.places.pa(pc) for _, _, pc in debugged.log.steps_back() if pc}
    begun = session(text)
    assert executed
    reached, _ = reached_code(begun, begun.boot.guest)  # type: ignore[arg-type]
    assert reached is not None
    assert [hex(pa) for pa in executed - reached if pa >= 0x4020_0000] == []


def test_a_vector_that_is_forgotten_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_entries", lambda pa: iter((pa,)))
    with pytest.raises(AssertionError):
        test_what_is_executed_was_not_said_to_be_out_of_reach(_CASES[1])


@pytest.mark.parametrize("name", ["primary_entry", "start_kernel"])
def test_the_primary_s_code_is_said_to_be_out_of_reach(name: str, real_kernel: Callable[[str], Path]) -> None:
    commands = Commands(session(f"{real_kernel('EMU_KERNEL_SMALL')} topology=flat:2"))
    (_, note) = commands.run(f"break {name}")
    assert note == (
        "  no path leads there from where CPUs start (secondary_entry, secondary_holding_pen), but for "
        "exceptions; from secondary_start_kernel on the host plays the kernel"
    )
    said = commands.run("continue")
    assert said[1] == f"breakpoint 1 was not met: {name}"


def test_code_that_runs_is_no_news() -> None:
    commands = Commands(session("v3 topology=flat:2"))
    for name in ("secondary_entry", "__secondary_switched", "secondary_start_kernel", "va52_stuck"):
        assert len(commands.run(f"break {name}")) == 1


@pytest.fixture
def commands() -> Commands:
    return Commands(session("v3 topology=flat:3 fault=2:no-52bit-va"))


def test_a_line_without_code_stands_for_the_next_one_that_has_some(commands: Commands) -> None:
    made, note = commands.run("break secondary_entry.S:2")
    assert made.endswith("secondary_entry (asm/boot/secondary_entry.S:15)")
    assert note == "  no code is from line 2: the next one is 15"
    assert commands.run("break secondary_entry.S:15") == [made.replace("breakpoint 1", "breakpoint 2")]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("0x1", "0x1: 0x1 is in the midst of an instruction; they are 4 bytes, aligned"),
        ("find+2", "find+2: 0x4020004a is in the midst of an instruction; they are 4 bytes, aligned"),
        ("0x4", "0x4: no memory at PA 0x4"),
        ("secondary_entry.S:4000", "secondary_entry.S:4000: no instruction of the subject is from that line"),
    ],
)
@pytest.mark.parametrize("command", ["break", "tbreak", "until", "toggle"])
def test_what_is_no_instruction_is_refused(
    commands: Commands, command: str, place: str, message: str
) -> None:
    with pytest.raises(InvalidCase) as error:
        commands.run(f"{command} {place}")
    assert re.sub(r"0x4020\w+", "PA", str(error.value)) == re.sub(r"0x4020\w+", "PA", message)


# -- commands that never arrive ----------------------------------------------------------------------------


def test_until_that_does_not_arrive_says_who_sleeps_where(commands: Commands) -> None:
    said, *_ = commands.run("until __secondary_switched cpu 2")
    stands = "nobody can go on: CPU2 asleep in WFE, at va52_stuck"
    assert said == f"the end: CPU2 does not come to __secondary_switched from here on; {stands}"
    assert commands.run("info breakpoints") == ["none"]


def test_finish_that_does_not_return_says_who_sleeps_where(commands: Commands) -> None:
    commands.run("until va52_stuck")
    said, where = commands.run("finish")
    assert said == "the end: nobody can go on: CPU2 asleep in WFE, at va52_stuck"
    assert "CPU2 EL1 MMU off asleep" in where


@pytest.mark.parametrize("command", ["finish", "until found", "until found cpu 1"])
def test_a_command_that_a_loop_keeps_says_which(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that does something else in each round, so that nothing notices that it has no end."""
    monkeypatch.setattr("emu.debug.session.ARRIVE_STEPS", 3000)
    mine = (Path(__file__).parents[2] / "examples" / "my_boot.S").read_text()
    path = tmp_path / "spin.S"
    path.write_text(mine.replace("my_scan:", FOREVER))
    commands = Commands(session(f"{path} topology=flat:2"))
    commands.run("until forever")
    said, where = commands.run(command.replace("found", "my_scan"))[-2:]
    assert re.fullmatch(r"not there after 3000 steps: CPU1 is in the loop forever\.\.0x\w+", said)
    assert " CPU1 " in where


def test_a_command_about_a_cpu_that_goes_round_ends_when_that_is_noticed(tmp_path: Path) -> None:
    mine = (Path(__file__).parents[2] / "examples" / "my_boot.S").read_text()
    path = tmp_path / "spin.S"
    path.write_text(mine.replace("my_scan:", "around: mov x5, #1\n b around\nmy_scan:"))
    commands = Commands(session(f"{path} topology=flat:2"))
    commands.run("until around")
    said, _ = commands.run("finish")
    assert re.match(r"CPU1 cannot go on: spins for ever.*, at around", said), said


def test_a_cpu_that_has_ended_is_not_waited_for(commands: Commands) -> None:
    commands.run("until secondary_entry cpu 2")
    commands.session.machine.end(1, commands.session.machine.outcome(1))
    commands.run("cpu 1")
    before = commands.session.position
    for command in ("step", "op", "finish"):
        said, _ = commands.run(command)
        assert said.startswith("CPU1 cannot go on: ")
        assert commands.session.position == before
