"""``emu boot --depth whole --races``: the kernel's own accesses, from smp_init() on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import run_emu

from emu.case import Case
from emu.explore import whole_races
from emu.explore.whole_races import data_name, run_for_races
from emu.host.whole.boot import build_whole
from emu.host.whole.kept import boot_at

Kernel = Callable[[str], Path]


def test_a_sound_kernel_has_known_races_alone_and_its_run_is_the_same(
    real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux v6.12 kernel/sched/core.c: p->on_rq, READ_ONCE() and WRITE_ONCE(), no common lock."""
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:3", depth="whole")
    whole, boot = build_whole(case), boot_at(case, "smp_init")
    whole.run()
    found = run_for_races(boot)
    assert found.races == ()
    assert {symbol for _, symbol in found.known} == {"__do_set_cpus_allowed"}
    assert found.accesses > 200_000
    assert bytes(boot.machine.memory.view) == bytes(whole.machine.memory.view)
    assert [actor.time for actor in boot.machine.actors] == [actor.time for actor in whole.machine.actors]
    monkeypatch.setattr(whole_races, "KNOWN", {})
    boot = boot_at(case, "smp_init")
    (race,) = run_for_races(boot).races
    assert {race.first.is_store, race.second.is_store} == {False, True}
    assert boot.name(race.second.pc).startswith("__schedule+0x")
    assert data_name(boot, race.pa) == f"{race.pa:#x}"  # of a task: no symbol


def test_the_command_tells_races_by_symbol_and_has_status_1(
    real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("boot", str(real_kernel("EMU_KERNEL_SMALL")), "--depth", "whole", "--cpus", "3", "--races")
    done = run_emu(*words)
    assert done.returncode == 0
    assert "known race: __do_set_cpus_allowed+0x" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("races: 0 pairs, 1 known, of ")
    monkeypatch.setattr(whole_races, "KNOWN", {})
    done = run_emu(*words)
    assert done.returncode == 1
    text = done.stdout.replace("\n  ", " ")
    assert "race: CPU1 at __do_set_cpus_allowed+0x3c loads 0x4ffbf618, and CPU0 at __schedule+0x298" in text
    assert "with nothing that orders them; 2 times" in text
    done = run_emu(*words, "--json")
    (race,) = json.loads(done.stdout)["races"]
    assert [side["store"] for side in race["sides"]] == [False, True]
    done = run_emu(*words, "--known-race", "__schedule")
    assert (done.returncode, "races: 0 pairs, 1 known" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("v3", "--races"), "--races: --depth whole alone has that"),
        (("v3", "--known-race", "x"), "--races: --depth whole alone has that"),
    ],
)
def test_it_is_refused_at_other_depths(words: tuple[str, ...], says: str) -> None:
    done = run_emu("boot", *words)
    assert (done.returncode, done.stderr) == (2, f"emu: {says}\n")
