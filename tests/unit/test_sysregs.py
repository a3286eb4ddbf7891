"""The table of system registers: each row against what the engine does, and what handlers do."""

from __future__ import annotations

from collections import Counter

import pytest
from bare_pe import CODE, VECTORS, Bare

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, EngineStop, Raised, SelfBranch
from emu.cpu.sysregs import access
from emu.cpu.sysregs.row import Row
from emu.cpu.sysregs.rows import BY_NAME, TABLE
from emu.cpu.unicorn import layout

UNKNOWN: Encoding = (3, 0, 15, 2, 0)  # IMPLEMENTATION DEFINED: the engine has no such register
ROWS = [row for row in TABLE.values() if not row.feature]


def word(encoding: Encoding, *, is_write: bool, register: int = 0) -> int:
    op0, op1, crn, crm, op2 = encoding
    fields = op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | register
    return (0xD500_0000 if is_write else 0xD520_0000) | fields


def at(el: int, text: int) -> tuple[Bare, PE]:
    """A PE at EL0, EL1 or EL2 about to execute a word."""
    bare = Bare()
    pe = bare.pe(el=max(el, 1))
    if el == 0:
        bare.load("adr x5, user\n msr elr_el1, x5\n msr spsr_el1, xzr\n eret\nuser: nop\n nop\n b .")
        for _ in range(4):
            assert bare.engine.step(pe) is STEP_LIMIT
        pe.set_system_register(sysreg.CNTKCTL_EL1, 0x303)
        pe.set_system_register(sysreg.PMUSERENR_EL0, 1)
        pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) | 1 << 15)
    at_pa = pe.pc
    bare.words(text, 0x1400_0000, at=at_pa)
    bare.engine.forget_code()
    pe.x[0] = pe.system_register(sysreg.SCTLR_EL1)
    return bare, pe


def is_undefined(stop: EngineStop) -> bool:
    return isinstance(stop, Raised) and stop.syndrome >> 26 in (0, 0x18)


@pytest.mark.parametrize("el", [0, 1, 2])
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_levels_that_may_read(row: Row, el: int) -> None:
    """Below its level an MRS is UNDEFINED, or trapped to EL1 from EL0."""
    bare, pe = at(el, word(row.encoding, is_write=False))
    assert is_undefined(bare.engine.step(pe)) is (el < row.read_el)


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_levels_that_may_write(row: Row, el: int) -> None:
    """A read-only register cannot be written at any level."""
    bare, pe = at(el, word(row.encoding, is_write=True))
    pe.x[0] = row.reset or 0
    assert is_undefined(bare.engine.step(pe)) is (row.write_el is None or el < row.write_el)


@pytest.mark.parametrize("is_write", [False, True])
def test_traps_of_accesses(is_write: bool) -> None:
    """With its bit as the row says, the access of the level below is trapped with EC 0x18; else it is not."""
    seen: Counter[str] = Counter()
    for row in ROWS:
        for trap in row.traps:
            if not (trap.writes if is_write else trap.reads) or (is_write and row.write_el is None):
                continue
            el = trap.below - 1
            for wanted in (False, True):
                bare, pe = at(el, word(row.encoding, is_write=is_write))
                pe.x[0] = row.reset or 0
                control = pe.system_register(trap.control) & ~(1 << trap.bit)
                bit = trap.when if wanted else 1 - trap.when
                pe.set_system_register(trap.control, control | bit << trap.bit)
                assert access.traps(row, pe, row.encoding, is_write=is_write) is wanted, row.name
                stop = bare.engine.step(pe)
                trapped = isinstance(stop, Raised) and stop.syndrome >> 26 == 0x18
                assert trapped is wanted, f"{row.name}: {stop}"
                assert not trapped or getattr(stop, "target_el", 0) == trap.below
                seen[f"{sysreg.name(trap.control)}.{trap.bit}"] += 1
    of_both = {"CPTR_EL2.31", "HCR_EL2.17", "PMUSERENR_EL0.0", "MDSCR_EL1.12"}
    of_both |= {f"MDCR_EL2.{bit}" for bit in (6, 8, 9, 10)}
    of_both |= {"HCR_EL2.21", "CNTHCTL_EL2.1", "CNTKCTL_EL1.8", "CNTKCTL_EL1.9"}
    of_writes = of_both | {"HCR_EL2.26"}
    of_reads = of_both | {
        "HCR_EL2.16",
        "HCR_EL2.18",
        "HCR_EL2.30",
        "CNTHCTL_EL2.0",
        "CNTKCTL_EL1.0",
        "CNTKCTL_EL1.1",
    }
    assert set(seen) == (of_writes if is_write else of_reads | {"SCTLR_EL1.15"})


