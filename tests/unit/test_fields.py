"""Fields of system registers: tables of the architecture, held against the CPU's own table of registers."""

from __future__ import annotations

import pytest
from bare_pe import Bare

from emu.arch.fields import FIELDS, WITH_E2H, decode, fields_of, outside, syndrome, tables
from emu.arch.fields.field import Fields, fields, of_four_bits
from emu.arch.fields.translation import attribute_words
from emu.cpu.sysregs.row import NEVER
from emu.cpu.sysregs.rows import BY_NAME, TABLE
from emu.devices.controllers import icc

_U64 = 2**64 - 1
# Registers that are an address, a number, keys, or IMPLEMENTATION DEFINED: they have no fields.
_NUMBERS = (
    "ELR_",
    "FAR_",
    "SP_EL",
    "TPIDR",
    "CNTFRQ",
    "CNTPCT",
    "CNTVCT",
    "CNTVOFF",
    "PMCCNTR",
    "PMEV",
    "PMXEV",
)
_NUMBERS += ("PMCEID", "DBGDTR", "OSDTR", "OSECCR", "AP", "ACTLR", "HACR", "AMAIR", "AFSR", "REVIDR", "AIDR")
_NUMBERS += ("RNDR", "ZCR", "ISR_", "ID_AA64AFR", "ID_AFR")
_HIGH = 0xFFFF_FFFF_0000_0000
# Bits that are RES0 in the manual, and that the engine keeps of a write all the same, by register.
_KEPT_RES0 = {
    **dict.fromkeys(("SCTLR_EL1", "SCTLR_EL2", "SCTLR_EL3"), 1 << 17),
    "CPACR_EL1": _HIGH | 0x0CCC_FFFF,
    "CPTR_EL2": _HIGH | 0x3FEF_C800,
    "HSTR_EL2": _HIGH | 0xFFFF_4010,
    "TCR_EL1": 3 << 62 | 1 << 35 | 1 << 6,
    "TCR_EL2": 0xFFFF_FFFC_0008_00C0,
    "VTCR_EL2": 0xFFFF_FFFC_0190_0000,
    "PAR_EL1": 0x00F0_0000_0000_047E,
    **dict.fromkeys(("SPSR_EL1", "SPSR_EL2"), _HIGH | 0x0C0F_C020),
    **dict.fromkeys(("ESR_EL1", "ESR_EL2"), 0xFF << 56),
    **dict.fromkeys(("VBAR_EL1", "VBAR_EL2"), 0x7E0),
    "HPFAR_EL2": 0x7FFF_0000_0000_000F,
    "VMPIDR_EL2": 0xFFFF_FF00_3E00_0000,
    "CNTKCTL_EL1": 0xFFFF_FFFF_FFF1_FC00,
    "CNTHCTL_EL2": 0xFFFF_FFFF_FFF0_0F00,
    "MDCR_EL2": 0xFFFF_F4EF_0075_0000,
    "PMCR_EL0": 0xFFFF_FFFE_0000_0500,
    "PMUSERENR_EL0": _U64 - 0x7F,
    "PMSELR_EL0": _U64 - 0x1F,
    **dict.fromkeys(("CONTEXTIDR_EL1", "VPIDR_EL2", "PMCNTENSET_EL0", "PMINTENSET_EL1"), _HIGH),
    **dict.fromkeys(("PMOVSCLR_EL0", "PMOVSSET_EL0"), _HIGH),
}
_NOT_KEPT = ("CURRENTEL", "SPSEL", "DAIF", "SCR_EL3")  # the engine lets them be as they are


def wrong(table: Fields) -> str:
    """What is wrong with a table of fields; nothing: it is right."""
    seen, names = 0, set()
    for each in table:
        if not 0 <= each.low <= each.high <= 63:
            return f"{each.name}: bits {each.high}:{each.low}"
        if seen & each.mask:
            return f"{each.name} overlaps"
        if each.name in names:
            return f"{each.name} twice"
        seen |= each.mask
        names.add(each.name)
    return ""


@pytest.mark.parametrize("name", FIELDS)
def test_fields_do_not_overlap_and_each_has_a_name_of_its_own(name: str) -> None:
    assert wrong(FIELDS[name]) == ""
    assert wrong(WITH_E2H.get(name, ())) == ""


