"""What the host knows of the code it boots: where things are, and what each CPU is to get."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from emu.arch.boot import SECONDARY_DATA_SIZE
from emu.designs import Design
from emu.host.built import Built
from emu.host.data import HostData
from emu.host.logical_map import LogicalMap
from emu.host.slot_code import watch_slots
from emu.machine import Machine
from emu.operation import Expect
from emu.subject import Subject
from emu.topology import Cpu


@dataclass(frozen=True, slots=True)
class IdleTask:
    """The idle task of one CPU: its task_struct, its stack from ``stack_low`` to ``stack_high``; all VA."""

    task: int
    stack_low: int
    stack_high: int
    per_cpu_offset: int


@dataclass(frozen=True, slots=True)
class Guest:
    """One subject in memory, ready for its secondaries.

    ``pa_of`` turns a kernel VA into a PA; ``data`` are the C-side variables that the host plays;
    ``tsk_ti_cpu`` is the offset of the u32 thread_info.cpu in task_struct, ``page_size`` the granule in
    bytes; ``logical`` says which CPU has which number; ``boot_cpu_ready``: CPU 0 has come to the take-over.
    """

    subject: Subject
    design: Design
    logical: LogicalMap
    idle: Sequence[IdleTask]
    pa_of: Callable[[int], int]
    data: HostData
    tsk_ti_cpu: int
    page_size: int
    scanned_table: str | None = None  # u64[] that secondaries look themselves up in
    entry_symbol: str = "secondary_entry"
    built: Built = Built()
    boot_cpu_ready: bool = True

    @property
    def hwids(self) -> tuple[int, ...]:
        """The hwid of each logical CPU; INVALID_HWID for a number without a CPU."""
        return self.logical.hwids

    @property
    def secondaries(self) -> list[int]:
        """The logical CPUs that there are, but the boot CPU."""
        return [number for number, cpu in enumerate(self.logical.cpus) if cpu and number]

    def cpu(self, number: int) -> Cpu:
        """What firmware says of logical CPU ``number``, which is no hole."""
        found = self.logical.cpus[number]
        assert found is not None, f"CPU{number} is a hole"
        return found

    def method_of(self, number: int) -> str:
        """The enable-method of a logical CPU."""
        return self.cpu(number).enable_method

    @property
    def has_parallel(self) -> bool:
        """Whether its cpuhp core kicks all CPUs before it waits for one, unless ``cpuhp.parallel=0``."""
        return self.design.parallel if self.built.parallel is None else self.built.parallel

    @property
    def entry_pa(self) -> int:
        """PA of secondary_entry."""
        return self.subject.pa(self.entry_symbol)

    @property
    def landing_va(self) -> int:
        """VA of secondary_start_kernel."""
        return self.subject.va("secondary_start_kernel")

    def slot_va(self, cpu: int) -> int:
        """VA of the struct secondary_data that ``cpu`` reads."""
        offset = SECONDARY_DATA_SIZE * cpu if self.design.data_per_cpu else 0
        return self.subject.va(self.design.data_symbol) + offset

    def slot_pa(self, cpu: int) -> int:
        """PA of the struct secondary_data that ``cpu`` reads."""
        return self.pa_of(self.slot_va(cpu))

    def context_id(self, cpu: int) -> int:
        """What CPU_ON hands over in x0."""
        return self.slot_va(cpu) if self.design.context_id_pointer else 0


def note_expectations(
    machine: Machine, guest: Guest, secondaries: Sequence[int], faulty: Collection[int]
) -> None:
    """Put into the trace what the check on arrival needs, so that it can judge from the trace alone."""
    recorder = machine.recorder
    vectors = guest.subject.va("vectors")
    indexed = int(guest.subject.symbols.address("slot_per_cpu") is not None)  # which takes it from X19
    for cpu, idle in enumerate(guest.idle):
        for what, value in (
            (Expect.TASK, idle.task),
            (Expect.STACK_LOW, idle.stack_low),
            (Expect.STACK_HIGH, idle.stack_high),
            (Expect.PER_CPU_OFFSET, idle.per_cpu_offset),
            (Expect.VECTORS, vectors),
            (Expect.ENTRY_EL, machine.entry_el),
            (Expect.SECONDARY, int(cpu in secondaries)),
            (Expect.FAULTY, int(cpu in faulty)),
            (Expect.HWID, guest.hwids[cpu]),
            (Expect.INDEX, indexed),
        ):
            recorder.expect(cpu, what, value)
    for what, (low, high) in early_places(guest.subject).items():
        recorder.expect(0, what, low, high)
        if what is Expect.EARLY_STATUS:
            machine.engine.watch_stores(range(low, high))
    watch_slots(machine, guest)
    if guest.boot_cpu_ready:
        recorder.take_over(machine.actors[0].pe, machine.entry_el)


def note_table(machine: Machine, guest: Guest) -> None:
    """Put the table that secondaries scan into the trace, as it is now."""
    if guest.scanned_table is None:
        return
    table_pa = guest.pa_of(guest.subject.va(guest.scanned_table))
    pas = range(table_pa, table_pa + 8 * len(guest.hwids), 8)
    machine.recorder.table(guest.scanned_table, ((pa, machine.memory.read(pa, 8)) for pa in pas))


def early_places(subject: Subject) -> dict[Expect, tuple[int, int]]:
    """Return first PA and PA behind of the early status and of the loops of a CPU whose MMU is off."""
    symbols = subject.symbols
    found = {}

    def pa_of(va: int) -> int:
        return va - subject.va_offset & 2**64 - 1

    for what, names in _PLACES.items():
        for name in names:
            va = symbols.address(name)
            after = symbols.after(va) if va is not None else None
            if va is not None and after is not None:
                found[what] = (pa_of(va), pa_of(after))
                break
    pen, loop = symbols.address("secondary_holding_pen"), symbols.address("pen")  # the second is in the first
    after = symbols.after(loop if loop is not None else pen) if pen is not None else None
    if pen is not None and after is not None:
        found[Expect.PEN] = (pa_of(pen), pa_of(after))
    return found


_PLACES = {
    Expect.EARLY_STATUS: ("__early_cpu_boot_status",),
    Expect.STUCK_52_BIT_VA: ("va52_stuck", "__cpu_secondary_check52bitva"),
    Expect.STUCK_NO_GRAN: ("no_granule_stuck", "__no_granule_support"),
}
