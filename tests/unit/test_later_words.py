"""Words of later architectures that the engine runs wrongly, or tells of wrongly."""

from __future__ import annotations

import pytest
from bare_pe import BASE, CODE, DATA, SIZE

from emu.arch import sysreg
from emu.arch.descriptors import AF, SH_INNER
from emu.constraints import UNALIGNED_EXCLUSIVE, UNALIGNED_ORDERED
from emu.cpu.cores import CORES
from emu.cpu.engine import Engine
from emu.cpu.factory import make_engine
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, ConstraintViolation, EngineStop, Raised, SelfBranch, Unsupported
from emu.cpu.sysregs import access
from emu.cpu.sysregs.rows import TABLE
from emu.cpu.traps import wfe_trap_el
from emu.cpu.unicorn.observed_words import ObservedWords
from emu.memory import Memory

B_SELF, NOP = 0x1400_0000, 0xD503_201F
BR_X9, BLR_X9 = 0xD61F_0120, 0xD63F_0120
MRS_MIDR, FMOV = 0xD538_0000, 0x9E67_0020
RW, E2H, TGE, API = 1 << 31, 1 << 34, 1 << 27, 3 << 40
TABLES = BASE + 0x80_0000
BTYPE = 3 << 10


def made(core: str, *words: int, el: int = 1) -> tuple[Engine, Memory, PE]:
    """A PE of this core about to execute these words; x2: DATA."""
    memory = Memory(BASE, SIZE)
    engine = make_engine(memory, LocalInterconnect(), [CORES[core]])
    pe = engine.new_pe(0, 0x8000_0000, CORES[core].midr, el)
    memory.write_bytes(CODE, b"".join(word.to_bytes(4, "little") for word in (*words, B_SELF)))
    engine.observe(record=True, accesses=True)
    engine.reset(pe, el, CODE, 0)
    pe.set_system_register(sysreg.CPACR_EL1, 3 << 20)
    pe.x[2] = DATA
    return engine, memory, pe


def mapped(memory: Memory, pe: PE, *, guarded: bool = False) -> None:
    """Switch translation on at EL1, of all memory to itself."""
    attributes = AF | SH_INNER | guarded << 50
    memory.write(TABLES, 8, TABLES + 0x1000 | 3)
    memory.write(TABLES + 0x1008, 8, BASE | attributes | 1)
    pe.set_system_register(sysreg.TTBR0_EL1, TABLES)
    pe.set_system_register(sysreg.MAIR_EL1, 0xFF)
    pe.set_system_register(sysreg.TCR_EL1, 16 | 16 << 16 | 2 << 30 | 5 << 32)
    pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) | 5)


# -- atomics --------------------------------------------------------------------------------------

SMAX, SMIN, UMAX, UMIN = 4, 5, 6, 7


@pytest.mark.parametrize("core", ["neoverse-n1", "max"])
@pytest.mark.parametrize("size", [0, 1, 2, 3])  # log2 of the bytes
@pytest.mark.parametrize(
    ("opc", "old", "value", "new"),
    [
        (SMAX, -2, 0, 0),
        (SMAX, 3, -1, 3),
        (SMIN, -2, 0, -2),
        (SMIN, 3, -1, -1),
        (UMAX, -2, 0, -2),
        (UMAX, 3, 1, 3),
        (UMIN, -2, 0, 0),
        (UMIN, 3, -1, 3),
    ],
)
@pytest.mark.parametrize("above", [0, 0x5A5A_5A5A_5A5A_5A5A])
def test_extremes_compare_as_many_bits_as_they_access(
    core: str, size: int, opc: int, old: int, value: int, new: int, above: int
) -> None:
    bits = 8 << size
    mask = (1 << bits) - 1
    word = size << 30 | 0x3820_0000 | 3 << 16 | opc << 12 | 2 << 5 | 4  # x3, x4, [x2]
    engine, memory, pe = made(core, word)
    memory.write(DATA, 8, 0x1111_1111_1111_1111)
    memory.write(DATA, 1 << size, old & mask)
    pe.x[3] = above & ~mask | value & mask
    assert engine.step(pe) is STEP_LIMIT
    assert memory.read(DATA, 8) == 0x1111_1111_1111_1111 & ~mask | new & mask
    assert pe.x[4] == old & mask
    assert (pe.pc, pe.counters.loads, pe.counters.stores, pe.counters.instructions) == (CODE + 4, 1, 1, 1)


