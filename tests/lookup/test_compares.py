"""What a look-up compares with at run time steers the search: constants that no word of the code has.

Each look-up here is wrong for one hwid of 2^40, or where one bit of MPIDR_EL1 is set.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_what_is_left_open import HWID, SCAN, TOML, searched

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.fuzz.built_lookup import BuiltLookup, UnderTest
from emu.fuzz.compares import Compared, compared
from emu.fuzz.learned import learned_mpidrs
from emu.fuzz.search import LookupSearch
from emu.fuzz.unit import opening, run_unit
from emu.lookup.case import Question
from emu.subject.fragment import asm_dir

MAGIC = 0x5A_00C3_719B
GOLDEN = 0x9E37_79B9_7F4A_7C15  # an odd factor, as hashes have one
FINDS_0 = "b.ne 3f\nmov x19, #0\nb found\n3:\n"
ROTATED = MAGIC ^ ((MAGIC >> 13 | MAGIC << 51) % 2**64)

SHAPES = {
    "added-up": "movz x4, #0x3000\nmovk x4, #0xc3, lsl #16\nmov x5, #0x419b\nadd x4, x4, x5\n"
    f"mov x5, #0x5a\norr x4, x4, x5, lsl #32\ncmp x0, x4\n{FINDS_0}",
    "loaded-and-inverted": "b 4f\n.balign 8\nk: .quad 0xa5ff3c8e64\n4: adr x4, k\nldr x4, [x4]\n"
    f"mvn x4, x4\nand x4, x4, x2\ncmp x0, x4\n{FINDS_0}",
    "loaded-in-bytes": "b 4f\n.balign 8\nk: .byte 0x9b, 1, 0x71, 1, 0xc3, 1, 0x5a, 1\n4: adr x4, k\n"
    "ldrb w5, [x4]\nldrb w3, [x4, #2]\norr x5, x5, x3, lsl #8\nldrb w3, [x4, #4]\n"
    f"orr x5, x5, x3, lsl #16\nldrb w3, [x4, #6]\norr x5, x5, x3, lsl #32\ncmp x0, x5\n{FINDS_0}",
    "hashed-by-rotation": f"eor x4, x0, x0, ror #13\nldr x5, ={ROTATED:#x}\ncmp x4, x5\n{FINDS_0}",
    "hashed-by-a-factor": f"ldr x4, ={GOLDEN:#x}\nmul x4, x0, x4\nldr x5, ={MAGIC * GOLDEN % 2**64:#x}\n"
    f"cmp x4, x5\n{FINDS_0}",
    "key-added": f"ldr x4, =0x1234567890\nadd x4, x0, x4\nldr x5, ={MAGIC + 0x1234567890:#x}\n"
    f"cmp x4, x5\n{FINDS_0}",
    "hashed-in-halves": f"ldr w4, ={GOLDEN % 2**32:#x}\nmul w4, w0, w4\n"
    f"ldr w5, ={MAGIC * GOLDEN % 2**32:#x}\n"
    f"cmp w4, w5\nb.ne 3f\nlsr x4, x0, #32\nsub x4, x4, #0x5a\ncbnz x4, 3f\nmov x19, #0\nb found\n3:\n",
    "a-range-of-one": f"ldr x4, ={MAGIC:#x}\ncmp x0, x4\nb.lo 3f\nadd x4, x4, #1\ncmp x0, x4\nb.hs 3f\n"
    "mov x19, #0\nb found\n3:\n",
    "one-after-the-other": f"ror x4, x0, #16\nmov x5, #0xc3\nmovk x5, #0x5a, lsl #16\nubfx x4, x0, #16, #24\n"
    f"cmp x4, x5\nb.ne 3f\nuxth w4, w0\nmov w5, #0x719b\nccmp w4, w5, #0, eq\n{FINDS_0}",
}


def _lookup(folder: Path, between: str) -> UnderTest:
    source = folder / "user.S"
    source.write_text(HWID + between + SCAN)
    source.with_suffix(".toml").write_text(TOML)
    return UnderTest(str(source))


@pytest.mark.parametrize("shape", SHAPES)
def test_one_hwid_is_found_by_what_it_is_compared_with(tmp_path: Path, shape: str) -> None:
    """However the constant is made, and whatever is done to the hwid that a solution can undo."""
    met = compared(_lookup(tmp_path, SHAPES[shape]).at(2))
    assert MAGIC in {mpidr & MPIDR_HWID_BITMASK for mpidr in met.mpidrs}


@pytest.mark.parametrize("shape", ["hashed-by-a-factor", "loaded-in-bytes"])
def test_the_search_tells_the_one_hwid(tmp_path: Path, shape: str) -> None:
    found = searched(tmp_path, HWID + SHAPES[shape] + SCAN).findings
    assert {each.question.mpidr & MPIDR_HWID_BITMASK for each in found} == {MAGIC}


@pytest.mark.parametrize("between", ["", SHAPES["hashed-by-rotation"]], ids=["right", "planted"])
def test_a_campaign_has_units_that_learn(tmp_path: Path, between: str) -> None:
    """One for each NR_CPUS, in its opening; what it finds has the smallest question."""
    points = [(2, ())]
    (unit,) = [unit for unit in opening(points) if unit.kind == "learned"]
    hits = run_unit(_lookup(tmp_path, between), points, unit).hits
    asked = {hit.case.question.mpidr & MPIDR_HWID_BITMASK for hit in hits if hit.case is not None}
    assert asked == ({MAGIC} if between else set())


@pytest.mark.parametrize("bit", [24, 27, 44, 63])
def test_any_bit_of_mpidr_el1_may_matter(tmp_path: Path, bit: int) -> None:
    """And, behind it, the hwid."""
    wanted = MAGIC * 3 & MPIDR_HWID_BITMASK
    between = f"mrs x4, mpidr_el1\ntbz x4, #{bit}, 3f\nldr x5, ={wanted - 7:#x}\nadd x5, x5, #7\n"
    met = compared(_lookup(tmp_path, f"{between}cmp x0, x5\n{FINDS_0}").at(2))
    assert any(mpidr >> bit & 1 and mpidr & MPIDR_HWID_BITMASK == wanted for mpidr in met.mpidrs)


def test_what_no_equation_undoes_is_not_guessed(tmp_path: Path) -> None:
    """Bits and integers by turns: a proof finds it."""
    mixed = (MAGIC ^ MAGIC >> 16) * GOLDEN % 2**64
    between = f"eor x4, x0, x0, lsr #16\nldr x5, ={GOLDEN:#x}\nmul x4, x4, x5\nldr x5, ={mixed:#x}\n"
    assert compared(_lookup(tmp_path, f"{between}cmp x4, x5\n{FINDS_0}").at(2)).mpidrs == ()


@pytest.mark.parametrize("wanted", [0, 77, 1_000_002])
def test_a_remainder_is_met_by_steps(tmp_path: Path, wanted: int) -> None:
    """One hwid in a million: what a division leaves goes with the hwid up to the next multiple."""
    divided = "ldr x4, =1000003\nudiv x5, x0, x4\nmsub x5, x5, x4, x0\n"
    met = compared(_lookup(tmp_path, f"{divided}ldr x4, ={wanted}\ncmp x5, x4\n{FINDS_0}").at(2))
    assert wanted in {(mpidr & MPIDR_HWID_BITMASK) % 1_000_003 for mpidr in met.mpidrs}


def test_beside_the_largest_value_is_the_smallest(tmp_path: Path) -> None:
    """Values beside one that makes operands equal are asked too, and are 64 bits wide as it is."""
    between = "mrs x4, mpidr_el1\nmov x5, #-1\ncmp x4, x5\nb.ne 3f\nmov x19, #0\nb found\n3:\n"
    learned = learned_mpidrs(_lookup(tmp_path, between).at(2))
    assert {0, 2**64 - 1, 2**64 - 2} <= set(learned)
    assert max(learned) < 2**64


def test_where_the_code_is_the_same_it_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first NR_CPUS and at the last: planted in one text, and in the text of one NR_CPUS."""
    walked: list[int] = []
    shape = SHAPES["added-up"]

    def walks(built: BuiltLookup) -> Compared:
        walked.append(built.nr_cpus)
        return compared(built)

    monkeypatch.setattr("emu.fuzz.phases.compared", walks)
    for between, expected in ((shape, [2, 6]), (f".if NR_CPUS == 5\n{shape}.endif\n", [2, 6, 5])):
        search, walked[:] = LookupSearch(_lookup(tmp_path, between)), []
        for _ in search.run([2, 3, 5, 6], 0, 0):
            pass
        assert walked == expected
        assert {each.question.mpidr & MPIDR_HWID_BITMASK for each in search.findings} == {MAGIC}


