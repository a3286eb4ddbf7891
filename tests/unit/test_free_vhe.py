"""A host at EL2 (FEAT_VHE) that runs freely: redirected registers, its timers, interrupts of its EL0."""

from __future__ import annotations

import pytest
from bare_machine import CODE, DATA, make
from bare_pe import BASE, SIZE

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.cores import CORES
from emu.cpu.factory import make_engine
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE
from emu.cpu.stops import StepLimit
from emu.cpu.sysregs import vhe
from emu.host.whole.board import Board
from emu.machine import Machine
from emu.machine.free_turns import run_freely
from emu.memory import Memory

N1 = CORES["neoverse-n1"]
RW, TGE, E2H = 1 << 31, 1 << 27, 1 << 34
HOST = RW | TGE | E2H
VECTORS = CODE + 0x2000
TIMERS = {(14, 2), (14, 3)}  # CRn and CRm
# What may be written at EL2 with the MMU off without harm; what is read back.
VALUES = {(1, 0, 0): 0x30C5_1830, (1, 0, 2): 3 << 20, (14, 1, 0): 3}


def value_of(number: int, encoding: Encoding) -> int:
    """Return another value for each register; of CTL of a timer IMASK."""
    if encoding[2:4] in TIMERS and encoding[4] == 1:
        return 2
    return VALUES.get(encoding[2:], 0x1000 * (number + 1))


def at_el2(text: str, hcr: int = HOST, handlers: str = "") -> Machine:
    """Return a machine whose CPU, at EL2 with this HCR_EL2, is to run ``text``."""
    begin = f"""
        ldr x0, ={VECTORS:#x}
        msr vbar_el2, x0
        ldr x0, ={hcr:#x}
        msr hcr_el2, x0
        msr cntvoff_el2, xzr
        isb
        ldr x20, ={DATA:#x}
        b begin
        .ltorg
    begin: {text}
        b .
        .balign 4096
        .skip {VECTORS - CODE - 0x1000}
        {handlers}
    """
    return make(begin, scheduler="timed", record=False, core=N1, entry_el=2)


def freely(text: str, hcr: int = HOST, handlers: str = "") -> Machine:
    """Run ``text`` freely, on a board with timers and a GICv2."""
    machine = at_el2(text, hcr, handlers)
    board = Board(machine, "gicv2", b"")
    run_freely(machine, board.timer, lambda cpu, va: None)
    machine.power_on(0, CODE, 0)
    machine.run()
    return machine


def word(machine: Machine, number: int) -> int:
    """Return u64 ``number`` of the data."""
    return machine.memory.read(DATA + 8 * number, 8)


# -- names ------------------------------------------------------------------------------------------


def register_of(encoding: Encoding) -> Encoding:
    """Return what a host accesses by a name, by the pattern of the encodings."""
    op1, place = encoding[1], encoding[2:]
    if op1 == 5:
        return (3, 3 if place[:2] in TIMERS else 0, *place)
    return sysreg.CPTR_EL2 if place == (1, 0, 2) else (3, 4, *place)


# TVAL is another view of CVAL.
NAMES = [each for each in sorted(vhe.ENCODINGS) if each[2:4] not in TIMERS or each[4]]


def accesses(names: list[Encoding]) -> str:
    """Write and read each; what is read goes to the data."""
    lines = []
    for number, encoding in enumerate(names):
        name = sysreg.generic_name(encoding)
        lines += [f"mov x1, #{value_of(number, encoding)}" if value_of(number, encoding) < 1 << 16 else ""]
        lines[-1] = lines[-1] or f"movz x1, #{value_of(number, encoding) >> 16}, lsl #16"
        lines += [f"movk x1, #{value_of(number, encoding) & 0xFFFF}"]
        lines += [f"msr {name}, x1", f"mrs x2, {name}", f"str x2, [x20, #{8 * number}]"]
    return "\n".join(lines)


@pytest.mark.parametrize("is_free", [True, False], ids=["free", "stepped"])
def test_a_host_accesses_the_registers_of_el2_by_the_names_of_el1(is_free: bool) -> None:
    """Arm DDI 0487, D8.12; a free run and a stepped one have one meaning of it."""
    if is_free:
        machine = freely(accesses(NAMES))
    else:
        machine = at_el2(accesses(NAMES))
        machine.power_on(0, CODE, 0)
        machine.run()
    pe = machine.actors[0].pe
    constant = set()
    for number, encoding in enumerate(NAMES):
        register = register_of(encoding)
        owned = machine.devices.read_register(0, register, 0)
        found = pe.system_register(register) if owned is None else owned
        assert word(machine, number) == found, sysreg.name(encoding)
        if found != value_of(number, encoding):
            constant.add(encoding[2:])
    assert constant == {(5, 1, 0), (5, 1, 1), (10, 3, 0)}  # AFSR0, AFSR1, AMAIR: RAZ


