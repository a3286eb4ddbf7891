"""SUBJECT and ``--case`` together: that case, on this subject, changed by the other options."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from programs import run_emu, run_program

from emu.case import Case
from emu.errors import InvalidCase
from emu.lookup.case import LookupCase
from emu.subject.fragment import asm_dir

SOURCE = (asm_dir().parent / "examples" / "my_boot.S").read_text()
CASE = "v2 topology=smt:2 el=2"


def said(*words: str | Path, cwd: Path | None = None) -> str:
    """Status, the last line of standard output, and standard error."""
    done = run_emu(*words, cwd=cwd)
    return f"{done.returncode}: {(done.stdout.splitlines() or [''])[-1]}{done.stderr}"


def case_of(*words: str | Path, cwd: Path | None = None) -> Case:
    """The case that a command says it ran."""
    done = run_emu(*words, cwd=cwd)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("case: ")][-1:]
    return Case.parse(line.removeprefix("case: "))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sources that are not the same, and a script that steps to the end."""
    (tmp_path / "a.S").write_text(SOURCE)
    (tmp_path / "b.S").write_text(f"{SOURCE}\n        nop\n")
    (tmp_path / "to-the-end").write_text("c\n")
    return tmp_path


RUNS = {
    "boot": ("boot",),
    "explore": ("explore",),
    "step": ("step", "--script", "to-the-end"),
    "trace": ("trace", "-o", "t"),
}


@pytest.mark.parametrize("command", RUNS)
def test_the_case_runs_on_the_subject(command: str, folder: Path) -> None:
    words = (*RUNS[command], "rfc", "--case", CASE)
    if command == "step":  # in a process of its own: it forks
        line = run_program(sys.executable, "-m", "emu", *words, cwd=folder).stdout.splitlines()[-1]
        found = Case.parse(line.removeprefix("case: "))
    else:
        found = case_of(*words, cwd=folder)
    assert (found.subject, found.topology, found.el) == ("rfc", "smt:2", 2)


@pytest.mark.parametrize("command", [*RUNS, "gdb"])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "--case nonsense: no case: nonsense is no file, and not one of "),
        ("v4 el=2", "--case v4: no case: v4 is no file, and not one of "),
        ("v3 el=2 el=1", "case: el=1: el is there twice"),
        ("v3 els=2", "case: els=2: not one of "),
    ],
)
def test_text_that_is_no_case_is_refused_beside_a_subject(
    command: str, text: str, why: str, folder: Path
) -> None:
    done = run_emu(*RUNS.get(command, (command,)), "v3", "--case", text, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"emu: {why}")
    assert len(done.stderr.splitlines()) == 1


def test_the_case_of_a_file_that_is_elsewhere_runs_on_another_subject() -> None:
    case = "elsewhere/Image identity=0123456789abcdef topology=smt:3"
    assert case_of("boot", "v3", "--case", case).topology == "smt:3"


def test_options_beside_a_case_change_it() -> None:
    found = case_of("boot", "--case", CASE, "--el", "1", "--fault", "1:die-early", "--append", "maxcpus=2")
    assert (found.el, found.fault, found.append) == (1, "1:die-early", "maxcpus=2")


def test_cpus_beside_a_case_are_so_many_of_its_preset() -> None:
    assert case_of("boot", "--case", CASE, "--cpus", "4").topology == "smt:4"


def test_cpus_beside_a_case_whose_topology_is_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"cpus": [{"hwid": 0}, {"hwid": 1}]}')
    why = "emu: --cpus 4: topology=t.json of the case says how many CPUs; give --topology instead\n"
    assert said("boot", "--case", "v3 topology=t.json", "--cpus", "4", cwd=tmp_path) == f"2: {why}"


def test_the_identity_of_text_is_that_of_its_files_however_many_cpus(folder: Path) -> None:
    case = case_of("boot", "a.S", "--cpus", "2", cwd=folder)
    assert case_of("boot", "--case", case.text(), "--cpus", "3", cwd=folder).identity == case.identity


@pytest.mark.parametrize("changed", ["a.S", "part.inc"])
def test_text_that_has_changed_is_refused_and_so_is_what_it_includes(changed: str, folder: Path) -> None:
    (folder / "part.inc").write_text("        .equ PART, 1\n")
    (folder / "a.S").write_text(f'        .include "part.inc"\n{SOURCE}')
    case = case_of("boot", "a.S", "--cpus", "2", cwd=folder).text()
    (folder / changed).write_text((folder / changed).read_text() + "        .equ MORE, 1\n")
    assert "the bytes that the case was made with are gone" in said("boot", "--case", case, cwd=folder)


