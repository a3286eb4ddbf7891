"""``emu compare``: bring-ups side by side, in simulated time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emu.case import Case
from emu.cli.options import DEFAULT_SUBJECT, NamesOption, case_options, make_case
from emu.cli.outputs import Command, Output, write_text
from emu.errors import InvalidCase
from emu.host.effects import WHOLE

if TYPE_CHECKING:
    from emu.compare.runs import Run

_OURS = {"subject", "case_text", "bringup", "latency", "scheduler", "grain", "memory", "granule", "asserts"}
_ORDER = ("serial", "split", "parallel")  # of the columns and rows; any other comes behind
_NOT_OURS_AT_WHOLE = {"input", "record_from", "until"}


def _case_options(function: Any) -> Any:
    # Those of a case that are the same in all runs.
    own = list(getattr(function, "__click_params__", []))
    decorated = case_options(function)
    decorated.__click_params__ = [
        parameter
        for parameter in decorated.__click_params__
        if parameter in own or parameter.name not in _OURS | _NOT_OURS_AT_WHOLE
    ]
    return decorated


@click.command("compare", cls=Command)
@click.argument("subjects", nargs=-1, metavar="[SUBJECT]...")
@_case_options
@click.option(
    "--bringup",
    cls=NamesOption,
    names="emu.host.bringup:STRATEGIES",
    metavar="NAME,...",
    help="Which of NAMES. [default: all]",
)
@click.option(
    "--latency",
    "latencies",
    multiple=True,
    cls=NamesOption,
    names="emu.latency:PROFILES",
    metavar="NAME[:SEED][,KEY=TIME]",
    help="What things cost: NAMES, or a TOML file; several are compared. [default: nominal]",
)
@click.option(
    "--sweep",
    metavar="KEY=FIRST..LAST",
    help="At several values of cpus, or of a figure of the latency profile: lock=0us..50us.",
)
@click.option("--timeline", is_flag=True, help="Also show what each CPU is about along time.")
@click.option("--svg", type=Output(), metavar="FILE", help="Write the timeline, or the curve of --sweep.")
@click.option("--html", type=Output(), metavar="FILE", help="Write table and timeline as one page.")
@click.option("--csv", type=Output(), metavar="FILE", help="Write a row for each run.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Processes. [default: one a CPU]")
def command(
    subjects: tuple[str, ...],
    bringup: str | None,
    latencies: tuple[str, ...],
    sweep: str | None,
    timeline: bool,
    svg: Path | None,
    html: Path | None,
    csv: Path | None,
    as_object: bool,
    jobs: int | None,
    **options: Any,
) -> int:
    """Compare how long it takes to bring all CPUs of each SUBJECT up, one after the other and in parallel.

    Times are simulated: what they are made of is in the latency profile, which is named.  [default: v3]
    """
    from emu.compare.runs import run_all
    from emu.report import compared

    if sweep and (timeline or html):
        raise InvalidCase("--sweep: it has no timeline; --svg FILE draws its curve")
    cases = _cases(subjects or (DEFAULT_SUBJECT,), bringup, latencies or ("nominal",), options)
    jobs = jobs or os.cpu_count() or 1
    if sweep:
        return _sweep(cases, sweep, jobs, svg, csv, as_object=as_object)
    runs = _some_run(run_all(cases, jobs, record=bool(timeline or svg or html)))
    if csv:
        write_text(csv, compared.as_csv(runs))
    done = [run for run in runs if not run.refused]
    if done and (svg or html):
        from emu.report.lanes_svg import chart, page

        labels = [compared.label_of(run, runs) for run in done]
        if svg:
            write_text(svg, chart(done, labels))
        if html:
            write_text(html, page(done, labels, list(compared.text_of(runs))))
    if as_object:
        click.echo(json.dumps(compared.as_json(runs)))
    else:
        if timeline and done:
            from emu.report.lanes import lanes_text

            for line in lanes_text(done, [compared.label_of(run, runs) for run in done]):
                click.echo(line)
            click.echo()
        for line in compared.text_of(runs):
            click.echo(line)
    return _status(runs)


def _cases(
    subjects: Sequence[str], bringup: str | None, latencies: Sequence[str], options: dict[str, Any]
) -> list[Case]:
    from emu.compare.runs import timed
    from emu.host.bringup import STRATEGIES
    from emu.registry import not_one_of

    is_whole = options.get("depth") == WHOLE
    every = [*_ORDER, *(name for name in STRATEGIES if name not in _ORDER)]
    modes = bringup.split(",") if bringup else ["auto"] if is_whole else every
    for mode in modes if bringup else ():
        if mode not in STRATEGIES:
            raise InvalidCase(f"bringup={mode}: {not_one_of(mode, STRATEGIES)}")
    return [
        timed(make_case(subject, None, bringup=mode, latency=latency, **options))
        for subject in subjects
        for latency in latencies
        for mode in modes
    ]


def _sweep(
    cases: Sequence[Case], text: str, jobs: int, svg: Path | None, csv: Path | None, *, as_object: bool
) -> int:
    from emu.compare.runs import run_all
    from emu.compare.sweep import parse_sweep
    from emu.report import compared

    if len({(case.subject, case.latency) for case in cases}) > 1:
        raise InvalidCase(f"--sweep {text}: of one subject and one latency profile")
    sweep = parse_sweep(text)
    runs = _some_run(run_all([sweep.apply(case, value) for value in sweep.values for case in cases], jobs))
    rows = [runs[at : at + len(cases)] for at in range(0, len(runs), len(cases))]
    if csv:
        write_text(csv, compared.as_csv(runs))
    if svg:
        from emu.report.curve_svg import curve

        write_text(svg, curve(sweep.key, sweep.values, rows))
    if as_object:
        click.echo(json.dumps(compared.as_json(runs)))
    else:
        for line in compared.curve_text(sweep.key, sweep.values, rows):
            click.echo(line)
    return _status(runs)


def _some_run(runs: Iterable[Run]) -> list[Run]:
    found = list(runs)
    if all(run.refused for run in found):
        raise InvalidCase(found[0].refused)
    return found


def _status(runs: Sequence[Run]) -> int:
    # A run that was cut off tells no time.
    return 125 if any(run.stopped for run in runs) else 0
