"""The table of system registers.

Registers that are not in here are the engine's alone: their accesses are neither changed nor shown.
"""

from __future__ import annotations

from emu.arch import sysreg
from emu.arch.counter import FREQUENCY_HZ
from emu.arch.sysreg import Encoding
from emu.cpu.interconnect import Interconnect
from emu.cpu.pe import PE
from emu.cpu.sysregs import debug, pmu, vhe
from emu.cpu.sysregs.row import NEVER, Row, Trap, WriteEffect, Writer
from emu.operation import WrittenAtEl2

FEAT_GICV3 = "FEAT_GICv3"
_HCR, _CPTR = sysreg.HCR_EL2, sysreg.CPTR_EL2
_TID3 = (Trap(_HCR, 18, writes=False),)
_TID1 = (Trap(_HCR, 16, writes=False),)
_TID2 = (Trap(_HCR, 17),)
_TVM = (Trap(_HCR, 26, reads=False), Trap(_HCR, 30, writes=False))  # TVM, TRVM
_TCPAC = (Trap(_CPTR, 31),)
_REGIME, _SWITCH = WriteEffect.TRANSLATION, WriteEffect.TRANSLATION | WriteEffect.ENABLE
_COUNTER = "Arm DDI 0487, D12 (Generic Timer)"


def _id(name: str, crm: int, op2: int) -> Row:
    # One of the ID registers that HCR_EL2.TID3 traps.
    return Row(f"{name}_EL1", (3, 0, 0, crm, op2), write_el=None, traps=_TID3)


def _ccsidr(pe: PE) -> int:
    # Of the cache that CSSELR_EL1 says: the PE's own, its core's, or the engine's.
    cache = pe.system_register(sysreg.CSSELR_EL1)
    found = pe.overrides.get(sysreg.ccsidr(cache), pe.core.ccsidr.get(cache))
    return pe.system_register(sysreg.CCSIDR_EL1) if found is None else found


def _count(name: str, encoding: Encoding, *traps: Trap) -> Row:
    # One of the two views of the generic counter; the virtual one is CNTVOFF_EL2 behind, but for a host.
    is_virtual = encoding == sysreg.CNTVCT_EL0

    def behind(pe: PE, counter: int) -> int:
        offset = pe.sysreg(sysreg.CNTVOFF_EL2) if is_virtual and not vhe.is_host(pe) else 0
        return counter - offset & 2**64 - 1

    return Row(
        name,
        encoding,
        read_el=0,
        write_el=None,
        read=lambda pe, interconnect: behind(pe, interconnect.counter(pe)),
        look=lambda pe, interconnect: behind(pe, interconnect.counter_now(pe)),
        traps=traps,
        source=_COUNTER,
    )


_IDENTIFICATION = [
    Row(
        "MIDR_EL1",
        sysreg.MIDR_EL1,
        write_el=None,
        value=lambda pe: pe.midr,
        virtual=sysreg.VPIDR_EL2,
    ),
    Row(
        "MPIDR_EL1",
        sysreg.MPIDR_EL1,
        write_el=None,
        value=lambda pe: pe.mpidr,
        virtual=sysreg.VMPIDR_EL2,
    ),
    _id("ID_AA64PFR0", 4, 0),
    _id("ID_AA64PFR1", 4, 1),
    _id("ID_AA64DFR0", 5, 0),
    _id("ID_AA64DFR1", 5, 1),
    _id("ID_AA64ISAR0", 6, 0),
    _id("ID_AA64ISAR1", 6, 1),
    _id("ID_AA64MMFR0", 7, 0),
    _id("ID_AA64MMFR1", 7, 1),
    _id("ID_AA64MMFR2", 7, 2),
    Row(
        "CCSIDR_EL1",
        sysreg.CCSIDR_EL1,
        write_el=None,
        read=lambda pe, _: _ccsidr(pe),
        value=_ccsidr,
        traps=_TID2,
    ),
    Row("CLIDR_EL1", sysreg.CLIDR_EL1, write_el=None, traps=_TID2),
    Row(
        "CTR_EL0",
        sysreg.CTR_EL0,
        read_el=0,
        write_el=None,
        traps=(*_TID2, Trap(sysreg.SCTLR_EL1, 15, below=1, when=0)),  # UCT
    ),
    Row("CSSELR_EL1", sysreg.CSSELR_EL1, traps=_TID2),
    Row("DCZID_EL0", sysreg.DCZID_EL0, read_el=0, write_el=None),
    Row("REVIDR_EL1", (3, 0, 0, 0, 6), write_el=None, traps=_TID1),
    Row("AIDR_EL1", (3, 1, 0, 0, 7), write_el=None, traps=_TID1),
    _id("ID_PFR0", 1, 0),
    _id("ID_PFR1", 1, 1),
    _id("ID_DFR0", 1, 2),
    _id("ID_AFR0", 1, 3),
    *(_id(f"ID_MMFR{number}", 1, 4 + number) for number in range(4)),
    *(_id(f"ID_ISAR{number}", 2, number) for number in range(6)),
    _id("ID_MMFR4", 2, 6),
    _id("ID_ISAR6", 2, 7),
    *(_id(f"MVFR{number}", 3, number) for number in range(3)),
    _id("ID_AA64AFR0", 5, 4),
    _id("ID_AA64AFR1", 5, 5),
    Row("CURRENTEL", (3, 0, 4, 2, 2), write_el=None, value=lambda pe: pe.el << 2),
]

