"""The choices of a case, checked and parsed once, for every command that builds a machine.

:func:`parse_case` does all that needs no subject; :func:`check_cpus`, :func:`check_subject` and
:func:`check_kexec` check the choices that depend on the loaded subject; :func:`resolve_case` fills in
defaults.

Each sub-language (``fault``, ``hotplug``, ``kexec``, ``device``, ``append``, ``scheduler``) has its grammar
in its own file; the parsers are called from here only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from emu.arch.boot import NR_CPUS_MAX
from emu.case import Case
from emu.designs import DESIGNS
from emu.devices import PlacedDevice, parse_devices
from emu.errors import InvalidCase
from emu.host.bringup import STRATEGIES
from emu.host.effects import REFUSED_LATER, WHOLE, check_effects, check_method, default_of
from emu.host.enable_method import METHOD_KINDS, METHODS, EnableMethod
from emu.host.faults import Fault, FaultedSubject, check_faults, faults_before_load, parse_faults
from emu.host.firmware import resolve_defaults
from emu.host.guest import Guest
from emu.host.logical_map import LogicalMap
from emu.host.parameters import Parameters, parse_parameters
from emu.host.secondary import ORDERS
from emu.host.smp_init_cpus import count_cores, smp_init_cpus
from emu.host.vcpu import HotplugRequest, parse_hotplug
from emu.latency import Latency, check_changes, latency_profile
from emu.machine.actor import Grain
from emu.models import memory_model
from emu.models.protocol import MemoryModel
from emu.registry import not_one_of
from emu.schedulers import Scheduler, make_scheduler, scheduler_kind
from emu.subject.fragment import is_source
from emu.topology import Topology
from emu.topology.read import read_topology
from emu.trace import Trace

NO_HOTPLUG = "is built without CONFIG_HOTPLUG_CPU: no CPU goes down"
# machine_kexec_prepare(), Linux v6.12 arch/arm64/kernel/machine_kexec.c
KEXEC_STUCK = "Can't kexec: CPUs are stuck in the kernel."


@dataclass(frozen=True, slots=True)
class KexecRequest:
    """The second boot: its subject, and the logical CPU of the first boot that it starts on."""

    subject: str
    cpu: int


@dataclass(frozen=True, slots=True)
class BootConfig:
    """A case with its texts parsed: the input of everything that builds a machine.

    :ivar case: the case; ``bringup`` and ``base`` may be "auto" until :func:`resolve_case`
    :ivar topology: with the defaults filled in (:func:`emu.host.firmware.resolve_defaults`)
    :ivar faults: by logical CPU
    :ivar scheduler: new, for one run
    :ivar kexec: None when the case boots once
    :ivar record: keep every operation in the trace, not events alone
    :ivar has_lines: the memory model of the case has cache lines, whichever model the machine is given
    """

    case: Case
    topology: Topology
    parameters: Parameters
    faults: Mapping[int, Sequence[Fault]]
    hotplug: Sequence[HotplugRequest]
    devices: Sequence[PlacedDevice]
    kexec: KexecRequest | None
    scheduler: Scheduler
    grain: Grain
    model: MemoryModel
    trace: Trace
    record: bool
    has_lines: bool = False
    latency: Latency = field(default_factory=Latency)

    def logical(self, nr_cpus: int, *, online_capable: bool = True) -> LogicalMap:
        """Return the CPUs as a kernel with this CONFIG_NR_CPUS numbers them.

        :param online_capable: whether it has vCPU hotplug
        """
        nr_cpu_ids = min(self.parameters.nr_cpus or nr_cpus, nr_cpus)
        refused = {cpu for cpu, found in self.faults.items() if any(fault.refused() for fault in found)}
        return smp_init_cpus(self.topology, nr_cpus, nr_cpu_ids, refused, online_capable=online_capable)

    def to_bring_up(self, logical: LogicalMap, disabled: Collection[int]) -> list[int]:
        """Return the secondaries that the boot is to bring up: possible, enabled, and within maxcpus."""
        enabled = [cpu for cpu in sorted(logical.possible)[1:] if cpu not in disabled]
        maxcpus = self.parameters.maxcpus
        return enabled if maxcpus is None else enabled[: max(maxcpus - 1, 0)]


def parse_kexec(text: str) -> KexecRequest:
    """Return the request of ``SUBJECT[@CPU]``.

    :raises InvalidCase: no subject
    """
    subject, at, cpu = text.rpartition("@")
    if not at or not cpu.isdecimal():
        subject, cpu = text, "0"
    if not subject:
        raise InvalidCase(f"kexec={text}: SUBJECT or SUBJECT@CPU")
    return KexecRequest(subject, int(cpu))


def parse_case(case: Case, *, record: bool = False) -> BootConfig:
    """Return the configuration of ``case``; its subject is not read.

    :raises InvalidCase: the case breaks a rule
    """
    model = _check_values(case)
    hotplug = parse_hotplug(case.hotplug)
    devices = parse_devices(case.device)
    kexec = parse_kexec(case.kexec) if case.kexec else None
    subjects = [case.subject] + ([kexec.subject] if kexec else [])
    if case.design and not any(is_source(subject) for subject in subjects):
        raise InvalidCase(f"design={case.design}: only a .S or .o file needs the host side named")
    if case.primary_max and all(subject in DESIGNS or is_source(subject) for subject in subjects):
        raise InvalidCase(f"primary-max={case.primary_max}: no kernel here whose primary boots")
    if case.nr_cpus and not 1 <= case.nr_cpus <= NR_CPUS_MAX:
        raise InvalidCase(f"nr-cpus={case.nr_cpus}: NR_CPUS is 1..{NR_CPUS_MAX} on arm64")
    if case.dtb and case.topology != default_of("topology"):
        raise InvalidCase(f"dtb={case.dtb}: it says which CPUs there are; topology={case.topology} does too")
    topology = resolve_defaults(case, read_topology(case.dtb or case.topology, case.boot_cpu))
    if case.el == 2 and topology.conduit == "hvc":
        raise InvalidCase("conduit=hvc: HVC goes to the kernel's own EL2 when el=2; use smc")
    check_method(case, topology)
    config = BootConfig(
        case=case,
        topology=topology,
        parameters=parse_parameters(case.append),
        faults=parse_faults(case.fault, count_cores(topology)),
        hotplug=hotplug,
        devices=devices,
        kexec=kexec,
        scheduler=make_scheduler(case.scheduler),
        grain=Grain(case.grain),
        model=model,
        trace=Trace(case.text()),
        record=record,
        has_lines=bool(model.granules),
        latency=latency_profile(case.latency),
    )
    check_changes(case.latency, count_cores(topology))
    check_effects(config)
    again = bool(case.cycle or case.hotplug or kexec or case.initrd)
    faults_before_load(config.faults, lines=bool(model.granules), again=again)
    return config


def _check_values(case: Case) -> MemoryModel:
    # Check each value alone, and pairs that exclude each other; return the memory model.
    choices = {
        "bringup": ("auto", *STRATEGIES),
        "base": ("auto", *ORDERS),
        "el": (1, 2),
        "event_register": (0, 1),
        "grain": tuple(grain.value for grain in Grain),
        "depth": ("", WHOLE),
    }
    for name, allowed in choices.items():
        value = getattr(case, name)
        if value not in allowed:
            raise InvalidCase(f"{name.replace('_', '-')}={value}: {not_one_of(value, allowed)}")
    model = memory_model(case.memory, case.granule)
    for name, least in (("cycle", 0), ("instructions_max", 1), ("boot_cpu", 0), ("primary_max", 1)):
        value = getattr(case, name)
        if value < least and value != default_of(name):
            raise InvalidCase(f"{name.replace('_', '-')}={value}: at least {least}")
    if scheduler_kind(case.scheduler)[0].of_operations and case.grain == "free":
        raise InvalidCase("grain=free: a recorded schedule is one of operations; give grain=operation")
    return model


def check_cpus(config: BootConfig, logical: LogicalMap) -> None:
    """Check the CPUs that the case names against the kernel's numbering of the first boot.

    :raises InvalidCase: a fault or the second boot is on a CPU that the kernel does not have
    """
    case = config.case
    if config.kexec and config.kexec.cpu not in logical.possible:
        count = len(logical.possible)
        raise InvalidCase(
            f"kexec={case.kexec}: the first boot has no CPU{config.kexec.cpu}, of {count} possible"
        )
    for number in config.faults:
        if number >= len(logical.cpus) or logical.cpus[number] is None:
            raise InvalidCase(f"fault={case.fault}: the kernel has no CPU{number} from this topology")


def check_subject(config: BootConfig, guest: Guest, method: EnableMethod) -> None:
    """Check the choices that the subject or the enable-method may not support.

    :param method: the enable-method of the secondaries
    :raises InvalidCase: ``bringup``, ``cycle`` or ``fault`` is not supported
    """
    case = config.case
    if case.bringup not in ("auto", own_bringup(config, guest, method)):  # which is never refused
        _check_bringup(case, guest, method)
    if case.cycle and not method.can_die:
        raise InvalidCase(f"cycle={case.cycle}: enable-method {method.name} cannot take a CPU down")
    if case.cycle and not guest.built.hotplug_cpu:
        raise InvalidCase(f"cycle={case.cycle}: {guest.design.name} {NO_HOTPLUG}")
    outside = any(not fault.in_table() for found in config.faults.values() for fault in found)
    if guest.design.lookup_table is None and outside and not guest.built.fills_tables:
        raise InvalidCase(f"fault={case.fault}: {guest.design.name} has no table that the host fills")
    check_effects(config, REFUSED_LATER)

    def faulted(cpu: int) -> FaultedSubject:
        kind = METHOD_KINDS[guest.method_of(cpu)]
        return FaultedSubject(
            name=guest.design.name,
            context_id=guest.design.context_id_pointer,
            conduit=config.topology.conduit,
            entry_el=case.el,
            built=guest.built,
            cpu=cpu,
            method=kind.name,
            calls_firmware=kind.calls_firmware,
            sends_event=kind.sends_event,
            cleans=kind.cleans or (guest.design.lookup_table is not None and guest.design.table_clean_to_poc),
            # It stores to the CPU's data first, and panics where that has become read-only.
            starts_again=bool(case.kexec) or not guest.design.data_read_only_after_init,
        )

    check_faults(config.faults, faulted)


def resolve_case(config: BootConfig, guest: Guest, method: EnableMethod) -> Case:
    """Return the case of one boot with ``bringup`` and ``base`` filled in.

    :param method: the enable-method of the secondaries
    :raises InvalidCase: ``bringup`` contradicts the kernel parameters
    """
    case, said = config.case, config.parameters.parallel
    bringup = own_bringup(config, guest, method) if case.bringup == "auto" else case.bringup
    if case.bringup != "auto" and said is not None and said != (case.bringup == "parallel"):
        raise InvalidCase(f"bringup={case.bringup}: contradicts {case.append!r}")
    return replace(case, bringup=bringup, base=guest.design.base if case.base == "auto" else case.base)


def own_bringup(config: BootConfig, guest: Guest, method: EnableMethod) -> str:
    """Return the ``bringup`` that the subject's own cpuhp core takes with this enable-method.

    A design's is the most parallel one that the two support. A kernel's is the one that it was built for,
    whether its boot data allows that or not.

    :param method: the enable-method of the secondaries
    """
    asked = method
    if guest.design.asks_boot_cpu and guest.method_of(0) in METHODS:
        asked = METHODS[guest.method_of(0)](guest)
    refused = guest.built.asks_method and asked.why_serial
    if guest.has_parallel and not refused and config.parameters.parallel is not False:
        return "parallel"
    return "split" if guest.design.split and not (method.why_serial and guest.built.cpu_up) else "serial"


def is_unsafe(case: Case, guest: Guest, method: EnableMethod) -> bool:
    """Tell whether CPUs are kicked all at once, and their boot data or their enable-method is for one."""
    return case.bringup == "parallel" and bool(method.why_serial or not guest.design.parallel)


def needs_force(config: BootConfig, guest: Guest, method: EnableMethod) -> bool:
    """Tell whether the case would be refused without ``force``, or may be once it runs (kexec)."""
    case = config.case
    try:
        if case.bringup not in ("auto", own_bringup(config, guest, method)):
            _check_bringup(replace(case, force=0), guest, method)
    except InvalidCase:
        return True
    return bool(case.kexec)


def _check_bringup(case: Case, guest: Guest, method: EnableMethod) -> None:
    if case.bringup == "serial" and not guest.built.cpu_up and not case.force:
        raise InvalidCase(
            f"bringup=serial: {guest.design.name} has no __cpu_up() (HOTPLUG_SPLIT_STARTUP); "
            "--force has the host play it"
        )
    if case.bringup != "parallel" or case.force:
        return
    if method.why_serial:
        raise InvalidCase(
            f"bringup=parallel: enable-method {method.name} {method.why_serial}; --force runs it all the same"
        )
    if not guest.design.parallel:
        raise InvalidCase(
            f"bringup=parallel: {guest.design.name} has one {guest.design.data_symbol} for all CPUs; "
            "--force runs it all the same"
        )


def check_kexec(config: BootConfig, guest: Guest, method: EnableMethod, wanted: Sequence[int]) -> None:
    """Check that the first boot can end in the second one.

    :param method: the enable-method of the first boot's secondaries
    :param wanted: logical numbers of the secondaries that the first boot brings up
    :raises InvalidCase: CPUs cannot be switched off, or the CPU of the second boot is not online
    """
    case, request = config.case, config.kexec
    assert request is not None, "the case boots once"
    can_die = method.can_die and guest.built.hotplug_cpu
    if len(guest.logical.possible) > 1 and not can_die and not case.force:
        raise InvalidCase(
            f"kexec={case.kexec}: {KEXEC_STUCK.removesuffix('.')} (enable-method {method.name} cannot "
            "switch them off); --force stops them and goes on"
        )
    if request.cpu and request.cpu not in wanted and not case.hotplug:
        raise InvalidCase(f"kexec={case.kexec}: CPU{request.cpu} is not online after the first boot")