def test_reset_values_are_what_code_reads() -> None:
    """At the level that a PE enters; HCR_EL2.RW is set for one that enters EL1."""
    for row in ROWS:
        for el in (1, 2):
            bare = Bare()
            pe = bare.pe(el=el)
            if row.reset is None or row.encoding in (sysreg.VMPIDR_EL2, sysreg.VPIDR_EL2):
                continue
            rw = 1 << 31 if el == 1 and row.encoding == sysreg.HCR_EL2 else 0
            res1 = 0x30 if row.encoding == sysreg.SCR_EL3 else 0
            assert pe.system_register(row.encoding) == row.reset | rw | res1, row.name
            if row.at_hand:
                assert pe.sysreg(row.encoding) == pe.system_register(row.encoding), row.name


# What a PE starts with, of the registers that the table has no reset value for: not one is left to chance.
_STARTS = {
    "SPSR_EL1": access.UNSET_SPSR,
    "SPSR_EL2": access.UNSET_SPSR,
    "ELR_EL1": access.UNSET_ELR,
    "ELR_EL2": access.UNSET_ELR,
    "SCTLR_EL3": 0xC5_0838,
    "SPSEL": 1,
    "DAIF": 0x3C0,
    "PMCR_EL0": 0x4102_3000,
    "MDCR_EL2": 6,
}
_STARTS_AT = {
    1: {"CNTHCTL_EL2": 3},
    2: {"VTTBR_EL2": 0x5AD0_0000_0000, "CNTVOFF_EL2": 0x5AD0_0000_0000, "HSTR_EL2": 0x5AD0},
}


@pytest.mark.parametrize("el", [1, 2])
def test_registers_without_a_reset_value_start_with_zero_but_for_those_listed(el: int) -> None:
    """Those whose reset is UNKNOWN have the same value on every host and in every process."""
    pe = Bare().pe(el=el)
    found = {
        row.name: pe.system_register(row.encoding)
        for row in ROWS
        if row.reset is None
        and row.value is None
        and row.write_el is not None
        and "TVAL" not in row.name
        and row.read_el <= 3
    }
    assert {name: value for name, value in found.items() if value} == _STARTS | _STARTS_AT[el]


@pytest.mark.parametrize("name", ["TTBR0_EL2", "TTBR1_EL2", "TCR_EL2", "MAIR_EL2"])
def test_tables_of_el2_start_as_those_of_el1(name: str) -> None:
    """Zero: TCR_EL2.TBI too, or an address with a tag would not be told while the MMU is off."""
    assert BY_NAME[name].reset == BY_NAME[name.replace("EL2", "EL1")].reset == 0


