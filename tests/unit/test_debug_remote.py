"""The debugger in a process of its own: it answers, travels, can be interrupted, and ends with its user."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import FOREVER

from emu.case import Case
from emu.debug.remote import Debugger
from emu.errors import EmuError

_MINE = Path(__file__).parents[2] / "examples" / "my_boot.S"


@pytest.fixture
def debugger() -> Iterator[Debugger]:
    """A boot of four CPUs."""
    made = Debugger(Case("v3", topology="flat:4", grain="instruction"))
    yield made
    made.close()


def ask(debugger: Debugger, command: str) -> dict[str, Any]:
    """Run a command that is to work."""
    answer = debugger.run(command, 4, 8, 5)
    assert answer["error"] is None, answer["error"]
    return answer


def test_a_command_is_answered_with_everything_a_screen_shows(debugger: Debugger) -> None:
    answer = ask(debugger, "until scan")
    view = answer["view"]
    assert len(answer["lines"]) == 1
    assert view["cpu"] == 1
    assert view["place"]["name"] == "scan"
    assert [cpu["cpu"] for cpu in view["cpus"]] == [0, 1, 2, 3]
    assert len(view["operations"]) == 5
    assert len(view["code"]) == 13
    assert [line["name"] for line in view["code"] if line["here"]] == ["scan"]
    assert {datum["name"] for datum in view["data"]} >= {"cpu_boot_data[1].task", "ap_sync_state[3]"}
    assert debugger.case.startswith("v3 topology=flat:4 ")
    assert "who-wrote" in debugger.commands


def test_it_survives_going_back_and_keeps_what_was_set(debugger: Debugger) -> None:
    ask(debugger, "until scan")
    ask(debugger, "break found")
    seen = ask(debugger, "where")["view"]["registers"]
    ask(debugger, "step 20")
    ask(debugger, "back 20")
    for _ in range(5):
        ask(debugger, "goto 3")
        ask(debugger, "cpu 1")
    ask(debugger, "until scan")
    view = ask(debugger, "where")["view"]
    assert view["registers"] == seen
    assert view["stops"] == ["1 break scan"] or view["stops"][0].startswith("2 break found")


def test_a_command_that_cannot_be_done_is_an_error_with_a_view(debugger: Debugger) -> None:
    answer = debugger.run("fly", 4, 8, 5)
    assert answer["error"] == "fly: no such command; try help"
    assert answer["view"]["position"] == 0


def test_registers_that_changed_are_named_after_a_step_and_after_a_way_back(debugger: Debugger) -> None:
    ask(debugger, "until scan")
    assert ask(debugger, "step")["changed"] == ["PC", "X3"]
    assert ask(debugger, "back")["changed"] == ["PC", "X3"]
    assert ask(debugger, "cpu 1")["changed"] == ["PC", "X3"], "looking is no stop"


def test_a_long_run_is_interrupted(tmp_path: Path) -> None:
    """Nothing ends this run but the interrupt: the limit is far off."""
    path = tmp_path / "spin.S"
    path.write_text(_MINE.read_text().replace("my_scan:", FOREVER))
    debugger = Debugger(Case(str(path), topology="flat:2", grain="instruction"))
    try:
        ask(debugger, "until forever")
        timer = threading.Timer(0.5, debugger.interrupt)
        timer.start()
        before = ask(debugger, "where")["view"]["position"]
        answer = ask(debugger, "continue")
        timer.join()
        assert answer["stop"]["reason"] == "interrupt"
        assert answer["view"]["position"] > before
        assert ask(debugger, "where")["view"]["position"] == answer["view"]["position"]
        assert ask(debugger, "leave")["lines"][0].startswith("still in 0x"), "and this ends by itself"
    finally:
        assert debugger.close() == 0


def test_an_interrupt_that_comes_too_late_does_nothing(debugger: Debugger) -> None:
    debugger.interrupt()
    assert ask(debugger, "until scan")["view"]["place"]["name"] == "scan"


def test_a_case_that_cannot_be_booted_is_told() -> None:
    with pytest.raises(EmuError) as error:
        Debugger(Case("nonesuch"))
    assert str(error.value).startswith("nonesuch: no such file, and no design: not one of")
    assert error.value.exit_status == 2


def test_it_ends_with_its_user(debugger: Debugger) -> None:
    ask(debugger, "until scan")
    ask(debugger, "back 1")
    assert debugger.close() == 0
    with pytest.raises(EmuError, match="has gone"):
        debugger.run("where", 1, 1, 1)


def test_quit_ends_it(debugger: Debugger) -> None:
    with pytest.raises(EmuError, match="has gone"):
        debugger.run("quit", 1, 1, 1)
