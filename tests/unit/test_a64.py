"""emu.arch.a64 against a table of assembled instructions and against Capstone."""

from __future__ import annotations

import re
from functools import cache

import capstone
import keystone
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.arch import a64
from emu.arch.a64 import Class, Other, classify, is_branch, system_register, uses_fp
from emu.operation import Kind

PC = 0x4000_0000

# Class by text. F: uses SIMD and floating-point registers. B: may change the PC.
TABLE = """
ACCESS          ldr x0, [x1]
ACCESS          ldr w0, [x1, #16380]
ACCESS          ldrb w0, [x1, #1]
ACCESS          ldrh w0, [x1, #2]
ACCESS          ldrsb x0, [x1]
ACCESS          ldrsh w0, [x1]
ACCESS          ldrsw x0, [x1, #4]
ACCESS          ldr x0, [x1], #8
ACCESS          ldr x0, [x1, #-8]!
ACCESS          ldr x0, [x1, x2, lsl #3]
ACCESS          ldr w0, [x1, w2, uxtw]
ACCESS          ldur x0, [x1, #-1]
ACCESS          ldursw x0, [x1, #-1]
ACCESS          ldtr x0, [x1]
ACCESS          ldtrsw x0, [x1, #4]
ACCESS          ldr x0, #8
ACCESS          ldr w0, #8
ACCESS          ldrsw x0, #8
ACCESS          str x0, [x1]
ACCESS          strb wzr, [x1]
ACCESS          strh w0, [x1], #2
ACCESS          str w0, [x1, #4]!
ACCESS          str x0, [x1, x2]
ACCESS          stur x0, [x1, #-8]
ACCESS          sttr x0, [x1]
ACCESS          ldp x0, x1, [x2]
ACCESS          ldp w0, w1, [x2, #8]
ACCESS          ldp x29, x30, [sp], #16
ACCESS          ldpsw x0, x1, [x2]
ACCESS          stp x29, x30, [sp, #-16]!
ACCESS          stp w0, w1, [x2]
ACCESS          ldnp x0, x1, [x2]
ACCESS          stnp x0, x1, [x2]
ACCESS          ldar x0, [x1]
ACCESS          ldarb w0, [x1]
ACCESS          ldarh w0, [x1]
ACCESS          stlr x0, [x1]
ACCESS          stlrb w0, [x1]
ACCESS        F ldr q0, [x1]
ACCESS        F ldr b0, [x1, #1]
ACCESS        F ldr d0, #8
ACCESS        F str s0, [x1], #4
ACCESS        F ldur h0, [x1, #-1]
ACCESS        F str q0, [x1, x2]
ACCESS        F ldp q0, q1, [x2]
ACCESS        F stp d0, d1, [sp, #-16]!
ACCESS        F ldnp s0, s1, [x2]
ACCESS        F ld1 {v0.16b}, [x0]
ACCESS        F ld1 {v0.16b, v1.16b, v2.16b, v3.16b}, [x0], #64
ACCESS        F st4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x0]
ACCESS        F ld1r {v0.2d}, [x0]
ACCESS        F st1 {v0.b}[3], [x0], x1
LOAD_EXCLUSIVE  ldxr x0, [x1]
LOAD_EXCLUSIVE  ldxrb w0, [x1]
LOAD_EXCLUSIVE  ldaxr w0, [x1]
LOAD_EXCLUSIVE  ldaxrh w0, [x1]
LOAD_EXCLUSIVE  ldxp x0, x1, [x2]
LOAD_EXCLUSIVE  ldaxp w0, w1, [x2]
STORE_EXCLUSIVE stxr w0, x1, [x2]
STORE_EXCLUSIVE stxrh w0, w1, [x2]
STORE_EXCLUSIVE stlxr w0, w1, [x2]
STORE_EXCLUSIVE stxp w0, x1, x2, [x3]
STORE_EXCLUSIVE stlxp w0, w1, w2, [x3]
INVISIBLE       prfm pldl1keep, [x0]
INVISIBLE       prfm pstl3strm, [x0, #32760]
INVISIBLE       prfm pldl1keep, [x0, x1]
INVISIBLE       prfm plil2keep, [x0, w1, sxtw #3]
INVISIBLE       prfm pldl1keep, #8
INVISIBLE       prfum pldl1keep, [x0, #-1]
INVISIBLE       nop
INVISIBLE       hint #6
INVISIBLE       hint #16
INVISIBLE       hint #25
INVISIBLE       hint #34
INVISIBLE       hint #127
YIELD           yield
WFE             wfe
WFI             wfi
SEV             sev
SEVL            sevl
CLREX           clrex
CLREX           clrex #0
BARRIER         dsb sy
BARRIER         dsb ishst
BARRIER         dmb ish
BARRIER         dmb ishld
BARRIER         dmb oshst
BARRIER         isb
CACHE           dc civac, x0
CACHE           dc cvac, xzr
CACHE           dc cvau, x1
CACHE           dc ivac, x0
CACHE           dc isw, x0
CACHE           dc cisw, x0
CACHE           ic iallu
CACHE           ic ialluis
CACHE           ic ivau, x0
ZERO            dc zva, x0
TLB             tlbi vmalle1
TLB             tlbi vmalle1is
TLB             tlbi vae1, x0
TLB             tlbi alle2
INVISIBLE       at s1e1r, x0
INVISIBLE       at s1e2w, x0
MRS             mrs x0, mpidr_el1
MRS             mrs x0, cntvct_el0
MRS             mrs x0, s3_0_c1_c0_0
MRS           F mrs x0, fpcr
MRS           F mrs x0, fpsr
MSR             msr sctlr_el1, x0
MSR             msr ttbr0_el1, x0
MSR           F msr fpcr, x0
INVISIBLE       msr daifset, #15
INVISIBLE       msr spsel, #0
EXCEPTION     B svc #0
CALL          B hvc #1
CALL          B smc #0xffff
EXCEPTION     B brk #0x800
EXCEPTION     B hlt #0
ERET          B eret
PARK          B b .
INVISIBLE     B b .+4
INVISIBLE     B bl .
INVISIBLE     B b.ne .
INVISIBLE     B b.al .+8
INVISIBLE     B cbz x0, .+8
INVISIBLE     B cbnz w0, .-8
INVISIBLE     B tbz x0, #63, .+8
INVISIBLE     B tbnz w0, #0, .+8
INVISIBLE     B br x0
INVISIBLE     B blr x30
INVISIBLE     B ret
INVISIBLE     B ret x1
INVISIBLE       adr x0, .
INVISIBLE       movz x0, #0xd503
INVISIBLE       add x0, x1, x2, lsl #3
INVISIBLE       madd x0, x1, x2, x3
INVISIBLE       ccmp x0, #1, #0, eq
INVISIBLE       crc32b w0, w1, w2
FP            F fmov x0, d0
FP            F fadd d0, d1, d2
FP            F scvtf s0, w1
FP            F movi v0.16b, #0
FP            F add v0.4s, v1.4s, v2.4s
FP            F dup v0.2d, x1
FP            F fcsel d0, d1, d2, eq
"""

