"""docs/measured.md is what the benchmarks write, and README's table follows from it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS
from bench.gdb_client import Client
from bench.measured import DOCUMENT, README, Outcome, document, medians, readme, readme_table, sections
from bench.result import Absent, Broken, Figures, Result, benchmark

_ROOT = Path(__file__).parents[2]
_MACHINE = {"cpu": "A CPU", "cores": 2, "python": "3.11.1", "unicorn": "2.1.4", "kernel": None}


@benchmark(covers="something", peer="another", limit="nothing")
def one(_rounds: int, _quick: bool) -> Figures:
    """The first."""
    yield Result("one", "/s", (3.0, 1.0, 2.0), at_least=5)
    yield Absent("one.peer", "peer: not found")


@benchmark(covers="something else")
def two(_rounds: int, _quick: bool) -> Figures:
    """The second."""
    yield Result("two.part", "s", (0.5,), at_most=1, note="a part")


_ORDER = ["one", "two"]
_BOTH = [Outcome(two, tuple(two.function(1, True))), Outcome(one, tuple(one.function(1, True)))]


def test_readme_shows_what_the_document_says() -> None:
    """To mend it: python -m bench --readme."""
    text = README.read_text()
    assert readme(text, readme_table(DOCUMENT.read_text())) == text


def test_the_document_has_every_benchmark_as_it_describes_itself() -> None:
    """To mend it: make bench."""
    found = sections(DOCUMENT.read_text())
    assert list(found) == ["Machine", *(each.name for each in BENCHMARKS)]
    for each in BENCHMARKS:
        assert f"- covers: {each.covers[:40]}" in found[each.name]


def test_every_benchmark_says_what_it_covers() -> None:
    for each in BENCHMARKS:
        assert each.covers
        assert each.peer
        assert each.limit
        assert each.function.__doc__


def test_a_section_has_median_spread_goal_and_what_is_missing() -> None:
    text = document(_MACHINE, _BOTH, _ORDER, "")
    assert list(sections(text)) == ["Machine", "one", "two"]
    assert "| `one` | 2/s | 1..3 of 3 | >= 5 /s, NOT MET |  |" in text
    assert "| `one.peer` | | | | not measured: peer: not found |" in text
    assert "| `two.part` | 0.5 s | 1 | <= 1 s, met | a part |" in text
    assert "- peer: another" in text
    assert "kernel" not in sections(text)["Machine"]
    assert medians(text) == {"one": "2/s", "two.part": "0.5 s"}


def test_a_benchmark_replaces_its_own_section_alone() -> None:
    old = document(_MACHINE, _BOTH, _ORDER, "")
    new = document(_MACHINE, [Outcome(one, (Result("one", "/s", (7.0,)),))], _ORDER, old)
    assert sections(new)["two"] == sections(old)["two"]
    assert medians(new) == {"one": "7/s", "two.part": "0.5 s"}
    assert document(_MACHINE, [], _ORDER, new) == new


def test_figures_of_two_machines_are_not_mixed() -> None:
    old = document(_MACHINE, _BOTH, _ORDER, "")
    other = _MACHINE | {"unicorn": "2.2.0"}
    assert list(sections(document(other, _BOTH[:1], _ORDER, old))) == ["Machine", "two"]
    assert sections(document(other, _BOTH, _ORDER, old))["Machine"].count("2.2.0") == 1


def test_a_figure_that_is_not_there_is_said() -> None:
    table = readme_table(document(_MACHINE, _BOTH, _ORDER, ""))
    assert "A CPU, 2 cores, Python 3.11.1, Unicorn 2.1.4" in table
    assert "| not measured |" in table
    with pytest.raises(Broken, match=r"README\.md: no <!-- made by"):
        readme("no marks", table)


def test_the_null_server_answers_a_client_that_steps() -> None:
    """It is what gdb and the bare client are measured against."""
    command = [sys.executable, "-m", "bench.null_gdb", "0x40200000"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        client = Client(int(server.stdout.readline().rsplit(":", 1)[1]))
        try:
            assert client.ask(b"Z0,40200000,4") == b"OK"
            assert client.ask(b"vCont;c").startswith(b"T05")
            assert client.ask(b"s").startswith(b"T05")
            assert client.ask(b"g")[2 * 256 : 2 * 264] == (0x40200000).to_bytes(8, "little").hex().encode()
            assert client.ask(b"no such packet") == b""
        finally:
            client._socket.shutdown(socket.SHUT_RDWR)
            client._socket.close()
            server.wait(timeout=60)
