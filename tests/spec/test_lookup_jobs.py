"""`emu lookup -j N`: the same with any number of processes; Ctrl-C keeps what there is."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest
from programs import run_emu

import emu.cli.lookup
from emu.cli import main
from emu.errors import EmuError, Untestable
from emu.fuzz import search as searching
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.pieces import Piece, Told, stages
from emu.fuzz.search import LookupSearch
from emu.fuzz.workers import Processes
from emu.subject.fragment import asm_dir

# As if Aff3 were 7 bits wide; and wrong for the last entry of 16.
_NARROW = ("and     x0, x0, x1", "and     x0, x0, x1\n        bic     x0, x0, #1 << 39")


class _Backwards(Processes[Told]):
    """Three workers in this process, of which the one that began last is done first."""

    def __init__(self, under_test: UnderTest) -> None:
        self.slots = 3
        self._under_test = under_test
        self._out: list[Any] = []

    def submit(self, unit: Any) -> None:
        assert len(self._out) < self.slots
        self._out.append(unit)

    def wait(self) -> Told:
        told: Told = self._out.pop().run(self._under_test, (), 0)
        return told

    def close(self) -> None:
        self._out.clear()


def _everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "_LONG_SECONDS", 0)


def _result(search: LookupSearch) -> tuple[object, ...]:
    return search.cases, search.findings, dict(search.left_out)


@pytest.mark.parametrize(
    ("subject", "sizes"), [("v3", [1, 2, 3]), ("rfc", [2, 16]), ("rare", [3, 257]), ("hash", [2])]
)
def test_the_order_in_which_pieces_are_done_changes_nothing(
    subject: str, sizes: Sequence[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _everything_is_long(monkeypatch)
    if subject == "rare":
        path = tmp_path / "rare.S"
        path.write_text((asm_dir() / "lookup/v3.S").read_text().replace(*_NARROW))
        subject = str(path)
    if subject == "hash":  # most maps do not fit
        subject = str(Path(__file__).parents[1] / "lookup" / "correct" / "hash.S")
    found = []
    for hands in (None, lambda _pieces: _Backwards(UnderTest(subject))):
        search = LookupSearch(UnderTest(subject))
        for _ in search.run(sizes, 40_000, 5, 75, hands):
            pass
        found.append(_result(search))
    assert found[0] == found[1]


def test_the_command_says_the_same_with_one_two_and_three_processes(tmp_path: Path) -> None:
    """One that is wrong at the end of a large table alone, so that processes find it."""
    path = tmp_path / "late.S"
    text = (asm_dir() / "lookup/v3.S").read_text()
    start = re.search(r"^ +add +x19, x19, #1\n", text, re.M)
    assert start is not None
    late = f"{start[0]}        cmp     x19, #255\n        cinc    x19, x19, eq\n"
    path.write_text(text.replace(start[0], late).replace("8*NR_CPUS", "10*NR_CPUS"))
    asked = str(path), "--nr-cpus", "255", "--nr-cpus", "1024", "--cases", "150000"
    one, *others = (run_emu("lookup", *asked, "-j", jobs, "--json") for jobs in ("1", "2", "3"))
    assert one.returncode == 1
    for other in others:
        assert (other.returncode, other.stdout) == (one.returncode, one.stdout)


def test_what_takes_no_longer_than_a_second_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_arguments: Any) -> Any:
        raise AssertionError("a process is started")

    monkeypatch.setattr(emu.cli.lookup, "Processes", none)
    assert run_emu("lookup", "v3", "--nr-cpus", "2", "--cases", "1000", "-j", "2").returncode == 0


def test_ctrl_c_keeps_what_processes_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes after the first piece that a process did."""
    _everything_is_long(monkeypatch)
    whole = searching.LookupSearch.run

    def run(search: LookupSearch, *arguments: Any) -> Iterator[None]:
        for step in whole(search, *arguments):
            if search.phase == "random":
                os.kill(os.getpid(), signal.SIGINT)
            yield step

    monkeypatch.setattr(searching.LookupSearch, "run", run)
    done = run_emu("lookup", "v3", "--nr-cpus", "16", "--cases", "100000", "-j", "2")
    assert done.returncode == 130
    asked = re.match(r"interrupted: v3, (\d+) cases at NR_CPUS 16, 0 findings", done.stdout)
    assert asked is not None
    assert 16_384 < int(asked[1]) < 100_000
    assert done.stderr == "emu: interrupted: what follows is of the questions that were asked\n"


def test_a_process_that_cannot_be_started_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its pipe is broken then; a command whose reader has closed its own ends without a word."""
    _everything_is_long(monkeypatch)

    def start(_process: SpawnProcess) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(SpawnProcess, "start", start)
    with pytest.raises(SystemExit) as ended:
        main(["lookup", "v3", "--nr-cpus", "16", "--cases", "40000", "-j", "2"])
    assert ended.value.code not in (0, 1, 141)
    assert "a process that asks questions cannot be started: Broken pipe" in capsys.readouterr().err


class _Failing(_Backwards):
    def wait(self) -> Told:
        piece: Piece = self._out.pop()
        return piece.lost("died", "its worker died, 2 times (signal 9)")


def test_a_lost_worker_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    _everything_is_long(monkeypatch)
    search = LookupSearch(UnderTest("v3"))
    with pytest.raises(Untestable, match=r"questions at NR_CPUS 2: its worker died, 2 times"):
        for _ in search.run([2], 1000, 0, 75, lambda _pieces: _Failing(search.under_test)):
            pass


def test_an_error_ends_the_search_after_the_pieces_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was done first, and what came after it counts for nothing."""
    _everything_is_long(monkeypatch)
    run = Piece.run

    def fails(piece: Piece, *arguments: Any) -> Told:
        if piece.phase == "random" and piece.part == 1:
            return Told(piece.number, error=EmuError("it fails"))
        return run(piece, *arguments)

    monkeypatch.setattr(Piece, "run", fails)
    search = LookupSearch(UnderTest("v3"))
    with pytest.raises(EmuError, match="it fails"):
        for _ in search.run([2], 60_000, 0, 75, lambda _pieces: _Backwards(search.under_test)):
            pass
    before = LookupSearch(UnderTest("v3"))
    asked = 0
    for _ in before.run([2], 16_384, 0):
        if before.phase not in ("again", "concurrent"):  # they come after random questions
            asked = before.cases
    assert search.cases == asked


def test_the_pieces_of_a_search_are_all_its_random_questions() -> None:
    points = [(4096, ()), (2, ())]
    row = stages(points, 40_000, 0, 75, [points])
    pieces = [piece for stage in row for piece in stage]
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    assert sum(piece.cases for piece in pieces) == 40_000
    assert len([piece for piece in pieces if piece.phase == "regression"]) == 5
