"""The machine: turns, host tasks, events."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from bare_machine import COUNT, Firmware, make, on, outcomes, records
from bare_pe import BASE, CODE, DATA, assemble
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.machine import Machine
from emu.machine.actor import Grain, HostTask
from emu.machine.host_tasks import TASK_SLICE
from emu.operation import (
    DC_CIVAC,
    DSB_SY,
    OPERATIONS,
    AtomicUpdate,
    Barrier,
    CacheOp,
    Delay,
    FirmwareCall,
    GuestCall,
    Kind,
    Load,
    LoadUntil,
    Log,
    Park,
    Record,
    SendEvent,
    Store,
    WaitForEvent,
)
from emu.outcome import ended
from emu.schedulers import make_scheduler

every_grain = pytest.mark.parametrize("grain", Grain)


class Script:
    """A scheduler that follows a list of picks, then round robin."""

    def __init__(self, script: Sequence[int]) -> None:
        self._script = list(script)
        self._rest = make_scheduler("round-robin")

    def pick(self, runnable: Sequence[int], current: int) -> int:
        while self._script:
            wanted = self._script.pop(0)
            if wanted in runnable:
                return wanted
        return self._rest.pick(runnable, current)


# -- turns ------------------------------------------------------------------------------------------


def test_round_robin_gives_each_cpu_one_operation_in_turn() -> None:
    """At operation grain the stores of three CPUs alternate."""
    machine = on(make("str x0, [x0]\n str x0, [x0]\n b .", cpus=3, grain=Grain.OPERATION))
    machine.run()
    assert [record.actor for record in records(machine, Kind.STORE)] == [0, 1, 2, 0, 1, 2]


def test_instruction_grain_changes_cpu_after_each_instruction() -> None:
    """The pick count is the number of instructions, and the parks."""
    machine = on(make("add x1, x1, #1\n str x0, [x0]\n nop\n b .", cpus=2, grain=Grain.INSTRUCTION))
    machine.run()
    assert [record.actor for record in records(machine, Kind.STORE)] == [0, 1]
    assert machine.picks == 2 * (3 + 1)


def test_free_grain_runs_to_the_end_of_a_cpu() -> None:
    """Nothing makes it give way before its slice is over."""
    machine = on(make("str x0, [x0]\n str x0, [x0]\n b .", cpus=2))
    machine.run()
    assert [record.actor for record in records(machine, Kind.STORE)] == [0, 0, 1, 1]


def test_random_schedules_are_those_of_their_seed() -> None:
    """Same seed, same trace; other seeds, other traces."""

    def trace(seed: int) -> bytes:
        machine = on(make(COUNT, cpus=3, grain=Grain.OPERATION, scheduler=f"random:{seed}"))
        machine.run()
        machine.finish()
        return bytes(machine.trace._records)

    assert trace(1) == trace(1)
    assert len({trace(seed) for seed in range(8)}) == 8


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=60))
def test_the_same_order_of_operations_at_instruction_grain(script: list[int]) -> None:
    """Replaying which CPU did each operation at instruction grain gives the same operations per CPU."""
    coarse = on(make(COUNT, cpus=3, grain=Grain.OPERATION, scheduler=Script(script)))
    coarse.run()

    class Follow:
        # Lets the CPU whose operation comes next run until it has done it.
        def __init__(self, order: list[int]) -> None:
            self.order = order
            self.machine: Machine | None = None

        def pick(self, runnable: Sequence[int], current: int) -> int:
            assert self.machine is not None
            done = len([r for r in self.machine.trace if r.kind in OPERATIONS])
            wanted = self.order[done] if done < len(self.order) else runnable[0]
            return wanted if wanted in runnable else runnable[0]

    order = [record.actor for record in coarse.trace if record.kind in OPERATIONS]
    follow = Follow(order)
    fine = on(make(COUNT, cpus=3, grain=Grain.INSTRUCTION, scheduler=follow))
    follow.machine = fine
    fine.run()

    def each(machine: Machine) -> list[list[Record]]:
        found: list[list[Record]] = [[], [], []]
        for record in machine.trace:
            if record.kind in OPERATIONS:
                found[record.actor].append(record)
        return found

    assert each(fine) == each(coarse)
    assert [a.pe.counters.as_dict() for a in fine.actors] == [a.pe.counters.as_dict() for a in coarse.actors]


@every_grain
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_no_increment_is_lost(grain: Grain, seed: int) -> None:
    """Four CPUs, five increments each, any schedule; every sleeper is woken by the last one's SEV."""
    machine = on(make(COUNT, cpus=4, grain=grain, scheduler=f"random:{seed}"))
    machine.run()
    assert machine.memory.read(DATA, 8) == 20
    ended = outcomes(machine)
    assert set(ended) <= {"branches to itself", "asleep in WFE"}


# -- host tasks -------------------------------------------------------------------------------------


