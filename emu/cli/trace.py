"""``emu trace``: record a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from emu.cli.recording import GRAINS, built, open_for_writing, recorded_case_options, run
from emu.host.tracing import used_symbols


def _options(function: Any) -> Any:
    return recorded_case_options(function, subject=True)


@click.command("trace")
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the trace there.",
)
@click.option(
    "--grain",
    type=click.Choice(GRAINS),
    default=GRAINS[0],
    show_default=True,
    help="Record every instruction with its registers, or operations alone.",
)
@_options
def command(path: Path, grain: str, **options: Any) -> int:
    """Record the boot of all CPUs of SUBJECT, which is as `emu boot` takes it.

    What the run comes to is not judged: status 0 when it was recorded, 125 when it was cut off.
    """
    boot = built(options, instructions=grain == "instruction")
    trace = boot.machine.trace
    with open_for_writing(path) as file:
        trace.attach(file)
        interrupted = run(boot)
        trace.add_symbols(used_symbols(boot))
        size = file.tell()
    instructions = sum(actor.pe.counters.instructions for actor in boot.machine.actors)
    click.echo(f"{path}: {len(boot.machine.actors)} CPUs, {instructions} instructions, {size} bytes")
    click.echo(f"case: {boot.case.text()}")
    if boot.machine.stopped:
        click.echo(f"stopped: {boot.machine.stopped}")
    if interrupted:
        return 130
    return 125 if boot.machine.stopped else 0
