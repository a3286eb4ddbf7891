"""The engine: system registers, what accesses tell, the state after a reset."""

from __future__ import annotations

import pytest
from bare_pe import BASE, CODE, DATA, GRAINS, Bare

from emu.arch import sysreg
from emu.constraints import UNALIGNED_MMU_OFF, ZERO_DEVICE
from emu.cpu.stops import STEP_LIMIT, ConstraintViolation, Raised, SelfBranch, Unsupported
from emu.operation import Kind

every_grain = pytest.mark.parametrize("grain", GRAINS)

# -- registers --------------------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize("el", [1, 2])
def test_each_pe_reads_its_own_mpidr_and_midr(el: int, grain: str) -> None:
    """Arm DDI 0487, MPIDR_EL1, MIDR_EL1: at EL1 the values of VMPIDR_EL2 and VPIDR_EL2."""
    bare = Bare()
    bare.load("mrs x0, mpidr_el1\n mrs x1, midr_el1\n mrs x2, currentel\n b .")
    pes = [bare.engine.new_pe(i, 0x8100_0000 | i << 32 | i, 0x410F_D030 + i, el) for i in range(3)]
    for pe in pes:
        bare.engine.reset(pe, el, CODE, 0)
    for pe in reversed(pes):
        bare.go(pe, grain)
        expected = [0x8100_0000 | pe.index << 32 | pe.index, 0x410F_D030 + pe.index, el << 2]
        assert list(pe.x)[:3] == expected


def test_the_virtual_mpidr_counts_below_el2() -> None:
    """Arm DDI 0487, VMPIDR_EL2: a PE that entered at EL2 reads at EL1 what its EL2 wrote there."""
    bare = Bare()
    bare.load(
        """
        mrs x1, mpidr_el1
        mov x0, #0x1234
        msr vmpidr_el2, x0
        msr vpidr_el2, x0
        mov x0, #1 << 31
        msr hcr_el2, x0
        adr x0, e
        msr elr_el2, x0
        mov x0, #0x3c5
        msr spsr_el2, x0
        eret
    e:  mrs x2, mpidr_el1
        mrs x3, midr_el1
        b .
        """
    )
    pe = bare.pe(el=2)
    bare.go(pe)
    assert (pe.el, pe.x[1], pe.x[2], pe.x[3]) == (1, 0x8000_0000, 0x1234, 0x1234)


@every_grain
def test_id_registers_read_as_overridden_on_one_pe(grain: str) -> None:
    """Others, and other registers, read what the Cortex-A72 says."""
    bare = Bare()
    bare.load("mrs x0, s3_0_c0_c7_2\n mrs x1, id_aa64mmfr0_el1\n mrs xzr, s3_0_c0_c7_2\n b .")
    first, second = bare.pe(), bare.pe()
    first.override(sysreg.ID_AA64MMFR2_EL1, 1 << 16)
    for pe in (first, second):
        bare.go(pe, grain)
        assert pe.counters.instructions == 3
    assert (first.x[0], first.x[1]) == (1 << 16, 0x1124)
    assert (second.x[0], second.x[1]) == (0, 0x1124)


def test_an_override_after_the_code_has_run_is_seen() -> None:
    """Translations without the hook go."""
    bare = Bare()
    bare.load("mrs x0, id_aa64pfr0_el1\n b .")
    pe = bare.pe()
    bare.go(pe)
    assert pe.x[0] == 0x2222
    pe.override(sysreg.ID_AA64PFR0_EL1, 0x77)
    pe.pc = CODE
    bare.go(pe)
    assert pe.x[0] == 0x77


@every_grain
def test_the_generic_counter_is_the_clock_given(grain: str) -> None:
    """No host time gets into a run."""
    bare = Bare()
    bare.load("mrs x0, cntvct_el0\n mrs x1, cntpct_el0\n mrs x2, cntfrq_el0\n b .")
    pe = bare.pe()
    bare.go(pe, grain)
    assert list(pe.x)[:3] == [1, 2, 62_500_000]


@every_grain
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("mrs x0, s3_1_c15_c2_1", "read of CPUECTLR_EL1 (S3_1_C15_C2_1), which cortex-a72 has"),
        ("msr s3_1_c11_c0_2, x0", "write to L2CTLR_EL1 (S3_1_C11_C0_2), which cortex-a72 has"),
        ("mrs x0, s3_1_c15_c2_3", "read of L2MERRSR_EL1 (S3_1_C15_C2_3), which cortex-a72 has"),
    ],
)
def test_a_register_that_the_core_has_and_the_engine_has_not_is_named(
    text: str, what: str, grain: str
) -> None:
    """Nothing is guessed: neither a value nor an exception."""
    bare = Bare()
    bare.load(f"nop\n {text}\n b .")
    pe = bare.pe()
    assert bare.go(pe, grain) == Unsupported(what, CODE + 4)


