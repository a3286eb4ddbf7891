"""``emu trace``: record a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from emu.case import Case
from emu.cli.asked import given
from emu.cli.outputs import Command, Output
from emu.cli.progress import loading
from emu.cli.recording import (
    GRAINS,
    Files,
    built,
    open_for_writing,
    recorded_case,
    recorded_case_options,
    run,
    timeline_options,
    write_timelines,
)
from emu.cli.status import INTERRUPTED
from emu.errors import InvalidCase
from emu.host.build import Boot
from emu.host.effects import WHOLE
from emu.host.tracing import symbol_table, used_symbols


def _options(function: Any) -> Any:
    return recorded_case_options(function, subject=True)


@click.command("trace", cls=Command)
@click.option(
    "-o",
    "--output",
    "path",
    type=Output(),
    metavar="FILE",
    help="Write the trace there.",
)
@click.option(
    "--grain",
    type=click.Choice(GRAINS),
    default=GRAINS[0],
    show_default=True,
    help="Record every instruction with its registers, or operations alone (at depth whole always).",
)
@timeline_options
@_options
def command(path: Path | None, grain: str, ftrace: Path | None, perfetto: Path | None, **options: Any) -> int:
    """Record the boot of all CPUs of SUBJECT, which is as `emu boot` takes it.

    What the run comes to is not judged: status 0 when it was recorded, 125 when it was cut off.
    """
    if path is None and ftrace is None and perfetto is None:
        raise click.UsageError("-o FILE, --ftrace FILE or --perfetto FILE: where is the trace to go?")
    if path is None and given("grain"):
        raise InvalidCase(f"--grain {grain}: of the trace that -o FILE writes; a timeline has none")
    files = Files(path, ftrace, perfetto)
    case = recorded_case(options)
    if case.depth == WHOLE:
        return trace_whole(case, files)
    boot = built(case, instructions=grain == "instruction" or path is None)
    if files.timed:
        boot.machine.record_times()
    interrupted = _record(boot, path)
    write_timelines(files, boot.machine, boot.case, lambda: symbol_table(boot.guest))
    click.echo(f"case: {boot.case.text()}")
    if boot.machine.stopped:
        click.echo(f"stopped: {boot.machine.stopped}")
    if interrupted:
        return INTERRUPTED
    return 125 if boot.machine.stopped else 0


def _record(boot: Boot, path: Path | None) -> bool:
    # Run the machine and write the trace; True when it was interrupted.
    if path is None:
        return run(boot)
    trace = boot.machine.trace
    with open_for_writing(path) as file:
        trace.attach(file)
        interrupted = run(boot)
        trace.add_symbols(used_symbols(boot))
        size = file.tell()
    instructions = sum(actor.pe.counters.instructions for actor in boot.machine.actors)
    click.echo(f"{path}: {len(boot.machine.actors)} CPUs, {instructions} instructions, {size} bytes")
    return interrupted


def trace_whole(case: Case, files: Files) -> int:
    """Record a kernel that boots by itself; a trace has its accesses, a timeline none of them."""
    from emu.cli.whole import run_recorded
    from emu.host.whole.ending import How
    from emu.host.whole.recording import RECORD_FROM, boot_from

    if not case.record_from:
        case = replace(case, record_from=RECORD_FROM)
    with loading(case.subject):
        boot = boot_from(case)
    how = run_recorded(boot, files)
    machine = boot.machine
    if files.trace is not None:
        size = files.trace.stat().st_size
        count = len(machine.trace)
        click.echo(f"{files.trace}: {len(machine.actors)} CPUs, {count} records, {size} bytes")
    click.echo(f"case: {boot.case.text()}")
    if how in (How.BOUND, How.UNMODELLED):
        click.echo(f"stopped: {machine.stopped}")
        return 125
    return INTERRUPTED if how is How.INTERRUPTED else 0