# What Keystone does not assemble, by word.
WORDS = [
    (0x0820_7C00, Other.ACCESS, "casp w0, w1, w0, w1, [x0]"),
    (0x4860_FC00, Other.ACCESS, "caspal x0, x1, x0, x1, [x0]"),
    (0xC8A0_7C41, Other.ACCESS, "cas x0, x1, [x2]"),
    (0xF820_0041, Other.ACCESS, "ldadd x0, x1, [x2]"),
    (0xF820_005F, Other.ACCESS, "stadd x0, [x2]"),
    (0xB8E0_8041, Other.ACCESS, "swpal w0, w1, [x2]"),
    (0xF8BF_C020, Other.ACCESS, "ldapr x0, [x1]"),
    (0xD940_0020, Other.ACCESS, "ldapur x0, [x1]"),
    (0xC8DF_7C20, Other.ACCESS, "ldlar x0, [x1]"),
    (0xC89F_7C20, Other.ACCESS, "stllr x0, [x1]"),
    (0xD508_975F, Kind.TLB, "tlbi vaae1nxs-like: CRn 9"),
    (0xD503_323F, Kind.BARRIER, "dsb oshnxs"),
    (0xD503_30FF, Kind.BARRIER, "sb"),
    (0xD40F_FFE1, Kind.EXCEPTION, "svc #0x7fff"),
    (0xD4A0_0001, Kind.EXCEPTION, "dcps1"),
    (0xD71F_0800, Other.INVISIBLE, "braa x0, x0"),
    (0xD65F_0BFF, Other.INVISIBLE, "retaa"),
    (0xD69F_0BFF, Other.ERET, "eretaa"),
    (0xD69F_0FFF, Other.ERET, "eretab"),
    (0x0000_0000, Other.INVISIBLE, "udf #0"),
]


def rows() -> list[tuple[str, Class, bool, bool]]:
    found = []
    for line in TABLE.strip().splitlines():
        name, rest = line.split(None, 1)
        marks, text = (rest[0], rest[2:]) if rest[:2] in ("F ", "B ") else ("", rest)
        kind: Class = Other[name] if name in Other.__members__ else Kind[name]
        found.append((text.strip(), kind, "F" in marks, "B" in marks))
    return found


