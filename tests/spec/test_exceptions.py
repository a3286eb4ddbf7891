"""Synchronous exceptions, taken as Arm DDI 0487 says: target, vector, syndrome, saved state, return."""

from __future__ import annotations

import pytest
from bare_pe import BASE, CODE, DATA, GRAINS, VECTORS, Bare

from emu.arch import descriptors, sysreg
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, Call, ConstraintViolation, Raised, Reached, SelfBranch
from emu.operation import Kind

every_grain = pytest.mark.parametrize("grain", GRAINS)

IL = 1 << 25
HIGH = 0xFFFF_8000_0000_0000
PAGE = descriptors.AF | descriptors.SH_INNER | 0b11
READ_ONLY = 0b10 << 6  # AP[2:1]
EL1_VECTORS, EL2_VECTORS = VECTORS, VECTORS + 0x1000
HCR_RW = 1 << 31

# Sets both VBARs, the stacks of each bank and HCR_EL2 = x1, then goes on at x0 at EL1h or stays at EL2.
_PRELUDE_EL1 = f"""
    ldr x2, ={EL1_VECTORS:#x}
    msr vbar_el1, x2
    ldr x2, ={DATA + 0x1000:#x}
    mov sp, x2
    msr spsel, #0
    ldr x2, ={DATA + 0x2000:#x}
    mov sp, x2
    msr spsel, #1
    mov x2, #3 << 20
    msr cpacr_el1, x2
    isb
    br x0
"""
_PRELUDE_EL2 = f"""
    ldr x2, ={EL2_VECTORS:#x}
    msr vbar_el2, x2
    ldr x2, ={EL1_VECTORS:#x}
    msr vbar_el1, x2
    msr hcr_el2, x1
    ldr x2, ={DATA + 0x1000:#x}
    msr sp_el1, x2
    ldr x2, ={DATA + 0x3000:#x}
    mov sp, x2
    mov x2, #3 << 20
    msr cpacr_el1, x2
    isb
    br x0
"""
_DROP = "msr elr_el2, x0\n mov x2, #0x3c5\n msr spsr_el2, x2\n eret"
START = BASE + 0x2000


def start(
    text: str, *, el: int = 1, entry_el: int = 1, hcr: int = HCR_RW, bare: Bare | None = None
) -> tuple[Bare, PE]:
    """Return a PE at the first instruction of ``text``, at ``el``, with vectors and stacks in place."""
    bare = bare or Bare()
    bare.load(text)
    bare.load(_PRELUDE_EL1 if entry_el == 1 else _PRELUDE_EL2, START)
    pe = bare.pe(START, el=entry_el, x0=CODE)
    pe.x[1] = hcr
    if entry_el == 2 and el == 1:
        drop = START + 0x200
        bare.load(_DROP, drop)
        pe.x[0] = drop
        bare.engine.break_at(drop)
        assert bare.engine.run(pe, 100) == Reached(drop)
        bare.engine.unbreak(drop)
        pe.x[0] = CODE
    bare.engine.break_at(CODE)
    assert bare.engine.run(pe, 100) == Reached(CODE)
    bare.engine.unbreak(CODE)
    assert pe.el == el
    pe.x[20], pe.x[0], pe.x[1], pe.x[2] = DATA, 0, 0, 0
    pe.reset_counters()
    bare.records.clear()
    return bare, pe


def taken(bare: Bare, pe: PE, grain: str) -> Raised:
    stop = bare.go(pe, grain)
    if isinstance(stop, ConstraintViolation):
        stop = stop.raised
    assert isinstance(stop, Raised), stop
    pe.take(stop)
    return stop


def saved(bare: Bare, pe: PE, el: int) -> dict[str, int]:
    """Read ESR, ELR, SPSR and FAR of ``el`` by the guest's own instructions."""
    at = BASE + 0x3000 + 0x100 * el
    names = ("esr", "elr", "spsr", "far")
    bare.load("".join(f"mrs x{n + 10}, {name}_el{el}\n" for n, name in enumerate(names)) + "b .", at)
    pc, keep = pe.pc, [pe.x[n] for n in range(10, 14)]
    pe.pc = at
    assert isinstance(bare.go(pe), SelfBranch)
    found = {name: pe.x[n + 10] for n, name in enumerate(names)}
    for n, value in enumerate(keep):
        pe.x[n + 10] = value
    pe.pc = pc
    return found


