"""Topologies: the CPUs that exist, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emu.arch import sysreg
from emu.arch.boot import NR_CPUS_MAX
from emu.arch.mpidr import RES1, affinity, check_hwid
from emu.errors import InvalidCase

MIDR_CORTEX_A72 = 0x410F_D083


@dataclass(frozen=True, slots=True)
class Cpu:
    """One CPU: its hwid (u64), MIDR_EL1 (u32), ID registers that differ, and its thread in its core (0:
    first).
    """

    hwid: int
    midr: int = MIDR_CORTEX_A72
    id_registers: Mapping[sysreg.Encoding, int] = field(default_factory=dict)
    thread: int = 0
    enable_method: str = ""  # of the boot CPU, where it is not that of the secondaries

    @property
    def mpidr(self) -> int:
        """MPIDR_EL1 (u64): the hwid with RES1 (bit 31)."""
        return self.hwid | RES1


@dataclass(frozen=True, slots=True)
class Topology:
    """The CPUs in the order that firmware lists them, and which of them boots."""

    name: str
    cpus: tuple[Cpu, ...]
    boot_cpu: int = 0  # index into cpus; the kernel's logical CPU 0

    def __post_init__(self) -> None:
        seen: dict[int, int] = {}
        if not self.cpus:
            raise InvalidCase(f"topology {self.name}: no CPUs; a machine has at least one")
        if not 0 <= self.boot_cpu < len(self.cpus):
            raise InvalidCase(
                f"boot_cpu={self.boot_cpu}: topology {self.name} has CPUs 0..{len(self.cpus) - 1}"
            )
        for index, cpu in enumerate(self.cpus):
            check_hwid(cpu.hwid, f"topology {self.name}: hwids[{index}]")
            if cpu.hwid in seen:
                raise InvalidCase(
                    f"topology {self.name}: hwids[{index}]={cpu.hwid:#x}: duplicates hwids[{seen[cpu.hwid]}]"
                )
            seen[cpu.hwid] = index

    @property
    def logical(self) -> tuple[Cpu, ...]:
        """The CPUs by logical number: the boot CPU first, then the others in firmware's order."""
        others = (cpu for index, cpu in enumerate(self.cpus) if index != self.boot_cpu)
        return (self.cpus[self.boot_cpu], *others)


def check_count(cpus: int, where: str) -> int:
    """Return ``cpus`` when a kernel can be built for as many.

    :raises InvalidCase: it is not 1..4096
    """
    if not 1 <= cpus <= NR_CPUS_MAX:
        raise InvalidCase(f"{where}={cpus}: NR_CPUS is 1..{NR_CPUS_MAX} on arm64")
    return cpus


def flat(cpus: int, boot_cpu: int = 0) -> Topology:
    """Return ``cpus`` CPUs, sixteen to an Aff1 as a GICv3 machine numbers them."""
    check_count(cpus, "cpus")
    return Topology(
        f"flat:{cpus}",
        tuple(Cpu(affinity(0, i >> 12, i >> 4 & 0xFF, i & 0xF)) for i in range(cpus)),
        boot_cpu,
    )


def read_topology(path: Path, boot_cpu: int | None = None) -> Topology:
    """Read the JSON form: ``{"boot_cpu": 0, "cpus": [{"hwid": "0x100"}, ...]}``.

    Numbers are JSON integers or strings such as ``"0x80000000"``; ``midr`` and ``id_registers`` (name to
    value) are optional.

    :raises InvalidCase: no such file, not JSON, or a value that breaks a rule
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidCase(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidCase(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("cpus"), list):
        raise InvalidCase(f'{path}: a topology is {{"cpus": [{{"hwid": ...}}, ...]}}')
    unknown = sorted(set(data) - {"boot_cpu", "cpus"})
    if unknown:
        raise InvalidCase(f"{path}: {unknown[0]}: a topology has boot_cpu and cpus")
    cpus = []
    for index, entry in enumerate(data["cpus"]):
        where = f"{path}: cpus[{index}]"
        if not isinstance(entry, dict) or "hwid" not in entry:
            raise InvalidCase(f"{where}: a CPU is an object with a hwid")
        unknown = sorted(set(entry) - {"hwid", "midr", "id_registers", "thread", "enable_method"})
        if unknown:
            raise InvalidCase(
                f"{where}.{unknown[0]}: a CPU has hwid, midr, id_registers, thread, enable_method"
            )
        midr = _number(entry.get("midr", MIDR_CORTEX_A72), f"{where}.midr")
        if midr >> 32:
            raise InvalidCase(f"{where}.midr={midr:#x}: MIDR_EL1 has 32 bits")
        registers = entry.get("id_registers", {})
        if not isinstance(registers, dict):
            raise InvalidCase(f"{where}.id_registers: an object of register name to value")
        overrides = {
            _id_register(name, where): _number(value, f"{where}.{name}") for name, value in registers.items()
        }
        thread = _number(entry.get("thread", 0), f"{where}.thread")
        method = entry.get("enable_method", "")
        if method not in ("", "psci", "spin-table"):
            raise InvalidCase(f"{where}.enable_method={method!r}: psci or spin-table")
        cpus.append(Cpu(_number(entry["hwid"], f"{where}.hwid"), midr, overrides, thread, method))
    check_count(len(cpus), f"{path}: cpus")
    boots = boot_cpu if boot_cpu is not None else _number(data.get("boot_cpu", 0), f"{path}: boot_cpu")
    return Topology(str(path), tuple(cpus), boots)


def _number(value: object, where: str) -> int:
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**64:
        raise InvalidCase(f"{where}={value!r}: an integer of at most 64 bits")
    return number


def _id_register(name: str, where: str) -> sysreg.Encoding:
    for encoding, known in sysreg.NAMES.items():
        if known == name and known.startswith("ID_"):
            return encoding
    raise InvalidCase(f"{where}: {name}: not an ID register that can be overridden")
