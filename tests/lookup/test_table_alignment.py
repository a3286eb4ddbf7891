"""A look-up may rely on no better alignment of its tables than the contract grants.

Each planted bug is right wherever a table of four entries ends at the end of a page; its twin anywhere.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts import HWID, NEXT, contract_toml

from emu.errors import InvalidCase, InvalidContract
from emu.fuzz.built_lookup import Checked, UnderTest
from emu.fuzz.proof import Proof, has_prover
from emu.fuzz.race import ask_case
from emu.fuzz.search import LookupSearch
from emu.fuzz.unit import opening, run_unit
from emu.lookup.case import LEAST, LookupCase
from emu.report.lookup import case_of, describe

TEXT = (
    HWID
    + """        ldr     x1, =__cpu_logical_map
        mov     x19, #0
1:      lsl     x4, x19, #3
        {read}
"""
    + NEXT
)
# Read of entry X19, at X1 + X4, into X3: the bug and its twin.
READS = {
    "ORR of the index": ("orr x4, x1, x4\n ldr x3, [x4]", "add x4, x1, x4\n ldr x3, [x4]"),
    "BFI of the index": (
        "mov x5, x1\n bfi x5, x19, #3, #2\n ldr x3, [x5]",
        "mov x5, x1\n add x5, x5, x19, lsl #3\n ldr x3, [x5]",
    ),
    "BIC to the pair": (
        "add x4, x1, x4\n bic x4, x4, #15\n ldp x5, x6, [x4]\n tst x19, #1\n csel x3, x5, x6, eq",
        "bic x4, x4, #15\n add x4, x1, x4\n ldp x5, x6, [x4]\n tst x19, #1\n csel x3, x5, x6, eq",
    ),
    "LDXP of a pair": (
        "bic x4, x4, #15\n add x4, x1, x4\n ldxp x5, x6, [x4]\n clrex\n tst x19, #1\n csel x3, x5, x6, eq",
        "bic x4, x4, #15\n add x4, x1, x4\n ldp x5, x6, [x4]\n tst x19, #1\n csel x3, x5, x6, eq",
    ),
}
LEAST_OF_ALL = (LEAST,)


def written(folder: Path, read: str, *, nr_cpus: str = "4", table: str = "") -> str:
    source = folder / "user.S"
    source.write_text(TEXT.format(read=read))
    bound = 'instructions_max = "20 * NR_CPUS + 60"'
    toml = contract_toml(range(9), nr_cpus=nr_cpus, lookup=bound, table=table)
    source.with_suffix(".toml").write_text(toml)
    return str(source)


def searched(name: str, cases: int = 2000) -> LookupSearch:
    search = LookupSearch(UnderTest(name))
    for _ in search.run(search.under_test.sizes, cases, seed=1):
        pass
    return search


def found_by(name: str) -> list[Checked]:
    return searched(name).findings


@pytest.mark.parametrize("read", READS)
def test_what_relies_on_a_better_alignment_is_found(tmp_path: Path, read: str) -> None:
    """Its case says how the tables lie, and is asked again alike."""
    name = written(tmp_path, READS[read][0])
    found = found_by(name)
    assert found
    for each in found:
        assert each.others == LEAST_OF_ALL
        under_test = UnderTest(name)
        case = case_of(under_test, each, "", "")
        assert " tables=least " in case.text()
        assert LookupCase.parse(case.text()).text() == case.text()
        again = ask_case(UnderTest(name), case)
        assert again.wrong == each.wrong
        assert any("tables at their least alignment" in line for line in describe(under_test, each, ""))


@pytest.mark.parametrize("read", READS)
def test_what_relies_on_none_is_no_finding(tmp_path: Path, read: str) -> None:
    assert found_by(written(tmp_path, READS[read][1])) == []


@pytest.mark.parametrize("read", READS)
def test_what_the_contract_grants_may_be_relied_on(tmp_path: Path, read: str) -> None:
    """Also of three entries, which end at the end of a page no more."""
    for nr_cpus in ("3", "4"):
        if nr_cpus == "3" and "pair" in read:
            continue  # it reads a fourth
        assert found_by(written(tmp_path, READS[read][0], nr_cpus=nr_cpus, table="align = 32")) == []


def test_less_than_the_elements_need_may_be_granted(tmp_path: Path) -> None:
    """A table at any address: what reads whole entries faults, what reads bytes does not."""
    assert found_by(written(tmp_path, READS["ORR of the index"][1], table="align = 4"))
    read = "add x4, x1, x4\n ldp w3, w5, [x4]\n orr x3, x3, x5, lsl #32"
    wrong = [each.wrong.prop for each in found_by(written(tmp_path, read, table="align = 4")) if each.wrong]
    assert wrong == ["concurrent"], "torn, but right while nothing changes"


def test_a_header_says_it_too(tmp_path: Path) -> None:
    """In ``in`` and in ``memory``."""
    header = """/* find - a look-up
 *
 * in:       none
 * out:      x19 = logical CPU number
 * clobbers: x0-x8, NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid, {align}unused INVALID_HWID; writes none
 * state:    EL1, MMU off, no stack
 * exits:    reaches found; else parks at missing
 * model:    logical-map
 * source:   original
 */
