"""``python -m bench``: the report that it writes. What it measures is no matter for a test."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from programs import run_program

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
    (found,) = report["benchmarks"]
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