def test_an_extreme_that_cannot_be_accessed_faults_as_any_atomic() -> None:
    word = 0x7820_0000 | 3 << 16 | SMAX << 12 | 2 << 5 | 4
    for address, status in ((DATA + 1, 0x21), (1 << 32, 0x10)):
        engine, _, pe = made("max", word)
        pe.x[2] = address
        stop = engine.step(pe)
        if status == 0x21:
            assert isinstance(stop, ConstraintViolation), stop
            assert stop.constraint == UNALIGNED_EXCLUSIVE.name
            stop = stop.raised
        assert isinstance(stop, Raised), stop
        assert (stop.syndrome & 0x3F, stop.far) == (status, address)


@pytest.mark.parametrize("word", [0xF8BF_C044, 0xD940_0044, 0xD900_0044])  # LDAPR, LDAPUR, STLUR: x4, [x2]
def test_what_acquires_or_releases_is_aligned(word: int) -> None:
    engine, memory, pe = made("max", word)
    mapped(memory, pe)
    pe.x[2] = DATA + 4
    stop = engine.step(pe)
    assert isinstance(stop, ConstraintViolation), stop
    assert stop.constraint == UNALIGNED_ORDERED.name


# -- pointer authentication -----------------------------------------------------------------------

PACIA, PACIZB, PACIASP, LDRAA = 0xDAC1_0041, 0xDAC1_27E1, 0xD503_233F, 0xF820_0444
ENABLED = 1 << 31 | 1 << 30 | 1 << 27 | 1 << 13


@pytest.mark.parametrize(("word", "register"), [(PACIA, 1), (PACIZB, 1), (PACIASP, 30)])
def test_signing_what_is_no_canonical_address_is_not_modelled(word: int, register: int) -> None:
    for address, enabled in (
        (DATA, True),
        (2**64 - DATA, True),
        (1 << 50 | DATA, False),
        (1 << 50 | DATA, True),
    ):
        engine, memory, pe = made("max", word)
        mapped(memory, pe)
        pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) | ENABLED * enabled)
        pe.x[register] = address
        stop = engine.step(pe)
        assert isinstance(stop, Unsupported) is (enabled and bool(address >> 50 & 1) and not address >> 63), (
            stop
        )


def test_an_authenticated_load_is_not_modelled_but_where_it_loads_what_it_says() -> None:
    for enabled in (False, True):
        engine, memory, pe = made("max", LDRAA)
        mapped(memory, pe)
        pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) | ENABLED * enabled)
        assert isinstance(engine.step(pe), Unsupported) is enabled


@pytest.mark.parametrize("word", [PACIA, LDRAA, PACIASP])
def test_without_api_an_instruction_of_pointer_authentication_traps_to_el2(word: int) -> None:
    engine, _, pe = made("max", word)
    pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) | ENABLED)
    pe.set_system_register(sysreg.HCR_EL2, RW)
    assert engine.step(pe) == Raised(0x09 << 26 | 1 << 25, None, 2, CODE)


@pytest.mark.parametrize("core", ["cortex-a72", "neoverse-n1"])
def test_hints_of_pointer_authentication_are_nops_without_it(core: str) -> None:
    engine, _, pe = made(core, PACIASP)
    pe.x[30] = 1 << 50
    assert engine.step(pe) is STEP_LIMIT
    assert pe.x[30] == 1 << 50


