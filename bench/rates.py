"""Rates inside one process: time for each secondary, operations and instructions per second."""

from __future__ import annotations

from collections.abc import Iterator

from bench.process import kernel, run_inside
from bench.result import Result

_SIZES = (8, 128, 512)
_CPUS = 8


def per_secondary_612(rounds: int, _quick: bool) -> Iterator[Result]:
    """What one more secondary of Debian's 6.12 costs, kick to arrival, and whether that stays flat."""
    image = kernel()
    run_inside("bring-up", image, "8")
    times = [
        {cpus: 1000 * run_inside("bring-up", image, str(cpus))["seconds"] for cpus in _SIZES}
        for _ in range(rounds)
    ]
    few, many, most = _SIZES
    slopes = tuple((t[most] - t[few]) / (most - few) for t in times)
    begin = [(t[many] - t[few]) / (many - few) for t in times]
    end = [(t[most] - t[many]) / (most - many) for t in times]
    flat = tuple(later / early for early, later in zip(begin, end, strict=True))
    yield Result(
        "per_secondary_612", "ms", slopes, at_most=0.15, note=f"(t({most}) - t({few})) / {most - few}"
    )
    yield Result("per_secondary_612.flat", "ratio", flat, at_most=1.5, note="slope 128..512 / slope 8..128")
    for cpus in _SIZES:
        yield Result(f"per_secondary_612.t{cpus}", "ms", tuple(t[cpus] for t in times))


def operation_grain(rounds: int, _quick: bool) -> Iterator[Result]:
    """Operations per second: 8 CPUs scan v3's table in turn, one operation each, all recorded."""
    runs = [run_inside("scan", "operation", str(_CPUS), "4096", "record") for _ in range(rounds)]
    samples = tuple(run["operations"] / run["seconds"] for run in runs)
    facts = {"operations": runs[0]["operations"], "picks": runs[0]["picks"]}
    yield Result("operation_grain", "/s", samples, at_least=60_000, facts=facts)


def instruction_grain(rounds: int, _quick: bool) -> Iterator[Result]:
    """Instructions per second: 8 CPUs scan v3's table in turn, one instruction each, none recorded."""
    runs = [run_inside("scan", "instruction", str(_CPUS), "2048", "no-record") for _ in range(rounds)]
    samples = tuple(run["instructions"] / run["seconds"] for run in runs)
    facts = {"instructions": runs[0]["instructions"], "picks": runs[0]["picks"]}
    yield Result("instruction_grain", "/s", samples, at_least=100_000, facts=facts)
