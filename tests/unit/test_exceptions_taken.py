"""Exceptions that the engine does not raise, or raises otherwise: what the guest finds in its registers."""

from __future__ import annotations

import pytest
from bare_pe import BASE, CODE, DATA, GRAINS, VECTORS, Bare

from emu.arch import sysreg
from emu.arch.descriptors import AF, SH_INNER
from emu.constraints import SP_MISALIGNED, UNALIGNED_CHECKED, UNALIGNED_DEVICE
from emu.cpu.exception_return import is_illegal, pstate_after
from emu.cpu.pe import PE
from emu.cpu.stops import ConstraintViolation, Raised, SelfBranch, Unsupported

every_grain = pytest.mark.parametrize("grain", GRAINS)
PAGE = AF | SH_INNER | 0b11
EL0_CODE = CODE + 0x100
RW, TGE, E2H = 1 << 31, 1 << 27, 1 << 34
ABORT, FETCH_ABORT, ALIGNMENT = 0x9600_0000, 0x8600_0000, 0x21


def at_el0(bare: Bare, text: str) -> PE:
    """A PE whose first instruction of ``text`` comes next, at EL0; the MMU is off."""
    bare.load(f"{text}\n b .", EL0_CODE)
    bare.load(f"mov x0, #0x3c0\n msr spsr_el1, x0\n ldr x0, ={EL0_CODE}\n msr elr_el1, x0\n eret")
    return bare.pe()


def mapped(bare: Bare, descriptor: int, va: int = DATA, *, ips: int = 5) -> PE:
    """A PE with its MMU on, and a page at ``va`` with this descriptor; ``ips``: TCR_EL1.IPS."""
    bare.load("b .")
    pe = bare.pe()
    root = bare.new_root()
    bare.map_page(root, va, descriptor)
    bare.mmu_on(pe, root)
    tcr = pe.sysreg(sysreg.TCR_EL1)
    pe.set_system_register(sysreg.TCR_EL1, tcr & ~(7 << 32) | ips << 32)
    return pe


# -- exception returns ----------------------------------------------------------------------------

# SPSR.M, EL of the ERET, HCR_EL2, whether it is illegal: Arm DDI 0487, pseudocode IllegalExceptionReturn.
RETURNS = [
    (0b00000, 1, RW, False),  # EL0t
    (0b00100, 1, RW, False),  # EL1t
    (0b00101, 1, RW, False),  # EL1h
    (0b01000, 1, RW, True),  # to a higher level
    (0b01001, 1, RW, True),
    (0b01101, 1, RW, True),
    (0b01101, 2, RW, True),
    (0b00001, 1, RW, True),  # EL0 has no SP of its own
    (0b00010, 1, RW, True),  # M[1] is RES0
    (0b00111, 1, RW, True),
    (0b01010, 2, RW, True),
    (0b01001, 2, RW, False),
    (0b00101, 2, RW, False),
    (0b00101, 2, 0, True),  # EL1 is AArch32
    (0b00000, 2, 0, True),  # and EL0 with it
    (0b00101, 2, RW | TGE, True),  # there is no EL1
    (0b00000, 2, RW | TGE, False),
    (0b00000, 2, E2H | TGE, False),  # RW counts as set
    (0b10011, 1, RW, True),  # Supervisor: EL1 is AArch64
    (0b10011, 2, RW, True),
    (0b10011, 2, 0, False),
    (0b10000, 1, RW, False),  # User: EL0 can be AArch32
    (0b10000, 2, 0, False),
    (0b11010, 2, RW, True),  # Hyp: EL2 is AArch64
    (0b10110, 2, 0, True),  # Monitor
    (0b10100, 2, 0, True),  # no mode
]


@pytest.mark.parametrize(("mode", "el", "hcr", "illegal"), RETURNS)
def test_which_returns_are_illegal(mode: int, el: int, hcr: int, illegal: bool) -> None:
    assert is_illegal(mode, el, hcr) is illegal


