"""Interrupt controllers read and act the same on QEMU's virt, but for what is listed here."""

from __future__ import annotations

import pytest
from reference.drawn_interrupts import CPUS, DRAWN
from reference.interrupt_script import REGIONS, Op, on_emu, on_qemu
from reference.qemu import missing
from reference.world import missing_assembler

from emu.devices.controllers import icc

pytestmark = pytest.mark.skipif(
    bool(missing() or missing_assembler()), reason=missing() or missing_assembler()
)

GICD, GICC = 0x0800_0000, REGIONS["gicv2"]["cpu-interface"][0]
GICR = REGIONS["gicv3"]["redistributors"][0]
ALL = 0xFFFF_FFFF
OF_GROUP_1 = 1022  # of GICC_IAR, also when nothing is signalled


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", DRAWN)
def test_interrupts_come_preempt_and_end_the_same(name: str, seed: int) -> None:
    """About 1,300 accesses of three CPUs."""
    both(name, CPUS, DRAWN[name](name, seed).draw(300))


def both(name: str, cpus: int, ops: list[Op]) -> None:
    """Compare what each op of a script reads."""
    unequal = [
        (number, op, hex(theirs), hex(ours))
        for number, (op, theirs, ours) in enumerate(
            zip(ops, on_qemu(name, cpus, ops), on_emu(name, cpus, ops), strict=True)
        )
        if op.value is None and theirs != ours and not (op.place == GICC + 0x0C and theirs == OF_GROUP_1)
    ]
    assert not unequal, unequal[0]


def reads(cpu: int, base: int, *offsets: int) -> list[Op]:
    """Return the reads of words."""
    return [Op(cpu, base + offset) for offset in offsets]


def after_ones(cpu: int, base: int, *offsets: int) -> list[Op]:
    """Return, for each register: ones are written, it is read, 0 is written, it is read."""
    return [
        op
        for offset in offsets
        for value in (ALL, 0)
        for op in (Op(cpu, base + offset, value), Op(cpu, base + offset))
    ]


@pytest.mark.parametrize("cpus", [1, 3, 8])
def test_registers_of_a_gicv2_read_as_after_reset(cpus: int) -> None:
    """Identification, and what each bank of each CPU starts from."""
    masks = (0x80, 0x84, 0xA0, 0x100, 0x104, 0x180, 0x200, 0x280, 0x300, 0x380, 0x300)
    for_all = (0x000, 0x004, 0x008, *masks, 0x420, 0x51C, 0x820, 0xC08, *range(0xFD0, 0x1000, 4))
    banked = (0x400, 0x41C, 0x800, 0x81C, 0xC00, 0xC04, 0xF10, 0xF20)
    interface = (0x00, 0x04, 0x08, 0x0C, 0x14, 0x18, 0x1C, *range(0xD0, 0xF0, 4), 0xFC)
    script = reads(0, GICD, *for_all)
    for cpu in range(cpus):
        script += reads(cpu, GICD, *banked) + reads(cpu, GICC, *interface)
    both("gicv2", cpus, script)


def test_bits_of_a_gicv2_that_can_be_written_are_the_same() -> None:
    """Left out: QEMU 7.2 keeps targets that are no CPUs, and does not set PPIs pending by GICD_ISPENDR."""
    distributor = (0x000, 0x004, 0x008, 0x080, 0x084, 0x0A0, 0x100, 0x104, 0x400, 0x420, 0x800, 0xC00, 0xC04)
    interface = (0x00, 0x04, 0x08, 0x1C, 0x14, 0xD0, 0xDC, 0xE0, 0xEC, 0xFC)
    clearing = [Op(0, GICD + offset, ALL) for offset in (0x180, 0x280, 0x380)]
    script = after_ones(1, GICD, *distributor, 0xC08) + after_ones(1, GICC, *interface) + clearing
    both("gicv2", 3, script + reads(0, GICD, 0x100, 0x180, 0x280, 0x380))


LPIS, PLPIS = 1 << 17, 1