"""
    source = tmp_path / "user.S"
    for align, granted in (("", 8), ("32-byte aligned, ", 32)):
        source.write_text(header.format(align=align) + TEXT.format(read="ldr x3, [x1, x4]"))
        under_test = UnderTest(str(source))
        assert under_test.contract.tables[0].granted == granted
        assert under_test.at(3).target.tables[0].pa % 32 == (8 if granted == 8 else 0)
    source.write_text(header.format(align="24-byte aligned, ") + TEXT.format(read="ldr x3, [x1, x4]"))
    with pytest.raises(InvalidContract, match="24-byte aligned: a power of two"):
        UnderTest(str(source))


@pytest.mark.parametrize("value", ["0", "3", "8192", "-8", '"8"', "true"])
def test_an_alignment_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidContract, match=r"table\[0\]\.align"):
        UnderTest(written(tmp_path, "ldr x3, [x1, x4]", table=f"align = {value}"))


@pytest.mark.parametrize(
    ("nr_cpus", "least"), [("4", True), ("3", False), ("{ default = 256, sweep = [1, 4, 256] }", False)]
)
def test_it_is_tried_where_nothing_else_shows_it(tmp_path: Path, nr_cpus: str, least: bool) -> None:
    """A table of an odd number of entries is no better aligned than these need."""
    under_test = UnderTest(written(tmp_path, "ldr x3, [x1, x4]", nr_cpus=nr_cpus))
    built = under_test.build_all(under_test.sizes)
    assert [each.others == LEAST_OF_ALL for each in built] == [False] * (len(built) - least) + [True] * least


def test_tables_of_several_kinds_lie_at_the_least_of_each(tmp_path: Path) -> None:
    """With a page that nothing reads before each; a structure of 32 bytes needs 8."""
    name = str(Path(__file__).parent / "correct" / "hash.S")
    target = UnderTest(name).at(4, LEAST_OF_ALL).target
    usual = UnderTest(name).at(4).target
    assert [each.pa % (2 * each.table.granted) == each.table.granted for each in target.tables] == [True] * 3
    assert target.better_aligned == frozenset()
    assert usual.better_aligned
    for before, behind in zip(target.tables, target.tables[1:], strict=False):
        assert (behind.pa & -4096) - before.bytes_at.stop >= 4096


def test_tables_of_the_subject_stay_where_they_are(tmp_path: Path) -> None:
    """A case that says otherwise is refused."""
    with pytest.raises(InvalidCase, match="tables=least: v3 has its tables in itself"):
        UnderTest("v3").at(4, LEAST_OF_ALL)
    with pytest.raises(InvalidCase, match="tables=most: tables=least, or nothing"):
        LookupCase.parse("v3 nr-cpus=4 tables=most map= mpidr=0")
    assert UnderTest("v3").at(4).target.better_aligned == frozenset()


def test_a_campaign_asks_so_too(tmp_path: Path) -> None:
    name = written(tmp_path, READS["ORR of the index"][0])
    under_test = UnderTest(name)
    points = [(each.nr_cpus, each.others) for each in under_test.build_all(under_test.sizes)]
    assert points == [(4, ()), (4, LEAST_OF_ALL)]
    units = [unit for unit in opening(points) if unit.kind == "regression"]
    hits = [hit for unit in units for hit in run_unit(UnderTest(name), points, unit).hits]
    assert hits
    assert all(hit.case is not None and hit.case.others == LEAST_OF_ALL for hit in hits)


@pytest.mark.skipif(not has_prover(), reason="no z3")
@pytest.mark.parametrize("read", ["ORR of the index", "BFI of the index", "BIC to the pair"])
def test_a_proof_is_of_both(tmp_path: Path, read: str) -> None:
    """Of the bug it is refuted, by a question that says how the tables lie; the twin is proved."""
    for wrong, text in zip((True, False), READS[read], strict=True):
        proof = Proof(UnderTest(written(tmp_path, text)), 4)
        for _ in proof.run([4]):
            pass
        assert proof.why == ""
        assert [each.others for each in proof.findings] == [LEAST_OF_ALL] * len(proof.findings)
        assert bool(proof.findings) == wrong
        assert bool(proof.proved) != wrong
