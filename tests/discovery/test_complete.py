"""What a complete exploration without a finding must have looked at: of each kind what it must not miss."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from exploring import X, Y, explore, explorer_of, task
from planting import plant

from emu.case import Case
from emu.explore.confirm import confirm_shortest
from emu.explore.explorer import ExplorationResult, explore_case
from emu.explore.search import Bounds
from emu.operation import Barrier, CacheOp, Load, LoadUntil, Operation, SendEvent, Store
from emu.schedulers.replay import parse_picks

SLOT = "        adr_l   x0, cpu_boot_data\n"
WORD = ".balign 64\nplanted_word: .zero 64\nplanted: "


def explored(folder: Path, code: str, *options: str, cpus: int = 3) -> ExplorationResult:
    """Explore v3 with ``code`` in front of its slot: x19 is the CPU's number, x1 the VA of a word."""
    text = f"b planted\n{WORD}\nadr_l x1, planted_word\n{code}\n{SLOT}"
    case = plant(folder, "v3", "slot/slot_per_cpu", SLOT, text)
    explorer, boot = explore_case(Case.parse(" ".join([case, f"topology=flat:{cpus}", *options])))
    result = explorer.search(Bounds(), everything=True)
    assert result.complete, result.incomplete
    for found in result.findings:
        short = confirm_shortest(explorer, boot, found)
        assert short.on_machine
        assert found.finding.key in shown_by(short.found.case)
    return result


def shown_by(case: str) -> set[object]:
    """The keys of what a process shows that takes the schedule of a case and knows nothing else."""
    parsed = Case.parse(case)
    explorer, _ = explore_case(parsed)
    picks = parse_picks(parsed.scheduler.partition(":")[2])
    explorer.learn(picks)
    return set(explorer.replay(explorer.system(), picks, strict=True)[1])


def rules(result: ExplorationResult) -> set[str]:
    """The rules that found something."""
    return {found.finding.rule for found in result.findings}


# -- states are told apart exactly ----------------------------------------------------------------


@pytest.mark.parametrize(("one", "other"), [(7, (1 << 64) - 1), (0, (1 << 61) - 1), (5, 5 + (1 << 61) - 1)])
def test_values_with_one_python_hash_are_two_states(one: int, other: int) -> None:
    """The last one to store decides what the reader sees; Python's hash() is modulo 2^61-1."""
    assert hash(one) == hash(other)
    programs = [task(Store(X, one), Store(Y, 1)), task(Store(X, other)), "ldr x1, [x0]\nb ."]
    _, ends = explore(explorer_of(programs), X)
    assert {words[0] for words, _ in ends.seen} == {one, other}


# -- events and power -----------------------------------------------------------------------------

LATE_FOR_SEV = """
        cmp     x19, #1
        b.ne    9f
        sev
        b       8f
9:      wfe
8:
"""
SEV_AFTER_BOTH = """
        add     x2, x1, #8
        cmp     x19, #1
        b.ne    9f
1:      ldr     x3, [x2]
        cbz     x3, 1b
        sev
        b       8f
9:      mov     x3, #1
        str     x3, [x2]
        wfe
8:
"""


def test_a_sev_that_comes_before_its_cpu_is_on_does_not_wake_it(tmp_path: Path) -> None:
    """CPU_ON clears the event register that SEV has set of the CPUs that were on."""
    assert "stuck" in rules(explored(tmp_path, LATE_FOR_SEV, "bringup=parallel"))


def test_a_sev_that_waits_for_its_cpu_wakes_it(tmp_path: Path) -> None:
    assert rules(explored(tmp_path, SEV_AFTER_BOTH, "bringup=parallel")) == set()


@pytest.mark.parametrize("first", ["sev", "ldr x3, [x1]\nsev"])
def test_a_sev_between_a_look_and_wfe_is_kept_in_every_order(first: str) -> None:
    """All four orders of SEV, store, look and WFE: asleep for ever in those where SEV is spent."""
    waker = f"{first}\nmov x1, #1\nstr x1, [x0]\nb ."
    sleeper = "again: wfe\nldr x1, [x0]\ncbz x1, again\nb ."
    _, reduced = explore(explorer_of([waker.replace("[x1]", "[x0, #256]"), sleeper]), X)
    _, every = explore(explorer_of([waker.replace("[x1]", "[x0, #256]"), sleeper]), X, reduce=False)
    assert set(reduced.seen) == set(every.seen)


# -- lines that can still move at an end ----------------------------------------------------------


