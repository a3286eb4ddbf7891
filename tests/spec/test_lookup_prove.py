"""``emu lookup --prove``: what is right is proved, what is wrong refuted by what the emulator then shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from contracts import NEXT, contract_toml
from programs import run_emu

from emu.cli import main
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.proof import Proof

pytest.importorskip("z3")
from emu.lookup.prove import solver  # noqa: E402

LOOKUPS = Path(__file__).parents[1] / "lookup"
CORRECT = sorted(path.stem for path in (LOOKUPS / "correct").glob("*.S"))
RACES = ("torn_halves",)  # a proof is about tables at rest
MUTANTS = sorted(path.stem for path in (LOOKUPS / "mutants").glob("*.S") if path.stem not in RACES)
LARGE = (
    "index_of_8_bits",
    "index_of_8_signed_bits",
    "quadratic",
    "unrolled_once",
)  # right below 6 CPUs and more
UNKNOWN = ("locks_the_table",)  # exclusives


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return status, output and messages of ``emu lookup``."""
    with pytest.raises(SystemExit) as ended:
        main(["lookup", *arguments])
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err


def proof_of(path: Path, cpus: int) -> Proof:
    """Return the proof for 1 to ``cpus`` CPUs."""
    proof = Proof(UnderTest(str(path)), cpus)
    for _ in proof.run(range(1, cpus + 1)):
        pass
    return proof


@pytest.mark.parametrize("name", CORRECT)
def test_correct_look_ups_of_every_shape_are_proved(name: str) -> None:
    """Linear, binary, hashed, permuted, unrolled, branch-free, with a stack, with other instructions."""
    proof = proof_of(LOOKUPS / "correct" / f"{name}.S", 3)
    assert (proof.findings, proof.why) == ([], "")
    assert [each.nr_cpus for each in proof.proved] == [1, 2, 3]


@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in LARGE + UNKNOWN])
def test_planted_bugs_are_refuted(name: str) -> None:
    """Each by a question that the emulator answers wrongly, at the smallest NR_CPUS that has one."""
    proof = proof_of(LOOKUPS / "mutants" / f"{name}.S", 8)
    assert proof.findings, proof.why
    for found in proof.findings:
        assert found.wrong is not None
        assert found.nr_cpus == proof.at


CHANGED = {
    # The kernel's struct mpidr_hash, and 256 buckets whatever NR_CPUS is.
    "hash": (("b.ne    missing", "nop"), ("hash.toml", '"hash-to-cpu"', '"hash-to-cpu"\ncount = 256')),
    # Trusted Firmware-A's plat_arm_calc_core_pos: a guess that is not in the table, or past its end.
    "core_pos": (
        ("ldr     x2, [x1, x19, lsl #3]\n        cmp     x2, x0\n        b.eq    found\n1:", "b found\n1:"),
        None,
    ),
}


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("is_planted", [False, True], ids=["right", "planted"])
def test_correct_arithmetic_is_proved_and_its_twin_refuted(
    tmp_path: Path, name: str, is_planted: bool
) -> None:
    """For up to 4 CPUs; the planted bug believes what it has computed."""
    (old, new), contract = CHANGED[name]
    text = (LOOKUPS / "correct" / f"{name}.S").read_text()
    assert old in text
    (tmp_path / f"{name}.S").write_text(text.replace(old, new, 1) if is_planted else text)
    if contract is not None:
        file, old, new = contract
        toml = (LOOKUPS / "correct" / file).read_text()
        assert old in toml
        (tmp_path / file).write_text(toml.replace(old, new))
    proof = proof_of(tmp_path / f"{name}.S", 4)
    assert bool(proof.findings) == is_planted
    assert is_planted or [each.nr_cpus for each in proof.proved] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_semantics_is_neither_proved_nor_refuted(name: str) -> None:
    """The instruction is known by its place and word."""
    proof = proof_of(LOOKUPS / "mutants" / f"{name}.S", 1)
    assert (proof.findings, proof.why) == ([], "an instruction without semantics")
    assert proof.unknown is not None


