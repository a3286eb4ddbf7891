"""Exception entry as pure functions, and taken by hand on an engine: Arm DDI 0487, D1.3."""

from __future__ import annotations

import pytest
from bare_pe import CODE, DATA, VECTORS, Bare

from emu.arch import sysreg
from emu.cpu.exceptions import CpuException, Interrupt, Vector, enter, target_el, vector_va
from emu.cpu.stops import STEP_LIMIT, Raised, SelfBranch

VBAR = 0xFFFF_8000_1234_0800
SVC = Raised(0x15 << 26 | 1 << 25, None, 1, 0x1004)
EL0, EL1T, EL1H, EL2T, EL2H = 0, 4, 5, 8, 9
# Offsets of synchronous, IRQ, FIQ and SError by PSTATE.M and the level that takes it (table D1-7).
GROUPS = [
    (EL1T, 1, (0x000, 0x080, 0x100, 0x180)),
    (EL1H, 1, (0x200, 0x280, 0x300, 0x380)),
    (EL2T, 2, (0x000, 0x080, 0x100, 0x180)),
    (EL2H, 2, (0x200, 0x280, 0x300, 0x380)),
    (EL0, 1, (0x400, 0x480, 0x500, 0x580)),
    (EL0, 2, (0x400, 0x480, 0x500, 0x580)),
    (EL1T, 2, (0x400, 0x480, 0x500, 0x580)),
    (EL1H, 2, (0x400, 0x480, 0x500, 0x580)),
]


def exceptions(el: int) -> list[CpuException]:
    asynchronous = [Interrupt(kind, el) for kind in (Vector.IRQ, Vector.FIQ, Vector.SERROR)]
    return [Raised(0, None, el, 0x1000), *asynchronous]


@pytest.mark.parametrize(("mode", "el", "offsets"), GROUPS)
def test_every_vector(mode: int, el: int, offsets: tuple[int, ...]) -> None:
    for exception, offset in zip(exceptions(el), offsets, strict=True):
        assert target_el(exception, mode >> 2) == el
        assert vector_va(exception, 0x3C0 | mode, VBAR) == VBAR + offset
        assert enter(exception, 0x1000, mode, VBAR).pc == VBAR + offset


@pytest.mark.parametrize(("mode", "wanted", "el"), [(EL0, 0, 1), (EL2H, 1, 2), (EL2H, 2, 2), (EL1H, 1, 1)])
def test_an_exception_is_never_taken_to_a_lower_level(mode: int, wanted: int, el: int) -> None:
    """Nor to EL0 (D1.3.1)."""
    assert target_el(Raised(0, None, wanted, 0), mode >> 2) == el


def test_pstate_of_the_handler() -> None:
    """Flags and PAN are kept; DAIF is set; IL, SS and UAO are cleared; the stack is SP_ELx."""
    for flags in (0, 0xF000_0000, 0x6000_0000):
        for rest in (0, 1 << 20, 1 << 21, 1 << 23, 0x3C0, 0x40):
            for pan in (0, 1 << 22):
                entry = enter(SVC, 0, flags | rest | pan | EL0, VBAR)
                assert entry.pstate == flags | pan | 0x3C0 | EL1H
                assert entry.spsr == flags | rest | pan | EL0


@pytest.mark.parametrize("ec", [0x20, 0x21, 0x24, 0x25])
@pytest.mark.parametrize(("mode", "same"), [(EL0, 0), (EL1T, 1), (EL1H, 1)])
def test_the_class_of_an_abort_says_where_it_came_from(ec: int, mode: int, same: int) -> None:
    """EC 0x20 and 0x24: from a lower level, 0x21 and 0x25: without a change of level (ESR_ELx)."""
    entry = enter(Raised(ec << 26 | 1 << 25 | 0x45, 0x1234, 1, 0x1000), 0, mode, VBAR)
    assert entry.esr == (ec & ~1 | same) << 26 | 1 << 25 | 0x45
    assert (entry.far, entry.elr) == (0x1234, 0x1000)


@pytest.mark.parametrize("ec", [0x00, 0x01, 0x15, 0x16, 0x18, 0x22, 0x3C])
def test_other_classes_stay(ec: int) -> None:
    assert enter(Raised(ec << 26, None, 1, 0), 0, EL1H, VBAR).esr == ec << 26


def test_an_interrupt_has_no_syndrome_but_an_serror() -> None:
    """ELR is the instruction that has not run; FAR and, but for SError, ESR are left alone."""
    for kind in (Vector.IRQ, Vector.FIQ):
        entry = enter(Interrupt(kind, 1), 0x2468, EL0, VBAR)
        assert (entry.elr, entry.esr, entry.far) == (0x2468, None, None)
    entry = enter(Interrupt(Vector.SERROR, 1), 0x2468, EL0, VBAR)
    assert (entry.elr, entry.esr, entry.far) == (0x2468, 0x2F << 26 | 1 << 25, None)


def test_a_vector_wraps_at_64_bits() -> None:
    assert vector_va(SVC, EL0, 2**64 - 0x400) == 0


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("kind", [Vector.IRQ, Vector.FIQ, Vector.SERROR])
def test_an_interrupt_taken_by_hand_returns_to_where_it_came(kind: Vector, el: int) -> None:
    """The handler counts in x9 and returns; the interrupted code notices nothing else."""
    bare = Bare()
    bare.load("mov x0, #1\n subs x1, x0, #1\n add x2, x0, #1\n str x2, [x20]\n b .")
    bare.load(f"add x9, x9, #1\n mrs x10, esr_el{el}\n mrs x11, far_el{el}\n eret", VECTORS + 0x200 + kind)
    pe = bare.pe(el=el)
    pe.x[9], pe.x[20] = 0, DATA
    pe.set_system_register(sysreg.VBAR_EL1 if el == 1 else sysreg.VBAR_EL2, VECTORS)
    for _ in range(2):
        assert bare.engine.step(pe) is STEP_LIMIT
    before, flags = list(pe.x)[:9], pe.pstate
    assert pe.vector(Interrupt(kind, el)) == VECTORS + 0x200 + kind
    assert pe.take(Interrupt(kind, el)) == el
    assert (pe.pc, pe.el, pe.daif) == (VECTORS + 0x200 + kind, el, 0x3C0)
    for _ in range(4):
        assert bare.engine.step(pe) is STEP_LIMIT
    assert (pe.pc, list(pe.x)[:9], pe.pstate) == (CODE + 8, before, flags)
    assert (pe.x[9], pe.counters.exceptions) == (1, 1)
    assert pe.x[10] == (0xBE00_0000 if kind is Vector.SERROR else 0)
    assert bare.go(pe) == SelfBranch(CODE + 16)
    assert bare.memory.read(DATA, 8) == 2


def test_an_interrupt_of_el0_is_taken_to_el1_on_its_stack() -> None:
    bare = Bare()
    bare.load("adr x5, user\n msr elr_el1, x5\n msr spsr_el1, xzr\n eret\nuser: nop\n nop\n b .")
    pe = bare.pe()
    pe.set_system_register(sysreg.VBAR_EL1, VECTORS)
    for _ in range(5):
        assert bare.engine.step(pe) is STEP_LIMIT
    assert (pe.el, pe.pc) == (0, CODE + 20)
    pe.x[31] = DATA  # SP_EL0
    assert pe.take(Interrupt(Vector.IRQ, 1)) == 1
    assert (pe.el, pe.pc, pe.sp, pe.stack_pointer(0)) == (1, VECTORS + 0x480, 0, DATA)
    assert pe.system_register(sysreg.SPSR_EL1) == 0
