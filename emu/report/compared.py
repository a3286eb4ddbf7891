"""A comparison of bring-ups: as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from emu.compare.runs import COUNTERS, Run
from emu.compare.sweep import CPUS
from emu.latency import Latency, latency_profile
from emu.report.words import wrap

_LABEL, _COLUMN, _LINE = 20, 10, 80
_TIMES = ("total", "prepare", "online", "avg/CPU", "min", "max")
CONFOUNDERS = (
    "caches and what misses in them, interrupts, other work on the machine, and callbacks of the kernel but "
    "for what the profile says of them"
)


def times_of(run: Run) -> dict[str, int]:
    """Return the times of a run, ns, by their names in a table."""
    times, each = run.times, [cpu.whole for cpu in run.times.cpus]
    return {
        "total": times.total,
        "prepare": times.prepare,
        "online": times.online,
        "avg/CPU": sum(each) // len(each),
        "min": min(each),
        "max": max(each),
    }


def milliseconds(ns: int) -> str:
    """Return a time in ms, to the us."""
    return f"{ns / 1e6:.3f}"


def label_of(run: Run, runs: Sequence[Run]) -> str:
    """Return what tells a run from the others of its comparison: bring-up, subject, latency, topology."""
    parts = ["its own" if run.case.bringup == "auto" else run.case.bringup]
    for field in ("subject", "latency", "topology"):
        if len({getattr(other.case, field) for other in runs}) > 1:
            parts.append(getattr(run.case, field).rsplit("/", 1)[-1].replace(".toml", ""))
    return " ".join(parts)


def text_of(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lines of a comparison."""
    done = [run for run in runs if not run.refused]
    if done:
        cpus = sorted({run.cpus for run in done})
        yield f"{cpus[0] if len(cpus) == 1 else f'{cpus[0]}..{cpus[-1]}'} CPUs; simulated ms"
        yield ""
        labels = [label_of(run, runs) for run in done]
        yield from _table(
            labels, _TIMES, [[milliseconds(ns) for ns in times_of(run).values()] for run in done]
        )
        yield from _counters(done, labels)
        yield from _extremes(done, runs)
        for name in dict.fromkeys(run.case.latency for run in done):
            yield from wrap(profile_line(latency_profile(name)), "  ")
        yield from wrap(f"not in it: {CONFOUNDERS}", "  ")
    for run in runs:
        if run.refused:
            yield from wrap(f"{label_of(run, runs)}: refused: {run.refused}", "  ")
        elif run.stopped:
            yield from wrap(f"{label_of(run, runs)}: stopped: {run.stopped}", "  ")
        elif run.findings:
            found = f"{run.findings} finding{'' if run.findings == 1 else 's'}"
            yield from wrap(f"{label_of(run, runs)}: {found}, {run.online} of {run.cpus} CPUs online", "  ")
    for run in done:
        yield f"case: {run.text}"


def _counters(done: Sequence[Run], labels: Sequence[str]) -> Iterator[str]:
    shown = [key for key in COUNTERS if any(run.counters.get(key) for run in done)]
    heads = [COUNTERS[key].removesuffix(" ns") for key in shown]
    yield from _table(labels, heads, [[_figure(key, run) for key in shown] for run in done], least=0)


def _table(
    labels: Sequence[str], heads: Sequence[str], rows: Sequence[Sequence[str]], least: int = _COLUMN
) -> Iterator[str]:
    # Rows of figures behind their labels, and an empty line; columns for which 80 are too few stand below. A
    # column is at least so wide where the labels leave room for that.
    left = max(_LABEL, *(len(label) + 1 for label in labels))
    least = least if left == _LABEL else 0
    widths = [max(least, len(head) + 2, *(len(row[at]) + 1 for row in rows)) for at, head in enumerate(heads)]
    at = 0
    while at < len(heads):
        end = at + 1
        while end < len(heads) and left + sum(widths[at : end + 1]) <= _LINE:
            end += 1
        for label, row in zip(("", *labels), (heads, *rows), strict=True):
            figures = zip(row[at:end], widths[at:end], strict=True)
            yield f"{label:<{left}}" + "".join(f"{figure:>{width}}" for figure, width in figures)
        yield ""
        at = end


