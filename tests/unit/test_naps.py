"""CPUs that wake from WFE, look, and wait again: with and without the engine the same run."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from random import Random
from typing import Any

import pytest
from bare_machine import make
from bare_pe import CODE, DATA, assemble

from emu.arch.rounds import Look, understand
from emu.cpu.stops import EngineStop
from emu.machine import Machine
from emu.machine.actor import LOOK_AFTER, Actor, HostTask, State
from emu.operation import Copy, Delay, Park, SendEvent, Store, WaitForEvent
from emu.outcome import ended

CPUS = 6
PEN = "l: ldr x4, [x0]\n cmp x4, x2\n b.eq out\n wfe\n b l\nout: "
END = "mrs x9, nzcv\n b ."
UNDERSTOOD = {
    "the pen": PEN,
    "the other way round": "l: ldr x4, [x0]\n cmp x2, x4\n b.eq out\n wfe\n b l\nout: ",
    "words of 32 bits": "l: ldr w4, [x0]\n cmp w4, w2\n b.eq out\n wfe\n b l\nout: ",
    "the low half of a word": "l: ldr x4, [x0]\n cmp w4, w2\n b.eq out\n wfe\n b l\nout: ",
    "a byte": "l: ldrb w4, [x0]\n cmp x4, x2\n b.eq out\n wfe\n b l\nout: ",
    "on while it differs": "l: wfe\n ldr x4, [x0]\n cmp x4, x2\n b.ne l\nout: ",
    "a number": "l: ldr x4, [x0]\n cmp x4, #3\n b.eq out\n wfe\n b l\nout: ",
    "zero": "l: ldr x4, [x0, #8]\n cbnz x4, out\n wfe\n b l\nout: ",
    "two": "l: ldr x4, [x0, #8]\n cbnz x4, out\n ldr x5, [x0]\n cmp x5, x2\n b.eq out\n wfe\n b l\nout: ",
    "a barrier": "l: ldr x4, [x0]\n add x6, x0, #8\n cmp x4, x2\n dsb sy\n b.eq out\n wfe\n b l\nout: ",
}
NOT_UNDERSTOOD = {
    "it counts": "mov x7, #0\nl: ldr x4, [x0]\n add x7, x7, #1\n cmp x4, x2\n b.eq out\n wfe\n b l\nout: ",
    "it stores": "l: ldr x4, [x0]\n str x2, [x0, #32]\n cmp x4, x2\n b.eq out\n wfe\n b l\nout: ",
    "a difference": "l: ldr x4, [x0]\n sub x5, x4, x2\n cbz x5, out\n wfe\n b l\nout: ",
    "less": "l: ldr x4, [x0]\n cmp x4, x2\n b.hs out\n wfe\n b l\nout: ",
    "a signed word": "l: ldrsw x4, [x0]\n cmp x4, x2\n b.eq out\n wfe\n b l\nout: ",
    "by its flags": "l: ldr x4, [x0]\n cmp x4, x2\n cset x5, eq\n cbnz x5, out\n wfe\n b l\nout: ",
    "exclusive": "l: ldxr x4, [x0]\n cmp x4, x2\n b.eq out\n wfe\n b l\nout: ",
    "by the last word": "mov x4, #0\nl: cmp x4, x2\n b.eq out\n ldr x4, [x0]\n wfe\n b l\nout: ",
    "by an address": "l: ldr x4, [x0, #16]\n ldr x4, [x4]\n cmp x4, x2\n b.eq out\n wfe\n b l\nout: ",
    "the time": "l: ldr x4, [x0]\n mrs x5, cntvct_el0\n cmp x4, x2\n b.eq out\n wfe\n b l\nout: ",
}


def releaser(values: Sequence[int]) -> HostTask:
    """Store each value and send an event; at the end let all go who wait for another word."""
    for value in values:
        yield Store(DATA, value, 8)
        yield SendEvent()
        yield Delay(1000)
    yield Store(DATA + 8, 1, 8)
    yield SendEvent()
    yield Park(ended("done"))


def run(
    text: str, scheduler: str = "round-robin", *, allowed: bool = True, **options: Any
) -> tuple[Machine, int]:
    """Return a machine whose CPU n waits for n, and the rounds that were made without the engine."""
    text = "and x2, x1, #0xff\n" + text + END
    machine = make(text, cpus=CPUS, scheduler=scheduler, record=False, **options)
    machine.memory.write_bytes(DATA, bytes(64))
    machine.memory.write(DATA + 16, 8, DATA)
    machine.naps.allowed = allowed
    made = 0
    rest = machine.naps.rest

    def counted(cpus: Sequence[int]) -> int:
        nonlocal made
        done = rest(cpus)
        made += done
        return done

    machine.naps.rest = counted  # type: ignore[method-assign]
    for cpu in range(1, CPUS):
        machine.power_on(cpu, CODE, DATA)
        machine.actors[cpu].pe.x[1] = cpu
    values = [2**32, 2**63, *range(CPUS + 1), 2**64 - 1]
    machine.start_task(0, releaser(values))
    machine.run()
    return machine, made


def everything(machine: Machine) -> list[object]:
    """Return all that a run leaves behind."""
    cpus = [
        (
            actor.pe.counters.as_dict(),
            actor.time,
            actor.spent,
            actor.state,
            list(actor.pe.x),
            actor.pe.pc,
            actor.pe.nzcv,
        )
        for actor in machine.actors
    ]
    clock = machine.clock
    rows = [tuple(row) for row in machine.trace.rows()]
    return [machine.picks, machine.current, machine.stopped, clock.now, clock.begun, cpus, rows]


@pytest.mark.parametrize("scheduler", ["round-robin", "random:1", "timed", "pct:1:3:100"])
@pytest.mark.parametrize("name", [*UNDERSTOOD, *NOT_UNDERSTOOD])
def test_a_run_is_the_same_with_and_without(name: str, scheduler: str) -> None:
    text = (UNDERSTOOD | NOT_UNDERSTOOD)[name]
    with_rounds, made = run(text, scheduler)
    without, none = run(text, scheduler, allowed=False)
    assert none == 0
    if scheduler == "round-robin":
        assert bool(made) == (name in UNDERSTOOD)
    assert everything(with_rounds) == everything(without)


@pytest.mark.parametrize("limit", range(60, 200, 7))
def test_the_limit_ends_a_run_at_the_same_instruction(limit: int) -> None:
    runs = [run(PEN, allowed=allowed, instructions_max=limit)[0] for allowed in (True, False)]
    assert everything(runs[0]) == everything(runs[1])


def test_new_code_is_executed() -> None:
    """An instruction becomes a branch out of the loop, which CPUs find at the next event."""

    def patch() -> HostTask:
        for _ in range(3):
            yield SendEvent()
            yield Delay(1000)
        yield Copy(CODE + 12, assemble("b .", CODE + 12))
        yield SendEvent()
        yield Park(ended("done"))

    machine = make(
        "l: ldr x4, [x0]\n cmp x4, x2\n b.eq out\n nop\n wfe\n b l\nout: b .", cpus=CPUS, record=False
    )
    for cpu in range(1, CPUS):
        machine.power_on(cpu, CODE, DATA)
    machine.start_task(0, patch())
    machine.run()
    assert [actor.pe.pc for actor in machine.actors[1:]] == [CODE + 12] * (CPUS - 1)


def test_a_cpu_that_is_switched_on_again_keeps_nothing_of_its_loop() -> None:
    def again(machine: Machine) -> HostTask:
        for value in (7, 8, 9):
            yield Store(DATA, value, 8)
            yield SendEvent()
            yield Delay(1000)
        machine.power_on(1, CODE + 0x100, 5)
        yield Park(ended("done"))

    found = []
    for allowed in (True, False):
        machine = make(PEN + END, cpus=2, record=False)
        machine.memory.write_bytes(CODE + 0x100, assemble("b .", CODE + 0x100))
        machine.naps.allowed = allowed
        machine.power_on(1, CODE, DATA)
        machine.start_task(0, again(machine))
        machine.run()
        found.append(everything(machine))
    assert found[0] == found[1]


def test_a_loop_is_looked_at_as_often_as_before() -> None:
    """After so many instructions the machine looks whether a CPU goes round: at the same instruction."""

    def long() -> HostTask:
        for _ in range(LOOK_AFTER // 5 + 100):
            yield SendEvent()
        yield Park(ended("done"))

    found = []
    for allowed in (True, False):
        machine = make("l: ldr x4, [x0]\n cmp x4, x2\n b.eq out\n wfe\n b l\nout: b .", cpus=2, record=False)
        machine.naps.allowed = allowed
        machine.power_on(1, CODE, DATA)
        machine.start_task(0, long())
        machine.run()
        found.append([*everything(machine), machine.actors[1].look_at])
    assert found[0] == found[1]


def _words(text: str) -> tuple[tuple[int, int], ...]:
    code = assemble(text, CODE)
    return tuple((CODE + at, int.from_bytes(code[at : at + 4], "little")) for at in range(0, len(code), 4))


@pytest.mark.parametrize(
    "reader",
    [
        "csel x5, x6, x7, eq",
        "adc x5, x6, x7",
        "ccmp x5, #1, #0, eq",
        "cinc x5, x6, ne",
        "b.lt out",
        "b.al out",
    ]
    + ["mrs x5, nzcv", "tbz x4, #1, out", "add x5, x4, x2", "mov x5, x4", "ldr x5, [x4]", "fmov d0, x4"],
)
def test_what_reads_a_word_or_its_flags_otherwise_is_not_understood(reader: str) -> None:
    """The twins, with an instruction that reads neither, and with B.EQ, are."""
    text = "ldr x4, [x0]\n cmp x4, x2\n {}\nout: wfe"
    looks = (Look(DATA, 8),) * (2 if reader.startswith("ldr") else 1)
    assert understand(_words(text.format(reader)), looks) is None
    assert understand(_words(text.format("add x5, x6, x7")), (Look(DATA, 8),)) is not None
    found = understand(_words(text.format("b.eq far").replace("wfe", "wfe\nfar: nop"))[:4], (Look(DATA, 8),))
    assert found is not None
    assert [equal for _, equal in found.guards] == [False]


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize(
    "pair", [(0, 0), (0, 1), (1, 0), (2**31, 1), (1, 2**31), (2**63, 1), (1, 2**63), (2**64 - 1, 2**64 - 1)]
)
def test_flags_are_those_of_the_engine(size: int, pair: tuple[int, int]) -> None:
    one, other = pair
    r = "x" if size == 8 else "w"
    machine = make(f"cmp {r}0, {r}1\n b .", record=False)
    machine.power_on(0, CODE, one)
    pe = machine.actors[0].pe
    pe.x[1] = other
    machine.run()
    found = understand(_words(f"ldr x4, [x0]\n cmp {r}4, {r}1\n wfe"), (Look(DATA, 8),))
    assert found is not None
    assert found.flags is not None
    assert found.flags.nzcv(one, found.flags.other(pe.x)) == pe.nzcv


@pytest.mark.parametrize("store", ["str x1, [x0]", "stp x1, x2, [x0]", "strb w1, [x0]"])
def test_a_round_that_stores_is_looked_at_without_effect(store: str) -> None:
    """It is executed once more to be understood: what that one stores is undone."""
    text = f"again: ldr x1, [x0]\n add x1, x1, #1\n {store}\n wfe\n b again"
    machine = make(text, record=False)
    machine.power_on(0, CODE, DATA)
    before = b"\x07" * 64
    machine.memory.write_bytes(DATA, before)
    machine.actors[0].pe.x[2] = 2
    twin = make(text, record=False)
    twin.naps.allowed = False
    twin.power_on(0, CODE, DATA)
    twin.memory.write_bytes(DATA, before)
    twin.actors[0].pe.x[2] = 2
    machine.run()
    twin.run()
    assert machine.memory.read_bytes(DATA, 64) == twin.memory.read_bytes(DATA, 64)


# -- crowds -----------------------------------------------------------------------------------------


def drawn(seed: int, *, allowed: bool, watched: bool = False) -> tuple[Machine, int]:
    """Return a machine after a drawn run of CPUs in two pens, and the most that ever waited as one."""
    random = Random(seed)
    cpus = random.randint(8, 40)
    second = PEN.replace("[x0]", "[x0, #8]").replace("l", "m").replace("out", "over").replace("mdr", "ldr")
    text = f"and x2, x1, #0xff\n tbnz x1, #8, second\n {PEN}{END}\nsecond: {second}{END}"
    machine = make(text, cpus=cpus, record=False, instructions_max=random.choice([500, 5000, 10**6]))
    machine.memory.write_bytes(DATA, bytes(64))
    machine.naps.allowed = allowed
    if watched:
        machine.record_times()
    hosts = {0, *random.sample(range(1, cpus), 2)}
    for cpu in range(cpus):
        if cpu not in hosts:
            machine.power_on(cpu, CODE, DATA)
            machine.actors[cpu].pe.x[1] = cpu | random.choice([0, 0, 0, 256])
            if random.random() < 0.1:
                machine.actors[cpu].look_at = random.randint(20, 200)
    for cpu in sorted(hosts):
        machine.start_task(cpu, _drawn_host(Random(seed * 100 + cpu), cpus))
    largest = 0
    rest = machine.naps.rest

    def counted(some: Sequence[int]) -> int:
        nonlocal largest
        done = rest(some)
        largest = max(largest, done)
        return done

    machine.naps.rest = counted  # type: ignore[method-assign]
    machine.run()
    return machine, largest


def _drawn_host(random: Random, cpus: int) -> HostTask:
    yield Delay(random.randint(500, 3000))
    for _ in range(60):
        if random.random() < 0.5:
            yield Store(DATA + 8 * random.randrange(2), random.choice([random.randrange(cpus), 2**63]), 8)
        if random.random() < 0.8:
            yield SendEvent()
        match random.randrange(4):
            case 0:
                yield Delay(random.choice([1, 100, 5000]))
            case 1:
                yield WaitForEvent()
    yield Park(ended("done"))


@pytest.mark.parametrize("seed", range(150))
def test_a_drawn_run_is_the_same_with_and_without(seed: int) -> None:
    crowd, _ = drawn(seed, allowed=True)
    single, _ = drawn(seed, allowed=False)
    assert everything(crowd) == everything(single)
    trace, other = crowd.trace, single.trace
    assert len(trace) == len(other)
    assert [trace.row(number) for number in range(len(trace))] == list(other.rows())
    assert list(trace.numbered()) == list(other.numbered())
    assert [list(rows) for rows in trace.boots()] == [list(rows) for rows in other.boots()]
    assert list(trace.copy().rows()) == list(other.rows())


def test_drawn_runs_have_crowds() -> None:
    assert sum(drawn(seed, allowed=True)[1] >= 4 for seed in range(30)) > 20
    assert sum(bool(drawn(seed, allowed=True)[0].trace.has_lots) for seed in range(30)) > 20


@pytest.mark.parametrize("seed", range(20))
def test_times_of_records_are_the_same_with_and_without(seed: int) -> None:
    crowd, single = (drawn(seed, allowed=allowed, watched=True)[0] for allowed in (True, False))
    assert crowd.trace.times == single.trace.times
    assert everything(crowd) == everything(single)


def test_a_file_has_every_wake_of_a_crowd() -> None:
    crowd, single = (drawn(3, allowed=allowed)[0] for allowed in (True, False))
    files = []
    for machine in (crowd, single):
        sink = BytesIO()
        machine.trace.attach(sink)
        files.append(sink.getvalue())
    assert files[0] == files[1]


def test_records_that_are_taken_have_every_wake_of_a_crowd() -> None:
    crowd, single = (drawn(3, allowed=allowed)[0] for allowed in (True, False))
    assert crowd.trace.has_lots
    assert crowd.trace.take() == single.trace.take()
    assert len(crowd.trace) == 0


@pytest.mark.parametrize("cpus", [64, 128])
def test_what_a_pen_costs_grows_with_its_cpus_alone(cpus: int) -> None:
    """Each SEV wakes all of them; only the one that leaves is run."""
    machine = make(f"and x2, x1, #0xff\n {PEN}{END}", cpus=cpus, record=False)
    machine.memory.write_bytes(DATA, bytes(64))
    for cpu in range(1, cpus):
        machine.power_on(cpu, CODE, DATA)
        machine.actors[cpu].pe.x[1] = cpu
    calls = 0
    run = machine.guest_code.run

    def counted(cpu: int, actor: Actor) -> None:
        nonlocal calls
        calls += 1
        run(cpu, actor)

    machine.guest_code.run = counted  # type: ignore[method-assign]
    machine.start_task(0, releaser(range(1, cpus)))
    machine.run()
    assert all(actor.state is State.ENDED for actor in machine.actors)
    assert calls <= 3 * cpus
    assert machine.trace.has_lots


@pytest.mark.parametrize("cpus", [64, 128])
def test_a_second_event_before_they_look_costs_no_run_of_the_engine(cpus: int) -> None:
    """They find it set at their next WFE, go round once more, and wait: as in cpu_init() of many CPUs."""

    def twice() -> HostTask:
        for value in range(1, cpus):
            yield Store(DATA, value, 8)
            for _ in range(3):
                yield SendEvent()
            yield Delay(1000)
        yield Park(ended("done"))

    found = []
    for allowed in (True, False):
        machine = make(f"and x2, x1, #0xff\n {PEN}{END}", cpus=cpus, record=False)
        machine.memory.write_bytes(DATA, bytes(64))
        machine.naps.allowed = allowed
        for cpu in range(1, cpus):
            machine.power_on(cpu, CODE, DATA)
            machine.actors[cpu].pe.x[1] = cpu
        calls = _count_runs(machine)
        machine.start_task(0, twice())
        machine.run()
        found.append(everything(machine))
        assert (len(calls) <= 4 * cpus) is allowed
    assert found[0] == found[1]


def _count_runs(machine: Machine) -> list[int]:
    calls: list[int] = []
    run = machine.guest_code._run_slice

    def counted(cpu: int, actor: Actor, instructions: int) -> EngineStop:
        calls.append(cpu)
        return run(cpu, actor, instructions)

    machine.guest_code._run_slice = counted  # type: ignore[method-assign]
    return calls