def test_without_aarch32_no_return_goes_there() -> None:
    assert not is_illegal(0b10000, 1, RW, aarch32_max=0)
    assert is_illegal(0b10000, 1, RW, aarch32_max=-1)
    assert is_illegal(0b10011, 2, 0, aarch32_max=0)


def test_an_illegal_return_keeps_level_and_sp_and_takes_flags_and_masks() -> None:
    assert pstate_after(0x6000_0089, 0x3C5, illegal=True) == 0x6010_0085
    assert pstate_after(0x6010_0004, 0x3C5, illegal=False) == 0x6010_0004


@every_grain
@pytest.mark.parametrize(
    ("spsr", "pstate"), [(0x3C9, 0x10_03C5), (0x8000_01D3, 0x8010_01C5), (0x10_03C5, 0x10_03C5)]
)
def test_an_illegal_return_ends_in_the_illegal_state_exception(spsr: int, pstate: int, grain: str) -> None:
    """The ERET is done; the instruction at ELR is not: EC 0x0E, with PSTATE.IL in SPSR."""
    bare = Bare()
    target = CODE + 0x40
    bare.load("mov x1, #1\n b .", target)
    bare.load(f"ldr x0, ={spsr:#x}\n msr spsr_el1, x0\n ldr x0, ={target:#x}\n msr elr_el1, x0\n eret")
    pe = bare.pe()
    pe.set_system_register(sysreg.VBAR_EL1, VECTORS)
    bare.load("b .", VECTORS + 0x200)
    stop = bare.go(pe, grain)
    assert stop == Raised(0x3A00_0000, None, 1, target)
    assert (pe.pc, pe.counters.instructions, pe.x[1] & 0xFFFF) == (target, 5, 1)
    pe.take(stop)
    assert (pe.pc, pe.pstate & 1 << 20) == (VECTORS + 0x200, 0)
    assert pe.system_register(sysreg.SPSR_EL1) == pstate
    assert bare.go(pe, grain) == SelfBranch(VECTORS + 0x200)


@every_grain
def test_the_fetch_of_an_instruction_in_illegal_state_comes_first(grain: str) -> None:
    for target, syndrome in ((CODE + 2, 0x8A00_0000), (0x1000, FETCH_ABORT | 0x10)):
        bare = Bare()
        bare.load(f"mov x0, #0x3c9\n msr spsr_el1, x0\n ldr x0, ={target:#x}\n msr elr_el1, x0\n eret")
        assert bare.go(bare.pe(), grain) == Raised(syndrome, target, 1, target)


@every_grain
def test_a_return_to_aarch32_is_not_modelled(grain: str) -> None:
    bare = Bare()
    bare.load("mov x0, #0x1d0\n msr spsr_el1, x0\n eret")
    assert bare.go(bare.pe(), grain) == Unsupported("exception return to AArch32 state", CODE + 8)


@every_grain
def test_eret_at_el0_is_undefined(grain: str) -> None:
    bare = Bare()
    assert bare.go(at_el0(bare, "eret"), grain) == Raised(1 << 25, None, 1, EL0_CODE)


# -- fetches --------------------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize("mmu_on", [False, True])
def test_a_branch_to_0_faults_there(mmu_on: bool, grain: str) -> None:
    bare = Bare()
    bare.load("mov x8, #0\n br x8")
    pe = bare.pe()
    if mmu_on:
        bare.mmu_on(pe, bare.new_root())
    status = 0x05 if mmu_on else 0x10  # translation fault, level 1; external abort
    assert bare.go(pe, grain) == Raised(FETCH_ABORT | status, 0, 1, 0)
    assert pe.counters.instructions == 2