@pytest.mark.parametrize("el", [1, 2])
def test_an_address_with_a_tag_is_no_address_until_tcr_says_so(el: int) -> None:
    """Arm DDI 0487, D8.8: with stage 1 off too, tags are ignored by TCR_ELx.TBI alone."""
    for tbi in (0, 1):
        bare = Bare()
        pe = bare.pe(el=el)
        bare.load("ldr x1, [x0]\n b .")
        pe.x[0] = 0x55 << 56 | CODE
        if tbi:
            tcr = sysreg.TCR_EL2 if el == 2 else sysreg.TCR_EL1
            pe.set_system_register(tcr, 1 << 20 if el == 2 else 1 << 37)
        stop = bare.engine.step(pe)
        if tbi:
            assert stop is STEP_LIMIT
        else:
            assert isinstance(stop, Raised)
            assert (stop.syndrome >> 26, stop.syndrome & 0x3F) == (0x25, 0), "address size fault, level 0"


def test_registers_at_hand_are_those_whose_place_is_known() -> None:
    assert {row.encoding for row in TABLE.values() if row.at_hand} == set(layout.IN_CONTEXT)


def test_names_and_encodings_agree_with_the_architecture_module() -> None:
    for encoding, name in sysreg.NAMES.items():
        assert TABLE[encoding].name == name
    assert len(BY_NAME) == len(TABLE)


def test_the_debugger_reads_what_the_code_reads() -> None:
    """An MRS at EL2, from which all rows but those of EL3 can be read."""
    for row in ROWS:
        if row.read_el > 2 or row.name.startswith(("CNT", "PMCCNTR")):
            continue
        bare, pe = at(2, word(row.encoding, is_write=False, register=7))
        pe.override(sysreg.ID_AA64MMFR0_EL1, 0x77)
        expected = access.value(pe, row)
        assert bare.engine.step(pe) is STEP_LIMIT
        assert pe.x[7] == expected, row.name


