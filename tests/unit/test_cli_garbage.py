"""Commands that run one after another in a process leave no garbage for ever."""

from __future__ import annotations

import gc

from click.testing import CliRunner

from emu.cli import cli


def test_only_the_first_command_of_a_process_freezes_what_is_there() -> None:
    CliRunner().invoke(cli, ["info", "v3"])
    frozen = gc.get_freeze_count()
    for command in (["info", "v3"], ["boot", "--help"], ["lookup", "--help"]):
        assert CliRunner().invoke(cli, command).exit_code == 0
    assert gc.get_freeze_count() <= frozen  # some of it may have gone
    assert gc.isenabled()