@every_grain
def test_each_operation_gives_its_value(grain: Grain) -> None:
    """What is sent back into the generator, and what memory holds.

    An update that finds another value than it expects has stored nothing, and is a load in the trace.
    """
    got: list[object] = []

    def task() -> HostTask:
        got.append((yield Store(DATA, 0x1_FFFF_FFFF, 4)))
        got.append((yield Load(DATA, 8)))
        got.append((yield Load(DATA + 1, 2)))
        got.append((yield AtomicUpdate(DATA, 0xFFFF_FFFF, 5)))
        got.append((yield AtomicUpdate(DATA, 77, 6)))
        got.append((yield AtomicUpdate(DATA, None, 9, 4)))
        got.append((yield Load(DATA)))
        got.append((yield LoadUntil(DATA)))
        got.append((yield LoadUntil(DATA, 8, 9)))
        got.append((yield Barrier(DSB_SY)))
        got.append((yield CacheOp(DC_CIVAC, DATA)))
        got.append((yield SendEvent()))
        got.append((yield WaitForEvent()))
        got.append((yield Delay(100)))
        got.append((yield FirmwareCall(0x8400_0000, 41)))
        yield Log("a line")
        yield Park(ended("done"))

    machine = make(grain=grain)
    machine.power.firmware = Firmware()
    machine.start_task(0, task())
    machine.run()
    f = 0xFFFF_FFFF
    assert got == [None, f, 0xFFFF, f, 5, 5, 9, 9, 9, None, None, None, True, None, 42]
    assert machine.actors[0].outcome == ended("done")
    done = [record.kind for record in machine.trace if record.kind in OPERATIONS]
    load, atomic = Kind.LOAD, Kind.ATOMIC
    assert done == [
        *[Kind.STORE, load, load, atomic, load, atomic, load, load, load, Kind.BARRIER, Kind.CACHE],
        *[Kind.SEV, Kind.WFE, Kind.DELAY, Kind.CALL, Kind.CALL_ARGS, Kind.RETURN, Kind.PARK],
    ]
    assert [machine.trace.text_of(record) for record in records(machine, Kind.LOG)] == ["a line"]


def test_operations_of_a_host_task_carry_their_source_line() -> None:
    """file:line of the yield, also of one that the task delegates to, relative to the tree."""

    def inner() -> HostTask:
        yield Store(DATA, 1)
        return None

    def task() -> HostTask:
        yield from inner()
        yield Park(ended("done"))
        return None

    machine = make()
    machine.start_task(0, task())
    machine.run()
    where = [machine.trace.location(record.pc) for record in records(machine, Kind.STORE)]
    assert where == [f"tests/unit/test_machine.py:{inner.__code__.co_firstlineno + 1}"]


@every_grain
def test_a_task_that_returns_an_entry_goes_on_as_guest(grain: Grain) -> None:
    """Firmware that lets its CPU go: (PA, x0)."""

    def task() -> HostTask:
        yield Store(DATA, 1)
        return CODE, 0x1234

    machine = make("nop\n b .", grain=grain)
    machine.start_task(0, task())
    machine.run()
    assert (machine.actors[0].pe.x[0], outcomes(machine)) == (0x1234, ["branches to itself"])


@every_grain
def test_a_guest_call_runs_the_function_and_gives_x0(grain: Grain) -> None:
    """x0.. are the arguments; it returns to an address where no code runs."""
    got = []

    def task() -> HostTask:
        got.append((yield GuestCall(CODE, (40, 2))))
        got.append((yield GuestCall(CODE, (2**64 - 1, 1))))
        yield Park(ended("done"))
        return None

    machine = make("add x0, x0, x1\n str x0, [x20]\n ret", grain=grain)
    machine.landings.allow_guest_calls(BASE)
    machine.power_on(0, CODE, 0)
    machine.actors[0].pe.x[20] = DATA
    machine.start_task(0, task())
    machine.run()
    assert (got, machine.actors[0].outcome) == ([42, 0], ended("done"))
    assert [record.value for record in records(machine, Kind.STORE)] == [42, 0]


def test_a_guest_that_gets_to_the_return_address_by_itself_stops_the_run() -> None:
    """That is a breakpoint nobody waits at, not an error of ours."""
    machine = make(f"mov x1, #{BASE:#x}\n br x1")
    machine.landings.allow_guest_calls(BASE)
    on(machine)
    machine.run()
    assert machine.stopped == f"CPU 0 at the breakpoint {BASE:#x}"


def test_a_thousand_log_lines_in_a_row() -> None:
    """Logging is no operation, and no recursion."""

    def task() -> HostTask:
        for number in range(5000):
            yield Log(f"line {number}")
        yield Park(ended("done"))

    machine = make()
    machine.start_task(0, task())
    machine.run()
    assert len(records(machine, Kind.LOG)) == 5000