@cache
def _assembler() -> keystone.Ks:
    return keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)


@cache
def _disassembler() -> capstone.Cs:
    disassembler = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    disassembler.detail = True
    return disassembler


def word_of(text: str) -> int:
    code, _ = _assembler().asm(text, PC)
    assert len(code or ()) == 4, text
    return int.from_bytes(bytes(code), "little")


def decode(word: int) -> capstone.CsInsn | None:
    return next(_disassembler().disasm(word.to_bytes(4, "little"), PC, 1), None)


@pytest.mark.parametrize(("text", "expected", "fp", "branch"), rows(), ids=[row[0] for row in rows()])
def test_class_of_each_instruction(text: str, expected: Class, fp: bool, branch: bool) -> None:
    """Arm DDI 0487, C4.1: the class, whether CPACR_EL1.FPEN applies, whether the PC may change."""
    word = word_of(text)
    assert (classify(word), uses_fp(word), is_branch(word)) == (expected, fp, branch), f"{word:#010x}"


@pytest.mark.parametrize(("word", "expected", "text"), WORDS, ids=[text for _, _, text in WORDS])
def test_class_of_words_that_keystone_lacks(word: int, expected: Class, text: str) -> None:
    """Later extensions: visible to others on a core that has them, UNDEFINED on the Cortex-A72."""
    assert classify(word) is expected


# -- against Capstone -------------------------------------------------------------------------------

_EXCLUSIVE = re.compile(r"(ld|st)a?l?x[rp][bh]?$")
_VECTOR = re.compile(r"[bhsdqv]\d+$")
_LATER = re.compile(r"cpy[fpme]|set[gpme]|bc\.|t(start|commit|cancel|test)$")


def is_later(word: int, name: str) -> bool:
    # Armv9 encodings that reuse space: SVE and SME; memory copies, BC.cond, transactions; MRS of op0 < 2.
    sve = word & 0x1E00_0000 == 0x0400_0000 or word & 0x9E00_0000 == 0x8000_0000
    return sve or bool(_LATER.match(name)) or (name == "mrs" and not word >> 20 & 1)


def expected_memory(instruction: capstone.CsInsn) -> bool:
    return bool(re.match(r"ld|st|cas|swp", instruction.mnemonic))


def registers(instruction: capstone.CsInsn) -> set[str]:
    operands = instruction.operands
    return {instruction.reg_name(op.reg) for op in operands if op.type == capstone.arm64.ARM64_OP_REG}


def check(word: int) -> None:
    """Compare one word with what Capstone makes of it; words it does not know are not compared."""
    instruction = decode(word)
    if instruction is None or is_later(word, instruction.mnemonic):
        return
    kind, name = classify(word), instruction.mnemonic
    what = f"{word:#010x} {name} {instruction.op_str}: {kind.name}"
    if kind in (Kind.LOAD_EXCLUSIVE, Kind.STORE_EXCLUSIVE):
        assert _EXCLUSIVE.match(name), what
        assert name.startswith("ld") == (kind is Kind.LOAD_EXCLUSIVE), what
    else:
        assert not _EXCLUSIVE.match(name), what
        assert (kind is Other.ACCESS) == expected_memory(instruction), what
    groups = {instruction.group_name(group) for group in instruction.groups}
    jumps = bool(groups & {"jump", "call", "return", "branch_relative", "int"}) or name in (
        "b", "bl", "br", "blr", "ret", "eret", "drps", "svc", "hvc", "smc", "brk", "hlt", "dcps1", "dcps2",
        "dcps3", "blraa", "blraaz", "blrab", "blrabz", "braa", "braaz", "brab", "brabz", "eretaa", "eretab",
        "retaa", "retab", "udf",
    )  # fmt: skip
    if name != "udf":
        assert is_branch(word) == jumps, what
    vector = any(_VECTOR.match(register) for register in registers(instruction))
    status = name in ("mrs", "msr") and ("fpcr" in instruction.op_str or "fpsr" in instruction.op_str)
    assert uses_fp(word) == (vector or status), what
    by_name = {
        "wfe": Kind.WFE, "wfi": Kind.WFI, "sev": Kind.SEV, "sevl": Kind.SEVL, "yield": Kind.YIELD,
        "clrex": Other.CLREX, "eret": Other.ERET, "dsb": Kind.BARRIER, "dmb": Kind.BARRIER,
        "isb": Kind.BARRIER, "mrs": Other.MRS, "svc": Kind.EXCEPTION, "hvc": Kind.CALL,
        "smc": Kind.CALL, "brk": Kind.EXCEPTION, "hlt": Kind.EXCEPTION, "tlbi": Kind.TLB,
        "at": Other.INVISIBLE, "ic": Kind.CACHE,
    }  # fmt: skip
    if name in by_name:
        assert kind is by_name[name], what
    elif name == "dc":
        assert kind is (Other.ZERO if instruction.op_str.startswith("zva") else Kind.CACHE), what
    elif name.startswith("prf"):
        assert kind is Other.INVISIBLE, what


