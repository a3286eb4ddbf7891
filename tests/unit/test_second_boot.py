"""One boot after another on one machine: bytes copied under a CPU's feet, CPUs that get other numbers."""

from __future__ import annotations

import pytest
from bare_machine import make, on, outcomes, records
from bare_pe import BASE, CODE, DATA, assemble

from emu.machine.actor import Grain, HostTask, State
from emu.memory import Memory
from emu.operation import Copy, Delay, Kind, Load, LoadUntil, Log, Park, Reboot, Store
from emu.outcome import ended
from emu.trace import Trace

every_grain = pytest.mark.parametrize("grain", list(Grain))
AROUND = "l: b m\nm: b l"  # for ever, and no branch to itself
SELF = assemble("b .\nb .", CODE)


# -- Copy --------------------------------------------------------------------------------------------


@every_grain
def test_a_cpu_that_runs_there_runs_the_new_bytes(grain: Grain) -> None:
    def loader() -> HostTask:
        yield Delay(100)  # it has been round
        yield Copy(CODE, SELF)
        yield Park(ended("done"))

    machine = make(AROUND, cpus=2, grain=grain, instructions_max=1 << 22)
    machine.power_on(1, CODE, 0)
    machine.start_task(0, loader())
    machine.run()
    assert outcomes(machine) == ["done", "branches to itself"]
    (copy,) = records(machine, Kind.COPY)
    assert (copy.actor, copy.pa, copy.value) == (0, CODE, 8)
    assert "test_second_boot.py:" in str(machine.trace.location(copy.pc))


@every_grain
def test_a_cpu_that_sleeps_there_wakes_into_the_new_bytes(grain: Grain) -> None:
    """The WFE has been fetched; what is behind it has not."""

    def loader() -> HostTask:
        yield Delay(1000)
        yield Copy(CODE, assemble("nop\nb .", CODE))
        machine.interconnect.send_event(machine.actors[0].pe)
        yield Park(ended("done"))

    machine = make("wfe\nstr x0, [x0]\nb .", cpus=2, grain=grain)
    machine.power_on(1, CODE, DATA)
    machine.start_task(0, loader())
    machine.run()
    assert outcomes(machine) == ["done", "branches to itself"]
    assert machine.memory.read(DATA, 8) == 0


def test_a_copy_takes_the_monitors_of_its_bytes_and_no_others() -> None:
    """As stores to all of them would, the last byte of a granule included."""

    def loader(pa: int, data: bytes) -> HostTask:
        yield Delay(1000)
        yield Copy(pa, data)
        yield Park(ended("done"))

    for pa, size, taken in ((DATA - 64, 64, False), (DATA - 64, 65, True), (DATA + 63, 1, True)):
        machine = make("ldxr x1, [x0]\nwfe\nb .", cpus=2)
        machine.power_on(1, CODE, DATA)
        machine.start_task(0, loader(pa, bytes(size)))
        machine.run()
        assert outcomes(machine)[1] == ("branches to itself" if taken else "asleep in WFE")


# -- Reboot and the new numbers ---------------------------------------------------------------------


def test_every_cpu_keeps_what_it_does_under_its_new_number() -> None:
    """Asleep, spinning on a word, delayed, ended, off and running: the CPU is the same, the number is not."""
    begun = []

    def begin() -> None:
        begun.append(machine.power.begin_boot([6, 5, 4, 3, 2, 1]))
        machine.start_task(0, second())

    def first() -> HostTask:
        yield Delay(1000)
        machine.power.end_boot(6, "next")
        yield Reboot(begin)
        yield Log("not reached")

    def second() -> HostTask:
        yield Store(DATA + 8, 1)
        machine.interconnect.send_event(machine.actors[0].pe)
        yield Delay(1_000_000)
        yield Park(ended("second"))

    def spinner() -> HostTask:
        yield LoadUntil(DATA + 8)
        yield Park(ended("saw it"))

    def sleeper() -> HostTask:
        yield Delay(500_000)
        yield Park(ended("slept"))

    def task() -> HostTask:
        yield Park(ended("ended before"))

    machine = make("wfe\nb .", cpus=7)
    machine.start_task(6, first())
    machine.start_task(2, spinner())
    machine.start_task(1, sleeper())
    machine.start_task(4, task())
    machine.power_on(5, CODE, 0)
    mpidrs = [actor.pe.mpidr for actor in machine.actors]
    machine.run()
    assert begun == [[6, 5, 4, 3, 2, 1, 0]]
    assert [actor.pe.mpidr for actor in machine.actors] == mpidrs[::-1]
    assert [actor.pe.index for actor in machine.actors] == list(range(7))
    assert outcomes(machine) == [
        "second",
        "branches to itself",
        "ended before",
        "off",
        "saw it",
        "slept",
        "off",
    ]
    assert [(r.actor, r.value) for r in records(machine, Kind.REENTRY)] == list(enumerate(begun[0]))
    assert [r.actor for r in records(machine, Kind.REENTRY) if r.size] == [
        0,
        1,
    ]  # it, and who was switched on
    assert not records(machine, Kind.LOG)
    ends = [[row[2] for row in rows if row[0] == Kind.OUTCOME] for rows in machine.trace.boots()]
    assert sorted(ends[0]) == list(range(7))  # of each CPU where it was, then where it came to
    assert set(ends[1]) == set(range(7))


