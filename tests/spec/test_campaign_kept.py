"""What a campaign has: its state, its questions as text and back, keys of findings that searches share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from programs import run_emu

from emu.cli import main
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.campaign import lock
from emu.fuzz.exchange import CORPUS, FINDINGS, minimised, read_cases, write_cases
from emu.fuzz.store import FILE, CampaignStore
from emu.lookup.case import LookupCase, Question

MUTANTS = Path(__file__).parents[1] / "lookup" / "mutants"
LARGE = MUTANTS / "index_of_8_bits.S"  # wrong from 257 CPUs on


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Return status, output and messages of emu."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err


@pytest.fixture
def campaign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A campaign that has found the planted bug."""
    folder = tmp_path / "campaign"
    short = ("-j", "1", "--cases", "1000", "--unit-cases", "1000")
    assert run(capsys, "fuzz", LARGE, "--dir", folder, *short)[0] == 1
    return folder


def test_the_status_of_a_campaign_is_that_of_its_database(
    campaign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Units by kind, corpus, and when each finding was met; running as long as somebody holds the lock."""
    status, out, _ = run(capsys, "fuzz", "--dir", campaign, "--status")
    lines = out.splitlines()
    assert (status, lines[0]) == (1, f"ended: {LARGE}")
    assert "  small: 2 units, 7,400 cases" in lines
    (met,) = [line for line in lines if line.startswith("  met ")]
    assert ", first in unit 12, after " in met
    assert met.endswith(" cases")
    with lock(campaign):
        found = json.loads(run(capsys, "fuzz", "--dir", campaign, "--status", "--json")[1])
    assert (found["state"], found["verdict"], found["units"]["small"]["units"]) == ("running", "fail", 2)
    (finding,) = found["findings"]
    assert finding["seconds"] > 0
    assert finding["cases"] > 7_400


def test_a_corpus_goes_to_another_campaign_by_a_folder(
    campaign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As lines of cases; the first unit asks them, so what was found is found at once."""
    folder, other = tmp_path / "cases", tmp_path / "other"
    assert run(capsys, "fuzz", "--dir", campaign, "--export", folder)[0] == 0
    store = CampaignStore(campaign)
    corpus, findings = store.corpus(), store.findings()
    store.close()
    assert (folder / CORPUS).read_text().splitlines() == [case.text() for case in corpus]
    assert (folder / FINDINGS).read_text().splitlines() == [findings[0].case]
    status, out, _ = run(capsys, "fuzz", LARGE, "--dir", other, "--import", folder, "-j", "1", "--cases", "0")
    assert status == 1
    assert out.startswith("unit 0: finding (answer): finds nothing; CPU 256 is in the map")
    assert run(capsys, "fuzz", "--dir", other, "--import", folder)[0] == 2


def test_a_minimised_corpus_reaches_the_same_edges_with_less(tmp_path: Path) -> None:
    """Of questions that each reach a part of another one's edges the one is left."""
    under_test = UnderTest(str(LARGE))
    cases = [
        LookupCase(str(LARGE), 3, Question(table, mpidr))
        for table, mpidr in [
            ((), 0x5),
            ((0x7,), 0x7),
            ((0x7, 0x8), 0x8),
            ((0x7, 0x8, 0x9), 0x9),
            ((0x7,), 0x6),
        ]
    ]
    kept = minimised(under_test, cases)
    assert 1 <= len(kept) < len(cases)
    assert set(kept) <= set(cases)
    assert minimised(under_test, kept) == kept
    assert write_cases(tmp_path, CORPUS, kept) == len(read_cases(tmp_path)) == len(kept)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no case in a *.txt"),
        ("# nothing\n\n", "no case in a *.txt"),
        ("v3 nr-cpus=1 map= mpidr=0x0\nv3 nr-cpus=x map= mpidr=0x0\n", "corpus.txt:2: case: nr-cpus"),
        ("v3 nr-cpus=1 prove=1\n", "corpus.txt:1: a proof is no question"),
    ],
)
def test_what_is_no_folder_of_cases_is_refused(
    text: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 with file and line, and no campaign is begun."""
    (tmp_path / CORPUS).write_text(text)
    status, _, err = run(capsys, "fuzz", "v3", "--dir", tmp_path / "c", "--import", tmp_path)
    assert status == 2
    assert why in err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "arguments", [("--status", "--cases", "1"), ("--status", "--export", "x"), ("--minimise",), ("--status",)]
)
def test_what_looks_at_a_campaign_runs_nothing(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and no database is made."""
    assert run(capsys, "fuzz", "--dir", tmp_path, *arguments)[0] == 2
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("subject", ["rfc", "low_32_bits", "wrong_stride", "sp_not_restored", "endless"])
def test_a_defect_has_the_same_key_in_a_search_and_in_a_campaign(
    subject: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the same defects; another defect has another key."""
    path = subject if subject == "rfc" else MUTANTS / f"{subject}.S"
    searched = json.loads(run(capsys, "lookup", path, "--json", "-j", "1", "--cases", "1000")[1])
    short = ("-j", "1", "--cases", "1000", "--unit-cases", "1000")
    fuzzed = json.loads(run(capsys, "fuzz", path, "--dir", tmp_path / "c", *short, "--json")[1])
    keys = [
        {finding["key"]: finding["property"] for finding in each["findings"]} for each in (searched, fuzzed)
    ]
    assert keys[0] == keys[1]
    assert len(keys[0]) == len(searched["findings"]) > 0


def test_a_folder_of_a_campaign_that_is_a_file_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_emu("fuzz", "v3", "--dir", str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (2, f"emu: {tmp_path / 'file'}: not a directory\n")
