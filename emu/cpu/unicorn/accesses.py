"""The hooks of loads and stores: what is counted, recorded, and told to memory models and monitors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.arch.a64 import Class
from emu.cpu.engine import LINE_SHIFT
from emu.cpu.stops import ConstraintViolation
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.binding import ACCESS_CALLBACK
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.pending import Pending
from emu.memory import Memory
from emu.operation import Kind

_SCTLR_A = 1 << 1


def access_hooks(
    observing: Observing, contexts: Contexts, memory: Memory, pending: Pending
) -> tuple[Any, Any]:
    """Return the callbacks of loads and of stores."""
    # Closures over plain locals: these two run at every access.
    live, base_of = contexts.live, layout.SCTLR_EL
    pc, pstate = live.pc, live.pstate
    sctlr = [live.u64(base_of + 8 * el) for el in (1, 1, 2, 3)]  # EL0 uses SCTLR_EL1
    code = contexts.code
    code_lines, exclusive = code.lines, pending.exclusive
    view, ram, load, store = memory.view, memory.base, Kind.LOAD, Kind.STORE
    load_x, store_x, stx = Kind.LOAD_EXCLUSIVE, Kind.STORE_EXCLUSIVE, int(Class.STORE_EXCLUSIVE)
    remembered = (live.u64(layout.EXCLUSIVE_VALUE), live.u64(layout.EXCLUSIVE_HIGH))
    quads, ram_size = memory.view.cast("Q"), memory.size
    line_last = (1 << LINE_SHIFT) - 1
    check_unaligned = _alignment_check(contexts, pending)
    # MODEL: of an access that crosses a page the engine tells the first frame alone; the second is taken
    # to follow it.

    def on_read(_uc: int, _kind: int, pa: int, size: int, _value: int, _data: int) -> None:
        try:
            at = pa - ram
            if not 0 <= at < ram_size:
                return  # an external abort follows
            here = pc.value
            is_exclusive = exclusive[0] == here
            if is_exclusive and exclusive[1] == stx:  # the compare of a store-exclusive
                value = int.from_bytes(view[at : at + size], "little")
                if value != remembered[exclusive[2] & 1].value:
                    exclusive[3] = 1
                exclusive[2] += 1
                return
            pe = contexts.loaded
            assert pe is not None
            counters = pe.counters
            counters.loads += 1
            if not sctlr[pstate.value >> 2 & 3].value & 1:
                counters.loads_mmu_off += 1
            if pa & (size - 1):
                check_unaligned(pe, here, pa)
            if observing.access:
                observing.access(pe, here, pa, size, False)
            if is_exclusive:
                observing.to.load_exclusive(pe, pa, size)
            record = observing.record
            if record:
                if size == 8 and not at & 7:
                    value = quads[at >> 3]
                else:
                    value = int.from_bytes(view[at : at + size], "little")
                record(pe, load_x if is_exclusive else load, size, here, pa, value)
        except BaseException as error:
            pending.error = error

    def on_write(_uc: int, _kind: int, pa: int, size: int, value: int, _data: int) -> None:
        try:
            if not 0 <= pa - ram < ram_size:
                return  # an external abort follows
            here = pc.value
            is_exclusive = exclusive[0] == here and exclusive[1] == stx
            if is_exclusive and exclusive[3]:
                return  # it fails: the old value is written back
            pe = contexts.loaded
            assert pe is not None
            pe.counters.stores += 1
            if pa & (size - 1):
                check_unaligned(pe, here, pa)
            if observing.access:
                observing.access(pe, here, pa, size, True)
            if observing.to.monitors_armed:
                observing.to.stored(pe, pa, size)
            if pa >> LINE_SHIFT in code_lines or (
                (pa & line_last) + size > line_last + 1 and pa + size - 1 >> LINE_SHIFT in code_lines
            ):
                code.written()
            record = observing.record
            if record:
                kind = store_x if is_exclusive else store
                record(pe, kind, size, here, pa, value & ((1 << 8 * size) - 1))
            elif pa in observing.watched:
                observing.to.record(pe, store, size, here, pa, value & ((1 << 8 * size) - 1))
        except BaseException as error:
            pending.error = error

    return ACCESS_CALLBACK(on_read), ACCESS_CALLBACK(on_write)


def _alignment_check(contexts: Contexts, pending: Pending) -> Callable[[UnicornPE, int, int], None]:
    def check(pe: UnicornPE, va: int, pa: int) -> None:
        # MODEL: hardware takes an alignment fault before the access; here it has been made and the PE ends.
        if not pe.mmu_on:
            rule = (
                "unaligned access with the MMU off "
                "(Device-nGnRnE memory: alignment fault, Arm DDI 0487 B2.15.2)"
            )
        elif (contexts.code.word(va) or 0) & 0x3F80_0000 == 0x0880_0000:  # LDAR, STLR and their like
            rule = "unaligned load-acquire or store-release (alignment fault, Arm DDI 0487 B2.5.2)"
        elif pe.sctlr & _SCTLR_A:
            rule = "unaligned access with SCTLR_ELx.A set (alignment fault, Arm DDI 0487 B2.5.2)"
        else:
            return
        pending.stop = ConstraintViolation(rule, va, pa)
        contexts.handle.stop()  # never resumed, so the half-done instruction does not matter

    return check