# -- exception generating instructions ----------------------------------------------------------------


@every_grain
@pytest.mark.parametrize(
    ("text", "syndrome", "returns"),
    [
        (".word 0", IL, 0),
        ("svc #0x1234", 0x15 << 26 | IL | 0x1234, 4),
        ("brk #0x800", 0x3C << 26 | IL | 0x800, 0),
        ("ldadd", IL, 0),
        ("mrs x0, actlr_el3", IL, 0),
        ("fmov d0, x0", 0x07 << 26 | IL | 0x1E << 20, 0),
    ],
)
def test_esr_and_preferred_return_of_each_instruction(
    text: str, syndrome: int, returns: int, grain: str
) -> None:
    """DDI 0487 D1.3.1.1, D17.2.37: SVC's preferred return is behind it, that of the others themselves."""
    text = ".word 0xf8200041" if text == "ldadd" else text  # FEAT_LSE, which a Cortex-A72 has not
    setup = "msr cpacr_el1, xzr\n isb" if text.startswith("fmov") else "nop\n nop"
    bare, pe = start(f"{setup}\n {text}\n b .")
    raised = taken(bare, pe, grain)
    assert raised.syndrome == syndrome
    assert pe.pc == EL1_VECTORS + 0x200
    found = saved(bare, pe, 1)
    assert (found["esr"], found["elr"]) == (syndrome, CODE + 8 + returns)
    assert pe.counters.exceptions == 1


@every_grain
def test_hvc_from_el1_goes_to_el2(grain: str) -> None:
    """DDI 0487 C6.2.102 HVC: EC 0x16 with the immediate, ELR_EL2 behind it; vector 0x400, a lower EL."""
    bare, pe = start("hvc #0x7\n b .", entry_el=2, el=1)
    assert bare.go(pe, grain) == Call("hvc", 7)
    pe.take(Raised(0x16 << 26 | IL | 7, None, 2, pe.pc))
    assert (pe.el, pe.pc) == (2, EL2_VECTORS + 0x400)
    found = saved(bare, pe, 2)
    assert (found["esr"], found["elr"], found["spsr"]) == (0x16 << 26 | IL | 7, CODE + 4, 0x3C5)


@every_grain
def test_smc_that_hcr_tsc_traps_returns_to_itself(grain: str) -> None:
    """DDI 0487 HCR_EL2.TSC: EC 0x17, the SMC is not executed, ELR_EL2 is its own address."""
    bare, pe = start("smc #5\n b .", entry_el=2, el=1, hcr=HCR_RW | 1 << 19)
    raised = taken(bare, pe, grain)
    assert (raised.syndrome >> 26, raised.target_el) == (0x17, 2)
    assert saved(bare, pe, 2)["elr"] == CODE
    assert pe.counters.instructions == 4  # the reads in saved()


# -- traps to EL2 -------------------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize(
    ("text", "bit", "ec"),
    [
        ("mrs x3, id_aa64mmfr0_el1", 18, 0x18),  # TID3
        ("msr sctlr_el1, x3", 26, 0x18),  # TVM
        ("mrs x3, ttbr0_el1", 30, 0x18),  # TRVM
        ("tlbi vmalle1", 25, 0x18),  # TTLB
        ("dc zva, x20", 28, 0x18),  # TDZ
        ("wfi", 13, 0x01),  # TWI
        ("wfe", 14, 0x01),  # TWE
    ],
)
def test_hcr_traps(text: str, bit: int, ec: int, grain: str) -> None:
    """DDI 0487 HCR_EL2: the instruction is not executed and EL2 gets it; without the bit it runs at EL1."""
    for hcr, trapped in ((HCR_RW | 1 << bit, True), (HCR_RW, False)):
        bare, pe = start(f"{text}\n b .", entry_el=2, el=1, hcr=hcr)
        pe.override(sysreg.ID_AA64MMFR0_EL1, 0x77)
        pe.x[3] = 0x30D0_0800
        if not trapped:
            assert not isinstance(bare.go(pe, grain), Raised)
            continue
        raised = taken(bare, pe, grain)
        assert (raised.syndrome >> 26, raised.target_el, pe.el) == (ec, 2, 2)
        assert pe.pc == EL2_VECTORS + 0x400
        assert pe.x[3] == 0x30D0_0800
        found = saved(bare, pe, 2)
        assert found["elr"] == CODE
        if ec == 1:
            assert found["esr"] == 1 << 26 | IL | 0x1E << 20 | (text == "wfe")