def test_a_dirty_line_takes_away_at_the_end_what_nobody_reads_again() -> None:
    """One stores through its cache, another past it into the same line; nobody looks afterwards."""
    programs = [task(Store(X, 1, 8, True, False)), task(Store(X + 8, 2, 8, False, False))]
    result = explorer_of(programs, cached=True).search(Bounds(), everything=True)
    assert (result.complete, rules(result)) == (True, {"lost-write"})


def test_two_lines_take_nothing_away() -> None:
    programs = [task(Store(X, 1, 8, True, False)), task(Store(Y, 2, 8, False, False))]
    result = explorer_of(programs, cached=True).search(Bounds(), everything=True)
    assert (result.complete, rules(result)) == (True, set())


# -- store-exclusives that fail by themselves -----------------------------------------------------

UNCHECKED = "ldxr x1, [x0]\nadd x1, x1, #1\nstxr w2, x1, [x0]\nldr x3, [x0]\nb ."
RETRIED = "again: ldxr x1, [x0]\nadd x1, x1, #1\nstxr w2, x1, [x0]\ncbnz w2, again\nldr x3, [x0]\nb ."


def test_a_store_exclusive_may_fail_although_nobody_else_stores() -> None:
    _, ends = explore(explorer_of([UNCHECKED]), X)
    assert {words[0] for words, _ in ends.seen} == {0, 1}
    _, never = explore(explorer_of([UNCHECKED]), X, failures=0)
    assert {words[0] for words, _ in never.seen} == {1}


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_a_loop_that_tries_again_comes_to_its_end(failures: int) -> None:
    """No livelock, whatever the bound; and no update is lost."""
    result = explorer_of([RETRIED, RETRIED]).search(Bounds(failures=failures), everything=True)
    assert (result.complete, result.findings) == (True, [])
    _, ends = explore(explorer_of([RETRIED, RETRIED]), X, failures=failures)
    assert {words[0] for words, _ in ends.seen} == {2}


def test_the_bound_is_of_failures_in_a_row() -> None:
    """A counter of failures says how many there were."""
    loop = "again: add x4, x4, #1\nldxr x1, [x0]\nstxr w2, x1, [x0]\ncbnz w2, again\n"
    text = f"mov x4, #0\n{loop}str x4, [x0, #256]\nb ."
    for failures in range(4):
        _, ends = explore(explorer_of([text]), Y, failures=failures)
        assert {words[0] for words, _ in ends.seen} == set(range(1, failures + 2))


def test_the_machine_takes_a_failure_again(tmp_path: Path) -> None:
    code = "ldxr x3, [x1]\nadd x3, x3, #1\nstxr w4, x3, [x1]\ncbz w4, 8f\n9: b 9b\n8:\n"  # gives up
    result = explored(tmp_path, code, cpus=2)
    assert rules(result) == {"arrival"}


# -- what a rule remembers is part of a state -----------------------------------------------------

UPDATE = "ldr x1, [x0]\nadd x1, x1, #{}\nstr x1, [x0]\nb ."
SET = "mov x1, #{}\nstr x1, [x0]\nb ."


@pytest.mark.parametrize("addend", [1, 3, 0x100])
def test_an_update_that_loses_a_store_is_found_where_the_end_is_the_same(addend: int) -> None:
    """Both orders leave the same word; only the order of the accesses tells them apart."""
    result = explorer_of([UPDATE.format(addend), SET.format(addend)]).search(Bounds(), everything=True)
    assert (result.complete, rules(result)) == (True, {"lost-update"})


def test_one_that_stores_what_it_has_not_loaded_loses_nothing() -> None:
    """A flag that one reads before it sets it, as mutual exclusion by plain accesses does."""
    looks = "ldr x1, [x0]\ncbnz x1, out\nmov x1, #1\nstr x1, [x0]\nout: b ."
    result = explorer_of([looks, SET.format(2)]).search(Bounds(), everything=True)
    assert (result.complete, rules(result)) == (True, set())


def test_what_a_register_held_before_it_was_loaded_anew_is_no_update() -> None:
    text = "ldr x1, [x0]\nldr x1, [x0, #256]\nstr x1, [x0]\nb ."
    result = explorer_of([text, SET.format(2)]).search(Bounds(), everything=True)
    assert (result.complete, rules(result)) == (True, set())


# -- maintenance takes effect by its CPU's next DSB -----------------------------------------------

DC_CVAC, DSB_SY, DSB_ISHST, DMB_SY = 0xD50B_7A3F, 0xD503_3F9F, 0xD503_3A9F, 0xD503_3FBF


