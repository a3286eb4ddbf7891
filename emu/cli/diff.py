"""``emu diff``: two runs, CPU by CPU, and where they part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from emu.case import Case
from emu.cli.asked import given, spelt
from emu.cli.outputs import Command
from emu.cli.recording import GRAINS, Files, built, recorded_case, recorded_case_options, run
from emu.designs import DESIGNS
from emu.errors import EmuError, InvalidCase, Untestable
from emu.host.build import build
from emu.host.effects import WHOLE
from emu.host.tracing import symbol_table
from emu.report.diff import Run, compare, diff_json, diff_text
from emu.subject.symbols import Symbols
from emu.trace import MAGIC, read_trace


def _options(function: Any) -> Any:
    return recorded_case_options(function, subject=False)


@click.command("diff", cls=Command)
@click.argument("a")
@click.argument("b", required=False)
@click.option(
    "--grain",
    type=click.Choice(GRAINS),
    help="Compare every instruction, or operations alone.  [default: instruction, if both traces have them]",
)
@click.option("--all", "everything", is_flag=True, help="Show every place where they part, not the first.")
@click.option("--pair", metavar="N:M", help="Compare CPU N of A with CPU M of B, or of A when B is left out.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@_options
def command(
    a: str,
    b: str | None,
    grain: str | None,
    everything: bool,
    pair: str | None,
    as_object: bool,
    **options: Any,
) -> int:
    """Show where the runs A and B part, for each CPU.

    A and B are traces that `emu trace` has written, subjects as `emu boot` takes them, or cases in quotes.
    What is no trace is run with the options given. Status 0: the runs are the same, 1: they differ,
    125: a trace is cut off, so what it shows is not all.
    """
    cpus = None if pair is None else _pair(pair)
    if b is None and cpus is None:
        raise click.UsageError("Missing argument 'B': with --pair alone it may be left out")
    b = a if b is None else b
    if all(_is_trace(Path(name)) for name in (a, b)) and (asked := given(*sorted(options))):
        raise InvalidCase(f"{spelt(asked[0])}: {a} and {b} are traces, and nothing is run; leave it out")
    runs = [_run_of(name, dict(options), grain != "operation") for name in (a, b)]
    able = all(run.trace.has_instructions for run in runs)
    if grain == "instruction" and not able:
        raise InvalidCase("--grain instruction: a trace has no instructions; record it with that grain")
    diff = compare(*runs, instructions=able and grain != "operation", everything=everything, pair=cpus)
    cut = [name for name, run in zip((a, b), runs, strict=True) if run.trace.is_cut]
    if as_object:
        click.echo(json.dumps(diff_json(diff) | {"cut_off": cut}))
    else:
        for line in diff_text(diff):
            click.echo(line)
        for name in dict.fromkeys(cut):
            click.echo(f"undecided: {name} is cut off; what came behind its end is not compared")
    return Untestable.exit_status if cut else int(not diff.same)


def _pair(text: str) -> tuple[int, int]:
    numbers = text.split(":")
    if len(numbers) != 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise InvalidCase(f"--pair {text}: two CPU numbers, N:M")
    return int(numbers[0]), int(numbers[1])


def _run_of(name: str, options: dict[str, Any], instructions: bool) -> Run:
    # A trace file is read; anything else is run.
    if _is_trace(Path(name)):
        trace = read_trace(Path(name))
        if trace.symbols:
            Symbols.parse(trace.symbols.text, name)  # or it is damaged
        return Run(trace, trace.symbols or _symbols_of_case(name, trace.case))
    is_subject = name in DESIGNS or Path(name).exists() or "=" not in name
    options |= {"subject": name if is_subject else None, "case_text": None if is_subject else name}
    case = recorded_case(options)
    if case.depth == WHOLE:
        return _run_whole(case)
    boot = built(case, instructions=instructions)
    if run(boot):
        raise KeyboardInterrupt
    return Run(boot.machine.trace, symbol_table(boot.guest))


def _run_whole(case: Case) -> Run:
    from emu.cli.whole import run_recorded
    from emu.host.whole.ending import How
    from emu.host.whole.recording import RECORD_FROM, boot_from, image_symbols

    boot = boot_from(case if case.record_from else replace(case, record_from=RECORD_FROM))
    if run_recorded(boot, Files()) is How.INTERRUPTED:
        raise KeyboardInterrupt
    return Run(boot.machine.trace, image_symbols(boot))


def _is_trace(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _symbols_of_case(name: str, text: str) -> Any:
    # A trace that was cut off, or is of operations alone, has no symbols: its case's subject has.
    try:
        case = Case.parse(text)
        if case.depth == WHOLE:
            from emu.host.whole.boot import build_whole
            from emu.host.whole.recording import image_symbols

            return image_symbols(build_whole(case))
        return symbol_table(build(case).guest)
    except EmuError as error:
        raise InvalidCase(f"{name}: no symbols in it, and its case cannot be loaded: {error}") from None