@every_grain
def test_wfe_with_the_event_register_set_does_not_trap(grain: str) -> None:
    """DDI 0487 HCR_EL2.TWE: it traps where the PE would have gone to sleep."""
    bare, pe = start("wfe\n wfe\n b .", entry_el=2, el=1, hcr=HCR_RW | 1 << 14)
    bare.outside.set_event(pe, True)
    assert taken(bare, pe, grain).preferred_return == CODE + 4
    assert not bare.outside.has_event(pe)


@every_grain
@pytest.mark.parametrize("fpen", range(4))
def test_simd_at_el0_traps_to_el1(fpen: int, grain: str) -> None:
    """DDI 0487 CPACR_EL1.FPEN: 0b11 alone lets EL0 use SIMD; EC 0x07 from a lower EL, vector 0x400."""
    setup = (
        f"mov x0, #{fpen} << 20\n msr cpacr_el1, x0\n adr x0, t\n msr elr_el1, x0\n msr spsr_el1, xzr\n eret"
    )
    bare, pe = start(f"{setup}\nt: fmov d0, x0\n b .")
    if fpen == 3:
        assert isinstance(bare.go(pe, grain), SelfBranch)
        return
    assert taken(bare, pe, grain).syndrome == 0x07 << 26 | IL | 0x1E << 20
    assert (pe.el, pe.pc) == (1, EL1_VECTORS + 0x400)


@every_grain
def test_cptr_tfp_traps_simd_to_el2(grain: str) -> None:
    """DDI 0487 CPTR_EL2.TFP: EC 0x07, from EL1 and from EL2 itself."""
    for el in (1, 2):
        bare, pe = start("msr cptr_el2, x3\n isb\n fmov d0, x0\n b .", entry_el=2, el=2)
        pe.x[3] = 0x33FF | 1 << 10
        if el == 1:
            bare.load(f"msr cptr_el2, x3\n adr x0, t\n {_DROP}\nt: fmov d0, x0")
            bare.engine.forget_code()
        raised = taken(bare, pe, grain)
        assert (raised.syndrome, raised.target_el) == (0x07 << 26 | IL | 0x1E << 20, 2)
        assert pe.pc == EL2_VECTORS + (0x400 if el == 1 else 0x200)


# -- aborts -------------------------------------------------------------------------------------------


def mapped(text: str, va: int, level: int, descriptor: int | None) -> tuple[Bare, PE]:
    """MMU on; the walk for ``va`` ends at ``level`` with ``descriptor`` (None: invalid there)."""
    bare = Bare()
    root = bare.new_root()
    table = root
    for at in range(level):
        entry = table + 8 * (va >> 39 - 9 * at & 0x1FF)
        below = bare.new_table()
        bare.memory.write(entry, 8, below | descriptors.TABLE)
        table = below
    if descriptor is not None:
        bare.memory.write(table + 8 * (va >> 39 - 9 * level & 0x1FF), 8, descriptor)
    bare, pe = start(text, bare=bare)
    bare.mmu_on(pe, root)
    pe.x[20] = va
    return bare, pe


@every_grain
@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize(("text", "wnr"), [("ldr x0, [x20]", 0), ("str x0, [x20]", 1), ("ldxr x0, [x20]", 0)])
def test_translation_fault_of_each_level(text: str, wnr: int, level: int, grain: str) -> None:
    """DDI 0487 D17.2.37, ISS of a Data Abort: DFSC 0b0001LL, WnR; FAR_EL1 is the VA."""
    va = HIGH + 0x1234_5008
    bare, pe = mapped(f"nop\n {text}\n b .", va, level, None)
    raised = taken(bare, pe, grain)
    assert raised.syndrome == 0x25 << 26 | IL | wnr << 6 | 0x04 + level
    found = saved(bare, pe, 1)
    assert (found["esr"], found["far"], found["elr"]) == (raised.syndrome, va, CODE + 4)
    assert bare.records == []
    assert (pe.counters.loads, pe.counters.stores) == (0, 0)