def test_the_subject_that_is_given_has_the_bytes_that_it_has_now(folder: Path) -> None:
    case = case_of("boot", "a.S", "--cpus", "2", cwd=folder).text()
    (folder / "a.S").write_text((folder / "b.S").read_text())
    assert said("boot", "--case", case, cwd=folder).startswith("2: ")
    found = case_of("boot", "a.S", "--case", case, cwd=folder)
    assert found.identity == case_of("boot", "b.S", "--cpus", "2", cwd=folder).identity


def test_files_that_the_case_keeps_are_still_checked(folder: Path) -> None:
    topology = folder / "t.json"
    topology.write_text('{"cpus": [{"hwid": 0}, {"hwid": 1}]}')
    case = case_of("boot", "a.S", "--topology", "t.json", cwd=folder).text()
    assert said("boot", "b.S", "--case", case, cwd=folder).startswith("0: ")
    topology.write_text('{"cpus": [{"hwid": 0}, {"hwid": 2}]}')
    assert "are gone" in said("boot", "b.S", "--case", case, cwd=folder)
    assert said("boot", "--case", case, "--cpus", "2", cwd=folder).startswith("2: ")  # the file says how many
    assert said("boot", "--case", case, "--topology", "flat:2", cwd=folder).startswith("0: ")


def test_an_identity_has_a_part_for_each_file() -> None:
    why = "emu: case: identity=00-11: a part for each file that it names: no file\n"
    assert said("boot", "--case", "v3 identity=00-11") == f"2: {why}"


def test_an_interrupted_exploration_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    data = {"version": 2, "case": "v3", "count": {}, "learned": False, "frames": []}
    data |= {"units": [], "everything": False, "found": []}
    data["bounds"] = {"schedules": 5}
    (tmp_path / "saved.json").write_text(json.dumps(data))
    for words in (["--cpus", "2"], ["v3"], ["--preemptions", "2"], ["--case", "v3"]):
        done = run_emu("explore", "--resume", "saved.json", *words, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.endswith("--resume saved.json: the search goes on as it was begun\n")


# -- look-ups ---------------------------------------------------------------------------------------------

QUESTION = "rfc nr-cpus=2 map=0x0,0x1 mpidr=0x80000001"


def asked(*words: str | Path) -> str:
    """The case of the question, as the JSON of a wrong answer has it, or the status and the message."""
    done = run_emu("lookup", *words)
    return f"{done.returncode}: {done.stdout}{done.stderr}"


def test_a_question_is_asked_of_the_subject() -> None:
    done = run_emu("lookup", "v3", "--case", QUESTION, "--json")
    assert json.loads(done.stdout)["case"] == "v3"


def test_one_nr_cpus_changes_the_question() -> None:
    assert "map: 2 CPUs, but NR_CPUS=1" in asked("--case", QUESTION, "--nr-cpus", "1")
    assert asked("--case", QUESTION, "--nr-cpus", "3").startswith("0: pass: CPU 1")


@pytest.mark.parametrize(
    "words", [("--cases", "5"), ("--seed", "1"), ("--matches", "5"), ("-j", "2"), ("--max-cpus", "8")]
)
def test_what_makes_random_questions_is_refused_beside_one_question(words: tuple[str, str]) -> None:
    name = words[0].replace("-j", "--jobs")
    why = f"emu: {name} and --case: a case is one question; leave one of them out\n"
    assert asked("--case", QUESTION, *words) == f"2: {why}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rfc nr-cpus=2 nr-cpus=3 map=0x0 mpidr=0", "nr-cpus is there twice"),
        ("rfc nr-cpus=2 define=A:1 define=A:2 map=0x0 mpidr=0", "A is there twice"),
    ],
)
def test_a_question_says_each_thing_once(text: str, why: str) -> None:
    with pytest.raises(InvalidCase, match=why):
        LookupCase.parse(text)


def test_a_define_that_the_contract_does_not_have_is_refused() -> None:
    assert "define=SIZE:3: the contract has no define" in asked(
        "--case", "v3 nr-cpus=2 define=SIZE:3 map=0x0 mpidr=0x80000000"
    )


def test_the_symbols_of_a_kernel_are_refused_for_what_is_none() -> None:
    why = "emu: system-map=x.map: the symbols of a kernel, and v3 is none\n"
    assert asked("v3", "--system-map", "x.map") == f"2: {why}"
