"""What PEs do to the world outside of them: the protocol that an engine is given, and its plainest form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from emu.arch.sysreg import Encoding
from emu.constraints import Constraint
from emu.cpu.pe import PE
from emu.operation import Kind
from emu.semantics import events, monitors
from emu.semantics.state import SystemState, put, renumber


class Interconnect(Protocol):
    """Asked by an engine whenever a PE does something that concerns others.

    An engine executes words and moves bytes; it does not know what an event register, an exclusive monitor or
    a memory model is. Addresses are PAs unless they are called VA; ``va`` is the instruction's.

    :ivar monitors_armed: whether any PE's monitor is armed; while none is, stores are not told to ``stored``
    """

    monitors_armed: bool

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        """Take notice of an operation; only those that the engine was asked to record."""

    def access(self, pe: PE, va: int, pa: int, size: int, is_store: bool) -> None:
        """Make memory ready for the access that comes next; only if the engine was asked to tell of them."""

    def maintain(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Do the cache maintenance ``word`` on the VA ``operand``; only if accesses or it are told."""

    def breaks(self, pe: PE, va: int, constraint: Constraint) -> None:
        """Take notice that the instruction at ``va`` breaks a constraint that is about no memory."""

    def fetch_stored(self, pe: PE, va: int, pa: int, word: int) -> None:
        """Take notice of the instruction ``word``, which was stored, and which ``pe`` is about to execute."""

    def control_written(self, value: int) -> None:
        """Take notice of what SCTLR is about to be (u64); only if maintenance is told."""

    def maintain_by_set_way(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Take notice of DC ISW, CSW or CISW; ``operand`` has level, set and way."""

    def device_load(self, pe: PE, pa: int, size: int) -> int:
        """Return what a load of a device's register reads; only if the engine has devices mapped."""

    def device_store(self, pe: PE, pa: int, size: int, value: int) -> None:
        """Make a store to a device's register; likewise."""

    def read_register(self, pe: PE, encoding: Encoding) -> int | None:
        """Return what an MRS reads of a register that a device owns (u64); None: none does."""

    def write_register(self, pe: PE, encoding: Encoding, value: int) -> bool:
        """Take an MSR (u64) of a register that a device owns; False: none does."""

    def load_exclusive(self, pe: PE, pa: int, size: int) -> None:
        """Arm the monitor of ``pe``."""

    def look_for_monitor(self, pe: PE, va: int, word: int, pa: int) -> None:
        """Take notice of the atomic access ``word`` to ``pa``; load-exclusives come by another way."""

    def store_exclusive(self, pe: PE) -> int | None:
        """Clear the monitor of ``pe``, which is no event; the PA it was armed for, else the store fails."""

    def clear_exclusive(self, pe: PE) -> None:
        """Clear the monitor of ``pe``, which is no event: CLREX, an exception return, a reset."""

    def stored(self, pe: PE | None, pa: int, size: int) -> None:
        """Let other PEs' monitors notice a store of ``pe``, or of none of them."""

    def has_event(self, pe: PE) -> bool:
        """Tell whether the event register of ``pe`` is set."""

    def wait_for_event(self, pe: PE) -> bool:
        """WFE: consume the event; True when there was none and the PE sleeps."""

    def send_event(self, pe: PE) -> None:
        """SEV."""

    def send_event_local(self, pe: PE) -> None:
        """SEVL."""

    def counter(self, pe: PE) -> int:
        """Return the generic counter (CNTVCT_EL0, CNTPCT_EL0), u64, for an MRS."""

    def counter_now(self, pe: PE) -> int:
        """Return the same for who only looks: no time passes by it."""


class LocalInterconnect:
    """Event registers and monitors of one engine's PEs; nothing is recorded, and time stands still.

    :ivar system: the state that the PEs share, by their numbers (``PE.index``)
    """

    def __init__(self) -> None:
        self.system = SystemState()
        self.monitors_armed = False
        self._armed: dict[int, PE] = {}  # by number; some monitors may have been cleared since

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        """Ignore it."""

    def access(self, pe: PE, va: int, pa: int, size: int, is_store: bool) -> None:
        """Ignore it: memory is coherent."""

    def maintain_by_set_way(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Ignore it."""

    def look_for_monitor(self, pe: PE, va: int, word: int, pa: int) -> None:
        """Ignore it."""

    def maintain(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Ignore it: memory is coherent."""

    def breaks(self, pe: PE, va: int, constraint: Constraint) -> None:
        """Ignore it."""

    def fetch_stored(self, pe: PE, va: int, pa: int, word: int) -> None:
        """Ignore it."""

    def control_written(self, value: int) -> None:
        """Ignore it."""

    def device_load(self, pe: PE, pa: int, size: int) -> int:
        """Return 0: there is no device."""
        return 0

    def device_store(self, pe: PE, pa: int, size: int, value: int) -> None:
        """Ignore it: there is no device."""

    def read_register(self, pe: PE, encoding: Encoding) -> int | None:
        """Return None: there is no device."""
        return None

    def write_register(self, pe: PE, encoding: Encoding, value: int) -> bool:
        """Return False: there is no device."""
        return False

    # -- exclusive monitors -----------------------------------------------------------------------

    def load_exclusive(self, pe: PE, pa: int, size: int) -> None:
        """Arm the monitor of ``pe``."""
        self._armed[pe.index] = pe
        self._set_monitors(monitors.arm(self.system, pe.index, pa))

    def store_exclusive(self, pe: PE) -> int | None:
        """Clear the monitor of ``pe``; the PA that it was armed for."""
        armed = monitors.armed(self.system, pe.index)
        self._set_monitors(monitors.disarm(self.system, pe.index))
        return armed

    def clear_exclusive(self, pe: PE) -> None:
        """Clear the monitor of ``pe``."""
        self.store_exclusive(pe)
        pe.open_monitor()

    def stored(self, pe: PE | None, pa: int, size: int) -> None:
        """Clear the monitor of each PE but ``pe`` whose granule the store hits: an event for it."""
        before = self.system.monitors
        self._set_monitors(monitors.stored(self.system, -1 if pe is None else pe.index, pa, size))
        for monitor in before:
            if monitor not in self.system.monitors:
                self._armed[monitor[0]].open_monitor()

    def _set_monitors(self, system: SystemState) -> None:
        self.system = system
        self.monitors_armed = bool(system.monitors)

    # -- event registers --------------------------------------------------------------------------

    def has_event(self, pe: PE) -> bool:
        """Tell whether the event register of ``pe`` is set."""
        return events.has_event(self.system, pe.index)

    def set_event(self, pe: PE, value: bool) -> None:
        """Set or clear the event register of ``pe``."""
        self.system = self.system._replace(events=put(self.system.events, pe.index, value))

    def wait_for_event(self, pe: PE) -> bool:
        """Consume the event; True when there was none."""
        self.system, goes_on = events.wait_for_event(self.system, pe.index)
        return not goes_on

    def send_event(self, pe: PE) -> None:
        """Set the event register of every PE that is on."""
        self.system = events.send_event(self.system)

    def send_event_local(self, pe: PE) -> None:
        """Set the event register of ``pe``."""
        self.system = events.send_event_local(self.system, pe.index)

    def restore(self, system: SystemState) -> None:
        """Let the state be ``system``, in which no monitor is armed."""
        assert not system.monitors, "the PEs' own state has them too"
        self.system = system
        self.monitors_armed = False
        self._armed.clear()

    def renumber(self, new: Mapping[int, int]) -> None:
        """Follow PEs that change their numbers: ``new`` has the number by the old one."""
        self.system = renumber(self.system, new)
        self._armed = {new[number]: pe for number, pe in self._armed.items()}

    def counter(self, pe: PE) -> int:
        """Return 0."""
        return 0

    def counter_now(self, pe: PE) -> int:
        """Return 0."""
        return 0
