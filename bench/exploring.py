"""Explorations: operations per second, what reduction saves, and how long whole cases take."""

from __future__ import annotations

from collections.abc import Mapping

from bench.process import ROOT, run_inside
from bench.result import Figures, Result, benchmark

_FORCED = "mainline topology=flat:{} bringup=parallel force=1"
_SPIN = (
    "spin, a model written by hand in which each of 5 secondaries does three accesses: 389,000 states in "
    "0.38 s; published, not run here"
)
_RACY = _FORCED.format(4)
_PEN = "v3 topology=flat:{} enable-method=spin-table memory=caches"
_LOCK = f"{ROOT / 'bench' / 'lock.S'} topology=flat:{{}}"
_FACTS = ("operations", "schedules", "ends", "states", "findings", "megabytes")
# Case, seconds at most.
_WHOLE = {
    "v3.3": ("v3 topology=flat:4", 30),
    "v3.4": ("v3 topology=flat:5", 300),
    "v3.63": ("v3 topology=flat:64", 300),
    "v3.2.caches": ("v3 topology=flat:3 memory=caches", 120),
    "pen.2.caches": (_PEN.format(3), 120),
}
_SCALE = {
    "racy.2": (_FORCED.format(3), 60),
    "racy.3": (_FORCED.format(4), 60),
    "racy.4": (_FORCED.format(5), 60),
    "pen.3.caches": (_PEN.format(4), 60),
    "lock.2": (_LOCK.format(3), 10),
    "lock.3": (_LOCK.format(4), 10),
}


@benchmark(
    covers="mainline, parallel kicks, 3 secondaries, coherent memory, all of it, every end judged: the "
    "last round, in which nothing is run on the machine any more; CPU time",
    peer=_SPIN,
)
def explore_rate(rounds: int, _quick: bool) -> Figures:
    """Operations per second of an exploration."""
    runs = [run_inside("explore", _RACY) for _ in range(rounds)]
    samples = tuple(run["operations"] / run["last_round"] for run in runs)
    facts = {name: runs[0][name] for name in ("operations", "schedules", "states", "findings")}
    yield Result("explore_rate", "/s", samples, at_least=50_000, facts=facts)


@benchmark(
    covers="2 secondaries of mainline and the boot CPU: all schedules there are, against those explored "
    "(exact counts)"
)
def explore_reduction(_rounds: int, _quick: bool) -> Figures:
    """What reduction saves, in powers of ten."""
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


@benchmark(
    covers="complete explorations of programs that race, every end judged, by number of secondaries: "
    "mainline with parallel kicks (racy), a pen with caches, and a lock that each takes with its MMU off and "
    "on (bench/lock.S): the machine's part and every round, in CPU time, but not the start of the process",
)
def explore_scale(rounds: int, _quick: bool) -> Figures:
    """Schedules against different ends."""
    return _explored(
        "explore_scale", _SCALE, rounds, "{schedules:,} schedules to {ends:,} ends, {megabytes:.0f} MB"
    )


@benchmark(
    covers="complete explorations of v3 by number of secondaries, coherent or with caches (pen: "
    "spin-table): the machine's part and every round, in CPU time, but not the start of the process",
    peer=_SPIN,
)
def explore_whole(rounds: int, _quick: bool) -> Figures:
    """Complete explorations."""
    return _explored("explore_whole", _WHOLE, rounds, "{states:,} states, {operations:,} operations")


def _explored(name: str, cases: Mapping[str, tuple[str, int]], rounds: int, note: str) -> Figures:
    # The CPU seconds of complete explorations; `note` is made of what the first run of each counts.
    for case, (text, seconds) in cases.items():
        runs = [run_inside("explore", text) for _ in range(rounds)]
        facts = {key: runs[0][key] for key in _FACTS}
        samples = tuple(run["seconds"] for run in runs)
        yield Result(
            f"{name}.{case}", "s", samples, at_most=seconds, facts=facts, note=note.format_map(facts)
        )