@every_grain
def test_code_at_0_runs(grain: str) -> None:
    bare = Bare()
    bare.load("br x8")
    bare.load("add x1, x1, #1\n cmp x1, #3\n b.ne back\n back: b 0x40010010", CODE + 0x40)
    bare.words(0x9100_0421, 0xF100_0C3F, 0x54FF_FFC1, 0x1400_0000, at=CODE + 0x1000)
    pe = bare.pe()
    root = bare.new_root()
    bare.map_page(root, 0, CODE + 0x1000 | PAGE)
    bare.mmu_on(pe, root)
    pe.x[8] = pe.x[1] = 0
    assert bare.go(pe, grain) == SelfBranch(12)
    assert (pe.x[1], pe.counters.instructions) == (3, 10)


@every_grain
@pytest.mark.parametrize("target", [CODE + 2, 0x1002, 0x7F_0000_0001])
def test_a_misaligned_pc_faults_whether_it_can_be_fetched_or_not(target: int, grain: str) -> None:
    for mmu_on in (False, True):
        bare = Bare()
        bare.load("nop\n br x8")
        pe = bare.pe()
        if mmu_on:
            bare.mmu_on(pe, bare.new_root())
        pe.x[8] = target
        assert bare.go(pe, grain) == Raised(0x8A00_0000, target, 1, target)


# -- output addresses -----------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize(
    ("descriptor", "ips", "status"),
    [
        (1 << 36 | PAGE, 0, 0b000011),  # a page, level 3
        (1 << 36 | PAGE, 2, 0x10),  # within 40 bits: nobody answers
        (1 << 45 | PAGE, 5, 0b000011),  # beyond PARange, 44 bits
        (1 << 36 | PAGE & ~AF, 0, 0b000011),  # before the access flag
    ],
)
def test_an_output_address_beyond_ips_is_an_address_size_fault(
    descriptor: int, ips: int, status: int, grain: str
) -> None:
    bare = Bare()
    pe = mapped(bare, descriptor, ips=ips)
    bare.load("ldr x1, [x20, #8]\n b .")
    bare.engine.forget_code()
    pe.x[20] = DATA
    assert bare.go(pe, grain) == Raised(ABORT | status, DATA + 8, 1, CODE)


def test_a_table_beyond_ips_is_an_address_size_fault_of_its_level() -> None:
    bare = Bare()
    pe = mapped(bare, PAGE | DATA)
    root = pe.sysreg(sysreg.TTBR0_EL1)
    bare.memory.write(root + 8 * (1 << 39 >> 39), 8, 1 << 40 | 0b11)  # level 0, of VA 1 << 39
    bare.load("ldr x1, [x20]\n b .")
    bare.engine.forget_code()
    pe.x[20] = 1 << 39
    assert bare.go(pe) == Raised(ABORT | 0x15, 1 << 39, 1, CODE), "external abort on the walk, level 1"
    pe.set_system_register(sysreg.TCR_EL1, pe.sysreg(sysreg.TCR_EL1) & ~(7 << 32))
    assert bare.go(pe) == Raised(ABORT | 0x00, 1 << 39, 1, CODE)


@every_grain
def test_with_the_mmu_off_an_address_beyond_the_physical_ones_has_the_wrong_size(grain: str) -> None:
    bare = Bare()
    bare.load("str x1, [x20, #16]\n b .")
    pe = bare.pe()
    pe.x[20] = 0xFFFF_8000_8000_0000
    assert bare.go(pe, grain) == Raised(ABORT | 1 << 6, 0xFFFF_8000_8000_0010, 1, CODE)
    bare.load("br x20")
    bare.engine.forget_code()
    pe = bare.pe()
    pe.x[20] = 0xFFFF_8000_8000_0000
    assert bare.go(pe, grain) == Raised(FETCH_ABORT, pe.x[20], 1, pe.x[20])


