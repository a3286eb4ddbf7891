"""Exclusive monitors (Arm DDI 0487, B2.12): one granule per CPU; a store of another CPU clears it: an event.

MODEL: the global monitor alone. All memory is shareable, the reservation granule is 64 bytes (Cortex-A72 TRM,
CTR_EL0.ERG), and a CPU's own plain stores leave its monitor as it is. A store-exclusive to another address
than the load-exclusive's fails, in the same granule too; the architecture lets it pass or fail. An exception
return, which clears the monitor as CLREX does, comes with the operation before it: no store comes in between.
"""

from __future__ import annotations

from emu.semantics.state import SystemState

GRANULE = 64  # bytes


def granule_of(pa: int) -> int:
    """Return the PA of the exclusives granule that holds ``pa``."""
    return pa & -GRANULE


def armed(state: SystemState, cpu: int) -> int | None:
    """Return the PA of the load-exclusive that has armed the monitor of ``cpu``, or None."""
    for other, pa in state.monitors:
        if other == cpu:
            return pa
    return None


def arm(state: SystemState, cpu: int, pa: int) -> SystemState:
    """Load-exclusive: arm the monitor of ``cpu`` for the granule of ``pa``."""
    mine = (cpu, pa)
    if mine in state.monitors:
        return state
    others = [monitor for monitor in state.monitors if monitor[0] != cpu]
    return state._replace(monitors=tuple(sorted([*others, mine])))


def disarm(state: SystemState, cpu: int) -> SystemState:
    """CLREX, an exception return, a store-exclusive, a reset: clear the CPU's own monitor: no event."""
    if not state.monitors:
        return state
    return state._replace(monitors=tuple(monitor for monitor in state.monitors if monitor[0] != cpu))


def passes(state: SystemState, cpu: int, pa: int) -> bool:
    """Tell whether a store-exclusive of ``cpu`` to ``pa`` is made."""
    return bool(state.monitors) and armed(state, cpu) == pa


def stored(state: SystemState, cpu: int, pa: int, size: int) -> SystemState:
    """A store of ``size`` bytes: clear each other CPU's monitor on these bytes, and set its event register.

    :param cpu: the CPU that stores; -1: a device or a debugger
    """
    if not state.monitors:
        return state
    hit = 0
    for other, armed_pa in state.monitors:
        granule = granule_of(armed_pa)
        if other != cpu and granule < pa + size and pa < granule + GRANULE:
            hit |= 1 << other
    if not hit:
        return state
    kept = tuple(monitor for monitor in state.monitors if not hit >> monitor[0] & 1)
    return state._replace(monitors=kept, events=state.events | hit)
