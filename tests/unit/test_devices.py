"""Devices: the PL011 (Arm DDI 0183), devices on a machine, and devices of a case."""

from __future__ import annotations

import pytest
from bare_machine import CODE, DATA, make, records

from emu.devices import parse_devices
from emu.devices.pl011 import Pl011
from emu.devices.protocol import NO_CPU, Board
from emu.errors import InvalidCase
from emu.machine import Machine
from emu.machine.actor import Grain
from emu.operation import Delay, Kind, Park
from emu.outcome import ended

UART = 0x0900_0000
DR, FR, CR, IMSC, RIS, MIS, ICR = 0x00, 0x18, 0x30, 0x38, 0x3C, 0x40, 0x44
every_grain = pytest.mark.parametrize("grain", list(Grain))


# -- PL011 -----------------------------------------------------------------------------------------


def uart() -> tuple[Pl011, list[str]]:
    printed: list[str] = []
    return Pl011(Board(printed.append)), printed


def test_lines_come_out_at_line_feed_without_the_carriage_return() -> None:
    device, printed = uart()
    for character in b"one\r\ntw":
        device.store(0, DR, 1, character, 0)
    assert printed == ["one"]
    device.store(0, DR, 4, ord("o") | 0xAB00, 0)  # the upper bits are not data
    device.store(0, DR, 1, ord("\n"), 0)
    assert printed == ["one", "two"]


def test_a_line_that_does_not_end_comes_out_in_pieces() -> None:
    device, printed = uart()
    for _ in range(2500):
        device.store(0, DR, 1, ord("x"), 0)
    assert [len(line) for line in printed] == [1024, 1024]


def test_bytes_that_are_no_text_are_shown_escaped() -> None:
    device, printed = uart()
    for character in b"\xff\n":
        device.store(0, DR, 1, character, 0)
    assert printed == ["\\xff"]


def test_registers_read_as_after_reset() -> None:
    """Arm DDI 0183, 3.2: UARTFR says both FIFOs are empty, UARTCR that both directions are enabled."""
    device, _ = uart()
    assert (device.load(0, FR, 4, 0), device.load(0, CR, 2, 0), device.load(0, 0x34, 4, 0)) == (
        0x90,
        0x300,
        0x12,
    )
    ids = [device.load(0, at, 4, 0) for at in range(0xFE0, 0x1000, 4)]
    assert ids == [0x11, 0x10, 0x34, 0x00, 0x0D, 0xF0, 0x05, 0xB1]


def test_the_interrupt_is_high_while_a_raw_one_is_unmasked() -> None:
    levels: list[tuple[int, int, bool]] = []
    device = Pl011(Board(signal=lambda *level: levels.append(level)))
    device.store(0, DR, 1, ord("a"), 0)
    assert (device.load(0, RIS, 4, 0), device.load(0, MIS, 4, 0), levels) == (0x20, 0, [])
    device.store(0, IMSC, 4, 0x20, 0)
    assert (device.load(0, MIS, 4, 0), levels) == (0x20, [(0, NO_CPU, True)])
    device.store(0, ICR, 4, 0x20, 0)
    assert (device.load(0, RIS, 4, 0), levels[1:]) == (0, [(0, NO_CPU, False)])


def test_characters_come_in_while_a_receive_interrupt_is_enabled() -> None:
    """Arm DDI 0183, 3.3.1, 3.3.3, 3.3.10: UARTDR, UARTFR.RXFE, RXINTR, RTINTR; a driver drains the FIFO."""
    levels: list[bool] = []
    device = Pl011(Board(signal=lambda _line, _cpu, high: levels.append(high), receives=b"ab"))
    device.store(0, CR, 4, 0x301, 0)
    assert (device.load(0, FR, 4, 0), device.load(0, DR, 4, 0), device.load(0, RIS, 4, 0)) == (0x90, 0, 0)
    device.store(0, IMSC, 4, 0x50, 0)
    assert (device.load(0, FR, 4, 0), device.load(0, MIS, 4, 0), levels) == (0x80, 0x50, [True])
    device.store(0, ICR, 4, 0x50, 0)
    assert device.load(0, RIS, 4, 0) == 0x50, "there are characters yet"
    assert device.load(0, DR, 4, 0) == ord("a")
    device.store(0, IMSC, 4, 0, 0)
    assert (device.load(0, FR, 4, 0), levels) == (0x90, [True, False])
    device.store(0, IMSC, 4, 0x10, 0)
    assert (device.load(0, DR, 1, 0), device.load(0, FR, 4, 0)) == (ord("b"), 0x90)
    assert levels == [True, False, True, False]
    again = Pl011(Board(receives=b"ab"))
    again.set_state(device.state())
    assert again.load(0, FR, 4, 0) == 0x90, "both were read"


def test_a_uart_that_is_off_receives_nothing() -> None:
    device = Pl011(Board(receives=b"a"))
    device.store(0, IMSC, 4, 0x50, 0)
    assert (device.load(0, FR, 4, 0), device.load(0, RIS, 4, 0)) == (0x90, 0)