_CONTROL = [
    Row(
        "SCTLR_EL1", sysreg.SCTLR_EL1, 0x30D0_0800, at_hand=True, effect=_SWITCH | WriteEffect.MMU, traps=_TVM
    ),
    Row("CPACR_EL1", sysreg.CPACR_EL1, 0, at_hand=True, traps=_TCPAC),
    Row("SCTLR_EL2", sysreg.SCTLR_EL2, 0x30C5_0830, 2, 2, at_hand=True, effect=_SWITCH | WriteEffect.MMU),
    Row("HCR_EL2", _HCR, 0, 2, 2, at_hand=True, effect=_SWITCH),
    Row("CPTR_EL2", _CPTR, 0x33FF, 2, 2, at_hand=True),
    Row("VPIDR_EL2", sysreg.VPIDR_EL2, 0, 2, 2, at_hand=True),
    Row("VMPIDR_EL2", sysreg.VMPIDR_EL2, 0, 2, 2, at_hand=True),
    Row("SCTLR_EL3", sysreg.SCTLR_EL3, None, 3, 3, effect=_SWITCH),
    Row("ACTLR_EL1", (3, 0, 1, 0, 1), traps=(Trap(_HCR, 21),)),  # TACR
    Row("ACTLR_EL2", (3, 4, 1, 0, 1), None, 2, 2),
    Row("HACR_EL2", (3, 4, 1, 1, 7), None, 2, 2),
    Row("SCR_EL3", sysreg.SCR_EL3, 0x501, 3, 3, at_hand=True, effect=_SWITCH),  # NS, HCE, RW
]

_TRANSLATION = [
    Row("TTBR0_EL1", sysreg.TTBR0_EL1, 0, at_hand=True, effect=_REGIME, traps=_TVM),
    Row("TTBR1_EL1", sysreg.TTBR1_EL1, 0, at_hand=True, effect=_REGIME, traps=_TVM),
    Row("TCR_EL1", sysreg.TCR_EL1, 0, at_hand=True, effect=_REGIME, traps=_TVM),
    Row("MAIR_EL1", sysreg.MAIR_EL1, 0, at_hand=True, traps=_TVM),
    Row("CONTEXTIDR_EL1", sysreg.CONTEXTIDR_EL1, 0, at_hand=True, traps=_TVM),
    Row("PAR_EL1", (3, 0, 7, 4, 0)),
    Row("TTBR0_EL2", sysreg.TTBR0_EL2, 0, 2, 2, at_hand=True, effect=_REGIME),
    Row("TTBR1_EL2", sysreg.TTBR1_EL2, 0, 2, 2, at_hand=True, effect=_REGIME, feature="FEAT_VHE"),
    Row("TCR_EL2", sysreg.TCR_EL2, 0, 2, 2, at_hand=True, effect=_REGIME),
    Row("VTTBR_EL2", sysreg.VTTBR_EL2, None, 2, 2, effect=_REGIME),
    Row("VTCR_EL2", sysreg.VTCR_EL2, None, 2, 2, effect=_REGIME),
    Row("MAIR_EL2", sysreg.MAIR_EL2, 0, 2, 2, at_hand=True),
    Row("AMAIR_EL1", (3, 0, 10, 3, 0), traps=_TVM),
    Row("AMAIR_EL2", (3, 4, 10, 3, 0), None, 2, 2),
]