@every_grain
@pytest.mark.parametrize(
    "text",
    [
        "mrs x0, s3_0_c11_c12_3",  # nobody has it
        "msr s3_0_c11_c12_3, x0",
        "mrs x0, s3_0_c10_c5_0",  # MPAM1_EL1: a later feature
        "msr s3_0_c12_c12_5, x1",  # ICC_SRE_EL1: there is no GICv3
        "mrs x0, tpidr_el2",  # of a higher level
        "mrs x0, sctlr_el3",
        "msr s3_0_c0_c0_0, x0",  # MIDR_EL1, read-only
    ],
)
def test_a_register_that_the_core_lacks_is_undefined(text: str, grain: str) -> None:
    bare = Bare()
    bare.load(f"nop\n {text}\n b .")
    pe = bare.pe()
    assert bare.go(pe, grain) == Raised(1 << 25, None, 1, CODE + 4)
    assert (pe.pc, pe.counters.instructions) == (CODE + 4, 1)


# -- accesses ---------------------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize("text", ["ldr x0, [x20]", "str x0, [x20]", "ldrh w0, [x20]", "stp x0, x1, [x20]"])
def test_an_unaligned_access_with_the_mmu_off_takes_an_alignment_fault(text: str, grain: str) -> None:
    """Arm DDI 0487, B2.15.2: with the MMU off all data is Device-nGnRnE, where that faults."""
    bare = Bare()
    bare.load(f"nop\n {text}\n b .")
    pe = bare.pe()
    bare.put(DATA, 0x1111_1111_1111_1111, 0x2222_2222_2222_2222)
    pe.x[0], pe.x[1], pe.x[20] = 5, 6, DATA + 1
    stop = bare.go(pe, grain)
    syndrome = 0x9600_0021 | text.startswith("st") << 6  # EC 0x25, IL, WnR, DFSC of an alignment fault
    raised = Raised(syndrome, DATA + 1, 1, CODE + 4)
    assert stop == ConstraintViolation(UNALIGNED_MMU_OFF.name, CODE + 4, DATA + 1, raised)
    assert (pe.pc, pe.x[0], pe.x[1], pe.counters.instructions) == (CODE + 4, 5, 6, 1)
    assert bare.memory.read_bytes(DATA, 16) == b"\x11" * 8 + b"\x22" * 8, "nothing was stored"
    assert (bare.records, pe.counters.loads, pe.counters.stores) == ([], 0, 0)


@every_grain
def test_an_unaligned_access_with_the_mmu_on_is_fine(grain: str) -> None:
    """Normal memory, SCTLR_EL1.A clear."""
    bare = Bare()
    bare.load("ldr x0, [x20]\n str x0, [x20, #9]\n b .")
    pe = bare.pe()
    root = bare.new_root()
    bare.map(root, DATA, DATA, 0x20_0000)
    bare.mmu_on(pe, root)
    bare.put(DATA, 0x0807060504030201, 0x100F0E0D0C0B0A09)
    pe.x[20] = DATA + 1
    assert bare.go(pe, grain) == SelfBranch(CODE + 8)
    assert bare.records == [
        (Kind.LOAD, 8, CODE, DATA + 1, 0x0908070605040302),
        (Kind.STORE, 8, CODE + 4, DATA + 10, 0x0908070605040302),
    ]
    assert pe.counters.loads_mmu_off == 0


@every_grain
@pytest.mark.parametrize("text", ["ldar x0, [x20]", "stlr x0, [x20]", "ldarh w0, [x20]"])
def test_an_unaligned_acquire_or_release_faults_with_the_mmu_on_too(text: str, grain: str) -> None:
    """Arm DDI 0487, B2.5.2: without FEAT_LSE2 they are aligned to their size, else an alignment fault."""
    bare = Bare()
    bare.load(f"{text}\n b .")
    pe = bare.pe()
    root = bare.new_root()
    bare.map(root, DATA, DATA, 0x20_0000)
    bare.mmu_on(pe, root)
    pe.x[20] = DATA + 1
    stop = bare.go(pe, grain)
    assert isinstance(stop, ConstraintViolation), stop
    assert (stop.va, stop.pa) == (CODE, DATA + 1)


