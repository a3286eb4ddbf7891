"""From a case to a machine that is ready to run: the one way that every command uses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from emu.arch.boot import NR_CPUS_MAX
from emu.case import Case
from emu.designs import DESIGNS
from emu.errors import InvalidCase, InvalidSubject
from emu.host.bringup import STRATEGIES
from emu.host.cpuhp import Core
from emu.host.enable_method import EnableMethod, make_enable_method
from emu.host.fragment import build_fragment, is_source
from emu.host.guest import Guest, note_expectations
from emu.host.kernel import build_kernel
from emu.host.kernel_kick import make_kick
from emu.host.parameters import Parameters, parse_parameters
from emu.host.psci import Psci
from emu.host.secondary import ORDERS, Secondary
from emu.host.smp import Smp
from emu.machine import Machine
from emu.subject.kernel import is_kernel
from emu.topology import Topology, flat, read_topology
from emu.trace import Trace

CONDUITS = ("smc", "hvc")
MEMORY_MODELS = ("coherent",)


@dataclass(frozen=True, slots=True)
class Boot:
    """A machine with its guest, ready for :meth:`Machine.run`; ``case`` has every choice made."""

    case: Case
    topology: Topology
    guest: Guest
    machine: Machine
    core: Core


def build(case: Case, *, record: bool = False) -> Boot:
    """Return the machine that ``case`` describes, its boot CPU about to bring the secondaries up.

    :param record: keep every operation in the trace, not events alone
    :raises EmuError: the case breaks a rule, or its subject cannot be loaded
    """
    check_case(case)
    topology = topology_of(case)
    trace = Trace(case.text())
    if case.subject in DESIGNS or is_source(case.subject):
        machine, guest = build_fragment(case, topology, trace, record)
    elif is_kernel(Path(case.subject)):
        machine, guest = build_kernel(case, topology, trace, record)
    else:
        names = ", ".join(DESIGNS)
        if not Path(case.subject).exists():
            raise InvalidSubject(f"{case.subject}: no such file, and no design of that name ({names})")
        raise InvalidSubject(f"{case.subject}: neither a design ({names}), a .S file, nor an arm64 kernel")
    identity = _identity(case, guest)
    if case.identity and case.identity != identity:
        raise InvalidCase(
            f"case: identity={case.identity}: its files now are {identity}; "
            "the bytes that the case was made with are gone"
        )
    method = make_enable_method(case.enable_method, guest)
    parameters = parse_parameters(case.append)
    chosen = case.bringup
    case = _settle(replace(case, identity=identity), topology, guest, method, parameters)
    trace.case = case.text()
    if chosen != "auto":  # what the kernel itself would do is never refused
        _check_bringup(case, guest, method)
    if case.cycle and not method.can_die:
        raise InvalidCase(f"cycle={case.cycle}: enable-method {case.enable_method} cannot take a CPU down")
    firmware = machine.firmware
    assert isinstance(firmware, Psci)
    faults = firmware.faults
    outside = any(not fault.in_table() for found in faults.values() for fault in found)
    if guest.design.lookup_table is None and outside:
        raise InvalidCase(f"fault={case.fault}: {guest.design.name} has no table that the host fills")
    core = Core(guest.data, len(guest.hwids))
    kick = make_kick(machine, guest, core, method)
    strategy = STRATEGIES[case.bringup](kick)
    secondary = Secondary(
        machine, guest, core, method, faults, base=case.base, syncs_alive=strategy.syncs_alive
    )
    firmware.contexts = {cpu: guest.context_id(cpu) for cpu in range(len(guest.hwids))}
    machine.land_at(guest.landing_va, secondary.start_kernel)
    possible = min(parameters.nr_cpus or len(guest.hwids), len(guest.hwids))
    refused = {cpu for cpu, found in faults.items() if any(fault.refused() for fault in found)}
    for cpu in range(possible):
        machine.memory.write(guest.data.present(cpu), 1, int(cpu not in refused))
    maxcpus = possible if parameters.maxcpus is None else parameters.maxcpus
    secondaries = range(1, possible)
    note_expectations(
        machine, guest, [cpu for cpu in secondaries if cpu < maxcpus and cpu not in refused], faults
    )
    for actor in machine.actors:
        actor.pe.event = bool(case.event_register)
    method.power_on(machine)
    smp = Smp(machine, guest, core, kick, strategy, method, faults, refused)
    machine.start_task(0, smp.boot_cpu(secondaries, maxcpus, case.cycle))
    return Boot(case, topology, guest, machine, core)


def _settle(
    case: Case, topology: Topology, guest: Guest, method: EnableMethod, parameters: Parameters
) -> Case:
    # Every choice that was left open, made.
    asked = method
    if guest.design.asks_boot_cpu and topology.logical[0].enable_method:
        asked = make_enable_method(topology.logical[0].enable_method, guest)
    parallel = guest.design.parallel and asked.parallel and parameters.parallel is not False
    least = "split" if guest.design.split and method.parallel else "serial"
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
        "conduit": CONDUITS,
        "memory": MEMORY_MODELS,
        "el": (1, 2),
        "event_register": (0, 1),
    }
    for name, allowed in choices.items():
        value = getattr(case, name)
        if value not in allowed:
            listed = ", ".join(map(str, allowed))
            raise InvalidCase(f"{name.replace('_', '-')}={value}: not one of {listed}")
    for name, least in (("cycle", 0), ("instructions_max", 1), ("boot_cpu", -1)):
        if getattr(case, name) < least:
            raise InvalidCase(f"{name.replace('_', '-')}={getattr(case, name)}: at least {least}")
    if case.design and not is_source(case.subject):
        raise InvalidCase(f"design={case.design}: only a .S file needs the host side named")
    if case.el == 2 and case.conduit == "hvc":
        raise InvalidCase("conduit=hvc: HVC goes to the kernel's own EL2 when el=2; use smc")
    if case.nr_cpus and not 1 <= case.nr_cpus <= NR_CPUS_MAX:
        raise InvalidCase(f"nr-cpus={case.nr_cpus}: NR_CPUS is 1..{NR_CPUS_MAX} on arm64")


def topology_of(case: Case) -> Topology:
    """Return the topology that the case names: ``flat:N`` or a JSON file.

    :raises InvalidCase: neither
    """
    name, _, count = case.topology.partition(":")
    if name == "flat":
        if not (count.isascii() and count.isdecimal()):
            raise InvalidCase(f"topology={case.topology}: flat:N with N CPUs, 1..{NR_CPUS_MAX}")
        return flat(int(count), max(case.boot_cpu, 0))
    return read_topology(Path(case.topology), case.boot_cpu if case.boot_cpu >= 0 else None)


def _identity(case: Case, guest: Guest) -> str:
    # The bytes of every file that the case names: SHA-256 prefixes, the subject's first.
    parts = [] if case.subject in DESIGNS else [guest.subject.identity]
    files = (case.topology if case.topology.partition(":")[0] != "flat" else "", case.system_map)
    for path in filter(None, files):
        parts.append(hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8])
    return "-".join(parts)


def _check_bringup(case: Case, guest: Guest, method: EnableMethod) -> None:
    if case.bringup != "parallel" or case.force:
        return
    if not method.parallel:
        raise InvalidCase(
            f"bringup=parallel: enable-method {case.enable_method} releases one CPU at a time; "
            "--force runs it all the same"
        )
    if not guest.design.parallel:
        raise InvalidCase(
            f"bringup=parallel: {guest.design.name} has one {guest.design.data_symbol} for all CPUs; "
            "--force runs it all the same"
        )
