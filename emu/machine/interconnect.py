"""What the PEs of a machine do to each other, to its memory model and to its trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from emu.arch import a64, sysreg
from emu.arch.sysreg import Encoding
from emu.constraints import (
    EXCLUSIVE_UNCACHED,
    SET_WAY_CACHED,
    SET_WAY_INVALIDATE,
    SET_WAY_SHARED,
    Constraint,
)
from emu.cpu.attributes import access_is_cacheable, has_global_monitor
from emu.cpu.faulting_address import access_address
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE
from emu.cpu.sysregs import access
from emu.cpu.sysregs.rows import TABLE
from emu.operation import CodeCaches, Kind
from emu.semantics import events
from emu.semantics.state import put

if TYPE_CHECKING:
    from emu.machine.machine import Machine

_CRM_ISW = 6  # of DC ISW; CSW has 10, CISW 14
_SCTLR_C = 1 << 2


class Primary(Protocol):
    """Follows the lines of a primary that boots before the run."""

    def caches_on(self) -> None:
        """It is about to switch its caches on."""

    def maintained(self, pa: int) -> None:
        """It cleans or invalidates the line of ``pa``."""


class MachineInterconnect(LocalInterconnect):
    """The interconnect of one machine.

    :ivar executes_stored: whether a PE has executed what was stored
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine
        self.primary: Primary | None = None
        self.looks_for_monitors = False  # even where the memory model does not look at attributes
        self._told: set[tuple[int, int, str]] = set()  # CPU, VA and constraint
        self._fetched: dict[tuple[int, int], int] = {}  # by CPU and PA, the stored word that was told last
        self.executes_stored = False

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        """Put the operation into the trace."""
        if kind is Kind.BARRIER and self._machine.model is not None:
            self._machine.model.barrier(pe.index, value)
        self._machine.recorder.trace.add(kind, pe.index, size, va, pa, value)

    def access(self, pe: PE, va: int, pa: int, size: int, is_store: bool) -> None:
        """Ask the memory model for what the access finds."""
        machine = self._machine
        word, cacheable = access_at(machine, pe, va)
        if a64.needs_monitor(word):
            self.look_for_monitor(pe, va, word, pa)
        assert machine.model is not None
        machine.model.access(pe.index, pa, size, cacheable, is_store)

    def load_exclusive(self, pe: PE, pa: int, size: int) -> None:
        """Arm the monitor of ``pe``."""
        word = self._machine.engine.word(pe.pc)
        if word is not None:
            self.look_for_monitor(pe, pe.pc, word, pa)
        super().load_exclusive(pe, pa, size)

    def look_for_monitor(self, pe: PE, va: int, word: int, pa: int) -> None:
        """Tell of the exclusive or atomic access of ``word`` where there may be no monitor for it."""
        if self._machine.model is None and not self.looks_for_monitors:
            return
        told = (pe.index, va, EXCLUSIVE_UNCACHED.name) in self._told
        if not told and not has_global_monitor(pe, access_address(pe, word, va), self._machine.memory.u64):
            self.tell_uncached(pe.index, va, pa)

    def tell_uncached(self, cpu: int, va: int, pa: int) -> None:
        """Tell, once for each place, of an exclusive or atomic access that caches have no part in."""
        self._tell(cpu, va, EXCLUSIVE_UNCACHED, pa)

    def breaks(self, pe: PE, va: int, constraint: Constraint) -> None:
        """Tell of it, once for each place."""
        self._tell(pe.index, va, constraint, 0)

    def _tell(self, cpu: int, va: int, constraint: Constraint, pa: int) -> None:
        # Once for each place.
        if (cpu, va, constraint.name) not in self._told:
            self._told.add((cpu, va, constraint.name))
            self._machine.recorder.text(Kind.MISUSE, cpu, va, constraint.name, pa)

    def forget_told(self) -> None:
        """Tell of the next one as if it were the first one."""
        self._told.clear()
        self._fetched.clear()

    def fetch_stored(self, pe: PE, va: int, pa: int, word: int) -> None:
        """Keep that ``pe`` executes what was stored: once for each word that it finds there."""
        key = (pe.index, pa)
        if self._fetched.get(key) != word:
            self._fetched[key] = word
            self.executes_stored = True
            ctr = access.value(pe, TABLE[sysreg.CTR_EL0])
            caches = CodeCaches.NO_CLEAN * (ctr >> 28 & 1) | CodeCaches.NO_INVALIDATE * (ctr >> 29 & 1)
            self._machine.recorder.event(Kind.FETCH, pe.index, va, word, pa, caches)

    def maintain(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Let the memory model clean or invalidate the line of the VA ``operand``."""
        machine = self._machine
        pa = machine.engine.translate_live(operand)
        if pa is None or not machine.memory.contains(pa, 1):
            return
        if self.primary is not None:
            self.primary.maintained(pa)
        else:
            assert machine.model is not None
            machine.model.maintain(pe.index, word, pa, delayed=machine.delays_maintenance)

    def control_written(self, value: int) -> None:
        """Tell of the caches when they go on, while the primary boots."""
        if self.primary is not None and value & _SCTLR_C:
            self.primary.caches_on()

    def maintain_by_set_way(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Tell of it, once for each place, where it does not do what it is for.

        That is to empty this CPU's own levels, up to CLIDR_EL1.LoUIS, with its caches off, as before CPU_OFF.
        """
        level = (operand >> 1 & 7) + 1
        if word >> 8 & 15 == _CRM_ISW:
            self._tell(pe.index, va, SET_WAY_INVALIDATE, level)
        elif level > access.value(pe, TABLE[sysreg.CLIDR_EL1]) >> 21 & 7:
            self._tell(pe.index, va, SET_WAY_SHARED, level)
        elif pe.sysreg(sysreg.SCTLR_EL2 if pe.el == 2 else sysreg.SCTLR_EL1) & _SCTLR_C:
            self._tell(pe.index, va, SET_WAY_CACHED, level)

    def send_event(self, pe: PE) -> None:
        """SEV: set the event register of every CPU that is on, and wake every sleeper."""
        self.system = events.send_event(self.system)
        self._machine.waking.wake_sleepers()

    def device_load(self, pe: PE, pa: int, size: int) -> int:
        """Load from the device at ``pa``."""
        return self._machine.devices.load(pe.index, pa, size, self._machine.time_of(pe.index))

    def device_store(self, pe: PE, pa: int, size: int, value: int) -> None:
        """Store to the device at ``pa``."""
        self._machine.devices.store(pe.index, pa, size, value, self._machine.time_of(pe.index))

    def read_register(self, pe: PE, encoding: Encoding) -> int | None:
        """Read the register of the device that owns it."""
        return self._machine.devices.read_register(pe.index, encoding, self._machine.time_of(pe.index))

    def write_register(self, pe: PE, encoding: Encoding, value: int) -> bool:
        """Write the register of the device that owns it."""
        machine = self._machine
        return machine.devices.write_register(pe.index, encoding, value, machine.time_of(pe.index))

    def counter(self, pe: PE) -> int:
        """Return simulated time in ticks of 62.5 MHz."""
        machine = self._machine
        if machine.free is not None:
            return machine.free.count(machine.time_of(pe.index))
        if machine.clock.counter_reads >= machine.counter_reads_max:
            machine.stopped = (
                f"limit of {machine.counter_reads_max} reads of the counter (--instructions-max)"
            )
        return machine.clock.read_counter()

    def counter_now(self, pe: PE) -> int:
        """Return the same for who only looks."""
        machine = self._machine
        if machine.free is not None:
            return machine.free.count_now(machine.time_of(pe.index))
        return machine.clock.counter()

    def set_power_and_sleep(self, cpu: int, *, on: bool, asleep: bool, idle: bool) -> None:
        """Follow the state of an actor: whether ``cpu`` is on, and whether it sleeps in WFE or WFI."""
        system, bit = self.system, 1 << cpu
        if (bool(system.on & bit), bool(system.asleep & bit), bool(system.idle & bit)) == (on, asleep, idle):
            return  # the transition that led here has said so already
        self.system = system._replace(
            on=put(system.on, cpu, on),
            asleep=put(system.asleep, cpu, asleep),
            idle=put(system.idle, cpu, idle),
        )


def access_at(machine: Machine, pe: PE, va: int) -> tuple[int, bool]:
    """Return the word (u32) at ``va``, which ``pe`` executes, and whether what it accesses is cacheable."""
    word = machine.engine.word(va)
    assert word is not None, "it is being executed"
    return word, access_is_cacheable(pe, word, va, machine.memory)