def test_an_overlap_and_a_name_given_twice_are_found() -> None:
    assert wrong(fields("A 3:0\nB 3")) == "B overlaps"
    assert wrong(fields("A 3:0\nA 4")) == "A twice"
    assert wrong(fields("A 64")) == "A: bits 64:64"
    assert wrong(fields("A 3:0\nB 4")) == ""


def test_every_table_is_of_a_register_of_the_cpu_and_every_register_has_one_or_is_a_number() -> None:
    assert set(FIELDS) <= {*BY_NAME, *icc.NAMES.values()}
    assert set(WITH_E2H) <= set(FIELDS)
    without = [row.name for row in TABLE.values() if row.read_el != NEVER and row.name not in FIELDS]
    assert [name for name in without if not name.startswith(_NUMBERS) and "VAL_" not in name] == []
    assert {name for name in icc.NAMES.values() if name not in FIELDS} == {"ICC_AP0R0_EL1", "ICC_AP1R0_EL1"}


def test_fields_cover_the_bits_that_can_be_written_but_for_those_that_are_res0() -> None:
    """A field that is left out of a table, and one that is put where the manual has none, both show."""
    for name in FIELDS.keys() & BY_NAME:
        row = BY_NAME[name]
        if row.write_el is None or row.by_host or row.write is not None or name in _NOT_KEPT:
            continue
        pe = Bare().pe(el=2)
        before = pe.system_register(row.encoding)
        pe.set_system_register(row.encoding, before ^ _U64)
        changed = before ^ pe.system_register(row.encoding)
        of = sum(each.mask for each in fields_of(name, 0))
        assert changed & ~of == _KEPT_RES0.get(name, 0), f"{name}: {changed & ~of:#x}"


def test_what_a_register_holds_outside_of_its_fields_is_told() -> None:
    assert outside("CNTP_CTL_EL0", 0x105) == 0x100
    assert outside("FAR_EL1", _U64) == 0, "it has no fields"


def test_tables_of_id_registers_have_four_bits_each() -> None:
    low, high = of_four_bits("A - B")
    assert (low.high, low.low, high.name, high.high, high.low) == (3, 0, "B", 11, 8)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        # Worked by hand from Arm DDI 0487, ESR_EL1.
        (0x9600_0045, "Data Abort at the same level: translation fault, level 1, a write"),
        (0x9200_0007, "Data Abort from a lower level: translation fault, level 3"),
        (0x9600_0010, "Data Abort at the same level: external abort"),
        (0x9600_0021, "Data Abort at the same level: alignment fault"),
        (0x93C0_800F, "Data Abort from a lower level: permission fault, level 3, doubleword"),
        (0x9600_0147, "Data Abort at the same level: translation fault, level 3, a write, cache maintenance"),
        (0x8600_0006, "Instruction Abort at the same level: translation fault, level 2"),
        (0x8200_0086, "Instruction Abort from a lower level: translation fault, level 2, on a stage 1 walk"),
        (0x0200_0000, "unknown reason (undefined instruction)"),
        (0x5600_0000, "SVC: #0x0"),
        (0x5A00_0003, "HVC: #0x3"),
        (0x5E00_0000, "SMC: #0x0"),
        (0xF200_0800, "BRK: #0x800"),
        (0x0660_0001, "trapped WFI or WFE: WFE"),
        # MRS X3, MIDR_EL1 and MSR SCTLR_EL1, XZR
        (0x6230_0061, "trapped MSR, MRS or system instruction: read of MIDR_EL1 to x3"),
        (0x6230_07E0 | 1 << 10, "trapped MSR, MRS or system instruction: write of xzr to SCTLR_EL1"),
        (0x3A00_0000, "Illegal Execution state"),
        (0xBE00_0011, "SError: asynchronous"),
        (0xFE00_0000, "reserved"),
    ],
)
def test_syndromes_in_words(value: int, words: str) -> None:
    assert syndrome.words(value) == words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0b000000, "address size fault, level 0"),
        (0b001011, "access flag fault, level 3"),
        (0b010101, "external abort on a walk, level 1"),
        (0b110000, "TLB conflict abort"),
        (0b111111, "reserved"),
    ],
)
def test_fault_status_codes_in_words(code: int, words: str) -> None:
    assert syndrome.fault_status(code) == words


