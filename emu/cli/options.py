"""Options that several commands share, and how they make a case."""

from __future__ import annotations

import functools
import importlib
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from emu.case import Case, check_said
from emu.cli.asked import given
from emu.cli.outputs import Output
from emu.errors import InvalidCase, Untestable
from emu.host.effects import WHOLE
from emu.registry import not_one_of
from emu.topology import check_count

if TYPE_CHECKING:
    from emu.host.build import Boot
    from emu.report.property import Suite

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_SUBJECT = "v3"
DEFAULT_CPUS = 8


class NamesOption(click.Option):
    """An option whose help lists the names of a registry, which is imported only when the help is shown.

    ``names`` is ``MODULE:ATTRIBUTE``, a mapping by name; in ``help`` the names stand in the place of NAMES.
    """

    def __init__(self, *arguments: Any, names: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.names = names

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option and its help, the names filled in."""
        *others, last = _names_of(self.names)
        listed = f"{', '.join(others)} or {last}" if others else last
        self.help = (self.help or "").replace("NAMES", listed)
        return super().get_help_record(ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin so; the shell adds files, where there are any."""
        found = [CompletionItem(name) for name in _names_of(self.names) if name.startswith(incomplete)]
        return [*found, CompletionItem(incomplete, type="file")] if "FILE" in str(self.metavar) else found


def _names_of(names: str) -> list[str]:
    # The names of a registry, MODULE:ATTRIBUTE.
    module, _, attribute = names.partition(":")
    return list(getattr(importlib.import_module(module), attribute))


def complete_subject(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the designs that begin so; the shell adds files."""
    designs = _names_of("emu.designs:DESIGNS")
    found = [CompletionItem(name) for name in designs if name.startswith(incomplete)]
    return [*found, CompletionItem(incomplete, type="file")]


def _names_option(declaration: str, names: str, text: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(declaration, cls=NamesOption, names=names, help=text, **attributes)


def case_options(function: F) -> F:
    """Add the options that make a case. The command gets them by name and hands them to :func:`make_case`."""
    options = (
        click.argument("subject", required=False, shell_complete=complete_subject),
        click.option("--cpus", type=int, help=f"How many CPUs. [default: {DEFAULT_CPUS}]"),
        _names_option(
            "--topology",
            "emu.topology.presets:PRESETS",
            "A preset, or a file: JSON, .dtb, .dts, a MADT, a directory of ACPI tables. Presets: NAMES.",
            metavar="NAME[:N]|FILE",
        ),
        click.option("--boot-cpu", type=int, help="Which CPU boots, by its place in the topology."),
        click.option(
            "--nr-cpus", type=int, help="NR_CPUS of a fragment, 1..4096. [default: as many as CPUs]"
        ),
        _names_option(
            "--bringup",
            "emu.host.bringup:STRATEGIES",
            "NAMES. [default: the most parallel; of a kernel its own]",
        ),
        click.option("--firmware", help="devicetree or acpi. [default: as the topology]"),
        _names_option(
            "--enable-method",
            "emu.host.enable_method:METHODS",
            "NAMES. [default: as the topology says, else psci]",
        ),
        click.option("--conduit", help="smc or hvc. [default: as the topology says, else smc]"),
        click.option("--el", type=int, help="Exception level of entry, 1 or 2. [default: 1]"),
        _names_option(
            "--cpu",
            "emu.cpu.cores:CORES",
            "The core of CPUs of which the topology says none: NAMES. [default: cortex-a72]",
        ),
        _names_option(
            "--scheduler",
            "emu.schedulers:SCHEDULERS",
            "NAMES. [default: round-robin; of a parallel run that races boot-first, at depth whole timed]",
            metavar="NAME[:SEED]",
        ),
        click.option("--grain", help="free, operation or instruction. [default: free]"),
        _names_option("--memory", "emu.models:MODELS", "Memory model: NAMES. [default: coherent]"),
        click.option("--granule", type=int, help="Writeback granule of caches, bytes. [default: 64]"),
        _names_option(
            "--latency",
            "emu.latency:PROFILES",
            "What operations and a bring-up cost in simulated time: NAMES. [default: nominal]",
            metavar="NAME[:SEED]|FILE[:SEED]",
        ),
        click.option("--event-register", type=int, help="Event registers at power-on, 0 or 1. [default: 0]"),
        click.option(
            "--instructions-max",
            type=int,
            help="End the run after so many instructions. [default: 500,000,000; at depth whole 5 billion]",
        ),
        click.option(
            "--primary-max",
            type=int,
            help="Instructions of a kernel's primary until the host takes over. [default: 500,000,000]",
        ),
        click.option("--system-map", metavar="FILE", help="Symbols of a kernel."),
        click.option("--depth", help="whole: the kernel boots by itself, on interrupts and timers."),
        _names_option(
            "--gic",
            "emu.devices.controllers:CONTROLLERS",
            "Interrupt controller at depth whole: NAMES. [default: gicv3]",
        ),
        click.option("--ram", type=int, metavar="MIB", help="Memory at depth whole. [default: by CPUs]"),
        click.option(
            "--turn", type=int, help="Instructions of a turn of a CPU at depth whole. [default: 20,000]"
        ),
        click.option(
            "--irq-late",
            metavar="SEED:NS",
            help="Let interrupts reach CPUs up to NS late at depth whole, drawn from SEED.",
        ),
        click.option("--initrd", metavar="FILE", help="Initramfs at depth whole."),
        click.option("--dtb", metavar="FILE", help="Device tree of the board at depth whole, .dtb or .dts."),
        click.option(
            "--input", metavar="FILE", help="What the console receives at depth whole; -: what is typed."
        ),
        click.option(
            "--record-from",
            metavar="SYMBOL",
            help="At depth whole, record every access from when a CPU first gets there.",
        ),
        click.option(
            "--until",
            metavar="WHERE",
            help="End of a boot at depth whole: a symbol, panic, poweroff, or text of a line of the log. "
            "[default: all CPUs are up]",
        ),
        _names_option(
            "--design",
            "emu.designs:DESIGNS",
            "Host side of a .S or .o subject: that of NAMES. [default: v3]",
        ),
        _names_option(
            "--base",
            "emu.host.secondary:ORDERS",
            "Order of secondary_start_kernel(): NAMES. [default: the design's]",
        ),
        _names_option(
            "--fault",
            "emu.host.faults:FAULTS",
            "Break a CPU; also 4-7:KIND, CPU:KIND:N. KIND is NAMES.",
            multiple=True,
            metavar="CPU:KIND",
        ),
        click.option(
            "--append",
            multiple=True,
            metavar="TEXT",
            help="Kernel parameters: maxcpus=, nr_cpus=, nosmp, cpuhp.parallel=, acpi=.",
        ),
        click.option("--cycle", type=int, help="Take all CPUs down and up again so many times."),
        click.option(
            "--hotplug",
            multiple=True,
            metavar="CPU:ACTION",
            help="Then add, remove, online or offline a vCPU.",
        ),
        _names_option(
            "--device",
            "emu.devices:DEVICES",
            "Devices besides RAM, at a page each: NAMES. pl011 prints to the log.",
            multiple=True,
            metavar="NAME@PA,...",
        ),
        click.option("--kexec", metavar="SUBJECT[@CPU]", help="Then boot another subject, from that CPU."),
        click.option(
            "--assert",
            "asserts",
            multiple=True,
            metavar="TEXT",
            help="What must hold: finally, at, never, unreachable, eventually. Or a TOML file.",
        ),
        click.option("--force", is_flag=True, help="Run a combination that would be refused."),
        click.option("--case", "case_text", metavar="TEXT", help="Run this case; other options change it."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yield whether Ctrl-C was pressed; a second one raises KeyboardInterrupt."""
    stop: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.append(number)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: bool(stop)
    finally:
        signal.signal(signal.SIGINT, before)


BOOT_FIRST = "boot-first"
start_option = click.option(
    "--from",
    "start",
    metavar="SYMBOL",
    default="",
    help="Where it begins, at depth whole. [default: power-on]",
)


def races_options(function: F) -> F:
    """Add ``--races`` and ``--known-race``."""
    for option in (
        known_race_option,
        click.option(
            "--races", is_flag=True, help="At depth whole, as --record-from smp_init, or from --from on."
        ),
    ):
        function = option(function)
    return function


known_race_option = click.option(
    "--known-race",
    multiple=True,
    metavar="SYMBOL",
    help="Where it is recorded: races of this code or data are known.",
)


def say_notes(boot: Boot) -> Boot:
    """Say on standard error what the case of ``boot`` asks for and cannot change its run; return ``boot``."""
    if boot.case.scheduler == BOOT_FIRST and not given("scheduler", "case_text"):
        said = f"the boot CPU kicks all before one goes on (--scheduler {BOOT_FIRST})"
        click.echo(f"emu: {'--force' if boot.case.force else 'bringup=parallel'}: {said}", err=True)
    for note in boot.notes:
        click.echo(f"emu: {note}", err=True)
    return boot


def boot_cpu_first(boot: Boot) -> Boot:
    """Let the boot CPU kick all before one of them goes, in one run of what must not be parallel.

    Where CPUs run freely, round robin lets each come to its end before the next one is kicked; then a
    bring-up that must not be parallel may pass. A case that was given, or another scheduler, stays.
    """
    from emu.host.choices import is_unsafe

    case = boot.case
    forced = bool(case.force) and case.bringup == "parallel"
    unsafe = forced or is_unsafe(case, boot.guest, boot.method)
    if unsafe and case.grain == "free" and not given("scheduler", "case_text"):
        boot.use(BOOT_FIRST)
    return boot


def stepped(case: Case) -> Case:
    """Return the case for a debugger, which goes by instructions.

    :raises InvalidCase: another grain was asked for
    """
    if case.depth == WHOLE:
        if case.record_from:
            said = f"record-from={case.record_from}: nothing is recorded while a debugger goes through it"
            click.echo(f"emu: {said}; emu replay judges it", err=True)
        return replace(case, record_from="")
    if given("grain") and case.grain != "instruction":
        raise InvalidCase(f"--grain {case.grain}: a debugger goes by instructions; leave it out")
    return replace(case, grain="instruction")


def make_case(
    subject: str | None, case_text: str | None, cpus: int | None, force: bool, **options: Any
) -> Case:
    """Return the case of these options: with ``case_text`` that case, on ``subject``, changed by the others.

    :raises InvalidCase: they contradict each other, or the case text is broken
    """
    if cpus is not None and options.get("topology"):
        raise InvalidCase(f"--cpus {cpus} and --topology {options['topology']}: give one of them")
    case = Case(DEFAULT_SUBJECT)
    if case_text is not None:
        case = Case.parse(case_text.removeprefix("case: "))  # the line as it was printed
    if subject is not None and case_text is not None:
        _check_names_a_subject(case)
    if options.get("nr_cpus") is not None:
        check_count(options["nr_cpus"], "nr-cpus")
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for name, value in changes.items():
        check_said(name, value)
    for name, between in (("fault", ","), ("hotplug", ","), ("device", ","), ("append", " ")):
        changes[name] = between.join(changes.get(name, ())) or getattr(case, name)
    changes["asserts"] = _asserts_of(changes.get("asserts", ())) or case.asserts
    if subject is not None:
        changes["subject"] = subject
    if cpus is not None:
        changes["topology"] = _topology_of(case, cpus)
    if force:
        changes["force"] = 1
    changed = replace(case, **changes)
    check_scheduler(changed)
    named = {name for name in changes if name == "subject" or options.get(name)}
    if not case.identity:
        return changed
    from emu.host.identity import kept_identity

    return replace(changed, identity=kept_identity(case, changed, named))


def check_scheduler(case: Case) -> None:
    """Check the scheduler that was asked for, which may be the default of another depth.

    :raises InvalidCase: it is, so that the run would have its own default
    """
    default = Case(DEFAULT_SUBJECT).scheduler
    if case.depth == WHOLE and case.scheduler == default and given("scheduler"):
        from emu.host.whole.choices import scheduler_of

        own = scheduler_of(case)
        raise InvalidCase(f"depth={WHOLE}: scheduler={default}: not at this depth, whose default is {own}")


def _asserts_of(texts: Sequence[str]) -> str:
    # The properties in one line, those of TOML files too: a case is run elsewhere as well.
    if not texts:
        return ""
    from emu.properties.sources import SEPARATOR, texts_of_option

    return f"{SEPARATOR} ".join(text for _, text in texts_of_option(list(texts)))


def _check_names_a_subject(case: Case) -> None:
    # With another SUBJECT the case's own need not be here any more, but text that is no case is none.
    from emu.designs import DESIGNS

    name = case.subject
    if name not in DESIGNS and not Path(name).exists() and not set("/.") & set(name):
        raise InvalidCase(f"--case {name}: no case: {name} is no file, and {not_one_of(name, DESIGNS)}")


def _topology_of(case: Case, cpus: int) -> str:
    # The topology of --cpus: of the case's preset so many, which is flat unless the case says otherwise.
    from emu.topology.presets import PRESETS

    check_count(cpus, "cpus")
    preset = case.topology.partition(":")[0]
    if preset not in PRESETS:
        raise InvalidCase(
            f"--cpus {cpus}: topology={case.topology} of the case says how many CPUs; give --topology instead"
        )
    return f"{preset}:{cpus}"


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
        reports = Reports(ktap, junit)
        try:
            return function(*arguments, reports=reports, **options)
        except Untestable as error:
            from emu.report.property import untestable_suite

            case = options.get("case_text") or options.get("subject") or DEFAULT_SUBJECT
            suite = untestable_suite(str(click.get_current_context().info_name), case, str(error))
            reports.show(lambda: suite)
            raise

    for option in (
        click.option("--junit", type=Output(), metavar="FILE", help="Also write JUnit XML."),
        click.option("--ktap", is_flag=True, help="Print KTAP, a test for each property."),
    ):
        command = option(command)
    return command  # type: ignore[return-value]
