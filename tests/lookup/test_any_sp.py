"""Where the contract gives a stack SP may be any multiple of 16: no answer may depend on which."""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts import HWID
from test_what_is_left_open import SCAN, TOML, said, searched

from emu.errors import InvalidCase
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.proof import Proof
from emu.fuzz.race import ask_case
from emu.lookup.case import LookupCase
from emu.report.lookup import case_of

OF_SP = "mov x4, sp\nand x4, x4, #{mask:#x}\nmov x5, #{value:#x}\ncmp x4, x5\nb.eq missing\n"
FRAMED = "stp x0, x1, [sp, #-16]!\nldr x0, [sp], #16\n"
INDEXED = (
    "sub sp, sp, #64\nand x4, x0, #{mask}\nstr x0, [sp, x4, lsl #3]\n"
    "ldr x0, [sp, x4, lsl #3]\nadd sp, sp, #64\n"
)
ALIGNED = (
    "mov x5, sp\nand x4, x5, #~31\nsub sp, x4, #32\nstr x0, [sp, #{at}]\nldr x0, [sp, #{at}]\nmov sp, x5\n"
)


@pytest.fixture
def only_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a proof beside it."""
    monkeypatch.setattr("emu.fuzz.proof.has_prover", lambda: False)


def proved(folder: Path, between: str) -> Proof:
    """Return the proof for up to 2 CPUs."""
    pytest.importorskip("z3")
    source = folder / "user.S"
    source.write_text(HWID + between + SCAN)
    source.with_suffix(".toml").write_text(TOML)
    proof = Proof(UnderTest(str(source)), 2)
    for _ in proof.run([2]):
        pass
    return proof


@pytest.mark.usefixtures("only_search")
@pytest.mark.parametrize("value", [0x120, 0xFF0, 0x128], ids=["planted", "planted-at-the-end", "twin"])
def test_an_answer_that_depends_on_low_bits_of_sp_is_found(tmp_path: Path, value: int) -> None:
    """The case has them and is asked again alike. Twin: SP is never such a value."""
    between = OF_SP.format(mask=0xFF8 if value % 16 else 0xFF0, value=value) + FRAMED
    done = searched(tmp_path, HWID + between + SCAN)
    if value % 16:
        assert done.findings == []
        return
    (found,) = done.findings
    case = case_of(done.under_test, found, "", "")
    assert case.begin == (("sp", value),)
    assert LookupCase.parse(case.text()).text() == case.text()
    assert ask_case(done.under_test, case).wrong == found.wrong


@pytest.mark.parametrize("value", [0x120, 0x9990, 0x9998], ids=["in-a-page", "in-64-kib", "twin"])
def test_a_proof_is_of_every_sp(tmp_path: Path, value: int) -> None:
    """Also of bits that the search leaves as they are."""
    proof = proved(tmp_path, OF_SP.format(mask=0xFFF8, value=value) + FRAMED)
    assert proof.why == ""
    assert [each.begin for each in proof.findings] == ([(("sp", value),)] if not value % 16 else [])


@pytest.mark.parametrize("mask", [15, 7], ids=["planted", "twin"])
def test_a_store_to_the_stack_by_an_index_is_proved(tmp_path: Path, mask: int) -> None:
    """Each place that the index may have is stored to or kept; planted: it may be over the end."""
    proof = proved(tmp_path, INDEXED.format(mask=mask))
    assert proof.why == ""
    assert [each.wrong.prop for each in proof.findings if each.wrong] == (["memory"] if mask == 15 else [])


@pytest.mark.parametrize("at", [64, 24], ids=["planted", "twin"])
def test_a_frame_that_is_aligned_to_more_than_16_bytes_is_proved(tmp_path: Path, at: int) -> None:
    """Where it lies below SP depends on SP; planted: it is over the end for some."""
    proof = proved(tmp_path, ALIGNED.format(at=at))
    assert proof.why == ""
    assert [each.wrong.prop for each in proof.findings if each.wrong] == (["memory"] if at == 64 else [])


@pytest.mark.parametrize("value", [0x8, 0x10000])
def test_an_sp_that_none_can_be_is_refused(tmp_path: Path, value: int) -> None:
    done = searched(tmp_path, HWID + SCAN)
    assert said(done) == []
    case = LookupCase.parse(f"user.S nr-cpus=2 with=sp:{value:#x} map=0x0 mpidr=0x80000000")
    with pytest.raises(InvalidCase, match=r"^case: with=sp:0x[0-9a-f]+: user.S has a stack: the low 16 bits"):
        ask_case(done.under_test, case)