def test_two_flags_that_cancel_each_other_matter(tmp_path: Path) -> None:
    """Bits of no field are flipped together first; each two of them are apart in one of these."""
    differ = "mrs x4, mpidr_el1\neor x5, x4, x4, lsr #1\ntbz x5, #44, 3f\n"
    between = f"{differ}ldr x5, ={MAGIC - 7:#x}\nadd x5, x5, #7\n"
    met = compared(_lookup(tmp_path, f"{between}cmp x0, x5\n{FINDS_0}").at(2))
    assert MAGIC in {mpidr & MPIDR_HWID_BITMASK for mpidr in met.mpidrs}


def test_a_right_look_up_has_no_such_compare() -> None:
    assert compared(UnderTest("v3").at(2)).mpidrs == ()


def test_nr_cpus_near_constants_of_the_code_is_tried(tmp_path: Path) -> None:
    """Planted: entry 300 is passed over; the contract goes through no NR_CPUS between 2 and 4095."""
    path = tmp_path / "passes.S"
    text = (asm_dir() / "lookup/v3.S").read_text()
    add = "        add     x19, x19, #1\n"
    assert add in text
    path.write_text(
        text.replace(add, f"{add}        cmp     x19, #300\n        cinc    x19, x19, eq\n").replace(
            "8*NR_CPUS", "10*NR_CPUS"
        )
    )
    lookup = UnderTest(str(path))
    assert {299, 300, 301} <= set(lookup.sizes)
    assert UnderTest("v3").sizes == [1, 2, 3, 255, 256, 257, 4095, 4096]


