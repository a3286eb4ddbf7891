"""FIQ, as which interrupts of group 0 are signalled, of CPUs that run freely."""

from __future__ import annotations

import pytest
from bare_machine import CODE, DATA, make

from emu.devices.controllers import CONTROLLERS
from emu.host.whole.board import Board
from emu.machine import Machine
from emu.machine.free_turns import run_freely
from emu.outcome import End

VECTORS = CODE + 0x1000
# Each controller's own words, for group 0: enable all of its interface, send SGI 1 to this CPU and to CPU 1,
# acknowledge into X9, end X9; and let group 1 have SGI 2, which is sent to this CPU, acknowledged and ended.
WORDS = {
    "gicv2": {
        "begin": """
            ldr x1, =0x08010000
            mov w2, #0xf0
            str w2, [x1, #4]        // GICC_PMR
            mov w2, #0xb
            str w2, [x1]            // GICC_CTLR: FIQEn, EnableGrp1, EnableGrp0
            ldr x3, =0x08000000
            mov w2, #3
            str w2, [x3]            // GICD_CTLR
            mov w2, #4
            str w2, [x3, #0x80]     // GICD_IGROUPR0: SGI 2
            mov w2, #-1
            str w2, [x3, #0x100]    // GICD_ISENABLER0
        """,
        "send": "ldr x3, =0x08000000\n ldr w2, =0x02000001\n str w2, [x3, #0xf00]",
        "send to 1": "ldr x3, =0x08000000\n ldr w2, =0x00020001\n str w2, [x3, #0xf00]",
        "send irq": "ldr x3, =0x08000000\n ldr w2, =0x02008002\n str w2, [x3, #0xf00]",
        "acknowledge": "ldr x1, =0x08010000\n ldr w9, [x1, #0xc]",
        "end": "ldr x1, =0x08010000\n str w9, [x1, #0x10]",
        "acknowledge irq": "ldr x1, =0x08010000\n ldr w9, [x1, #0x20]",
        "end irq": "ldr x1, =0x08010000\n str w9, [x1, #0x24]",
    },
    "gicv3": {
        "begin": """
            ldr x3, =0x08000000
            mov w2, #0x13
            str w2, [x3]            // GICD_CTLR: ARE, EnableGrp1, EnableGrp0
            mrs x4, mpidr_el1
            and x4, x4, #0xff
            ldr x3, =0x080a0000
            add x3, x3, x4, lsl #17
            str wzr, [x3, #0x14]    // GICR_WAKER
            add x3, x3, #0x10, lsl #12
            mov w2, #4
            str w2, [x3, #0x80]     // GICR_IGROUPR0: SGI 2
            mov w2, #-1
            str w2, [x3, #0x100]    // GICR_ISENABLER0
            mov x2, #0xf0
            msr s3_0_c4_c6_0, x2    // ICC_PMR_EL1
            mov x2, #1
            msr s3_0_c12_c12_6, x2  // ICC_IGRPEN0_EL1
            msr s3_0_c12_c12_7, x2  // ICC_IGRPEN1_EL1
        """,
        "send": "ldr x2, =0x01000001\n msr s3_0_c12_c11_7, x2",
        "send to 1": "ldr x2, =0x01000002\n msr s3_0_c12_c11_7, x2",
        "send irq": "ldr x2, =0x02000001\n msr s3_0_c12_c11_5, x2",
        "acknowledge": "mrs x9, s3_0_c12_c8_0",
        "end": "msr s3_0_c12_c8_1, x9",
        "acknowledge irq": "mrs x9, s3_0_c12_c12_0",
        "end irq": "msr s3_0_c12_c12_1, x9",
    },
}
# What is taken is noted in turn, at X20 and on: its number, 0x100 more for an FIQ, and SPSR.
HANDLERS = """
    .balign 4096
    .skip 0x280
    <acknowledge irq>
    <end irq>
    b note
    .balign 128
    <acknowledge>
    <end>
    orr x9, x9, #0x100
note: mrs x8, spsr_el1
    stp x9, x8, [x20], #16
    eret
"""
every_controller = pytest.mark.parametrize("controller", CONTROLLERS)
every_piece = pytest.mark.parametrize("piece", [1, 1 << 40])
FIQ, IRQ = 0x101, 2