@every_grain
@pytest.mark.parametrize("level", [2, 3])
@pytest.mark.parametrize(
    ("text", "attributes", "wnr", "dfsc"),
    [
        ("str x0, [x20]", descriptors.AF | READ_ONLY, 1, 0x0C),  # permission
        ("stxr w1, x0, [x20]", descriptors.AF | READ_ONLY, 1, 0x0C),
        ("ldr x0, [x20]", 0, 0, 0x08),  # access flag
        ("str x0, [x20]", 0, 1, 0x08),
        ("dc zva, x20", descriptors.AF | READ_ONLY, 1, 0x0C),
        ("dc zva, x20", 0, 1, 0x08),
    ],
)
def test_permission_and_access_flag_faults(
    text: str, attributes: int, wnr: int, dfsc: int, level: int, grain: str
) -> None:
    """DDI 0487 D17.2.37: DFSC 0b0011LL and 0b0010LL; CM is not set for DC ZVA."""
    va = HIGH + 0x1234_5040
    descriptor = (DATA & -0x20_0000) | attributes | (0b11 if level == 3 else 0b01)
    text = f"ldxr x2, [x20]\n {text}" if text.startswith("stxr") else f"nop\n {text}"
    bare, pe = mapped(f"{text}\n b .", va, level, descriptor)
    raised = taken(bare, pe, grain)
    assert raised.syndrome == 0x25 << 26 | IL | wnr << 6 | dfsc + level
    assert saved(bare, pe, 1)["far"] == va
    assert Kind.STORE not in bare.kinds()


@every_grain
@pytest.mark.parametrize("level", range(4))
def test_instruction_abort_at_the_address_branched_to(level: int, grain: str) -> None:
    """DDI 0487 D17.2.37, EC 0x21: IFSC 0b0001LL; ELR_EL1 and FAR_EL1 are the address that was not fetched."""
    va = HIGH + 0x1234_5008
    bare, pe = mapped("nop\n br x20\n b .", va, level, None)
    raised = taken(bare, pe, grain)
    assert raised.syndrome == 0x21 << 26 | IL | 0x04 + level
    found = saved(bare, pe, 1)
    assert (found["far"], found["elr"]) == (va, va)


@every_grain
def test_instruction_abort_of_an_execute_never_page(grain: str) -> None:
    """DDI 0487 D8.4.1 PXN: permission fault, level 3."""
    va = HIGH + 0x1234_5000
    bare, pe = mapped("br x20\n b .", va, 3, DATA | PAGE | descriptors.PXN)
    assert taken(bare, pe, grain).syndrome == 0x21 << 26 | IL | 0x0F


@every_grain
@pytest.mark.parametrize(
    ("text", "syndrome"),
    [
        ("ldr x0, [x20]", 0x25 << 26 | IL | 0x10),
        ("str x0, [x20]", 0x25 << 26 | IL | 1 << 6 | 0x10),
        ("br x20", 0x21 << 26 | IL | 0x10),
    ],
)
@pytest.mark.parametrize("pa", [0x1000, BASE - 8, 0xFF_0000_0000])
def test_external_abort_where_nobody_answers(text: str, syndrome: int, pa: int, grain: str) -> None:
    """DDI 0487 D17.2.37: synchronous External abort, xFSC 0b010000; with the MMU off the PA is the VA."""
    bare, pe = start(f"nop\n {text}\n b .")
    pe.x[20] = pa
    raised = taken(bare, pe, grain)
    assert raised.syndrome == syndrome
    found = saved(bare, pe, 1)
    assert (found["far"], found["elr"]) == (pa, pa if text == "br x20" else CODE + 4)


