"""The generic timer (Arm DDI 0487, D12): conditions, lines, deadlines, and the event stream."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.arch.counter import FREQUENCY_HZ, count_at, ns_of
from emu.arch.sysreg import Encoding
from emu.devices.protocol import Board
from emu.devices.timer import (
    HYP_PHYSICAL,
    HYP_VIRTUAL,
    PHYSICAL,
    VIRTUAL,
    GenericTimer,
    next_event,
)

U64 = 2**64 - 1
LINES = (PHYSICAL, VIRTUAL, HYP_PHYSICAL, HYP_VIRTUAL)
ENABLE, IMASK, ISTATUS = 1, 2, 4
NS_MAX = 1 << 63


def register(line: int, what: str) -> Encoding:
    """Return CNTP, CNTV, CNTHP or CNTHV, and TVAL, CTL or CVAL of it."""
    op1, crm = {PHYSICAL: (3, 2), VIRTUAL: (3, 3), HYP_PHYSICAL: (4, 2), HYP_VIRTUAL: (4, 3)}[line]
    return (3, op1, 14, crm, ("TVAL", "CTL", "CVAL").index(what))


class Timers:
    """The timers of two CPUs; what they signal, and CNTVOFF_EL2 of each, which can be changed."""

    def __init__(self) -> None:
        self.signals: list[tuple[int, int, bool]] = []
        self.offsets = [0, 0]
        self.timer = GenericTimer(
            Board(
                signal=lambda *signal: self.signals.append(signal),
                hwids=(0, 1),
                counter_offset=lambda cpu: self.offsets[cpu],
            )
        )

    def write(self, line: int, what: str, value: int, now: int, cpu: int = 0) -> None:
        """MSR."""
        self.timer.write(cpu, register(line, what), value, now)

    def read(self, line: int, what: str, now: int, cpu: int = 0) -> int:
        """MRS."""
        return self.timer.read(cpu, register(line, what), now)


every_line = pytest.mark.parametrize("line", LINES)


@given(st.integers(0, NS_MAX))
def test_a_count_is_reached_at_its_time_and_not_before(now: int) -> None:
    """62.5 MHz, as CNTFRQ_EL0 says: a tick is 16 ns."""
    assert count_at(now) == now * FREQUENCY_HZ // 10**9
    count = count_at(now)
    assert (count_at(ns_of(count)), ns_of(count) <= now) == (count, True)
    assert count_at(ns_of(count + 1) - 1) == count


@every_line
def test_a_line_goes_high_when_the_count_comes_to_the_compare_value(line: int) -> None:
    """D12.2.4, CVAL; ISTATUS shows the condition."""
    timers = Timers()
    timers.write(line, "CVAL", 10, 0, cpu=1)
    timers.write(line, "CTL", ENABLE, 5, cpu=1)
    assert (timers.timer.tick(1, 5), timers.timer.tick(1, 159), timers.signals) == (160, 160, [])
    assert timers.read(line, "CTL", 159, cpu=1) == ENABLE
    assert (timers.timer.tick(1, 160), timers.signals) == (None, [(line, 1, True)])
    assert timers.read(line, "CTL", 160, cpu=1) == ENABLE | ISTATUS
    assert timers.timer.tick(0, 160) is None


@every_line
def test_a_timer_value_is_a_distance_from_now(line: int) -> None:
    """D12.2.4, TVAL: written, it sets CVAL; read, it is what is left, modulo 2**32."""
    timers = Timers()
    timers.write(line, "TVAL", 100, 1600)
    assert timers.read(line, "CVAL", 1600) == 200
    assert [timers.read(line, "TVAL", now) for now in (1600, 1616, 3200, 3216)] == [100, 99, 0, 0xFFFF_FFFF]


@every_line
@pytest.mark.parametrize(
    ("value", "distance"),
    [(0x7FFF_FFFF, 2**31 - 1), (0x8000_0000, -(2**31)), (0xFFFF_FFFF, -1), (0xABC_0000_0005, 5)],
)
def test_a_timer_value_is_signed_and_has_32_bits(line: int, value: int, distance: int) -> None:
    """D12.2.4: it is sign-extended; the upper half of what is written is not looked at."""
    timers = Timers()
    now = ns_of(2**33)
    timers.write(line, "TVAL", value, now)
    assert timers.read(line, "CVAL", now) == 2**33 + distance
    timers.write(line, "CTL", ENABLE, now)
    assert timers.signals == ([(line, 0, True)] if distance < 0 else [])


@every_line
def test_a_timer_value_before_the_start_of_the_counter_wraps(line: int) -> None:
    """A comparison of unsigned numbers: a count of 3 is not behind 2**64 - 7."""
    timers = Timers()
    timers.write(line, "TVAL", 0xFFFF_FFF6, 48)
    timers.write(line, "CTL", ENABLE, 48)
    assert (timers.read(line, "CVAL", 48), timers.read(line, "CTL", 48)) == (U64 - 6, ENABLE)
    assert (timers.timer.tick(0, 48), timers.signals) == (None, [])


@every_line
def test_a_masked_or_disabled_timer_has_a_low_line(line: int) -> None:
    """D12.2.4: IMASK masks the signal and not the condition; what is disabled has no ISTATUS."""
    timers = Timers()
    timers.write(line, "CTL", ENABLE | IMASK, 0)
    assert (timers.read(line, "CTL", 0), timers.signals) == (ENABLE | IMASK | ISTATUS, [])
    timers.write(line, "CTL", ENABLE, 0)
    timers.write(line, "CTL", ENABLE | IMASK, 16)
    timers.write(line, "CTL", ENABLE | ISTATUS, 32)
    timers.write(line, "CTL", 0, 48)
    assert [high for _, _, high in timers.signals] == [True, False, True, False]
    assert (timers.read(line, "CTL", 48), timers.timer.tick(0, 48)) == (0, None)
    timers.write(line, "CTL", U64, 64)
    assert timers.read(line, "CTL", 64) == ENABLE | IMASK | ISTATUS
    timers.write(line, "CTL", U64 - ENABLE, 64)
    assert timers.read(line, "CTL", 64) == IMASK


@every_line
def test_a_later_compare_value_lowers_the_line_at_once(line: int) -> None:
    timers = Timers()
    timers.write(line, "CTL", ENABLE, 0)
    timers.write(line, "CVAL", 1000, 16)
    assert (timers.signals, timers.timer.tick(0, 16)) == ([(line, 0, True), (line, 0, False)], 16_000)
    timers.write(line, "TVAL", 0, 32)
    assert timers.signals[2:] == [(line, 0, True)]


def test_the_earliest_timer_of_a_cpu_decides_its_deadline() -> None:
    timers = Timers()
    for line, count in zip(LINES, (40, 30, 20, 50), strict=True):
        timers.write(line, "CVAL", count, 0)
        timers.write(line, "CTL", ENABLE, 0)
    assert timers.timer.tick(0, 0) == 320
    assert [timers.timer.tick(0, now) for now in (320, 480, 640, 800)] == [480, 640, 800, None]
    assert [line for line, _, _ in timers.signals] == [HYP_PHYSICAL, VIRTUAL, PHYSICAL, HYP_VIRTUAL]
    assert timers.timer.tick(1, 800) is None


def test_the_virtual_timer_alone_has_the_offset() -> None:
    """D12.2.4: CNTV_* compare with the virtual count, CNTHV_* with the physical one at EL2."""
    timers = Timers()
    timers.offsets[0] = 10
    for line in LINES:
        timers.write(line, "CVAL", 20, 0)
    assert [timers.read(line, "TVAL", 160) for line in LINES] == [10, 20, 10, 10]
    timers.write(VIRTUAL, "CTL", ENABLE, 160)
    assert timers.timer.tick(0, 160) == ns_of(30)
    timers.write(VIRTUAL, "TVAL", 5, ns_of(12))
    assert timers.read(VIRTUAL, "CVAL", ns_of(12)) == 7


def test_an_offset_that_changes_moves_the_deadline_and_the_line() -> None:
    """CNTVOFF_EL2 is the CPU's own register: it is looked at again at each tick."""
    timers = Timers()
    timers.write(VIRTUAL, "CVAL", 20, 0)
    timers.write(VIRTUAL, "CTL", ENABLE, 0)
    assert timers.timer.tick(0, 0) == ns_of(20)
    timers.offsets[0] = 5
    assert timers.timer.tick(0, 160) == ns_of(25)
    timers.offsets[0] = U64 - 9  # the virtual count is 10 ahead
    assert timers.timer.tick(0, 160) is None
    timers.offsets[0] = 0
    timers.timer.tick(0, 160)
    assert timers.signals == [(VIRTUAL, 0, True), (VIRTUAL, 0, False)]


