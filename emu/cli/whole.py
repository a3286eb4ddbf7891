"""``emu boot --depth whole``: the kernel boots by itself; its log comes as it prints it."""

from __future__ import annotations

import json

import click

from emu.case import Case
from emu.cli.progress import progress
from emu.host.whole.boot import Line, WholeBoot, build_whole
from emu.host.whole.ending import How
from emu.report.text import make_console
from emu.report.whole import print_whole, verdict_of, whole_json

_STATUS = {"pass": 0, "fail": 1, "undecided": 125, "untestable": 125}
_INTERRUPTED = 130


def boot_whole(case: Case, *, as_object: bool) -> int:
    """Run the case, print its log and how it ended, and return the exit status."""
    with progress(lambda: f"loading {case.subject}"):
        boot = build_whole(case)
    if not as_object:
        boot.on_line = _print_line
    how = _run(boot)
    boot.read_log()
    if as_object:
        click.echo(json.dumps(whole_json(boot, how)))
    else:
        print_whole(make_console(), boot, how)
    return _INTERRUPTED if how is How.INTERRUPTED else _STATUS[verdict_of(how)]


def _print_line(line: Line) -> None:
    click.echo(line.text)


def _run(boot: WholeBoot) -> How:
    try:
        with progress(lambda: f"{boot.machine.now / 1e9:.3f} s simulated, {len(boot.lines)} lines"):
            return boot.run()
    except KeyboardInterrupt:
        return How.INTERRUPTED
