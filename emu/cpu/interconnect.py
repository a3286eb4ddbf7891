"""What PEs do to the world outside of them: the protocol that an engine is given, and its plainest form."""

from __future__ import annotations

from typing import Protocol

from emu.cpu.pe import PE
from emu.operation import Kind

GRANULE = 64  # exclusives reservation granule, bytes (Cortex-A72 TRM, CTR_EL0.ERG)


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
        """Do the cache maintenance ``word`` on the VA ``operand``; only if accesses are told."""

    def load_exclusive(self, pe: PE, pa: int, size: int) -> None:
        """Arm the monitor of ``pe``."""

    def store_exclusive(self, pe: PE) -> bool:
        """Clear the monitor of ``pe``, which is no event; tell whether it was armed: else the store fails."""

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
        """Return the generic counter (CNTVCT_EL0, CNTPCT_EL0), u64."""


class LocalInterconnect:
    """Event registers and monitors of one engine's PEs; nothing is recorded, and time stands still.

    The monitor is the global one: a PE's own plain stores leave it as it is, another's clear it, which is an
    event for its PE (Arm DDI 0487, B2.12, D1.7.1).

    :ivar monitors: PA of the granule by PE
    :ivar woken: PEs whose event register a cleared monitor has set
    """

    def __init__(self) -> None:
        self.monitors_armed = False
        self.monitors: dict[PE, int] = {}
        self.woken: list[PE] = []

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        """Ignore it."""

    def access(self, pe: PE, va: int, pa: int, size: int, is_store: bool) -> None:
        """Ignore it: memory is coherent."""

    def maintain(self, pe: PE, va: int, word: int, operand: int) -> None:
        """Ignore it: memory is coherent."""

    def load_exclusive(self, pe: PE, pa: int, size: int) -> None:
        """Arm the monitor of ``pe``."""
        self.monitors[pe] = pa & -GRANULE
        self.monitors_armed = True

    def store_exclusive(self, pe: PE) -> bool:
        """Clear the monitor of ``pe``; tell whether it was armed."""
        armed = self.monitors.pop(pe, None)
        self.monitors_armed = bool(self.monitors)
        return armed is not None

    def clear_exclusive(self, pe: PE) -> None:
        """Clear the monitor of ``pe``."""
        self.store_exclusive(pe)
        pe.open_monitor()

    def stored(self, pe: PE | None, pa: int, size: int) -> None:
        """Clear the monitor of each PE but ``pe`` whose granule the store hits: an event for it."""
        for other, granule in list(self.monitors.items()):
            if granule < pa + size and pa < granule + GRANULE and other is not pe:
                other.open_monitor()
                other.event = True
                self.woken.append(other)
                del self.monitors[other]
        self.monitors_armed = bool(self.monitors)

    def has_event(self, pe: PE) -> bool:
        """Tell whether the event register of ``pe`` is set."""
        return pe.event

    def wait_for_event(self, pe: PE) -> bool:
        """Consume the event; True when there was none."""
        asleep = not pe.event
        pe.event = False
        return asleep

    def send_event(self, pe: PE) -> None:
        """Set no event register: who else there is, is not known here."""

    def send_event_local(self, pe: PE) -> None:
        """Set the event register of ``pe``."""
        pe.event = True

    def counter(self, pe: PE) -> int:
        """Return 0."""
        return 0
