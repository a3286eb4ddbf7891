"""Firmware's description of the CPUs in one case; :mod:`.firmware_tables` writes it for a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from emu.case import Case
from emu.cpu.cores import CORES, DEFAULT
from emu.errors import InvalidCase
from emu.host.enable_method import METHOD_KINDS
from emu.registry import not_one_of
from emu.topology import CONDUITS, FIRMWARES, Cpu, Topology

_SOMEWHERE = 8  # placeholder of a release address: place_mailboxes() chooses the real one


def resolve_defaults(case: Case, topology: Topology) -> Topology:
    """Return ``topology`` with the case's and the default enable-method, conduit and numbers filled in.

    The case's enable-method applies to all CPUs, except a boot CPU whose own method in the topology differs
    from every secondary's. Without a method in the case: when the topology gives no secondary a method, all
    CPUs get psci; otherwise a CPU without a method stays without one.

    :raises InvalidCase: an unknown choice, or one that this kind of firmware cannot describe
    """
    for what, value, allowed in (
        ("firmware", case.firmware, FIRMWARES),
        ("conduit", case.conduit, CONDUITS),
        ("enable-method", case.enable_method, METHOD_KINDS),
        ("cpu", case.cpu, CORES),
    ):
        if value and value not in allowed:
            count = f"; did you mean --cpus {value}?" if what == "cpu" and value.isdecimal() else ""
            raise InvalidCase(f"{what}={value}: {not_one_of(value, allowed)}{count}")
    firmware = _firmware(case, topology)
    described = [name for name, kind in METHOD_KINDS.items() if firmware in kind.firmwares]
    if case.enable_method and case.enable_method not in described:
        listed = " or ".join(described)
        raise InvalidCase(f"enable-method={case.enable_method}: firmware={firmware} describes {listed}")
    boot = topology.boot
    theirs = {cpu.enable_method for cpu in topology.cpus if cpu is not boot}
    method = case.enable_method or ("" if any(theirs) else "psci")
    if firmware == "acpi" and "psci" in theirs:
        method = "psci"  # the FADT declares PSCI for the whole machine, and the kernel checks it first
    own = bool(boot.enable_method) and boot.enable_method not in theirs and len(topology.cpus) > 1

    def resolved(index: int, cpu: Cpu) -> Cpu:
        changes: dict[str, object] = {}
        if method and not (cpu is boot and own):
            changes = {"enable_method": method, "release_addr": 0, "parking_version": 0}
            kind = METHOD_KINDS[method]
            if kind.release_addr:
                changes |= {"release_addr": _SOMEWHERE, "parking_version": kind.parking_version}
        elif firmware == "acpi" and cpu.enable_method not in described:
            changes = {"enable_method": ""}  # no ACPI table can describe it
        elif cpu is boot and cpu.enable_method == "spin-table":
            changes = {"release_addr": _SOMEWHERE}
        if firmware == "devicetree" and not cpu.enabled:
            changes["enabled"] = True  # a device tree has no other CPUs
        if case.cpu and cpu.midr == DEFAULT.midr:
            changes["midr"] = CORES[case.cpu].midr
        if cpu.uid < 0:
            changes["uid"] = index
        if cpu.interface < 0:
            changes["interface"] = index
        return replace(cpu, **changes)  # type: ignore[arg-type]

    return replace(
        topology,
        cpus=tuple(resolved(index, cpu) for index, cpu in enumerate(topology.cpus)),
        boot_cpu=resolved(0, boot) if isinstance(topology.boot_cpu, Cpu) else topology.boot_cpu,
        conduit=case.conduit or topology.conduit or "smc",
        firmware=firmware,
    )


def _firmware(case: Case, topology: Topology) -> str:
    if case.firmware:
        return case.firmware
    words = case.append.split()
    if "acpi=off" in words:
        return "devicetree"
    if {"acpi=on", "acpi=force"} & set(words):
        return "acpi"
    describing = METHOD_KINDS[case.enable_method].firmwares if case.enable_method else FIRMWARES
    return describing[0] if len(describing) == 1 else topology.firmware


def place_mailboxes(topology: Topology, release_pa: Mapping[int, int]) -> Topology:
    """Return ``topology`` with the release addresses of ``release_pa`` in place of firmware's.

    MODEL: this machine has no memory at firmware's own addresses.

    :param release_pa: PA by hwid; an entry whose hwid is not in it keeps its address
    """

    def placed(cpu: Cpu) -> Cpu:
        if not cpu.release_addr or cpu.hwid not in release_pa:
            return cpu
        return replace(cpu, release_addr=release_pa[cpu.hwid])

    return replace(topology, cpus=tuple(placed(cpu) for cpu in topology.cpus))