def test_a_host_has_the_timers_of_el2_by_the_names_of_el0() -> None:
    """TVAL is CVAL less the counter, and none of EL1's timers has changed."""
    machine = freely("mov x1, #0x700\n msr cntp_tval_el0, x1\n mov x1, #0x900\n msr cntv_tval_el0, x1\n")
    cval = [machine.devices.read_register(0, (3, op1, 14, crm, 2), 0) for op1 in (3, 4) for crm in (2, 3)]
    assert cval[:2] == [0, 0]
    assert all(value is not None and value >= 0x700 for value in cval[2:])
    assert cval[2] != cval[3]


SKIP = ".skip 0x200\n mrs x3, elr_el2\n add x3, x3, #4\n msr elr_el2, x3\n add x4, x4, #1\n eret\n"


def test_without_e2h_the_names_of_el1_are_its_own_and_the_others_undefined() -> None:
    own = [each for each in NAMES if each[1] != 5]
    machine = freely(accesses(own), RW, SKIP)
    pe = machine.actors[0].pe
    for number, encoding in enumerate(own):
        owned = machine.devices.read_register(0, encoding, 0)
        assert word(machine, number) == (pe.system_register(encoding) if owned is None else owned)
    assert pe.sysreg(sysreg.TTBR0_EL1) == value_of(own.index(sysreg.TTBR0_EL1), sysreg.TTBR0_EL1)
    others = [sysreg.generic_name(each) for each in NAMES if each[1] == 5]
    text = "\n".join(f"mrs x2, {name}\n msr {name}, x2" for name in others)
    machine = freely(f"mov x4, #0\n {text}", RW, SKIP)
    assert machine.actors[0].pe.x[4] == 2 * len(others)


def test_code_that_has_run_at_el1_is_looked_at_again_at_el2() -> None:
    """Each of the two runs begins there: the engine announces no such block."""
    memory = Memory(BASE, SIZE)
    memory.write_bytes(CODE, bytes.fromhex("02c038d5 00000014".replace(" ", "")))  # mrs x2, vbar_el1; b .
    engine = make_engine(memory, LocalInterconnect(), [N1])
    pes: list[PE] = []
    for index, el in enumerate((1, 2)):
        pe = engine.new_pe(index, 0x8000_0000 | index, N1.midr, el)
        engine.reset(pe, el, CODE, 0)
        pe.set_system_register(sysreg.VBAR_EL1, 0x1000)
        pe.set_system_register(sysreg.VBAR_EL2, 0x2000)
        pes.append(pe)
    pes[1].set_system_register(sysreg.HCR_EL2, HOST)
    engine.free.begin()
    for pe in pes:
        assert isinstance(engine.run(pe, 1), StepLimit)
    assert [pe.x[2] for pe in pes] == [0x1000, 0x2000]


def test_hcr_el2_whose_e2h_is_res1_keeps_it() -> None:
    machine = at_el2("mrs x1, hcr_el2\n str x1, [x20]\n mrs x1, ttbr1_el1\n str x1, [x20, #8]", RW)
    run_freely(machine, Board(machine, "gicv2", b"").timer, lambda cpu, va: None)
    machine.actors[0].pe.e2h_res1 = True
    machine.power_on(0, CODE, 0)
    machine.actors[0].pe.set_system_register(sysreg.TTBR1_EL2, 0x5000)
    machine.run()
    assert [word(machine, 0), word(machine, 1)] == [RW | E2H, 0x5000]


# -- counter ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hcr", "is_behind"), [(HOST, False), (RW | E2H, False), (RW, True)])
def test_the_virtual_count_of_a_host_is_the_physical_one(hcr: int, is_behind: bool) -> None:
    """Arm DDI 0487, CNTVCT_EL0: CNTVOFF_EL2 counts as 0 at EL2 with HCR_EL2.E2H."""
    text = "mov x1, #0x10000000\n msr cntvoff_el2, x1\n mrs x2, cntvct_el0\n str x2, [x20]"
    machine = freely(text, hcr)
    assert (word(machine, 0) > 1 << 63) is is_behind


@pytest.mark.parametrize(
    ("register", "is_bounded"),
    [("cntkctl_el1", True), ("s3_5_c14_c1_0", False)],
    ids=["CNTKCTL_EL1", "CNTKCTL_EL12"],
)
def test_of_a_host_cnthctl_el2_sends_the_event_stream(register: str, is_bounded: bool) -> None:
    """Arm DDI 0487, CNTKCTL_EL1: with E2H and TGE it makes no events."""
    machine = freely(f"""
        mov x0, #{1 << 2 | 4 << 4}
        msr {register}, x0
        mrs x9, cntpct_el0
        mov x10, #0             // the longest time that a turn of the loop has taken, in ticks
        mov x12, #400
    again: wfe
        mrs x11, cntpct_el0
        sub x13, x11, x9
        mov x9, x11
        cmp x13, x10
        csel x10, x13, x10, hi
        subs x12, x12, #1
        b.ne again""")
    assert (machine.actors[0].pe.x[10] <= 2 * 16 + 10) is is_bounded


