"""What a kernel that boots by itself says of its CPUs, for the trace: its log, and its masks at the end.

The log is its printk ring, whatever console it has; of a kernel without one of this layout, its console.
"""

from __future__ import annotations

from collections.abc import Iterator

from emu.arch.mpidr import hwid
from emu.cpu.engine import SeenAccess
from emu.host.guest import early_places
from emu.host.printk import report_of, report_of_panic
from emu.host.whole.kernel_memory import KernelMemory
from emu.host.whole.printk_ring import RingHead, ring_lines
from emu.machine import Machine
from emu.machine.recorder import Recorder
from emu.operation import Expect, Mask, Reported
from emu.subject.kernel import KernelImage
from emu.trace import Trace

_PANIC = "Kernel panic - not syncing: "
_HWIDS, _BOOT_MODE, _NUMBERS = "__cpu_logical_map", "__boot_cpu_mode", "nr_cpu_ids"
_PRESENT = Mask.PRESENT | Mask.STA_PRESENT | Mask.STA_ENABLED | Mask.MAPPED
# ENABLED is of v6.11 and later. Of _STA and numbers the kernel has no mask: they are as PRESENT.
_MASKS = (
    ("__cpu_possible_mask", Mask.POSSIBLE),
    ("__cpu_present_mask", _PRESENT),
    ("__cpu_enabled_mask", Mask.ENABLED),
    ("__cpu_online_mask", Mask.ONLINE),
)


class Told:
    """Looks at ``machine``, which boots ``image``, after each of its steps.

    :ivar notes_early_status: keep stores to the early status: whose reason the kernel has read
    """

    def __init__(self, machine: Machine, image: KernelImage) -> None:
        self._machine, self._image = machine, image
        self._ring = RingHead(machine.memory, image)
        self._head, self._last_id = (0, 0), 0
        self._early = range(0)  # PAs of the early status
        for what, (low, high) in early_places(image.subject).items():
            machine.recorder.expect(0, what, low, high)
            if what is Expect.EARLY_STATUS:
                self._early = range(low, high)
        self.notes_early_status = False
        self._next = 0  # number of the first line that the trace does not have
        for cpu, actor in enumerate(machine.actors):
            machine.recorder.expect(cpu, Expect.ENTRY_EL, machine.entry_el)
            machine.recorder.expect(cpu, Expect.HWID, hwid(actor.pe.mpidr))

    def _stored(self, seen: SeenAccess) -> None:
        machine = self._machine
        if self.notes_early_status and not machine.recorder.recording:  # then it comes from elsewhere
            machine.recorder.event(seen.kind, seen.pe.index, seen.pc, seen.value, seen.pa, seen.size)

    def begin(self) -> None:
        """See to it that stores to the early status are told, if they are to be."""
        if self.notes_early_status and self._early:
            self._machine.engine.free.note_stores(self._early, self._stored)

    def step(self, cpu: int) -> None:
        """Put lines that are new, and to which nothing will be added, into the trace, behind a turn."""
        self.begin()
        if self._machine.free is not None and self._machine.free.amid >= 0:
            return  # however many pieces it is run in
        if not self._ring.is_known or (head := self._ring.read()) == self._head:
            return
        machine, pe = self._machine, self._machine.actors[0].pe
        behind = self._last_id if head[0] == self._head[0] else None
        for line in ring_lines(machine.memory, self._image, pe, self._next, behind, final=True):
            self._next, self._last_id, self._head = line.number + 1, line.id, (head[0], line.id)
            machine.recorder.log(line.cpu, line.time, line.text, _said(line.text))

    def console(self, cpu: int, time: int, text: str) -> None:
        """Take a line of the console, with its stamp, which ``cpu`` has sent at ``time`` (ns)."""
        if not self._ring.is_known and not self._image.is_flat:
            line = text.partition("] ")[2] if text.startswith("[") else text
            self._machine.recorder.log(cpu, time, line, _said(line))

    def end(self, trace: Trace) -> None:
        """Put the kernel's masks, __boot_cpu_mode and a line that is not complete into ``trace``."""
        recorder = Recorder(trace, recording=False)
        pe = self._machine.actors[0].pe
        for line in ring_lines(self._machine.memory, self._image, pe, self._next):
            recorder.log(line.cpu, line.time, line.text, _said(line.text))
        mode = self._image.subject.symbols.address(_BOOT_MODE)
        memory = KernelMemory(self._machine.memory, self._machine.actors[0].pe)
        words = memory.u64(mode) if mode is not None else None
        if words is not None and any(actor.landings for actor in self._machine.actors):
            recorder.boot_modes((words & 0xFFFF_FFFF, words >> 32))
        for cpu, mask, theirs in self._masks():
            recorder.masks(cpu, mask, theirs, (0, 0))

    def _masks(self) -> Iterator[tuple[int, Mask, int]]:
        # CPU, what it is down for, and its hwid, of a kernel that tells all of them.
        address = self._image.subject.symbols.address
        memory = KernelMemory(self._machine.memory, self._machine.actors[0].pe)
        places = {bit: address(name) for name, bit in _MASKS}
        hwids, present, enabled = address(_HWIDS), places[_PRESENT], places[Mask.ENABLED]
        if hwids is None or any(va is None for bit, va in places.items() if bit is not Mask.ENABLED):
            return
        if enabled is None or not memory.u64(enabled):  # no CPU is registered with the driver core yet
            places[Mask.ENABLED] = present
        for cpu in range(self._numbers(memory)):
            found = Mask(0)
            for bit, va in places.items():
                word = memory.u64(va + cpu // 64 * 8) if va is not None else 0
                if word is None:
                    return
                found |= bit if word >> cpu % 64 & 1 else Mask(0)
            theirs = memory.u64(hwids + 8 * cpu)
            if theirs is None:
                return
            if Mask.POSSIBLE in found:
                yield cpu, found, theirs

    def _numbers(self, memory: KernelMemory) -> int:
        # How many of the CPUs have a number: bits and entries behind nr_cpu_ids are none of the masks'.
        cpus, va = len(self._machine.actors), self._image.subject.symbols.address(_NUMBERS)
        data = None if va is None else memory.read(va, 4)
        return cpus if data is None else min(cpus, int.from_bytes(data, "little"))


def _said(line: str) -> Reported | None:
    if line.startswith(_PANIC):
        return report_of_panic(line.removeprefix(_PANIC))
    return report_of(line)
