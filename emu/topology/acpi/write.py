"""A topology as ACPI tables. Entries that break the kernel's rules (duplicates, reserved bits) are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.acpi import dsdt, fadt, madt, pptt
from emu.topology.acpi.devices import GTDT, SPCR, AcpiDevices, write_gtdt, write_spcr
from emu.topology.acpi.madt import ENABLED, ONLINE_CAPABLE, Gicc
from emu.topology.acpi.pptt import CpuPosition
from emu.topology.acpi.rsdp import RSDP_SIZE, write_rsdp, write_xsdt

_METHODS = ("", "psci", "parking-protocol")  # what FADT and MADT can say
_ALIGN = 64  # of each table; ACPI asks for 16 of the RSDP and nothing of the others


@dataclass(frozen=True, slots=True)
class AcpiTables:
    """Tables that refer to each other by PA.

    :ivar data: to be placed at ``base_pa``
    :ivar base_pa: PA of the first byte
    :ivar rsdp_pa: PA of the RSDP, for EFI's configuration table
    :ivar tables: each table by its signature, without the RSDP
    """

    data: bytes
    base_pa: int
    rsdp_pa: int
    tables: Mapping[str, bytes]


def write_acpi(
    topology: Topology, base_pa: int, *, gicc_size: int = 80, devices: AcpiDevices | None = None
) -> AcpiTables:
    """Return RSDP, XSDT, FADT, MADT, DSDT, PPTT when the topology tells cores apart, GTDT and SPCR.

    The CPUs are in the order of ``topology.cpus``; a boot CPU that is not among them is not listed. The FADT
    declares PSCI for the whole machine: when a CPU has psci, or when no CPU has a method but there is a
    conduit. While it boots, a kernel maps at most 256 KiB and a page of a table (NR_FIX_BTMAPS): for a MADT
    with more than about 3,270 GICCs it warns, and finds no CPUs.

    :param base_pa: u64, 64-byte aligned
    :param gicc_size: bytes of a GICC: 80, or 76 as in ACPI 5.1
    :param devices: those of the board; None: no GTDT, no SPCR, and a GICv3 that nothing answers for
    :raises InvalidCase: a value that no table can hold
    """
    if not 0 <= base_pa < 1 << 52 or base_pa % _ALIGN:
        raise InvalidCase(f"base_pa={base_pa:#x}: must be a 52-bit PA, {_ALIGN}-byte aligned")
    for index, cpu in enumerate(topology.cpus):
        _check(cpu, f"topology {topology.name}: cpus[{index}]")
    methods = {cpu.enable_method for cpu in topology.cpus}
    if {"psci", "parking-protocol"} <= methods:
        raise InvalidCase(
            f"topology {topology.name}: enable_method=psci, parking-protocol: a FADT has PSCI for all or none"
        )
    psci = "psci" in methods or (methods == {""} and bool(topology.conduit))
    place = _Placer(base_pa)
    place.skip(RSDP_SIZE)
    cpus = [(_uid(cpu, index), _status(cpu)) for index, cpu in enumerate(topology.cpus)]
    dsdt_pa = place.add(dsdt.SIGNATURE, dsdt.write_dsdt(cpus, devices.uart if devices else None))
    hvc = topology.conduit == "hvc"
    listed = [place.add(fadt.SIGNATURE, fadt.write_fadt(psci=psci, hvc=hvc, dsdt_pa=dsdt_pa))]
    giccs = [_gicc(cpu, index) for index, cpu in enumerate(topology.cpus)]
    listed.append(place.add(madt.SIGNATURE, madt.write_madt(giccs, gicc_size, devices)))
    if topology.describes_cores:
        listed.append(place.add(pptt.SIGNATURE, pptt.write_pptt(_places(topology))))
    if devices:
        listed.append(place.add(GTDT, write_gtdt(devices.timers)))
        listed.append(place.add(SPCR, write_spcr(devices.uart)))
    xsdt_pa = place.add("XSDT", write_xsdt(listed))
    return AcpiTables(place.data(write_rsdp(xsdt_pa)), base_pa, base_pa, place.tables)


class _Placer:
    # Tables one after another, after the RSDP.
    def __init__(self, base_pa: int) -> None:
        self.tables: dict[str, bytes] = {}
        self._base, self._data = base_pa, bytearray()

    def skip(self, size: int) -> None:
        self._data += bytes(size + -size % _ALIGN)

    def add(self, signature: str, table: bytes) -> int:
        pa = self._base + len(self._data)
        self.tables[signature] = table
        self._data += table + bytes(-len(table) % _ALIGN)
        return pa

    def data(self, rsdp: bytes) -> bytes:
        self._data[: len(rsdp)] = rsdp
        return bytes(self._data)


def _check(cpu: Cpu, where: str) -> None:
    if cpu.enable_method not in _METHODS:
        raise InvalidCase(f"{where} enable_method={cpu.enable_method!r}: ACPI has psci and parking-protocol")
    for name, value, bits in (
        ("uid", cpu.uid, 32),
        ("interface", cpu.interface, 32),
        ("parking_version", cpu.parking_version, 32),
        ("release_addr", cpu.release_addr, 64),
    ):
        # -1 of uid and interface means the index in the list.
        if not (-1 if name in ("uid", "interface") else 0) <= value < 1 << bits:
            raise InvalidCase(f"{where} {name}={value:#x}: a GICC has {bits} bits for it")


def _uid(cpu: Cpu, index: int) -> int:
    return index if cpu.uid < 0 else cpu.uid


def _status(cpu: Cpu) -> int | None:
    # ACPI 6.5, 6.3.7: a device without _STA is present and working.
    if cpu.enabled:
        return None
    return dsdt.STA_PRESENT_NOT_ENABLED if cpu.online_capable else 0


def _gicc(cpu: Cpu, index: int) -> Gicc:
    return Gicc(
        interface=index if cpu.interface < 0 else cpu.interface,
        uid=_uid(cpu, index),
        flags=ENABLED * cpu.enabled | ONLINE_CAPABLE * cpu.online_capable,
        parking_version=cpu.parking_version,
        parked_address=cpu.release_addr,
        mpidr=cpu.hwid,
    )


def _places(topology: Topology) -> dict[int, CpuPosition]:
    # A UID that two CPUs share gets one leaf, of the first CPU: the kernel uses the first leaf it finds.
    found: dict[int, CpuPosition] = {}
    for index, cpu in enumerate(topology.cpus):
        if cpu.core >= 0:
            found.setdefault(_uid(cpu, index), CpuPosition(cpu.socket, cpu.cluster, cpu.core, cpu.thread))
    return found
