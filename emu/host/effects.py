"""Where each choice of a case acts; what cannot change anything in a run is refused or said.

A :class:`Row` for each field of the case that some run has no place for; :data:`ALWAYS` has the others. The
rows of faults are in :meth:`emu.host.faults.Fault.changes_nothing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from emu.case import Case
from emu.cpu.cores import CORES, DEFAULT
from emu.designs import DESIGNS
from emu.errors import InvalidCase
from emu.models import MODELS
from emu.subject.fragment import is_source
from emu.topology import Topology

if TYPE_CHECKING:
    from emu.host.choices import BootConfig
    from emu.host.guest import Guest

# Fields that act in every run, or that are checked where they are parsed.
ALWAYS = frozenset(
    {
        "subject",
        "identity",
        "topology",
        "boot_cpu",
        "el",
        "grain",
        "memory",
        "latency",
        "instructions_max",
        "primary_max",
        "fault",
        "hotplug",
        "kexec",
        "design",
        "device",
        "asserts",
        "depth",
    }
)
WHOLE = "whole"  # the depth at which a kernel boots by itself


@dataclass(frozen=True, slots=True)
class Row:
    """One field of the case.

    :ivar field: of :class:`emu.case.Case`
    :ivar acts: on what
    :ivar nothing: why it changes nothing in the run of a configuration; "": it may
    """

    field: str
    acts: str
    nothing: Callable[[BootConfig], str]


def _not_whole(config: BootConfig) -> str:
    return "" if config.case.depth == WHOLE else f"--depth {WHOLE} alone has that"


def _is_fragment(case: Case) -> bool:
    return case.subject in DESIGNS or is_source(case.subject)


def _granule(config: BootConfig) -> str:
    if config.model.granules:
        return ""
    with_lines = " or ".join(name for name, model in MODELS.items() if model.granules)
    return f"memory={config.case.memory} has no lines (--memory {with_lines})"


def _conduit(config: BootConfig) -> str:
    methods = sorted({cpu.enable_method for cpu in config.topology.cpus} - {""})
    return "" if "psci" in methods else f"enable-method {', '.join(methods)} does not call firmware"


def _cpu(config: BootConfig) -> str:
    wanted = CORES[config.case.cpu].midr
    if wanted == DEFAULT.midr or any(cpu.midr == wanted for cpu in config.topology.cpus):
        return ""
    return f"topology {config.topology.name} says the core of every CPU"


def _firmware(config: BootConfig) -> str:
    off = config.case.firmware == "acpi" and "acpi=off" in config.case.append.split()
    on = config.case.firmware == "devicetree" and {"acpi=on", "acpi=force"} & set(config.case.append.split())
    return f"contradicts {config.case.append!r}" if off or on else ""


REFUSED = (
    Row("granule", "what a line that is written back overwrites", _granule),
    Row("conduit", "the instruction by which the kernel calls PSCI", _conduit),
    Row("cpu", "the core of CPUs of which the topology says none", _cpu),
    Row("firmware", "what firmware describes the CPUs by", _firmware),
    Row(
        "system_map",
        "the symbols of a kernel",
        lambda config: f"{config.case.subject} is no kernel" if _is_fragment(config.case) else "",
    ),
    Row("gic", "the interrupt controller", _not_whole),
    Row("ram", "the size of memory", _not_whole),
    Row("turn", "how long CPUs run in turn", _not_whole),
    Row("irq_late", "when interrupts reach CPUs", _not_whole),
    Row("initrd", "what the kernel unpacks", _not_whole),
    Row("dtb", "the board", _not_whole),
    Row("input", "what the console receives", _not_whole),
    Row("record_from", "what is recorded of a kernel's own boot", _not_whole),
    Row("until", "where a kernel's own boot ends", _not_whole),
)
# Of the subject once it is loaded.
REFUSED_LATER = (
    Row(
        "nr_cpus",
        "NR_CPUS of a fragment",
        lambda config: (
            ""
            if _is_fragment(config.case)
            else "a kernel has its own NR_CPUS (--append nr_cpus= bounds what it uses)"
        ),
    ),
)
# Fields that decide how secondaries are brought up, so that without one they change nothing.
OF_SECONDARIES = ("bringup", "base", "enable_method", "conduit", "scheduler", "cycle", "event_register")
_AUTOMATIC = ("bringup", "base")  # their default is a choice that depends on the subject
# Fields that are said to change nothing, in :func:`notes`.
SAID = (*OF_SECONDARIES, "append", "force")


def check_effects(config: BootConfig, rows: Sequence[Row] = REFUSED) -> None:
    """Refuse a choice that has nothing to act on.

    :raises InvalidCase: there is one; the message says why
    """
    case = config.case
    for row in rows:
        value = getattr(case, row.field)
        if value != default_of(row.field) and (why := row.nothing(config)):
            raise InvalidCase(f"{row.field.replace('_', '-')}={value}: {why}")


def check_method(case: Case, topology: Topology) -> None:
    """Refuse an enable-method that firmware's description overrides.

    :raises InvalidCase: no CPU of ``topology``, which has the defaults filled in, has it
    """
    asked = case.enable_method
    if asked and not any(cpu.enable_method == asked for cpu in topology.cpus):
        raise InvalidCase(
            f"enable-method={asked}: {topology.name} declares PSCI for the whole machine (FADT)"
        )


def notes(
    config: BootConfig, automatic: Case, guest: Guest, wanted: Sequence[int], *, forced: bool
) -> list[str]:
    """Return what the case asks for and this run cannot be changed by, in words.

    :param automatic: the case as the run would have it by itself
    :param wanted: the secondaries that the boot is to bring up
    :param forced: ``force`` lets something run that would be refused
    """
    case, found = config.case, []
    if not wanted and not case.kexec and not case.hotplug:
        asked = [name for name in OF_SECONDARIES if _asks(case, automatic, name)]
        if asked:
            listed = ", ".join(f"{name.replace('_', '-')}={getattr(case, name)}" for name in asked)
            found.append(f"{listed}: no secondary is brought up, so that it changes nothing")
    idle = [
        cpu
        for cpu, faults in sorted(config.faults.items())
        if cpu not in wanted and not any(fault.refused() for fault in faults)
    ]
    if idle and not case.hotplug and not case.kexec:
        listed = ", ".join(f"CPU{cpu}" for cpu in idle)
        found.append(f"fault={case.fault}: {listed} is not brought up, so that its fault changes nothing")
    found += _append_notes(config, guest)
    if case.force and not forced:
        found.append("force=1: nothing here would be refused")
    return found


def _append_notes(config: BootConfig, guest: Guest) -> list[str]:
    parameters, possible = config.parameters, len(guest.logical.possible)
    found = []
    unused = list(parameters.unused) if _is_fragment(config.case) else []  # a kernel reads them itself
    if parameters.parallel and not guest.has_parallel:
        unused.append("cpuhp.parallel")
    if unused:
        found.append(f"append: not used: {' '.join(unused)}")
    if parameters.maxcpus is not None and parameters.maxcpus >= possible:
        found.append(
            f"append: maxcpus={parameters.maxcpus}: there are {possible} CPUs, so that it changes nothing"
        )
    return found


def _asks(case: Case, automatic: Case, name: str) -> bool:
    # Whether a field asks for something else than what the run would have by itself.
    return getattr(case, name) not in (
        default_of(name),
        getattr(automatic, name) if name in _AUTOMATIC else "",
    )


def default_of(name: str) -> object:
    """Return what a field of a case is when nobody says it."""
    (field,) = (field for field in fields(Case) if field.name == name)
    return field.default
