"""Real kernels: the primary boots for real on PE 0, then the host takes over as the boot CPU.

The kernel runs from its entry through setup_arch, smp_init_cpus and setup_per_cpu_areas until
smp_prepare_boot_cpu() has returned: by then the logical map, the page tables and the per-CPU areas are the
kernel's own work. Nothing up to there needs an interrupt. The idle tasks are then made as fork_idle() would.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from emu.arch import sysreg
from emu.arch.boot import DRAM_BASE, NR_CPUS_MAX
from emu.arch.mpidr import INVALID_HWID, MPIDR_HWID_BITMASK
from emu.cpu.cores import Core
from emu.cpu.pe import PE
from emu.designs import Design
from emu.errors import Untestable
from emu.host.built import built_kernel
from emu.host.choices import BootConfig
from emu.host.data import HostData
from emu.host.faults import check_setup
from emu.host.firmware import place_mailboxes
from emu.host.firmware_tables import DTB_SIZE, TABLES_SIZE, DramLayout, hand_over
from emu.host.guest import Guest, IdleTask
from emu.host.kick import KICK
from emu.host.logical_map import LogicalMap
from emu.host.primary import boot_primary
from emu.host.smp_init_cpus import count_cores
from emu.machine import Machine
from emu.memory import Memory
from emu.subject import Subject
from emu.subject.kernel import KernelImage, KernelLayout, load_kernel

_TABLES = ("__mpidr_to_cpuid_table", "__cpu_logical_map")
_ALIGN = 2 << 20
_FREE = 192 << 20  # what the kernel has for itself besides its image
_PER_CPU = 512 << 10  # and per CPU: per-CPU area, vmemmap
BOOTARGS = "nokaslr"  # symbols are where the image has them
# What the A72 model lacks and a kernel with another granule needs; the engine translates them all
# (Arm DDI 0487, ID_AA64MMFR0_EL1: TGran16 0b0001, TGran64 0b0000 are "supported").
_GRANULE = {
    4096: (sysreg.MMFR0_TGRAN4, 0),
    16384: (sysreg.MMFR0_TGRAN16, 1),
    65536: (sysreg.MMFR0_TGRAN64, 0),
}
# DCZID_EL0.DZP: DC ZVA is prohibited, as under HCR_EL2.TDZ. The engine zeroes byte by byte, so a kernel that
# uses it spends most of its boot in memset(); told so, it stores pairs (arch/arm64/lib/memset.S).
_NO_DC_ZVA = 1 << 4 | 4


@dataclass(frozen=True, slots=True)
class LoadedKernel:
    """A kernel's image, and where things go around it (:class:`emu.host.platform.Loaded`)."""

    has_kernel: ClassVar[bool] = True
    config: BootConfig
    subject: Subject
    logical: LogicalMap
    image: KernelImage
    around: DramLayout

    @property
    def memory_size(self) -> int:
        """Bytes of DRAM that it needs."""
        return self.around.host_pa + self.around.host_size - DRAM_BASE

    def id_registers(self, core: Core) -> Mapping[sysreg.Encoding, int]:
        """What a CPU says so that this kernel boots on it. At EL2 it has a GICv3, as servers have."""
        with_gicv3 = self.config.case.el == 2
        return {sysreg.DCZID_EL0: _NO_DC_ZVA} | id_registers_for(self.image, core, gicv3=with_gicv3)

    def place(self, machine: Machine, *, counted: bool = False) -> Guest:
        """Hand over what firmware says, let CPU 0 boot the kernel, and make the idle tasks.

        :param counted: count the primary's instructions
        :raises NeedsCount: not ``counted``, and the primary takes long; the machine is not what it was
        :raises InvalidCase: a fault that cannot be one of a kernel
        :raises Untestable: the primary does not come to the take-over
        """
        memory, subject, logical, place = machine.memory, self.subject, self.logical, self.around
        check_setup(self.config.faults, subject.name)
        image, layout, cpus = self.image, self.image.layout, len(self.logical.cpus)
        stride = _stride(layout)
        data = HostData(place.host_pa)
        memory.write_bytes(place.host_pa, bytes(HostData.size(cpus)))
        release = data.mailbox if self.config.topology.firmware == "acpi" else data.release
        topology = place_mailboxes(
            self.config.topology, {hwid: release(cpu) for cpu, hwid in enumerate(logical.hwids)}
        )
        bootargs = f"{BOOTARGS} {self.config.case.append}".strip()
        hand_over(memory, topology, place, bootargs)
        boot = machine.actors[0].pe
        boot_primary(machine, boot, image, place.dtb_pa, self.config.case.primary_max, counted=counted)
        _check_logical_map(memory, subject, logical, image)
        linear = _linear_offset(machine, boot, subject, place.host_pa)
        tasks_pa = place.host_pa + place.data_size
        stacks_pa = (tasks_pa + stride * cpus + layout.thread_size - 1) & -layout.thread_size
        idle = _make_tasks(memory, subject, layout, cpus, tasks_pa, stride, stacks_pa, linear)
        image_va = subject.va("_text")
        image_end_va = subject.va_offset + image.entry_pa + image.image_size

        def pa_of(va: int) -> int:
            in_image = image_va <= va < image_end_va
            return (va - (subject.va_offset if in_image else linear)) & (2**64 - 1)

        boot.reset_counters()
        scanned_table = _scanned_table(subject)
        va_bits = 64 - (boot.sysreg(sysreg.TCR_EL1) >> 16 & 0x3F)  # T1SZ
        design = _design(image)
        built = built_kernel(
            subject.symbols,
            lambda va: memory.read(pa_of(va), 4),
            va_bits=va_bits,
            looks_up=scanned_table is not None,
            kicks=design.split,
        )
        _give_unknown_mpidrs(machine, self.config, logical)
        return Guest(
            subject=subject,
            design=design,
            logical=logical,
            idle=idle,
            pa_of=pa_of,
            data=data,
            tsk_ti_cpu=layout.task_cpu,
            page_size=image.page_size,
            scanned_table=scanned_table,
            built=built,
        )


