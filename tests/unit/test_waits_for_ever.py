"""CPUs that run freely and wait for what never comes: the run ends, and says so where it is certain."""

from __future__ import annotations

import pytest
from bare_machine import DATA
from test_free_turns import DONE, SET_TIMER, WAIT_FOR_COUNT, freely, word

from emu.machine import free_turns
from emu.machine.actor import State
from emu.outcome import End
from emu.rules import judge

# Each of two CPUs waits for the word that the other one is to clear.
DEADLOCK = """
        mrs x4, mpidr_el1
        and x4, x4, #0xff
        eor x5, x4, #1
        mov x6, #1
        str x6, [x20, x4, lsl #3]
        dmb ish
again:  {wait}
        ldr x6, [x20, x5, lsl #3]
        cbnz x6, again
        str xzr, [x20, x4, lsl #3]
"""
BOTH = f"{DEADLOCK}{DONE}"


@pytest.mark.parametrize("scheduler", ["timed", "random:1", "pct:2"])
@pytest.mark.parametrize(
    "wait", ["wfe", "yield", "wfe\n yield\n wfe", "eor x7, x7, #1\n cbz x7, .+8\n b .+8\n nop\n nop\n wfe"]
)
def test_two_cpus_that_wait_for_each_other_end_the_run_and_are_stuck(wait: str, scheduler: str) -> None:
    """Each of them goes round for ever: nobody makes progress."""
    machine = freely(BOTH.format(wait=wait), cpus=2, scheduler=scheduler)
    for cpu in range(2):
        machine.memory.write(DATA + 8 * cpu, 8, 1)  # whoever is first
    machine.run()
    machine.finish()
    assert machine.stopped == ""
    assert [machine.outcome(cpu).end for cpu in (0, 1)] == [End.SPINS] * 2
    found = judge(machine.trace).findings
    assert [(each.rule, each.what, each.cpus) for each in found] == [
        ("stuck", "livelock", (0,)),
        ("stuck", "livelock", (1,)),
    ]
    assert machine.actors[0].pe.counters.instructions < 10_000


def test_the_same_where_one_of_them_clears_its_word_is_not() -> None:
    """The repaired twin of the above."""
    machine = freely(BOTH.format(wait="wfe").replace("str x6,", "str xzr,"), cpus=2)
    for cpu in range(2):
        machine.memory.write(DATA + 8 * cpu, 8, 1)
    machine.run()
    machine.finish()
    assert [machine.outcome(cpu).end for cpu in (0, 1)] == [End.SELF_BRANCH] * 2
    assert judge(machine.trace).findings == ()


@pytest.mark.parametrize("seconds", [20, 150])
def test_a_loop_that_ends_by_its_own_time_out_is_waited_for(seconds: int) -> None:
    """However long that is: the count that it has read is another one each time."""
    machine = freely(WAIT_FOR_COUNT.format(ticks=62_500_000 * seconds))
    machine.run()
    assert machine.outcome(0).end is End.SELF_BRANCH
    assert machine.now >= seconds * 1_000_000_000


def test_a_timer_that_ends_a_wait_later_is_waited_for() -> None:
    """The handler stores what the loop looks at, a thousand seconds on."""
    text = f"""<begin>
        ldr x5, =62500000000
        {SET_TIMER}
        msr daifclr, #2
again:  wfe
        ldr x8, [x20]
        cbz x8, again
        {DONE}"""
    handler = "mov x9, #1\n str x9, [x20]\n msr cntv_ctl_el0, xzr\n <acknowledge>\n <end>\n eret"
    machine = freely(text, handler=handler)
    machine.run()
    assert (machine.outcome(0).end, word(machine, 0)) == (End.SELF_BRANCH, 1)
    assert machine.now >= 1_000_000_000_000


def test_one_that_sleeps_with_a_timer_keeps_the_other_from_being_stuck() -> None:
    """CPU1 wakes after a thousand seconds and stores the word that CPU0 waits for."""
    text = f"""<begin>
        mrs x4, mpidr_el1
        ands x4, x4, #0xff
        b.ne other
again:  wfe
        ldr x8, [x20]
        cbz x8, again
        {DONE}
other:  ldr x5, =62500000000
        {SET_TIMER}
        wfi
        mov x8, #1
        str x8, [x20]
        {DONE}"""
    machine = freely(text, cpus=2)
    machine.run()
    assert [machine.outcome(cpu).end for cpu in (0, 1)] == [End.SELF_BRANCH] * 2


def test_waits_that_are_never_the_same_come_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who counts how often it has waited cannot be known to wait for ever."""
    monkeypatch.setattr(free_turns, "WAITS_LEAST", 5_000)
    machine = freely("again: wfe\n add x0, x0, #1\n b again\n", instructions_max=100_000)
    machine.run()
    assert machine.free is not None
    assert machine.free.is_at_bound
    assert machine.stopped.startswith("limit of 5,000 turns in loops that wait")
    assert machine.actors[0].state is State.RUNNABLE
