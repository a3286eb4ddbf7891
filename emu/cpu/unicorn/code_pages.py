"""Stores at full speed in free running, and code that is stored to all the same found changed.

A store to a page whose TLB entry is not *dirty* takes QEMU's slow path, which looks for translated code at
the bytes that it changes. Unicorn lets an entry become dirty behind the first such store, but for pages that
are executable by this entry, or that any memory hook covers: those of faults too. So hooks of faults cover
what is not RAM alone. And as code may be stored to at another VA than it is executed at (Linux patches
itself, and a page of a process is filled through the linear map), pages with translated code are covered by
a hook again, which nothing calls, and no entry of theirs becomes dirty.
"""

from __future__ import annotations

from ctypes import c_size_t
from typing import Any

from emu.cpu.unicorn.binding import HOOK_FAULT, HOOK_PROTECTED, Handle
from emu.memory import Memory

_LAST_PA = 2**64 - 1
# Bytes of RAM that become code at once: text comes in one piece, and each time the TLB goes.
_CHUNK = 1 << 16


class CodePages:
    """Which RAM has translated code."""

    def __init__(self, handle: Handle, memory: Memory, on_fault: Any) -> None:
        """``on_fault`` is the callback of faults."""
        self._handle, self._on_fault = handle, on_fault
        self._ranges: list[tuple[range, c_size_t]] = []
        self._chunks: set[int] = set()
        if memory.base:
            handle.hook(HOOK_FAULT, on_fault, 0, memory.base - 1)
        handle.hook(HOOK_FAULT, on_fault, memory.base + memory.size, _LAST_PA)

    def note(self, pa: int) -> None:
        """Code at ``pa`` is translated; a block lies in one page."""
        chunk = pa // _CHUNK
        if chunk in self._chunks:
            return
        self._chunks.add(chunk)
        self._cover(range(chunk * _CHUNK, (chunk + 1) * _CHUNK))
        self._handle.flush_tlb()  # entries of this chunk may be dirty

    def holds(self, pa: int) -> bool:
        """Tell whether there may be code in the page of ``pa``."""
        return pa // _CHUNK in self._chunks

    def _cover(self, pas: range) -> None:
        # Every store on the slow path looks through the hooks, so neighbours have one.
        kept = []
        for there, hook in self._ranges:
            if there.stop < pas.start or pas.stop < there.start:
                kept.append((there, hook))
            else:
                pas = range(min(pas.start, there.start), max(pas.stop, there.stop))
                self._handle.unhook(hook)
        kept.append((pas, self._handle.hook(HOOK_PROTECTED, self._on_fault, pas.start, pas.stop - 1)))
        self._ranges = kept