@pytest.mark.parametrize(("core", "stops"), [("neoverse-n1", 0), ("max", 3)])
def test_the_host_looks_at_a_hint_only_where_it_may_be_more(
    core: str, stops: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel begins each function with PACIASP: where that is a NOP, it costs what a NOP does."""
    engine, _, pe = made(core, PACIASP, PACIASP, PACIASP)
    seen: list[int] = []
    observe = ObservedWords.observe

    def observed(words: ObservedWords, va: int, word: int) -> bool:
        if word == PACIASP:
            seen.append(va)
        return observe(words, va, word)

    monkeypatch.setattr(ObservedWords, "observe", observed)
    assert engine.run(pe, 3) is STEP_LIMIT
    assert pe.pc == CODE + 12
    assert len(seen) == stops


# -- branch targets -------------------------------------------------------------------------------


def branched(word: int, *, guarded: bool, branch: int = BR_X9) -> tuple[PE, EngineStop]:
    """A PE that has executed an indirect branch to the word behind it, and what the word stops with."""
    engine, memory, pe = made("max", branch, word)
    mapped(memory, pe, guarded=guarded)
    pe.x[9] = CODE + 4
    assert engine.step(pe) is STEP_LIMIT
    return pe, engine.step(pe)


@pytest.mark.parametrize("word", [NOP, MRS_MIDR, FMOV])
def test_a_branch_into_a_guarded_page_lands_on_what_allows_it(word: int) -> None:
    """Also on a word that the host does in the engine's place."""
    pe, stop = branched(word, guarded=True)
    assert stop == Raised(0x0D << 26 | 1 << 25 | 3, None, 1, CODE + 4)
    pe.take(stop)
    assert pe.system_register(sysreg.SPSR_EL1) & BTYPE == 3 << 10


@pytest.mark.parametrize("word", [NOP, MRS_MIDR, FMOV, 0xD503_203F])
def test_what_is_executed_clears_btype(word: int) -> None:
    pe, stop = branched(word, guarded=False)
    assert stop is STEP_LIMIT
    assert not pe.pstate & BTYPE


def test_an_exception_behind_an_indirect_branch_keeps_btype_in_spsr_alone() -> None:
    pe, stop = branched(0, guarded=False, branch=BLR_X9)
    assert isinstance(stop, Raised)
    pe.take(stop)
    assert pe.system_register(sysreg.SPSR_EL1) & BTYPE == 2 << 10
    assert not pe.pstate & BTYPE


# -- EL0 under EL2 --------------------------------------------------------------------------------


def at_el0(core: str, hcr: int, *words: int) -> tuple[Engine, PE]:
    """A PE at EL0 under EL2."""
    engine, _, pe = made(core, *words, el=2)
    pe.set_system_register(sysreg.HCR_EL2, hcr)
    pe.set_system_register(sysreg.SPSR_EL2, 0x3C0)
    pe.set_system_register((3, 4, 4, 0, 1), CODE + 4)
    assert engine.step(pe) is STEP_LIMIT
    assert pe.el == 0
    return engine, pe


ERET, MRS_CTR = 0xD69F_03E0, 0xD53B_0021


@pytest.mark.parametrize(
    ("hcr", "register"), [(RW | TGE, sysreg.SCTLR_EL1), (RW | TGE | E2H, sysreg.SCTLR_EL2)]
)
def test_el0_is_controlled_by_the_sctlr_of_its_regime(hcr: int, register: sysreg.Encoding) -> None:
    for uct in (0, 1 << 15):
        engine, pe = at_el0("neoverse-n1", hcr, ERET, MRS_CTR)
        other = {sysreg.SCTLR_EL1, sysreg.SCTLR_EL2} - {register}
        for each, value in ((register, uct), (other.pop(), uct ^ 1 << 15)):
            pe.set_system_register(each, pe.sysreg(each) & ~(1 << 15) | value)
        stop = engine.step(pe)
        assert stop is STEP_LIMIT if uct else isinstance(stop, Raised) and stop.target_el == 2


def test_sctlr_el1_m_counts_as_0_under_tge() -> None:
    for hcr, on in ((RW, True), (RW | TGE, False)):
        _, pe = at_el0("cortex-a72", hcr, ERET)
        pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) | 1)
        assert pe.mmu_on is on


def test_cnthctl_el2_has_another_layout_with_e2h() -> None:
    row = TABLE[sysreg.CNTPCT_EL0]
    for hcr, cnthctl, traps in ((RW, 1, 0), (RW, 0, 2), (RW | E2H, 1, 2), (RW | E2H, 1 << 10, 0)):
        _, _, pe = made("neoverse-n1", NOP)
        pe.set_system_register(sysreg.HCR_EL2, hcr)
        pe.set_system_register(sysreg.CNTHCTL_EL2, cnthctl)
        assert access.trap_el(row, pe, is_write=False) == traps