# -- aborts of accesses ---------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize(
    ("text", "offset", "is_store"),
    [
        ("ldr x1, [x20, #24]", 24, False),
        ("str w1, [x20, #-8]!", -8, True),
        ("ldp x1, x2, [x20], #16", 0, False),
        ("ldr x1, [x20, x21, lsl #3]", 40, False),
        ("stlr x1, [x20]", 0, True),
        ("ldxr x1, [x20]", 0, False),
    ],
)
def test_far_of_an_external_abort_is_the_va(text: str, offset: int, is_store: bool, grain: str) -> None:
    """Also with the MMU on; the base register is as it was."""
    bare = Bare()
    va = 0xFFFF_8000_0000_0000
    bare.load("b .")
    pe = bare.pe()
    root = bare.new_root()
    for page in (va - 0x1000, va):
        bare.map_page(root, page, 0x900_0000 | PAGE)
    bare.mmu_on(pe, root)
    bare.load(f"{text}\n b .")
    bare.engine.forget_code()
    pe.x[20], pe.x[21] = va, 5
    assert bare.go(pe, grain) == Raised(ABORT | is_store << 6 | 0x10, va + offset, 1, CODE)
    assert pe.x[20] == va


@every_grain
def test_the_second_half_of_a_pair_that_nobody_answers_tells_its_own_va(grain: str) -> None:
    bare = Bare()
    bare.load("ldp x1, x2, [x20]\n b .")
    pe = bare.pe()
    end = BASE + bare.memory.size
    pe.x[20] = end - 8
    assert bare.go(pe, grain) == Raised(ABORT | 0x10, end, 1, CODE)


@every_grain
@pytest.mark.parametrize(
    ("descriptor", "status"),
    [
        (DATA | 1 << 40 | PAGE, 0x03),  # address size, level 3: before any attribute counts
        (0x900_0000 | PAGE | 1 << 2, ALIGNMENT),  # Device memory, before anybody answers
        (0x900_0000 | PAGE, 0x10),  # nobody answers
    ],
)
def test_dc_zva_takes_the_fault_that_comes_first(descriptor: int, status: int, grain: str) -> None:
    """Arm DDI 0487, D8.14.5: those of the translation, alignment by memory type, external aborts.

    FAR_EL1 is the address as the register has it.
    """
    bare = Bare()
    pe = mapped(bare, descriptor, ips=2)
    bare.load("dc zva, x20\n b .")
    bare.engine.forget_code()
    pe.x[20] = DATA + 72
    stop = bare.go(pe, grain)
    raised = stop.raised if isinstance(stop, ConstraintViolation) else stop
    assert raised == Raised(ABORT | 1 << 6 | status, DATA + 72, 1, CODE)


@every_grain
@pytest.mark.parametrize(
    ("text", "far"), [("ldr x1, [x20]", 1), ("ldp x1, x2, [x20]", 1), ("ldr x1, [x20, #1]!", 2)]
)
def test_a_handler_can_take_an_alignment_fault_and_go_on(text: str, far: int, grain: str) -> None:
    bare = Bare()
    bare.load(f"{text}\n mov x9, #7\n b .")
    bare.load("mrs x3, far_el1\n mrs x4, elr_el1\n add x4, x4, #4\n msr elr_el1, x4\n eret", VECTORS + 0x200)
    pe = bare.pe()
    pe.set_system_register(sysreg.VBAR_EL1, VECTORS)
    pe.x[20] = DATA + 1
    stop = bare.go(pe, grain)
    assert isinstance(stop, ConstraintViolation)
    pe.take(stop.raised)
    assert bare.go(pe, grain) == SelfBranch(CODE + 8)
    assert (pe.x[3], pe.x[9], pe.x[20]) == (DATA + far, 7, DATA + 1)


