"""``emu fuzz --status`` and ``--export``: what a campaign has, without running it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from emu.errors import InvalidCase
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.campaign import is_running
from emu.fuzz.campaign_log import CampaignLog
from emu.fuzz.exchange import CORPUS, FINDINGS, minimised, write_cases
from emu.fuzz.store import FILE, CampaignStore, StoredFinding
from emu.lookup.case import LookupCase
from emu.report.words import wrap


def counted(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def open_campaign(folder: Path) -> CampaignStore:
    """Return the database of a campaign that was begun.

    :raises InvalidCase: there is none
    """
    if not (folder / FILE).exists():
        raise InvalidCase(f"{folder}: no campaign in it")
    return CampaignStore(folder)


def show_status(folder: Path, as_object: bool) -> int:
    """Print what a campaign, running or ended, has done and found, and return the status."""
    store = open_campaign(folder)
    try:
        findings, totals, units = store.findings(), store.totals(), store.units()
        name = store.settings.get("subject", "")
    finally:
        store.close()
    met, state = CampaignLog(folder).met(), "running" if is_running(folder) else "ended"
    if as_object:
        click.echo(
            json.dumps(
                {
                    "case": name,
                    "state": state,
                    "verdict": "fail" if findings else "pass",
                    "units": {kind: {"units": count, "cases": cases} for kind, count, cases in units},
                    "counters": {"units": totals.units, "cases": totals.cases, "edges": totals.edges}
                    | {"corpus": totals.corpus},
                    "findings": [_object(finding, met) for finding in findings],
                }
            )
        )
        return int(bool(findings))
    click.echo(f"{state}: {name}")
    for kind, count, cases in units:
        click.echo(f"  {kind}: {counted(count, 'unit')}, {counted(cases, 'case')}")
    click.echo(f"  corpus: {counted(totals.corpus, 'question')}, {counted(totals.edges, 'edge')}")
    for finding in findings:
        click.echo("\n".join(wrap(f"finding {finding.key} ({finding.prop}): {finding.message}", "  ")))
        when = f"  met {counted(finding.count, 'time')}, first in unit {finding.first_unit}"
        if finding.key in met:
            seconds, asked = met[finding.key]
            when += f", after {seconds:,.1f} s and {counted(asked, 'case')}"
        click.echo(when)
        if finding.case:
            click.echo(f"  case: {finding.case}")
    click.echo(
        f"{'fail' if findings else 'pass'}: {name}, {totals.cases:,} cases in "
        f"{counted(totals.units, 'unit')}, {counted(len(findings), 'finding')}"
    )
    return int(bool(findings))


def _object(finding: StoredFinding, met: dict[str, tuple[float, int]]) -> dict[str, Any]:
    seconds, cases = met.get(finding.key, (None, None))
    return {
        "key": finding.key,
        "property": finding.prop,
        "message": finding.message,
        "place": finding.place,
        "case": finding.case,
        "count": finding.count,
        "first_unit": finding.first_unit,
        "seconds": seconds,
        "cases": cases,
    }


def export(folder: Path, to: Path, *, minimise: bool) -> int:
    """Write the corpus and the findings of a campaign as lines of cases; return the status.

    :param minimise: as few questions of the corpus as reach the same edges
    """
    store = open_campaign(folder)
    try:
        corpus, findings, stored = list(store.corpus()), store.findings(), store.settings
    finally:
        store.close()
    before = len(corpus)
    if minimise:
        contract, system_map = (Path(stored[name]) if stored.get(name) else None for name in _PATHS)
        corpus = minimised(UnderTest(stored.get("subject", ""), contract, system_map), corpus)
    written = write_cases(to, CORPUS, corpus)
    found = write_cases(to, FINDINGS, [LookupCase.parse(each.case) for each in findings if each.case])
    said = counted(written, "question") + (f" of {before:,}" if minimise else "")
    click.echo(f"exported: {said} to {to / CORPUS}, {counted(found, 'finding')} to {to / FINDINGS}")
    return 0


_PATHS = ("contract", "system_map")