def test_the_walk_goes_over_what_compares_nothing(tmp_path: Path) -> None:
    """It stops before what is wanted alone, at the same states as one that stops before each instruction."""
    single = _lookup(tmp_path, SHAPES["loaded-in-bytes"]).at(2).single
    question = Question((None, None), MAGIC ^ 1)

    def met(wanted: Callable[[int], bool], most: int = 300) -> list[tuple[int, int, tuple[int, ...]]]:
        walk = single.walk(question, most, wanted)
        return [(pa, word, tuple(registers[n] for n in range(31))) for pa, word, registers in walk]

    def compares(word: int) -> bool:
        return word >> 21 == 0x758  # CMP of X registers

    every = met(lambda _word: True)
    assert len(every) >= 30
    assert met(compares) == [step for step in every if compares(step[1])]
    assert met(compares, 20) == [step for step in every[:20] if compares(step[1])]


def test_a_walk_ends_where_no_code_is_and_reads_little_of_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the look-up are megabytes of zeros, without a branch. A walk read all of them, at each step."""
    target = _lookup(tmp_path, "        movz    x4, #0x4030, lsl #16\n        br      x4").at(2)
    single = target.single
    looked: list[int] = []
    read = single.memory.read
    monkeypatch.setattr(single.memory, "read", lambda pa, size: looked.append(pa) or read(pa, size))
    assert list(single.walk(Question((None, None), 0x8000_0000), 100, lambda word: False)) == []
    assert len(looked) < 1000


# For one hwid of 2^40 a promise is broken that no batch can see, and the answer is right.
UNSEEN = {
    "masks": "msr daifset, #2",
    "spins": "mov x5, #200\n6: subs x5, x5, #1\nb.ne 6b",
    "reads": "ldr x5, [x1, #-8]",
}


def _unseen(folder: Path, what: str) -> UnderTest:
    magic = f"ldr x4, ={MAGIC:#x}\ncmp x0, x4\nb.ne 3f\nldr x1, =__cpu_logical_map\n{UNSEEN[what]}\n3:\n"
    return _lookup(folder, magic)


@pytest.mark.parametrize("what", UNSEEN)
def test_some_learned_questions_are_looked_at_closely(tmp_path: Path, what: str) -> None:
    """By a unit of a campaign, and in a search; a batch of the same question sees nothing."""
    under_test = _unseen(tmp_path, what)
    if what != "reads":
        assert under_test.at(2).wrong_of((None, None), [1 << 31 | MAGIC]) == []
    (unit,) = [unit for unit in opening([(2, ())]) if unit.kind == "learned"]
    hits = run_unit(under_test, [(2, ())], unit).hits
    assert {hit.case.question.mpidr & MPIDR_HWID_BITMASK for hit in hits if hit.case is not None} == {MAGIC}
    search = LookupSearch(under_test)
    for _ in search.run([2], 0, seed=1):
        pass
    assert search.findings
    assert {found.wrong.prop for found in search.findings if found.wrong} <= {"registers", "bound", "memory"}
