"""What operations mean for the state that CPUs share (Arm DDI 0487: events D1.7.1, exclusives B2.12)."""

from __future__ import annotations

import pytest

from emu.operation import (
    Access,
    AtomicUpdate,
    Load,
    LoadExclusive,
    LoadUntil,
    MemoryAccess,
    Operation,
    SendEvent,
    SendEventLocal,
    SendInterrupt,
    Store,
    StoreExclusive,
    WaitForEvent,
    WaitForInterrupt,
)
from emu.semantics import events, log, monitors, power
from emu.semantics.state import SystemState, members
from emu.semantics.transition import accesses, loads, perform

PA = 0x4020_0000
ALL_ON = SystemState(on=0b111)
ARMED = monitors.arm(ALL_ON, 1, PA + 8)


def load_of(pa: int) -> Access:
    return Access(pa, 8, False)


def store_of(pa: int, value: int = 1) -> Access:
    return Access(pa, 8, True, value)


def test_sev_sets_the_event_register_of_every_cpu_that_is_on() -> None:
    state = SystemState(on=0b101)
    assert perform(state, 0, SendEvent()).state.events == 0b101
    assert perform(state, 2, SendEventLocal()).state.events == 0b100


def test_wfe_consumes_the_event_or_falls_asleep() -> None:
    effect = perform(ALL_ON._replace(events=0b11), 0, WaitForEvent())
    assert (effect.result, effect.state.events, effect.state.asleep) == (True, 0b10, 0)
    effect = perform(ALL_ON, 1, WaitForEvent())
    assert (effect.result, effect.state.asleep) == (False, 0b10)


def test_a_sleeper_with_an_event_wakes_and_consumes_it() -> None:
    state = perform(ALL_ON._replace(asleep=0b110), 0, SendEvent()).state
    assert members(events.woken(state)) == [1, 2]
    state = events.wake(state, 1)
    assert (state.asleep, state.events) == (0b100, 0b101)


def test_an_interrupt_ends_the_wfi_it_is_sent_to_and_is_lost_on_a_cpu_that_is_off() -> None:
    assert perform(ALL_ON._replace(idle=0b10), 0, SendInterrupt(1)).state == ALL_ON
    pending = perform(ALL_ON, 0, SendInterrupt(2)).state
    assert pending.interrupts == 0b100
    assert perform(SystemState(on=1), 0, SendInterrupt(1)).state == SystemState(on=1)
    effect = perform(pending, 2, WaitForInterrupt())
    assert (effect.result, effect.state) == (True, ALL_ON)
    assert perform(ALL_ON, 2, WaitForInterrupt()).state.idle == 0b100


@pytest.mark.parametrize(
    "store",
    [Store(PA, 1), AtomicUpdate(PA + 56, None, 1), MemoryAccess((store_of(PA - 8), store_of(PA)))],
)
def test_a_store_of_another_cpu_to_the_granule_clears_the_monitor_and_is_an_event(store: Operation) -> None:
    effect = perform(ARMED, 0, store, [0])
    assert (effect.state.monitors, effect.state.events) == ((), 0b10)


@pytest.mark.parametrize("store", [Store(PA + 64, 1), Store(PA - 8, 1), AtomicUpdate(PA, 7, 1)])
def test_a_store_elsewhere_or_an_update_that_is_not_made_leaves_the_monitor(store: Operation) -> None:
    assert perform(ARMED, 0, store, [0]).state == ARMED


def test_a_store_that_crosses_into_the_granule_clears_its_monitor() -> None:
    assert monitors.stored(ARMED, 0, PA - 4, 8).events == 0b10


def test_an_own_store_leaves_the_monitor_as_it_is() -> None:
    assert perform(ARMED, 1, Store(PA, 1)).state == ARMED


def test_store_exclusive_needs_the_monitor_of_its_address_and_clears_it() -> None:
    """Another address of the granule fails, as in the engine; the architecture lets it pass or fail."""
    passes = perform(ARMED, 1, StoreExclusive((store_of(PA + 8),)))
    assert (passes.result, passes.state, passes.stores) == (True, ALL_ON, (store_of(PA + 8),))
    for state, cpu, pa in ((ARMED, 1, PA), (ARMED, 1, PA + 64), (ALL_ON, 1, PA + 8), (ARMED, 0, PA + 8)):
        fails = perform(state, cpu, StoreExclusive((store_of(pa),)))
        assert (fails.result, fails.stores) == (False, ())


def test_of_two_store_exclusives_to_one_granule_the_second_fails() -> None:
    both = monitors.arm(ARMED, 0, PA)
    first = perform(both, 0, StoreExclusive((store_of(PA),)))
    assert (first.result, first.state.monitors, first.state.events) == (True, (), 0b10)
    assert perform(first.state, 1, StoreExclusive((store_of(PA),))).result is False


def test_a_load_exclusive_moves_the_monitor() -> None:
    effect = perform(ARMED, 1, LoadExclusive((load_of(PA + 128),)), [5])
    assert (effect.result, effect.state.monitors) == (5, ((1, PA + 128),))
    assert perform(ARMED, 1, LoadExclusive((load_of(PA + 8),)), [5]).state is ARMED


def test_a_reset_clears_the_monitor_and_gives_the_event_register_its_value() -> None:
    state = ARMED._replace(asleep=0b10, interrupts=0b10)
    off = power.power_off(state, 1)
    assert off == SystemState(on=0b101)
    assert power.power_on(off, 1, event=True) == SystemState(on=0b111, events=0b10)
    assert power.power_on(off, 1, event=False) == ALL_ON


def test_compare_and_exchange_gives_the_old_value_and_stores_only_when_it_is_expected() -> None:
    assert perform(ALL_ON, 0, AtomicUpdate(PA, 3, 4), [3]).stores == (store_of(PA, 4),)
    effect = perform(ALL_ON, 0, AtomicUpdate(PA, 3, 4), [5])
    assert (effect.result, effect.stores) == (5, ())


def test_the_result_of_an_operation_is_what_its_loads_give() -> None:
    assert perform(ALL_ON, 0, Load(PA), [9]).result == 9
    pair = MemoryAccess((load_of(PA), load_of(PA + 8), store_of(PA)))
    assert loads(pair) == (load_of(PA), load_of(PA + 8))
    assert perform(ALL_ON, 0, pair, [1, 2])[1:] == ((1, 2), (store_of(PA),))
    assert accesses(LoadUntil(PA, 4)) == loads(LoadUntil(PA, 4)) == (Access(PA, 4, False),)


def test_deferred_lines_come_out_by_cpu_and_in_order() -> None:
    kept = log.DeferredLog()
    for owner, line in ((2, 10), (1, 11), (2, 12)):
        kept = log.defer(kept, owner, line)
    one, lines = log.flush(kept, 1)
    assert (lines, one.lines) == ([11], ((2, 10), (2, 12)))
    assert log.flush(kept, log.EVERY_CPU) == (log.DeferredLog(), [11, 10, 12])