_EXCEPTIONS = [
    Row("SPSR_EL1", sysreg.SPSR_EL1),
    Row("ELR_EL1", sysreg.ELR_EL1),
    Row("ESR_EL1", sysreg.ESR_EL1, traps=_TVM),
    Row("FAR_EL1", sysreg.FAR_EL1, traps=_TVM),
    Row("VBAR_EL1", sysreg.VBAR_EL1, 0, at_hand=True),
    Row("SPSR_EL2", sysreg.SPSR_EL2, None, 2, 2),
    Row("ELR_EL2", sysreg.ELR_EL2, None, 2, 2),
    Row("ESR_EL2", (3, 4, 5, 2, 0), None, 2, 2),
    Row("FAR_EL2", (3, 4, 6, 0, 0), None, 2, 2),
    Row("VBAR_EL2", sysreg.VBAR_EL2, 0, 2, 2, at_hand=True),
    *(Row(f"AFSR{number}_EL1", (3, 0, 5, 1, number), traps=_TVM) for number in range(2)),
    *(Row(f"AFSR{number}_EL2", (3, 4, 5, 1, number), None, 2, 2) for number in range(2)),
    Row("HPFAR_EL2", (3, 4, 6, 0, 4), None, 2, 2),
    Row("ISR_EL1", (3, 0, 12, 1, 0), write_el=None),
    Row("SPSEL", (3, 0, 4, 2, 0)),
    Row("DAIF", (3, 3, 4, 2, 1)),  # MODEL: at EL0 SCTLR_EL1.UMA allows it
    Row("SP_EL0", (3, 0, 4, 1, 0), value=lambda pe: pe.stack_pointer(0)),  # UNDEFINED while it is the SP
    Row("SP_EL1", (3, 4, 4, 1, 0), None, 2, 2, value=lambda pe: pe.stack_pointer(1)),
    Row("SP_EL2", (3, 6, 4, 1, 0), None, 3, 3, value=lambda pe: pe.stack_pointer(2)),
]

_SOFTWARE = [
    Row("TPIDR_EL0", (3, 3, 13, 0, 2), None, 0, 0),
    Row("TPIDRRO_EL0", (3, 3, 13, 0, 3), None, 0, 1),
    Row("TPIDR_EL1", sysreg.TPIDR_EL1, 0, at_hand=True),
    Row("TPIDR_EL2", sysreg.TPIDR_EL2, 0, 2, 2, at_hand=True),
    Row("FPCR", (3, 3, 4, 4, 0), None, 0, 0),
    Row("FPSR", (3, 3, 4, 4, 1), None, 0, 0),
]


def _timer(name: str, encoding: Encoding, *traps: Trap, level: int = 0, feature: str = "") -> Row:
    # A register of a timer. MODEL: without a timer on the board it never fires. Then the engine has CTL and
    # CVAL, and TVAL is CVAL less the counter: the engine would go by the host's time.
    is_value, is_virtual = "TVAL" in name, name.startswith("CNTV")

    def left(pe: PE, counter: int) -> int:
        offset = pe.system_register(sysreg.CNTVOFF_EL2) if is_virtual else 0
        return pe.system_register((*encoding[:4], 2)) - (counter - offset) & 2**32 - 1

    def read(pe: PE, interconnect: Interconnect) -> int | None:
        found = interconnect.read_register(pe, encoding)
        return left(pe, interconnect.counter(pe)) if found is None and is_value else found

    def look(pe: PE, interconnect: Interconnect) -> int | None:
        found = interconnect.read_register(pe, encoding)
        return left(pe, interconnect.counter_now(pe)) if found is None and is_value else found

    def write(pe: PE, interconnect: Interconnect, value: int) -> None:
        if not interconnect.write_register(pe, encoding, value):
            pe.set_system_register(encoding, value)

    return Row(
        name,
        encoding,
        None,
        level,
        level,
        read=read,
        look=look,
        write=write,
        traps=traps,
        feature=feature,
        source=_COUNTER,
    )