@pytest.mark.parametrize("word", ["svc #0", "hvc #0", "brk #0x800", "hlt #0", "udf #0"])
@pytest.mark.parametrize("is_planted", [True, False])
def test_what_does_not_go_on_is_refuted_where_it_is_reached(
    tmp_path: Path, word: str, is_planted: bool
) -> None:
    """BUG() for one hwid of 2^40; its twin is behind a condition that no MPIDR_EL1 meets."""
    wanted = 0x5A_00C3_719B if is_planted else 0x5A_01C3_719B
    path = written(tmp_path, f"ldr x4, ={wanted - 7:#x}\nadd x4, x4, #7\ncmp x0, x4\nb.ne 5f\n{word}\n5:")
    proof = proof_of(Path(path), 1)
    assert proof.why == ""
    assert [each.wrong.prop for each in proof.findings if each.wrong] == ["exit"] * is_planted


def test_a_bug_of_large_tables_is_none_of_small_ones() -> None:
    """A proof says for how many CPUs it is."""
    assert proof_of(LOOKUPS / "mutants" / "index_of_8_bits.S", 2).findings == []


@pytest.mark.parametrize("design", ["v2", "v3"])
def test_a_design_is_proved(design: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is covered and assumed, and the case that proves it again."""
    status, out, _ = run(capsys, design, "--prove", "4")
    assert status == 0
    said = " ".join(out.split())
    assert "proved at NR_CPUS 1..4: for every MPIDR_EL1, every table of up to 4 CPUs" in said
    assert "assumed: the MMU is off" in said
    (case,) = [line.partition("case: ")[2] for line in out.splitlines() if "case: " in line]
    assert case == f"{design} nr-cpus=4 prove=4"
    assert run(capsys, "--case", case)[0] == 0


def test_an_entry_of_no_cpu_that_is_a_hwid_is_refuted(capsys: pytest.CaptureFixture[str]) -> None:
    """rfc's unused entries hold 0, which is the hwid of a CPU."""
    status, out, _ = run(capsys, "rfc", "--prove", "8", "--json")
    found = json.loads(out)
    assert (status, found["verdict"], found["findings"][0]["nr_cpus"]) == (1, "fail", 1)
    assert found["findings"][0]["mpidr"] & 0xFF_00FF_FFFF == 0


MAGIC = (
    """find:
        mrs     x0, mpidr_el1
        ldr     x1, =0xff00ffffff
        and     x0, x0, x1
{}
        ldr     x1, =__cpu_logical_map
        mov     x19, #0
1:      ldr     x3, [x1, x19, lsl #3]
"""
    + NEXT
)
TOML = contract_toml(range(5))


def written(folder: Path, between: str) -> str:
    """Write a look-up with something in it; return its path."""
    path = folder / "user.S"
    path.write_text(MAGIC.format(between))
    path.with_suffix(".toml").write_text(TOML)
    return str(path)


@pytest.mark.parametrize(
    "between",
    [
        "ldr x4, =0x5a00c3719b\ncmp x0, x4\nb.ne 3f\nmov x19, #0\nb found\n3:",
        "ldr x4, =0x5a00c3719b\neor x4, x4, x0\ncbnz x4, 3f\nmov x0, #1\n3:",
        "lsr x2, x0, #32\ncmp x2, #0x5a\nb.ne 3f\n"
        "movz w4, #0x719b\nmovk w4, #0xc3, lsl #16\ncmp w0, w4\nb.ne 3f\n"
        "mov x19, #0\nb found\n3:",
    ],
    ids=["compare", "eor", "in-parts"],
)
def test_one_hwid_of_2_40_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str], between: str) -> None:
    """What random questions never meet, a proof does."""
    status, out, _ = run(capsys, written(tmp_path, between), "--prove", "2", "--json")
    assert status == 1
    assert json.loads(out)["findings"][0]["mpidr"] & 0xFF_00FF_FFFF == 0x5A_00C3_719B