# -- exceptions -------------------------------------------------------------------------------------

GIC = """
        ldr x1, =0x08010000
        mov w2, #0xf0
        str w2, [x1, #4]        // GICC_PMR
        mov w2, #1
        str w2, [x1]            // GICC_CTLR
        ldr x3, =0x08000000
        str w2, [x3]            // GICD_CTLR
        mov w2, #-1
        str w2, [x3, #0x100]    // GICD_ISENABLER0
"""
TO_EL0 = "adr x0, user\n msr elr_el2, x0\n msr spsr_el2, xzr\n eret\n user: "


@pytest.mark.parametrize(
    ("crm", "op1", "hcr", "intid"),
    [
        (2, 3, HOST, 26),  # CNTP by the name of EL0: CNTHP
        (3, 3, HOST, 28),
        (2, 5, HOST, 30),  # CNTP_EL02
        (3, 5, HOST, 27),
        (2, 3, RW | TGE, 30),
        (3, 3, RW | TGE, 27),
    ],
)
def test_el2_takes_the_interrupt_of_each_timer_from_its_el0(crm: int, op1: int, hcr: int, intid: int) -> None:
    """HCR_EL2.TGE routes it to the IRQ vector of a lower level, of VBAR_EL2."""
    timer = f"s3_{op1}_c14_c{crm}"
    text = f"""{GIC}
        mrs x6, cntpct_el0
        add x6, x6, #500
        msr {timer}_2, x6
        mov x6, #1
        msr {timer}_1, x6
        {TO_EL0} b user"""
    handler = """.skip 0x480
        ldr x1, =0x08010000
        ldr w9, [x1, #0xc]      // GICC_IAR
        str x9, [x20]
        mrs x9, currentel
        str x9, [x20, #8]
        mrs x9, spsr_el2
        str x9, [x20, #16]
        b ."""
    machine = freely(text, hcr, handler)
    assert [word(machine, number) for number in range(3)] == [intid, 8, 0]


def test_a_host_takes_what_its_el0_raises_and_reads_it_by_the_names_of_el1() -> None:
    handler = ".skip 0x400\n mrs x9, esr_el1\n str x9, [x20]\n mrs x9, elr_el1\n str x9, [x20, #8]\n b ."
    machine = freely(f"{TO_EL0} svc #7", HOST, handler)
    pe = machine.actors[0].pe
    assert word(machine, 0) == 0x15 << 26 | 1 << 25 | 7
    assert word(machine, 1) == pe.system_register(sysreg.ELR_EL2)
    assert pe.pc == VECTORS + 0x400 + 4 * 4


@pytest.mark.parametrize("allowed", [True, False])
def test_el0_of_a_host_has_the_timers_of_el2(allowed: bool) -> None:
    """CNTP_CVAL_EL0 is CNTHP_CVAL_EL2 there; CNTHCTL_EL2.EL0PTEN allows it, else EL2 takes EC 0x18."""
    text = f"""
        mov x1, #0x1230
        msr s3_5_c14_c2_2, x1   // CNTP_CVAL_EL02
        mov x1, #{allowed << 9}
        msr cnthctl_el2, x1
        {TO_EL0} mov x1, #0x4560
        msr cntp_cval_el0, x1
        mrs x2, cntp_cval_el0
        svc #0"""
    machine = freely(text, HOST, ".skip 0x400\n mrs x9, esr_el1\n str x9, [x20]\n b .")
    of_el1, of_el2 = (machine.devices.read_register(0, (3, op1, 14, 2, 2), 0) for op1 in (3, 4))
    assert of_el1 == 0x1230
    assert (word(machine, 0) >> 26, of_el2) == ((0x15, 0x4560) if allowed else (0x18, 0))
    assert machine.actors[0].pe.x[2] == (0x4560 if allowed else 0xDEAD_0000_0000_0002)


# -- AT ---------------------------------------------------------------------------------------------