@every_grain
def test_a_task_that_polls_lets_others_go_on(grain: Grain) -> None:
    """At free speed too: a slice of operations, then the next."""

    def poller() -> HostTask:
        while not (yield Load(DATA)):
            pass
        yield Park(ended("seen"))

    machine = make("mov x1, #1\n str x1, [x0]\n b .", cpus=2, grain=grain)
    machine.start_task(0, poller())
    machine.power_on(1, CODE, DATA)
    machine.run()
    assert outcomes(machine) == ["seen", "branches to itself"]
    assert machine.picks <= TASK_SLICE


@every_grain
def test_a_task_that_polls_for_ever_comes_to_the_limit(grain: Grain) -> None:
    """Operations of host tasks count as instructions do."""

    def poller() -> HostTask:
        while not (yield Load(DATA)):
            pass
        return None

    machine = make(grain=grain, instructions_max=5000)
    machine.start_task(0, poller())
    machine.run()
    assert machine.stopped == "limit of 5000 instructions (--instructions-max)"
    assert outcomes(machine) == ["in poller"]
    assert len(records(machine, Kind.LOAD)) == 5000


# -- waiting ----------------------------------------------------------------------------------------


@every_grain
def test_host_wait_for_event_sleeps_until_sev(grain: Grain) -> None:
    """A clear event register: asleep; the SEV of a guest wakes it and is consumed."""
    order = []

    def sleeper() -> HostTask:
        order.append((yield WaitForEvent()))
        yield Log("awake")
        yield Park(ended("woken"))

    machine = make("str x0, [x0]\n sev\n b .", cpus=2, grain=grain)
    machine.start_task(0, sleeper())
    machine.power_on(1, CODE, DATA)
    machine.run()
    assert outcomes(machine) == ["woken", "branches to itself"]
    assert order == [True]
    assert (
        machine.interconnect.has_event(machine.actors[0].pe),
        machine.interconnect.has_event(machine.actors[1].pe),
    ) == (False, True)
    assert [record.actor for record in records(machine, Kind.LOG, Kind.WAKE)] == [0, 0]
    assert machine.actors[0].pe.counters.wfe_sleeps == 1


@every_grain
def test_a_sleeper_whose_wake_up_switches_a_cpu_on(grain: Grain) -> None:
    """The one that did the SEV is in the middle of its run: its registers stay its own."""

    def pen() -> HostTask:
        yield WaitForEvent()
        return CODE + 0x100, 0x77

    text = "mov x1, #5\n sev\n add x1, x1, #1\n str x1, [x0]\n b ."
    machine = make(text, cpus=2, grain=grain)
    machine.memory.write_bytes(CODE + 0x100, assemble("mov x1, #1\n str x0, [x1]\n b .", CODE + 0x100))
    machine.memory.write_bytes(CODE + 0x100, assemble("nop\n b .", CODE + 0x100))
    machine.start_task(0, pen())
    machine.power_on(1, CODE, DATA)
    machine.run()
    assert machine.memory.read(DATA, 8) == 6
    assert (machine.actors[0].pe.x[0], machine.actors[1].pe.x[1]) == (0x77, 6)
    assert outcomes(machine) == ["branches to itself"] * 2
    assert machine.actors[1].pe.counters.instructions == 4


@every_grain
def test_a_store_to_a_watched_granule_wakes_a_sleeper(grain: Grain) -> None:
    """ldaxr, then wfe: the host's store clears the monitor, which is an event."""

    def writer() -> HostTask:
        yield Delay(1000)
        yield Store(DATA + 8, 1)
        yield Park(ended("done"))

    machine = make("ldaxr x1, [x0]\n wfe\n b .", cpus=2, grain=grain)
    machine.power_on(0, CODE, DATA)
    machine.start_task(1, writer())
    machine.run()
    assert outcomes(machine) == ["branches to itself", "done"]
    assert [record.actor for record in records(machine, Kind.WAKE)] == [0]


def test_events_do_not_reach_a_cpu_that_is_off() -> None:
    """Its event register is what the case says when it comes up, the second time too."""
    machine = make("wfe\n b .", cpus=2)
    machine.start_task(1, (operation for operation in (SendEvent(), Park(ended("done")))))
    machine.run()
    assert not machine.interconnect.has_event(machine.actors[0].pe)
    machine.power_on(0, CODE, 0)
    machine.interconnect.send_event(machine.actors[0].pe)
    assert machine.interconnect.has_event(machine.actors[0].pe)
    machine.power.switch_off(0)
    machine.power_on(0, CODE, 0)
    assert not machine.interconnect.has_event(machine.actors[0].pe)
    machine.run()
    assert outcomes(machine)[0] == "asleep in WFE"


def test_an_event_register_that_is_set_at_power_on_stays_so() -> None:
    """Its reset value is UNKNOWN in the architecture and part of the case here."""
    machine = make("wfe\n wfe\n b .")
    machine.power.event_register = True
    on(machine)
    machine.run()
    assert [record.value for record in records(machine, Kind.WFE)] == [0, 1]
    machine.power.switch_off(0)
    machine.power_on(0, CODE, 0)
    assert machine.interconnect.has_event(machine.actors[0].pe)
