"""What MRS and MSR do, from the table of system registers."""

from __future__ import annotations

from collections.abc import Iterator

from emu.arch import a64, sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.cores import Core
from emu.cpu.interconnect import Interconnect
from emu.cpu.pe import PE, own_register
from emu.cpu.sysregs import pmu, vhe
from emu.cpu.sysregs.row import NEVER, Row, WriteEffect
from emu.cpu.sysregs.rows import FEAT_GICV3, NOTED, TABLE, note_written
from emu.cpu.translation import uses_el2
from emu.cpu.traps import default_target_el

_HCR_APK_API, _SCR_APK_API = 3 << 40, 3 << 16
_EL1_IN_CNTHCTL = 10  # the bit of EL1PCTEN with E2H; without it is 0
# Registers whose value at reset is UNKNOWN, and that nothing but EL2 sets: of CPU 0, and of the others. So
# one that a CPU does not set shows, also where no CPU sets it.
_UNKNOWN_AT_EL2 = (
    (sysreg.CNTHCTL_EL2, 0, 1 << 2),
    (sysreg.CNTVOFF_EL2, 0x5AD0_0000_0000, 0x5AD1_0000_0000),
    (sysreg.VTTBR_EL2, 0x5AD0_0000_0000, 0x5AD1_0000_0000),
    (sysreg.HSTR_EL2, 0x5AD0, 0x5AD1),
)
# Likewise at each level, so that an exception return by what nothing has set shows. M is of no mode.
UNSET_SPSR, UNSET_ELR = 0x5AD0_000F, 0x5AD0_0000_0E18_0000
# Likewise, of which CPU 0 has what a reset of the cores gives: bits that do no harm on the way.
_SCTLR_I, _CPTR_TTA, _HPMN_LOWEST = 1 << 12, 1 << 20, 1
_MIDR_REVISION, _MPIDR_U = 1, 1 << 30


def at_entry(el: int, core: Core, *, is_first: bool) -> Iterator[tuple[Encoding, int]]:
    """Yield system registers (u64) of a PE that is switched on at ``el`` (1 or 2), in the order of writing.

    That is each at its reset value, and what firmware sets before it enters that level: HCR_EL2.RW.

    :param is_first: it is CPU 0
    """
    for row in TABLE.values():
        if row.reset is not None and core.has(row.feature) and row.encoding != sysreg.SCR_EL3:
            yield row.encoding, row.reset
    for spsr, elr in ((sysreg.SPSR_EL1, sysreg.ELR_EL1), (sysreg.SPSR_EL2, sysreg.ELR_EL2)):
        yield spsr, UNSET_SPSR
        yield elr, UNSET_ELR
    yield sysreg.PMCR_EL0, core.pmcr
    yield sysreg.MDCR_EL2, pmu.counters(core.pmcr)  # HPMN: all are EL1's
    if el == 2:  # firmware leaves them alone
        for encoding, of_first, of_others in _UNKNOWN_AT_EL2:
            yield encoding, of_first if is_first else of_others
        if not is_first:
            yield sysreg.SCTLR_EL2, _reset(sysreg.SCTLR_EL2) | _SCTLR_I
            yield sysreg.CPTR_EL2, _reset(sysreg.CPTR_EL2) | _CPTR_TTA
            yield sysreg.MDCR_EL2, pmu.counters(core.pmcr) ^ _HPMN_LOWEST
    else:
        yield sysreg.CNTVOFF_EL2, 0
    with_pauth = core.has("FEAT_PAuth")
    yield sysreg.HCR_EL2, (sysreg.HCR_RW | (_HCR_APK_API if with_pauth else 0)) if el == 1 else 0
    yield sysreg.SCR_EL3, _reset(sysreg.SCR_EL3) | (_SCR_APK_API if with_pauth else 0)


def virtual_ids(el: int, mpidr: int, midr: int, *, is_first: bool) -> tuple[int, int]:
    """Return VMPIDR_EL2 and VPIDR_EL2 (u64) of a PE that is switched on at ``el``: UNKNOWN at EL2."""
    if el < 2 or is_first:
        return mpidr, midr
    return mpidr ^ _MPIDR_U, midr ^ _MIDR_REVISION


def _reset(encoding: Encoding) -> int:
    reset = TABLE[encoding].reset
    assert reset is not None
    return reset


def has_feature(pe: PE, row: Row) -> bool:
    """Tell whether the PE has the feature without which the register is UNDEFINED."""
    return has_gicv3(pe) if row.feature == FEAT_GICV3 else pe.core.has(row.feature)


def has_register(pe: PE, row: Row) -> bool:
    """Tell whether the PE has the register at all."""
    return row.read_el != NEVER and (not row.feature or has_feature(pe, row))


def has_gicv3(pe: PE) -> bool:
    """Tell whether the PE has the system registers of a GICv3 (ID_AA64PFR0_EL1.GIC)."""
    return bool(value(pe, TABLE[sysreg.ID_AA64PFR0_EL1]) >> 24 & 15)


def has_reader(encoding: Encoding) -> bool:
    """Tell whether an MRS of the register is not left to the engine, on any PE."""
    row = TABLE.get(encoding)
    return row is not None and row.read is not None