@every_grain
@pytest.mark.parametrize("text", ["ldr x0, [x20]", "dc zva, x20", "br x20"])
def test_external_abort_with_the_mmu_on(text: str, grain: str) -> None:
    """FAR is the VA, and FnV clear: also of a load, of which the engine tells the PA."""
    va = HIGH + 0x1234_5000
    bare, pe = mapped(f"{text}\n b .", va, 3, 0x1000 | PAGE)
    raised = taken(bare, pe, grain)
    assert raised.syndrome & 0x3F == 0x10
    assert (raised.syndrome >> 10 & 1, saved(bare, pe, 1)["far"]) == (0, va)
    assert raised.syndrome >> 6 & 1 == text.startswith("dc")


@every_grain
@pytest.mark.parametrize("text", ["ldxr x0, [x20]", "ldaxp x0, x1, [x20]", "ldxrh w0, [x20]"])
def test_unaligned_exclusive_is_an_alignment_fault(text: str, grain: str) -> None:
    """DDI 0487 B2.9.5 and B2.5.2: DFSC 0b100001 whatever SCTLR_EL1.A; FAR_EL1 is the address."""
    bare, pe = start(f"{text}\n b .")
    pe.x[20] = DATA + 1
    raised = taken(bare, pe, grain)
    assert raised.syndrome & ~(1 << 6) == 0x25 << 26 | IL | 0x21
    assert saved(bare, pe, 1)["far"] == DATA + 1
    assert bare.outside.system.monitors == ()


@every_grain
def test_pc_alignment_fault(grain: str) -> None:
    """DDI 0487 D1.3.6: EC 0x22, FAR_EL1 and ELR_EL1 are the misaligned address."""
    bare, pe = start("ret\n nop\n b .")
    pe.x[30] = CODE + 6
    raised = taken(bare, pe, grain)
    assert raised.syndrome == 0x22 << 26 | IL
    found = saved(bare, pe, 1)
    assert (found["far"], found["elr"]) == (CODE + 6, CODE + 6)


# -- state on entry and return ------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize("flags", [0, 0x6, 0x9, 0xF])
@pytest.mark.parametrize("daif", [0, 0x5, 0xF])
def test_spsr_holds_pstate_and_daif_is_masked(flags: int, daif: int, grain: str) -> None:
    """DDI 0487 D1.3.1: SPSR_EL1 is PSTATE with NZCV and DAIF; then DAIF are set and NZCV stay."""
    bare, pe = start("msr nzcv, x0\n msr daif, x1\n mov x2, #1\n svc #0\n b .")
    bare.load("mrs x3, nzcv\n mrs x4, daif\n mrs x5, spsel\n b .", EL1_VECTORS + 0x200)
    pe.x[0], pe.x[1] = flags << 28, daif << 6
    taken(bare, pe, grain)
    bare.go(pe, grain)
    assert (pe.x[3], pe.x[4], pe.x[5]) == (flags << 28, 0x3C0, 1)
    assert saved(bare, pe, 1)["spsr"] == flags << 28 | daif << 6 | 0x5


@every_grain
def test_vector_and_stack_from_sp_el0(grain: str) -> None:
    """DDI 0487 D1.3.2: offset 0x0 for SP_EL0, 0x200 for SP_ELx; the handler is on SP_EL1; ERET goes back."""
    bare, pe = start("msr spsel, #0\n svc #1\n mov x6, sp\n b .")
    bare.load("mov x3, sp\n sub sp, sp, #16\n mrs x4, spsr_el1\n eret", EL1_VECTORS)
    taken(bare, pe, grain)
    assert pe.pc == EL1_VECTORS
    assert pe.stack_pointer(0) == DATA + 0x2000
    assert bare.go(pe, grain) == SelfBranch(CODE + 12)
    assert (pe.x[3], pe.x[4], pe.x[6]) == (DATA + 0x1000, 0x3C4, DATA + 0x2000)
    bare.load("msr spsel, #1\n mov x7, sp\n b .", CODE + 0x100)
    pe.pc = CODE + 0x100
    bare.go(pe, grain)
    assert pe.x[7] == DATA + 0x1000 - 16


