"""``emu litmus``: the states of litmus tests under sequential consistency, and herd's text of them."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from litmus_programs import FENCES, RESULTS, SHAPES, SPELLINGS, fenced, litmus_text, sc_states
from programs import run_emu

from emu.cpu.cores import CORES
from emu.litmus.batch import Settings, find_files, run_chunk
from emu.litmus.layout import Layout, place
from emu.litmus.parser import parse_test
from emu.litmus.run import LitmusResult, run_test
from emu.litmus.text import result_lines

OWN = Path(__file__).parents[1] / "litmus"
_SC = Settings("sc", "max", 1_000_000)


def states_of(text: str, cpu: str = "max") -> set[str]:
    """The final states of a test, as herd prints them."""
    (layout,) = place([parse_test(text, "test.litmus")])
    assert isinstance(layout, Layout), layout
    return set(_states(run_test(layout, "sc", CORES[cpu])))


def _states(result: LitmusResult) -> list[str]:
    lines = list(result_lines(result))
    return lines[2 : 2 + len(result.states)]


def test_our_tests_have_the_states_that_are_written_beside_them() -> None:
    outcomes = run_chunk(find_files([OWN]), _SC)
    lines = [line for result in outcomes if isinstance(result, LitmusResult) for line in result_lines(result)]
    assert lines == (OWN / "states.txt").read_text().splitlines()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_the_states_of_a_naive_enumeration_however_it_is_fenced(shape: str) -> None:
    """Sequential consistency knows no barriers: each spelling of a shape has the same states."""
    for fence in FENCES:
        threads = fenced(SHAPES[shape], fence)
        expected = sc_states(threads)
        for spelling in SPELLINGS:
            assert states_of(litmus_text(shape, threads, spelling)) == expected


@pytest.mark.parametrize("seed", range(60))
def test_a_random_test_has_the_states_of_a_naive_enumeration(seed: int) -> None:
    """Loads, stores, swaps, additions, compare-and-swaps, exclusives that may fail; two or three threads."""
    draw = random.Random(seed)
    count = draw.choice((2, 2, 2, 3))
    threads = [
        [_operation(draw) for _ in range(draw.randint(1, 4 if count == 2 else 3))] for _ in range(count)
    ]
    assert states_of(litmus_text(f"random{seed}", threads)) == sc_states(threads)


def _operation(draw: random.Random) -> tuple[object, ...]:
    name = draw.choice((*RESULTS, "W", "R"))
    variable = draw.choice("xy")
    return (name, variable) if name in ("R", "LX") else (name, variable, draw.randint(1, 2))


# -- herd's catalogue -----------------------------------------------------------------------------


def _catalogue() -> Path | None:
    # Where herd's tests are, with index.json: a folder, or a tar archive of one. They are not ours to carry.
    if named := os.environ.get("EMU_LITMUS"):
        return Path(named)
    beside = Path(__file__).parents[3] / "shared" / "litmus-aarch64.tar.xz"
    return beside if beside.exists() else None


CATALOGUE = _catalogue()

if CATALOGUE is not None:  # no skip: there is nothing that a developer could install

    @pytest.fixture(scope="module")
    def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder of the catalogue."""
        assert CATALOGUE is not None
        if CATALOGUE.is_dir():
            return CATALOGUE
        folder = tmp_path_factory.mktemp("litmus")
        subprocess.run(["tar", "-xf", CATALOGUE, "-C", folder], check=True)  # tarfile's filter is of 3.11.4
        return folder

    def test_the_states_of_the_catalogue_are_those_of_herd(catalogue: Path) -> None:
        """A219 and A262 too, where executions that take a number for an address have no final state.

        In A219 one of three threads may load the number 2 and load from there; the other ends are its six
        states. In A262 every execution does, so there is none, and the observation is Never.
        """
        entries = json.loads((catalogue / "index.json").read_text())
        outcomes = run_chunk([catalogue / entry["file"] for entry in entries], _SC)
        wrong = []
        for entry, result in zip(entries, outcomes, strict=True):
            if not isinstance(result, LitmusResult):
                wrong.append(f"{entry['file']}: {result}")
            elif set(_states(result)) != set(entry["states_sc"]):
                wrong.append(f"{entry['file']}: {_states(result)} and not {entry['states_sc']}")
            elif result.observation != entry["observation_sc"] or result.incomplete:
                wrong.append(f"{entry['file']}: {result.observation} {result.incomplete}")
        assert not wrong, "\n".join(wrong)
        assert len(outcomes) > 400
        ran = [result for result in outcomes if isinstance(result, LitmusResult)]
        assert {result.test.name for result in ran if result.others} == {"A219", "A262"}