def test_wfe_of_el0_under_el2_traps_by_sctlr_el2() -> None:
    for ntwe in (0, 1 << 18):
        _, pe = at_el0("neoverse-n1", RW | TGE | E2H, ERET)
        pe.set_system_register(sysreg.SCTLR_EL2, pe.sysreg(sysreg.SCTLR_EL2) & ~(1 << 18) | ntwe)
        assert wfe_trap_el(pe) == (0 if ntwe else 2)


def test_the_other_way_round_nothing_is_changed() -> None:
    engine, _, pe = made("cortex-a72", NOP)
    assert engine.run(pe, 5) == SelfBranch(CODE + 4)


# -- PSTATE.PAN -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("core", "hcr", "el", "span", "pan"),
    [
        ("neoverse-n1", RW, 1, 0, True),
        ("neoverse-n1", RW, 1, 1, False),
        ("cortex-a72", RW, 1, 0, False),
        ("neoverse-n1", RW | TGE | E2H, 2, 0, True),
        ("neoverse-n1", RW | TGE | E2H, 2, 1, False),
        ("neoverse-n1", RW | E2H, 2, 0, False),
        ("neoverse-n1", RW | TGE, 2, 0, False),
    ],
)
def test_an_exception_sets_pan_where_span_is_clear(
    core: str, hcr: int, el: int, span: int, pan: bool
) -> None:
    _, _, pe = made(core, NOP, el=el)
    pe.set_system_register(sysreg.HCR_EL2, hcr)
    for sctlr in (sysreg.SCTLR_EL1, sysreg.SCTLR_EL2):
        pe.set_system_register(sctlr, pe.sysreg(sctlr) & ~(1 << 23) | span << 23)
    pe.take(Raised(1 << 25, None, el, CODE))
    assert bool(pe.pstate >> 22 & 1) is pan


# -- 16 bytes at once -----------------------------------------------------------------------------

LDR_Q, STR_Q, LDP_Q, LDR_X = 0x3DC0_0040, 0x3D80_0040, 0xAD40_0440, 0xF940_0044  # [x2]


@pytest.mark.parametrize("word", [LDR_Q, STR_Q, LDP_Q])
def test_an_access_of_16_bytes_is_checked_as_a_whole(word: int) -> None:
    for address, checked, faults in ((DATA, 2, False), (DATA + 8, 2, True), (DATA + 8, 0, False)):
        engine, memory, pe = made("cortex-a72", word)
        mapped(memory, pe)
        pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) | checked)
        pe.x[2] = address
        stop = engine.step(pe)
        assert isinstance(stop, ConstraintViolation) is faults, stop
        if isinstance(stop, ConstraintViolation):
            assert stop.raised == Raised(0x9600_0021 | (word == STR_Q) << 6, address, 1, CODE)


def test_with_the_mmu_off_16_bytes_are_aligned() -> None:
    for word, faults in ((LDR_Q, True), (LDR_X, False)):
        engine, _, pe = made("cortex-a72", word)
        pe.x[2] = DATA + 8
        assert isinstance(engine.step(pe), ConstraintViolation) is faults


# -- waits with a time-out ------------------------------------------------------------------------


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("word", [0xD503_1002, 0xD503_1022], ids=["WFET", "WFIT"])
@pytest.mark.parametrize("freely", [False, True])
def test_wfet_and_wfit_are_undefined(core: str, word: int, freely: bool) -> None:
    """No core here has FEAT_WFxT: Arm DDI 0487, C6.2, and ID_AA64ISAR2_EL1.WFxT (bits 3:0) is 0."""
    mrs_isar2 = 0xD538_0640
    engine, _, pe = made(core, mrs_isar2, word)
    if freely:
        engine.free.begin()
    stop = engine.run(pe, 10)
    while stop is STEP_LIMIT:
        stop = engine.run(pe, 10)
    assert isinstance(stop, Raised)
    assert (stop.syndrome >> 26, stop.preferred_return) == (0, CODE + 4)
    assert pe.x[0] & 15 == 0