def test_one_value_of_a_register_is_found_and_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no usual start shows: the case has the register."""
    path = written(tmp_path, "movz x4, #0x1234, lsl #32\ncmp x7, x4\nb.ne 3f\nmov x0, #1\n3:")
    status, out, _ = run(capsys, path, "--prove", "1")
    assert status == 1
    assert "x7 = 0x123400000000" in " ".join(out.split())
    case = next(line.partition("case: ")[2] for line in out.splitlines() if "case: " in line)
    assert " with=x7:0x123400000000 " in case
    assert run(capsys, "--case", case)[0] == 1


def test_an_instruction_without_semantics_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not proved is no finding, and no silence: 125."""
    status, _, err = run(capsys, written(tmp_path, "fmov x4, d0"), "--prove", "1")
    assert status == 125
    assert "cannot be proved at NR_CPUS=2: find+0xc: fmov x4, d0: an instruction without semantics" in err


@pytest.mark.parametrize("arguments", [("--prove", "0"), ("--prove", "4", "--seed", "1")])
def test_what_a_proof_has_no_use_for_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2."""
    assert run(capsys, "v3", *arguments)[0] == 2


def test_a_proof_is_a_report_too(capsys: pytest.CaptureFixture[str]) -> None:
    """KTAP: the properties that hold, and the one that a proof says nothing of."""
    status, out, _ = run(capsys, "v3", "--prove", "2", "--ktap")
    assert status == 0
    assert "ok 1 answer" in out
    assert "concurrent # SKIP a proof is about tables at rest" in out


def test_a_search_that_finds_nothing_is_proved_for_few_cpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line says what was proved; what the search cannot meet is found."""
    path = written(tmp_path, "nop")
    status, out, _ = run(capsys, path, "--cases", "100")
    assert status == 0
    assert "proved for every NR_CPUS gone through, whatever the table (--prove N)" in out.splitlines()
    mixed = "eor x4, x0, x0, lsl #9\nadd x4, x4, x0\nldr x2, =0xb4b586e3b936"  # of the hwid 0x5a00c3719b
    path = written(tmp_path, f"{mixed}\ncmp x2, x4\nb.ne 3f\nmov x19, #0\nb found\n3:")
    status, out, _ = run(capsys, path, "--cases", "100", "--json")
    assert (status, json.loads(out)["proved"]) == (1, [])


def test_what_a_proof_cannot_do_beside_a_search_is_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The search is the answer, and a line says why it was not proved."""
    status, out, _ = run(capsys, written(tmp_path, "mrs x4, midr_el1"), "--cases", "100")
    assert status == 0
    said = " ".join(out.split())
    assert "not proved at NR_CPUS=2: find+0xc: mrs x4, midr_el1: an instruction without semantics" in said


BYTES = """adr x4, bytes
        and x2, x0, #0x3f
        ldrb w2, [x4, x2]
        bfi x0, x2, #0, #6
        b 3f
bytes:  .set value, 0
        .rept 64
        .byte value{}
        .set value, value + 1
        .endr
        .balign 4
3:"""


@pytest.mark.parametrize(("wrong", "status"), [("", 0), (" + (value == 33)", 1)], ids=["right", "one-byte"])
def test_a_table_of_the_codes_own_is_read_at_an_address_of_symbols(
    wrong: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each byte of it counts."""
    assert run(capsys, written(tmp_path, BYTES.format(wrong)), "--prove", "2")[0] == status


def test_a_question_that_is_too_hard_ends_as_not_proved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proof goes on for ever: a limit in the solver's own units, then 125."""
    for name in ("_FIRST", "_BITS", "_LAST"):
        monkeypatch.setattr(solver, name, 100_000)
    hard = "mul x4, x0, x0\nmul x2, x4, x4\nudiv x2, x2, x0\neor x4, x2, x4, lsr #13\nmul x4, x4, x2\n"
    path = written(tmp_path, f"{hard}ldr x2, =0x123456789abcdef1\ncmp x4, x2\nb.eq found\n")
    status, _, err = run(capsys, path, "--prove", "1")
    assert status == 125
    assert "z3 has given up a question of it: too much work" in err


@pytest.mark.parametrize("asked", ["-1", "0", "65", "1e3", "every"])
def test_a_number_of_cpus_that_no_proof_is_for_is_refused_in_words(asked: str) -> None:
    done = run_emu("lookup", "v3", "--prove", asked)
    assert (done.returncode, done.stderr) == (2, f"emu: prove={asked}: 1..64 CPUs, or all\n")
