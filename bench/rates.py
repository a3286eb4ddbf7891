"""Rates inside one process: operations and instructions per second."""

from __future__ import annotations

from bench.process import run_inside
from bench.result import Figures, Result, benchmark

_CPUS = 8


@benchmark(
    covers="8 CPUs scan v3's table of 4,096 entries in turn, one operation each, every operation "
    "recorded; CPU time of machine.run() alone",
    limit="a bare loop of loads in the engine with a read hook in Python that does nothing: .hook",
)
def operation_grain(rounds: int, _quick: bool) -> Figures:
    """Operations per second at operation grain."""
    runs = [
        (run_inside("scan", "operation", str(_CPUS), "4096", "record"), run_inside("hook"))
        for _ in range(rounds)
    ]
    facts = {"operations": runs[0][0]["operations"], "picks": runs[0][0]["picks"]}
    samples = tuple(run["operations"] / run["seconds"] for run, _ in runs)
    yield Result("operation_grain", "/s", samples, at_least=60_000, facts=facts)
    yield Result("operation_grain.hook", "/s", tuple(bare["loads"] / bare["seconds"] for _, bare in runs))


@benchmark(
    covers="8 CPUs scan v3's table of 2,048 entries in turn, one instruction each, none recorded; CPU "
    "time of machine.run() alone",
    limit="one engine entry from Python for each instruction of a loop, nothing looked at: .entry",
)
def instruction_grain(rounds: int, _quick: bool) -> Figures:
    """Instructions per second at instruction grain."""
    runs = [
        (run_inside("scan", "instruction", str(_CPUS), "2048", "no-record"), run_inside("entry"))
        for _ in range(rounds)
    ]
    samples = tuple(run["instructions"] / run["seconds"] for run, _ in runs)
    facts = {"instructions": runs[0][0]["instructions"], "picks": runs[0][0]["picks"]}
    yield Result("instruction_grain", "/s", samples, at_least=100_000, facts=facts)
    yield Result(
        "instruction_grain.entry", "/s", tuple(bare["instructions"] / bare["seconds"] for _, bare in runs)
    )
