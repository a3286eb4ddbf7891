"""``emu boot`` and ``emu explore`` with ``--depth whole``: the kernel boots by itself."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from emu.case import Case
from emu.cli.asked import given, spelt
from emu.cli.options import Reports, asked_to_stop
from emu.cli.progress import loading, progress
from emu.cli.recording import Files, open_for_writing, write_timelines
from emu.cli.status import INTERRUPTED
from emu.cli.streams import standard_input
from emu.errors import InvalidCase
from emu.finding import Verdict
from emu.rules import judge

if TYPE_CHECKING:
    from emu.explore.whole import WholeExploration
    from emu.explore.whole_cluster import WholeCluster
    from emu.explore.whole_races import RacesFound
    from emu.report.property import Suite
from emu.host.whole.boot import Line, WholeBoot
from emu.host.whole.ending import How
from emu.host.whole.recording import RECORD_FROM, boot_from, image_symbols, used_symbols
from emu.host.whole.trace_points import TracePoints
from emu.report.whole import (
    event_lines,
    exploration_json,
    verdict_of,
    whole_json,
)

STATUS = {"pass": 0, "fail": 1, "undecided": 125, "untestable": 125}
# Options of explore that say how orders of operations are searched.
_OF_OPERATIONS = (
    "preemptions",
    "steps_max",
    "early",
    "spurious",
    "failures",
    "no_reduction",
    "resume",
    "outcomes",
    "html",
)


@dataclass(frozen=True, slots=True)
class Races:
    """Whether races are asked for, and the symbols of those that are known."""

    wanted: bool
    known: tuple[str, ...]


def recorded(case: Case, start: str, races: Races) -> Case:
    """Return the case, recorded from ``start`` on where races are asked for and it says nothing else.

    :raises InvalidCase: races are known and not looked for
    """
    if races.wanted and not case.record_from:
        case = replace(case, record_from=start or RECORD_FROM)
    if races.known and not case.record_from:
        raise InvalidCase("--known-race: --races and --record-from alone have that")
    return case


@dataclass(frozen=True, slots=True)
class Shown:
    """How a boot is shown: as a JSON object, with each event in its log, as KTAP or JUnit."""

    as_object: bool
    verbose: bool
    reports: Reports


def boot_whole(case: Case, start: str, races: Races, files: Files, shown: Shown) -> int:
    """Run the case, print its log, how it ended and what rules say, and return the exit status.

    :param start: where a kept boot goes on, or one is kept
    """
    as_object, verbose, reports = shown.as_object, shown.verbose, shown.reports
    case = recorded(case, start, races)
    with loading(case.subject):
        boot = boot_from(case, start, lambda: standard_input().readline())
    if not (as_object or verbose or reports.ktap):
        for line in boot.lines:
            _print_line(line)
        boot.on_line = _print_line
    how = run_recorded(boot, files)
    if verbose and not (as_object or reports.ktap):
        for text in event_lines(boot):
            click.echo(text)
    boot.read_log()
    with progress(lambda: f"{len(boot.machine.trace):,} records are judged"):
        verdict, found = judged(boot, races.known)
    if reports.show(lambda: _suite(boot, how, verdict)):
        pass
    elif as_object:
        click.echo(json.dumps(whole_json(boot, how, verdict, found)))
    else:
        from emu.report.text import make_console
        from emu.report.whole_text import print_whole

        print_whole(make_console(), boot, how, verdict, found)
    return INTERRUPTED if how is How.INTERRUPTED else STATUS[verdict_of(how, verdict)]


def _suite(boot: WholeBoot, how: How, verdict: Verdict) -> Suite:
    from emu.report.whole_property import whole_suite

    return whole_suite(boot, how, verdict)


def replay_whole(case: Case, races: Races, *, as_object: bool) -> int:
    """Run the case, print what it does with the CPUs of its findings, and return the exit status."""
    case = recorded(case, "", races)
    with loading(case.subject):
        boot = boot_from(case)
    how = run_recorded(boot, Files())
    verdict, found = judged(boot, races.known)
    boot.read_log()
    if as_object:
        click.echo(json.dumps(whole_json(boot, how, verdict, found)))
    else:
        from emu.report.text import make_console
        from emu.report.whole_text import print_replay

        print_replay(make_console(), boot, how, verdict, found)
    return INTERRUPTED if how is How.INTERRUPTED else STATUS[verdict_of(how, verdict)]


def judged(boot: WholeBoot, known: Collection[str]) -> tuple[Verdict, RacesFound | None]:
    """Return what rules say of ``boot``, which is over, and its races if it was recorded."""
    if not boot.case.record_from:
        return judge(boot.machine.trace), None
    from emu.explore.whole_races import judge_whole

    return judge_whole(boot, known)


def run_recorded(boot: WholeBoot, files: Files) -> How:
    """Say what of the user's device tree is not modelled, run ``boot`` to its end, write what was asked for.

    :raises InvalidCase: a file cannot be written
    """
    for note in boot.notes:
        click.echo(f"emu: {note}", err=True)
    trace = boot.machine.trace
    with ExitStack() as stack:
        if files.trace is not None:
            trace.attach(stack.enter_context(open_for_writing(files.trace)))
        points = TracePoints(boot) if files.timed else None
        how = _run(boot)
        if points is not None:
            points.finish()
        boot.finish()
        if files.trace is not None:
            trace.add_symbols(used_symbols(boot))
            trace.detach()
    write_timelines(files, boot.machine, boot.case, lambda: image_symbols(boot))
    return how


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked of an exploration; None: as it is by itself.

    :ivar everything: go on behind the first schedule that shows something
    :ivar cluster: the address of a Dask scheduler
    """

    schedules: int | None
    start: str | None
    latency_max: int | None
    everything: bool
    jobs: int | None
    cluster: str | None


