"""What every interrupt controller keeps to (Arm IHI 0048B, 3.2; Arm IHI 0069, 4.1)."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from controlling import EDGE_SPI, OTHERS, PPI, PRIORITY, SELF, SPI, SPURIOUS, Driver
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_interrupts import Naive

from emu.devices.controllers import CONTROLLERS
from emu.devices.protocol import Board

every_controller = pytest.mark.parametrize("name", CONTROLLERS)
ACCESSES = st.lists(
    st.tuples(
        st.integers(0, 0x1FFFF),
        st.sampled_from([1, 2, 4]),
        st.none() | st.integers(0, 2**32 - 1),
        st.integers(0, 2),
    ),
    max_size=40,
)


CPUS, SGIS = 3, (2, 5)
INTIDS = (*SGIS, PPI, SPI, EDGE_SPI)
CPU, INTID = st.integers(0, CPUS - 1), st.sampled_from(INTIDS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["acknowledge", "acknowledge", "end", "deactivate", "split"]), CPU),
        st.tuples(st.sampled_from(["enable", "disable"]), CPU, INTID),
        st.tuples(
            st.just("priority"), CPU, INTID, st.sampled_from([0x00, 0x40, 0x48, 0x50, 0xA0, 0xE8, 0xF8])
        ),
        st.tuples(st.just("line"), CPU, st.sampled_from([PPI, SPI, EDGE_SPI]), st.booleans()),
        st.tuples(st.just("send"), CPU, st.sampled_from(SGIS), CPU),
        st.tuples(st.just("mask"), CPU, st.sampled_from([0x00, 0x50, 0xF8])),
        st.tuples(st.just("bits"), CPU, st.integers(3, 7)),
        st.tuples(st.just("route"), CPU, st.sampled_from([SPI, EDGE_SPI])),
        st.tuples(st.just("pend"), CPU, st.sampled_from([SPI, EDGE_SPI])),
        st.tuples(st.just("unpend"), CPU, st.sampled_from([SPI, EDGE_SPI])),
    ),
    max_size=60,
)


class Both:
    """A controller and the naive list, which take the same steps."""

    def __init__(self, name: str) -> None:
        self.ours = Driver(name, CPUS)
        by_sender = self.ours.interface is not None
        self.theirs = Naive(CPUS, [*SGIS, PPI], [SPI, EDGE_SPI], {*SGIS, EDGE_SPI}, PRIORITY, by_sender)
        self.values: list[list[int]] = [[] for _ in range(CPUS)]  # acknowledged and not ended
        self.dropped: list[list[int]] = [[] for _ in range(CPUS)]  # ended and not deactivated

    def take(self, what: str, cpu: int, *rest: Any) -> None:
        """Take a step on both."""
        getattr(self, f"_{what}")(cpu, *rest)

    def compare(self) -> None:
        """Compare all that can be seen."""
        ours, theirs = self.ours, self.theirs
        assert ours.irqs() == [cpu for cpu in range(CPUS) if theirs.signalled(cpu)]
        for cpu in range(CPUS):
            assert ours.running(cpu) == min(theirs.running[cpu], default=0xFF)
            for intid in INTIDS:
                record = theirs.record(cpu, intid)
                seen = ours.is_pending(cpu, intid), ours.is_active(cpu, intid)
                assert seen == (record.is_pending(), record.is_active), (cpu, intid)

    def _acknowledge(self, cpu: int) -> None:
        value = self.ours.acknowledge(cpu)
        assert value == self.theirs.acknowledge(cpu)
        if value != SPURIOUS:
            self.values[cpu].append(value)

    def _end(self, cpu: int) -> None:
        if self.values[cpu]:
            value = self.values[cpu].pop()
            self.ours.end(cpu, value)
            self.theirs.end(cpu, value & 0x3FF)
            if self.theirs.is_split[cpu]:
                self.dropped[cpu].append(value)

    def _deactivate(self, cpu: int) -> None:
        if self.dropped[cpu]:
            value = self.dropped[cpu].pop(0)
            self.ours.deactivate(cpu, value)
            self.theirs.deactivate(cpu, value & 0x3FF)

    def _split(self, cpu: int) -> None:
        self.ours.split(cpu)
        self.theirs.is_split[cpu] = True

    def _enable(self, cpu: int, intid: int) -> None:
        self.ours.enable(cpu, intid)
        self.theirs.record(cpu, intid).is_enabled = True

    def _disable(self, cpu: int, intid: int) -> None:
        if intid in (PPI, SPI, EDGE_SPI):  # a GICv2's SGIs are always enabled
            self.ours.disable(cpu, intid)
            self.theirs.record(cpu, intid).is_enabled = False

    def _priority(self, cpu: int, intid: int, priority: int) -> None:
        self.ours.set_priority(cpu, intid, priority)
        self.theirs.record(cpu, intid).priority = priority

    def _line(self, cpu: int, intid: int, high: bool) -> None:
        self.ours.set_line(intid, cpu, high)
        self.theirs.set_line(cpu, intid, high)

    def _send(self, cpu: int, sgi: int, to: int) -> None:
        self.ours.send(cpu, sgi, to)
        self.theirs.send(cpu, sgi, to)

    def _mask(self, cpu: int, priority: int) -> None:
        self.ours.set_mask(cpu, priority)
        self.theirs.masks[cpu] = priority

    def _bits(self, cpu: int, bits: int) -> None:
        self.ours.set_point(cpu, bits)
        self.theirs.bits[cpu] = bits

    def _route(self, cpu: int, intid: int) -> None:
        self.ours.route(intid, cpu)
        self.theirs.record(0, intid).cpu = cpu

    def _pend(self, cpu: int, intid: int) -> None:
        self.ours.pend(cpu, intid)
        self.theirs.record(cpu, intid).senders.add(0)

    def _unpend(self, cpu: int, intid: int) -> None:
        self.ours.unpend(cpu, intid)
        self.theirs.record(cpu, intid).senders.clear()


@every_controller
@given(steps=STEPS)
@settings(max_examples=150)
def test_interrupts_are_those_of_a_naive_list(name: str, steps: list[tuple[Any, ...]]) -> None:
    """After every step: who has an IRQ, running priorities, what is pending and active."""
    both = Both(name)
    for number in range(CPUS):
        both.take("bits", number, 3)
    for what, cpu, *rest in steps:
        both.take(what, cpu, *rest)
        both.compare()


@every_controller
def test_it_describes_itself(name: str) -> None:
    kind = CONTROLLERS[name]
    assert kind.name == name
    assert kind.summary
    assert kind.cpus_max >= 1
    regions = kind.controller(Board(hwids=tuple(range(2)))).regions()
    assert "distributor" in regions


@every_controller
def test_nothing_is_pending_at_reset(name: str) -> None:
    driver = Driver(name, 3)
    assert driver.irqs() == []
    assert [driver.acknowledge(cpu) for cpu in range(3)] == [SPURIOUS] * 3
    assert [driver.running(cpu) for cpu in range(3)] == [0xFF] * 3


@every_controller
def test_before_anything_is_written_no_interrupt_is_signalled(name: str) -> None:
    controller = CONTROLLERS[name].controller(Board(hwids=(0, 1)))
    controller.set_line(PPI, 1, True)
    assert not controller.has_irq(1)


@every_controller
def test_an_edge_is_pending_until_it_is_acknowledged_and_active_until_it_is_ended(name: str) -> None:
    driver = Driver(name, 3)
    driver.set_line(EDGE_SPI, 0, True)
    driver.set_line(EDGE_SPI, 0, False)
    assert (driver.irqs(), driver.is_pending(0, EDGE_SPI), driver.is_active(0, EDGE_SPI)) == (
        [0],
        True,
        False,
    )
    assert driver.acknowledge(0) == EDGE_SPI
    assert (driver.irqs(), driver.is_pending(0, EDGE_SPI), driver.is_active(0, EDGE_SPI)) == ([], False, True)
    assert driver.running(0) == PRIORITY
    assert driver.acknowledge(0) == SPURIOUS
    driver.end(0, EDGE_SPI)
    assert (driver.running(0), driver.is_active(0, EDGE_SPI), driver.irqs()) == (0xFF, False, [])


@every_controller
def test_an_edge_while_active_is_pending_again(name: str) -> None:
    driver = Driver(name, 1)
    driver.set_line(EDGE_SPI, 0, True)
    driver.acknowledge(0)
    driver.set_line(EDGE_SPI, 0, False)
    driver.set_line(EDGE_SPI, 0, True)
    assert (driver.irqs(), driver.is_pending(0, EDGE_SPI), driver.is_active(0, EDGE_SPI)) == ([], True, True)
    driver.end(0, EDGE_SPI)
    assert driver.irqs() == [0]


@every_controller
def test_an_input_that_is_told_high_twice_has_one_edge(name: str) -> None:
    driver = Driver(name, 1)
    driver.set_line(EDGE_SPI, 0, True)
    driver.end(0, driver.acknowledge(0))
    driver.set_line(EDGE_SPI, 0, True)
    assert driver.irqs() == []


@every_controller
@pytest.mark.parametrize("intid", [PPI, SPI])
def test_a_level_that_stays_high_comes_again_and_one_that_falls_does_not(name: str, intid: int) -> None:
    driver = Driver(name, 3)
    driver.set_line(intid, 0, True)
    assert driver.acknowledge(0) == intid
    assert driver.irqs() == []
    driver.end(0, intid)
    assert driver.irqs() == [0]
    driver.acknowledge(0)
    driver.set_line(intid, 0, False)
    driver.end(0, intid)
    assert driver.irqs() == []


@every_controller
def test_a_level_that_falls_before_the_acknowledge_is_spurious(name: str) -> None:
    driver = Driver(name, 2)
    driver.set_line(PPI, 1, True)
    assert driver.irqs() == [1]
    driver.set_line(PPI, 1, False)
    assert (driver.irqs(), driver.acknowledge(1)) == ([], SPURIOUS)


@every_controller
def test_a_ppi_is_its_cpus_own(name: str) -> None:
    driver = Driver(name, 3)
    driver.set_line(PPI, 2, True)
    assert driver.irqs() == [2]
    assert (driver.acknowledge(0), driver.acknowledge(2)) == (SPURIOUS, PPI)
    driver.set_line(PPI, 0, True)
    assert driver.irqs() == [0]


@every_controller
def test_what_is_disabled_stays_pending_and_is_not_signalled(name: str) -> None:
    driver = Driver(name, 2)
    driver.disable(1, PPI)
    driver.set_line(PPI, 1, True)
    assert (driver.irqs(), driver.is_pending(1, PPI), driver.acknowledge(1)) == ([], True, SPURIOUS)
    driver.enable(1, PPI)
    assert driver.irqs() == [1]


@every_controller
def test_what_is_active_when_it_is_disabled_can_be_ended(name: str) -> None:
    driver = Driver(name, 1)
    driver.set_line(PPI, 0, True)
    driver.acknowledge(0)
    driver.disable(0, PPI)
    driver.end(0, PPI)
    assert (driver.is_active(0, PPI), driver.irqs(), driver.running(0)) == (False, [], 0xFF)


@every_controller
@pytest.mark.parametrize(("mask", "expected"), [(PRIORITY, []), (PRIORITY + 8, [1]), (0, []), (0xFF, [1])])
def test_only_priorities_above_the_mask_are_signalled(name: str, mask: int, expected: list[int]) -> None:
    driver = Driver(name, 2)
    driver.set_line(PPI, 1, True)
    driver.set_mask(1, mask)
    assert driver.irqs() == expected
    assert driver.acknowledge(1) == (PPI if expected else SPURIOUS)


@every_controller
def test_a_higher_priority_preempts_and_an_equal_one_waits(name: str) -> None:
    driver = Driver(name, 1)
    driver.set_line(PPI, 0, True)
    assert driver.acknowledge(0) == PPI
    driver.send(0, 3, SELF)
    assert driver.irqs() == []
    driver.set_priority(0, EDGE_SPI, PRIORITY - 0x20)
    driver.pend(0, EDGE_SPI)
    assert driver.irqs() == [0]
    assert driver.acknowledge(0) == EDGE_SPI
    assert driver.running(0) == PRIORITY - 0x20
    driver.end(0, EDGE_SPI)
    assert (driver.running(0), driver.irqs()) == (PRIORITY, [])
    driver.set_line(PPI, 0, False)
    driver.end(0, PPI)
    assert driver.acknowledge(0) == 3


@every_controller
def test_the_highest_priority_goes_first_and_then_the_lowest_intid(name: str) -> None:
    driver = Driver(name, 1)
    for sgi in (5, 9, 7):
        driver.send(0, sgi, SELF)
    driver.set_priority(0, 9, PRIORITY - 0x10)
    seen = []
    while (value := driver.acknowledge(0)) != SPURIOUS:
        seen.append(value)
        driver.end(0, value)
    assert seen == [9, 5, 7]


@every_controller
def test_with_split_ends_the_priority_drops_first_and_the_interrupt_stays_active(name: str) -> None:
    """EOImode 1: a hypervisor hands interrupts on while they are active."""
    driver = Driver(name, 1)
    driver.split(0)
    driver.set_line(PPI, 0, True)
    driver.acknowledge(0)
    driver.send(0, 1, SELF)
    assert driver.irqs() == []
    driver.end(0, PPI)
    assert (driver.running(0), driver.is_active(0, PPI), driver.irqs()) == (0xFF, True, [0])
    driver.end(0, driver.acknowledge(0))
    driver.deactivate(0, PPI)
    assert (driver.is_active(0, PPI), driver.irqs()) == (False, [0])


@every_controller
@pytest.mark.parametrize(("to", "expected"), [(2, [2]), (1, [1]), (SELF, [1]), (OTHERS, [0, 2])])
def test_an_sgi_reaches_whom_it_is_sent_to(name: str, to: int | str, expected: list[int]) -> None:
    driver = Driver(name, 3)
    driver.send(1, 6, to)
    assert driver.irqs() == expected
    for cpu in expected:
        value = driver.acknowledge(cpu)
        assert value & 0x3FF == 6
        driver.end(cpu, value)
    assert driver.irqs() == []


@every_controller
def test_an_spi_goes_to_the_cpu_that_it_is_routed_to(name: str) -> None:
    driver = Driver(name, 3)
    driver.set_line(SPI, 0, True)
    assert driver.irqs() == [0]
    driver.route(SPI, 2)
    assert driver.irqs() == [2]
    assert (driver.acknowledge(0), driver.acknowledge(2)) == (SPURIOUS, SPI)
    driver.route(SPI, 1)
    assert driver.irqs() == []  # it is active
    driver.end(2, SPI)
    assert driver.irqs() == [1]


@every_controller
def test_software_sets_and_clears_pending_but_not_the_level_of_an_input(name: str) -> None:
    driver = Driver(name, 1)
    driver.pend(0, SPI)
    assert driver.irqs() == [0]
    driver.unpend(0, SPI)
    assert driver.irqs() == []
    driver.set_line(SPI, 0, True)
    driver.unpend(0, SPI)
    assert driver.irqs() == [0]
    driver.pend(0, SPI)
    driver.set_line(SPI, 0, False)
    assert driver.irqs() == [0]
    assert driver.acknowledge(0) == SPI
    driver.end(0, SPI)
    assert driver.irqs() == []


@every_controller
def test_changes_of_irq_are_signalled_once(name: str) -> None:
    driver = Driver(name, 2)
    driver.send(0, 1, 1)
    driver.send(0, 2, 1)
    assert driver.signals == [(1, True)]
    first = driver.acknowledge(1)
    driver.end(1, first)
    driver.end(1, driver.acknowledge(1))
    assert driver.signals == [(1, True), (1, False), (1, True), (1, False)]


@every_controller
def test_what_a_cpu_has_acknowledged_is_counted_and_kept(name: str) -> None:
    """SGIs, and others; a spurious acknowledge is none."""
    driver = Driver(name, 2)
    for sgi in (1, 15):
        driver.send(0, sgi, 1)
        driver.end(1, driver.acknowledge(1))
    driver.set_line(PPI, 1, True)
    assert (driver.acknowledge(1), driver.acknowledge(1), driver.acknowledge(0)) == (PPI, SPURIOUS, SPURIOUS)
    assert [driver.controller.acknowledged(cpu) for cpu in range(2)] == [(0, 0), (2, 1)]
    state = driver.state()
    driver.end(1, PPI)
    driver.acknowledge(1)
    driver.set_state(state)
    assert driver.controller.acknowledged(1) == (2, 1)


@every_controller
def test_it_has_as_many_cpus_as_it_says(name: str) -> None:
    cpus = CONTROLLERS[name].cpus_max
    driver = Driver(name, cpus)
    driver.send(0, 4, cpus - 1)
    assert driver.irqs() == [cpus - 1]
    driver.end(cpus - 1, driver.acknowledge(cpus - 1))
    driver.send(cpus - 1, 4, OTHERS)
    assert driver.irqs() == list(range(cpus - 1))


@every_controller
def test_a_state_can_be_kept_and_put_back_and_signals_nothing(name: str) -> None:
    driver = Driver(name, 3)
    driver.set_line(PPI, 1, True)
    driver.acknowledge(1)
    driver.send(0, 3, OTHERS)
    driver.set_line(SPI, 0, True)
    state = pickle.loads(pickle.dumps(driver.state()))
    irqs = driver.irqs()
    while (value := driver.acknowledge(2)) != SPURIOUS:
        driver.end(2, value)
    driver.route(SPI, 2)
    driver.set_mask(0, 0)
    driver.signals.clear()
    assert driver.irqs() != irqs
    driver.set_state(state)
    assert (driver.state(), driver.irqs(), driver.signals) == (state, irqs, [])
    assert (driver.running(1), driver.is_active(1, PPI)) == (PRIORITY, True)
    fresh = Driver(name, 3)
    fresh.set_state(dict(reversed(state.items())))  # in any order
    assert (fresh.irqs(), fresh.acknowledge(0), fresh.state() != state) == (irqs, SPI, True)


@every_controller
@given(accesses=ACCESSES)
def test_it_takes_any_access_and_does_the_same_each_time(
    name: str, accesses: list[tuple[int, int, int | None, int]]
) -> None:
    """Loads fit their size; a state that is kept is not changed by what comes after it."""
    runs = []
    for _ in range(2):
        driver = Driver(name, 3)
        seen, states = [], []
        for number, (offset, size, value, cpu) in enumerate(accesses):
            for region in driver.regions.values():
                if value is None:
                    seen.append(region.load(cpu, offset, size, number))
                    assert 0 <= seen[-1] < 1 << 8 * size
                else:
                    region.store(cpu, offset, size, value & (1 << 8 * size) - 1, number)
                assert region.tick(number) is None
            states.append((driver.state(), pickle.dumps(driver.state())))
        assert all(pickle.dumps(state) == kept for state, kept in states)
        irqs = driver.irqs()
        driver.set_state(driver.state())
        assert driver.irqs() == irqs
        runs.append((seen, irqs, driver.signals))
    assert runs[0] == runs[1]
