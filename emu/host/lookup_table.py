"""Writing the table that secondaries look themselves up in, where the host is the one that fills it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from emu.host.dcache import clean
from emu.host.guest import Guest
from emu.host.played import plays
from emu.operation import Operation, Store


def entry_pa(guest: Guest, cpu: int) -> int:
    """Return the PA of the u64 entry of ``cpu``, or 0 for a design without a table."""
    symbol = guest.design.lookup_table
    return guest.pa_of(guest.subject.va(symbol)) + 8 * cpu if symbol is not None else 0


@plays("set_cpu_logical_map", "arch/arm64/kernel/smp.c")
def write_entry(guest: Guest, cpu: int, value: int) -> Generator[Operation, Any, None]:
    """set_cpu_logical_map(): store ``value`` (u64), and clean it to the PoC for readers with the MMU off."""
    pa = entry_pa(guest, cpu)
    yield Store(pa, value)
    if guest.design.table_clean_to_poc:
        yield from clean(pa)
