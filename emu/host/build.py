"""From a case to a machine that is ready to run: the one way that every command uses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from emu.arch.boot import NR_CPUS_MAX
from emu.case import Case
from emu.designs import DESIGNS, check_exists
from emu.devices import parse_devices
from emu.errors import InvalidCase, InvalidSubject
from emu.host.bringup import STRATEGIES
from emu.host.cpuhp import Core
from emu.host.enable_method import METHODS, EnableMethod, WithFaults, make_enable_method
from emu.host.faults import parse_faults
from emu.host.firmware import settle
from emu.host.fragment import is_source, load_fragment
from emu.host.guest import Guest, note_expectations
from emu.host.kernel import load_kernel_of
from emu.host.kernel_kick import make_kick
from emu.host.kexec import STUCK, Kexec, Plan, parse_kexec, plan_kexec
from emu.host.parameters import Parameters, parse_parameters
from emu.host.platform import Loaded, Setting, install
from emu.host.psci import Psci
from emu.host.secondary import ORDERS, Secondary
from emu.host.smp import Smp
from emu.host.smp_init_cpus import count_cores
from emu.host.vcpu import parse_hotplug
from emu.host.vcpu import plan as plan_hotplug
from emu.host.vcpu.hotplug import Hotplug
from emu.host.vcpu.vmm import Vmm
from emu.machine import Machine
from emu.machine.actor import HostTask, State
from emu.models import memory_model
from emu.registry import not_one_of
from emu.schedulers import scheduler_kind
from emu.subject.kernel import is_kernel
from emu.topology import Topology
from emu.topology.presets import is_preset
from emu.topology.read import read_topology, topology_files
from emu.trace import Trace


@dataclass(slots=True)
class Boot:
    """A machine with its guest, ready for :meth:`Machine.run`; ``case`` has every choice made.

    kexec puts another guest, with its topology and core, in place of the one in ``earlier``.
    """

    case: Case
    topology: Topology
    guest: Guest
    machine: Machine
    firmware: Psci
    core: Core
    method: EnableMethod
    new_task: Callable[[], HostTask]  # the boot CPU's, from its beginning, with a cpuhp core of its own
    earlier: list[Guest] = field(default_factory=list)


def build(case: Case, *, record: bool = False) -> Boot:
    """Return the machine that ``case`` describes, its boot CPU about to bring the secondaries up.

    :param record: keep every operation in the trace, not events alone
    :raises EmuError: the case breaks a rule, or its subject cannot be loaded
    """
    setting = make_setting(case, record=record)
    first = load(setting)
    plan = plan_kexec(setting, first.logical, load) if case.kexec else None
    machine, psci, guest = install(first, plan.loaded.memory_size if plan else 0)
    identity = _identity(case, guest, plan)
    if case.identity and case.identity != identity:
        raise InvalidCase(
            f"case: identity={case.identity}: its files now are {identity}; "
            "the bytes that the case was made with are gone"
        )
    method = make_enable_method(guest)
    chosen = case.bringup
    case = _settle(replace(case, identity=identity), guest, method, setting.parameters)
    machine.trace.case = case.text()
    if chosen != "auto":  # what the kernel itself would do is never refused
        _check_bringup(case, guest, method)
    if case.cycle and not method.can_die:
        raise InvalidCase(f"cycle={case.cycle}: enable-method {method.name} cannot take a CPU down")
    outside = any(not fault.in_table() for found in setting.faults.values() for fault in found)
    if guest.design.lookup_table is None and outside:
        raise InvalidCase(f"fault={case.fault}: {guest.design.name} has no table that the host fills")
    if plan:
        _check_kexec(setting, guest, method, plan)
    return _start(setting, case, machine, psci, guest, method, plan)


def make_setting(case: Case, *, record: bool = False) -> Setting:
    """Return what follows from ``case`` without its subject.

    :raises InvalidCase: the case breaks a rule
    """
    check_case(case)
    topology = settle(case, read_topology(case.topology, case.boot_cpu))
    if case.el == 2 and topology.conduit == "hvc":
        raise InvalidCase("conduit=hvc: HVC goes to the kernel's own EL2 when el=2; use smc")
    parameters = parse_parameters(case.append)
    faults = parse_faults(case.fault, count_cores(topology))
    return Setting(case, topology, parameters, faults, Trace(case.text()), record)


def load(setting: Setting) -> Loaded:
    """Return the subject of the case, in no memory yet.

    :raises EmuError: there is none of that name, or it cannot be loaded
    """
    name = setting.case.subject
    if name in DESIGNS or is_source(name):
        return load_fragment(setting)
    if is_kernel(Path(name)):
        return load_kernel_of(setting)
    check_exists(name)
    designs = not_one_of(name, DESIGNS)
    raise InvalidSubject(f"{name}: no .S or .o file, no arm64 kernel, and no design: {designs}")


def _start(
    setting: Setting,
    case: Case,
    machine: Machine,
    firmware: Psci,
    guest: Guest,
    method: EnableMethod,
    kexec: Plan | None = None,
    at_reset: Sequence[int] | None = None,
) -> Boot:
    # The host's part: tasks that play the boot CPU and the C side of the secondaries. `at_reset` are the CPUs
    # that have not left firmware yet: all, unless a boot came before.
    faults, logical = setting.faults, guest.logical
    method = WithFaults(method, faults) if faults else method
    actions = plan_hotplug(
        case.hotplug,
        logical,
        firmware=setting.topology.firmware,
        can_die=method.can_die,
        method=method.name,
        bringup=case.bringup,
    )
    core = Core(guest.data, len(guest.hwids))
    secondary = Secondary(
        machine,
        guest,
        core,
        method,
        faults,
        base=case.base,
        syncs_alive=STRATEGIES[case.bringup].syncs_alive,
    )
    firmware.contexts = {cpu: guest.context_id(cpu) for cpu in range(len(guest.hwids))}
    machine.landings.land_at(guest.landing_va, secondary.start_kernel)
    possible = sorted(logical.possible)
    secondaries = possible[1:]
    if at_reset is None:
        firmware.disabled = _disabled(guest)
        at_reset = range(len(machine.actors))
    for cpu in possible:
        # v6.12 takes a CPU that firmware has not enabled for present, and is DENIED when it kicks it.
        present = cpu not in firmware.disabled or case.base == "6.12"
        machine.memory.write(guest.data.present(cpu), 1, int(present))
    wanted = _wanted(setting, guest, firmware.disabled)
    gone = {cpu for cpu in secondaries if machine.actors[cpu].state is State.ENDED}
    excused = {cpu for cpu, found in faults.items() if any(fault.excuses for fault in found)}
    note_expectations(machine, guest, wanted, excused | gone)
    machine.power.event_register = bool(case.event_register)
    for cpu, actor in enumerate(machine.actors):
        if cpu in at_reset or actor.state is State.OFF:
            machine.interconnect.set_event(actor.pe, bool(case.event_register))
    method.power_on(machine, at_reset)
    acpi = setting.topology.firmware == "acpi"
    vmm = Vmm(firmware, {cpu: not acpi or guest.cpu(cpu).enabled for cpu in possible})

    def new_smp(core: Core) -> Smp:
        kick = make_kick(machine, guest, core, method)
        return Smp(machine, guest, core, kick, STRATEGIES[case.bringup](kick), method, faults)

    def boot_cpu(smp: Smp, core: Core) -> HostTask:
        hotplug = Hotplug(
            machine, guest, core, vmm, faults, acpi=acpi, present_follows=acpi and case.base != "6.12"
        )
        return smp.boot_cpu(secondaries, _maxcpus(setting, guest), case.cycle, hotplug, actions)

    def new_task() -> HostTask:
        core = Core(guest.data, len(guest.hwids))
        return boot_cpu(new_smp(core), core)

    smp = new_smp(core)
    boot = Boot(case, setting.topology, guest, machine, firmware, core, method, new_task)
    if kexec:
        second = kexec.loaded.setting

        def start(guest: Guest, at_reset: Sequence[int]) -> None:
            method = make_enable_method(guest)
            case = _settle(second.case, guest, method, second.parameters)
            made = _start(second, case, machine, firmware, guest, method, at_reset=at_reset)
            boot.earlier.append(boot.guest)
            boot.guest, boot.topology, boot.core = guest, made.topology, made.core

        smp.reboot = Kexec(
            kexec, machine, firmware, guest, core, method, secondary, force=bool(case.force), start=start
        ).reboot
    machine.start_task(0, boot_cpu(smp, core))
    return boot


def _maxcpus(setting: Setting, guest: Guest) -> int:
    # How many CPUs may be online, the boot CPU among them.
    maxcpus = setting.parameters.maxcpus
    return len(guest.logical.possible) if maxcpus is None else maxcpus


def _disabled(guest: Guest) -> set[int]:
    # The secondaries that firmware has not enabled, as it says at boot.
    return {cpu for cpu in guest.logical.possible if cpu and not guest.cpu(cpu).enabled}


def _wanted(setting: Setting, guest: Guest, disabled: Collection[int]) -> list[int]:
    # The secondaries that the boot is to bring up.
    enabled = [cpu for cpu in sorted(guest.logical.possible)[1:] if cpu not in disabled]
    return enabled[: max(_maxcpus(setting, guest) - 1, 0)]


def _check_kexec(setting: Setting, guest: Guest, method: EnableMethod, plan: Plan) -> None:
    # What can be known before anything runs.
    case = setting.case
    if len(guest.logical.possible) > 1 and not method.can_die and not case.force:
        raise InvalidCase(
            f"kexec={case.kexec}: {STUCK.removesuffix('.')} (enable-method {method.name} cannot switch them "
            "off); --force stops them and goes on"
        )
    if plan.cpu and plan.cpu not in _wanted(setting, guest, _disabled(guest)) and not case.hotplug:
        raise InvalidCase(f"kexec={case.kexec}: CPU{plan.cpu} is not online after the first boot")


def _settle(case: Case, guest: Guest, method: EnableMethod, parameters: Parameters) -> Case:
    # Every choice that was left open, made.
    asked = method
    if guest.design.asks_boot_cpu and guest.method_of(0) in METHODS:
        asked = METHODS[guest.method_of(0)](guest)
    parallel = guest.design.parallel and not asked.why_serial and parameters.parallel is not False
    least = "split" if guest.design.split and not method.why_serial else "serial"
    bringup = ("parallel" if parallel else least) if case.bringup == "auto" else case.bringup
    if bringup == "parallel" and parameters.parallel is False:
        raise InvalidCase(f"bringup=parallel: contradicts {case.append!r}")
    return replace(
        case,
        bringup=bringup,
        base=guest.design.base if case.base == "auto" else case.base,
    )


def check_case(case: Case) -> None:
    """Check what does not need the subject.

    :raises InvalidCase: a value that is not one of its choices, or a pair that excludes itself
    """
    choices = {
        "bringup": ("auto", *STRATEGIES),
        "base": ("auto", *ORDERS),
        "el": (1, 2),
        "event_register": (0, 1),
    }
    for name, allowed in choices.items():
        value = getattr(case, name)
        if value not in allowed:
            raise InvalidCase(f"{name.replace('_', '-')}={value}: {not_one_of(value, allowed)}")
    memory_model(case.memory, case.granule)
    for name, least in (("cycle", 0), ("instructions_max", 1), ("boot_cpu", -1)):
        if getattr(case, name) < least:
            raise InvalidCase(f"{name.replace('_', '-')}={getattr(case, name)}: at least {least}")
    if scheduler_kind(case.scheduler)[0].of_operations and case.grain == "free":
        raise InvalidCase("grain=free: a recorded schedule is one of operations; give grain=operation")
    if case.memory != "coherent" and case.kexec:
        raise InvalidCase(f"memory={case.memory}: a loader copies over memory; kexec needs coherent")
    parse_hotplug(case.hotplug)
    parse_devices(case.device)
    subjects = [case.subject] + ([parse_kexec(case.kexec)[0]] if case.kexec else [])
    if case.design and not any(is_source(subject) for subject in subjects):
        raise InvalidCase(f"design={case.design}: only a .S or .o file needs the host side named")
    if case.nr_cpus and not 1 <= case.nr_cpus <= NR_CPUS_MAX:
        raise InvalidCase(f"nr-cpus={case.nr_cpus}: NR_CPUS is 1..{NR_CPUS_MAX} on arm64")


def _identity(case: Case, guest: Guest, plan: Plan | None) -> str:
    # The bytes of every file that the case names: SHA-256 prefixes, the subject's first.
    parts = [] if case.subject in DESIGNS else [guest.subject.identity]
    files = () if is_preset(case.topology) else topology_files(Path(case.topology))
    for path in (*files, *filter(None, [Path(case.system_map)] if case.system_map else [])):
        parts.append(hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    if plan and plan.name not in DESIGNS:
        parts.append(plan.loaded.subject.identity)
    return "-".join(parts)


def _check_bringup(case: Case, guest: Guest, method: EnableMethod) -> None:
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