def test_permissions_are_those_of_the_level_of_the_regime() -> None:
    """Of EL1&0, of EL2&0 (VHE), of EL2."""
    of = (tables.LEAF_EL1, tables.LEAF_EL2_VHE, tables.LEAF_EL2)
    said = [tables.words(each, 1 << 10 | 2 << 6)[0] for each in of]
    assert said == ["EL1 read-only", "EL2 read-only", "read-only"]


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        (0x00, "Device-nGnRnE"),
        (0x04, "Device-nGnRE"),
        (0x0C, "Device-GRE"),
        (0x44, "Normal Non-cacheable"),
        (0xFF, "Normal Write-Back RA WA"),
        (0xBB, "Normal Write-Through RA WA"),
        (0x4F, "Normal inner Write-Back RA WA, outer Non-cacheable"),
        (0xF0, "Tagged Normal Write-Back"),
        (0x40, "reserved"),
    ],
)
def test_memory_attributes_in_words(attribute: int, words: str) -> None:
    assert attribute_words(attribute) == words


def held(name: str, value: int, *, e2h: bool = False) -> dict[str, tuple[int, str]]:
    return {each.field.name: (each.value, each.words) for each in decode(name, value, e2h=e2h)}


def test_a_syndrome_has_the_fields_that_its_class_gives_the_iss() -> None:
    found = held("ESR_EL1", 0x9600_0045)
    assert found["EC"] == (0x25, "Data Abort at the same level")
    assert found["DFSC"] == (5, "translation fault, level 1")
    assert found["WnR"] == (1, "a write")
    assert held("ESR_EL2", 0x5A00_0003)["imm16"] == (3, "")


def test_some_layouts_depend_on_e2h_and_that_of_par_on_its_f() -> None:
    assert "PS" in held("TCR_EL2", 0)
    assert "IPS" in held("TCR_EL2", 0, e2h=True)
    assert held("PAR_EL1", 0x4000_0000)["PA"] == (0x40000, "0x40000000")
    assert held("PAR_EL1", 0b1_0000_1111)["FST"] == (7, "translation fault, level 3")


def test_what_a_kernel_sets_reads_as_its_source_has_it() -> None:
    """TCR_EL1 of Linux 6.12 on 48 bits: T0SZ, T1SZ, the granules, inner shareable, 16-bit ASIDs."""
    found = held("TCR_EL1", 0x34_B550_3510)
    assert found["T0SZ"][1] == found["T1SZ"][1] == "48 bits"
    assert found["TG0"][1] == found["TG1"][1] == "4 KiB"
    assert found["SH1"] == (3, "Inner Shareable")
    assert found["AS"] == (1, "ASIDs of 16 bits")
    assert found["IPS"] == (4, "44 bits")
    spsr = held("SPSR_EL2", 0x3C5)
    assert spsr["M"] == (5, "EL1h")
    assert spsr["I"] == (1, "IRQ masked")


def test_a_memory_attribute_has_a_name_for_each_value_that_is_not_reserved() -> None:
    (attribute, *_) = FIELDS["MAIR_EL1"]
    assert attribute.values[0xFF] == "Normal Write-Back RA WA"
    assert attribute.values[0x00] == "Device-nGnRnE"
    assert all(attribute.words(value) == words for value, words in attribute.values.items())
    assert {attribute.words(value) for value in set(range(256)) - attribute.values.keys()} == {"reserved"}
    assert len(set(attribute.values.values())) == len(attribute.values)


@pytest.mark.parametrize(
    ("name", "value", "field", "words"),
    [
        # Of a Cortex-A72, by its manual (Arm 100095), tables 4-18 and following.
        ("ID_PFR0_EL1", 0x131, "State1", "T32"),
        ("ID_PFR1_EL1", 0x10011011, "GIC", "GICv3, GICv4"),
        ("ID_MMFR0_EL1", 0x10201105, "VMSA", "VMSAv7 with PXN and long descriptors"),
        ("ID_MMFR3_EL1", 0x02102211, "MaintBcst", "caches, branch predictors, TLBs"),
        ("ID_ISAR0_EL1", 0x02101110, "Divide", "in T32 and A32"),
        ("ID_ISAR5_EL1", 0x00011121, "AES", "AES, PMULL"),
        ("MVFR0_EL1", 0x10110222, "SIMDReg", "32 registers of 64 bits"),
    ],
)
def test_aarch32_id_registers_have_fields(name: str, value: int, field: str, words: str) -> None:
    assert {each.field.name: each.words for each in decode(name, value)}[field] == words
    assert outside(name, value) == 0
