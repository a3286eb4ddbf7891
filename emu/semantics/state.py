"""The state that CPUs share besides memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_MANY = 16  # CPUs from which on it is faster to look at every digit


class SystemState(NamedTuple):
    """Power, sleep, event registers, pending interrupts and exclusive monitors of all CPUs.

    Each field but ``monitors`` is a set of CPU numbers, as bits.

    :ivar on: CPUs that are not powered off
    :ivar asleep, idle: CPUs that sleep in WFE, and in WFI
    :ivar events: CPUs whose event register is set (Arm DDI 0487, D1.7.1)
    :ivar interrupts: CPUs with a pending interrupt
    :ivar monitors: (CPU, PA of its load-exclusive) of each armed exclusive monitor, by CPU
    """

    on: int = 0
    asleep: int = 0
    idle: int = 0
    events: int = 0
    interrupts: int = 0
    monitors: tuple[tuple[int, int], ...] = ()


def renumber(state: SystemState, new: Mapping[int, int]) -> SystemState:
    """Return the state with every CPU called by its number in ``new``."""

    def renumbered(bits: int) -> int:
        return sum(1 << new[cpu] for cpu in members(bits))

    return SystemState(
        renumbered(state.on),
        renumbered(state.asleep),
        renumbered(state.idle),
        renumbered(state.events),
        renumbered(state.interrupts),
        tuple(sorted((new[cpu], pa) for cpu, pa in state.monitors)),
    )


def put(bits: int, cpu: int, value: bool) -> int:
    """Return the set with ``cpu`` in it, or without it."""
    return bits | 1 << cpu if value else bits & ~(1 << cpu)


def members(bits: int) -> list[int]:
    """Return the CPU numbers of a set, ascending."""
    if bits.bit_count() > _MANY:
        return [cpu for cpu, digit in enumerate(bin(bits)[:1:-1]) if digit == "1"]
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found
