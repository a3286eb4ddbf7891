"""smp_init_cpus(): from what firmware lists to logical CPUs, with the kernel's messages.

Pure: what a kernel makes of a list depends on the list, NR_CPUS and nr_cpu_ids alone. Source: Linux v6.12
arch/arm64/kernel/smp.c (of_parse_and_init_cpus, acpi_map_gic_cpu_interface, smp_cpu_setup), cpu_ops.c.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from emu.arch.mpidr import INVALID_HWID, MPIDR_HWID_BITMASK
from emu.host.enable_method import METHOD_KINDS
from emu.host.logical_map import LogicalMap
from emu.topology import Cpu, Topology
from emu.topology.devicetree.names import node_names


def smp_init_cpus(
    topology: Topology,
    nr_cpus: int,
    nr_cpu_ids: int,
    refused: Collection[int] = (),
    *,
    online_capable: bool = True,
) -> LogicalMap:
    """Return what a kernel makes of ``topology``.

    :param nr_cpus: CONFIG_NR_CPUS
    :param nr_cpu_ids: at most ``nr_cpus``; less with the parameter nr_cpus=
    :param refused: logical CPUs whose cpu_init() fails for a reason of its own
    :param online_capable: a GICC that is Online-capable only counts, as in kernels with vCPU hotplug
    """
    if topology.firmware == "acpi" and not online_capable:
        topology = replace(
            topology,
            boot_cpu=topology.boot,
            cpus=tuple(replace(c, online_capable=False) for c in topology.cpus),
        )
    boot = topology.boot
    cpus: list[Cpu | None] = [boot]
    messages: list[str] = []
    walk = _walk_madt if topology.firmware == "acpi" else _walk_devicetree
    count, boot_listed = walk(topology, nr_cpus, cpus, messages)
    if count > nr_cpu_ids:
        messages.append(f"Number of cores ({count}) exceeds configured maximum of {nr_cpu_ids} - clipping")
    hwids = [cpu.hwid if cpu else INVALID_HWID for cpu in cpus]
    hwids[0] &= MPIDR_HWID_BITMASK  # read from the register, not from firmware's list
    final = list(hwids)
    possible = {0}
    if not boot_listed:
        messages.append("missing boot CPU MPIDR, not enabling secondaries")
        nr_cpu_ids = 1
    for number, cpu in enumerate(cpus[1:nr_cpu_ids], 1):
        if cpu is None:
            continue
        if number in refused or not _cpu_setup(topology, number, cpu, messages):
            final[number] = INVALID_HWID
        else:
            possible.add(number)
    return LogicalMap(
        cpus=tuple(cpus),
        hwids=tuple(hwids),
        siblings=frozenset(number for number, cpu in enumerate(cpus) if cpu and cpu.thread),
        cpu_logical_map=tuple(final),
        possible=frozenset(possible),
        count=count,
        messages=tuple(messages),
    )


def count_cores(topology: Topology) -> int:
    """Return the logical numbers that firmware's list takes: what NR_CPUS must be to lose none."""
    return smp_init_cpus(topology, 1 << 16, 1 << 16).count


def _walk_devicetree(
    topology: Topology, nr_cpus: int, cpus: list[Cpu | None], messages: list[str]
) -> tuple[int, bool]:
    # (cpu_count, whether the boot CPU is listed); a refused entry consumes its number.
    boot_hwid = topology.boot.hwid & MPIDR_HWID_BITMASK
    mapped: set[int] = set()
    count, boot_listed = 1, False
    for name, cpu in zip(node_names(topology), topology.cpus, strict=True):
        accepted: Cpu | None = None
        if cpu.hwid & ~MPIDR_HWID_BITMASK:
            pass  # without a word
        elif cpu.hwid in mapped:
            messages.append(f"/cpus/{name}: duplicate cpu reg properties in the DT")
        elif cpu.hwid == boot_hwid:
            if not boot_listed:
                boot_listed = True
                continue
            messages.append(f"/cpus/{name}: duplicate boot cpu reg property in DT")
        elif count < nr_cpus:
            accepted = replace(cpu, node=name)
            mapped.add(cpu.hwid)
        if count < nr_cpus:
            cpus.append(accepted)
        count += 1
    return count, boot_listed


def _walk_madt(
    topology: Topology, nr_cpus: int, cpus: list[Cpu | None], messages: list[str]
) -> tuple[int, bool]:
    # The same for GICC entries; a refused one takes no number, and those beyond NR_CPUS are not counted.
    boot_hwid = topology.boot.hwid & MPIDR_HWID_BITMASK
    mapped: set[int] = set()
    boot_listed = False
    for cpu in topology.cpus:
        if not (cpu.enabled or cpu.online_capable):
            continue
        if cpu.hwid & ~MPIDR_HWID_BITMASK:
            messages.append(f"skipping CPU entry with invalid MPIDR {cpu.hwid:#x}")
        elif cpu.hwid in mapped:
            messages.append(f"duplicate CPU MPIDR {cpu.hwid:#x} in MADT")
        elif cpu.hwid == boot_hwid:
            if boot_listed:
                messages.append(f"duplicate boot CPU MPIDR: {cpu.hwid:#x} in MADT")
            boot_listed = True
        elif len(cpus) < nr_cpus:
            cpus.append(cpu)
            mapped.add(cpu.hwid)
    return len(cpus), boot_listed


def _cpu_setup(topology: Topology, number: int, cpu: Cpu, messages: list[str]) -> bool:
    # smp_cpu_setup(): init_cpu_ops() and the method's cpu_init().
    method = cpu.enable_method
    kind = METHOD_KINDS.get(method)
    described = kind is not None and topology.firmware in kind.firmwares
    placed = bool(cpu.release_addr) or not (kind and kind.release_addr)
    if topology.firmware == "acpi":
        parked = bool(cpu.parking_version) or not (kind and kind.parking_version)
        if not (described and placed and parked):
            messages.append("Unsupported ACPI enable-method")
            return False
        return True
    if not method:
        messages.append(f"/cpus/{cpu.node}: missing enable-method property")
        return False
    if not described:
        messages.append(f"Unsupported enable-method: {method}")
        return False
    if not placed:
        messages.append(f"CPU {number}: missing or invalid cpu-release-addr property")
        return False
    return True
