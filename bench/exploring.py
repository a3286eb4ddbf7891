"""Explorations: operations per second, what reduction saves, and how long whole cases take."""

from __future__ import annotations

from collections.abc import Iterator

from bench.process import run_inside
from bench.result import Result

_RACY = "mainline topology=flat:4 bringup=parallel force=1"
# Case, seconds at most.
_WHOLE = {
    "v3.3": ("v3 topology=flat:4", 30),
    "v3.4": ("v3 topology=flat:5", 300),
    "v3.63": ("v3 topology=flat:64", 300),
    "v3.2.caches": ("v3 topology=flat:3 memory=caches", 120),
    "pen.2.caches": ("v3 topology=flat:3 enable-method=spin-table memory=caches", 120),
}


def explore_rate(rounds: int, _quick: bool) -> Iterator[Result]:
    """Operations per second in the coherent model: mainline, parallel kicks, three secondaries, all of it."""
    runs = [run_inside("explore", _RACY) for _ in range(rounds)]
    samples = tuple(run["operations"] / run["last_round"] for run in runs)
    facts = {name: runs[0][name] for name in ("operations", "schedules", "states", "findings")}
    yield Result("explore_rate", "/s", samples, at_least=50_000, facts=facts, note="judged, every end")


def explore_reduction(_rounds: int, _quick: bool) -> Iterator[Result]:
    """Schedules of two secondaries of mainline and the boot CPU: all there are against those explored."""
    run = run_inside("reduction", "mainline topology=flat:3 bringup=parallel force=1")
    digits = run["naive_digits"] - 1 - len(str(run["reduced"]))
    yield Result(
        "explore_reduction",
        "digits",
        (float(digits),),
        at_least=2,
        facts=run,
        note="all schedules are at least 10 to this power times those explored without known states",
    )


def explore_whole(rounds: int, _quick: bool) -> Iterator[Result]:
    """Complete explorations: seconds, the machine's part and every round included."""
    for name, (text, seconds) in _WHOLE.items():
        runs = [run_inside("explore", text) for _ in range(rounds if seconds > 1 else 1)]
        facts = {key: runs[0][key] for key in ("operations", "schedules", "states", "findings", "megabytes")}
        yield Result(
            f"explore_whole.{name}", "s", tuple(run["seconds"] for run in runs), at_most=seconds, facts=facts
        )