def test_what_a_uart_remembers_can_be_put_back() -> None:
    device, printed = uart()
    for character in b"one":
        device.store(0, DR, 1, character, 0)
    device.store(0, IMSC, 4, 0x20, 0)
    state = device.state()
    device.store(0, DR, 1, ord("\n"), 0)
    device.store(0, IMSC, 4, 0, 0)
    device.set_state(state)
    assert device.state() == state
    device.store(0, DR, 1, ord("\n"), 0)
    assert (printed, device.load(0, MIS, 4, 0)) == (["one", "one"], 0x20)


# -- on a machine ----------------------------------------------------------------------------------

PRINT_HI = f"""
        ldr x1, ={UART:#x}
        mov w0, #0x48
        strb w0, [x1]
        mov w0, #0x69
        str w0, [x1]
        mov w0, #0x0a
        strb w0, [x1]
        ldr w2, [x1, #0x18]
        str w2, [x20]
        b .
"""


def with_uart(text: str, grain: Grain) -> Machine:
    machine = make(text, grain=grain)
    machine.devices.add(range(UART, UART + 0x1000), Pl011(Board(machine.log)))
    machine.power_on(0, CODE, 0)
    machine.actors[0].pe.x[20] = DATA
    machine.run()
    return machine


@every_grain
def test_a_pe_prints_to_the_log_and_its_accesses_are_operations(grain: Grain) -> None:
    machine = with_uart(PRINT_HI, grain)
    assert [machine.trace.strings[record.value] for record in records(machine, Kind.LOG)] == ["Hi"]
    found = [
        (record.kind, record.size, record.pa, record.value)
        for record in records(machine, Kind.LOAD, Kind.STORE)
        if record.pa < 0x4000_0000
    ]
    assert found == [
        (Kind.STORE, 1, UART, 0x48),
        (Kind.STORE, 4, UART, 0x69),
        (Kind.STORE, 1, UART, 0x0A),
        (Kind.LOAD, 4, UART + FR, 0x90),
    ]
    assert machine.memory.read(DATA, 4) == 0x90
    counters = machine.actors[0].pe.counters
    assert (counters.stores, counters.loads, counters.loads_mmu_off) == (4, 1, 1)


@every_grain
def test_beside_a_device_there_is_still_nothing(grain: Grain) -> None:
    """An access behind the device's page is the external abort that it was."""
    machine = with_uart(f"ldr x1, ={UART + 0x1000:#x}\n ldr w0, [x1]\n b .", grain)
    exceptions = records(machine, Kind.EXCEPTION)
    assert exceptions[0].value >> 26 == 0x25
    assert exceptions[0].value & 0x3F == 0x10


class Alarm:
    """A test device: line 3 is high from ``at`` ns on, until it is stored to."""

    def __init__(self, at: int) -> None:
        self._at: int | None = at
        self._high = False
        self.board = Board()
        self.ticks: list[int] = []

    def load(self, cpu: int, offset: int, size: int, now: int) -> int:
        return int(self._high)

    def store(self, cpu: int, offset: int, size: int, value: int, now: int) -> None:
        self._set(False)

    def tick(self, now: int) -> int | None:
        self.ticks.append(now)
        if self._at is not None and now >= self._at:
            self._set(True)
            self._at = None
        return self._at

    def _set(self, high: bool) -> None:
        self._high = high
        self.board.signal(3, NO_CPU, high)

    def state(self) -> object:
        return self._at, self._high

    def set_state(self, state: tuple[int | None, bool]) -> None:
        self._at, self._high = state


def with_alarm(text: str, at: int) -> tuple[Machine, Alarm]:
    machine, alarm = make(text), Alarm(at)
    pas = range(UART, UART + 0x1000)
    alarm.board = machine.devices.board(pas.start)
    machine.devices.add(pas, alarm)
    return machine, alarm


def lines(machine: Machine) -> list[tuple[int, int]]:
    return [(record.value, record.size) for record in records(machine, Kind.INTERRUPT_LINE)]


def test_time_jumps_to_a_device_when_all_sleep() -> None:
    machine, alarm = with_alarm("b .", 5000)
    machine.run()
    assert (alarm.ticks, machine.now, lines(machine)) == ([0, 5000], 5000, [(3, 1)])


def test_a_device_is_called_in_the_order_of_time_and_its_line_goes_low_again() -> None:
    machine, _ = with_alarm(f"ldr x1, ={UART:#x}\n str w0, [x1]\n b .", 1000)

    def waits() -> object:
        yield Delay(3000)
        yield Park(ended("done"))

    machine.start_task(0, waits())
    machine.run()
    assert (machine.now >= 3000, lines(machine)) == (True, [(3, 1)])
    machine.power_on(0, CODE, 0)
    machine.run()
    assert lines(machine) == [(3, 1), (3, 0)]


# -- the case --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pl11@0x9000000", "pl011"),
        ("pl011", "not NAME@PA"),
        ("pl011@0x9000004", "a multiple of 0x1000"),
        ("pl011@0x10000000000", "below 0x10000000000"),
        ("pl011@0x9000000,pl011@150994944", "overlap"),
    ],
)
def test_a_device_that_cannot_be_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidCase, match="device=") as caught:
        parse_devices(text)
    assert says in str(caught.value)


def test_devices_are_sorted_by_place() -> None:
    found = parse_devices("pl011@0x9001000,pl011@0x9000000")
    assert [placed.pas for placed in found] == [
        range(UART, UART + 0x1000),
        range(UART + 0x1000, UART + 0x2000),
    ]
