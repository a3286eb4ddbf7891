"""``emu boot``: bring all CPUs up."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emu.cli.options import (
    Reports,
    case_options,
    check_scheduler,
    make_case,
    races_options,
    report_options,
)
from emu.cli.outputs import Command, Output
from emu.cli.recording import Files, loaded, run, timeline_options, write_timelines
from emu.cli.status import INTERRUPTED
from emu.errors import InvalidCase
from emu.finding import Verdict
from emu.host.build import Boot, build_to_judge
from emu.host.effects import WHOLE
from emu.host.tracing import record_instructions, symbol_table
from emu.report.outcome import as_json
from emu.rules import judge
from emu.subject import is_flat

if TYPE_CHECKING:
    from emu.report.property import Suite


@click.command("boot", cls=Command)
@case_options
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@report_options
@click.option("--trace", "trace_path", type=Output(), metavar="FILE", help="Write the trace.")
@timeline_options
@click.option(
    "--from",
    "start",
    metavar="SYMBOL",
    default="",
    help="At depth whole, go on from where a boot was kept as a CPU first got there, and keep one.",
)
@races_options
@click.option("-v", "--verbose", is_flag=True, help="Show each firmware call, landing and exception.")
def command(
    as_object: bool,
    trace_path: Path | None,
    ftrace: Path | None,
    perfetto: Path | None,
    verbose: bool,
    start: str,
    races: bool,
    known_race: tuple[str, ...],
    reports: Reports,
    **options: Any,
) -> int:
    """Bring all CPUs of SUBJECT up and check what each one has when it arrives.

    SUBJECT is a design (see --design), a .S or .o file, a kernel: Image (raw or compressed), vmlinux, or a
    build directory, or a .flat image, which boots by itself.  [default: v3]
    """
    files = Files(trace_path, ftrace, perfetto)
    timed = files.timed
    if verbose and (as_object or reports.ktap):
        click.echo("emu: --verbose: --json and --ktap have no more to show", err=True)
    case = make_case(**options)
    if not case.depth and is_flat(Path(case.subject)):
        case = replace(case, depth=WHOLE)
        check_scheduler(case)
    if case.depth == WHOLE:
        from emu.cli.whole import Races, Shown, boot_whole

        shown = Shown(as_object, verbose, reports)
        return boot_whole(case, start, Races(races, known_race), files, shown)
    if races or known_race:
        raise InvalidCase(f"--races: --depth {WHOLE} alone has that")
    if start:
        raise InvalidCase(f"--from: --depth {WHOLE} alone has that")
    boot = loaded(case, record=timed or trace_path is not None)
    machine = boot.machine
    if timed:
        machine.record_times()
        if trace_path is None:  # they would be in the trace too
            record_instructions(boot)
    with ExitStack() as stack:
        if trace_path:
            try:
                machine.trace.attach(stack.enter_context(trace_path.open("wb", buffering=0)))
            except OSError as error:
                raise InvalidCase(f"{trace_path}: {error.strerror}") from None
        interrupted = run(boot)
        again = None if interrupted else build_to_judge(boot)
        if again is not None:
            boot, machine = again, again.machine
            interrupted = run(boot)
        write_timelines(files, machine, boot.case, lambda: symbol_table(boot.guest))
    verdict = judge(machine.trace)
    if reports.show(lambda: _suite(boot, verdict)):
        pass
    elif as_object:
        click.echo(json.dumps(as_json(boot, verdict)))
    else:
        from emu.report.text import make_console, print_boot

        print_boot(make_console(), boot, verdict, verbose)
    if interrupted:
        return INTERRUPTED
    if verdict.findings:
        return 1
    return 125 if machine.stopped else 0


def _suite(boot: Boot, verdict: Verdict) -> Suite:
    from emu.report.boot_property import boot_suite

    return boot_suite(boot, verdict)
