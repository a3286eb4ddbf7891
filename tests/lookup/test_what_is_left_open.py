"""What a contract leaves open, and what a look-up may do beside reading its tables."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from contracts import HWID, NEXT, contract_toml
from zoo import search

from emu.errors import InvalidCase, InvalidContract
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.learned import learned_mpidrs
from emu.fuzz.search import LookupSearch
from emu.lookup.case import format_map, parse_map
from emu.report.lookup import case_of

SCAN = (
    """
        ldr     x1, =__cpu_logical_map
        mov     x19, #0
1:      ldr     x3, [x1, x19, lsl #3]
"""
    + NEXT
)
TOML = contract_toml(range(6), lookup='instructions_max = "20 * NR_CPUS + 60"\nstack = 64')
LDP_SCAN = SCAN.replace(
    "ldr     x3, [x1, x19, lsl #3]",
    "add x4, x1, x19, lsl #3\n ldp w3, w5, [x4]\n orr x3, x3, x5, lsl #32",
)


def searched(folder: Path, text: str, contract: str = TOML) -> LookupSearch:
    """Return the search of a look-up that is written to ``folder``, with 500 random questions."""
    source = folder / "user.S"
    source.write_text(text)
    source.with_suffix(".toml").write_text(contract)
    *_, last = search(source, 500)
    return last


def said(done: LookupSearch) -> list[str]:
    """Return the property and text of each finding."""
    return [f"{found.wrong.prop}: {found.wrong.text}" for found in done.findings if found.wrong is not None]


POOL = "b 3f\n.balign 8\nk: .quad 0xff00ffffff\n3: adr x4, k\nldr x2, [x4]\n"


@pytest.mark.parametrize("between", ["", POOL, "sevl\nwfe\n"], ids=["plain", "constant", "sevl-wfe"])
def test_a_correct_look_up_is_no_finding(tmp_path: Path, between: str) -> None:
    """A constant beside its code is no table, and WFE with an event pending waits for nothing."""
    assert said(searched(tmp_path, HWID + between + SCAN)) == []


def test_a_contract_may_forbid_constants(tmp_path: Path) -> None:
    """``constants = false``: tables, stack and literals only."""
    contract = TOML.replace("stack = 64", "stack = 64\nconstants = false")
    (found,) = said(searched(tmp_path, HWID + POOL + SCAN, contract))
    assert found.startswith("memory: reads 8 bytes at 0x402000")


def test_an_instruction_of_the_look_up_is_no_constant(tmp_path: Path) -> None:
    """A read of its own code is a mistake, whatever the section."""
    (found,) = said(searched(tmp_path, HWID + "adr x4, find\nldr x4, [x4]\n" + SCAN))
    assert found.startswith("memory: reads 8 bytes at 0x40200000, outside its tables")


def test_what_lies_beside_a_table_of_the_image_is_no_constant(tmp_path: Path) -> None:
    """A scan that goes on over the end of its own table reads by mistake."""
    text = HWID + SCAN.replace("b.lo", "b.ls") + ".balign 8\n__cpu_logical_map: .space 16\nbehind: .quad 1\n"
    found = said(searched(tmp_path, text))
    assert any(each.startswith("memory: reads 8 bytes at __cpu_logical_map+0x10") for each in found)


@pytest.mark.parametrize(
    ("between", "words"),
    [
        ("msr daifset, #2\n", "registers: DAIF comes out as 0x80, not as it went in (0x0)"),
        (
            "cbnz x7, 3f\nmov x0, #0\n3:\n",
            "answer: finds CPU 0; no CPU of the map has this hwid (with x7 = 0x0 at entry)",
        ),
        ("str x19, [sp, #-8]!\nstr x2, [sp, #-8]!\nadd sp, sp, #16\n", "exit: access by a stack pointer"),
    ],
    ids=["daif", "register-of-0", "sp"],
)
def test_what_the_contract_leaves_open_may_be_anything(tmp_path: Path, between: str, words: str) -> None:
    """Interrupts that are not masked, a register of 0, SCTLR_ELx.SA set: none changes what is right."""
    assert said(searched(tmp_path, HWID + between + SCAN))[0].startswith(words)


def test_a_pair_is_read_in_two_parts(tmp_path: Path) -> None:
    """LDP of two words of an entry is torn by a store in between; LDR of the entry is not."""
    (found,) = said(searched(tmp_path, HWID + LDP_SCAN))
    assert found.startswith("concurrent: finds ")


def test_one_value_of_nr_cpus_means_that(tmp_path: Path) -> None:
    """``NR_CPUS = 2`` of a ``.S``: no other is tried."""
    done = searched(tmp_path, HWID + SCAN)
    assert done.under_test.sizes == [2]


def test_entries_of_no_cpu_may_hold_nr_cpus(tmp_path: Path) -> None:
    """``unused = "NR_CPUS"``: what an empty bucket of a hash holds in the kernel's style."""
    done = searched(tmp_path, HWID + SCAN, TOML + 'unused = "NR_CPUS"\n')
    target = done.under_test.at(2).target
    assert target.fill((None, 5))[0][:8] == (2).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"missing"', '"missing+0x2"'), "lookup.missing=missing+0x2: 0x40200036 is no address of an instr"),
        (
            ("NR_CPUS = 2", "NR_CPUS = 3"),
            "table __cpu_logical_map: 3 entries of 8 bytes; before behind there",
        ),
        (('"missing"', '"misssing"'), "lookup.missing=misssing: no symbol misssing in user.S"),
        (('"found"', '"gone+8"'), "lookup.found=gone+8: no symbol gone in user.S"),
        (('"found"', '"find+4096"'), "lookup.found=find+4096: 0x40201000 is not in user.S"),
        (('"missing"', '"0x1000"'), "lookup.missing=0x1000: 0x1000 is not in user.S"),
    ],
    ids=["odd-place", "table-larger-than-its-symbol", "no-label", "no-symbol", "far-behind", "no-address"],
)
def test_a_contract_that_cannot_be_right_is_refused(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    """Bad input, with the rule: the look-up is not asked."""
    text = HWID + SCAN + ".balign 8\n__cpu_logical_map: .space 16\nbehind: .quad 1\n"
    assert said(searched(tmp_path, text)) == []
    with pytest.raises(InvalidContract, match=r"user\.toml: ") as refused:
        searched(tmp_path, text, TOML.replace(*change))
    assert words in str(refused.value)


def test_what_gcc_makes_of_a_loop_is_no_finding(tmp_path: Path) -> None:
    """It finds its table through a global offset table."""
    gcc = shutil.which("aarch64-linux-gnu-gcc")
    if gcc is None:
        pytest.skip("no aarch64-linux-gnu-gcc")
    (tmp_path / "plain.c").write_text(
        "extern unsigned long __cpu_logical_map[];\n"
        "long find(unsigned long mpidr) {\n"
        "  for (long i = 0; i < 4; i++)\n"
        "    if (__cpu_logical_map[i] == (mpidr & 0xff00ffffffUL)) return i;\n"
        "  return -1;\n}\n"
    )
    subprocess.run([gcc, "-O2", "-fPIE", "-c", "plain.c"], cwd=tmp_path, check=True)
    (tmp_path / "plain.toml").write_text(
        'lookup = { entry = "find", found = "ret", index = "x0", missing_index = -1, mpidr = "x0", '
        'may_change = ["x1", "x2", "x3", "x4"] }\n'
        'defines = { NR_CPUS = 4 }\ntable = [{ symbol = "__cpu_logical_map" }]\n'
    )
    *_, last = search(tmp_path / "plain.o", 500)
    assert said(last) == []
    assert isinstance(last.under_test, UnderTest)


@pytest.mark.parametrize("offset", ["0x40", "64", "0X40", "064", "-8", "0x"])
def test_a_place_of_an_object_may_be_a_local_label(tmp_path: Path, offset: str) -> None:
    """``.Lfound`` is no symbol of the ELF: its offset from one says where it is, hexadecimal or decimal."""
    gcc = shutil.which("aarch64-linux-gnu-gcc")
    if gcc is None:
        pytest.skip("no aarch64-linux-gnu-gcc")
    local = SCAN.replace("b.eq    found", "b.eq    .Lfound").replace("found:  nop", ".Lfound: nop")
    source = local.replace("ldr     x1, =__cpu_logical_map", "adr x1, __cpu_logical_map\n nop")
    (tmp_path / "user.S").write_text(f".globl find, missing\n{HWID}{source}".replace("#NR_CPUS", "#2"))
    subprocess.run([gcc, "-c", "user.S"], cwd=tmp_path, check=True)
    (tmp_path / "user.toml").write_text(TOML.replace('"found"', f'"find+{offset}"'))
    if offset in ("0x40", "64"):
        *_, last = search(tmp_path / "user.o", 500)
        assert said(last) == []
        return
    with pytest.raises(InvalidContract, match="'symbol\\+0x10', 'symbol\\+16'"):
        search(tmp_path / "user.o", 500).__next__()


@pytest.mark.parametrize(
    ("scan", "nr_cpus", "line"),
    [
        (
            SCAN.replace("#NR_CPUS", "#(NR_CPUS - (NR_CPUS & 4) / 4)"),
            4,
            "nr-cpus=4 map=-,-,-,0x0 mpidr=0x80000000",
        ),
        (
            SCAN.replace("found:", "and x19, x19, #0xff\nfound:")
            .replace("b.eq    found", "b.eq 2f")
            .replace("missing:", "missing: b missing\n2: b 3f\n")
            .replace("and x19", "3: and x19"),
            257,
            "nr-cpus=257 map=-*256,0x0 mpidr=0x80000000",
        ),
    ],
    ids=["between-sizes", "byte-index"],
)
def test_a_counterexample_is_the_smallest(tmp_path: Path, scan: str, nr_cpus: int, line: str) -> None:
    """Also at an NR_CPUS that the contract does not go through; its case is short."""
    contract = TOML.replace("NR_CPUS = 2", "NR_CPUS = { default = 300, sweep = [1, 300, 4095] }")
    contract = contract.replace("NR_CPUS + 60", "NR_CPUS + 60")
    (found,) = searched(tmp_path, HWID + scan, contract).findings
    assert found.nr_cpus == nr_cpus
    assert case_of(searched(tmp_path, HWID + SCAN).under_test, found, "", "").text().endswith(line)


@pytest.mark.parametrize(
    "text",
    ["", "0x0", "-,0x5", "-*255,0x1", "0x0..0xff", "0x0..0x3,-*4,0x9,0x7..0xa"],
)
def test_a_map_in_runs_is_read_back(text: str) -> None:
    """Runs of holes, and of hwids each of which is one more."""
    assert format_map(parse_map(text, "map")) == text


@pytest.mark.parametrize("text", ["-*0", "-*5000", "0x3..0x1", "0x0..0xffffff", "-*4096,-", "0x1.."])
def test_a_map_that_is_none_is_refused(text: str) -> None:
    """A run of nothing, and more CPUs than there can be."""
    with pytest.raises(InvalidCase, match=r"^map"):
        parse_map(text, "map")


FINDS_0 = "b.ne 3f\nmov x19, #0\nb found\n3:\n"


@pytest.mark.parametrize(
    "between",
    [
        f"ldr x4, =0x5a00c3719b\ncmp x0, x4\n{FINDS_0}",
        f"movz x4, #0x719b\nmovk x4, #0xc3, lsl #16\nmovk x4, #0x5a, lsl #32\ncmp x0, x4\n{FINDS_0}",
        "".join(
            f"ubfx x4, x0, #{low}, #8\ncmp x4, #{byte}\nb.ne 3f\n"
            for low, byte in ((0, 0x9B), (8, 0x71), (16, 0xC3), (32, 0x5A))
        )
        + "mov x19, #0\nb found\n3:\n",
        "ldr x4, =0x5a00c3719b\neor x4, x4, x0\ncbnz x4, 3f\nmov x0, #1\n3:\n",
    ],
    ids=["literal", "moves", "bytes", "eor"],
)
def test_constants_of_the_code_are_asked_about(tmp_path: Path, between: str) -> None:
    """One hwid of 2^40: what the code compares with, whole or in parts."""
    found = searched(tmp_path, HWID + between + SCAN).findings
    assert sorted({each.question.mpidr & 0xFF_00FF_FFFF for each in found}) == [0x5A_00C3_719B]


def test_constants_that_every_look_up_has_are_not_asked_about(tmp_path: Path) -> None:
    """Masks, NR_CPUS and addresses: nothing is learned of them."""
    assert learned_mpidrs(searched(tmp_path, HWID + SCAN).under_test.at(2)) == []
