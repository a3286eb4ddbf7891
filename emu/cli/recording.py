"""Options and steps that the commands which record a run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from emu.arch.mpidr import hwid
from emu.case import Case
from emu.cli.asked import given
from emu.cli.options import boot_cpu_first, case_options, make_case, say_notes
from emu.cli.outputs import Output
from emu.cli.progress import booting_primary, progress
from emu.errors import InvalidCase
from emu.host.build import Boot, build
from emu.host.effects import WHOLE
from emu.host.tracing import record_instructions
from emu.machine import Machine
from emu.trace import SymbolTable

F = TypeVar("F", bound=Callable[..., Any])
GRAINS = ("instruction", "operation")
DAT = ".dat"  # of files that trace-cmd and KernelShark read


def recorded_case_options(function: F, *, subject: bool) -> F:
    """Add the options that make a case. ``--grain`` is left to the recording; the case's is ``--run-grain``.

    :param subject: the command takes the subject of a case, and the case's text
    """
    own = list(getattr(function, "__click_params__", []))
    decorated = case_options(function)
    kept = []
    for parameter in decorated.__click_params__:  # type: ignore[attr-defined]
        if parameter in own:
            kept.append(parameter)
        elif parameter.name == "grain":
            help_text = "How far a CPU runs: free, operation or instruction. [default: free]"
            kept.append(click.Option(["--run-grain"], help=help_text))
        elif subject or parameter.name not in ("subject", "case_text"):
            kept.append(parameter)
    decorated.__click_params__ = kept  # type: ignore[attr-defined]
    return decorated


def recorded_case(case_options: dict[str, Any]) -> Case:
    """Return the case of these options.

    :raises InvalidCase: they contradict each other, or every instruction is to be recorded at depth whole
    """
    options = dict(case_options)
    options["grain"] = options.pop("run_grain")
    case = make_case(**options)
    if case.depth == WHOLE and given("grain") and click.get_current_context().params["grain"] == GRAINS[0]:
        why = "operations are recorded there; emu step goes by instructions"
        raise InvalidCase(f"--grain {GRAINS[0]}: not at depth {WHOLE}: {why}")
    return case


def built(case: Case, *, instructions: bool) -> Boot:
    """Return the machine of a case, about to record what it does.

    :raises EmuError: the case breaks a rule, or its subject cannot be loaded
    """
    boot = loaded(case, record=True)
    if instructions:
        record_instructions(boot)
    return boot


def loaded(case: Case, *, record: bool) -> Boot:
    """Return the machine of a case, and say what the case asks for and cannot change.

    :raises EmuError: as :func:`emu.host.build.build`
    """
    with booting_primary(case.subject):
        boot = build(case, record=record)
    return say_notes(boot_cpu_first(boot))


def _arrived(boot: Boot) -> str:
    actors = boot.machine.actors
    there = sum(actor.landings > 0 or actor.outcome is not None for actor in actors[1:])
    seconds = boot.machine.now / 1e9
    return f"{there} of {len(actors) - 1} secondaries have arrived or ended, {seconds:.3f} s simulated"


def run(boot: Boot) -> bool:
    """Run the machine to its end; return whether it was interrupted."""
    interrupted = False
    try:
        with progress(lambda: _arrived(boot)):
            boot.machine.run()
    except KeyboardInterrupt:
        boot.machine.stopped = "interrupted"
        interrupted = True
    boot.machine.finish()
    return interrupted


def open_for_writing(path: Path) -> Any:
    """Return the file, unbuffered.

    :raises InvalidCase: it cannot be written
    """
    try:
        return path.open("wb", buffering=0)  # so that what was recorded is in the file if the process dies
    except OSError as error:
        raise InvalidCase(f"{path}: {error.strerror}") from None


def timeline_options(function: F) -> F:
    """Add ``--ftrace`` and ``--perfetto``."""
    path = Output()
    options = (
        click.option(
            "--ftrace",
            type=path,
            metavar="FILE",
            help="Write text as ftrace has it; x.dat: for trace-cmd.",
        ),
        click.option("--perfetto", type=path, metavar="FILE", help="Write a trace for ui.perfetto.dev."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Files:
    """Where what a run records goes: a trace, and timelines."""

    trace: Path | None = None
    ftrace: Path | None = None
    perfetto: Path | None = None

    @property
    def timed(self) -> bool:
        """Whether the times of records are asked for."""
        return self.ftrace is not None or self.perfetto is not None


def write_timelines(
    files: Files,
    machine: Machine,
    case: Case,
    symbols: Callable[[], SymbolTable],
) -> None:
    """Write what was asked for of a run that recorded times; of a kernel that boots by itself no accesses.

    :raises InvalidCase: a file cannot be written
    """
    ftrace, perfetto = files.ftrace, files.perfetto
    if not files.timed:
        return
    import json

    from emu.report.ftrace import ftrace_text
    from emu.report.perfetto import perfetto_json
    from emu.report.timeline import timeline
    from emu.report.trace_dat import trace_dat

    whole = case.depth == WHOLE
    found = timeline(
        machine.trace,
        symbols(),
        len(machine.actors),
        accesses=not whole,
        functions=not whole or bool(case.record_from),
        whole=whole,
    )
    if ftrace is not None:
        with open_for_writing(ftrace) as file:
            is_dat = ftrace.suffix == DAT
            file.write(trace_dat(found) if is_dat else "".join(ftrace_text(found)).encode())
    if perfetto is not None:
        hwids = [hwid(actor.pe.mpidr) for actor in machine.actors]
        with open_for_writing(perfetto) as file:
            file.write(json.dumps(perfetto_json(found, f"emu {case.text()}", hwids)).encode())
