"""The choices of a case at the whole depth: what it has, and what is refused there."""

from __future__ import annotations

from emu.case import Case
from emu.devices.controllers import CONTROLLERS
from emu.errors import InvalidCase
from emu.host.built import Built
from emu.host.choices import BootConfig
from emu.host.effects import WHOLE, default_of
from emu.host.faults import FaultedSubject, check_faults
from emu.host.faults.context_swapped import ContextSwapped
from emu.host.whole.given_tree import GivenTree
from emu.machine.irq_delays import parse_irq_delays
from emu.registry import not_one_of
from emu.subject.kernel import KernelImage

INSTRUCTIONS_MAX = 5_000_000_000  # of all CPUs together, unless the case has another bound
RAM_MAX = 64 << 10  # MiB
TURN_MAX = 10_000_000
_RAM_LEAST = 64  # MiB
# MiB of a kernel of Debian's, and of each CPU beyond the first ones.
_RAM, _RAM_CPU, _RAM_CPUS = 256, 4, 8
_ALIGN = 16
_U64 = 2**64 - 1
_DEFAULT_GIC, _DEFAULT_SCHEDULER = "gicv3", "timed"

# Why a field that other depths have changes nothing here.
_ITS_OWN = "the kernel itself does that at this depth"
_NO_HOST = "no Python host plays the kernel at this depth"
_REFUSED = {
    "nr_cpus": "a kernel has its own NR_CPUS (--append nr_cpus= bounds what it uses)",
    "bringup": _ITS_OWN,
    "base": _NO_HOST,
    "cycle": f"{_ITS_OWN}; an init can, through /sys/devices/system/cpu",
    "hotplug": _ITS_OWN,
    "kexec": "not at this depth",
    "design": _NO_HOST,
    "force": "nothing here would be refused",
    "grain": "CPUs run freely at this depth",
    "memory": "memory is coherent at this depth",
    "granule": "memory is coherent at this depth",
    "event_register": "a WFE never sleeps long at this depth",
    "primary_max": "the primary boots to the end; --instructions-max bounds it",
    "device": "the board has its devices: interrupt controller, timers and a PL011",
    "asserts": "properties are not judged at this depth",
    "enable_method": "PSCI starts the CPUs at this depth",
}


def check_whole(config: BootConfig) -> None:
    """Check the choices of a case whose depth is whole.

    :raises InvalidCase: one of them has no place there
    """
    case = config.case
    for name, why in _REFUSED.items():
        value = getattr(case, name)
        if value != default_of(name) and not (name == "enable_method" and value == "psci"):
            raise InvalidCase(f"depth={WHOLE}: {name.replace('_', '-')}={value}: {why}")
    for cpu in config.topology.cpus:
        if cpu.enable_method not in ("psci", ""):
            raise InvalidCase(f"depth={WHOLE}: enable-method={cpu.enable_method}: PSCI starts the CPUs there")
    if case.dtb:
        _check_numbers(config)
        return
    name = controller_of(case)
    kind = CONTROLLERS.get(name)
    if kind is None:
        raise InvalidCase(f"gic={case.gic}: {not_one_of(name, CONTROLLERS)}")
    count = len(config.topology.cpus)
    if count > kind.cpus_max:
        raise InvalidCase(f"gic={name}: it has room for {kind.cpus_max} CPUs, and there are {count}")
    _check_numbers(config)


def _check_numbers(config: BootConfig) -> None:
    case = config.case
    if case.ram and not _RAM_LEAST <= case.ram <= RAM_MAX:
        raise InvalidCase(f"ram={case.ram}: MiB, {_RAM_LEAST} to {RAM_MAX}")
    if case.turn and not 1 <= case.turn <= TURN_MAX:
        raise InvalidCase(f"turn={case.turn}: instructions, 1 to {TURN_MAX:,}")
    parse_irq_delays(case.irq_late)
    if any(not fault.is_of_hardware for found in config.faults.values() for fault in found):
        why = "faults of firmware and of CPUs alone; no host plays the kernel"
        raise InvalidCase(f"depth={WHOLE}: fault={case.fault}: {why}")


def check_faulted(config: BootConfig, image: KernelImage) -> None:
    """Refuse a fault that changes nothing of a boot of ``image``.

    :raises InvalidCase: there is one; the message says why
    """
    if image.is_flat:
        if any(isinstance(fault, ContextSwapped) for found in config.faults.values() for fault in found):
            why = "what a flat image hands another CPU is not known before it does"
            raise InvalidCase(f"fault={config.case.fault}: {why}")
        return
    # No engine has FEAT_LVA: a kernel runs with VA_BITS_MIN (Linux v6.12 asm/memory.h, KIMAGE_VADDR).
    subject = image.subject
    text_va = subject.segments[0].pa + subject.va_offset & _U64
    built = Built(fills_tables=True, va_bits=(_U64 + 1 - text_va).bit_length() + 1)

    def faulted(cpu: int) -> FaultedSubject:
        return FaultedSubject(
            name=image.version,
            context_id=False,
            conduit=config.topology.conduit,
            entry_el=config.case.el,
            built=built,
            cpu=cpu,
            method="psci",
            calls_firmware=True,
            sends_event=False,
            cleans=False,
            starts_again=True,
        )

    check_faults(config.faults, faulted)


def check_tree(case: Case, tree: GivenTree | None) -> None:
    """Check the choices of a case beside a device tree that the user brings.

    :raises InvalidCase: the tree says something else, or there are more CPUs than its controller has room for
    """
    if tree is None:
        return
    name, cpus = tree.places.controller, tree.cpus
    if case.gic and case.gic != name:
        raise InvalidCase(f"gic={case.gic}: {tree.name} has a {name}")
    if case.firmware == "acpi":
        raise InvalidCase(f"firmware=acpi: {tree.name} is a device tree")
    if case.input and tree.places.uart_pa < 0:
        raise InvalidCase(f"input={case.input}: {tree.name} has no PL011, which would receive it")
    if case.ram and case.ram << 20 > tree.ram[1]:
        raise InvalidCase(f"ram={case.ram}: {tree.name} has {tree.ram[1] >> 20} MiB")
    if cpus > CONTROLLERS[name].cpus_max:
        raise InvalidCase(f"{tree.name}: {cpus} CPUs: a {name} has room for {CONTROLLERS[name].cpus_max}")


def controller_of(case: Case) -> str:
    """Return the name of the interrupt controller."""
    return case.gic or _DEFAULT_GIC


def ram_of(case: Case, cpus: int) -> int:
    """Return the size of memory in bytes, for so many CPUs."""
    mib = case.ram or _RAM + _RAM_CPU * max(cpus - _RAM_CPUS, 0)
    return (mib + _ALIGN - 1) // _ALIGN * _ALIGN << 20


def scheduler_of(case: Case) -> str:
    """Return the scheduler: the earliest CPU first, unless the case has another one."""
    return _DEFAULT_SCHEDULER if case.scheduler == default_of("scheduler") else case.scheduler


def instructions_of(case: Case) -> int:
    """Return the bound of instructions."""
    is_default = case.instructions_max == default_of("instructions_max")
    return INSTRUCTIONS_MAX if is_default else case.instructions_max