def freely(
    text: str, controller: str, *, cpus: int = 1, piece: int = 1 << 40, handlers: str = HANDLERS
) -> Machine:
    """Return a machine that has run ``text`` on all CPUs."""
    body = f"ldr x0, ={VECTORS:#x}\n msr vbar_el1, x0\n ldr x20, ={DATA:#x}\n <begin>\n {text}\n {handlers}"
    for name, words in WORDS[controller].items():
        body = body.replace(f"<{name}>", words)
    machine = make(body, cpus=cpus, scheduler="timed", record=False)
    board = Board(machine, controller, b"")
    free = run_freely(machine, board.timer, lambda cpu, va: None)
    free.piece = piece
    for cpu in range(cpus):
        machine.power_on(cpu, CODE, 0)
    machine.run()
    return machine


def taken(machine: Machine) -> list[tuple[int, int]]:
    """Return number and SPSR of what was taken."""
    found = [machine.memory.read(DATA + 8 * at, 8) for at in range(16)]
    return [(number & 0x1FF, spsr) for number, spsr in zip(found[::2], found[1::2], strict=True) if number]


@every_controller
@every_piece
def test_group_0_is_taken_as_fiq_where_pstate_f_is_clear(controller: str, piece: int) -> None:
    """IHI 0048B 2.3.1, IHI 0069 4.6.2; Arm DDI 0487, D1.12: the vector at 0x300, SPSR as PSTATE was."""
    machine = freely("msr daifclr, #1\n <send>\n nop\n msr daifset, #3\n b .", controller, piece=piece)
    assert [(number, spsr & 0x3CF) for number, spsr in taken(machine)] == [(FIQ, 0x385)]


@every_controller
@every_piece
def test_a_masked_fiq_is_taken_behind_the_instruction_that_unmasks_it(controller: str, piece: int) -> None:
    """PSTATE.I does not mask it, nor PSTATE.F an IRQ."""
    text = (
        "msr daifclr, #2\n <send>\n nop\n mov x5, x20\n msr daifclr, #1\n mov x6, x20\n msr daifset, #3\n b ."
    )
    machine = freely(text, controller, piece=piece)
    pe = machine.actors[0].pe
    assert (pe.x[5], pe.x[6]) == (DATA, DATA + 16)
    assert [number for number, _ in taken(machine)] == [FIQ]
    text = "msr daifclr, #2\n <send irq>\n nop\n mov x5, x20\n msr daifset, #3\n b ."
    machine = freely(text, controller, piece=piece)
    assert (machine.actors[0].pe.x[5], taken(machine)[0][0]) == (DATA + 16, IRQ)


@every_controller
@every_piece
def test_both_are_taken_each_on_its_line(controller: str, piece: int) -> None:
    text = "<send>\n <send irq>\n msr daifclr, #3\n nop\n nop\n msr daifset, #3\n b ."
    machine = freely(text, controller, piece=piece)
    assert sorted(number for number, _ in taken(machine)) == [IRQ, FIQ]


@every_controller
@every_piece
def test_an_fiq_wakes_another_cpu_from_wfi_masked_or_not(controller: str, piece: int) -> None:
    """Arm DDI 0487, D1.6 (Wait for Interrupt)."""
    for unmask in ("msr daifclr, #1", "nop"):
        text = f"""
            mrs x4, mpidr_el1
            tst x4, #0xff
            b.eq sends
            {unmask}
            wfi
            mov x21, #1
            msr daifset, #3
            b .
        sends: mov x9, #30000
        again: subs x9, x9, #1
            b.ne again
            <send to 1>
            b ."""
        machine = freely(text, controller, cpus=2, piece=piece)
        assert machine.actors[1].pe.x[21] == 1
        assert [number for number, _ in taken(machine)] == ([FIQ] if unmask != "nop" else [])
        assert machine.actors[1].time > 60_000
        assert machine.outcome(1).end is End.SELF_BRANCH


def test_group_0_of_a_gicv2_without_fiqen_is_an_irq() -> None:
    """IHI 0048B 4.4.1, GICC_CTLR.FIQEn."""
    text = "mov w2, #3\n ldr x1, =0x08010000\n str w2, [x1]\n <send>\n"
    text += "msr daifclr, #{}\n nop\n msr daifset, #3\n b ."
    handlers = HANDLERS.replace(" irq>", ">")
    assert taken(freely(text.format(1), "gicv2", handlers=handlers)) == []
    assert [number for number, _ in taken(freely(text.format(2), "gicv2", handlers=handlers))] == [1]
