"""What each CPU has when it comes to secondary_start_kernel(), and what the kernel has prepared for it.

The kernel says so itself: its idle task in idle_threads, the stack of that, and its per-CPU offset. A kernel
whose symbols of data are not known says nothing; then CPUs are compared with each other alone.
"""

from __future__ import annotations

from collections.abc import Collection

from emu.host.whole.kernel_memory import KernelMemory
from emu.machine import Machine
from emu.operation import Expect
from emu.subject.kernel import KernelImage

LANDING, TAKE_OVER = "secondary_start_kernel", "smp_init"
_ONLINE = "__cpu_online_mask"
_IDLE, _OFFSETS, _VECTORS = "idle_threads", "__per_cpu_offset", "vectors"


class Arrivals:
    """Keeps arrivals in the trace of ``machine``."""

    def __init__(self, machine: Machine, image: KernelImage) -> None:
        self._machine, self._image = machine, image
        symbols = image.subject.symbols
        self.landing = symbols.address(LANDING) or 0
        self.take_over_at = symbols.address(TAKE_OVER) or 0
        self._idle, self._offsets = symbols.address(_IDLE), symbols.address(_OFFSETS)
        self._vectors = symbols.address(_VECTORS)
        # By the boot CPU's tables: what is looked at is kernel memory, the same for all.
        self._memory = KernelMemory(machine.memory, machine.actors[0].pe)
        self._stacks: dict[int, int] = {}  # SP by CPU, as it came

    def take_over(self, cpu: int, wanted: Collection[int], excused: Collection[int]) -> None:
        """The boot CPU begins to bring ``wanted`` up, of which ``excused`` need not come.

        Its registers are those that they should have.
        """
        machine = self._machine
        pe = machine.actors[cpu].pe
        machine.recorder.take_over(pe, pe.entry_el)
        for number in range(1, len(machine.actors)):
            machine.recorder.expect(number, Expect.SECONDARY, int(number in wanted))
            machine.recorder.expect(number, Expect.FAULTY, int(number in excused))

    def land(self, cpu: int) -> bool:
        """``cpu`` has come to secondary_start_kernel(); tell whether it can go on.

        It cannot on a stack that another CPU is on: what comes of that shows nothing more.
        """
        machine = self._machine
        actor = machine.actors[cpu]
        actor.landings += 1
        self._expect(cpu)
        machine.recorder.land(cpu, actor.pe, actor.pe.pc, actor.landings, actor.pe.entry_el)
        self._stacks[cpu] = actor.pe.sp
        return list(self._stacks.values()).count(actor.pe.sp) == 1

    def online(self) -> list[int]:
        """Return the CPUs in cpu_online_mask; where it is not known, those that have come."""
        actors = self._machine.actors
        mask = self._image.subject.symbols.address(_ONLINE)
        words = (
            []
            if mask is None
            else [self._memory.u64(mask + 8 * at) for at in range((len(actors) + 63) // 64)]
        )
        if not words or None in words:
            return [cpu for cpu, actor in enumerate(actors) if actor.landings]
        bits = sum((word or 0) << 64 * at for at, word in enumerate(words))
        return [cpu for cpu in range(len(actors)) if bits >> cpu & 1]

    def _expect(self, cpu: int) -> None:
        recorder, layout = self._machine.recorder, self._image.layout
        recorder.expect(cpu, Expect.ENTRY_EL, self._machine.entry_el)
        if self._vectors is not None:
            recorder.expect(cpu, Expect.VECTORS, self._vectors)
        if self._offsets is None:
            return
        offset = self._memory.u64(self._offsets + 8 * cpu)
        if offset is None:
            return
        recorder.expect(cpu, Expect.PER_CPU_OFFSET, offset)
        task = self._memory.u64(self._idle + offset & 2**64 - 1) if self._idle is not None else None
        stack = self._memory.u64(task + layout.task_stack) if task else None
        if task and stack:
            recorder.expect(cpu, Expect.TASK, task)
            recorder.expect(cpu, Expect.STACK_LOW, stack)
            recorder.expect(cpu, Expect.STACK_HIGH, stack + layout.thread_size)