@every_grain
def test_each_size_is_recorded_with_its_value(grain: str) -> None:
    """Loads tell what was loaded, stores what is stored, both without sign extension."""
    bare = Bare()
    bare.load(
        """
        ldrsb x1, [x20]
        ldrsh x1, [x20]
        ldrsw x1, [x20]
        ldr x1, [x20]
        mov x2, #-2
        strb w2, [x20, #8]
        strh w2, [x20, #8]
        str w2, [x20, #8]
        str x2, [x20, #8]
        str xzr, [x20, #8]
        b .
        """
    )
    pe = bare.pe()
    pe.x[20] = DATA
    bare.put(DATA, 0xFFEE_DDCC_BBAA_99F8)
    bare.go(pe, grain)
    loads = [(size, pa, value) for kind, size, _, pa, value in bare.records if kind is Kind.LOAD]
    stores = [(size, pa, value) for kind, size, _, pa, value in bare.records if kind is Kind.STORE]
    assert loads == [(1, DATA, 0xF8), (2, DATA, 0x99F8), (4, DATA, 0xBBAA99F8), (8, DATA, 0xFFEEDDCCBBAA99F8)]
    assert stores == [
        (1, DATA + 8, 0xFE),
        (2, DATA + 8, 0xFFFE),
        (4, DATA + 8, 0xFFFF_FFFE),
        (8, DATA + 8, 2**64 - 2),
        (8, DATA + 8, 0),
    ]
    assert (pe.counters.loads, pe.counters.loads_mmu_off, pe.counters.stores) == (4, 4, 5)


@every_grain
def test_an_access_that_nobody_answers_is_no_operation(grain: str) -> None:
    """An external abort: neither recorded nor counted as a load or store."""
    bare = Bare()
    bare.load("nop\n ldr x0, [x20]\n b .")
    for text in ("ldr x0, [x20]", "str x0, [x20]", "stp x0, x1, [x20]"):
        bare.load(f"nop\n {text}\n b .")
        for address in (0x1000, BASE - 16, BASE + 0x100_0000, 0x7F_0000_0000):
            bare.engine.forget_code()
            bare.records.clear()
            pe = bare.pe()
            pe.x[20] = address
            stop = bare.go(pe, grain)
            assert isinstance(stop, Raised)
            assert (pe.counters.instructions, pe.counters.loads, pe.counters.stores) == (1, 0, 0)
            assert bare.records == []


@pytest.mark.parametrize(
    "text", ["prfm pldl1keep, [x20]", "prfm pldl1keep, [x20, x1]", "prfum pldl1keep, [x20, #-1]"]
)
def test_prefetch_is_no_access(text: str) -> None:
    """PRFM is a hint: nothing is read, no fault is taken."""
    bare = Bare()
    bare.load(f"{text}\n b .")
    pe = bare.pe()
    pe.x[20], pe.x[1] = 0x1001, 3
    assert bare.go(pe) == SelfBranch(CODE + 4)
    assert bare.records == []


@every_grain
def test_dc_zva_is_one_store_of_a_line(grain: str) -> None:
    """Arm DDI 0487, C5.3 DC ZVA: DCZID_EL0.BS words, 64 bytes, around the address given."""
    bare = Bare()
    bare.load("nop\n dc zva, x20\n mrs x0, dczid_el0\n b .")
    pe = bare.pe()
    root = bare.new_root()
    bare.map(root, DATA, DATA, 0x20_0000)
    bare.mmu_on(pe, root)
    bare.put(DATA, *[2**64 - 1] * 24)
    pe.x[20] = DATA + 64 + 17
    assert bare.go(pe, grain) == SelfBranch(CODE + 12)
    assert bare.memory.read_bytes(DATA, 192) == b"\xff" * 64 + bytes(64) + b"\xff" * 64
    assert bare.records == [(Kind.STORE, 64, CODE + 4, DATA + 64, 0)]
    assert (pe.counters.stores, pe.counters.instructions, pe.x[0]) == (1, 3, 4)


@every_grain
def test_dc_zva_with_the_mmu_off_takes_an_alignment_fault(grain: str) -> None:
    """Arm DDI 0487, D7.5.9: on Device memory it takes an alignment fault."""
    bare = Bare()
    bare.load("dc zva, x20\n b .")
    pe = bare.pe()
    pe.x[20] = DATA
    stop = bare.go(pe, grain)
    raised = Raised(0x9600_0061, DATA, 1, CODE)
    assert stop == ConstraintViolation(ZERO_DEVICE.name, CODE, DATA, raised)


