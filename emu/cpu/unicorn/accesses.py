"""The hooks of loads and stores: what is counted, recorded, and told to memory models and monitors."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import string_at
from typing import Any

from emu import constraints
from emu.arch import a64
from emu.cpu.attributes import attribute, is_device
from emu.cpu.engine import LINE_SHIFT
from emu.cpu.exceptions import ALIGNMENT_FAULT, abort_syndrome
from emu.cpu.faulting_address import access_address, va_of
from emu.cpu.stops import ConstraintViolation, EngineStop, Raised
from emu.cpu.traps import default_target_el
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.binding import ACCESS_CALLBACK, LOAD_CALLBACK
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.pending import Pending
from emu.memory import Memory
from emu.operation import Kind

_SCTLR_A, _SCTLR_SA, _SCTLR_SA0 = 1 << 1, 1 << 3, 1 << 4
LOAD_MAX = 16  # bytes that the engine loads at once
_UNDONE = 32  # bytes that a store may have changed from its address on: STP of Q registers


def access_hooks(
    observing: Observing, contexts: Contexts, memory: Memory, pending: Pending
) -> tuple[Any, Any, Any]:
    """Return the callbacks of loads, of loads that are passed over where they do nothing, and of stores."""
    # Closures over plain locals: these two run at every access.
    live, base_of = contexts.live, layout.SCTLR_EL
    pc, pstate, sp = live.pc, live.pstate, live.u64(layout.XREGS + 8 * 31)
    sctlr = [live.u64(base_of + 8 * el) for el in (1, 1, 2, 3)]  # EL0 uses SCTLR_EL1
    code = contexts.code
    code_lines, exclusive = code.lines, pending.exclusive
    note_stored = code.stored.add
    view, ram, load, store = memory.view, memory.base, Kind.LOAD, Kind.STORE
    load_x, store_x = Kind.LOAD_EXCLUSIVE, Kind.STORE_EXCLUSIVE
    remembered = (live.u64(layout.EXCLUSIVE_VALUE), live.u64(layout.EXCLUSIVE_HIGH))
    quads, ram_size = memory.view.cast("Q"), memory.size
    line_last = (1 << LINE_SHIFT) - 1
    faults = _alignment_check(contexts, memory, pending)
    # MODEL: of an access that crosses a page the engine tells the first frame alone; the second is taken
    # to follow it.

    def on_read(_uc: int, _kind: int, pa: int, size: int, _value: int, _data: int) -> None:
        try:
            at = pa - ram
            if not 0 <= at < ram_size:
                return  # an external abort follows
            here = pc.value
            is_exclusive = exclusive[0] == here
            if is_exclusive and exclusive[1] == store_x:  # the compare of a store-exclusive
                value = int.from_bytes(view[at : at + size], "little")
                if value != remembered[exclusive[2] & 1].value:
                    exclusive[3] = 1
                exclusive[2] += 1
                return
            pe = contexts.loaded
            assert pe is not None
            if (sp.value & 15 or pa & (size - 1)) and (pending.undo or faults(pe, here, pa, size, False)):
                return
            counters = pe.counters
            counters.loads += 1
            if not sctlr[pstate.value >> 2 & 3].value & 1:
                counters.loads_mmu_off += 1
            if observing.access:
                observing.access(pe, here, pa, size, False)
            if is_exclusive and not exclusive[2]:  # of a pair: the first
                exclusive[2] = 1
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

    def on_passing(_uc: int, _kind: int, pa: int, size: int) -> None:
        if (
            sp.value & 15
            or pa & (size - 1)
            or not exclusive[0] & 1  # PCs are even: no exclusive has been met
            or observing.record is not observing.passes_over
        ):
            on_read(_uc, _kind, pa, size, 0, 0)

    def on_write(_uc: int, _kind: int, pa: int, size: int, value: int, _data: int) -> None:
        try:
            if not 0 <= pa - ram < ram_size:
                return  # an external abort follows
            here = pc.value
            is_exclusive = exclusive[0] == here and exclusive[1] == store_x
            if is_exclusive and exclusive[3]:
                return  # it fails: the old value is written back
            pe = contexts.loaded
            assert pe is not None
            if (sp.value & 15 or pa & (size - 1)) and (pending.undo or faults(pe, here, pa, size, True)):
                return
            pe.counters.stores += 1
            if observing.access:
                observing.access(pe, here, pa, size, True)
            if observing.to.monitors_armed:
                observing.to.stored(pe, pa, size)
            note_stored(pa >> 2)
            if size > 4 or pa & 3:
                note_stored(pa + size - 1 >> 2)
                note_stored(pa + (size >> 1) >> 2)
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

    return ACCESS_CALLBACK(on_read), LOAD_CALLBACK(on_passing), ACCESS_CALLBACK(on_write)


def _alignment_check(
    contexts: Contexts, memory: Memory, pending: Pending
) -> Callable[[UnicornPE, int, int, int, bool], bool]:
    def faults(pe: UnicornPE, va: int, pa: int, size: int, is_store: bool) -> bool:
        # Whether an access that is not aligned to its size, or that is made while SP is not aligned, takes an
        # alignment fault. The engine makes it all the same, and then the run loop undoes it.
        word = contexts.code.word(va) or 0
        if pe.sp & 15 and a64.is_by_sp(word) and pe.sctlr & (_SCTLR_SA if pe.el else _SCTLR_SA0):
            raised = Raised(0x26 << 26 | 1 << 25, None, default_target_el(pe), va)
            undo(ConstraintViolation(constraints.SP_MISALIGNED.name, va, pa, raised), pa)
            return True
        if not pa & (size - 1):
            return False
        element = a64.structure_element(word)  # of which the engine accesses several at once
        if element and not pa & (element - 1):
            return False
        broken = _rule_of_unaligned(pe, word, va, memory)
        if broken is None:
            return False
        syndrome = abort_syndrome(ALIGNMENT_FAULT, is_store=is_store)
        raised = Raised(syndrome, va_of(pe, word, va, pa, is_store=is_store), default_target_el(pe), va)
        undo(ConstraintViolation(broken.name, va, pa, raised), pa)
        return True

    def undo(stop: EngineStop, pa: int) -> None:
        pending.stop = stop
        state = string_at(contexts.live.address, layout.CONTEXT_BYTES)
        end = min(pa + _UNDONE, memory.base + memory.size)
        pending.undo = state, pa, memory.read_bytes(pa, end - pa)
        contexts.handle.stop()

    return faults


def _rule_of_unaligned(pe: UnicornPE, word: int, va: int, memory: Memory) -> constraints.Constraint | None:
    # Which rule forbids the access of `word` at `va`, which is not aligned; None: it may be made.
    if not pe.mmu_on:
        return constraints.UNALIGNED_MMU_OFF
    if word & 0x3F80_0000 == 0x0880_0000 or a64.is_acquire_pc(word):  # LDAR, STLR and their like
        return constraints.UNALIGNED_ORDERED
    if pe.sctlr & _SCTLR_A:
        return constraints.UNALIGNED_CHECKED
    if is_device(attribute(pe, access_address(pe, word, va), memory.u64)):
        return constraints.UNALIGNED_DEVICE
    return None


def misaligned_quad(pe: UnicornPE, word: int, va: int, memory: Memory) -> ConstraintViolation | None:
    """Return what an access of 16 bytes that must be aligned stops with, which its two halves do not show."""
    if not a64.is_quad_access(word):
        return None
    first = access_address(pe, word, va)
    broken = _rule_of_unaligned(pe, word, va, memory) if first & 15 else None
    is_store = not word >> 22 & 1 and word & 0x3F00_0000 != 0x1C00_0000
    pa = pe.translate(first, is_store=is_store) if broken is not None else None
    if broken is None or pa is None:
        return None
    syndrome = abort_syndrome(ALIGNMENT_FAULT, is_store=is_store)
    raised = Raised(syndrome, first, default_target_el(pe), va)
    return ConstraintViolation(broken.name, va, pa, raised)