def published(*between: Operation) -> ExplorationResult:
    """One cleans X and then sets a flag; the other reads X past its caches once it is set."""
    writer = task(Store(X, 1), CacheOp(DC_CVAC, X), *between, Store(Y, 1))
    reader = task(LoadUntil(Y), Load(X, 8, False))
    return explorer_of([writer, reader], cached=True).search(Bounds(), everything=True)


@pytest.mark.parametrize("between", [(), (Barrier(DSB_ISHST),), (SendEvent(),)])
def test_a_clean_without_a_dsb_may_come_too_late(between: tuple[Operation, ...]) -> None:
    result = published(*between)
    assert (result.complete, rules(result)) == (True, {"stale"})


@pytest.mark.parametrize("barrier", [DSB_SY, DMB_SY])
def test_one_with_a_dsb_does_not(barrier: int) -> None:
    result = published(Barrier(barrier))
    assert (result.complete, rules(result)) == (True, set())


def test_maintenance_comes_before_its_cpus_next_access_to_the_line() -> None:
    """A store behind the clean is not cleaned with it, however late the clean comes."""
    writer = task(Store(X, 1), CacheOp(DC_CVAC, X), Store(X + 8, 2), Barrier(DSB_SY), Store(Y, 1))
    reader = task(LoadUntil(Y), Load(X + 8, 8, False))
    result = explorer_of([writer, reader], cached=True).search(Bounds(), everything=True)
    assert (result.complete, rules(result)) == (True, {"stale"})


# -- livelocks ------------------------------------------------------------------------------------

# Two that undo each other's store for ever; only orders that lead to known states show the cycle.
BACK_AND_FORTH = [
    "again: mov x1, #1\nstr x1, [x0]\nldr x1, [x0]\ncbnz x1, again\nb .",
    "again: str xzr, [x0]\nldr x1, [x0]\ncbz x1, again\nb .",
]


def test_a_cycle_in_which_all_move_is_a_livelock_in_every_program() -> None:
    result = explorer_of(BACK_AND_FORTH).search(Bounds(), everything=True)
    assert (result.complete, rules(result)) == (True, {"stuck"})


def small_program(chance: random.Random) -> str:
    """A program of two to four pieces that may go back to one of them."""
    count = chance.randrange(2, 5)
    pieces = []
    for number in range(count):
        at, value, to = chance.choice([0, 256]), chance.randrange(3), chance.randrange(count)
        body = chance.choice(
            [
                f"mov x1, #{value}\nstr x1, [x0, #{at}]",
                f"str xzr, [x0, #{at}]",
                f"ldr x1, [x0, #{at}]\ncbz x1, l{to}",
                f"ldr x1, [x0, #{at}]\ncbnz x1, l{to}",
                f"ldr x1, [x0, #{at}]\ncmp x1, #{value}\nb.ne l{to}",
                "wfe",
                "sev",
            ]
        )
        pieces.append(f"l{number}:\n{body}")
    return "\n".join([*pieces, "b ."])


@pytest.mark.parametrize("seed", range(40))
def test_reduction_hides_no_cpu_that_is_stuck(seed: int) -> None:
    """Against every order; a search without a schedule to an end says so."""
    chance = random.Random(seed)
    programs = [small_program(chance) for _ in range(chance.choice([2, 2, 3]))]
    bounds = Bounds(depth=3000, schedules=20_000)
    reduced = explorer_of(programs).search(bounds, everything=True)
    every = explorer_of(programs).search(replace(bounds, reduce=False), everything=True)
    assert every.complete
    assert reduced.complete or not reduced.count.complete
    assert ("stuck" in rules(reduced)) == ("stuck" in rules(every))


# -- a finding is one wherever its schedule is taken ----------------------------------------------


def test_who_goes_round_for_ever_does_so_in_a_replay(tmp_path: Path) -> None:
    """The process that takes the schedule has not seen the loop before."""
    code = "cmp x19, #1\nb.ne 8f\n9: ldr x3, [x1]\ncbz x3, 9b\n8:\n"
    assert rules(explored(tmp_path, code, cpus=3)) == {"arrival", "stuck"}


def test_who_looks_for_ever_at_an_old_value_is_told_of_it() -> None:
    """Its last look is one that it makes after the store."""
    writer, reader = task(Store(X, 1), Store(Y, 1)), "again: ldr x1, [x0]\ncbz x1, again\nb ."
    result = explorer_of([writer, reader], cached=True).search(Bounds(), everything=True)
    assert {"stale", "stuck"} <= rules(result)
