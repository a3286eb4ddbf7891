"""Stores that are told in all of a free run, at no cost of other accesses.

With a memory hook all accesses take the engine's slow path, which is a fifth of a kernel's run. So what is
noted is in pages that may not be written: only a store to those takes that path. The engine calls a hook for
it, which makes the store; then the engine takes it for made, and leaves it alone. It does not look for
translated code there either: a store to a page that has any ends the run behind it, and the page goes.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.engine import SeenAccess
from emu.cpu.pe import PE
from emu.cpu.unicorn.binding import EXECUTE, FAULT_CALLBACK, HOOK_PROTECTED, READ
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.free_stops import STORE, teller
from emu.cpu.unicorn.pending import Pending
from emu.memory import PAGE_SIZE, Memory


class NotedStores:
    """What is noted of the stores of the PEs of ``contexts``.

    :param holds_code: tells whether there may be translated code in the page of a PA
    :param pause: ends the run behind the store whose hook calls this, as if its limit had come
    """

    def __init__(
        self,
        contexts: Contexts,
        memory: Memory,
        pending: Pending,
        holds_code: Callable[[int], bool],
        pause: Callable[[], None],
    ) -> None:
        self._contexts, self._memory, self._pending = contexts, memory, pending
        self._holds_code, self._pause = holds_code, pause
        self._noted: list[range] = []
        self._rewritten: list[int] = []  # PAs of pages

    def note(self, pas: range, seen: Callable[[SeenAccess], None]) -> None:
        """Call ``seen`` with each store to these PAs from now on, before it is made; once is enough.

        Where no memory is there are none.
        """
        if pas in self._noted:
            return
        self._noted.append(pas)
        first, end = pas.start & -PAGE_SIZE, (pas.stop + PAGE_SIZE - 1) & -PAGE_SIZE
        if not self._memory.contains(first, end - first):
            return
        tell = teller(self._contexts, self._memory, self._pending, [pas], seen)
        view, base = self._memory.view, self._memory.base

        def store(_uc: int, _kind: int, pa: int, size: int, value: int, _data: int) -> bool:
            tell(STORE, pa, size, value)
            at = pa - base
            view[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            if self._holds_code(pa):
                self._rewritten.append(pa & -PAGE_SIZE)
                self._pause()
            return True

        self._contexts.unload()
        handle = self._contexts.handle
        handle.hook(HOOK_PROTECTED, FAULT_CALLBACK(store), first, end - 1)
        handle.protect(first, end - first, READ | EXECUTE)
        self._contexts.forget_code()

    def forget_rewritten(self, pe: PE) -> None:
        """Forget the code that the last run has stored to, before ``pe`` runs on."""
        if self._rewritten:
            self._contexts.forget_pages(self._rewritten)
            self._rewritten.clear()
            self._contexts.load(pe)
