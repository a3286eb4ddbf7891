"""The bug gallery: bugs of order, caches and events, each found within a stated number of schedules.

Beside each stands its repaired twin, which is explored completely without a finding. Boots are of real
fragments; what only the host's C side or another firmware does wrong is a program of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exploring import X, Y, explorer_of, task
from planting import plant

from emu.case import Case
from emu.explore.confirm import confirm_shortest
from emu.explore.event_waits import EventWaits
from emu.explore.explorer import ExplorationResult, Explorer, explore_case
from emu.explore.search import Bounds
from emu.operation import (
    DC_CIVAC,
    DSB_SY,
    Barrier,
    CacheOp,
    Load,
    LoadUntil,
    Park,
    Poll,
    SendEvent,
    Store,
    WaitForEvent,
)
from emu.outcome import ended
from emu.report.story import LINES_MAX, tell_story
from emu.report.words import finding_words

DC_IVAC = 0xD508_763F
PARALLEL = "bringup=parallel force=1"
SPIN = "enable-method=spin-table"


def searched(explorer: Explorer, **bounds: int) -> ExplorationResult:
    """Search to the first finding."""
    return explorer.search(Bounds(**bounds))


def of_boot(text: str, **bounds: int) -> ExplorationResult:
    """Explore a boot."""
    explorer, _ = explore_case(Case.parse(text))
    return searched(explorer, **bounds)


def rules(result: ExplorationResult) -> set[str]:
    """The rules that found something."""
    return {found.finding.rule for found in result.findings}


# case, what finds it, what it says, within how many schedules, the twin, bounds of both
BOOTS = [
    # KERNEL: mainline data with parallel kicks.
    (
        f"mainline topology=flat:3 {PARALLEL}",
        "arrival",
        "CPU1, CPU2 took the task",
        100,
        "mainline topology=flat:3",
        {},
    ),
    (
        f"mainline topology=flat:3 {PARALLEL}",
        "arrival",
        "took the task",
        100,
        "context-id topology=flat:3",
        {},
    ),
    # A passing CPU erases another CPU's early status.
    (
        "v2 topology=flat:4 fault=2:no-52bit-va",
        "telemetry",
        "CPU3 stored 0x0 over it",
        100,
        "v3 topology=flat:4 fault=2:no-52bit-va",
        {},
    ),
    (
        "rfc topology=flat:4 fault=2:no-granule",
        "telemetry",
        "stored 0x0 over it",
        100,
        "v3 topology=flat:4 fault=2:no-granule",
        {},
    ),
    # A table writer that does not clean what is scanned with the MMU off.
    (
        "v3 topology=flat:3 memory=caches fault=2:no-clean",
        "stale",
        "was stored by CPU0 at emu/host/lookup_table.py",
        10,
        "v3 topology=flat:3 memory=caches",
        {},
    ),
    # v2 scans with the MMU on: it needs no clean.
    (
        "v3 topology=flat:2 memory=caches fault=1:no-clean",
        "stale",
        "CPU1",
        10,
        "v2 topology=flat:2 memory=caches",
        {},
    ),
    # The pen and firmware's loop: no clean, no SEV, SEV before the store.
    (
        f"v3 topology=flat:2 {SPIN} memory=caches fault=1:no-clean",
        "stale",
        "CPU1",
        10,
        f"v3 topology=flat:2 {SPIN} memory=caches",
        {},
    ),
    (
        f"v3 topology=flat:3 {SPIN} fault=1:no-sev",
        "stuck",
        "although it would go on",
        200,
        f"v3 topology=flat:3 {SPIN}",
        {},
    ),
    (
        f"v3 topology=flat:3 {SPIN} fault=1:early-sev",
        "stuck",
        "came before that store",
        200,
        f"v3 topology=flat:3 {SPIN} event-register=1",
        {},
    ),
    # The boot CPU gives up and clears the task while the CPU is on its way.
    (
        "v3 topology=flat:2",
        "late",
        "the boot CPU has given up on it",
        100,
        "v3 topology=flat:2",
        {"early": 1},
    ),
    # A CPU that dies early takes itself out of the present mask: the second pass does not look at it.
    (
        "v2 topology=flat:3 fault=1:die-early",
        "telemetry",
        "nobody reported it",
        20,
        "v3 topology=flat:3 fault=1:die-early",
        {},
    ),
    # A passing CPU dirties the line of the status that another stores with its caches off.
    (
        "v2 topology=flat:3 memory=caches fault=1:no-52bit-va",
        "lost-write",
        "CPU1 stored 0x102",
        200,
        "v3 topology=flat:3 memory=caches fault=1:no-52bit-va,2:no-granule",
        {},
    ),
    # Firmware starts a CPU long after its CPU_ON, or twice.
    ("v3 topology=flat:3 fault=1:late:5", "late", "given up on it", 50, "v3 topology=flat:3", {}),
    (
        "v3 topology=flat:2 fault=1:double-start",
        "arrival",
        "switched on while it was on",
        100,
        "v3 topology=flat:2",
        {},
    ),
    # Data declared read-only after init is written at every later hotplug.
    ("rfc topology=flat:2 cycle=1", "readonly", "read-only after init", 10, "v3 topology=flat:2 cycle=1", {}),
]


@pytest.mark.parametrize(
    ("text", "rule", "says", "schedules", "twin", "bounds"), BOOTS, ids=[row[0] for row in BOOTS]
)
def test_bug_of_a_boot_is_found_and_its_twin_is_clean(
    text: str, rule: str, says: str, schedules: int, twin: str, bounds: dict[str, int]
) -> None:
    explorer, boot = explore_case(Case.parse(text))
    result = explorer.search(Bounds(**bounds), everything=True)
    shown = [
        found
        for found in result.findings
        if found.finding.rule == rule and says in finding_words(found.finding)
    ]
    assert shown, [found.finding for found in result.findings]
    assert min(found.after for found in shown) < schedules
    confirmed = confirm_shortest(explorer, boot, shown[0])
    short, story = confirmed.found, tell_story(boot, confirmed)
    assert story.confirmed, "the machine does not show it"
    assert len(short.picks) <= len(shown[0].picks)
    assert len(story.lines()) <= LINES_MAX
    repaired = of_boot(twin)
    assert repaired.complete
    assert repaired.findings == []


PEN = "pen:\n        ldr     x4, [x3]                                // x4 = hwid that may go\n"


def test_pen_that_waits_before_its_first_look_sleeps_through_its_release(tmp_path: Path) -> None:
    """KERNEL defect 14: the event register happens to be clear."""
    broken = plant(
        tmp_path, "v3", "boot/secondary_holding_pen", PEN, f"pen:\n        wfe\n{PEN.splitlines()[1]}\n"
    )
    result = of_boot(f"{broken} topology=flat:2 {SPIN}")
    assert rules(result) == {"stuck"}
    assert "although it would go on" in finding_words(result.findings[0].finding)
    assert result.count.schedules <= 50
    for event_register in (0, 1):
        twin = of_boot(f"v3 topology=flat:2 {SPIN} event-register={event_register}")
        assert (twin.complete, twin.findings) == (True, [])


def test_early_status_in_the_line_of_a_word_that_others_dirty_is_lost(tmp_path: Path) -> None:
    """The status needs a writeback granule of its own: CPUs whose caches are on dirty __boot_cpu_mode."""
    broken = plant(
        tmp_path,
        "v3",
        "data/boot_data",
        "        .balign 0x800\n__early_cpu_boot_status:",
        "        .balign 8\n__early_cpu_boot_status:",
    )
    rest = "topology=flat:3 fault=2:no-52bit-va memory=caches"
    result = of_boot(f"{broken} {rest}")
    assert "lost-write" in rules(result), result.findings
    assert result.count.schedules <= 200
    twin = of_boot(f"v3 {rest}")
    assert (twin.complete, twin.findings) == (True, [])


# -- programs -----------------------------------------------------------------------------------------------


def test_flag_in_a_line_that_another_cpu_invalidates_is_lost() -> None:
    """Firmware: one CPU sets a flag with caches on, another invalidates its own field of the same line."""

    def programs(field: int) -> list[Callable]:
        return [
            task(Store(X, 1), SendEvent()),
            task(Store(field, 2, cacheable=False), CacheOp(DC_IVAC, field)),
        ]

    result = explorer_of(programs(X + 8), cached=True).search(Bounds(), everything=True)
    assert rules(result) == {"lost-write"}
    assert any("CPU0 stored 0x1" in finding_words(found.finding) for found in result.findings)
    assert result.count.schedules <= 20
    # A granule for each: nobody accesses any line in two ways.
    twin = searched(explorer_of(programs(Y), cached=True))
    assert (twin.complete, twin.findings) == (True, [])


def test_boot_parameters_that_are_flushed_only_partly_are_read_stale() -> None:
    """Two lines of parameters, of which the first alone is cleaned before the other CPU is told."""

    def programs(*cleaned: int) -> list[Callable]:
        def reader():
            yield LoadUntil(Y)
            yield Load(X, cacheable=False)
            yield Load(X + 64, cacheable=False)
            yield Park(ended("done"))

        clean = [CacheOp(DC_CIVAC, pa) for pa in cleaned]
        return [task(Store(X, 1), Store(X + 64, 2), *clean, Barrier(DSB_SY), Store(Y, 1)), reader]

    result = searched(explorer_of(programs(X), cached=True))
    assert rules(result) == {"stale"}
    assert f"from PA {X + 64:#x}" in finding_words(result.findings[0].finding)
    assert result.count.schedules <= 20
    twin = searched(explorer_of(programs(X, X + 64), cached=True))
    assert (twin.complete, twin.findings) == (True, [])


def test_data_written_with_caches_off_is_hit_stale_once_they_are_on() -> None:
    """A line that was fetched before, by speculation, hides what the CPU itself has stored in memory."""

    def programs(*invalidated: int) -> list[Callable]:
        dropped = [CacheOp(DC_IVAC, pa) for pa in invalidated]
        return [task(Store(X, 7, cacheable=False), *dropped, Load(X)), task(Load(Y))]

    result = searched(explorer_of(programs(), cached=True))
    assert rules(result) == {"stale"}
    assert "read 0x0" in finding_words(result.findings[0].finding)
    assert result.count.schedules <= 20
    twin = searched(explorer_of(programs(X), cached=True))
    assert (twin.complete, twin.findings) == (True, [])


def test_task_that_the_boot_cpu_clears_at_its_time_out_races_with_its_reader() -> None:
    """As KCSAN tells it: both actors, where they are, and that nothing orders them."""

    def boot(waits: bool) -> Callable:
        def program():
            yield Store(X, 0x1234, plain=True)
            yield Store(Y, 1)
            alive = yield Poll(Y + 8, 8, None, 1_000, ((0, 10),))
            if alive is None:
                if waits:  # until it is known to be off
                    yield LoadUntil(Y + 8)
                yield Store(X, 0, plain=True)
            yield Park(ended("done"))

        return program

    def secondary():
        yield LoadUntil(Y)
        yield Load(X)
        yield Store(Y + 8, 1)
        yield Park(ended("done"))

    result = searched(explorer_of([boot(False), secondary]), early=1)
    assert rules(result) == {"race"}
    message = finding_words(result.findings[0].finding)
    assert message.startswith(f"data race at PA {X:#x}: write of 0x0, 8 bytes, by CPU0 at ")
    assert "read of 0x1234, 8 bytes, by CPU1 at " in message
    assert result.count.schedules <= 20
    twin = searched(explorer_of([boot(True), secondary]), early=1)
    assert (twin.complete, twin.findings) == (True, [])


def test_race_of_a_real_boot_is_the_boot_cpus_store_against_the_assembly() -> None:
    result = of_boot(f"mainline topology=flat:3 {PARALLEL}", early=0)
    explorer, _ = explore_case(Case.parse(f"mainline topology=flat:3 {PARALLEL}"))
    everything = explorer.search(Bounds(), everything=True)
    assert everything.complete
    races = [finding_words(f.finding) for f in everything.findings if f.finding.rule == "race"]
    assert any("8 bytes, by CPU0 at emu/host/kick.py" in message for message in races), races
    assert not result.complete


COUNT = "ldr x1, [x0]\n add x1, x1, #1\n str x1, [x0]\n b ."
COUNT_EXCLUSIVE = "l: ldxr x1, [x0]\n add x1, x1, #1\n stxr w2, x1, [x0]\n cbnz w2, l\n b ."


def test_counter_that_is_loaded_and_stored_loses_updates() -> None:
    result = searched(explorer_of([COUNT, COUNT]))
    assert rules(result) == {"lost-update"}
    assert result.count.schedules <= 10
    twin = searched(explorer_of([COUNT_EXCLUSIVE, COUNT_EXCLUSIVE]))
    assert (twin.complete, twin.findings) == (True, [])


POLITE = """
again:
 mov x1, #1
 str x1, [x0, #{mine}]
 ldr x2, [x0, #{theirs}]
 cbz x2, in
 str xzr, [x0, #{mine}]
 b again
in:
 str xzr, [x0, #{mine}]
 b .
"""


def test_two_that_always_give_way_go_round_for_ever() -> None:
    polite = [POLITE.format(mine=0, theirs=8), POLITE.format(mine=8, theirs=0)]
    result = searched(explorer_of(polite))
    assert rules(result) == {"stuck"}
    assert "goes round for ever" in finding_words(result.findings[0].finding)
    assert result.count.schedules <= 50
    rude = POLITE.format(mine=8, theirs=0).replace("cbz x2, in", "b in")
    twin = searched(explorer_of([polite[0], rude]))
    assert (twin.complete, twin.findings) == (True, [])


def test_one_who_is_never_let_out_of_the_pen_may_have_looked_before_the_last_clean() -> None:
    """No event follows the word's last value, so a CPU that has looked by then does not look again."""
    explorer, _ = explore_case(Case.parse(f"v3 topology=flat:3 {SPIN} memory=caches append=maxcpus=2"))
    result = explorer.search(Bounds(), everything=True)
    assert rules(result) == {"stale"}
    assert "0xffffffffffffffff was stored by CPU0" in finding_words(result.findings[0].finding)


def test_an_event_that_is_spent_between_two_looks_is_no_livelock() -> None:
    """A CPU in the pen looks, spends its event and looks again: once, for it has none then."""
    explorer, _ = explore_case(Case.parse(f"v3 topology=flat:3 {SPIN} memory=caches fault=1:no-clean"))
    result = explorer.search(Bounds(), everything=True)
    told = sorted((found.finding.rule, found.finding.what) for found in result.findings)
    arrivals, looks = ("arrival", "never-came"), ("stale", "stored-by-another")
    assert told == [arrivals, arrivals, looks, looks, ("stuck", "sev-spent"), ("stuck", "sev-spent")]


def test_a_stale_look_that_is_left_out_although_it_may_be_the_last_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = EventWaits.__init__

    def forget(waits: EventWaits, *arguments: Any) -> None:
        find(waits, *arguments)
        waits.untold = dict.fromkeys(waits.staying, frozenset())

    monkeypatch.setattr(EventWaits, "__init__", forget)
    explorer, _ = explore_case(Case.parse(f"v3 topology=flat:3 {SPIN} memory=caches append=maxcpus=2"))
    assert rules(explorer.search(Bounds(), everything=True)) == set()


def test_wait_that_nobody_ends_is_no_lost_wake_up() -> None:
    """Asleep for ever is not lost as long as waking would change nothing."""

    def waiter():
        while True:
            if (yield Load(X)):
                break
            yield WaitForEvent()
        yield Park(ended("done"))

    result = searched(explorer_of([waiter, task(Store(Y, 1), SendEvent())]))
    assert (result.complete, result.findings) == (True, [])
    lost = searched(explorer_of([waiter, task(Store(X, 1))]))
    assert rules(lost) == {"stuck"}
