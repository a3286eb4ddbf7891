"""CPUs that run freely: interrupts, sleep, yields, registers of devices, each CPU's own time.

This is one file because all of it runs on one board, with the same words of its controllers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from bare_machine import CODE, DATA, make

from emu.arch import sysreg
from emu.cpu.engine import Engine
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, EngineStop, StepLimit
from emu.devices.controllers import CONTROLLERS
from emu.host.psci import Psci
from emu.host.whole.board import Board
from emu.machine import Machine
from emu.machine.actor import State
from emu.machine.firmware import Answer, Firmware
from emu.machine.free_turns import run_freely
from emu.outcome import End

VECTORS = CODE + 0x1000
IRQ = VECTORS + 0x280
# Each controller's own words: enable all of its interface, send SGI 1 to CPU 1, acknowledge into X9, end X9.
WORDS = {
    "gicv2": {
        "begin": """
            ldr x1, =0x08010000
            mov w2, #0xf0
            str w2, [x1, #4]        // GICC_PMR
            mov w2, #1
            str w2, [x1]            // GICC_CTLR
            ldr x3, =0x08000000
            mov w2, #1
            str w2, [x3]            // GICD_CTLR
            mov w2, #-1
            str w2, [x3, #0x100]    // GICD_ISENABLER0
        """,
        "send": "ldr x3, =0x08000000\n ldr w2, =0x00020001\n str w2, [x3, #0xf00]",
        "acknowledge": "ldr x1, =0x08010000\n ldr w9, [x1, #0xc]",
        "end": "ldr x1, =0x08010000\n str w9, [x1, #0x10]",
    },
    "gicv3": {
        "begin": """
            ldr x3, =0x08000000
            mov w2, #0x12
            str w2, [x3]            // GICD_CTLR: ARE, EnableGrp1
            mrs x4, mpidr_el1
            and x4, x4, #0xff
            ldr x3, =0x080a0000
            add x3, x3, x4, lsl #17
            str wzr, [x3, #0x14]    // GICR_WAKER
            add x3, x3, #0x10, lsl #12
            mov w2, #-1
            str w2, [x3, #0x80]     // GICR_IGROUPR0
            str w2, [x3, #0x100]    // GICR_ISENABLER0
            mov x2, #0xf0
            msr s3_0_c4_c6_0, x2    // ICC_PMR_EL1
            mov x2, #1
            msr s3_0_c12_c12_7, x2  // ICC_IGRPEN1_EL1
        """,
        "send": "ldr x2, =0x01000002\n msr s3_0_c12_c11_5, x2",
        "acknowledge": "mrs x9, s3_0_c12_c12_0",
        "end": "msr s3_0_c12_c12_1, x9",
    },
}
every_controller = pytest.mark.parametrize("controller", CONTROLLERS)
BEGIN = f"ldr x0, ={VECTORS:#x}\n msr vbar_el1, x0\n ldr x20, ={DATA:#x}\n"
# Set the virtual timer to X5 ticks from now.
SET_TIMER = (
    "mrs x6, cntvct_el0\n add x6, x6, x5\n msr cntv_cval_el0, x6\n mov x6, #1\n msr cntv_ctl_el0, x6\n"
)
DONE = "dsb sy\n msr daifset, #2\n b .\n"


# A wait for so many ticks of the counter, which the loop itself looks at.
WAIT_FOR_COUNT = f"""
        mrs x1, cntvct_el0
        ldr x2, ={{ticks}}
        add x1, x1, x2
again:  yield
        mrs x3, cntvct_el0
        cmp x3, x1
        b.lo again
        {DONE}"""


def fill(text: str, controller: str) -> str:
    """Put the controller's words in the place of their names."""
    for name, words in WORDS[controller].items():
        text = text.replace(f"<{name}>", words)
    return text


def freely(
    text: str,
    controller: str = "gicv2",
    *,
    cpus: int = 1,
    handler: str = "eret",
    scheduler: str = "timed",
    **values: int,
) -> Machine:
    """Return a machine with a board whose CPUs run ``text``; ``handler`` is at the vector of IRQs."""
    body = f"{BEGIN}{text}\n .balign 4096\n .skip 0x280\n {handler}\n"
    machine = make(fill(body, controller), cpus=cpus, scheduler=scheduler, record=False, **values)
    board = Board(machine, controller, b"")
    run_freely(machine, board.timer, lambda cpu, va: None)
    for cpu in range(cpus):
        machine.power_on(cpu, CODE, 0)
    return machine


def word(machine: Machine, number: int) -> int:
    """Return u64 ``number`` of the data."""
    return machine.memory.read(DATA + 8 * number, 8)


COUNT_IRQ = "<acknowledge>\n ldr x7, [x20]\n add x7, x7, #1\n str x7, [x20]\n str x9, [x20, #8]\n"
TIMER_IRQ = f"{COUNT_IRQ} msr cntv_ctl_el0, xzr\n <end>\n eret"


@every_controller
def test_a_timer_wakes_a_cpu_from_wfi_and_time_jumps(controller: str) -> None:
    """Arm DDI 0487, D1.6 (Wait for Interrupt); INTID 27 is the virtual timer."""
    text = f"<begin>\n mov x5, #62500\n {SET_TIMER} msr daifclr, #2\n wfi\n {DONE}"
    machine = freely(text, controller, handler=TIMER_IRQ)
    machine.run()
    assert (word(machine, 0), word(machine, 1) & 0x3FF) == (1, 27)
    assert 1_000_000 <= machine.now < 1_010_000
    assert machine.actors[0].pe.counters.instructions < 200
    assert machine.free is not None
    assert 990_000 < machine.free.asleep_ns[0] <= 1_000_000
    assert machine.outcome(0).end is End.SELF_BRANCH


@every_controller
def test_a_masked_interrupt_wakes_and_is_taken_behind_the_unmasking_instruction(controller: str) -> None:
    """D1.6: WFI completes whether PSTATE.I is set or not."""
    text = f"""<begin>
        mov x5, #625
        {SET_TIMER}
        wfi
        mov x8, #1
        str x8, [x20, #16]
        msr daifclr, #2
        mov x8, #2
        str x8, [x20, #16]
        {DONE}"""
    handler = f"ldr x8, [x20, #16]\n str x8, [x20, #24]\n mrs x8, elr_el1\n str x8, [x20, #32]\n {TIMER_IRQ}"
    machine = freely(text, controller, handler=handler)
    machine.run()
    assert [word(machine, at) for at in (0, 2, 3)] == [1, 2, 1]
    unmask = machine.memory.read_bytes(word(machine, 4) - 4, 4)
    assert int.from_bytes(unmask, "little") == 0xD503_42FF  # msr daifclr, #2


@every_controller
def test_an_sgi_wakes_the_cpu_that_it_is_for(controller: str) -> None:
    """IHI 0048B 4.3.15, IHI 0069 12.2.20; the other one's time is the sender's, or later."""
    text = (
        f"""
        <begin>
        mrs x4, mpidr_el1
        ands x4, x4, #0xff
        b.eq 1f
        msr daifclr, #2
2:      wfi
        ldr x8, [x20]
        cbz x8, 2b
        {DONE}
1:      mov x8, #15000
3:      subs x8, x8, #1
        b.ne 3b
        <send>
        {DONE}""".replace("1f", "one")
        .replace("1:", "one:")
        .replace("2b", "two")
        .replace("2:", "two:")
    )
    text = text.replace("3b", "three").replace("3:", "three:")
    machine = freely(text, controller, cpus=2, handler=f"{COUNT_IRQ} <end>\n eret")
    machine.run()
    assert (word(machine, 0), word(machine, 1) & 0x3FF) == (1, 1)
    assert 30_000 <= machine.actors[1].time < 30_500
    assert machine.actors[1].pe.counters.instructions < 200
    assert machine.devices.controller is not None
    assert [machine.devices.controller.acknowledged(cpu) for cpu in (0, 1)] == [(0, 0), (1, 0)]


def test_all_asleep_without_a_timer_ends_the_run() -> None:
    machine = freely("wfi\n b .")
    machine.run()
    assert (machine.actors[0].state, machine.stopped) == (State.IDLE, "")


def test_a_loop_that_yields_lets_time_pass_up_to_what_it_waits_for() -> None:
    """A wait of 10 ms for the counter takes some hundred turns, and is not a tenth too long."""
    machine = freely(WAIT_FOR_COUNT.format(ticks=625_000))
    machine.run()
    assert 10_000_000 <= machine.now < 11_500_000
    assert machine.actors[0].pe.counters.instructions < 2_000


@pytest.mark.parametrize(("delays", "microseconds"), [(200, 1000), (2000, 10)])
@pytest.mark.parametrize("work", [1, 40])
def test_delays_one_behind_the_other_are_no_longer_than_one_by_itself(
    delays: int, microseconds: int, work: int
) -> None:
    """Linux v6.12 include/linux/delay.h, mdelay(): each begins anew, at the same YIELD."""
    more = "add x7, x7, #1\n" * work
    text = f"""
        ldr x2, ={microseconds * 125 // 2}
        ldr x4, ={delays}
delay:  {more}
        mrs x1, cntvct_el0
again:  yield
        mrs x3, cntvct_el0
        sub x3, x3, x1
        cmp x3, x2
        b.lo again
        subs x4, x4, #1
        b.ne delay
        {DONE}"""
    machine = freely(text)
    machine.run()
    assert 1 <= machine.now / (delays * microseconds * 1000) < 1.13
    assert machine.actors[0].pe.counters.instructions < delays * (100 + work)


# CPU0 waits for the word that CPU1 stores behind 60,000 instructions; the loop of each has its time-out.
HANDSHAKE = f"""
        mrs x4, mpidr_el1
        ands x4, x4, #0xff
        b.ne other
        mrs x1, cntvct_el0
wait:   ldr x0, [x20]
        cbnz x0, seen
        yield
        b wait
other:  ldr x2, =20000
work:   add x3, x3, #1
        subs x2, x2, #1
        b.ne work
        mov x0, #1
        str x0, [x20]
        {DONE}
seen:   mrs x2, cntvct_el0
        sub x2, x2, x1
        str x2, [x20, #8]
        {DONE}"""


@pytest.mark.parametrize(
    "scheduler", ["timed", *(f"{name}:{seed}" for name in ("random", "pct") for seed in range(4))]
)
@pytest.mark.parametrize("turn", [50, 20_000])
def test_a_wait_takes_as_long_as_what_it_is_for_whoever_is_picked(scheduler: str, turn: int) -> None:
    """No time passes for a CPU that waits while the one that it waits for is behind it: no time-out hits."""
    machine = freely(HANDSHAKE, cpus=2, scheduler=scheduler, instructions_max=400_000)
    assert machine.free is not None
    machine.free.turn = turn
    machine.run()
    assert [machine.outcome(cpu).end for cpu in (0, 1)] == [End.SELF_BRANCH] * 2
    assert word(machine, 1) * 16 < 2 * 60_000 + 20_000


def test_a_loop_that_stores_to_a_device_does_not_wait() -> None:
    """A yield after each character costs no time."""
    text = f"""
        ldr x1, =0x09000000
        mov x2, #500
again:  mov w3, #0x41
        strb w3, [x1]
        yield
        subs x2, x2, #1
        b.ne again
        {DONE}"""
    machine = freely(text)
    machine.run()
    assert machine.now < 10_000


def test_the_counter_never_goes_back_between_cpus() -> None:
    """Each CPU adds up how often it has seen less than the greatest count that either has stored."""
    text = f"""
        mov x9, #2000
again:  ldr x1, [x20]
        mrs x2, cntvct_el0
        cmp x2, x1
        b.hs fine
        mov x3, #1
        str x3, [x20, #8]
fine:   str x2, [x20]
        subs x9, x9, #1
        b.ne again
        {DONE}"""
    machine = freely(text, cpus=2)
    machine.free.turn = 137  # type: ignore[union-attr]
    machine.run()
    assert (word(machine, 1), word(machine, 0) > 0) == (0, True)


def test_a_branch_to_itself_with_interrupts_masked_is_an_end_and_else_a_sleep() -> None:
    machine = freely("b .")
    machine.run()
    assert machine.outcome(0).end is End.SELF_BRANCH
    machine = freely("msr daifclr, #2\n b .")
    machine.run()
    assert machine.actors[0].state is State.IDLE


def in_pieces(engine: Engine, size: int) -> Callable[[PE, int], EngineStop]:
    """Return run() of ``engine`` in pieces of so many instructions."""
    run = engine.run

    def pieces(pe: PE, instructions_max: int) -> EngineStop:
        end = pe.counters.instructions + instructions_max
        while (left := end - pe.counters.instructions) > 0:
            before = pe.counters.instructions
            stop = run(pe, min(size, left))
            if not isinstance(stop, StepLimit) or pe.counters.instructions - before < min(size, left):
                return stop
        return STEP_LIMIT

    return pieces


WORK = f"""
        <begin>
        mrs x4, mpidr_el1
        and x4, x4, #0xff
        add x20, x20, x4, lsl #5
        mov x10, #40
        mov x11, #0
again:  mov x5, #63
        {SET_TIMER}
        add x11, x11, x10, lsl #3
        wfe
        str x11, [x20, #16]
        wfi
        msr daifclr, #2
        yield
        msr daifset, #2
        subs x10, x10, #1
        b.ne again
        str x11, [x20, #24]
        {DONE}"""


class Answering:
    """Firmware that answers each call, and does nothing else."""

    conduit = "hvc"

    def call(self, *_: object) -> Answer:
        """Answer."""
        return Answer(0)


def test_a_timer_is_in_time_behind_a_call_however_long_turns_are() -> None:
    """A call takes 2 us, which are over before the turn behind it begins."""
    text = f"""
        <begin>
        mov x11, #0
        mov x5, #500
        {SET_TIMER}
        msr daifclr, #2
        hvc #0
again:  add x11, x11, #1
        ldr x7, [x20]
        cbz x7, again
        {DONE}"""
    ends = []
    for alone in (20_000, 1_000, 37, 1):
        machine = freely(text, handler=TIMER_IRQ)
        assert machine.free is not None
        machine.free.turn = machine.free.alone = alone
        machine.power.firmware = cast("Firmware", Answering())
        machine.run()
        assert word(machine, 1) == 27, "the PPI of the virtual timer"
        ends.append((machine.actors[0].pe.x[11], machine.actors[0].time))
    assert len(set(ends)) == 1, ends
    assert 3 * ends[0][0] < 8000 - 2000, "of its 8 us the call takes two"


@every_controller
@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_pieces_of_any_size_do_the_same_as_full_speed(controller: str, size: int) -> None:
    """Memory, registers, counters and times are equal: no piece loses or repeats an instruction."""
    ends = []
    for pieces in (False, True):
        machine = freely(WORK, controller, cpus=2, handler=TIMER_IRQ)
        if pieces:
            machine.engine.run = in_pieces(machine.engine, size)  # type: ignore[method-assign]
        machine.run()
        data = machine.memory.read_bytes(DATA, 64)
        ends.append(
            (data, [(a.time, a.pe.counters.instructions, bytes(a.pe.general(0, 31))) for a in machine.actors])
        )
    assert ends[0] == ends[1]
    assert (word(machine, 0), word(machine, 4)) == (40, 40)


@pytest.mark.parametrize(
    ("instruction", "is_undefined"),
    [
        ("msr s3_4_c12_c9_5, x0", True),  # ICC_SRE_EL2, from EL1
        ("mrs x0, s3_4_c12_c9_5", True),
        ("msr s3_0_c12_c12_5, x0", False),  # ICC_SRE_EL1
        ("mrs x0, s3_0_c4_c6_0", False),  # ICC_PMR_EL1, which the controller owns
        ("mrs x0, s3_0_c15_c15_7", True),  # of no table and no device
    ],
)
def test_a_register_of_el2_is_undefined_at_el1_and_a_device_s_is_not(
    instruction: str, is_undefined: bool
) -> None:
    """The handler of synchronous exceptions, which branches to itself, is at VBAR_EL1 + 0x200."""
    text = f"{instruction}\n mov x9, #1\n str x9, [x20]\n {DONE}\n .balign 4096\n .skip 0x200\n b ."
    machine = make(BEGIN + text, scheduler="timed", record=False)
    machine.actors[0].pe.override(sysreg.ID_AA64PFR0_EL1, 1 << 24 | 0x2222)
    run_freely(machine, Board(machine, "gicv3", b"").timer, lambda cpu, va: None)
    machine.power_on(0, CODE, 0)
    machine.run()
    assert word(machine, 0) == (not is_undefined)
    assert (machine.actors[0].pe.pc == VECTORS + 0x200) is is_undefined


@pytest.mark.parametrize(("bit", "most"), [(4, 2 * 16 * 16), (8, 2 * 256 * 16)])
@pytest.mark.parametrize(
    ("wait", "enable", "is_bounded"), [("wfe", 1 << 2, True), ("wfe", 0, False), ("yield", 1 << 2, False)]
)
def test_a_wfe_waits_no_longer_than_for_the_next_event_of_the_stream(
    bit: int, most: int, wait: str, enable: int, is_bounded: bool
) -> None:
    """Arm DDI 0487, D12.2.3: with EVNTEN the counter's bit EVNTI sends an event each time that it rises."""
    stream = f"mov x0, #{enable | bit << 4}\n msr cntkctl_el1, x0\n"
    text = f"""{stream}
        mrs x9, cntvct_el0
        mov x10, #0             // the longest time that a turn of the loop has taken, in ticks
        mov x12, #400
    again: {wait}
        mrs x11, cntvct_el0
        sub x13, x11, x9
        mov x9, x11
        cmp x13, x10
        csel x10, x13, x10, hi
        subs x12, x12, #1
        b.ne again
        {DONE}"""
    machine = freely(text)
    machine.run()
    longest_ns = 16 * machine.actors[0].pe.x[10]
    assert (longest_ns <= most + 100) is is_bounded
    assert longest_ns > most / 4


# Listen, echo each character that comes, end with "q". X21: PA of the UART.
ECHO = f"""
        <begin>
        ldr x21, =0x09000000
        ldr x22, =0x08000000
        mov w2, #2
        str w2, [x22, #0x104]   // GICD_ISENABLER1: SPI 1
        mov w2, #0x01010101
        str w2, [x22, #0x820]   // GICD_ITARGETSR8
        mov w2, #0x301
        str w2, [x21, #0x30]    // UARTCR
        mov w2, #0x10
        str w2, [x21, #0x38]    // UARTIMSC: RXIM
    next: wfi
    more: ldr w2, [x21, #0x18]
        tbnz w2, #4, next       // UARTFR.RXFE
        ldr w3, [x21]
        str w3, [x21]
        cmp w3, #'q'
        b.ne more
        {DONE}"""


def typing(lines: list[bytes]) -> tuple[Machine, list[str], list[bytes]]:
    """Return a machine that has echoed what is typed, what it has printed, and what was not asked for."""
    body = f"{BEGIN}{ECHO}\n .balign 4096\n .skip 0x280\n b ."
    machine = make(fill(body, "gicv2"), scheduler="timed", record=False)
    printed: list[str] = []
    left = list(lines)
    board = Board(machine, "gicv2", b"first\n", typed=lambda: left.pop(0) if left else b"")
    board.on_line = printed.append
    run_freely(machine, board.timer, lambda cpu, va: None)
    machine.power_on(0, CODE, 0)
    machine.run()
    return machine, printed, left


def test_what_is_typed_comes_when_all_sleep_and_has_been_read() -> None:
    """Behind what a file gives; a line that is not needed is not asked for, and no wait takes time."""
    machine, printed, left = typing([b"one\n", b"two\n", b"q\n", b"never\n"])
    assert printed == ["first", "one", "two"]
    assert left == [b"never\n"]
    assert machine.outcome(0).end is End.SELF_BRANCH
    assert machine.now < 5_000
    again, _, _ = typing([b"one\n", b"two\n", b"q\n"])
    assert again.actors[0].time == machine.actors[0].time


def test_behind_the_end_of_what_is_typed_cpus_sleep_on() -> None:
    machine, printed, _ = typing([b"one\n"])
    assert printed == ["first", "one"]
    assert machine.actors[0].state is State.IDLE


class _NoTimer:
    # A board without a timer.
    def tick(self, cpu: int, now: int) -> int | None:
        """Return that nothing happens."""
        return None


def test_a_cpu_that_waits_for_ever_keeps_a_time_of_64_bits() -> None:
    """Each turn of its loop takes an eighth of what it has waited, and 10 s at most."""
    machine = make("l: wfe\n add x0, x0, #1\n b l", cpus=1, record=False, instructions_max=6000)
    machine.record_times()
    run_freely(machine, _NoTimer(), lambda cpu, va: None)  # type: ignore[arg-type]
    machine.power_on(0, CODE, 0)
    machine.run()
    machine.finish()
    assert 10**12 < machine.actors[0].time < 2**63
    assert machine.trace.times[-1] == machine.actors[0].time


def test_an_exception_that_is_taken_again_and_again_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that counts in memory would not come to its bound of instructions in hours."""
    monkeypatch.setattr("emu.machine.free_turns.EXCEPTIONS_MAX", 50)
    in_memory = "ldr x1, [x20]\n add x1, x1, #1\n str x1, [x20]\n mov x1, xzr"
    for count, is_bound in ((in_memory, True), ("str x9, [x20]\n add x9, x9, #1", False)):
        text = f".long 0\n {DONE} .balign 4096\n .skip 0x200\n {count}\n eret"
        machine = make(BEGIN + text, scheduler="timed", record=False)
        machine.instructions_max = 500
        run_freely(machine, Board(machine, "gicv2", b"").timer, lambda cpu, va: None)
        machine.power_on(0, CODE, 0)
        machine.memory.write(DATA, 8, 0)
        machine.actors[0].pe.x[9] = 0
        machine.run()
        assert machine.free is not None
        assert machine.free.is_at_bound is is_bound
        assert 50 <= word(machine, 0) < 200


def test_what_an_exception_handler_stores_is_stored_once() -> None:
    """Nothing of a CPU that takes an exception is run ahead: its stores would stay."""
    text = f".long 0\n {DONE} .balign 4096\n .skip 0x200\n ldr x1, [x20]\n add x1, x1, #1\n str x1, [x20]\n"
    text += "mrs x2, elr_el1\n add x2, x2, #4\n msr elr_el1, x2\n eret"
    machine = make(BEGIN + text, scheduler="timed", record=False)
    run_freely(machine, Board(machine, "gicv2", b"").timer, lambda cpu, va: None)
    machine.power_on(0, CODE, 0)
    machine.memory.write(DATA, 8, 0)
    machine.run()
    assert (word(machine, 0), machine.outcome(0).end) == (1, End.SELF_BRANCH)


@pytest.mark.parametrize(("controller", "mask"), [("gicv2", 0xF0), ("gicv3", 0)])
def test_a_cpu_that_is_switched_on_again_has_no_timer_set_and_nothing_enabled(
    controller: str, mask: int
) -> None:
    """Its timers and the interface of a GICv3 are reset with it; a GICv2 is a device of its own."""
    priority_mask = {"gicv2": "ldr x1, =0x08010000\n ldr w2, [x1, #4]", "gicv3": "mrs x2, s3_0_c4_c6_0"}
    state = f"{priority_mask[controller]}\n mrs x3, cntv_ctl_el0\n mrs x4, isr_el1\n"
    text = f"{state} stp x2, x3, [x20]\n str x4, [x20, #16]\n <begin>\n mov x5, #0\n {SET_TIMER} {DONE}"
    machine = freely(text, controller)
    machine.run()
    assert [word(machine, number) for number in range(3)] == [0, 0, 0]
    assert machine.actors[0].pe.lines, "its timer interrupts it"
    machine.power.switch_off(0)
    machine.power_on(0, CODE, 0)
    machine.run()
    assert [word(machine, number) for number in range(3)] == [mask, 0, 0]


@pytest.mark.parametrize("is_pending", [False, True])
def test_a_suspended_cpu_whose_redistributor_sleeps_is_woken_by_what_is_for_it(is_pending: bool) -> None:
    """WakeRequest: with one Security state Linux lets the redistributor sleep before CPU_SUSPEND."""
    wait = "wfi" if is_pending else "nop"
    sleep = "ldr x3, =0x080a0000\n mov w2, #2\n str w2, [x3, #0x14]\n"
    text = (
        f"<begin>\n mov x5, #62500\n {SET_TIMER} {wait}\n {sleep} ldr x0, =0xc4000001\n mov x1, #0\n smc #0\n"
    )
    state = (
        "mrs x1, isr_el1\n str wzr, [x3, #0x14]\n mrs x2, isr_el1\n stp x0, x1, [x20]\n str x2, [x20, #16]\n"
    )
    machine = freely(text + state + DONE, "gicv3")
    firmware = Psci([0x8000_0000])
    firmware.suspends = True
    machine.power.firmware = firmware
    machine.run()
    assert [word(machine, number) for number in range(3)] == [0, 0, 1 << 7]
    assert 1_000_000 <= machine.now < 1_020_000
    assert machine.free is not None
    assert machine.free.asleep_ns[0] > 900_000