def test_a_virtual_count_that_wraps_ends_the_condition() -> None:
    """The offset is ahead of the physical count by 3: in 3 ticks the virtual count is 0 again."""
    timers = Timers()
    timers.offsets[0] = 3
    timers.write(VIRTUAL, "CVAL", 1, 0)
    timers.write(VIRTUAL, "CTL", ENABLE, 0)
    assert timers.timer.tick(0, 0) == ns_of(3)
    assert timers.timer.tick(0, ns_of(3)) == ns_of(4)
    timers.timer.tick(0, ns_of(4))
    assert [high for _, _, high in timers.signals] == [True, False, True]


@every_line
def test_what_lies_behind_the_end_of_simulated_time_never_comes(line: int) -> None:
    """2**63 ns: a CPU that waits for it alone waits for ever."""
    timers = Timers()
    timers.write(line, "CTL", ENABLE, 0)
    timers.write(line, "CVAL", count_at(NS_MAX), 0)
    assert timers.timer.tick(0, 0) is None
    timers.write(line, "CVAL", count_at(NS_MAX) - 1, 0)
    assert timers.timer.tick(0, 0) == NS_MAX - 16


def test_registers_are_the_twelve_of_the_four_timers() -> None:
    timers = Timers()
    assert timers.timer.encodings == {
        register(line, what) for line in LINES for what in ("TVAL", "CTL", "CVAL")
    }
    for line in LINES:
        timers.write(line, "CVAL", U64 - line, 0)
    assert [timers.read(line, "CVAL", 99) for line in LINES] == [U64 - line for line in LINES]


