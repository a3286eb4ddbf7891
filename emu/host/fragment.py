"""Our own fragments in memory: page tables, tasks, stacks, and a boot CPU that has done the same set-up.

Memory from DRAM_BASE: the image at IMAGE_PA, then page tables, the host's data, task_structs, stacks. All of
it is mapped twice: PA to PA by idmap_pg_dir, and at PA + VA_OFFSET by swapper_pg_dir.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from emu.arch import descriptors, sysreg
from emu.arch.boot import (
    DRAM_BASE,
    IMAGE_PA,
    TASK_STRUCT_SIZE,
    THREAD_SIZE,
    TSK_STACK,
    TSK_TI_CPU,
    VA_OFFSET,
)
from emu.arch.sysreg import ID_AA64MMFR2_EL1, MMFR2_VARANGE
from emu.case import Case
from emu.cpu.cores import Core
from emu.designs import Design, get
from emu.errors import Untestable
from emu.host.boot_cpu import BootCpu
from emu.host.choices import BootConfig
from emu.host.data import HostData
from emu.host.guest import Guest, IdleTask
from emu.host.logical_map import LogicalMap
from emu.host.smp_init_cpus import count_cores
from emu.machine import Machine
from emu.memory import Memory
from emu.subject import Subject
from emu.subject.fragment import is_source, load_file
from emu.topology import check_count

DEFAULT_HOST_SIDE = "v3"
NEEDED_SYMBOLS = (
    "__boot_cpu_mode",
    "__cpu_setup",
    "__enable_mmu",
    "__per_cpu_offset",
    "idmap_pg_dir",
    "init_kernel_el",
    "secondary_entry",
    "secondary_start_kernel",
    "swapper_pg_dir",
    "vabits_actual",
    "vectors",
)
_TABLES_PA = IMAGE_PA + 0x20_0000  # page tables below the roots
_DATA_PA = _TABLES_PA + 0x10_0000
_TASKS_PA = _TABLES_PA + 0x20_0000
_STACKS_PA = DRAM_BASE + 0x100_0000
_PER_CPU_BASE = 0xFFFF_0000_4000_0000  # __per_cpu_offset[0]; only told apart, never dereferenced
_PER_CPU_STRIDE = 0x1_0000
_MT_NORMAL = 0


@dataclass(frozen=True, slots=True)
class LoadedFragment:
    """A design, a .S or a .o file, assembled (:class:`emu.host.platform.Loaded`)."""

    has_kernel: ClassVar[bool] = True
    config: BootConfig
    subject: Subject
    logical: LogicalMap
    design: Design

    @property
    def memory_size(self) -> int:
        """Bytes of DRAM that it needs."""
        end = _STACKS_PA + THREAD_SIZE * len(self.logical.cpus)
        return (end - DRAM_BASE + descriptors.BLOCK_2M - 1) & -descriptors.BLOCK_2M

    def id_registers(self, core: Core) -> Mapping[sysreg.Encoding, int]:
        """MODEL: every CPU says it has 52-bit VAs so that the check of them runs; the tables stay 48-bit."""
        own = core.id_register_or_default(ID_AA64MMFR2_EL1)
        return {ID_AA64MMFR2_EL1: sysreg.set_field(own, MMFR2_VARANGE, 1)}

    def place(self, machine: Machine, *, counted: bool = False) -> Guest:
        """Make page tables, tasks and the host's data; take CPU 0 through the set-up code."""
        memory, subject, cpus = machine.memory, self.subject, len(self.logical.cpus)
        memory.write_bytes(_DATA_PA, bytes(HostData.size(cpus)))
        _map_everything(memory, subject)
        idle = _make_tasks(memory, subject, cpus)
        return Guest(
            subject=subject,
            design=self.design,
            logical=self.logical,
            idle=idle,
            pa_of=_pa_of,
            data=HostData(_DATA_PA),
            tsk_ti_cpu=TSK_TI_CPU,
            page_size=4096,
            scanned_table=self.design.lookup_table,
            boot_cpu_ready=_start_boot_cpu(machine, subject),
        )