@every_grain
@pytest.mark.parametrize(
    "text", ["fmov d0, x0", "ldr q0, [x20]", "str s0, [x20]", "mrs x0, fpsr", "msr fpcr, x0"]
)
@pytest.mark.parametrize("fpen", [0, 1, 2, 3])
def test_simd_traps_as_cpacr_says(text: str, fpen: int, grain: str) -> None:
    """Arm DDI 0487, CPACR_EL1.FPEN: 0b00 and 0b10 trap EL1, with EC 0x07; nothing is accessed then."""
    bare = Bare()
    bare.load(f"mov x0, #{fpen} << 20\n msr cpacr_el1, x0\n isb\n {text}\n b .")
    pe = bare.pe()
    pe.x[20] = DATA
    stop = bare.go(pe, grain)
    if fpen & 1:
        assert stop == SelfBranch(CODE + 16)
    else:
        assert stop == Raised(0x07 << 26 | 1 << 25 | 0x1E << 20, None, 1, CODE + 12)
        assert (pe.counters.instructions, pe.counters.loads, pe.counters.stores) == (3, 0, 0)


# -- reset ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("el", [1, 2])
def test_a_pe_comes_up_with_everything_off(el: int) -> None:
    """Arm DDI 0487, D1.9.1 and DEN0022 CPU_ON: MMU and caches off, DAIF masked, x0 the context ID."""
    bare = Bare()
    bare.load(f"mrs x1, daif\n mrs x2, spsel\n mrs x3, sctlr_el{el}\n mrs x4, currentel\n b .")
    pe = bare.pe(el=el, x0=0xC0FFEE)
    assert not pe.mmu_on
    assert [pe.x[number] for number in range(1, 31)] == [0xDEAD_0000_0000_0000 | n for n in range(1, 31)]
    assert (pe.x[0], pe.pc, pe.el, pe.sp, bare.outside.has_event(pe)) == (0xC0FFEE, CODE, el, 0, False)
    bare.go(pe)
    assert (pe.x[1], pe.x[2], pe.x[4]) == (0x3C0, 1, el << 2)
    assert pe.x[3] & 0x1005 == 0  # M, C, I


def test_reset_forgets_what_the_pe_was() -> None:
    """System registers, stack, monitor, breakpoint: all as after power-on."""
    bare = Bare()
    bare.load("msr tpidr_el1, x0\n msr vbar_el1, x0\n mov sp, x0\n ldxr x1, [x20]\n fmov d1, d0\n b .")
    pe = bare.pe(x0=0x800)
    pe.x[20] = DATA
    bare.go(pe)
    assert pe.sysreg(sysreg.TPIDR_EL1) == 0x800
    assert bare.outside.system.monitors
    bare.engine.reset(pe, 1, CODE, 0)
    assert (pe.sysreg(sysreg.TPIDR_EL1), pe.sysreg(sysreg.VBAR_EL1), pe.sp) == (0, 0, 0)
    assert not bare.outside.system.monitors
    writer = bare.pe()
    bare.outside.stored(writer, DATA, 8)
    assert not bare.outside.has_event(pe)


def test_512_pes_run_the_same_code() -> None:
    """Each with its own registers, none disturbed by another."""
    bare = Bare()
    bare.load(
        "l: ldr x1, [x20]\n add x1, x1, #1\n str x1, [x20]\n add x0, x0, #1\n cmp x0, #3\n b.ne l\n b ."
    )
    pes = [bare.pe() for _ in range(512)]
    for pe in pes:
        pe.x[20] = DATA + 8 * pe.index
    active = list(pes)
    while active:
        active = [pe for pe in active if bare.engine.run_operation(pe) is STEP_LIMIT]
    assert [bare.memory.read(DATA + 8 * pe.index, 8) for pe in pes] == [3] * 512
    assert {pe.counters.instructions for pe in pes} == {18}


def test_the_state_of_a_pe_is_the_same_for_the_same_registers() -> None:
    """QEMU keeps flags as the results that they are made of, and the exception that it raised last."""
    states = set()
    for x0 in (5, 0x9000_0005):
        bare = Bare()
        bare.load("cmp x0, #1\n mov x0, #0\n mrs x1, nzcv\n b .")
        pe = bare.pe()
        pe.x[0] = x0
        bare.go(pe)
        assert pe.x[1] == 1 << 29  # C alone
        states.add(pe.state())
    assert len(states) == 1


def test_a_state_that_is_put_back_has_its_flags() -> None:
    bare = Bare()
    bare.load("subs x2, x0, #6\n mrs x1, nzcv\n b .")
    for x0 in (5, 6, 7, 1 << 63):
        pe = bare.pe()
        pe.x[0] = x0
        bare.go(pe)
        flags = pe.x[1]
        bare.load("mrs x3, nzcv\n b .", CODE + 0x100)
        pe.set_state(pe.state())
        pe.pc = CODE + 0x100
        bare.go(pe)
        assert pe.x[3] == flags