def explore_command(case: Case, search: Search, races: Races, reports: Reports, *, as_object: bool) -> int:
    """Run schedules of the case, print what they came to, and return the exit status."""
    if asked := given(*_OF_OPERATIONS):
        why = "schedules are runs there, not orders of operations"
        raise InvalidCase(f"{spelt(asked[0])}: not at depth {case.depth}: {why}")
    from emu.explore.whole import LATENCY_MAX, SCHEDULES, START, explore_whole

    start = search.start or case.record_from or START
    case = recorded(case, start, races)
    with ExitStack() as stack:
        elsewhere = _elsewhere(search, case, start, races, stack)
        done = [0]
        stop = stack.enter_context(asked_to_stop())
        stack.enter_context(progress(lambda: f"{done[-1]} schedules"))

        def tell(runs: int) -> bool:
            done.append(runs)
            return stop()

        found = explore_whole(
            case,
            start=start,
            known=races.known,
            schedules=SCHEDULES if search.schedules is None else search.schedules,
            latency_max=LATENCY_MAX if search.latency_max is None else search.latency_max,
            everything=search.everything,
            jobs=search.jobs or os.cpu_count() or 1,
            elsewhere=elsewhere,
            tell=tell,
        )
        interrupted = stop()
    if reports.show(lambda: _exploration_suite(found)):
        pass
    elif as_object:
        click.echo(json.dumps(exploration_json(found)))
    else:
        from emu.report.text import make_console
        from emu.report.whole_text import print_exploration

        print_exploration(make_console(), found)
    if interrupted:
        return INTERRUPTED
    return 1 if found.failing else 125 if found.undecided else 0


def _elsewhere(search: Search, case: Case, start: str, races: Races, stack: ExitStack) -> WholeCluster | None:
    # The cluster that runs the schedules, None: this machine does.
    if search.cluster is None:
        return None
    if search.jobs is not None:
        raise InvalidCase(
            f"-j {search.jobs} and --cluster {search.cluster}: the cluster has workers of its own"
        )
    from emu.explore.whole_cluster import WholeCluster

    cluster = WholeCluster(search.cluster, case, start, races.known)
    stack.callback(cluster.close)
    return cluster


def _exploration_suite(found: WholeExploration) -> Suite:
    from emu.report.whole_property import exploration_suite

    return exploration_suite(found)


def _print_line(line: Line) -> None:
    click.echo(line.text)


def _run(boot: WholeBoot) -> How:
    try:
        with progress(lambda: f"{boot.machine.now / 1e9:.3f} s simulated, {len(boot.lines)} lines"):
            return boot.run()
    except KeyboardInterrupt:
        return How.INTERRUPTED