def test_what_ended_says_so_again_under_its_new_number() -> None:
    def task() -> HostTask:
        yield Park(ended("ended before"))

    machine = make(cpus=3)
    machine.start_task(2, task())
    machine.run()
    machine.power.begin_boot([1, 2])
    said = [(r.actor, machine.trace.text_of(r)) for r in records(machine, Kind.OUTCOME)]
    assert said == [(2, "ended before"), (1, "ended before")]


def test_a_cpu_that_runs_runs_on_under_its_new_number() -> None:
    def first() -> HostTask:
        yield Delay(10)
        yield Reboot(lambda: [machine.power.begin_boot([2, 0, 1]), None][-1])

    machine = make("mov x1, #2000\nl: subs x1, x1, #1\nb.ne l\nb .", cpus=3, grain=Grain.INSTRUCTION)
    machine.start_task(2, first())
    machine.power_on(0, CODE, 0)
    machine.run()
    assert outcomes(machine)[1:] == ["branches to itself", "off"]
    assert machine.actors[1].pe.mpidr == 0x8000_0000


def test_who_has_left_firmware() -> None:
    machine = make(cpus=3)
    machine.power_on(2, CODE, 0)
    assert [machine.power.has_run(cpu) for cpu in range(3)] == [True, False, True]
    machine.power.begin_boot([2, 0, 1])
    assert [machine.power.has_run(cpu) for cpu in range(3)] == [True, True, False]


def test_landings_and_counters_are_the_new_boots() -> None:
    def land(_cpu: int) -> HostTask:
        yield Park(ended("landed"))

    machine = on(make("nop\nnop\nb .", cpus=1))
    machine.landings.land_at(CODE + 4, land)
    machine.run()
    assert machine.actors[0].landings == 1
    machine.power.begin_boot([0])
    before = machine.actors[0].time
    machine.power_on(0, CODE, 0)
    machine.run()
    assert outcomes(machine) == ["branches to itself"]
    assert machine.actors[0].time == before + 2  # ns, one an instruction
    assert machine.actors[0].landings == 0
    assert machine.actors[0].pe.counters.instructions == 2
    machine.landings.land_at(CODE + 4, land)
    machine.power.switch_off(0)
    machine.power_on(0, CODE, 0)
    machine.run()
    assert outcomes(machine) == ["landed"]


@every_grain
def test_what_runs_unobserved_is_neither_counted_nor_recorded(grain: Grain) -> None:
    def by_hand() -> HostTask:
        yield Load(DATA)
        with machine.unobserved():
            pe = machine.actors[1].pe
            machine.engine.reset(pe, 1, CODE, DATA)
            machine.engine.run_uncounted(pe)
            assert pe.counters.as_dict() == dict.fromkeys(pe.counters.as_dict(), 0)
        assert machine.memory.read(DATA, 8) == DATA
        machine.memory.write(DATA, 8, 0)
        machine.power_on(1, CODE, DATA)
        yield Park(ended("done"))

    machine = make("str x0, [x0]\nldr x1, [x0]\nb .", cpus=2, grain=grain)
    machine.start_task(0, by_hand())
    machine.run()
    assert outcomes(machine) == ["done", "branches to itself"]
    seen = [(r.kind, r.pa) for r in records(machine, Kind.LOAD, Kind.STORE) if r.actor == 1]
    assert seen == [(Kind.STORE, DATA), (Kind.LOAD, DATA)]
    counters = machine.actors[1].pe.counters
    assert (counters.loads, counters.stores, counters.instructions) == (1, 1, 2)


def test_id_registers_are_replaced() -> None:
    from emu.arch.sysreg import DCZID_EL0, ID_AA64MMFR2_EL1

    machine = make("mrs x1, s3_0_c0_c7_2\nmrs x2, dczid_el0\nb .")
    machine.actors[0].pe.set_overrides(1, {ID_AA64MMFR2_EL1: 0x1_0000})
    machine.actors[0].pe.set_overrides(1, {DCZID_EL0: 0x14})
    on(machine).run()
    assert list(machine.actors[0].pe.x[1:3]) == [0, 0x14]


# -- the trace -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "boots"),
    [
        ("", [""]),
        ("lll", ["lll"]),
        ("llS", ["ll"]),
        ("llSl", ["ll"]),
        ("llSlRRl", ["ll", "RRl"]),
        ("SRlSlR", ["", "Rl", "R"]),
        ("lRl", ["lRl"]),
    ],
)
def test_boots_end_at_shutdown_and_begin_at_reentry(kinds: str, boots: list[str]) -> None:
    of = {"l": Kind.LOAD, "S": Kind.SHUTDOWN, "R": Kind.REENTRY}
    letter = {kind: text for text, kind in of.items()}
    trace = Trace("test")
    for kind in kinds:
        trace.add(of[kind], Kind.SHUTDOWN, 0, Kind.SHUTDOWN, Kind.REENTRY, Kind.SHUTDOWN)
    assert ["".join(letter[Kind(row[0])] for row in rows) for rows in trace.boots()] == boots


def test_memory_is_kept() -> None:
    machine = make(cpus=2)
    memory: Memory = machine.memory
    memory.write(BASE + 0x100, 8, 0x1234)
    machine.power.begin_boot([1, 0])
    assert memory.read(BASE + 0x100, 8) == 0x1234
    assert machine.actors[0].state is State.OFF