# -- the command ----------------------------------------------------------------------------------


def test_a_folder_gives_the_same_text_in_one_process_and_in_two(tmp_path: Path) -> None:
    for number in range(40):  # more than one process gets at a time
        draw = random.Random(number)
        threads = [[_operation(draw) for _ in range(2)] for _ in range(2)]
        (tmp_path / f"t{number:02}.litmus").write_text(litmus_text(f"t{number}", threads))
    one, two = (run_emu("litmus", str(tmp_path), "-j", jobs) for jobs in "12")
    assert (one.returncode, two.returncode) == (0, 0)
    assert one.stdout == two.stdout
    assert one.stdout.splitlines()[-1].startswith("40 tests: ")


def test_json_has_states_and_verdict() -> None:
    done = run_emu("litmus", str(OWN / "SB.litmus"), "--json")
    assert done.returncode == 0
    (test,) = json.loads(done.stdout)["tests"]
    assert test["observation"] == "Never"
    assert test["validated"] is False
    assert test["states"][0] == {"0:X2": "0", "1:X2": "1"}
    assert (test["model"], test["complete"]) == ("sc", True)


def test_the_status_says_whether_tests_ran(tmp_path: Path) -> None:
    wrong, unmodelled = tmp_path / "wrong.litmus", tmp_path / "unmodelled.litmus"
    wrong.write_text("X86 SB\n{}\n")
    unmodelled.write_text("AArch64 F\n{ 0:X1=x; }\nP0 ;\nLDR W0,[X1] ;\nexists (fault(P0,x))\n")
    good = str(OWN / "SB.litmus")
    assert run_emu("litmus", good, str(unmodelled)).returncode == 125
    both = run_emu("litmus", str(wrong), good, str(unmodelled))
    assert both.returncode == 2
    assert "Test SB Allowed" in both.stdout
    assert both.stdout.splitlines()[-1].endswith("2 did not run")


def test_an_instruction_that_the_core_lacks_is_not_modelled() -> None:
    done = run_emu("litmus", str(OWN / "swap.litmus"), "--cpu", "cortex-a72")
    assert done.returncode == 125
    assert "SWP W3,W0,[X1] is UNDEFINED on cortex-a72" in done.stderr
    assert run_emu("litmus", str(OWN / "swap.litmus"), "--cpu", "neoverse-n1").returncode == 0


PAIR = """AArch64 pair
{{ int64_t t[2]; 0:X1=t; 1:X1=t; }}
P0 | P1 ;
MOV X2,#1 | {0} ;
{1} | {2} ;
exists (1:X2=1 /\\ 1:X3=0)
"""


@pytest.mark.parametrize(
    ("threads", "verdict"),
    [
        (("LDR X2,[X1,#8]", "STP X2,X2,[X1]", "LDR X3,[X1]"), "Sometimes 1 3"),
        (("LDR X2,[X1]", "STP X2,X2,[X1]", "LDR X3,[X1,#8]"), "Sometimes 1 3"),
        (("NOP", "STR X2,[X1]", "LDP X3,X2,[X1]"), "Never 0 2"),
        (("NOP", "STP X2,X2,[X1]", "LDP X3,X2,[X1]"), "Sometimes 1 3"),
        (("LDXR X2,[X1]", "STR X2,[X1]", "LDR X3,[X1]"), "Never 0 3"),
    ],
)
def test_a_pair_is_two_accesses_in_either_order(
    threads: tuple[str, ...], verdict: str, tmp_path: Path
) -> None:
    pair = tmp_path / "pair.litmus"
    pair.write_text(PAIR.format(*threads))
    done = run_emu("litmus", str(pair))
    assert done.returncode == 0
    assert f"Observation pair {verdict}" in done.stdout


def test_an_unknown_model_is_refused_with_what_there_is() -> None:
    done = run_emu("litmus", str(OWN / "SB.litmus"), "--model", "armv8")
    assert done.returncode == 2
    assert "model=armv8" in done.stderr
    assert "sc" in done.stderr


def test_a_search_that_is_cut_off_says_so() -> None:
    done = run_emu("litmus", str(OWN / "IRIW.litmus"), "--max-schedules", "2")
    assert done.returncode == 125
    assert "incomplete: 2 schedules" in done.stderr