@settings(max_examples=2000)
@given(st.integers(0, 2**32 - 1))
def test_any_word_agrees_with_capstone(word: int) -> None:
    """Over the whole encoding space."""
    check(word)


@settings(max_examples=2000)
@given(st.integers(0, 2**32 - 1))
def test_any_load_or_store_agrees_with_capstone(word: int) -> None:
    """Arm DDI 0487, C4.1 "Loads and stores": op0 (bits 28:25) is x1x0."""
    check(word & ~0x0A00_0000 | 0x0800_0000)


@settings(max_examples=2000)
@given(st.integers(0, 2**29 - 1), st.sampled_from([0, 1, 4, 5]))
def test_any_branch_exception_or_system_word_agrees_with_capstone(low: int, op: int) -> None:
    """Arm DDI 0487, C4.1 "Branches, Exception Generating and System instructions": bits 28:26 are 101."""
    check(low & 0x03FF_FFFF | 0x1400_0000 | op << 29)


def test_every_hint_and_barrier_agrees_with_capstone() -> None:
    """All words with op0 = 0 of the system class: CRn 2 and 3."""
    for crn in (2, 3):
        for crm in range(16):
            for op2 in range(8):
                check(0xD503_001F | crn << 12 | crm << 8 | op2 << 5)


@pytest.mark.parametrize("op1", range(8))
def test_every_system_instruction_agrees_with_capstone(op1: int) -> None:
    """SYS with CRn 7 (caches, translation) and 8 (TLB): all of CRm and op2."""
    for crn in (7, 8):
        for crm in range(16):
            for op2 in range(8):
                for rt in (0, 31):
                    check(0xD508_0000 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | rt)


@given(st.integers(0, 2**20 - 1))
def test_system_register_is_the_encoding_of_mrs_and_msr(fields: int) -> None:
    """Arm DDI 0487, C6.2 MRS, MSR (register): o0, op1, CRn, CRm, op2, Rt from bit 19 down."""
    wanted = (2 + (fields >> 19), fields >> 16 & 7, fields >> 12 & 15, fields >> 8 & 15, fields >> 5 & 7)
    for base, kind in ((0xD530_0000, Other.MRS), (0xD510_0000, Other.MSR)):
        assert classify(base | fields) is kind
        assert system_register(base | fields) == wanted


def test_observable_classes_are_those_that_others_can_see() -> None:
    """Reading a register, returning from an exception and using SIMD are of no concern to another PE."""
    private = {Other.INVISIBLE, Other.MRS, Other.MSR, Other.ERET, Other.FP}
    assert set(Other) - a64.OBSERVABLE == private


def test_no_class_has_the_number_of_a_kind() -> None:
    """Sites and sets hold both by number."""
    assert not set(map(int, Other)) & set(map(int, Kind))


@pytest.mark.parametrize(
    ("word", "may"),
    [
        (0xD69F03E0, True),  # eret
        (0xD69F0BFF, True),  # eretaa
        (0xD5181000, True),  # msr sctlr_el1, x0
        (0xD51C1000, True),  # msr sctlr_el2, x0
        (0xD51D1000, True),  # msr sctlr_el12, x0
        (0xD518C000, True),  # msr vbar_el1, x0
        (0xD51DC005, True),  # msr vbar_el12, x5
        (0xD5381000, False),  # mrs x0, sctlr_el1
        (0xD5182000, False),  # msr ttbr0_el1, x0
        (0xD5181020, False),  # msr actlr_el1, x0
        (0xD65F03C0, False),  # ret
        (0xD4000002, False),  # hvc #0: what it raises leads there
    ],
)
def test_what_changes_a_mode_by_itself(word: int, may: bool) -> None:
    assert a64.changes_mode(word) == may


@given(st.integers(0, 2**32 - 1))
def test_the_top_byte_of_a_word_says_whether_it_is_a_branch(word: int) -> None:
    """A free run looks for the end of a block by that byte alone."""
    assert is_branch(word) == is_branch(word & 0xFF00_0000)