TABLES = BASE + 0x80_0000
BLOCK = BASE | 0x701  # AF, inner shareable, attribute 0: a block of 1 GiB
READ, WRITE = "#0, c7, c8, #0", "#0, c7, c8, #1"  # AT S1E1R, S1E1W
EL0_READ, EL0_WRITE = "#0, c7, c8, #2", "#0, c7, c8, #3"  # S1E0R, S1E0W
PAN_READ, PAN_WRITE = "#0, c7, c9, #0", "#0, c7, c9, #1"  # S1E1RP, S1E1WP
EL2_READ, BOTH_WRITE, BOTH_EL0_READ = "#4, c7, c8, #0", "#4, c7, c8, #5", "#4, c7, c8, #6"  # S1E2R, S12E..
USER, LIMITED = 0x1_8012_3456, 0x80_0000_0000  # a page of EL0; by a table that keeps EL0 and stores away
MAPPED = 0xFF << 56 | BASE + 0x12_3000 | 1 << 11 | 1 << 9 | 3 << 7
FORBIDDEN = 1 << 11 | 0b1101 << 1 | 1
# VA, the instruction, and PAR_EL1: RES1, NS, or F and a fault status at level 1.
ADDRESSES = [
    (BASE + 0x12_3456, READ, 0xFF << 56 | BASE + 0x12_3000 | 1 << 11 | 1 << 9 | 3 << 7),
    (0x8012_3456, READ, 0xFF << 56 | BASE + 0x12_3000 | 1 << 11 | 1 << 9 | 3 << 7),
    (0x8012_3456, WRITE, 1 << 11 | 0b1101 << 1 | 1),  # read-only
    (0xC000_0000, READ, 1 << 11 | 0b0101 << 1 | 1),  # not mapped
    (0x1_0000_0000, READ, 1 << 11 | 0b1001 << 1 | 1),  # no access flag
    (0x1_4000_0000, READ, BASE | 1 << 11 | 1 << 9 | 2 << 7),  # Device
    (USER, READ, MAPPED),  # whatever PSTATE.PAN is
    (USER, EL0_READ, MAPPED),
    (USER, EL0_WRITE, MAPPED),
    (USER, PAN_READ, FORBIDDEN),
    (USER, PAN_WRITE, FORBIDDEN),
    (BASE + 0x12_3456, PAN_WRITE, MAPPED),
    (BASE + 0x12_3456, EL0_READ, FORBIDDEN),
    (USER, EL2_READ, MAPPED),
    (USER, BOTH_WRITE, MAPPED),
    (0x8012_3456, BOTH_WRITE, FORBIDDEN),
    (USER, BOTH_EL0_READ, MAPPED),
    (0xC000_0000, BOTH_EL0_READ, 1 << 11 | 0b0101 << 1 | 1),
    (LIMITED + USER, READ, MAPPED),
    (LIMITED + USER, WRITE, FORBIDDEN),
    (LIMITED + USER, EL0_READ, FORBIDDEN),
    (LIMITED + USER, PAN_READ, MAPPED),  # EL0 cannot read it
]


@pytest.mark.parametrize("is_free", [True, False], ids=["free", "stepped"])
def test_at_of_a_host_translates_in_its_own_regime(is_free: bool) -> None:
    """The engine would translate in EL1's, whose MMU is off. PSTATE.PAN is set."""
    text = "mov x2, #0x400000\n msr s3_0_c4_c2_3, x2\n ldr x2, =0x580103510\n msr tcr_el1, x2\n"
    text += "mov x2, #0xff\n msr mair_el1, x2\n"
    text += f"ldr x2, ={TABLES:#x}\n msr ttbr0_el1, x2\n mrs x2, sctlr_el1\n"
    text += "orr x2, x2, #1\n orr x2, x2, #4\n"
    text += "msr sctlr_el1, x2\n isb\n b there\n .ltorg\n there:\n"
    for number, (va, operation, _) in enumerate(ADDRESSES):
        text += f"movz x1, #{va >> 32:#x}, lsl #32\n movk x1, #{va >> 16 & 0xFFFF}, lsl #16\n"
        text += f"movk x1, #{va & 0xFFFF}\n sys {operation}, x1\n mrs x2, s3_0_c7_c4_0\n"
        text += f"str x2, [x20, #{8 * number}]\n"
    machine = at_el2(text)
    blocks = [0, BLOCK, BLOCK | 1 << 7, 0, BLOCK & ~(1 << 10), BLOCK | 1 << 2, BLOCK | 1 << 6]
    machine.memory.write(TABLES, 8, TABLES + 0x1000 | 3)
    machine.memory.write(TABLES + 8, 8, TABLES + 0x1000 | 3 << 61 | 3)
    for number, block in enumerate(blocks):
        machine.memory.write(TABLES + 0x1000 + 8 * number, 8, block)
    if is_free:
        run_freely(machine, Board(machine, "gicv2", b"").timer, lambda cpu, va: None)
    machine.power_on(0, CODE, 0)
    machine.run()
    found = [word(machine, number) for number in range(len(ADDRESSES))]
    assert found == [expected for *_, expected in ADDRESSES]