def id_registers_for(image: KernelImage, core: Core, *, gicv3: bool) -> dict[sysreg.Encoding, int]:
    """Return the ID registers (u64) that a CPU must have otherwise than its core for this kernel to boot.

    :param gicv3: it has the system registers of a GICv3
    """
    field, supported = _GRANULE[image.page_size]
    own = core.id_register_or_default(sysreg.ID_AA64MMFR0_EL1)
    mmfr0 = sysreg.set_field(own, field, supported)
    overrides = {sysreg.ID_AA64MMFR0_EL1: mmfr0} if mmfr0 != own else {}
    if gicv3:
        pfr0 = core.id_register_or_default(sysreg.ID_AA64PFR0_EL1)
        overrides[sysreg.ID_AA64PFR0_EL1] = sysreg.set_field(pfr0, sysreg.PFR0_GIC, 1)
    return overrides


def check_firmware(config: BootConfig, image: KernelImage) -> None:
    """Check that a kernel can be told of its CPUs as the case has it.

    :raises Untestable: it cannot
    """
    if config.topology.firmware == "acpi" and image.subject.symbols.address("acpi_boot_table_init") is None:
        raise Untestable(f"{config.case.subject}: firmware=acpi: the kernel is built without CONFIG_ACPI")


def load_kernel_of(config: BootConfig) -> LoadedKernel:
    """Return the kernel of the case.

    :raises InvalidSubject: not an arm64 kernel
    :raises Untestable: a symbol is missing
    """
    case = config.case
    system_map = Path(case.system_map) if case.system_map else None
    image = load_kernel(Path(case.subject), system_map=system_map)
    check_firmware(config, image)
    logical = logical_map_of(config, image)
    around = _around(image, count_cores(config.topology))
    return LoadedKernel(config, image.subject, logical, image, around)


def logical_map_of(config: BootConfig, image: KernelImage) -> LogicalMap:
    """Return the CPUs as this kernel numbers them.

    :raises Untestable: its NR_CPUS cannot be read
    """
    return config.logical(_nr_cpus(image.subject), online_capable=_has_vcpu_hotplug(image))


def _stride(layout: KernelLayout) -> int:
    # Bytes from one task_struct of ours to the next.
    return (layout.task_size + 63) & -64


def _around(image: KernelImage, cpus: int) -> DramLayout:
    # Where the rest goes: what firmware hands over above the image, the kernel's own memory, and the host's
    # above that.
    layout = image.layout
    stride = _stride(layout)
    data_size = (HostData.size(cpus) + layout.thread_size) & -layout.thread_size
    host_size = (cpus * (stride + layout.thread_size) + data_size + 2 * _ALIGN) & -_ALIGN
    image_end = (image.entry_pa + image.image_size + _ALIGN - 1) & -_ALIGN
    tables_pa = image_end + DTB_SIZE
    host_pa = tables_pa + TABLES_SIZE + _FREE + (_PER_CPU * cpus & -_ALIGN)
    return DramLayout(image_end, tables_pa, host_pa, host_size, data_size)


def _has_vcpu_hotplug(image: KernelImage) -> bool:
    # It came to arm64 with v6.11; before, a GICC that was not Enabled did not count.
    version = re.match(r"(\d+)\.(\d+)", image.version)
    return version is not None and (int(version[1]), int(version[2])) >= (6, 11)


