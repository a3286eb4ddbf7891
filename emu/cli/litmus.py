"""``emu litmus``: herd's litmus tests for AArch64, on emulated PEs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from emu.cli.options import NamesOption
from emu.cli.outputs import Command
from emu.cpu.cores import CORES
from emu.errors import EmuError, InvalidCase
from emu.litmus.batch import Settings, find_files, run_files
from emu.litmus.run import LitmusResult, check_model
from emu.litmus.text import result_json, result_lines, summary, warnings
from emu.registry import not_one_of

DEFAULT_SCHEDULES = 1_000_000


@click.command("litmus", cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--model", default="sc", help="What may be observed: sc. [default: sc]")
@click.option(
    "--cpu", cls=NamesOption, names="emu.cpu.cores:CORES", default="max", help="NAMES. [default: max]"
)
@click.option("--max-schedules", type=click.IntRange(1), help="Of each test. [default: 1,000,000]")
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Processes. [default: one a CPU]")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
def command(
    files: tuple[Path, ...],
    model: str,
    cpu: str,
    max_schedules: int | None,
    jobs: int | None,
    as_object: bool,
) -> int:
    """Run litmus tests in herd's AArch64 format and print their final states as herd does.

    Of a FILE that is a folder, all *.litmus below it. The status says whether all tests ran, and nothing of
    their conditions: 0 they did, 2 a file is wrong, 125 one uses what is not modelled, or was cut off.
    """
    check_model(model)
    if cpu not in CORES:
        raise InvalidCase(f"cpu={cpu}: {not_one_of(cpu, CORES)}")
    found = find_files(files)
    settings = Settings(model, cpu, max_schedules or DEFAULT_SCHEDULES)
    results: list[LitmusResult] = []
    errors: list[tuple[Path, EmuError]] = []
    for file, outcome in run_files(found, settings, jobs or os.cpu_count() or 1):
        if isinstance(outcome, EmuError):
            errors.append((file, outcome))
            click.echo(f"emu: {outcome}", err=True)
            continue
        results.append(outcome)
        for line in warnings(outcome):
            click.echo(f"emu: {line}", err=True)
        if not as_object:
            click.echo("\n".join(result_lines(outcome)))
    if as_object:
        told = [
            {"file": str(file), "error": str(error), "status": error.exit_status} for file, error in errors
        ]
        tests = [result_json(result) for result in results]
        click.echo(json.dumps({"tests": tests, "errors": told, "summary": summary(results, len(errors))}))
    elif len(found) > 1:
        click.echo(summary(results, len(errors)))
    statuses = [error.exit_status for _, error in errors]
    statuses += [125 for result in results if result.incomplete]
    return min(statuses, default=0)