def test_registers_of_a_gicv3_read_as_after_reset() -> None:
    """Left out: GICD_TYPER, GICR_CTLR and the low word of GICR_TYPER, which tell of LPIs on QEMU."""
    masks = (0x80, 0x84, 0x9C, 0x100, 0x104, 0x180, 0x184, 0x204, 0x284, 0x304, 0x384, 0x400, 0x420, 0x820)
    distributor = (0x000, 0x008, *masks, 0xC00, 0xC08, 0xD04, 0xE04, 0xF00, 0xF10, 0x6100, 0x6104)
    script = reads(0, GICD, *distributor, *range(0xFFD0, 0x1_0000, 4))
    private = (0x80, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380, 0x400, 0x41C, 0xC00, 0xC04, 0xD00, 0xE00)
    for cpu in (0, 7, 17):
        control = (0x004, 0x00C, 0x014, *range(0xFFD0, 0x1_0000, 4))
        script += reads(0, GICR + (cpu << 17), *control, *(0x1_0000 + offset for offset in private))
    both("gicv3", 18, script)
    told = [*reads(0, GICD, 0x004), *reads(0, GICR, *(cpu << 17 | 8 for cpu in range(3)))]
    theirs, ours = on_qemu("gicv3", 3, told), on_emu("gicv3", 3, told)
    assert [value & ~lpis for value, lpis in zip(theirs, (LPIS, *[PLPIS] * 3), strict=True)] == ours


def test_bits_of_a_gicv3_that_can_be_written_are_the_same() -> None:
    """Left out: QEMU 7.2 keeps the bits of GICD_IROUTER and ICC_PMR_EL1 that are reserved."""
    distributor = (0x000, 0x008, 0x080, 0x084, 0x100, 0x104, 0x204, 0x304, 0x400, 0x420, 0x820, 0xC04)
    private = (0x80, 0x100, 0x200, 0x300, 0x400, 0x41C, 0xC00, 0xC04, 0xD00, 0xE00)
    cleared = (GICD + 0x184, GICD + 0x284, GICD + 0x384, GICR + 0x1_0180, GICR + 0x1_0280)
    clearing = [Op(0, register, ALL) for register in cleared]
    script = after_ones(0, GICD, *distributor, 0xC08, 0xD04, 0xE04)
    script += after_ones(0, GICR, 0x014, *(0x1_0000 + offset for offset in private))
    script += clearing + reads(0, GICD, 0x104, 0x204, 0x304) + reads(0, GICR, 0x1_0100, 0x1_0200, 0x1_0300)
    both("gicv3", 3, script)


def test_registers_of_the_cpu_interface_of_a_gicv3_are_the_same() -> None:
    """Reset values, bits that can be written, and the binary point of group 1 while CBPR is set."""
    read_write = (icc.ICC_CTLR_EL1, icc.ICC_BPR0_EL1, icc.ICC_BPR1_EL1, icc.ICC_AP0R0_EL1, icc.ICC_AP1R0_EL1)
    read_write += (icc.ICC_IGRPEN0_EL1, icc.ICC_IGRPEN1_EL1)
    read = (icc.ICC_IAR0_EL1, icc.ICC_IAR1_EL1, icc.ICC_HPPIR0_EL1, icc.ICC_HPPIR1_EL1, icc.ICC_RPR_EL1)
    script = [Op(1, each) for each in (*read_write, *read, icc.ICC_PMR_EL1)]
    for each in read_write:
        script += [Op(1, each, ALL), Op(1, each), Op(1, icc.ICC_RPR_EL1), Op(1, each, 0), Op(1, each)]
    script += [Op(1, icc.ICC_PMR_EL1, 0xFF), Op(1, icc.ICC_PMR_EL1)]
    script += [Op(1, icc.ICC_CTLR_EL1, 1), Op(1, icc.ICC_BPR0_EL1, 4), Op(1, icc.ICC_BPR1_EL1)]
    script += [Op(1, icc.ICC_BPR1_EL1, 6), Op(1, icc.ICC_BPR1_EL1), Op(1, icc.ICC_BPR0_EL1, 7)]
    script += [Op(1, icc.ICC_BPR1_EL1), Op(1, icc.ICC_CTLR_EL1, 0), Op(1, icc.ICC_BPR1_EL1)]
    both("gicv3", 2, script)


CNTP, CNTV = (3, 3, 14, 2), (3, 3, 14, 3)
U64 = 2**64 - 1


@pytest.mark.parametrize("timer", [CNTP, CNTV])
def test_timers_meet_their_conditions_the_same(timer: tuple[int, int, int, int]) -> None:
    """CVAL is an unsigned number, TVAL a signed one of 32 bits; the time itself is not the same."""
    tval, ctl, cval = ((*timer, op2) for op2 in range(3))
    script = [Op(1, ctl), Op(1, ctl, U64), Op(1, ctl), Op(1, ctl, 0)]
    for register, values in (
        (cval, (0, 1, 2**63, U64)),
        (tval, (0, 2**31 - 1, 2**31, U64, 2**32, 2**32 - 1)),
    ):
        for value in values:
            script += [Op(1, register, value), *([Op(1, cval)] if register == cval else [])]
            script += [op for control in (1, 3, 2, 0) for op in (Op(1, ctl, control), Op(1, ctl), Op(0, ctl))]
    both("gicv2", 2, script)
