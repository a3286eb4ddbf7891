"""Topologies: firmware's description of a machine's CPUs, as data.

A topology may break firmware's rules (a duplicate, reserved bits, no boot CPU): how the kernel treats that is
in :mod:`emu.host.smp_init_cpus`. Only values that no firmware table can hold are refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emu.arch import sysreg
from emu.arch.boot import NR_CPUS_MAX
from emu.arch.mpidr import MPIDR_HWID_BITMASK, MT, RES1, U
from emu.errors import InvalidCase
from emu.registry import not_one_of

MIDR_CORTEX_A72 = 0x410F_D083
CONDUITS = ("smc", "hvc")
FIRMWARES = ("devicetree", "acpi")


@dataclass(frozen=True, slots=True)
class Cpu:
    """One entry of firmware's list of CPUs, and its PE.

    :ivar hwid: u64 as listed (``reg`` of the DT node, MPIDR of the GICC); the PE has it without reserved bits
    :ivar midr: MIDR_EL1, u32
    :ivar id_registers: ID registers (u64 by encoding) whose value on the PE is not the default
    :ivar mt: MPIDR_EL1.MT (bit 24) of the PE
    :ivar u: MPIDR_EL1.U (bit 30) of the PE
    :ivar enabled: present at boot (GICC flags bit 0; always set in a device tree)
    :ivar online_capable: may be hot-added (GICC flags bit 3)
    :ivar enable_method: firmware's word for it; "": firmware gives none
    :ivar release_addr: PA of ``cpu-release-addr``, or of the parking protocol's mailbox; 0: firmware gives
        none
    :ivar parking_version: of the GICC; 0: no parking protocol
    :ivar uid: ACPI Processor UID, u32; -1: its index in the list
    :ivar interface: GICC CPU interface number, u32; -1: its index in the list
    :ivar socket: number in cpu-map or PPTT, from 0, like the next three
    :ivar cluster: within the socket
    :ivar core: within the cluster; -1: firmware does not describe which CPUs share a core
    :ivar thread: within the core; 0 is the primary thread
    :ivar node: name of the device-tree node, ``cpu@...``; "": derived from the hwid
    """

    hwid: int
    midr: int = MIDR_CORTEX_A72
    id_registers: Mapping[sysreg.Encoding, int] = field(default_factory=dict)
    mt: bool = False
    u: bool = False
    enabled: bool = True
    online_capable: bool = False
    enable_method: str = ""
    release_addr: int = 0
    parking_version: int = 0
    uid: int = -1
    interface: int = -1
    socket: int = 0
    cluster: int = 0
    core: int = -1
    thread: int = 0
    node: str = ""

    @property
    def mpidr(self) -> int:
        """MPIDR_EL1 (u64) of the PE: its affinity fields, RES1 (bit 31), MT and U."""
        return self.hwid & MPIDR_HWID_BITMASK | RES1 | (MT if self.mt else 0) | (U if self.u else 0)


@dataclass(frozen=True, slots=True)
class Topology:
    """Firmware's list of CPUs, in firmware's order, and which of them boots.

    :ivar name: as given on the command line
    :ivar cpus: the entries
    :ivar boot_cpu: index into ``cpus``, or the boot CPU itself when firmware does not list it
    :ivar conduit: of PSCI, one of CONDUITS; "": firmware gives none
    :ivar firmware: kind of description, one of FIRMWARES; decides how the kernel numbers bad entries
    """

    name: str
    cpus: tuple[Cpu, ...]
    boot_cpu: int | Cpu = 0
    conduit: str = ""
    firmware: str = "devicetree"

    def __post_init__(self) -> None:
        if not self.cpus:
            raise InvalidCase(f"topology {self.name}: no CPUs; a machine has at least one")
        if isinstance(self.boot_cpu, int) and not 0 <= self.boot_cpu < len(self.cpus):
            raise InvalidCase(
                f"boot_cpu={self.boot_cpu}: topology {self.name} has CPUs 0..{len(self.cpus) - 1}"
            )
        for value, allowed, what in (
            (self.conduit, ("", *CONDUITS), "conduit"),
            (self.firmware, FIRMWARES, "firmware"),
        ):
            if value not in allowed:
                raise InvalidCase(
                    f"topology {self.name}: {what}={value!r}: {not_one_of(value, filter(None, allowed))}"
                )
        for index, cpu in enumerate(self.cpus):
            if not 0 <= cpu.hwid < 2**64:
                raise InvalidCase(f"topology {self.name}: hwids[{index}]={cpu.hwid:#x}: a hwid is a u64")

    @property
    def boot(self) -> Cpu:
        """The CPU that boots."""
        return self.boot_cpu if isinstance(self.boot_cpu, Cpu) else self.cpus[self.boot_cpu]

    @property
    def describes_cores(self) -> bool:
        """Whether firmware describes which CPUs share a core: a cpu-map, or a PPTT."""
        return any(cpu.core >= 0 for cpu in self.cpus)


def check_count(cpus: int, where: str) -> int:
    """Return ``cpus`` when a kernel can be built for as many.

    :raises InvalidCase: it is not 1..4096
    """
    if not 1 <= cpus <= NR_CPUS_MAX:
        raise InvalidCase(f"{where}={cpus}: NR_CPUS is 1..{NR_CPUS_MAX} on arm64")
    return cpus
