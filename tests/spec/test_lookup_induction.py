"""``emu lookup --prove all``: for tables as long as NR_CPUS, by induction over the rounds of the loops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from contracts import HWID, contract_toml

from emu.cli import main
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.proof import Proof
from emu.lookup.case import EVERY, LookupCase

z3 = pytest.importorskip("z3")
from emu.lookup.prove import solver  # noqa: E402

LOOKUPS = Path(__file__).parents[1] / "lookup"
# Loops over a table in the order of CPUs, and NR_CPUS: an odd one where a rest counts.
LINEAR = {
    "backward": 256,
    "branch_free": 256,
    "compact": 256,
    "early_out": 256,
    "flagless": 256,
    "forward": 256,
    "framed": 256,
    "gnu_only": 256,
    "halves": 256,
    "padded": 256,
    "pairs": 255,
    "parks": 256,
    "pointer": 256,
    "unrolled": 255,
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return status, output and messages of ``emu lookup``."""
    with pytest.raises(SystemExit) as ended:
        main(["lookup", *arguments])
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err


def proof_at(path: Path, *sizes: int) -> Proof:
    """Return the proof at these values of NR_CPUS."""
    proof = Proof(UnderTest(str(path)), EVERY)
    for _ in proof.run(sizes):
        pass
    return proof


@pytest.mark.parametrize("name", LINEAR)
def test_linear_look_ups_of_every_shape_are_proved_for_all_their_entries(name: str) -> None:
    """Forwards, backwards, by pointer, unrolled with a rest, in pairs, with a call, without branches."""
    proof = proof_at(LOOKUPS / "correct" / f"{name}.S", LINEAR[name])
    assert (proof.findings, proof.why) == ([], "")
    assert proof.proved[0].loops