def _nr_cpus(subject: Subject) -> int:
    # CONFIG_NR_CPUS: what nr_cpu_ids holds before anything runs. Where that symbol is not to be had the
    # kernel is taken to be large enough; _check_logical_map() sees whether it was.
    if subject.symbols.address("nr_cpu_ids") is None:
        return NR_CPUS_MAX
    (segment,), pa = subject.segments, subject.pa("nr_cpu_ids")
    nr_cpus = int.from_bytes(segment.data[pa - segment.pa : pa - segment.pa + 4], "little")
    if not 1 <= nr_cpus <= NR_CPUS_MAX:
        raise Untestable(f"{subject.name}: nr_cpu_ids={nr_cpus:#x} in the image: 1..{NR_CPUS_MAX} on arm64")
    return nr_cpus


def _design(image: KernelImage) -> Design:
    # The kernel fills its own tables; the host must know where the data of a CPU lies.
    # A kernel with its own kick reads failures in its own code too.
    symbols = image.subject.symbols
    per_cpu = symbols.address("cpu_boot_data") is not None
    split = symbols.address(KICK) is not None
    return Design(
        name=image.version,
        fragments=(),
        lookup_table=None,
        lookup_table_unused=INVALID_HWID,
        table_skips_boot_cpu=False,
        table_clean_to_poc=False,
        data_symbol="cpu_boot_data" if per_cpu else "secondary_data",
        data_per_cpu=per_cpu,
        context_id_pointer=False,
        early_status="global",
        parallel=per_cpu,
        split=split,
        decodes_failures=not split,
        base="6.12",
    )


def _scanned_table(subject: Subject) -> str | None:
    # What a kernel with per-CPU boot data looks its CPUs up in.
    if subject.symbols.address("cpu_boot_data") is None:
        return None
    return next(name for name in _TABLES if subject.symbols.address(name) is not None)


def _check_logical_map(memory: Memory, subject: Subject, logical: LogicalMap, image: KernelImage) -> None:
    map_pa = subject.pa("__cpu_logical_map")
    for cpu, hwid in enumerate(logical.cpu_logical_map):
        found = memory.read(map_pa + 8 * cpu, 8)
        if found != hwid:
            raise Untestable(
                f"{subject.name}: __cpu_logical_map[{cpu}] is {found:#x} after smp_init_cpus(), not {hwid:#x}"
            )


def _linear_offset(machine: Machine, boot: PE, subject: Subject, host_pa: int) -> int:
    # VA minus PA of the linear map. It begins at the lowest VA of TTBR1 with the start of DRAM (aligned to
    # ARM64_MEMSTART_ALIGN, and nokaslr keeps it there); whether that holds is asked of the MMU.
    t1sz = boot.sysreg(sysreg.TCR_EL1) >> 16 & 0x3F
    linear = 2**64 - (1 << 64 - t1sz) - DRAM_BASE
    if boot.translate(host_pa + linear) != host_pa:
        raise Untestable(f"{subject.name}: the linear map does not begin at {linear + DRAM_BASE:#x}")
    return linear


def _give_unknown_mpidrs(machine: Machine, config: BootConfig, logical: LogicalMap) -> None:
    # A kernel fills its tables itself, from what firmware lists. So a CPU that is in none of them has another
    # MPIDR than firmware lists.
    free = max(hwid for hwid in logical.hwids if hwid != INVALID_HWID)
    for cpu, faults in sorted(config.faults.items()):
        if not all(fault.in_table() for fault in faults):
            free = (free + 1) & MPIDR_HWID_BITMASK
            while free in logical.hwids:
                free = (free + 1) & MPIDR_HWID_BITMASK
            pe = machine.actors[cpu].pe
            pe.mpidr = pe.mpidr & ~MPIDR_HWID_BITMASK | free


def _make_tasks(
    memory: Memory,
    subject: Subject,
    layout: KernelLayout,
    cpus: int,
    tasks_pa: int,
    stride: int,
    stacks_pa: int,
    linear: int,
) -> list[IdleTask]:
    # fork_idle(): a copy of init_task with a stack and a CPU of its own. CPU 0 keeps init_task.
    init_task = subject.va("init_task")
    template = memory.read_bytes(subject.pa("init_task"), layout.task_size)
    init_stack = int.from_bytes(template[layout.task_stack : layout.task_stack + 8], "little")
    offsets_pa = subject.pa("__per_cpu_offset")
    idle = [IdleTask(init_task, init_stack, init_stack + layout.thread_size, memory.read(offsets_pa, 8))]
    for cpu in range(1, cpus):
        task_pa = tasks_pa + stride * cpu
        stack = stacks_pa + layout.thread_size * cpu + linear
        memory.write_bytes(task_pa, template)
        memory.write(task_pa + layout.task_stack, 8, stack)
        memory.write(task_pa + layout.task_cpu, 4, cpu)
        offset = memory.read(offsets_pa + 8 * cpu, 8)  # of a hole: nothing, and nobody asks
        idle.append(IdleTask(task_pa + linear, stack, stack + layout.thread_size, offset))
    return idle