def test_a_state_can_be_kept_and_put_back_and_signals_nothing() -> None:
    timers = Timers()
    timers.write(VIRTUAL, "CVAL", 20, 0)
    timers.write(VIRTUAL, "CTL", ENABLE, 0)
    timers.write(PHYSICAL, "CTL", ENABLE, 0, cpu=1)
    state = pickle.loads(pickle.dumps(timers.timer.state()))
    timers.timer.tick(0, 320)
    timers.write(PHYSICAL, "CTL", 0, 320, cpu=1)
    timers.write(VIRTUAL, "CVAL", 50, 320)
    assert timers.timer.state() != state
    timers.signals.clear()
    timers.timer.set_state(state)
    assert (timers.timer.state(), timers.signals) == (state, [])
    assert (timers.timer.tick(0, 16), timers.timer.tick(1, 16), timers.signals) == (ns_of(20), None, [])
    timers.timer.tick(0, 320)
    assert timers.signals == [(VIRTUAL, 0, True)]


# -- against a timer that is looked at at each step ----------------------------------------------------

VALUES = st.one_of(st.integers(0, 60), st.integers(U64 - 30, U64), st.integers(2**31 - 20, 2**31 + 20))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("CTL"), st.sampled_from(LINES), st.integers(0, 7)),
        st.tuples(st.sampled_from(["CVAL", "TVAL"]), st.sampled_from(LINES), VALUES),
        st.tuples(st.just("offset"), st.just(0), VALUES),
        st.tuples(st.just("wait"), st.just(0), st.integers(0, 500)),
    ),
    max_size=30,
)


