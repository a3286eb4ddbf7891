"""PEs that go round: noticed at every grain, let on when what they look at has changed, else told."""

from __future__ import annotations

import pytest
from bare_machine import make, on, outcomes
from bare_pe import CODE, DATA, assemble

from emu.arch import sysreg
from emu.cpu.engine import INVISIBLE_MAX
from emu.machine import Machine
from emu.machine.actor import Grain, HostTask, State, end_pc
from emu.operation import Copy, Delay, Kind, Operation, Park, Store
from emu.outcome import ended

LOOK_AFTER = 1 << 11  # of these tests: programs that take longer need fewer steps
every_grain = pytest.mark.parametrize("grain", Grain)
SPIN = "l: ldr x1, [x0]\n cbz x1, l\n b ."
LONG = f"mov x2, #{3 * LOOK_AFTER:#x}\nl: subs x2, x2, #1\n b.ne l\n b ."


@pytest.fixture(autouse=True)
def _look_early(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("actor", "spins"):
        monkeypatch.setattr(f"emu.machine.{module}.LOOK_AFTER", LOOK_AFTER)


def waker(*operations: Operation) -> HostTask:
    """A host task that waits long, and then does this."""
    yield Delay(10**9)
    yield from operations
    yield Park(ended("done"))


@every_grain
def test_a_spin_that_nobody_ends_is_the_end_of_the_run(grain: Grain) -> None:
    machine = on(make(SPIN, grain=grain, record=False))
    machine.run()
    assert machine.stopped == ""
    assert outcomes(machine) == [f"spins for ever, reading {DATA:#x}"]
    assert machine.actors[0].pe.counters.instructions <= 2 * LOOK_AFTER


@every_grain
def test_a_spin_costs_no_time_until_its_word_changes(grain: Grain) -> None:
    """A second of simulated time passes; the instructions of the spin are not made."""
    machine = make(SPIN, cpus=2, grain=grain, record=False)
    machine.power_on(1, CODE, DATA)
    machine.start_task(0, waker(Store(DATA, 1, 8)))
    machine.run()
    assert outcomes(machine) == ["done", "branches to itself"]
    assert machine.actors[1].pe.counters.instructions <= 3 * LOOK_AFTER
    assert machine.actors[1].time >= 10**9


def test_new_code_lets_it_on() -> None:
    machine = make("l: b m\nm: b l", cpus=2, record=False)
    machine.power_on(1, CODE, 0)
    machine.start_task(0, waker(Copy(CODE, assemble("b .", CODE))))
    machine.run()
    assert outcomes(machine) == ["done", "branches to itself"]


@every_grain
@pytest.mark.parametrize(
    "text",
    [
        LONG,
        f"mov x2, #{LOOK_AFTER:#x}\nl: add x1, x1, #1\n str x1, [x0]\n subs x2, x2, #1\n b.ne l\n b .",
        f"mov x3, #{3 * LOOK_AFTER:#x}\nl: mrs x1, cntvct_el0\n cmp x1, x3\n b.lo l\n b .",
    ],
)
def test_what_gets_somewhere_is_left_alone(text: str, grain: Grain) -> None:
    """A long count, stores that change something, and a wait for the time to pass."""
    machine = on(make(text, grain=grain, record=False))
    machine.run()
    assert outcomes(machine) == ["branches to itself"]


@every_grain
def test_a_look_leaves_memory_registers_and_counts_alone(grain: Grain) -> None:
    """The same, whether PEs are looked at or not."""
    text = "mov x2, #0x3000\nl: ldr x1, [x0]\n add x1, x1, x2\n str x1, [x0]\n subs x2, x2, #1\n b.ne l\n b ."
    found = []
    for looks in (True, False):
        machine = on(make(text, grain=grain))
        machine.spins.looks_for_them = looks
        machine.run()
        machine.finish()
        counters = machine.actors[0].pe.counters.as_dict()
        found.append((machine.memory.read(DATA, 8), counters, [tuple(row) for row in machine.trace.rows()]))
    assert found[0] == found[1]


@every_grain
def test_an_exception_of_its_own_handler_ends_the_pe(grain: Grain) -> None:
    """Each time at another stack pointer, so that no state comes back."""
    machine = on(make("mov x1, #8\n ldr x1, [x1]", grain=grain))
    pe = machine.actors[0].pe
    pe.set_system_register(sysreg.VBAR_EL1, CODE + 0x800)
    machine.memory.write_bytes(CODE + 0xA00, assemble("sub sp, sp, #32\n str x0, [sp]\n b .", CODE + 0xA00))
    machine.run()
    assert outcomes(machine)[0].startswith("takes an exception for ever, ESR 0x960000")
    assert [machine.trace.text_of(each) for each in machine.trace if each.kind is Kind.MISUSE] == [
        "exception-loop"
    ]
    assert end_pc(machine.actors[0]) == CODE + 0xA04, "where it is taken, not where its handler stands"


def test_a_spinner_can_be_chosen_to_step() -> None:
    machine = on(make(SPIN, record=False))
    machine.run()
    assert machine.actors[0].state is State.SPINNING
    before = machine.actors[0].pe.counters.instructions
    assert machine.step(0) is False, "the run is over: nobody is runnable"
    machine.spins.release(0)
    assert machine.step(0)
    assert machine.actors[0].pe.counters.instructions > before


TWO = "mov x4, #{first}\n mov x9, #{mine}\n mov x10, #{other}\n {body}"
# Each stores to a word of its own and looks at the other one's.
TOGETHER = {
    "toggles": "l: eor x4, x4, #1\n str x4, [x0, x9]\n ldr x5, [x0, x10]\n cmp x5, #2\n b.ne l\n b .",
    "answers": "l: ldr x5, [x0, x10]\n add x5, x5, #1\n and x5, x5, #7\n str x5, [x0, x9]\n b l",
    "the same": "l: str x4, [x0, x9]\n ldr x5, [x0, x10]\n cmp x5, #2\n b.ne l\n b .",
}


def two(body: str, grain: Grain, first: int = 1) -> Machine:
    """Two CPUs that do the same, with their words changed over."""
    machine = make(TWO.format(first=first, mine=0, other=64, body=body), cpus=2, grain=grain, record=False)
    there = CODE + 0x400
    machine.memory.write_bytes(there, assemble(TWO.format(first=first, mine=64, other=0, body=body), there))
    machine.power_on(0, CODE, DATA)
    machine.power_on(1, there, DATA)
    return machine


@every_grain
@pytest.mark.parametrize("body", TOGETHER.values(), ids=TOGETHER)
def test_cpus_that_go_round_together_are_the_end_of_the_run(body: str, grain: Grain) -> None:
    machine = two(body, grain)
    machine.run()
    assert machine.stopped == ""
    assert [words.split(",")[0] for words in outcomes(machine)] == ["spins for ever"] * 2
    assert all(actor.pe.counters.instructions <= 12 * LOOK_AFTER for actor in machine.actors)


@every_grain
def test_a_cpu_that_changes_what_another_one_waits_for_is_let_on(grain: Grain) -> None:
    """CPU0 counts a word up for ever; CPU1 waits until it is 12,000, and then stops it."""
    machine = make("l: ldr x1, [x0]\n add x1, x1, #1\n str x1, [x0]\n b l", cpus=2, grain=grain, record=False)
    there = CODE + 0x400
    waits = "mov x3, #12000\nm: ldr x1, [x0]\n cmp x1, x3\n b.lo m\n b ."
    machine.memory.write_bytes(there, assemble(waits, there))
    machine.power_on(0, CODE, DATA)
    machine.power_on(1, there, DATA)
    machine.run()
    assert outcomes(machine)[1] == "branches to itself"
    assert machine.stopped.endswith("CPU0's loop takes more")


@every_grain
def test_a_cpu_that_goes_round_with_another_one_is_let_on_with_it(grain: Grain) -> None:
    """A host task stores what ends one of them; the other one ends by what that one then stores."""
    body = TOGETHER["toggles"].replace("b .", "mov x6, #2\n str x6, [x0, x9]\n b .")
    machine = make("b .", cpus=3, grain=grain, record=False)
    for cpu, (mine, other) in enumerate(((0, 64), (64, 0)), 1):
        at = CODE + 0x400 * cpu
        text = TWO.format(first=1, mine=mine, other=other, body=body)
        machine.memory.write_bytes(at, assemble(text, at))
        machine.power_on(cpu, at, DATA)
    machine.start_task(0, waker(Copy(CODE + 0x400 + 20, assemble("mov x5, #2", CODE))))
    machine.run()
    assert outcomes(machine) == ["done", "branches to itself", "branches to itself"]


@every_grain
@pytest.mark.parametrize("far", [1 << 20, 1 << 50])
def test_a_count_that_takes_longer_than_the_run_may_ends_it_at_once(far: int, grain: Grain) -> None:
    limit = 1 << 21
    text = f"ldr x2, ={far:#x}\nl: subs x2, x2, #1\n b.ne l\n b ."
    machine = on(
        make(text, grain=Grain.FREE if far == 1 << 20 else grain, instructions_max=limit, record=False)
    )
    machine.run()
    done = machine.actors[0].pe.counters.instructions
    assert machine.stopped.startswith(f"limit of {limit} instructions (--instructions-max)")
    assert (done <= 2 * INVISIBLE_MAX) == (far != 1 << 20)


@every_grain
@pytest.mark.parametrize("rest", ["add x4, x4, #1\n sev\n wfe", "sev\n add x4, x4, #1\n wfe\n nop\n nop"])
def test_events_of_others_let_no_cpu_on_that_counts_and_never_sleeps(rest: str, grain: Grain) -> None:
    """Each sets its own event before its WFE; that of another one changes nothing, whenever it comes."""
    limit = 1 << 17
    body = f"l: ldr x4, [x0, x9]\n {rest}\n str x4, [x0, x9]\n b l"
    machine = make(
        TWO.format(first=1, mine=0, other=64, body=body), grain=grain, instructions_max=limit, cpus=2
    )
    there = CODE + 0x400
    machine.memory.write_bytes(there, assemble(TWO.format(first=1, mine=64, other=0, body=body), there))
    machine.power_on(0, CODE, DATA)
    machine.power_on(1, there, DATA)
    machine.run()
    assert machine.stopped.startswith(f"limit of {limit} instructions")
    assert sum(actor.pe.counters.instructions for actor in machine.actors) <= 6 * LOOK_AFTER
