"""``emu boot`` and ``emu explore`` with ``--depth whole``: the kernel boots by itself."""

from __future__ import annotations

import json
import os
import sys

import click

from emu.case import Case
from emu.cli.asked import given, spelt
from emu.cli.options import asked_to_stop
from emu.cli.progress import progress
from emu.errors import InvalidCase
from emu.host.whole.boot import Line, WholeBoot, build_whole
from emu.host.whole.ending import How
from emu.host.whole.kept import boot_at
from emu.report.text import make_console
from emu.report.whole import (
    exploration_json,
    print_exploration,
    print_whole,
    verdict_of,
    whole_json,
)
from emu.rules import judge

STATUS = {"pass": 0, "fail": 1, "undecided": 125, "untestable": 125}
_INTERRUPTED = 130
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
    "ktap",
    "junit",
)


def boot_whole(case: Case, start: str = "", *, as_object: bool) -> int:
    """Run the case, print its log and how it ended, and return the exit status.

    :param start: where a kept boot goes on, or one is kept
    """
    with progress(lambda: f"loading {case.subject}"):
        boot = boot_at(case, start) if start else build_whole(case, sys.stdin.buffer.readline)
    _say_notes(boot)
    if not as_object:
        for line in boot.lines:
            _print_line(line)
        boot.on_line = _print_line
    how = _run(boot)
    boot.read_log()
    boot.finish()
    verdict = judge(boot.machine.trace)
    if as_object:
        click.echo(json.dumps(whole_json(boot, how, verdict)))
    else:
        print_whole(make_console(), boot, how, verdict)
    return _INTERRUPTED if how is How.INTERRUPTED else STATUS[verdict_of(how, verdict)]


def races_whole(case: Case, start: str, known: tuple[str, ...], *, as_object: bool) -> int:
    """Run the case from ``start`` on, print the races of its accesses, and return the exit status."""
    from emu.explore.whole import START
    from emu.explore.whole_races import run_for_races
    from emu.report.races import race_lines, races_json

    with progress(lambda: f"loading {case.subject}"):
        boot = boot_at(case, start or START)
    _say_notes(boot)
    try:
        with progress(lambda: f"{boot.machine.now / 1e9:.3f} s simulated, every access kept"):
            found = run_for_races(boot, known)
    except KeyboardInterrupt:
        return _INTERRUPTED
    boot.finish()
    verdict = judge(boot.machine.trace)
    if as_object:
        click.echo(json.dumps(whole_json(boot, found.how, verdict) | races_json(boot, found)))
    else:
        print_whole(make_console(), boot, found.how, verdict)
        for line in race_lines(boot, found):
            click.echo(line)
    return STATUS["fail" if found.races else verdict_of(found.how, verdict)]


def explore_command(
    case: Case,
    schedules: int | None,
    start: str | None,
    latency_max: int | None,
    everything: bool,
    jobs: int | None,
    *,
    as_object: bool,
) -> int:
    """Run schedules of the case, print what they came to, and return the exit status."""
    if asked := given(*_OF_OPERATIONS):
        why = "schedules are runs there, not orders of operations"
        raise InvalidCase(f"{spelt(asked[0])}: not at depth {case.depth}: {why}")
    from emu.explore.whole import LATENCY_MAX, SCHEDULES, START, explore_whole

    with asked_to_stop() as stop, progress(lambda: f"{done[-1]} schedules"):
        done = [0]

        def tell(runs: int) -> bool:
            done.append(runs)
            return stop()

        found = explore_whole(
            case,
            start=start or START,
            schedules=SCHEDULES if schedules is None else schedules,
            latency_max=LATENCY_MAX if latency_max is None else latency_max,
            everything=everything,
            jobs=jobs or os.cpu_count() or 1,
            tell=tell,
        )
        interrupted = stop()
    if as_object:
        click.echo(json.dumps(exploration_json(found)))
    else:
        print_exploration(make_console(), found)
    if interrupted:
        return _INTERRUPTED
    return 1 if found.failing else 125 if found.undecided else 0


def _print_line(line: Line) -> None:
    click.echo(line.text)


def _say_notes(boot: WholeBoot) -> None:
    for note in boot.notes:
        click.echo(f"emu: {note}", err=True)


def _run(boot: WholeBoot) -> How:
    try:
        with progress(lambda: f"{boot.machine.now / 1e9:.3f} s simulated, {len(boot.lines)} lines"):
            return boot.run()
    except KeyboardInterrupt:
        return How.INTERRUPTED