@every_grain
@pytest.mark.parametrize(
    ("attribute", "a", "constraint"),
    [(0xFF, 0, None), (0x44, 0, None), (0x00, 0, UNALIGNED_DEVICE), (0x04, 0, UNALIGNED_DEVICE)]
    + [(0xFF, 2, UNALIGNED_CHECKED)],
)
def test_unaligned_accesses_are_for_normal_memory(
    attribute: int, a: int, constraint: object, grain: str
) -> None:
    bare = Bare()
    pe = mapped(bare, DATA | PAGE | 1 << 2)
    pe.set_system_register(sysreg.MAIR_EL1, 0xFF | attribute << 8)
    pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) | a)
    bare.load("ldr x1, [x20, #3]\n b .")
    bare.engine.forget_code()
    pe.x[20] = DATA
    stop = bare.go(pe, grain)
    if constraint is None:
        assert stop == SelfBranch(CODE + 4)
        return
    assert isinstance(stop, ConstraintViolation)
    assert stop.constraint == getattr(constraint, "name", "")
    assert stop.raised == Raised(ABORT | ALIGNMENT, DATA + 3, 1, CODE)


@every_grain
@pytest.mark.parametrize(
    ("text", "by_sp"), [("str x1, [sp, #8]!", True), ("ldp x1, x2, [sp]", True)] + [("ldr x1, [x20]", False)]
)
@pytest.mark.parametrize("sa", [False, True])
def test_a_misaligned_sp_faults_when_it_is_used(text: str, by_sp: bool, sa: bool, grain: str) -> None:
    """Arm DDI 0487, SCTLR_EL1.SA: EC 0x26, whatever the address is that comes of it."""
    bare = Bare()
    bare.load(f"nop\n {text}\n b .")
    pe = bare.pe()
    sctlr = pe.sysreg(sysreg.SCTLR_EL1)
    pe.set_system_register(sysreg.SCTLR_EL1, sctlr | 1 << 3 if sa else sctlr & ~(1 << 3))
    pe.x[31] = DATA + 8
    pe.x[20] = DATA
    stop = bare.go(pe, grain)
    if not (by_sp and sa):
        assert stop == SelfBranch(CODE + 8)
        return
    raised = Raised(0x9A00_0000, None, 1, CODE + 4)
    assert isinstance(stop, ConstraintViolation)
    assert (stop.constraint, stop.raised) == (SP_MISALIGNED.name, raised)
    assert (pe.sp, pe.counters.instructions) == (DATA + 8, 1)


# -- EL0 ------------------------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize(
    ("text", "bit", "iss"),
    [
        ("mrs x1, cntpct_el0", 0, 0x32F821),
        ("mrs x1, cntvct_el0", 1, 0x34F821),
        ("mrs x1, cntfrq_el0", 0, 0x30F821),
    ],
)
def test_cntkctl_lets_el0_read_the_counter(text: str, bit: int, iss: int, grain: str) -> None:
    """Arm DDI 0487, CNTKCTL_EL1.EL0PCTEN and EL0VCTEN."""
    bare = Bare()
    pe = at_el0(bare, text)
    pe.set_system_register(sysreg.CNTKCTL_EL1, 3 & ~(1 << bit) if text != "mrs x1, cntfrq_el0" else 0)
    assert bare.go(pe, grain) == Raised(0x18 << 26 | 1 << 25 | iss, None, 1, EL0_CODE)
    pe.set_system_register(sysreg.CNTKCTL_EL1, 1 << bit)
    assert bare.go(pe, grain) == SelfBranch(EL0_CODE + 4)


@every_grain
@pytest.mark.parametrize(("text", "op2"), [("msr daifset, #2", 6), ("msr daifclr, #2", 7)])
def test_el0_may_mask_with_uma_alone(text: str, op2: int, grain: str) -> None:
    """Arm DDI 0487, SCTLR_EL1.UMA (bit 9): else EC 0x18, as an access with op0 0 and Rt 31."""
    bare = Bare()
    pe = at_el0(bare, text)
    iss = op2 << 17 | 3 << 14 | 4 << 10 | 31 << 5 | 2 << 1
    assert bare.go(pe, grain) == Raised(0x18 << 26 | 1 << 25 | iss, None, 1, EL0_CODE)
    pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) | 1 << 9)
    assert bare.go(pe, grain) == SelfBranch(EL0_CODE + 4)
