"""Registers of self-hosted debug and of counters that the engine does not know: what they hold, for whom."""

from __future__ import annotations

import pytest
from bare_pe import CODE, Bare
from test_sysregs import at, word

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.cores import CORES, Core
from emu.cpu.factory import make_engine
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, Raised

MDSCR, OSLAR = sysreg.MDSCR_EL1, (2, 0, 1, 0, 4)
MDCCSR, DBGDTR, DBGDTRTX = (2, 3, 0, 1, 0), (2, 3, 0, 4, 0), (2, 3, 0, 5, 0)
DBGDTRRX = DBGDTRTX  # by a read
CLAIM_SET, CLAIM_CLEAR = (2, 0, 7, 8, 6), (2, 0, 7, 9, 6)
PMSELR, PMXEVCNTR, PMXEVTYPER = sysreg.PMSELR_EL0, (3, 3, 9, 13, 2), (3, 3, 9, 13, 1)
RXFULL, TXFULL = 1 << 30, 1 << 29
ALL = 2**64 - 1

Access = tuple[Encoding, int | None]  # None: an MRS


def accesses(*which: Access, el: int = 1) -> list[int]:
    """Return what each MRS of a program of accesses reads."""
    bare, pe = at(el, 0xD503_201F)
    return _accesses(bare, pe, which)


def _accesses(bare: Bare, pe: PE, which: tuple[Access, ...]) -> list[int]:
    read = []
    for encoding, value in which:
        bare.words(word(encoding, is_write=value is not None, register=3), at=pe.pc)
        bare.engine.forget_code()
        pe.x[3] = 0x5A5A if value is None else value
        stop = bare.engine.step(pe)
        assert stop is STEP_LIMIT, (sysreg.name(encoding), stop)
        if value is None:
            read.append(pe.x[3])
    return read


@pytest.mark.parametrize("el", [0, 1, 2])
def test_what_is_sent_stays_since_nobody_takes_it(el: int) -> None:
    """MDCCSR_EL0.TXfull, which the kernel's DCC console waits for."""
    assert accesses((MDCCSR, None), (DBGDTRTX, ALL), (MDCCSR, None), (MDCCSR, None), el=el) == [
        0,
        TXFULL,
        TXFULL,
    ]
    assert accesses((DBGDTRTX, ALL), (sysreg.OSDTRTX_EL1, None), (MDSCR, None)) == [2**32 - 1, TXFULL]


def test_words_of_the_channel_of_64_bits_change_places() -> None:
    """The high word of a write goes where reads take the low one from."""
    written = (DBGDTR, 0x1111_2222_3333_4444)
    assert accesses(written, (DBGDTR, None)) == [0x3333_4444_1111_2222]
    assert accesses(written, (DBGDTRRX, None), (sysreg.OSDTRTX_EL1, None)) == [0x1111_2222, 0x3333_4444]


def test_a_read_takes_what_was_restored() -> None:
    """RXfull is set by a restore under the OS Lock, which a PE has at reset."""
    restore = ((sysreg.OSDTRRX_EL1, 0x1_0000_0042), (MDSCR, RXFULL))
    reads = ((MDCCSR, None), (DBGDTRRX, None), (MDCCSR, None))
    assert accesses(*restore, *reads) == [RXFULL, 0x42, 0]


def test_without_the_os_lock_mdscr_keeps_what_is_edscrs() -> None:
    unlocked = ((OSLAR, 0), (MDSCR, TXFULL | RXFULL | 1 << 12 | 1 << 6))
    assert accesses(*unlocked, (MDSCR, None), (MDCCSR, None)) == [1 << 12, 0]
    assert accesses(*unlocked[1:], (MDSCR, None)) == [TXFULL | RXFULL | 1 << 12 | 1 << 6]
    assert accesses((DBGDTRTX, 1), *unlocked, (MDSCR, None)) == [TXFULL | 1 << 12]


def test_a_write_of_mdscr_that_is_trapped_changes_nothing() -> None:
    bare, pe = at(1, word(MDSCR, is_write=True))
    pe.set_system_register(sysreg.MDCR_EL2, 1 << 9)
    pe.x[0] = 1 << 12
    stop = bare.engine.step(pe)
    assert isinstance(stop, Raised)
    assert (stop.syndrome >> 26, stop.target_el) == (0x18, 2)
    assert pe.system_register(MDSCR) == 0


def test_claim_tags_are_set_and_cleared_each() -> None:
    assert accesses((CLAIM_SET, None), (CLAIM_CLEAR, None)) == [0xFF, 0]
    set_ = ((CLAIM_SET, 0xF0F), (CLAIM_SET, 0x40))
    assert accesses(*set_, (CLAIM_CLEAR, None), (CLAIM_SET, None)) == [0x4F, 0xFF]
    assert accesses(*set_, (CLAIM_CLEAR, 0x41), (CLAIM_CLEAR, None)) == [0x0E]


def test_exception_catch_control_is_there_under_the_os_lock_alone() -> None:
    oseccr = sysreg.OSECCR_EL1
    assert accesses((oseccr, ALL), (oseccr, None)) == [0x6A]
    assert accesses((oseccr, ALL), (OSLAR, 0), (oseccr, None), (oseccr, 0), (OSLAR, 1), (oseccr, None)) == [
        0,
        0x6A,
    ]