def _figure(key: str, run: Run) -> str:
    value = run.counters[key]
    return f"{value / 1e6:.1f}" if key.endswith("_ns") else f"{value}"


def _extremes(done: Sequence[Run], runs: Sequence[Run]) -> Iterator[str]:
    if len(done) < 2:
        return
    least, most = (pick(done, key=lambda run: run.times.total) for pick in (min, max))
    short, long = least.times.total, most.times.total
    if short == long:
        yield f"all the same: {milliseconds(short)} ms"
        return
    factor = f", {long / short:.2f} times" if short else ""
    yield (
        f"least: {label_of(least, runs)}, {milliseconds(short)} ms; "
        f"most: {label_of(most, runs)}, {milliseconds(long)} ms{factor}"
    )


def profile_line(profile: Latency) -> str:
    """Return what a profile is, and how well its figures are founded, in one line."""
    kinds: dict[str, list[str]] = {}
    for key, source in profile.sources:
        kind = next((word for word in ("assumed", "fitted") if word in source.split(":")[0]), "sourced")
        kinds.setdefault(kind, []).append(key)
    founded = "; ".join(f"{kind}: {', '.join(keys)}" for kind, keys in kinds.items())
    return f"latency {profile.name}: {profile.summary}" + (f"; {founded}" if founded else "")


def as_json(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the comparison as one JSON object."""
    return {"unit": "ns", "not_in_it": CONFOUNDERS, "runs": [_run_json(run) for run in runs]}


def _run_json(run: Run) -> dict[str, Any]:
    case = run.case
    found: dict[str, Any] = {
        "subject": case.subject,
        "bringup": case.bringup,
        "latency": case.latency,
        "topology": case.topology,
        "case": run.text,
    }
    if run.refused:
        return {**found, "refused": run.refused}
    times = {name.replace("/CPU", "_per_cpu"): ns for name, ns in times_of(run).items()}
    return {
        **found,
        "cpus": run.cpus,
        "online": run.online,
        "findings": run.findings,
        "stopped": run.stopped,
        "times": times,
        "counters": run.counters,
        "per_cpu": [each._asdict() for each in run.times.cpus],
    }


def as_csv(runs: Sequence[Run]) -> str:
    """Return the comparison as CSV: a row for each run that was not refused; times are ns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name.replace("/CPU", "_per_cpu") for name in _TIMES]
    writer.writerow(["subject", "bringup", "latency", "topology", "cpus", "online", *names, *COUNTERS])
    for run in runs:
        if not run.refused:
            case = run.case
            row = [case.subject, case.bringup, case.latency, case.topology, run.cpus, run.online]
            writer.writerow([*row, *times_of(run).values(), *(run.counters.get(key, "") for key in COUNTERS)])
    return text.getvalue()


def curve_text(key: str, values: Sequence[int], runs: Sequence[Sequence[Run]]) -> Iterator[str]:
    """Yield the lines of a sweep: a row for each value, a column for each kind of run."""
    kinds = [run.case.bringup for run in runs[0]]
    yield "simulated ms"
    yield ""
    yield f"{key:<14}" + "".join(f"{kind:>13}" for kind in kinds) + "   least"
    for value, row in zip(values, runs, strict=True):
        figures = "".join(f"{'refused' if run.refused else milliseconds(run.times.total):>13}" for run in row)
        yield f"{_named(key, value):<14}{figures}   {_least(row) or '-'}"
    best = ""
    for value, row in zip(values, runs, strict=True):
        least = _least(row)
        if best and least and least != best:
            yield f"from {key} = {_named(key, value)} on {least} takes less than {best}"
        best = least or best


def _named(key: str, value: int) -> str:
    return f"{value}" if key == CPUS else f"{value / 1000:g} us"


def _least(row: Sequence[Run]) -> str:
    # The bring-up that takes least; empty: all were refused.
    done = [run for run in row if not run.refused]
    return min(done, key=lambda run: run.times.total).case.bringup if done else ""
