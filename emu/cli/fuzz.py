"""``emu fuzz``: a campaign against a lookup, until it is stopped; the next one goes on where it ended."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from emu.cli.asked import given as options_given
from emu.cli.asked import spelt
from emu.cli.campaign_kept import counted, export, show_status
from emu.cli.outputs import Command
from emu.errors import EmuError, InvalidCase
from emu.fuzz.built_lookup import Checked, UnderTest
from emu.fuzz.campaign import (
    GENERATION,
    UNIT_CASES,
    Campaign,
    CampaignSettings,
    CommittedUnit,
    check_goes_on,
    lock,
    written,
)
from emu.fuzz.campaign_log import CampaignLog
from emu.fuzz.exchange import read_cases
from emu.fuzz.race import ask_case
from emu.fuzz.spec import Spec, absolute, digests, make_spec, packed
from emu.fuzz.store import FILE, CampaignStore, StoredFinding
from emu.fuzz.workers import Processes, Workers
from emu.lookup.case import LookupCase
from emu.report.lookup import describe, finding_json
from emu.report.words import wrap

_PATH = click.Path(path_type=Path)
_LOOKS = ("folder", "exported", "minimise", "is_status", "as_object")  # what runs nothing


@click.command("fuzz", cls=Command)
@click.argument("subject", required=False)
@click.option("--dir", "folder", type=_PATH, required=True, help="Where the campaign is kept.")
@click.option("--contract", type=_PATH, help="What it promises: a TOML file.")
@click.option("--system-map", type=_PATH, help="Symbols of a kernel.")
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Worker processes. [default: one a CPU]")
@click.option("--cases", type=click.IntRange(0), help="Ask so many random questions, in whole units of work.")
@click.option("--for", "seconds", type=click.FloatRange(0), help="Stop after so many seconds.")
@click.option("--seed", type=int, help="Of the random questions. [default: 0]")
@click.option("--matches", type=click.IntRange(0, 100), help="Percent of them in the map. [default: 75]")
@click.option(
    "--unit-cases", type=click.IntRange(1), help=f"Random questions of a unit. [default: {UNIT_CASES}]"
)
@click.option(
    "--generation", type=click.IntRange(1), help=f"Units that know the same. [default: {GENERATION}]"
)
@click.option("--restart", is_flag=True, help="Begin again; what was found is asked again first.")
@click.option("--import", "imported", type=_PATH, metavar="FOLDER", help="Ask its cases (*.txt) first.")
@click.option(
    "--export", "exported", type=_PATH, metavar="FOLDER", help="Write corpus and findings there, and end."
)
@click.option("--minimise", is_flag=True, help="Of the corpus export no more than reaches the same edges.")
@click.option(
    "--status", "is_status", is_flag=True, help="Say what the campaign has, running or not, and end."
)
@click.option("--cluster", metavar="ADDRESS", help="A Dask scheduler, or local[:N].")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object at the end.")
def command(
    subject: str | None,
    folder: Path,
    jobs: int | None,
    cases: int | None,
    seconds: float | None,
    restart: bool,
    imported: Path | None,
    exported: Path | None,
    minimise: bool,
    is_status: bool,
    cluster: str | None,
    as_object: bool,
    **given: Any,
) -> int:
    """Look for wrong answers of SUBJECT's lookup on all cores until stopped, and keep what is found in DIR.

    SUBJECT is what emu lookup takes; with a campaign in DIR already it goes on, and SUBJECT can be left out.
    Ctrl-C ends it in good order, and so may anything else: no unit that was done is lost.
    """
    if minimise and exported is None:
        raise InvalidCase("--minimise: it is of --export")
    if is_status or exported is not None:
        only = "--status" if is_status else "--export"
        names = (parameter.name or "" for parameter in click.get_current_context().command.params)
        if others := options_given(*(name for name in names if name not in _LOOKS)):
            raise InvalidCase(f"{only} and {spelt(others[0])}: it runs nothing; leave one of them out")
        if is_status and exported is not None:
            raise InvalidCase("--status and --export: leave one of them out")
        return (
            show_status(folder, as_object)
            if exported is None
            else export(folder, exported, minimise=minimise)
        )
    questions = [] if imported is None else read_cases(imported)
    if seconds is not None and not math.isfinite(seconds):
        raise InvalidCase(f"--for {seconds}: a number of seconds")
    if cases is not None and seconds is not None:
        raise InvalidCase(f"--cases {cases} and --for {seconds:g}: give one of them")
    begun = (folder / FILE).exists()
    if not begun and subject is None:
        raise InvalidCase(f"{folder}: no campaign in it; name a SUBJECT")
    prepared = None if begun else _prepare(subject or "", given, {})  # a bad subject leaves no folder
    with ExitStack() as stack:
        stack.callback(lock(folder).close)
        store = CampaignStore(folder)
        stack.callback(store.close)
        stored = store.settings
        if imported is not None and stored and not restart:
            raise InvalidCase(f"--import {imported}: the campaign has begun; --restart, or another --dir")
        spec, under_test, settings = prepared or _prepare(subject or stored.get("subject", ""), given, stored)
        beginning = written(spec, settings, digests(spec, under_test))
        if stored and not restart:
            check_goes_on(stored, beginning, str(folder))
        else:
            store.begin(beginning)
            store.keep(case.text() for case in questions)
        campaign = Campaign(store, spec, settings)
        end = campaign.end + -(-cases // settings.unit_cases) if cases is not None else None
        log = CampaignLog(folder)
        if not stored or restart:
            log.clear()
        show = _Show(store, spec.subject, log, quiet=as_object)
        stop = stack.enter_context(_stop_at(seconds))
        workers = _workers(spec, under_test, jobs, cluster)
        stack.callback(workers.close)
        with show.progress():
            for step in campaign.run(workers, end, stop):
                show.step(step)
        show.end()
        return show.summary(under_test, as_object)


def _prepare(
    subject: str, given: dict[str, Any], stored: dict[str, str]
) -> tuple[Spec, UnderTest, CampaignSettings]:
    # Options that are not given have their stored values.
    if not subject:
        raise InvalidCase("no campaign was begun there; name a SUBJECT")

    def value(name: str, default: int) -> int:
        if given[name] is not None:
            return int(given[name])
        try:
            return int(stored.get(name, default))
        except ValueError:
            raise InvalidCase(f"campaign: {name}={stored[name]!r:.40}: an integer") from None

    def path(name: str) -> str:
        return str(given[name]) if given[name] is not None else stored.get(name, "")

    names = absolute(Spec(subject, path("contract"), path("system_map")))
    spec, under_test = make_spec(
        names.subject,
        Path(names.contract) if names.contract else None,
        Path(names.system_map) if names.system_map else None,
        value("matches", 75),
    )
    settings = CampaignSettings(
        value("seed", 0), value("unit_cases", UNIT_CASES), value("generation", GENERATION)
    )
    return spec, under_test, settings


def _workers(spec: Spec, under_test: UnderTest, jobs: int | None, cluster: str | None) -> Workers:
    if cluster is None:
        return Processes(spec, jobs or os.cpu_count() or 1)
    if jobs is not None:
        raise InvalidCase(f"-j {jobs} and --cluster {cluster}: the cluster has workers of its own")
    from emu.fuzz.cluster import Cluster

    return Cluster(packed(spec, under_test), cluster)


@contextmanager
def _stop_at(seconds: float | None) -> Iterator[Callable[[], bool]]:
    # True when the time is up or after Ctrl-C; a second Ctrl-C ends the campaign at once.
    end = None if seconds is None else time.monotonic() + seconds
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked or (end is not None and time.monotonic() >= end)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Show:
    # What the user sees: a line of progress on a terminal, each new finding, the summary.

    def __init__(self, store: CampaignStore, name: str, log: CampaignLog, *, quiet: bool) -> None:
        self._store = store
        self._log = log
        self._name = name
        self._quiet = quiet
        self._bar: Any = None
        self._start = time.monotonic()
        self._cases = 0

    @contextmanager
    def progress(self) -> Iterator[None]:
        if not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn

        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False)
        console = Console(stderr=True)
        with Progress(
            *columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()
        ) as self._bar:
            self._bar.add_task("begins")
            yield

    def step(self, step: CommittedUnit) -> None:
        self._cases += step.result.cases
        for finding in step.new:
            self._log.add(finding.key, time.monotonic() - self._start, self._store.totals().cases)
        if not self._quiet:
            for finding in step.new:
                text = f"unit {step.result.number}: finding ({finding.prop}): {finding.message}"
                click.echo("\n".join(wrap(text, "  ")))
        if self._bar is not None:
            totals = self._store.totals()
            self._bar.update(
                self._bar.task_ids[0],
                description=f"{self._rate():,.0f} cases/s, {totals.units} units, {totals.cases:,} cases, "
                f"{totals.edges} edges, {counted(totals.findings, 'finding')}",
            )

    def end(self) -> None:
        self._log.add("", time.monotonic() - self._start, self._store.totals().cases)

    def _rate(self) -> float:
        return self._cases / max(time.monotonic() - self._start, 1e-9)

    def summary(self, under_test: UnderTest, as_object: bool) -> int:
        rate = self._rate()
        totals, findings = self._store.totals(), self._store.findings()
        verdict = "fail" if findings else "pass"
        if as_object:
            counters = {
                "units": totals.units,
                "cases": totals.cases,
                "edges": totals.edges,
                "corpus": totals.corpus,
            }
            found = [_as_json(under_test, finding) for finding in findings]
            report = {"case": self._name, "verdict": verdict, "findings": found, "counters": counters}
            click.echo(json.dumps(report))
            return int(bool(findings))
        for finding in findings:
            checked = _ask_again(under_test, finding)
            if checked is None:
                click.echo("\n".join(wrap(f"finding ({finding.prop}): {finding.message}", "  ")))
                if finding.case:
                    click.echo(f"  case: {finding.case}")
            else:
                for line in describe(under_test, checked, finding.case):
                    click.echo(line)
            click.echo(f"  met {counted(finding.count, 'time')}, first in unit {finding.first_unit}")
        click.echo(
            f"{verdict}: {self._name}, {totals.cases:,} cases in {counted(totals.units, 'unit')}, "
            f"{totals.edges} edges, {counted(totals.findings, 'finding')} ({rate:,.0f} cases/s)"
        )
        return int(bool(findings))


def _ask_again(under_test: UnderTest, finding: StoredFinding) -> Checked | None:
    # None: it has no question, or the answer is not the same any more.
    if not finding.case:
        return None
    try:
        checked = ask_case(under_test, LookupCase.parse(finding.case))
    except EmuError:
        return None
    return checked if checked.wrong is not None and checked.wrong.text == finding.message else None


def _as_json(under_test: UnderTest, finding: StoredFinding) -> dict[str, Any]:
    checked = _ask_again(under_test, finding)
    if checked is not None:
        found = finding_json(under_test, checked, finding.case)
    else:
        found = {
            "rule": "lookup",
            "key": finding.key,
            "property": finding.prop,
            "message": finding.message,
            "case": finding.case,
        }
    return found | {"place": finding.place, "count": finding.count, "first_unit": finding.first_unit}
