"""A ``.S`` that brings its CPUs' programs: no kernel, no host side, no task that plays the boot CPU.

Memory from DRAM_BASE as for a fragment: the text at IMAGE_PA, page tables behind it, stacks. A PE begins at
the label that the header names, with X0 = its logical number and SP = the top of 16 KiB of its own, at the
entry EL. Others are off until firmware switches them on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

from emu.arch import descriptors, sysreg
from emu.arch.boot import DRAM_BASE, IMAGE_PA, THREAD_SIZE, VA_OFFSET
from emu.arch.mpidr import INVALID_HWID
from emu.case import Case
from emu.cpu.cores import Core
from emu.designs import Design
from emu.errors import InvalidCase, Untestable
from emu.host.choices import BootConfig
from emu.host.data import HostData
from emu.host.guest import Guest, IdleTask
from emu.host.logical_map import LogicalMap
from emu.host.own_firmware import OwnFirmware, load_function, read_text
from emu.host.program_header import ProgramHeader
from emu.host.smp_init_cpus import count_cores
from emu.machine import Machine
from emu.machine.actor import State
from emu.memory import Memory
from emu.operation import Kind
from emu.subject import Subject
from emu.subject.fragment import load_file
from emu.topology import check_count

_TABLES_PA = IMAGE_PA + 0x20_0000
_DATA_PA = _TABLES_PA + 0x10_0000
_STACKS_PA = DRAM_BASE + 0x100_0000
_M, _C, _I = 1 << 0, 1 << 2, 1 << 12  # SCTLR_EL1
_SCTLR = 0x30D0_0800 | _M | _C | _I  # with what is RES1 in Armv8.0
# T0SZ and T1SZ: 48 bits; walks of TTBR0 Normal Write-Back, Inner Shareable; TG1: 4K; IPS: 48 bits
_TCR = 16 | 16 << 16 | 1 << 8 | 1 << 10 | 3 << 12 | 2 << 30 | 5 << 32
_MAIR = 0xFF  # attribute 0: Normal Write-Back
DESIGN = Design(
    name="program",
    fragments=(),
    lookup_table=None,
    lookup_table_unused=INVALID_HWID,
    table_skips_boot_cpu=False,
    table_clean_to_poc=False,
    data_symbol="",
    data_per_cpu=False,
    context_id_pointer=False,
    early_status="global",
    parallel=True,
    decodes_failures=False,
    base="6.12",
)
# Fields of a case that say something to a host side, which is not there.
_OF_HOST = (
    "bringup",
    "enable_method",
    "base",
    "fault",
    "append",
    "cycle",
    "hotplug",
    "kexec",
    "design",
    "primary_max",
    "system_map",
)


def check_case(case: Case) -> None:
    """Check that a case asks for nothing of a host side.

    :raises InvalidCase: it does
    """
    defaults = {field.name: field.default for field in fields(Case)}
    for name in _OF_HOST:
        if getattr(case, name) != defaults[name]:
            raise InvalidCase(
                f"{name.replace('_', '-')}={getattr(case, name)}: {case.subject} brings its own programs, "
                "and no kernel; leave it out"
            )


@dataclass(frozen=True, slots=True)
class LoadedProgram:
    """The text, assembled (:class:`emu.host.platform.LoadedSubject`)."""

    has_kernel: ClassVar[bool] = False
    config: BootConfig
    subject: Subject
    logical: LogicalMap
    header: ProgramHeader

    @property
    def memory_size(self) -> int:
        """Bytes of DRAM that it needs."""
        end = _STACKS_PA + THREAD_SIZE * len(self.logical.cpus)
        return (end - DRAM_BASE + descriptors.BLOCK_2M - 1) & -descriptors.BLOCK_2M

    def id_registers(self, core: Core) -> Mapping[sysreg.Encoding, int]:
        """As the core has them."""
        return {}

    def place(self, machine: Machine, *, counted: bool = False) -> Guest:
        """Set firmware up, and let each CPU with a label begin there."""
        memory, count = machine.memory, len(self.logical.cpus)
        memory.write_bytes(_DATA_PA, bytes(HostData.size(count)))
        stacks = [_STACKS_PA + THREAD_SIZE * cpu + VA_OFFSET for cpu in range(count)]
        guest = Guest(
            subject=self.subject,
            design=DESIGN,
            logical=self.logical,
            idle=[IdleTask(low, low, low + THREAD_SIZE, 0) for low in stacks],
            pa_of=lambda va: (va - VA_OFFSET) & (2**64 - 1),
            data=HostData(_DATA_PA),
            tsk_ti_cpu=0,
            page_size=4096,
        )
        self._set_firmware(machine)
        if self.header.mmu:
            _map_everything(memory)
        return guest

    def begin(self, machine: Machine) -> None:
        """Switch the CPUs on that begin by themselves."""
        for cpu, found in enumerate(self.logical.cpus):
            label = self.header.label_of(cpu, self.logical.hwids[cpu]) if found else None
            if label is None:
                continue
            machine.power_on(cpu, self._pa(label), cpu)
            pe = machine.actors[cpu].pe
            pe.x[31] = _STACKS_PA + THREAD_SIZE * (cpu + 1)
            if self.header.mmu:
                for register, value in (
                    (sysreg.TCR_EL1, _TCR),
                    (sysreg.MAIR_EL1, _MAIR),
                    (sysreg.TTBR0_EL1, _TABLES_PA),
                    (sysreg.SCTLR_EL1, _SCTLR),
                ):
                    pe.set_system_register(register, value)
                machine.recorder.event(Kind.MMU, cpu, 0, _SCTLR)
        machine.spins.are_livelocks = True
        assert any(actor.state is not State.OFF for actor in machine.actors), "a header has a start"

    def _pa(self, label: str) -> int:
        pa = self.subject.symbols.address(label)
        if pa is None:
            where = next((where for where, _, name in self.header.starts if name == label), "")
            raise InvalidCase(f"{where or self.header.firmware_where}: {label}: no such label")
        return (pa - VA_OFFSET) & (2**64 - 1)

    def _set_firmware(self, machine: Machine) -> None:
        header, power = self.header, machine.power
        if header.firmware == "psci":
            return
        conduit, power.firmware = power.conduit, None
        if header.firmware.startswith("at "):
            power.handler = conduit, self._pa(header.firmware.removeprefix("at ").strip())
        elif header.firmware != "none":
            path = Path(self.config.case.subject)
            function = load_function(header.firmware, header.firmware_where, path)
            power.firmware = OwnFirmware(function, conduit, self.logical.hwids, header.firmware)


def load_program(config: BootConfig, header: ProgramHeader) -> LoadedProgram:
    """Return the programs of a case, assembled.

    :raises AssemblyError: the text does not assemble
    :raises InvalidCase: the case asks for a host side, or a CPU that is not there
    :raises Untestable: it is too large
    """
    case = config.case
    check_case(case)
    if header.mmu and case.el != 1:
        raise InvalidCase(f"el={case.el}: mmu: on is at EL1; switch the MMU on yourself")
    nr_cpus = case.nr_cpus or check_count(count_cores(config.topology), "cpus")
    logical = config.logical(nr_cpus)
    path = Path(case.subject)
    subject = _with_firmware(load_file(path, nr_cpus=nr_cpus), header, path)
    if (end := max(segment.pa + segment.size for segment in subject.segments)) > _TABLES_PA:
        raise Untestable(f"{case.subject}: from {IMAGE_PA:#x} to {end:#x}: must end before {_TABLES_PA:#x}")
    count = len(logical.cpus)
    for where, cpus, _ in header.starts:
        if cpus.who == "cpu" and (cpus.number >= count or logical.cpus[cpus.number] is None):
            raise InvalidCase(f"{where}: start: cpu{cpus.number}: there are CPU0 to CPU{count - 1}")
        if cpus.who == "hwid" and cpus.number not in logical.hwids:
            raise InvalidCase(f"{where}: start: hwid({cpus.number:#x}): no CPU has it")
    return LoadedProgram(config, subject, logical, header)


def _with_firmware(subject: Subject, header: ProgramHeader, path: Path) -> Subject:
    # The Python file that answers SMC is a part of the program, as a file that it includes is.
    if not header.firmware.endswith(".py"):
        return subject
    text = read_text(path.parent / header.firmware, header.firmware_where)
    identity = hashlib.sha256(f"{subject.identity}\0{text}".encode()).hexdigest()[:16]
    return replace(subject, identity=identity)


def _map_everything(memory: Memory) -> None:
    # All of DRAM to itself, Normal Write-Back.
    tables = iter(range(_TABLES_PA + 0x1000, _DATA_PA, 0x1000))
    descriptors.map_blocks(
        lambda pa: memory.read(pa, 8),
        lambda pa, value: memory.write(pa, 8, value),
        lambda: next(tables),
        _TABLES_PA,
        memory.base,
        memory.base,
        memory.size,
        0,
    )
