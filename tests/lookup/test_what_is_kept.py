"""What a look-up finds on its stack, which holds anything at entry, and which system registers it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts import HWID, contract_toml
from test_what_is_left_open import SCAN, said, searched

from emu.arch.mpidr import MPIDR_HWID_BITMASK
from emu.errors import InvalidCase
from emu.fuzz.proof import Proof
from emu.fuzz.race import ask_case
from emu.lookup.case import LookupCase
from emu.report.lookup import case_of

STALE = "ldr x4, [sp, #-8]\n"
# Wrong where the MPIDR_EL1 before differs in a bit: nothing of a usual start does.
PREVIOUS = STALE + "str x0, [sp, #-8]\neor x4, x4, x0\ncmp x4, #0x101\nb.eq missing\n"


@pytest.mark.parametrize("register", ["elr_el1", "spsr_el1", "tpidr_el0", "csselr_el1"])
def test_a_system_register_that_it_names_comes_out_as_it_went_in(tmp_path: Path, register: str) -> None:
    """Planted, and its twin that restores it."""
    written = f"msr {register}, x0\n"
    restored = f"mrs x4, {register}\n{written}msr {register}, x4\n"
    (words,) = said(searched(tmp_path, HWID + written + SCAN))
    assert words.startswith(f"registers: {register.upper()} comes out as ")
    assert said(searched(tmp_path, HWID + restored + SCAN)) == []


@pytest.mark.parametrize(
    "stale", ["cbz x4, missing\n", "cmp x4, #1\nb.eq missing\n", "tbnz x4, #63, missing\n"]
)
def test_what_the_stack_holds_at_entry_does_not_matter(tmp_path: Path, stale: str) -> None:
    """Planted; and its twin, which stores there first."""
    assert said(searched(tmp_path, HWID + STALE + stale + SCAN))
    written = f"mov x4, #2\nstr x4, [sp, #-8]\n{STALE}{stale}"
    assert said(searched(tmp_path, HWID + written + SCAN)) == []


def test_what_another_question_has_left_on_the_stack_may_matter(tmp_path: Path) -> None:
    """The case has that of the stack which shows it, and is asked again alike."""
    done = searched(tmp_path, HWID + PREVIOUS + SCAN)
    (found,) = done.findings
    assert [name for name, _value in found.begin] == ["stack-8"]
    line = case_of(done.under_test, found, "", "").text()
    assert " with=stack-8:0x" in line
    assert ask_case(done.under_test, LookupCase.parse(line)).wrong == found.wrong


def test_a_proof_proposes_what_the_stack_holds(tmp_path: Path) -> None:
    """A value that no search tries."""
    lookup = searched(tmp_path, HWID + f"{STALE}ldr x5, =0x1234567890ab\ncmp x4, x5\nb.eq missing\n" + SCAN)
    proof = Proof(lookup.under_test, 1)
    for _ in proof.run([2]):
        pass
    (found,) = proof.findings
    assert found.begin == (("stack-8", 0x1234567890AB),)


@pytest.mark.parametrize("name", ["stack-0", "stack-4", "stack-", "stack-x", "stack-72"])
def test_a_place_that_is_not_on_the_stack_is_refused(tmp_path: Path, name: str) -> None:
    """Of a contract that gives 64 bytes."""
    done = searched(tmp_path, HWID + SCAN)
    line = f"{done.under_test.name} nr-cpus=2 with={name}:0x1 map=0x0,- mpidr=0x80000000"
    with pytest.raises(InvalidCase):
        ask_case(done.under_test, LookupCase.parse(line))


def test_constants_of_conditions_steer_nr_cpus(tmp_path: Path) -> None:
    """Planted at one NR_CPUS alone, and in a range of them; the smallest is told."""
    contract = contract_toml(range(6), nr_cpus="{ default = 256, sweep = [1, 2, 4095] }")
    for condition, nr_cpus in ("NR_CPUS == 513", 513), ("NR_CPUS > 0x1f0 && NR_CPUS < 2000", 497):
        short = f".if {condition}\ncmp x19, #NR_CPUS - 1\n.else\ncmp x19, #NR_CPUS\n.endif\n"
        text = HWID + SCAN.replace("cmp     x19, #NR_CPUS\n", short)
        assert text != HWID + SCAN
        (found,) = searched(tmp_path, text, contract).findings
        assert found.nr_cpus == nr_cpus
        assert found.question.mpidr & MPIDR_HWID_BITMASK == 0