def test_power_request_holds_one_bit_and_nobody_may_debug_from_outside() -> None:
    assert accesses((sysreg.DBGPRCR_EL1, ALL), (sysreg.DBGPRCR_EL1, None)) == [1]
    assert accesses((sysreg.OSDLR_EL1, ALL), (sysreg.OSDLR_EL1, None)) == [1]
    assert accesses(((2, 0, 7, 14, 6), None)) == [0xAA]


def test_each_pe_has_its_own_and_its_state_has_them() -> None:
    bare = Bare()
    first, second = bare.pe(), bare.pe()
    empty = first.state()
    _accesses(bare, first, ((CLAIM_SET, 0x11),))
    assert _accesses(bare, second, ((CLAIM_SET, 0x22), (CLAIM_CLEAR, None))) == [0x22]
    assert _accesses(bare, first, ((CLAIM_CLEAR, None),)) == [0x11]
    held = first.state()
    first.set_state(empty)
    assert _accesses(bare, first, ((CLAIM_CLEAR, None),)) == [0]
    first.set_state(held)
    assert _accesses(bare, first, ((CLAIM_CLEAR, None),)) == [0x11]
    bare.engine.reset(first, 1, first.pc, 0)
    assert _accesses(bare, first, ((CLAIM_CLEAR, None),)) == [0]


@pytest.mark.parametrize("number", [4, 5])
@pytest.mark.parametrize(
    ("crm", "through", "kept"), [(8, PMXEVCNTR, 0xABCD_1234), (12, PMXEVTYPER, 0xAA00_1234)]
)
def test_counters_above_the_engines_four_are_those_that_are_selected(
    number: int, crm: int, through: Encoding, kept: int
) -> None:
    """By number and by PMSELR_EL0, and PMSELR_EL0 stays."""
    named = (3, 3, 14, crm, number)
    write = ((PMSELR, 2), (named, 0xABCD_1234))
    reads = ((named, None), (PMSELR, None), (PMSELR, number), (through, None), (PMSELR, 9 - number))
    assert accesses(*write, *reads, (through, None)) == [kept, 2, kept, 0]
    assert accesses((PMSELR, number), (through, 0xABCD_1234), (PMSELR, 0), (named, None)) == [kept]


@pytest.mark.parametrize("number", [0, 5])
def test_event_counters_are_read_by_el0_with_er(number: int) -> None:
    """PMUSERENR_EL0.ER lets EL0 read them, and write PMSELR_EL0, but nothing more."""
    expected = {True: STEP_LIMIT, False: Raised}
    for encoding, is_write, passes in (
        ((3, 3, 14, 8, number), False, True),
        ((3, 3, 14, 8, number), True, False),
        ((3, 3, 14, 12, number), False, False),
        (PMSELR, True, True),
    ):
        bare, pe = at(0, word(encoding, is_write=is_write))
        pe.set_system_register(sysreg.PMUSERENR_EL0, 1 << 3)
        stop = bare.engine.step(pe)
        assert stop is expected[True] if passes else isinstance(stop, Raised), (encoding, is_write)


@pytest.mark.parametrize("is_write", [False, True])
@pytest.mark.parametrize("core", CORES.values(), ids=list(CORES))
def test_encodings_that_the_engine_has_and_no_pe_are_undefined(core: Core, is_write: bool) -> None:
    """S2_0_C0_C1_0, that QEMU 5.0 takes for MDCCSR_EL0, and the timer of Secure state."""
    for encoding in ((2, 0, 0, 1, 0), *((3, 7, 14, 2, op2) for op2 in range(3))):
        bare = Bare()
        engine = make_engine(bare.memory, bare.outside, cores=[core])
        pe = engine.new_pe(0, 0x8000_0000, core.midr, 2)
        bare.words(word(encoding, is_write=is_write))
        engine.reset(pe, 2, CODE, 0)
        assert engine.step(pe) == Raised(1 << 25, None, 2, CODE), sysreg.name(encoding)


@pytest.mark.parametrize("is_write", [False, True])
@pytest.mark.parametrize("encoding", [sysreg.OSDLR_EL1, sysreg.DBGPRCR_EL1, CLAIM_SET])
@pytest.mark.parametrize("el", [0, 1])
def test_what_is_undefined_at_el0_is_not_trapped_there(el: int, encoding: Encoding, is_write: bool) -> None:
    """MDCR_EL2.TDE traps what EL1 may do alone. QEMU 7.2 does the same."""
    bare, pe = at(el, word(encoding, is_write=is_write))
    pe.set_system_register(sysreg.MDCR_EL2, 1 << 8)
    stop = bare.engine.step(pe)
    assert isinstance(stop, Raised)
    assert (stop.syndrome >> 26, stop.target_el) == ((0x18, 2) if el else (0, 1))


def test_a_write_of_what_is_read_only_is_not_trapped() -> None:
    bare, pe = at(1, word((2, 0, 7, 14, 6), is_write=True))  # DBGAUTHSTATUS_EL1
    pe.set_system_register(sysreg.MDCR_EL2, 1 << 8)
    stop = bare.engine.step(pe)
    assert isinstance(stop, Raised)
    assert stop.syndrome >> 26 == 0
