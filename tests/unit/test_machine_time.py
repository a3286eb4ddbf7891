"""The machine: simulated time, power, firmware calls, landings."""

from __future__ import annotations

import pytest
from bare_machine import Firmware, make, on, outcomes, records
from bare_pe import CODE, DATA

from emu.latency import latency_profile
from emu.machine.actor import Grain, HostTask, State
from emu.machine.clock import SPIN_INSTRUCTIONS
from emu.machine.firmware import Answer, PowerOff, PowerOn
from emu.operation import (
    Delay,
    Kind,
    Log,
    Park,
    Register,
    Store,
    WaitForEvent,
)
from emu.outcome import ended

every_grain = pytest.mark.parametrize("grain", Grain)

# -- time -------------------------------------------------------------------------------------------


def test_delays_end_in_the_order_of_their_deadlines() -> None:
    """The clock of each is at its deadline then; equal ones in the order of their start."""

    def task(ns: int) -> HostTask:
        yield Delay(ns)
        yield Log(f"{ns}")
        yield Park(ended("done"))

    machine = make(cpus=4, latency=latency_profile("zero"))
    for cpu, ns in enumerate((300, 100, 200, 100)):
        machine.start_task(cpu, task(ns))
    machine.run()
    logs = records(machine, Kind.LOG)
    assert [record.actor for record in logs] == [1, 3, 2, 0]
    assert [record.pa for record in logs] == [100, 100, 200, 300]
    assert machine.now == 300


@every_grain
@pytest.mark.parametrize("latency", ["zero", "nominal"])
def test_a_spinning_cpu_does_not_starve_a_delayed_task(latency: str, grain: Grain) -> None:
    """Even when its instructions take no time the task gets its turn."""

    def task() -> HostTask:
        yield Delay(1_000_000)
        yield Store(DATA, 1)
        yield Park(ended("done"))

    limit = 20 * SPIN_INSTRUCTIONS
    machine = make(
        "l: ldr x1, [x0]\n cbz x1, l\n b .",
        cpus=2,
        grain=grain,
        latency=latency_profile(latency),
        instructions_max=limit,
        record=False,
    )
    machine.start_task(0, task())
    machine.power_on(1, CODE, DATA)
    machine.run()
    assert outcomes(machine) == ["done", "branches to itself"]


def test_time_is_what_the_latency_profile_says() -> None:
    """Nominal: 1 ns an instruction, 2 more an access, 100 more with the MMU off."""
    machine = on(make("ldr x1, [x0]\n nop\n str x1, [x0]\n b ."))
    machine.run()
    assert machine.actors[0].time == 3 + 2 * 2 + 100
    assert machine.now == machine.actors[0].time


def test_a_cpu_that_is_switched_on_starts_at_its_callers_time() -> None:
    """Not in the past."""

    def task() -> HostTask:
        yield Delay(5000)
        machine.power_on(1, CODE, 0)
        yield Park(ended("done"))

    machine = make(cpus=2)
    machine.start_task(0, task())
    machine.run()
    assert machine.actors[1].time >= 5000


def test_a_timer_of_a_cpu_that_is_off_by_then_wakes_nobody() -> None:
    """Its delay went with its task."""

    def task() -> HostTask:
        yield Delay(1000)
        raise AssertionError("it is off")

    def other() -> HostTask:
        machine.power.switch_off(0)
        yield Delay(2000)
        yield Park(ended("done"))

    machine = make(cpus=2)
    machine.start_task(0, task())
    machine.start_task(1, other())
    machine.run()
    assert outcomes(machine) == ["off", "done"]


# -- power, calls, landings -------------------------------------------------------------------------


@every_grain
def test_power_on_resets_and_starts_a_cpu(grain: Grain) -> None:
    """x0 is the context ID; a second time begins again."""
    machine = make("add x1, x0, #1\n b .", cpus=2, grain=grain)
    for context in (10, 20):
        machine.power_on(1, CODE, context)
        machine.run()
        assert machine.actors[1].pe.x[1] == context + 1
        machine.power.switch_off(1)
        assert machine.actors[1].state is State.OFF
    assert [(r.actor, r.pc, r.value) for r in records(machine, Kind.POWER_ON)] == [
        (1, CODE, 10),
        (1, CODE, 20),
    ]
    assert outcomes(machine) == ["off", "off"]