_REGISTERS_OF_TIMER = tuple(enumerate(("TVAL", "CTL", "CVAL")))
_TIMER = [
    Row("CNTFRQ_EL0", sysreg.CNTFRQ_EL0, FREQUENCY_HZ, 0, 3, source=_COUNTER),
    # EL0PCTEN and EL0VCTEN of CNTKCTL_EL1, EL1PCTEN of CNTHCTL_EL2
    _count(
        "CNTPCT_EL0",
        sysreg.CNTPCT_EL0,
        Trap(sysreg.CNTKCTL_EL1, 0, below=1, when=0),
        Trap(sysreg.CNTHCTL_EL2, 0, when=0),
    ),
    _count("CNTVCT_EL0", sysreg.CNTVCT_EL0, Trap(sysreg.CNTKCTL_EL1, 1, below=1, when=0)),
    Row("HSTR_EL2", sysreg.HSTR_EL2, None, 2, 2),
    Row("MDCR_EL2", sysreg.MDCR_EL2, None, 2, 2),
    Row("CNTKCTL_EL1", sysreg.CNTKCTL_EL1, source=_COUNTER),
    Row("CNTHCTL_EL2", sysreg.CNTHCTL_EL2, None, 2, 2, source=_COUNTER),
    Row("CNTVOFF_EL2", sysreg.CNTVOFF_EL2, None, 2, 2, at_hand=True, source=_COUNTER),
    # EL0PTEN and EL0VTEN of CNTKCTL_EL1, EL1PCEN of CNTHCTL_EL2
    *(
        _timer(
            f"CNTP_{name}_EL0",
            (3, 3, 14, 2, op2),
            Trap(sysreg.CNTKCTL_EL1, 9, below=1, when=0),
            Trap(sysreg.CNTHCTL_EL2, 1, when=0),
        )
        for op2, name in _REGISTERS_OF_TIMER
    ),
    *(
        _timer(f"CNTV_{name}_EL0", (3, 3, 14, 3, op2), Trap(sysreg.CNTKCTL_EL1, 8, below=1, when=0))
        for op2, name in _REGISTERS_OF_TIMER
    ),
    *(_timer(f"CNTHP_{name}_EL2", (3, 4, 14, 2, op2), level=2) for op2, name in _REGISTERS_OF_TIMER),
]


# Registers that an engine does by itself, of which it is kept too that EL2 has written them.
NOTED = {sysreg.SCTLR_EL1: WrittenAtEl2.SCTLR_EL1, sysreg.HCR_EL2: WrittenAtEl2.HCR_EL2}


def note_written(pe: PE, register: WrittenAtEl2) -> None:
    """Keep that ``pe`` has written it, if it is at EL2."""
    if pe.el == 2:
        written = pe.system_register(sysreg.WRITTEN_AT_EL2)
        pe.set_system_register(sysreg.WRITTEN_AT_EL2, written | register)


def _note(register: WrittenAtEl2) -> Writer:
    def write(pe: PE, _: Interconnect, _value: int) -> None:
        note_written(pe, register)

    return write


def _ignore(pe: PE, interconnect: Interconnect, value: int) -> None:
    pass


def _gic(
    name: str,
    encoding: Encoding,
    level: int,
    constant: int,
    *,
    read_only: bool = False,
    write: Writer = _ignore,
) -> Row:
    # MODEL: of a GICv3 there is that the system register interface is on for good, ICH_HCR_EL2 stays 0, and
    # ICH_VTR_EL2 names list registers.
    return Row(
        name,
        encoding,
        None,
        level,
        None if read_only else level,
        read=lambda pe, _: constant,
        write=write,
        value=lambda pe: constant,
        by_host=True,
        feature=FEAT_GICV3,
    )