def is_watched(encoding: Encoding) -> bool:
    """Tell whether an MSR of the register does more than to change it."""
    row = TABLE.get(encoding)
    return row is not None and (row.effect is not WriteEffect.NONE or row.write is not None)


def trap_el(row: Row, pe: PE, *, is_write: bool) -> int:
    """Return the EL that an access to the row is trapped to, 0: it is not."""
    for trap in row.traps:
        if (
            pe.el < trap.below
            and (trap.writes if is_write else trap.reads)
            and (control := _control(pe, trap.control)) >> trap.bit & 1 == trap.when
            and not control & trap.unless
        ):
            return max(trap.below, default_target_el(pe))
    return 0


def trapped_access(word: int) -> int:
    """Return the syndrome of an MRS or MSR (register) that is trapped: EC 0x18."""
    op0, op1, crn, crm, op2 = a64.system_register(word)
    iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | (word & 31) << 5 | crm << 1 | word >> 21 & 1
    return 0x18 << 26 | 1 << 25 | iss


def traps(row: Row | None, pe: PE, encoding: Encoding, *, is_write: bool) -> bool:
    """Tell whether a bit of another register has this access trapped."""
    if pe.el >= 2:
        return False
    if row is None:  # MODEL: of the registers that are not in the table, ID registers alone trap
        is_id = encoding[:3] == (3, 0, 0) and encoding[3] != 0
        return is_id and not is_write and bool(pe.sysreg(sysreg.HCR_EL2) >> 18 & 1)
    return bool(trap_el(row, pe, is_write=is_write))


def _control(pe: PE, encoding: Encoding) -> int:
    # The register that has the bit of a trap, with E2H as it is without.
    under_el2 = pe.el == 0 and uses_el2(pe)
    if under_el2 and encoding == sysreg.SCTLR_EL1:
        encoding = sysreg.SCTLR_EL2
    elif under_el2 and encoding == sysreg.CNTKCTL_EL1:
        encoding = sysreg.CNTHCTL_EL2
    elif encoding == sysreg.CNTHCTL_EL2 and pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_E2H:
        return -1 if under_el2 else pe.system_register(encoding) >> _EL1_IN_CNTHCTL
    return pe.sysreg(encoding) if TABLE[encoding].at_hand else pe.system_register(encoding)


def read(pe: PE, encoding: Encoding, interconnect: Interconnect) -> int | None:
    """Return what an MRS reads; None: the engine reads it, or raises what is due."""
    row = TABLE.get(encoding)
    other = vhe.redirected(pe, encoding)
    if other is not None:
        return None if traps(row, pe, encoding, is_write=False) else _read_instead(pe, other, interconnect)
    if pe.el < (row.read_el if row is not None else sysreg.lowest_el(encoding)):
        return None
    value = own_register(pe, encoding)
    if value is None:
        if row is None or row.read is None or traps(row, pe, encoding, is_write=False):
            return None
        return row.read(pe, interconnect)
    if pe.el < 2 and ((row is not None and row.virtual) or traps(row, pe, encoding, is_write=False)):
        return None
    return value


def _read_instead(pe: PE, other: Encoding, interconnect: Interconnect) -> int:
    # The register that an access is redirected to, whatever its own level is.
    row = TABLE.get(other)
    found = None if row is None or row.read is None else row.read(pe, interconnect)
    return pe.system_register(other) if found is None else found


def write(pe: PE, encoding: Encoding, interconnect: Interconnect, value: int) -> bool:
    """Do what an MSR does; False: the engine does it, or raises what is due."""
    row = TABLE.get(encoding)
    other = vhe.redirected(pe, encoding)
    if other is not None:
        if traps(row, pe, encoding, is_write=True):
            return False
        _write_instead(pe, other, interconnect, value)
        return True
    if encoding in NOTED:
        note_written(pe, NOTED[encoding])
    if pe.e2h_res1 and encoding == sysreg.HCR_EL2 and pe.el == 2:
        pe.set_system_register(encoding, value | sysreg.HCR_E2H)
        return True
    if row is None:
        return interconnect.write_register(pe, encoding, value)
    if row.write is None or row.write_el is None or pe.el < row.write_el:
        return False
    if traps(row, pe, encoding, is_write=True):
        return False
    row.write(pe, interconnect, value)
    return True


def _write_instead(pe: PE, other: Encoding, interconnect: Interconnect, value: int) -> None:
    row = TABLE.get(other)
    if other in NOTED:
        note_written(pe, NOTED[other])
    if row is not None and row.write is not None:
        row.write(pe, interconnect, value)
    else:
        pe.set_system_register(other, value)


def look(pe: PE, row: Row, interconnect: Interconnect) -> int:
    """Return what an MRS of the register reads now (u64), at a level that may: nothing changes by it."""
    if row.look is not None:
        found = row.look(pe, interconnect)
    elif row.value is None and row.read is not None:
        found = row.read(pe, interconnect)
    else:
        found = None
    return value(pe, row) if found is None else found


def value(pe: PE, row: Row) -> int:
    """Return the register (u64) as code on that PE reads it, at a level that may."""
    found = own_register(pe, row.encoding)
    if found is not None:
        return found
    return row.value(pe) if row.value is not None else pe.system_register(row.encoding)
