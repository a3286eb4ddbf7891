"""``emu explore``: every order of operations, and all that the memory model may do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from emu.case import Case
from emu.cli.asked import given, spelt
from emu.cli.options import (
    DEFAULT_SUBJECT,
    Reports,
    asked_to_stop,
    case_options,
    make_case,
    races_options,
    report_options,
    say_notes,
)
from emu.cli.outputs import Command, Output, write_text
from emu.cli.progress import booting_primary, progress
from emu.cli.status import INTERRUPTED
from emu.errors import InvalidCase
from emu.explore.confirm import confirm_shortest
from emu.explore.explorer import ExplorationResult, Explorer, case_of, explore_case
from emu.explore.finding_collector import Found
from emu.explore.forks import in_forks
from emu.explore.outcomes import find_outcomes
from emu.explore.resume import Saved, read_resume, write_resume
from emu.explore.search import Bounds, Count
from emu.host.build import Boot
from emu.host.effects import WHOLE
from emu.host.properties import outcomes_of
from emu.report.exploring import as_json, counts_text, explore_suite, summary
from emu.report.outcome_set import outcomes_json, outcomes_lines
from emu.report.story import Story, tell_story
from emu.report.words import finding_words, wrap
from emu.schedulers import SCHEDULERS, Pick, scheduler_kind

DEFAULT_SCHEDULES, DEFAULT_DEPTH = 1_000_000, 100_000
DEFAULT_RANDOM = 1_000  # random schedules: all of them are taken when nothing is found
_ALL_ORDERS = Case(DEFAULT_SUBJECT).scheduler
_STORIES_MAX = 8  # findings that are made short and told; more are listed
_CONSEQUENCES = ("arrival", "telemetry")  # what other findings come to in the end
_RESUME = Path("emu-explore.json")
# What --resume leaves to be chosen: how long to go on, and where results go.
_BESIDE_RESUME = {"resume", "max_schedules", "everything", "html", "jobs", "as_object", "ktap", "junit"}


@click.command("explore", cls=Command)
@case_options
@click.option(
    "--max-schedules", type=int, help="End after so many. [default: 1,000,000; of random ones 1,000]"
)
@click.option("--preemptions", type=int, help="At most so many changes from a CPU that could go on.")
@click.option("--steps-max", type=int, help="Steps of one schedule. [default: 100,000; above 223 CPUs 2 N N]")
@click.option("--early", type=int, default=0, help="Time-outs and wake-ups without need. [default: 0]")
@click.option("--spurious", is_flag=True, help="WFE may end without an event (counts for --early).")
@click.option(
    "--failures",
    type=click.IntRange(0, 15),
    default=1,
    help="Store-exclusives of a CPU that fail by themselves before one passes. [default: 1]",
)
@click.option("--all", "everything", is_flag=True, help="Go on behind the first finding.")
@click.option("--no-reduction", is_flag=True, help="Try every order, whether it matters or not.")
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="FILE", help="Go on where Ctrl-C or a kill ended it."
)
@click.option(
    "--outcomes", metavar="TEXT", help="Print what these are at all ends, such as '[word], cpu1:x0'."
)
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 256), help="Processes that shorten findings. [default: one a CPU]"
)
@click.option("--cluster", metavar="ADDRESS", help="A Dask scheduler, or local[:N], at depth whole.")
@click.option(
    "--from", "start", metavar="SYMBOL", help="Where schedules begin, at depth whole. [default: smp_init]"
)
@click.option(
    "--latency-max",
    type=click.IntRange(0, 4_000_000_000),
    help="Firmware starts a CPU after so many ns at most, at depth whole. [default: 500,000]",
)
@races_options
@click.option("--html", type=Output(), metavar="FILE", help="Draw the first finding.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@report_options
def command(
    max_schedules: int | None,
    preemptions: int | None,
    steps_max: int | None,
    early: int,
    spurious: bool,
    failures: int,
    everything: bool,
    no_reduction: bool,
    resume: Path | None,
    outcomes: str | None,
    jobs: int | None,
    cluster: str | None,
    start: str | None,
    latency_max: int | None,
    races: bool,
    known_race: tuple[str, ...],
    html: Path | None,
    as_object: bool,
    reports: Reports,
    **options: Any,
) -> int:
    """Try every order in which the CPUs of SUBJECT can do what others see.

    With --memory caches, all that the caches may do besides. With --scheduler random or pct, so many random
    schedules instead. With --depth whole, schedules of a kernel that boots by itself.
    """
    for name, value, least in (
        ("max-schedules", max_schedules, 1),
        ("preemptions", preemptions, 0),
        ("steps-max", steps_max, 1),
        ("early", early, 0),
    ):
        if value is not None and value < least:
            raise InvalidCase(f"{name}={value}: at least {least}")
    if spurious and not early:
        raise InvalidCase("--spurious: --early says how often; give at least 1")
    saved = read_resume(resume) if resume else None
    if resume is not None:
        _check_alone(resume)
    if (depth := options.get("depth")) and depth.isdecimal():
        raise InvalidCase(f"depth={depth}: not {WHOLE}; the bound of a path is --steps-max {depth}")
    case = Case.parse(saved.case) if saved else make_case(**options)
    if case.depth == WHOLE:
        from emu.cli.whole import Races, Search, explore_command

        search = Search(max_schedules, start, latency_max, everything, jobs, cluster)
        return explore_command(case, search, Races(races, known_race), reports, as_object=as_object)
    if of_whole := given("start", "latency_max", "races", "known_race", "cluster"):
        raise InvalidCase(f"{spelt(of_whole[0])}: --depth {WHOLE} alone has that")
    if case.instructions_max != Case(case.subject).instructions_max:
        raise InvalidCase(
            f"instructions-max={case.instructions_max}: a bound of one run; those of an exploration are "
            "--steps-max and --max-schedules; leave it out"
        )
    asked = {
        name for name, value in (("schedules", max_schedules), ("depth", steps_max)) if value is not None
    }
    walks = scheduler_kind(case.scheduler)[0].walk is not None
    default = DEFAULT_RANDOM if walks else DEFAULT_SCHEDULES
    bounds = Bounds(
        schedules=default if max_schedules is None else max_schedules,
        preemptions=preemptions,
        depth=DEFAULT_DEPTH if steps_max is None else steps_max,
        early=early,
        spurious=spurious,
        failures=failures,
        reduce=not no_reduction,
    )
    if saved:
        bounds = saved.bounds(bounds.schedules)
        if bounds.depth != DEFAULT_DEPTH:
            asked.add("depth")
    _check_walk(case)
    with booting_primary(case.subject):
        explorer, boot = explore_case(case)
    if steps_max is None and not saved:
        bounds = replace(bounds, depth=_default_depth(len(boot.machine.actors)))
    say_notes(boot)
    if outcomes is not None:
        return _print_outcomes(explorer, boot, outcomes, bounds, as_object)
    everything = everything or (saved is not None and saved.everything)
    with _progress() as tell:
        result, kept = _explore(explorer, case, bounds, everything, saved, tell)
    stories = _tell_stories(explorer, boot, result, jobs or os.cpu_count() or 1)
    if html is not None and not stories:
        click.echo(f"emu: --html {html}: nothing is found, so nothing is drawn", err=True)
    elif html is not None:
        from emu.report.sequence import page

        write_text(html, page(stories[0][1]))
    told = [(found, story.lines()) for found, story in stories]
    result.findings = _with_cases(result.findings, [found for found, _ in told], boot)
    text = boot.case.text()
    unasked = result.bounds_hit - asked - {"preemptions"}
    result.undecided = bool(unasked) and not result.findings
    if reports.show(lambda: explore_suite(result, text, told)):
        pass
    elif as_object:
        click.echo(json.dumps(as_json(result, text)))
    else:
        _print(result, told, case, bounds, text)
    if "interrupted" in result.incomplete:
        if result.saved is not None and result.saved.frames:
            write_resume(_RESUME, result.saved)
            click.echo(f"emu: go on with: emu explore --resume {_RESUME}", err=True)
        return INTERRUPTED
    if kept:
        _RESUME.unlink(missing_ok=True)
    return 125 if result.undecided else int(bool(result.findings))


def _print_outcomes(explorer: Explorer, boot: Boot, text: str, bounds: Bounds, as_object: bool) -> int:
    # The set of outcomes with a case each, in place of findings.
    if asked := given("html", "ktap", "junit", "everything", "resume", "jobs"):
        raise InvalidCase(f"{spelt(asked[0])} and --outcomes: outcomes are no findings")
    if scheduler_kind(boot.case.scheduler)[0].walk is not None:
        raise InvalidCase(f"scheduler={boot.case.scheduler} and --outcomes: they are those of all orders")
    named = outcomes_of(text, boot.names)
    with _progress() as tell:
        found = find_outcomes(explorer, list(named.values()), bounds, tell)
    if as_object:
        click.echo(json.dumps(outcomes_json(list(named), found, boot.case.text(), boot)))
    else:
        for line in outcomes_lines(list(named), found, boot):
            click.echo(line)
    return INTERRUPTED if "interrupted" in found.ends.incomplete else 125 if found.ends.incomplete else 0


def _check_alone(resume: Path) -> None:
    # An interrupted search goes on with the case and the bounds that it was begun with.
    parameters = {str(parameter.name) for parameter in click.get_current_context().command.params}
    if others := given(*sorted(parameters - _BESIDE_RESUME)):
        raise InvalidCase(f"{spelt(others[0])} and --resume {resume}: the search goes on as it was begun")


def _default_depth(cpus: int) -> int:
    # Steps of one schedule, at most: twice what a boot takes in which each CPU scans a table of all.
    return max(DEFAULT_DEPTH, 2 * cpus * cpus)


def _check_walk(case: Case) -> None:
    # Bounds of the search of every order are none of random schedules.
    kind, _ = scheduler_kind(case.scheduler)
    if kind.walk is None and kind.name != _ALL_ORDERS:
        walking = ", ".join(name for name, other in SCHEDULERS.items() if other.walk)
        raise InvalidCase(f"scheduler={case.scheduler}: explore takes {walking}, or none for all orders")
    if kind.walk is not None and (asked := given("preemptions", "no_reduction")):
        raise InvalidCase(f"{spelt(asked[0])}: of all orders; scheduler={case.scheduler} takes random ones")


def _explore(
    explorer: Explorer, case: Case, bounds: Bounds, everything: bool, saved: Any, tell: Any
) -> tuple[ExplorationResult, bool]:
    # The result, and whether the file to go on from was written on the way.
    kind, rest = scheduler_kind(case.scheduler)
    if kind.walk is not None:
        try:
            schedules = kind.walk(rest)
        except ValueError as error:
            raise InvalidCase(f"scheduler={case.scheduler}: {error}") from None
        return explorer.walk(schedules, bounds, everything=everything, tell=tell), False
    kept = refused = False

    def keep(standing: Saved) -> None:
        nonlocal kept, refused
        if refused:
            return
        try:
            write_resume(_RESUME, standing)
            kept = True
        except InvalidCase as error:  # what was found is worth more than the place
            refused = True
            click.echo(f"emu: a kill would lose where the search stands: {error}", err=True)

    return explorer.search(bounds, everything=everything, tell=tell, saved=saved, keep=keep), kept


def _tell_stories(
    explorer: Explorer, boot: Boot, result: ExplorationResult, jobs: int
) -> list[tuple[Found, Story]]:
    # Of each finding that gets one; the first Ctrl-C leaves the others as they were found.
    def tell(found: Found) -> tuple[Found, Story]:
        confirmed = confirm_shortest(explorer, boot, found)
        return replace(confirmed.found, tail=()), tell_story(boot, confirmed)

    with asked_to_stop() as stop:
        stories = list(in_forks(tell, _told(result.findings), jobs, stop))
        if stop():
            result.incomplete.append("interrupted")
    return stories


def _told(findings: list[Found]) -> list[Found]:
    # Those that get a story: of several that one schedule shows, the one that is nearest to the cause.
    first: dict[tuple[Pick, ...], Found] = {}
    for found in sorted(findings, key=lambda found: found.finding.rule in _CONSEQUENCES):
        first.setdefault(found.picks, found)
    return list(first.values())[:_STORIES_MAX]


def _with_cases(findings: list[Found], told: list[Found], boot: Boot) -> list[Found]:
    # Each finding with the case that shows it: the short one where there is a story.
    short = {found.finding.key: found for found in told}
    return [
        short.get(found.finding.key) or replace(found, case=case_of(boot, found.picks)) for found in findings
    ]


def _print(
    result: ExplorationResult, told: list[tuple[Found, list[str]]], case: Case, bounds: Bounds, text: str
) -> None:
    for _, lines in told:
        for line in lines:
            click.echo(line)
        click.echo()
    shown = {id(found) for found, _ in told}
    for found in result.findings:
        if id(found) not in shown:
            for line in wrap(f"also ({found.finding.rule}): {finding_words(found.finding)}", "  "):
                click.echo(line)
    for line in summary(result, text):
        click.echo(line)
    if result.undecided and result.bounds_hit & {"schedules", "depth"}:
        click.echo(
            "undecided: --max-schedules and --steps-max raise the bounds, --preemptions makes it smaller"
        )
    kind, rest = scheduler_kind(case.scheduler)
    if kind.odds is not None:
        click.echo(kind.odds(rest, result.actors, result.count.schedules, result.count.depth))


@contextmanager
def _progress() -> Iterator[Any]:
    # Counts on a terminal's standard error; the first Ctrl-C ends the exploration in order.
    count, depth = Count(), 0

    def tell(now: Count, frames: int) -> bool:
        nonlocal count, depth
        count, depth = now, frames
        return stop()

    def words() -> str:
        return f"round {count.rounds}: {counts_text(count)}, depth {depth}"

    with asked_to_stop() as stop, progress(words):
        yield tell
