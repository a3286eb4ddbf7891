"""Accesses of PEs to devices, by Unicorn's MMIO callbacks."""

from __future__ import annotations

from typing import Any

from emu.cpu.unicorn.binding import MMIO_READ_CALLBACK, MMIO_WRITE_CALLBACK
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pending import Pending
from emu.operation import Kind


def device_callbacks(
    base_pa: int, observing: Observing, contexts: Contexts, pending: Pending
) -> tuple[Any, Any]:
    """Return the callbacks of loads from and stores to the device at ``base_pa``.

    The PC in them is exact. They neither raise nor stop the engine: a stopped store would be made again.
    """
    pc = contexts.live.pc

    def on_load(_uc: int, offset: int, size: int, _data: int) -> int:
        try:
            pe = contexts.loaded
            assert pe is not None
            pa = base_pa + offset
            value = observing.to.device_load(pe, pa, size)
            if contexts.code.observing:
                pe.counters.loads += 1
                pe.counters.loads_mmu_off += not pe.mmu_on
            if observing.record:
                observing.record(pe, Kind.LOAD, size, pc.value, pa, value)
            return value
        except BaseException as error:
            pending.error = error
            return 0

    def on_store(_uc: int, offset: int, size: int, value: int, _data: int) -> None:
        try:
            pe = contexts.loaded
            assert pe is not None
            pa, value = base_pa + offset, value & (1 << 8 * size) - 1
            if contexts.code.observing:
                pe.counters.stores += 1
            if observing.record:
                observing.record(pe, Kind.STORE, size, pc.value, pa, value)
            observing.to.device_store(pe, pa, size, value)
        except BaseException as error:
            pending.error = error

    return MMIO_READ_CALLBACK(on_load), MMIO_WRITE_CALLBACK(on_store)
