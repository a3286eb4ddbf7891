"""``emu lookup --coverage``: which instructions and ways of branches questions execute, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts import contract_toml

from emu.arch.mpidr import RES1
from emu.cli import main
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.coverage import cover
from emu.lookup.case import Question
from emu.report.disassembly import disassemble

DEAD = """find:
        mrs     x0, mpidr_el1
        ldr     x1, =0xff00ffffff
        and     x0, x0, x1
        ldr     x1, =__cpu_logical_map
        mov     x19, #0
scan:   ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    scan
        tbnz    x19, #40, dead
missing:
        b       missing
dead:   mov     x19, #0
        b       found
found:  nop
"""
TOML = contract_toml((0, 1, 3), nr_cpus="{ default = 3, sweep = [2] }")


@pytest.fixture
def subject(tmp_path: Path) -> Path:
    """A look-up with two instructions that nothing reaches."""
    path = tmp_path / "dead.S"
    path.write_text(DEAD)
    path.with_suffix(".toml").write_text(TOML)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Return status and output of ``emu lookup``."""
    with pytest.raises(SystemExit) as ended:
        main(["lookup", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code, capsys.readouterr().out


def test_counts_are_those_of_the_questions(subject: Path) -> None:
    """Two that miss in a table of three, and one that finds the second entry."""
    built = UnderTest(str(subject)).at(3)
    table = (0x1, 0x100, None)
    found = cover(built, [Question(table, RES1 | hwid) for hwid in (0x2, 0x3, 0x100)])
    counts = {disassemble(line.word, 0).split()[0]: (line.times, line.taken) for line in found.lines}
    assert counts["mrs"] == (3, None)
    assert counts["b.eq"] == (8, (1, 7))
    assert counts["b.lo"] == (7, (5, 2))
    assert counts["tbnz"] == (2, (0, 2))
    assert (found.executed, len(found.lines), found.ways) == (12, 14, (5, 6))
    assert [line.times for line in found.lines[-2:]] == [0, 0]


def test_a_run_that_ends_within_a_block_counts_to_there(subject: Path) -> None:
    """A fault at the load: the compare behind it was never reached."""
    subject.write_text(DEAD.replace("x19, lsl #3", "x19"))
    built = UnderTest(str(subject)).at(3)
    found = cover(built, [Question((None, None, None), RES1)])
    assert [line.times for line in found.lines[5:8]] == [1, 1, 1]
    assert found.lines[9].times == 1
    assert sum(line.times for line in found.lines) == 11


def test_text_and_page_mark_what_was_never_executed(
    subject: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line says how much; the files have the disassembly."""
    text, page = tmp_path / "coverage.txt", tmp_path / "coverage.html"
    status, out = run(capsys, subject, "--cases", "100", "--coverage", text)
    assert status == 0
    assert "coverage at NR_CPUS=3: 12 of 14 instructions, 5 of 6 ways of branches, by " in out
    lines = text.read_text().splitlines()
    assert [line.split()[0] for line in lines if " dead" in line] == [
        "never",
        "never",
    ]
    (tbnz,) = [line for line in lines if "tbnz" in line]
    assert tbnz.startswith("  one way only")
    status, out = run(
        capsys, subject, "--cases", "100", "--nr-cpus", "2", "--nr-cpus", "3", "--coverage", page
    )
    assert status == 0
    assert (out.count("coverage at NR_CPUS="), page.read_text().count("<table>")) == (2, 2)
    assert page.read_text().count('<tr class="never">') == 4
    assert "http" not in page.read_text()


@pytest.mark.parametrize("other", [("--prove", "2"), ("--case", "v3 nr-cpus=1 map= mpidr=0x80000000")])
def test_what_asks_no_questions_covers_nothing(
    other: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2."""
    assert run(capsys, "v3", *other, "--coverage", tmp_path / "c.txt")[0] == 2