def test_handlers_stand_in_for_registers_that_the_engine_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reads and writes at both grains; without the row the same code is UNDEFINED."""
    written: list[tuple[int, int]] = []
    row = Row(
        "TEST_EL1",
        UNKNOWN,
        read=lambda pe, interconnect: 0x1234 + pe.index,
        write=lambda pe, interconnect, value: written.append((pe.index, value)),
    )
    code = (word(UNKNOWN, is_write=False, register=3), word(UNKNOWN, is_write=True, register=4), 0x1400_0000)
    for known in (False, True):
        for grain in ("run", "step", "operation"):
            bare = Bare()
            bare.words(*code)
            pe = bare.pe()
            pe.x[4] = 77
            if known:
                monkeypatch.setitem(TABLE, UNKNOWN, row)
            stop = bare.go(pe, grain)
            if not known:
                assert stop == Raised(1 << 25, None, 1, CODE)
                continue
            assert (stop, pe.x[3], written) == (SelfBranch(CODE + 8), 0x1234, [(0, 77)])
            assert pe.counters.instructions == 2
            written.clear()


def test_a_write_with_xzr_gives_a_write_handler_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    monkeypatch.setitem(
        TABLE, UNKNOWN, Row("TEST_EL1", UNKNOWN, write=lambda pe, interconnect, value: written.append(value))
    )
    bare = Bare()
    bare.words(word(UNKNOWN, is_write=True, register=31), 0x1400_0000)
    pe = bare.pe()
    pe.x[31] = VECTORS
    assert bare.go(pe) == SelfBranch(CODE + 4)
    assert written == [0]


# -- performance monitors -------------------------------------------------------------------------

PMCNTENSET, PMCNTENCLR, PMSELR, PMXEVCNTR = (
    (3, 3, 9, 12, 1),
    (3, 3, 9, 12, 2),
    (3, 3, 9, 12, 5),
    (3, 3, 9, 13, 2),
)


def _wrote_and_read(el: int, *, write: Encoding, value: int, read: Encoding) -> int:
    bare, pe = at(el, word(write, is_write=True))
    bare.words(word(read, is_write=False, register=1), at=pe.pc + 4)
    bare.engine.forget_code()
    pe.x[0] = value
    assert bare.engine.run(pe, 2) is STEP_LIMIT
    return pe.x[1]


@pytest.mark.parametrize("el", [0, 1, 2])
@pytest.mark.parametrize("number", [1, 14])
def test_masks_of_counters_keep_no_counter_that_there_is_not(el: int, number: int) -> None:
    set_ = (3, 3, 9, 12, 1) if number == 1 else (3, 3, 9, 14, 3)  # PMCNTENSET_EL0, PMOVSSET_EL0
    assert _wrote_and_read(el, write=set_, value=2**64 - 1, read=set_) == 0x8000_003F


def test_what_clears_a_mask_reads_as_the_mask() -> None:
    assert _wrote_and_read(1, write=PMCNTENSET, value=0xFFFF_0000_0000_0013, read=PMCNTENCLR) == 0x13


def test_an_event_counter_has_32_bits() -> None:
    assert _wrote_and_read(1, write=PMXEVCNTR, value=0xABCD_1234_5678_9ABC, read=PMXEVCNTR) == 0x5678_9ABC


@pytest.mark.parametrize(("el", "counters"), [(1, 3), (2, 6)])
def test_below_el2_there_are_the_counters_that_el2_leaves(el: int, counters: int) -> None:
    bare, pe = at(el, word(sysreg.PMCR_EL0, is_write=False, register=3))
    assert pe.system_register(sysreg.MDCR_EL2) & 0x1F == 6
    pe.set_system_register(sysreg.MDCR_EL2, 3)
    assert bare.engine.step(pe) is STEP_LIMIT
    assert pe.x[3] == 0x4102_0000 | counters << 11


# -- what is overridden traps all the same --------------------------------------------------------


def test_ctr_el0_that_is_overridden_traps_from_el0() -> None:
    bare, pe = at(0, word(sysreg.CTR_EL0, is_write=False, register=3))
    pe.override(sysreg.CTR_EL0, 0x8444_8004)
    pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) & ~(1 << 15))
    stop = bare.engine.step(pe)
    assert isinstance(stop, Raised)
    assert (stop.syndrome >> 26, stop.target_el) == (0x18, 1)


@pytest.mark.parametrize(("cache", "expected"), [(0, 0x111), (1, 0x201F_E012), (3, 0x333)])
def test_ccsidr_reads_by_csselr_as_the_pe_has_it(cache: int, expected: int) -> None:
    """What is overridden of one cache leaves the others, and other PEs, as their core has them."""
    bare, pe = at(1, word(sysreg.CCSIDR_EL1, is_write=False, register=3))
    other = bare.pe(pe.pc)
    pe.override(sysreg.ccsidr(0), 0x111)
    pe.override(sysreg.ccsidr(3), 0x333)
    for each in (pe, other):
        each.set_system_register(sysreg.CSSELR_EL1, cache)
        assert bare.engine.step(each) is STEP_LIMIT
        assert each.x[3] == access.value(each, TABLE[sysreg.CCSIDR_EL1])
    assert pe.x[3] == expected
    assert other.x[3] == (0 if cache == 3 else {0: 0x701F_E00A, 1: 0x201F_E012}[cache])


@pytest.mark.parametrize("el", [1, 2])
def test_without_a_timer_tval_goes_by_the_simulated_counter_not_by_the_hosts_time(el: int) -> None:
    """CVAL less the counter, which ticks with each MRS and not with a look."""
    for crm in (2, 3):
        tval, cval = (3, 3, 14, crm, 0), (3, 3, 14, crm, 2)
        bare, pe = at(el, word(tval, is_write=False, register=7))
        pe.set_system_register(sysreg.CNTHCTL_EL2, 3)
        pe.set_system_register(sysreg.CNTVOFF_EL2, 0)
        pe.set_system_register(cval, 0x1000)
        bare.clock = 0x100
        assert bare.engine.step(pe) is STEP_LIMIT
        assert pe.x[7] == 0x1000 - 0x101
        assert access.look(pe, TABLE[tval], bare.outside) == 0x1000, "the counter of the test stands at 0"
        assert bare.clock == 0x101