@pytest.mark.parametrize("design", ["v2", "v3"])
def test_a_design_is_proved_for_4096_cpus(design: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is covered, the invariant, and the case that proves it again; its effort is that of 256 CPUs."""
    status, out, _ = run(capsys, design, "--prove", "all", "--nr-cpus", "4096")
    said = " ".join(out.split())
    assert status == 0
    assert (
        "proved by induction at NR_CPUS 4096: for every MPIDR_EL1, every table of up to NR_CPUS CPUs" in said
    )
    assert "at most 4096 rounds; x19 = rounds; no entry below rounds matches" in said
    assert "assumed: the MMU is off" in said
    (case,) = [line.partition("case: ")[2] for line in out.splitlines() if "case: " in line]
    assert case == f"{design} nr-cpus=4096 prove=all"
    assert LookupCase.parse(case).text() == case
    status, out, _ = run(capsys, "--case", case, "--json")
    (proved,) = json.loads(out)["proved"]
    assert (status, proved["cpus"], proved["loops"][0]["rounds_max"]) == (0, 4096, 4096)
    assert proved["queries"] < 100


def test_an_entry_of_no_cpu_that_is_a_hwid_is_refuted(capsys: pytest.CaptureFixture[str]) -> None:
    """rfc's unused entries hold 0, which is the hwid of a CPU."""
    status, out, _ = run(capsys, "rfc", "--prove", "all", "--json")
    assert (status, json.loads(out)["findings"][0]["nr_cpus"]) == (1, 1)


SCAN = """find:
        mrs     x0, mpidr_el1
        ldr     x1, =0xff00ffffff
        and     x0, x0, x1
        ldr     x1, =__cpu_logical_map
        mov     x19, #0
1:      {load}
        cmp     x3, x0
        b.eq    found
        {step}
        {compare}
        b.lo    1b
missing:
        b       missing
found:  nop
"""
TOML = contract_toml(
    range(5), nr_cpus="{{ default = {nr_cpus}, sweep = [] }}", lookup='instructions_max = "12 * NR_CPUS + 20"'
)
RIGHT = {
    "load": "ldr x3, [x1, x19, lsl #3]",
    "step": "add x19, x19, #1",
    "compare": "ldr x4, =NR_CPUS\ncmp x19, x4",
}
# What is wrong in large tables only, and the same repaired; from which NR_CPUS on it is wrong.
PLANTED = {
    "index-of-8-bits": (
        {"step": "add w19, w19, #1\nuxtb w19, w19"},
        {"step": "add w19, w19, #1\nuxth w19, w19"},
        256,
    ),
    "load-by-8-bits": (
        {"load": "sxtb x4, w19\nldr x3, [x1, x4, lsl #3]"},
        {"load": "sxth x4, w19\nldr x3, [x1, x4, lsl #3]"},
        129,
    ),
    "offset-of-14-bits": (
        {"load": "lsl w4, w19, #3\nand w4, w4, #0x3fff\nldr x3, [x1, x4]"},
        {"load": "lsl w4, w19, #3\nand w4, w4, #0x7fff\nldr x3, [x1, x4]"},
        2049,
    ),
    "end-of-12-bits": ({"compare": "cmp x19, #(NR_CPUS & 0xfff)"}, {}, 4096),
}


def written(folder: Path, nr_cpus: int, parts: dict[str, str]) -> Path:
    """Write a linear look-up of these parts; return its path."""
    path = folder / "user.S"
    path.write_text(SCAN.format(**(RIGHT | parts)))
    path.with_suffix(".toml").write_text(TOML.format(nr_cpus=nr_cpus))
    return path


@pytest.mark.parametrize("name", PLANTED)
def test_a_bug_of_large_tables_is_refuted_and_its_repair_proved(tmp_path: Path, name: str) -> None:
    """Below the first NR_CPUS at which it is wrong it is right, and proved."""
    wrong, repaired, nr_cpus = PLANTED[name]
    path = written(tmp_path, nr_cpus, wrong)
    refuted = proof_at(path, nr_cpus)
    assert refuted.findings, refuted.why
    assert not refuted.proved
    assert proof_at(written(tmp_path, nr_cpus - 1, wrong), nr_cpus - 1).proved
    mended = proof_at(written(tmp_path, nr_cpus, repaired), nr_cpus)
    assert (mended.findings, mended.why) == ([], "")


@pytest.mark.parametrize(
    ("parts", "prop"),
    [
        ({"step": "add x19, x19, #2"}, "answer"),
        ({"compare": "ldr x4, =NR_CPUS-1\ncmp x19, x4"}, "answer"),
        ({"compare": "ldr x4, =NR_CPUS+2\ncmp x19, x4"}, "answer"),
        ({"step": "nop"}, "exit"),
        ({"load": "ldr x3, [x1], #16"}, "answer"),
        ({"compare": "ldr x4, =NR_CPUS\ncmp x19, x4\nmov x5, #0"}, "registers"),
        ({"load": "ldr x3, [x1, x19, lsl #3]\n" + "nop\n" * 12}, "bound"),
    ],
    ids=["every-second", "one-less", "one-more", "no-step", "stride", "clobber", "bound"],
)
def test_what_is_wrong_in_each_round_is_refuted_at_300(
    tmp_path: Path, parts: dict[str, str], prop: str
) -> None:
    """By a question that the emulator answers wrongly."""
    proof = proof_at(written(tmp_path, 300, parts), 300)
    assert prop in {found.wrong.prop for found in proof.findings if found.wrong}, proof.why
    assert not proof.proved


def test_terms_of_one_proof_are_not_there_in_the_next(tmp_path: Path) -> None:
    """When Python's collector let go of them, amid the next one, z3 proposed another question there."""
    contexts = [z3.main_ctx()]
    for _ in range(2):
        assert proof_at(written(tmp_path, 300, {}), 300).proved
        contexts.append(z3.main_ctx())
    assert len({id(context) for context in contexts}) == 3


def test_no_inductive_argument_is_said_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """125: neither proved nor refuted."""
    status, _, err = run(capsys, str(LOOKUPS / "correct" / "binary.S"), "--prove", "all")
    assert status == 125
    assert "cannot be proved at NR_CPUS=1: no inductive argument: a table of sorted-hwid" in err


def test_a_loop_within_a_loop_has_no_inductive_argument(tmp_path: Path) -> None:
    """The number of an entry is counted up to in each round: right, and not proved."""
    step = "mov x4, #0\n2: add x4, x4, #1\ncmp x4, x19\nb.ls 2b\nmov x19, x4"
    proof = proof_at(written(tmp_path, 64, {"step": step}), 64)
    assert (proof.findings, proof.proved) == ([], [])
    assert proof.why == (
        "no inductive argument: find+0x14: a loop with too many ways round, or with one within"
    )


@pytest.mark.parametrize("arguments", [("--prove", "any"), ("--prove", "0"), ("--prove", "65")])
def test_for_how_many_cpus_is_a_number_or_all(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2."""
    assert run(capsys, "v3", *arguments)[0] == 2


# Of one CPU of 256 with one hwid of 2^40: no random question meets it, nor one of a few CPUs.
FAR = (
    HWID
    + """        ldr     x1, =__cpu_logical_map
        mov     x19, #0
1:      ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x0
        {found}
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    1b
missing:
        b       missing
2:      cmp     x19, #100
        b.ne    found
        eor     x4, x0, x0, lsl #9
        add     x4, x4, x0
        ldr     x5, =0xb4b586e3b936
        cmp     x4, x5
        b.ne    found
        mov     x19, #0
found:  nop
"""
)


TO_REGISTER = {
    "return": "adr x4, 7f\nret x4\nbrk #1\n7:",
    "jump-table": "and x4, x0, #1\nadr x3, 6f\nldrsw x4, [x3, x4, lsl #2]\nadd x3, x3, x4\nbr x3\n"
    "6: .word 7f - 6b, 8f - 6b\n8: nop\n7:",
}


@pytest.mark.parametrize("way", TO_REGISTER)
@pytest.mark.parametrize("is_wrong", [True, False])
def test_a_loop_behind_a_branch_to_a_register_is_gone_through_once(
    tmp_path: Path, way: str, is_wrong: bool
) -> None:
    """Such code is not seen from the entry on, and its rounds were followed one by one."""
    text = SCAN.replace("        mov     x19, #0\n", f"{TO_REGISTER[way]} mov x19, #0\n")
    path = tmp_path / "user.S"
    compare = f"ldr x4, =NR_CPUS - {int(is_wrong)}\ncmp x19, x4"
    path.write_text(text.format(**(RIGHT | {"compare": compare})))
    path.with_suffix(".toml").write_text(TOML.format(nr_cpus=3000))
    proof = proof_at(path, 3000)
    assert proof.why == ""
    assert bool(proof.findings) == is_wrong
    assert is_wrong or proof.proved[0].loops
    assert is_wrong or proof.proved[0].counts.steps < 1000


@pytest.mark.parametrize("most", [0, 10**9])
def test_all_questions_of_a_quick_proof_have_one_bound(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over it is given up, or hundreds of questions took a second each."""
    monkeypatch.setattr(solver, "_ALL_QUICK", most)
    monkeypatch.setattr(solver, "_FIRST_QUICK", 1)
    solver.begin_anew()
    asked = solver.Solver(quick=True)
    one, two = z3.BitVecs("one two", 16)
    asked.add(one * two == 0x1234, z3.UGT(one, 5), z3.UGT(two, 5))
    assert [asked.check() is not None for _ in range(2)] == [True, most > 0]


@pytest.mark.parametrize("is_wrong", [True, False])
def test_a_search_that_finds_nothing_is_proved_for_all_entries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_wrong: bool
) -> None:
    """Beside a search, at the NR_CPUS that are too large for its paths; what it cannot meet is found."""
    source = tmp_path / "user.S"
    source.write_text(FAR.format(found="b.eq 2b" if is_wrong else "b.eq found").replace("2b", "2f"))
    source.with_suffix(".toml").write_text(contract_toml(range(6), nr_cpus="256"))
    status, out, _ = run(capsys, str(source), "--cases", "100", "--json")
    done = json.loads(out)
    assert status == int(is_wrong)
    assert done["proved_by_induction"] == ([] if is_wrong else [256])
    status, out, _ = run(capsys, str(source), "--cases", "100")
    said = "proved for every NR_CPUS gone through, whatever the table (--prove N, by induction: --prove all)"
    assert (said in " ".join(out.split())) == (not is_wrong)


def test_what_takes_more_than_a_usual_scan_is_proved_beside_a_search(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At each of eight NR_CPUS, with a frame on the stack."""
    status, out, _ = run(capsys, str(LOOKUPS / "correct" / "framed.S"), "--cases", "100")
    assert (status, "proved for every NR_CPUS gone through" in " ".join(out.split())) == (0, True)


def test_what_is_not_quickly_proved_beside_a_search_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is what has no inductive argument; the status is that of the search."""
    monkeypatch.setattr("emu.fuzz.proof._EFFORT_QUICK", 300)
    for name, why in (("framed", "more work than is quickly done"), ("binary", "a table of sorted-hwid")):
        status, out, _ = run(capsys, str(LOOKUPS / "correct" / f"{name}.S"), "--cases", "100")
        whole = " ".join(out.split())
        assert status == 0
        assert why in whole
        assert "proved for every" not in whole
