"""Ctrl-C: a command ends in order, prints what it has, and says nothing that it does not know."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from programs import run_emu

import emu.cli.explore
import emu.cli.lookup

WRONG = ("mainline", "--cpus", "3", "--bringup", "parallel", "--force", "--all")


@pytest.fixture
def interrupted_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes when a few maps were asked."""
    whole = emu.cli.lookup.LookupSearch.run

    def run(*arguments: Any) -> Any:
        for number, step in enumerate(whole(*arguments)):
            if number == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield step

    monkeypatch.setattr(emu.cli.lookup.LookupSearch, "run", run)


@pytest.mark.usefixtures("interrupted_search")
def test_an_interrupted_look_up_says_what_was_asked_and_does_not_pass() -> None:
    done = run_emu("lookup", "v3", "--nr-cpus", "2")
    assert done.returncode == 130
    assert done.stdout.startswith("interrupted: v3, ")
    assert done.stderr == "emu: interrupted: what follows is of the questions that were asked\n"


@pytest.mark.usefixtures("interrupted_search")
def test_no_form_of_an_interrupted_look_up_says_that_it_holds() -> None:
    found = json.loads(run_emu("lookup", "v3", "--nr-cpus", "2", "--json").stdout)
    assert found["verdict"] == "untestable"
    assert "# SKIP interrupted" in run_emu("lookup", "v3", "--nr-cpus", "2", "--ktap").stdout


def test_an_exploration_interrupted_while_findings_are_made_short_lists_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    all_of_them = run_emu("explore", *WRONG)
    stories = all_of_them.stdout.count("\nfix:")
    assert stories > 1
    shorten, command = emu.cli.explore.confirm_shortest, os.getpid()

    def interrupt(*arguments: Any) -> Any:
        os.kill(command, signal.SIGINT)  # this may be a copy of it
        return shorten(*arguments)

    monkeypatch.setattr(emu.cli.explore, "confirm_shortest", interrupt)
    done = run_emu("explore", *WRONG, "--jobs", "1")
    assert done.returncode == 130
    assert done.stdout.count("\nfix:") == 1
    assert done.stdout.count("\nalso (") > all_of_them.stdout.count("\nalso (")