@every_grain
def test_an_exception_from_el0_uses_vector_0x400(grain: str) -> None:
    """DDI 0487 D1.3.2: a lower EL in AArch64; SP_EL1 becomes current, SP_EL0 is kept."""
    bare, pe = start("adr x0, t\n msr elr_el1, x0\n msr spsr_el1, xzr\n eret\nt: svc #9\n mov x9, #9\n b .")
    bare.load("mov x3, sp\n mrs x4, spsr_el1\n eret", EL1_VECTORS + 0x400)
    taken(bare, pe, grain)
    assert (pe.el, pe.pc, pe.sp, pe.stack_pointer(0)) == (
        1,
        EL1_VECTORS + 0x400,
        DATA + 0x1000,
        DATA + 0x2000,
    )
    assert bare.go(pe, grain) == SelfBranch(CODE + 24)
    assert (pe.el, pe.x[3], pe.x[4], pe.x[9], pe.sp) == (0, DATA + 0x1000, 0, 9, DATA + 0x2000)


@every_grain
def test_stacks_across_el2_and_el1(grain: str) -> None:
    """DDI 0487 D1.2.2: each EL has its own SP; an HVC and back changes neither."""
    bare, pe = start("mov x5, sp\n hvc #1\n mov x6, sp\n b .", entry_el=2, el=1)
    bare.load("mov x3, sp\n eret", EL2_VECTORS + 0x400)
    assert bare.go(pe, grain) == Call("hvc", 1)
    pe.take(Raised(0x16 << 26 | IL | 1, None, 2, pe.pc))
    assert bare.go(pe, grain) == SelfBranch(CODE + 12)
    assert (pe.x[5], pe.x[3], pe.x[6], pe.el) == (DATA + 0x1000, DATA + 0x3000, DATA + 0x1000, 1)


@every_grain
def test_a_nested_exception(grain: str) -> None:
    """DDI 0487 D1.3.1: the handler's own exception overwrites ELR and SPSR; one that saved them returns."""
    handler = """
        add x28, x28, #1
        cmp x28, #2
        b.eq inner
        mrs x10, elr_el1
        mrs x11, spsr_el1
        svc #2
        msr elr_el1, x10
        msr spsr_el1, x11
        eret
    inner:
        mrs x12, elr_el1
        mrs x13, spsr_el1
        eret
    """
    bare, pe = start("mov x28, #0\n msr spsel, #0\n svc #1\n mov x9, #9\n b .")
    bare.load(handler, VECTORS + 0x800)
    for offset in (0, 0x200):
        bare.load(f"b {VECTORS + 0x800 - (EL1_VECTORS + offset):#x}", EL1_VECTORS + offset)
        bare.words(0x1400_0000 | (0x800 - offset) >> 2, at=EL1_VECTORS + offset)
    assert isinstance(bare.finish(pe, grain)[-1], SelfBranch)
    assert (pe.x[28], pe.x[9], pe.x[10], pe.x[12]) == (2, 9, CODE + 12, VECTORS + 0x800 + 24)
    assert (pe.x[11], pe.x[13] & 0xF) == (0x3C4, 5)
    assert pe.counters.exceptions == 2


@every_grain
def test_a_loop_of_faults_that_the_handler_steps_over(grain: str) -> None:
    """The first faulting instruction retires never, the others each time: counts stay exact."""
    bare, pe = start("mov x9, #10\nl: ldr x0, [x21]\n subs x9, x9, #1\n b.ne l\n b .")
    bare.load("mrs x26, elr_el1\n add x26, x26, #4\n msr elr_el1, x26\n eret", EL1_VECTORS + 0x200)
    pe.x[21] = 0x1000
    stops = bare.finish(pe, grain)
    assert len(stops) == 11
    assert pe.counters.instructions == 1 + 10 * (4 + 2)
    assert pe.counters.exceptions == 10


def test_state_is_as_before_an_svc_that_returns() -> None:
    """Every register but what the handler changed, over all grains: the same count."""
    for grain in GRAINS:
        bare, pe = start("svc #0\n b .")
        bare.load("eret", EL1_VECTORS + 0x200)
        before = list(pe.x)
        assert bare.go(pe, grain) != STEP_LIMIT
        pe.take(Raised(0x15 << 26 | IL, None, 1, pe.pc))
        assert isinstance(bare.go(pe, grain), SelfBranch)
        assert list(pe.x) == before
        assert pe.counters.instructions == 2
