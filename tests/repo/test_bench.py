"""``python -m bench``: the report that it writes. What it measures is no matter for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import run_program

from bench.compare import Compared
from bench.process import environment, run_inside, run_python

_ROOT = Path(__file__).parents[2]


def _bench(*arguments: str, **variables: str) -> Any:
    # The JSON report, written to stdout, while the table goes to stderr.
    environment = {name: value for name, value in os.environ.items() if name != "EMU_KERNEL_612"}
    command = [sys.executable, "-m", "bench", "--quick", "--json", "-", *arguments]
    done = run_program(*command, cwd=_ROOT, env=environment | variables)
    return json.loads(done.stdout)


def test_a_result_has_samples_median_goal_and_machine() -> None:
    report = _bench("--only", "instruction_grain")
    assert set(report) == {"machine", "quick", "benchmarks"}
    assert {"cpu", "cores", "python", "unicorn"} <= set(report["machine"])
    found, limit = report["benchmarks"]
    assert limit["name"] == "instruction_grain.entry"
    assert all("8 CPUs scan v3's table" in each["covers"] for each in (found, limit))
    assert {"peer", "limit"} <= set(found)
    assert (found["name"], found["unit"], found["goal"]) == ("instruction_grain", "/s", {"at_least": 100_000})
    assert len(found["samples"]) == 3
    assert found["min"] <= found["median"] <= found["max"]
    assert found["met"] is (found["median"] >= 100_000)
    assert found["facts"]["picks"] >= found["facts"]["instructions"]


def test_without_a_kernel_a_benchmark_of_it_says_what_to_set() -> None:
    (found,) = _bench("--only", "cold_boot_612_8")["benchmarks"]
    assert found["name"] == "cold_boot_612_8"
    assert "EMU_KERNEL_612 is not set" in found["skipped"]
    (found,) = _bench("--only", "cold_boot_612_8", EMU_KERNEL_612="nowhere")["benchmarks"]
    assert found["skipped"] == "EMU_KERNEL_612=nowhere: no such file"


def test_parts_of_a_kept_boot_are_timed_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_kernel: Callable[[str], Path]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    parts = [run_inside(what, kernel, "2") for what in ("whole", "schedule", "recorded")]
    assert [list(part) for part in parts] == [["load", "restore", "run"], ["again"], ["observed"]]
    assert all(seconds > 0 for part in parts for seconds in part.values())
    assert len(list((tmp_path / "emu" / "whole").iterdir())) == 1


def test_compare_gives_a_ratio_for_each_figure_and_runs_the_other_tree() -> None:
    """The first run of a process and later ones are two figures."""
    report = _bench("--compare", str(_ROOT), "--rounds", "1", "--only", "boot_v3_8")
    first, again = report["compared"]
    assert (first["name"], again["name"]) == ("boot_v3_8", "boot_v3_8.again")
    for found in (first, again):
        assert len(found["ours_seconds"]) == len(found["theirs_seconds"]) >= 1
        assert found["interval"][0] <= found["ratio"] <= found["interval"][1]
    assert min(first["theirs_seconds"]) > max(again["theirs_seconds"])


def test_measured_processes_keep_their_compiled_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each start of a process compiles emu again, in the tree that has more files for longer."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in environment()
    done = run_python("-c", "import sys, emu.cli; print(sys.dont_write_bytecode, emu.cli.__cached__)")
    writes_none, cached = done.stdout.split()
    assert writes_none == "False"
    assert Path(cached).is_file()


def test_compare_says_what_it_cannot_run(tmp_path: Path) -> None:
    """A tree that is none, a figure that is none; and a tree whose emu fails is an error of that figure."""
    command = [sys.executable, "-m", "bench", "--compare"]
    for arguments, message in (
        ([str(tmp_path)], f"{tmp_path}: no checkout of emu"),
        ([str(_ROOT), "--only", "lookup_257"], "lookup_257: not one of help, info_v3, "),
    ):
        done = subprocess.run([*command, *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr
    broken = tmp_path / "emu"
    broken.mkdir()
    (broken / "__init__.py").touch()
    (broken / "cli.py").write_text("def main(arguments):\n    raise ValueError('a bug')\n")
    arguments = [str(tmp_path), "--rounds", "1", "--only", "boot_v3_8", "--json", "-"]
    done = subprocess.run([*command, *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)["compared"]
    assert found["error"].endswith("status none, not 0: ValueError: a bug")


def test_a_figure_is_worse_only_when_its_interval_is() -> None:
    """A median over the limit is `unclear` as long as the samples allow that nothing has changed."""
    even = Compared("x", (1.0,) * 6, (1.0, 1.01, 0.99, 1.02, 1.0, 1.03))
    assert even.verdict == ""
    noisy = Compared("x", (1.0,) * 6, (0.9, 1.2, 1.2, 0.95, 1.2, 1.2))
    assert (noisy.ratio, noisy.verdict) == (1.2, "unclear")
    worse = Compared("x", (1.0, 2.0, 1.0, 1.0, 1.0, 1.0), (1.1, 2.2, 1.08, 1.09, 1.1, 1.1))
    assert worse.interval == (1.08, 1.1)
    assert worse.verdict == "WORSE"


def test_a_look_up_with_findings_is_no_subject_of_the_rates() -> None:
    """After a wrong answer a search takes small batches and ends early: other work than for right answers."""
    command = [sys.executable, "-m", "bench.lookup_rates", "rfc", "256", "75"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "AssertionError: rfc: Wrong(prop='answer'" in done.stderr
