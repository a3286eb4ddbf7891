"""All accesses and barriers of a free run, in order, as rows of numbers.

A memory hook sees each access. No hook sees a barrier: a block hook on the block that has one makes a row
before the block runs, which says where in the block the barrier is.
"""

from __future__ import annotations

from array import array
from typing import Any

from emu.arch import a64
from emu.cpu.engine import ROW_CPU, ROW_SIZE
from emu.cpu.unicorn.binding import ACCESS_CALLBACK, HOOK_READ, HOOK_WRITE
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.pending import Pending
from emu.memory import Memory
from emu.operation import Kind

_READ = 16  # UC_MEM_READ


class FreeRecord:
    """Rows of what the PEs of ``contexts`` do.

    :ivar rows: where they go; None: nowhere
    """

    def __init__(self, contexts: Contexts, memory: Memory, pending: Pending) -> None:
        self.rows: array[int] | None = None
        self._contexts, self._memory, self._pending = contexts, memory, pending
        self._barriers: dict[int, list[int]] = {}  # by the VA of a block: VAs in it

    def begin(self, rows: array[int]) -> None:
        """Append rows from now on."""
        self.rows = rows
        memory, contexts, pending, pc = self._memory, self._contexts, self._pending, self._contexts.live.pc
        append, loads, stores = rows.extend, int(Kind.LOAD), int(Kind.STORE)

        def on_access(_uc: int, kind: int, pa: int, size: int, _value: int, _data: int) -> None:
            try:
                cpu = contexts.loaded.index  # type: ignore[union-attr]
                kind = loads if kind == _READ else stores
                append((kind | size << ROW_SIZE | cpu << ROW_CPU, pc.value, pa))
            except BaseException as error:
                pending.error = error

        last = memory.base + memory.size - 1
        contexts.handle.hook(HOOK_READ | HOOK_WRITE, ACCESS_CALLBACK(on_access), memory.base, last)
        contexts.forget_code()

    def note_block(self, va: int, words: Any) -> bool:
        """Take notice of a block of these words; tell whether it needs a hook that it had not."""
        if self.rows is None:
            return False
        found = [va + 4 * at for at, word in enumerate(words) if a64.ordered_by(word)]
        if not found or self._barriers.get(va) == found:
            return False
        self._barriers[va] = found
        return True

    def on_block(self, _uc: int, va: int, _size: int, _data: int) -> None:
        """Append rows of the barriers of the block at ``va``, which begins."""
        rows, loaded = self.rows, self._contexts.loaded
        if rows is not None and loaded is not None:
            for barrier in self._barriers.get(va, ()):
                rows.extend((int(Kind.BARRIER) | loaded.index << ROW_CPU, barrier, va))