class Naive:
    """One CPU's timers; every line is worked out when it is asked for."""

    def __init__(self) -> None:
        self.control, self.cval, self.offset = [0] * 4, [0] * 4, 0

    def own_count(self, line: int, now: int) -> int:
        """Return the count of a timer."""
        return (now // 16 - (self.offset if line == VIRTUAL else 0)) % 2**64

    def lines(self, now: int) -> list[bool]:
        """Return the levels."""
        return [
            self.control[line] % 4 == 1 and self.own_count(line, now) >= self.cval[line] for line in LINES
        ]

    def write(self, what: str, line: int, value: int, now: int) -> None:
        """Write a register."""
        if what == "CTL":
            self.control[line] = value
        elif what == "CVAL":
            self.cval[line] = value
        else:
            low = value % 2**32
            distance = low - 2**32 if low >= 2**31 else low
            self.cval[line] = (self.own_count(line, now) + distance) % 2**64


@given(steps=STEPS)
def test_lines_are_those_of_a_timer_that_is_looked_at_all_the_time(steps: list[tuple[str, int, int]]) -> None:
    """No line changes between a tick and its deadline, and each deadline is in the future."""
    timers, naive, now, levels = Timers(), Naive(), 0, [False] * 4
    for what, line, value in steps:
        if what == "wait":
            now += value
        elif what == "offset":
            timers.offsets[0] = naive.offset = value
        else:
            timers.write(line, what, value, now)
            naive.write(what, line, value, now)
        deadline = timers.timer.tick(0, now)
        for changed, cpu, high in timers.signals:
            assert (cpu, high) == (0, not levels[changed])
            levels[changed] = high
        timers.signals.clear()
        assert levels == naive.lines(now)
        later = range(now, now + 1000, 8) if deadline is None else range(now, min(deadline, now + 1000))
        assert all(naive.lines(at) == levels for at in later)
        assert deadline is None or deadline > now
        if deadline is not None and deadline < now + 10_000:
            assert naive.lines(deadline) != levels


# -- event stream --------------------------------------------------------------------------------------


def test_a_stream_that_is_not_enabled_sends_nothing() -> None:
    """CNTKCTL_EL1.EVNTEN."""
    assert next_event(0xF8, 0, 0) is None


@given(
    bit=st.integers(0, 15),
    is_falling=st.booleans(),
    offset=st.one_of(st.integers(0, 200), st.integers(U64 - 200, U64)),
    now=st.integers(0, 10_000),
)
def test_an_event_is_the_next_transition_of_the_bit(
    bit: int, is_falling: bool, offset: int, now: int
) -> None:
    """D12.2.3: EVNTI says which bit of the count, EVNTDIR whether 1 to 0."""

    def level(count: int) -> int:
        return (count - offset) % 2**64 >> bit & 1

    at = next_event(1 << 2 | is_falling << 3 | bit << 4, offset, now)
    assert at is not None
    assert at > now
    assert at % 16 == 0
    assert (level(at // 16 - 1), level(at // 16)) == ((1, 0) if is_falling else (0, 1))
    between = range(now // 16 + 1, at // 16) if bit < 8 else range(at // 16 - 100, at // 16)
    want = (1, 0) if is_falling else (0, 1)
    assert all((level(count - 1), level(count)) != want for count in between)
    assert at // 16 - now // 16 <= 2 << bit


@every_line
def test_a_reset_of_a_cpu_disables_its_timers_alone(line: int) -> None:
    """D12: they are in the power domain of the CPU. What KVM and QEMU do: all is 0."""
    timers = Timers()
    for cpu in (0, 1):
        timers.write(line, "CVAL", 1, 100, cpu)
        timers.write(line, "CTL", ENABLE, 100, cpu)
    timers.signals.clear()
    timers.timer.reset(0, 100)
    assert [timers.read(line, what, 100) for what in ("CTL", "CVAL")] == [0, 0]
    assert timers.read(line, "CTL", 100, 1) == ENABLE | ISTATUS
    assert timers.signals == [(line, 0, False)]
    assert timers.timer.tick(0, 200) is None