_GIC = [
    _gic("ICC_SRE_EL1", sysreg.ICC_SRE_EL1, 1, 0x7),
    _gic("ICC_SRE_EL2", sysreg.ICC_SRE_EL2, 2, 0xF, write=_note(WrittenAtEl2.ICC_SRE_EL2)),
    _gic("ICH_HCR_EL2", sysreg.ICH_HCR_EL2, 2, 0, write=_note(WrittenAtEl2.ICH_HCR_EL2)),
    # Of every core as QEMU 7.2 has it with a GICv3 (hw/intc/arm_gicv3_cpuif.c, ich_vtr_read()): 5 bits of
    # priority and of preemption, INTIDs of 24 bits, A3V, nV4, TDS, 4 list registers.
    _gic("ICH_VTR_EL2", sysreg.ICH_VTR_EL2, 2, 0x90B8_0003, read_only=True),
]


def _never(name: str, encoding: Encoding) -> Row:
    return Row(name, encoding, None, NEVER, None, read=lambda pe, _: 0, write=_ignore, value=lambda pe: 0)


# What the engine has, or gives another syndrome than that of an UNDEFINED instruction.
_ABSENT = [
    _never("S2_0_C0_C1_0", (2, 0, 0, 1, 0)),  # QEMU 5.0's MDCCSR_EL0: no register has this encoding
    *(  # the secure timer: every PE is in Non-secure state
        _never(f"CNTPS_{name}_EL1", (3, 7, 14, 2, op2)) for op2, name in enumerate(("TVAL", "CTL", "CVAL"))
    ),
]

_LATER = [
    Row("PAN", (3, 0, 4, 2, 3), feature="FEAT_PAN2"),
    Row("UAO", (3, 0, 4, 2, 4), feature="FEAT_UAO"),
    *(
        Row(f"LOR{name}_EL1", (3, 0, 10, 4, op2), feature="FEAT_LOR")
        for name, op2 in (("SA", 0), ("EA", 1), ("N", 2))
    ),
    Row(
        "LORC_EL1",
        (3, 0, 10, 4, 3),
        write=_note(WrittenAtEl2.LORC_EL1),  # RES0: LORID_EL1 has no descriptors
        traps=(Trap(sysreg.HCR_EL2, 35),),  # TLOR
        feature="FEAT_LOR",
    ),
    Row("LORID_EL1", (3, 0, 10, 4, 7), write_el=None, feature="FEAT_LOR"),
    Row("CONTEXTIDR_EL2", (3, 4, 13, 0, 1), None, 2, 2, feature="FEAT_VHE"),
    *(
        _timer(f"CNTHV_{name}_EL2", (3, 4, 14, 3, op2), level=2, feature="FEAT_VHE")
        for op2, name in _REGISTERS_OF_TIMER
    ),
    *(
        Row(f"AP{key}KEY{half}_EL1", (3, 0, 2, crm, op2 + at), feature="FEAT_PAuth")
        for key, crm, op2 in (("IA", 1, 0), ("IB", 1, 2), ("DA", 2, 0), ("DB", 2, 2), ("GA", 3, 0))
        for at, half in enumerate(("LO", "HI"))
    ),
    Row("ZCR_EL1", (3, 0, 1, 2, 0), feature="FEAT_SVE"),
    Row("ZCR_EL2", (3, 4, 1, 2, 0), None, 2, 2, feature="FEAT_SVE"),
    Row("RNDR", (3, 3, 2, 4, 0), read_el=0, write_el=None, feature="FEAT_RNG"),
    Row("RNDRRS", (3, 3, 2, 4, 1), read_el=0, write_el=None, feature="FEAT_RNG"),
    Row("PMMIR_EL1", (3, 0, 9, 14, 6), write_el=None, feature="FEAT_PMUv3p4"),
]

TABLE: dict[Encoding, Row] = {
    row.encoding: row
    for rows in (
        _IDENTIFICATION,
        _CONTROL,
        _TRANSLATION,
        _EXCEPTIONS,
        _SOFTWARE,
        _TIMER,
        debug.ROWS,
        pmu.ROWS,
        _GIC,
        _ABSENT,
        _LATER,
    )
    for row in rows
}
BY_NAME: dict[str, Row] = {row.name: row for row in TABLE.values()}
GATED = frozenset(row.encoding for row in TABLE.values() if row.feature)