@every_grain
def test_a_cpu_may_be_switched_on_from_the_inside_of_its_own_call(grain: Grain) -> None:
    """Firmware that resets the caller: it goes on at the entry, with what it had gone."""

    def again(cpu: int) -> Answer:
        if machine.actors[cpu].pe.x[0] == 1:
            return Answer(None, (PowerOn(cpu, CODE + 8, 2, 1),))
        return Answer(None, (PowerOff(cpu),))

    machine = make("mov x5, #7\n smc #0\n nop\n smc #0\n b .", grain=grain)
    machine.power.firmware = Firmware(answer=again)
    machine.power_on(0, CODE, 1)
    machine.run()
    assert outcomes(machine) == ["off"]
    assert machine.actors[0].pe.x[5] == 0xDEAD_0000_0000_0005


@every_grain
@pytest.mark.parametrize("conduit", ["smc", "hvc"])
def test_a_firmware_call_of_a_guest(conduit: str, grain: Grain) -> None:
    """w0 is the function, x1..x3 are given, x0 is the result, the PC is behind; all in the trace."""
    machine = make(f"mov x0, #-1\n mov x1, #1\n mov x2, #2\n mov x3, #3\n {conduit} #0\n b .", grain=grain)
    firmware = machine.power.firmware = Firmware(conduit, lambda _: Answer(-2))
    on(machine)
    machine.run()
    assert firmware.calls == [(0, 0xFFFF_FFFF, 1, 2, 3)]
    assert machine.actors[0].pe.x[0] == 2**64 - 2
    assert machine.actors[0].pe.counters.as_dict() | {"loads": 0} == {
        "calls": 1,
        "exceptions": 0,
        "instructions": 5,
        "loads": 0,
        "loads_mmu_off": 0,
        "stores": 0,
        "wfe_sleeps": 0,
    }
    call, arguments, result = records(machine, Kind.CALL, Kind.CALL_ARGS, Kind.RETURN)
    assert (call.pc, call.value, call.pa) == (CODE + 16, 2**64 - 1, 1)
    assert (arguments.pa, arguments.value, result.value) == (2, 3, 2**64 - 2)


@every_grain
def test_landing_goes_on_as_a_host_task(grain: Grain) -> None:
    """The instruction at the landing does not run; what the PE holds then is in the trace."""

    def task(cpu: int) -> HostTask:
        yield Store(DATA + 8 * cpu, machine.actors[cpu].pe.x[1])
        yield Park(ended("landed"))

    machine = make("mov x1, #9\n nop\n mov x1, #10\n b .", cpus=2, grain=grain)
    machine.landings.land_at(CODE + 8, task)
    on(machine)
    machine.run()
    assert outcomes(machine) == ["landed"] * 2
    assert [machine.memory.read(DATA + 8 * cpu, 8) for cpu in range(2)] == [9, 9]
    assert [record.pc for record in records(machine, Kind.LAND)] == [CODE + 8] * 2
    assert len(records(machine, Kind.REGISTER)) == 2 * sum(register <= Register.X19 for register in Register)


@every_grain
def test_an_intercepted_function_returns_at_once(grain: Grain) -> None:
    """The handler runs in its place."""
    seen = []
    machine = make("bl f\n mov x1, x0\n b .\nf: mov x0, #1\n ret", grain=grain)

    def handler(cpu: int) -> None:
        seen.append(cpu)
        machine.actors[cpu].pe.x[0] = 33

    machine.landings.intercept(CODE + 12, handler)
    on(machine)
    machine.run()
    assert (seen, machine.actors[0].pe.x[1]) == ([0], 33)


def test_a_host_store_to_code_is_run() -> None:
    """The engine forgets what it has translated."""

    def task() -> HostTask:
        yield WaitForEvent()
        yield Store(CODE + 4, 0xD280_0541, 4)  # mov x1, #42
        yield Store(DATA, 1)
        yield Park(ended("done"))

    machine = make("l: ldr x2, [x0]\n mov x1, #1\n sev\n cbz x2, l\n b .", cpus=2, grain=Grain.OPERATION)
    machine.start_task(0, task())
    machine.power_on(1, CODE, DATA)
    machine.run()
    assert machine.actors[1].pe.x[1] == 42
