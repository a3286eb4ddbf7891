"""Options that several commands share, and how they make a case."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from emu.case import Case
from emu.errors import InvalidCase, Untestable
from emu.topology import check_count

if TYPE_CHECKING:
    from emu.report.property import Suite

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_SUBJECT = "v3"
DEFAULT_CPUS = 8


def case_options(function: F) -> F:
    """Add the options that make a case. The command gets them by name and hands them to :func:`make_case`."""
    options = (
        click.argument("subject", required=False),
        click.option("--cpus", type=int, help=f"How many CPUs. [default: {DEFAULT_CPUS}]"),
        click.option(
            "--topology",
            metavar="NAME[:N]|FILE",
            help="A preset, or a file: JSON, .dtb, .dts, a MADT, a directory of ACPI tables.",
        ),
        click.option("--boot-cpu", type=int, help="Which CPU boots, by its place in the topology."),
        click.option(
            "--nr-cpus", type=int, help="NR_CPUS of a fragment, 1..4096. [default: as many as CPUs]"
        ),
        click.option("--bringup", help="serial, split or parallel. [default: the most parallel]"),
        click.option("--firmware", help="devicetree or acpi. [default: as the topology]"),
        click.option(
            "--enable-method",
            help="psci, spin-table or parking-protocol. [default: as the topology says, else psci]",
        ),
        click.option("--conduit", help="smc or hvc. [default: as the topology says, else smc]"),
        click.option("--el", type=int, help="Exception level of entry, 1 or 2. [default: 1]"),
        click.option(
            "--scheduler",
            metavar="NAME[:SEED]",
            help="round-robin, timed, random, pct or replay. [default: round-robin]",
        ),
        click.option("--grain", help="free, operation or instruction. [default: free]"),
        click.option("--memory", help="Memory model: coherent or caches. [default: coherent]"),
        click.option("--granule", type=int, help="Writeback granule of caches, bytes. [default: 64]"),
        click.option("--latency", help="Simulated time: nominal or zero. [default: nominal]"),
        click.option("--event-register", type=int, help="Event registers at power-on, 0 or 1. [default: 0]"),
        click.option("--instructions-max", type=int, help="End the run after so many instructions."),
        click.option("--system-map", metavar="FILE", help="Symbols of a kernel."),
        click.option("--design", help="Host side of a .S or .o subject: a design's name. [default: v3]"),
        click.option("--base", help="Order of secondary_start_kernel(): 6.12 or v3. [default: the design's]"),
        click.option(
            "--fault", multiple=True, metavar="CPU:KIND", help="Break a CPU; also 4-7:KIND, CPU:KIND:N."
        ),
        click.option("--append", metavar="TEXT", help="maxcpus=, nr_cpus=, nosmp, cpuhp.parallel=."),
        click.option("--cycle", type=int, help="Take all CPUs down and up again so many times."),
        click.option(
            "--hotplug",
            multiple=True,
            metavar="CPU:ACTION",
            help="Then add, remove, online or offline a vCPU.",
        ),
        click.option("--kexec", metavar="SUBJECT[@CPU]", help="Then boot another subject, from that CPU."),
        click.option("--force", is_flag=True, help="Run a combination that would be refused."),
        click.option("--case", "case_text", metavar="TEXT", help="Run this case; other options change it."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def make_case(
    subject: str | None, case_text: str | None, cpus: int | None, force: bool, **options: Any
) -> Case:
    """Return the case of these options.

    :raises InvalidCase: they contradict each other, or the case text is broken
    """
    if cpus is not None and options.get("topology"):
        raise InvalidCase(f"--cpus {cpus} and --topology {options['topology']}: give one of them")
    case = Case.parse(case_text) if case_text is not None else Case(DEFAULT_SUBJECT)
    if options.get("nr_cpus") is not None:
        check_count(options["nr_cpus"], "nr-cpus")
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for name in ("fault", "hotplug"):
        changes[name] = ",".join(changes.get(name, ())) or getattr(case, name)
    if subject is not None:
        changes["subject"] = subject
    if cpus is not None:
        changes["topology"] = f"flat:{check_count(cpus, 'cpus')}"
    if force:
        changes["force"] = 1
    return replace(case, **changes)


@dataclass(frozen=True, slots=True)
class Reports:
    """Where results go beside the command's own output: KTAP in its place, JUnit XML into a file."""

    ktap: bool
    junit: Path | None

    def show(self, make: Callable[[], Suite]) -> bool:
        """Write what was asked for; return whether standard output has it and needs nothing else.

        :raises InvalidCase: the file cannot be written
        """
        if not self.ktap and self.junit is None:
            return False
        suite = make()
        if self.junit is not None:
            from emu.report.junit import write_junit

            write_junit(self.junit, suite)
        if self.ktap:
            from emu.report.ktap import ktap

            click.echo(ktap(suite), nl=False)
        return self.ktap


def report_options(function: F) -> F:
    """Add ``--ktap`` and ``--junit``, which the command gets as ``reports``.

    A subject that cannot be tested is reported here, as a skip.
    """

    @functools.wraps(function)
    def command(*arguments: Any, ktap: bool, junit: Path | None, **options: Any) -> Any:
        if ktap and options.get("as_object"):
            raise InvalidCase("--json and --ktap: give one of them")
        if junit is not None and not junit.parent.is_dir():
            raise InvalidCase(f"--junit {junit}: no such directory")
        reports = Reports(ktap, junit)
        try:
            return function(*arguments, reports=reports, **options)
        except Untestable as error:
            from emu.report.property import untestable_suite

            case = options.get("case_text") or options.get("subject") or DEFAULT_SUBJECT
            suite = untestable_suite(str(click.get_current_context().info_name), case, str(error))
            reports.show(lambda: suite)
            raise

    path = click.Path(dir_okay=False, path_type=Path)
    for option in (
        click.option("--junit", type=path, metavar="FILE", help="Also write JUnit XML."),
        click.option("--ktap", is_flag=True, help="Print KTAP, a test for each property."),
    ):
        command = option(command)
    return command  # type: ignore[return-value]