def load_fragment(config: BootConfig) -> LoadedFragment:
    """Return the design, the .S or the .o file of the case, assembled.

    :raises AssemblyError: the text does not assemble
    :raises Untestable: it lacks a symbol that the boot path needs
    """
    case = config.case
    nr_cpus = case.nr_cpus or check_count(count_cores(config.topology), "cpus")
    logical = config.logical(nr_cpus)
    cpus = logical.cpus
    design, subject = _load(case, nr_cpus)
    if design.context_id_pointer and any(cpu and cpu.enable_method != "psci" for cpu in cpus[1:]):
        # No context ID arrives, so the secondary falls back to the global data.
        design = replace(
            design, context_id_pointer=False, data_symbol="secondary_data", data_per_cpu=False, parallel=False
        )
    return LoadedFragment(config, subject, logical, design)


def _load(case: Case, nr_cpus: int) -> tuple[Design, Subject]:
    if not is_source(case.subject):
        design = get(case.subject)
        return design, design.load(nr_cpus)
    design = get(case.design or DEFAULT_HOST_SIDE)
    subject = load_file(Path(case.subject), nr_cpus=nr_cpus)
    if (end := max(segment.pa + segment.size for segment in subject.segments)) > _TABLES_PA:
        room = f"from {IMAGE_PA:#x} to {end:#x}: must end before the page tables at {_TABLES_PA:#x}"
        raise Untestable(f"{case.subject}: {room}")
    needed = {*NEEDED_SYMBOLS, design.data_symbol, design.lookup_table or design.data_symbol}
    for symbol in sorted(needed):
        if subject.symbols.address(symbol) is None:
            raise Untestable(
                f"{case.subject}: no symbol {symbol}; the boot path with the tables of {design.name} needs it"
            )
    return design, subject


def _pa_of(va: int) -> int:
    return (va - VA_OFFSET) & (2**64 - 1)


def _map_everything(memory: Memory, subject: Subject) -> None:
    next_table = _TABLES_PA

    def allocate() -> int:
        nonlocal next_table
        next_table += 0x1000
        assert next_table <= _DATA_PA, "page tables reach the host's data"
        memory.write_bytes(next_table - 0x1000, bytes(0x1000))
        return next_table - 0x1000

    for root, va in (("idmap_pg_dir", memory.base), ("swapper_pg_dir", memory.base + VA_OFFSET)):
        descriptors.map_blocks(
            lambda pa: memory.read(pa, 8),
            lambda pa, value: memory.write(pa, 8, value),
            allocate,
            subject.pa(root),
            va & (1 << 48) - 1,
            memory.base,
            memory.size,
            _MT_NORMAL,
        )


def _make_tasks(memory: Memory, subject: Subject, cpus: int) -> list[IdleTask]:
    idle = []
    per_cpu_pa = subject.pa("__per_cpu_offset")
    for cpu in range(cpus):
        task_pa = _TASKS_PA + TASK_STRUCT_SIZE * cpu
        stack_va = _STACKS_PA + THREAD_SIZE * cpu + VA_OFFSET
        offset = _PER_CPU_BASE + _PER_CPU_STRIDE * cpu
        memory.write(task_pa + TSK_TI_CPU, 4, cpu)
        memory.write(task_pa + TSK_STACK, 8, stack_va)
        memory.write(per_cpu_pa + 8 * cpu, 8, offset)
        idle.append(IdleTask(task_pa + VA_OFFSET, stack_va, stack_va + THREAD_SIZE, offset))
    return idle


def _start_boot_cpu(machine: Machine, subject: Subject) -> bool:
    # CPU 0 goes through the same set-up code: that is what the secondaries are compared with. Tell whether it
    # comes out of that.
    pe, memory = machine.actors[0].pe, machine.memory
    mode = BootCpu(machine, subject).set_up()
    if mode is None:
        return False
    word = 4 if mode & 0xF == 2 else 0  # set_cpu_boot_mode_flag: [1] holds an EL2 boot, [0] an EL1 boot
    memory.write(subject.pa("__boot_cpu_mode") + word, 4, mode)
    memory.write(
        subject.pa("vabits_actual"), 8, 52 if pe.overrides.get(ID_AA64MMFR2_EL1, 0) >> 16 & 0xF else 48
    )
    idle_pa = _TASKS_PA
    pe.x[31] = memory.read(idle_pa + TSK_STACK, 8) + THREAD_SIZE
    pe.reset_counters()
    return True
