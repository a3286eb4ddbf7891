"""``emu boot --depth whole --races``: the kernel's own accesses, from smp_init() on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import run_emu

from emu.case import Case
from emu.explore import whole_races
from emu.explore.races import is_store
from emu.explore.whole_races import data_name, judge_whole
from emu.host.whole.boot import build_whole
from emu.host.whole.recording import boot_from

Kernel = Callable[[str], Path]


def test_a_sound_kernel_has_known_races_alone_and_its_run_is_the_same(
    real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux v6.12 kernel/sched/core.c: p->on_rq, READ_ONCE() and WRITE_ONCE(), no common lock."""
    case = Case(
        str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:3", depth="whole", record_from="smp_init"
    )
    whole, boot = build_whole(case), boot_from(case)
    whole.run()
    boot.run()
    boot.finish()
    verdict, found = judge_whole(boot)
    assert (verdict.findings, found.races) == ((), ())
    assert {symbol for _, symbol in found.known} == {"__do_set_cpus_allowed"}
    assert found.accesses > 200_000
    assert bytes(boot.machine.memory.view) == bytes(whole.machine.memory.view)
    assert [actor.time for actor in boot.machine.actors] == [actor.time for actor in whole.machine.actors]
    monkeypatch.setattr(whole_races, "KNOWN", {})
    verdict, found = judge_whole(boot)
    (race,) = found.races
    assert {is_store(race.first), is_store(race.second)} == {False, True}
    assert boot.name(race.second[3]).startswith("__schedule+0x")
    assert data_name(boot, race.pa) == f"{race.pa:#x}"  # of a task: no symbol
    (finding,) = verdict.findings
    assert (finding.rule, finding.what) == ("race", "data-race")
    assert finding.records[0] < finding.records[1] < len(boot.machine.trace)


def test_a_schedule_in_which_a_wake_up_is_queued_has_known_races_alone(real_kernel: Kernel) -> None:
    """Linux v6.12 kernel/sched/core.c, __ttwu_queue_wakelist(): WRITE_ONCE(rq->ttwu_pending, 1)."""
    case = Case(
        str(real_kernel("EMU_KERNEL_SMALL")),
        topology="flat:4",
        depth="whole",
        scheduler="random:12",
        fault="1:late:161917,2:late:75425",
        turn=500,
        record_from="smp_init",
    )
    boot = boot_from(case)
    boot.run()
    boot.finish()
    verdict, found = judge_whole(boot)
    assert (verdict.findings, found.races) == ((), ())
    assert "ttwu_queue_wakelist" in {symbol for _, symbol in found.known}


def test_the_command_tells_races_by_symbol_and_has_status_1(
    real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("boot", str(real_kernel("EMU_KERNEL_SMALL")), "--depth", "whole", "--cpus", "3", "--races")
    done = run_emu(*words)
    assert done.returncode == 0
    assert "known race: __do_set_cpus_allowed+0x" in done.stdout
    assert "\nraces: 0 pairs, 1 known, of " in done.stdout
    assert done.stdout.splitlines()[-1].endswith(" record-from=smp_init")
    monkeypatch.setattr(whole_races, "KNOWN", {})
    done = run_emu(*words)
    assert done.returncode == 1
    text = done.stdout.replace("\n  ", " ")
    assert "finding (race): data race at PA 0x4ffbf618" in text
    assert "(__do_set_cpus_allowed+0x3c) and write of 0x" in text
    assert "(__schedule+0x298)" in text
    done = run_emu(*words, "--json")
    (race,) = json.loads(done.stdout)["races"]
    assert [side["store"] for side in race["sides"]] == [False, True]
    done = run_emu(*words, "--known-race", "__schedule")
    assert (done.returncode, "races: 0 pairs, 1 known" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("boot", "v3", "--races"), "--races: --depth whole alone has that"),
        (("boot", "v3", "--known-race", "x"), "--races: --depth whole alone has that"),
        (("explore", "v3", "--races"), "--races: --depth whole alone has that"),
        (("boot", "v3", "--record-from", "x"), "record-from=x: --depth whole alone has that"),
    ],
)
def test_it_is_refused_at_other_depths(words: tuple[str, ...], says: str) -> None:
    done = run_emu(*words)
    assert (done.returncode, done.stderr) == (2, f"emu: {says}\n")
