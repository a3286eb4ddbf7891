"""What ends a free run early without changing what comes of it: places to halt at, watched memory.

Places are PAs, so an instruction is found at every VA that it is mapped at. A block hook on each block that
has one lowers the limit of the run, as for WFE; memory hooks have a range of PAs and cost other accesses
little (all of them take the engine's slow path while there is one).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from emu.arch.a64 import changes_mode
from emu.cpu.engine import SeenAccess
from emu.cpu.unicorn.binding import ACCESS_CALLBACK, HOOK_READ, HOOK_WRITE
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.pending import Pending
from emu.memory import Memory
from emu.operation import Kind

_LONGEST = 16  # bytes of an access: the engine compares its first byte alone with the range of a hook


class FreeStops:
    """Halts and watches of the run of the PEs of ``contexts``.

    :ivar halts: PAs of instructions
    :ivar before_modes: halt before what may change an exception level or switch an MMU as well
    """

    def __init__(self, contexts: Contexts, memory: Memory, pending: Pending) -> None:
        self._contexts, self._memory, self._pending = contexts, memory, pending
        self._counts: dict[int, list[int]] = {}  # by the VA of a block: instructions of it before each halt
        self._hooks: list[Any] = []
        self.halts: frozenset[int] = frozenset()
        self.before_modes = False

    # -- halts ------------------------------------------------------------------------------------

    @property
    def are_any(self) -> bool:
        """Whether there is anything to halt at."""
        return bool(self.halts) or self.before_modes

    def use_halts(self, pas: Collection[int], before_modes: bool) -> None:
        """Halt at these places and no others."""
        self.halts, self.before_modes = frozenset(pas), before_modes
        self._counts.clear()
        self._contexts.forget_code()

    def note_block(self, va: int, pa: int, words: Sequence[int]) -> bool:
        """Take notice of a block; tell whether it needs a hook that it had not."""
        end = pa + 4 * len(words)
        places = {halt - pa >> 2 for halt in self.halts if pa <= halt < end}
        if self.before_modes:
            places.update(at for at, word in enumerate(words) if changes_mode(word))
        counts = sorted(places)
        if not counts or self._counts.get(va) == counts:
            return False
        self._counts[va] = counts
        return True

    def after(self, va: int, *, begins: bool) -> Iterator[int]:
        """Yield the instructions of the block at ``va`` before each place to halt at, the next one first.

        :param begins: the run begins with this block, and does not halt there
        """
        for count in self._counts.get(va, ()):
            pa = self._contexts.handle.fetch_pa(va + 4 * count)
            if (count or not begins) and self._is_halt(pa):
                yield count

    def _is_halt(self, pa: int | None) -> bool:
        if pa is None:
            return False
        return pa in self.halts or (self.before_modes and changes_mode(self._memory.read(pa, 4)))

    # -- watches ----------------------------------------------------------------------------------

    def watch(self, pas: Sequence[range], loads: bool, seen: Callable[[SeenAccess], None]) -> None:
        """Call ``seen`` with each store, or load too, to these PAs, before it is made."""
        handle = self._contexts.handle
        for hook in self._hooks:
            handle.unhook(hook)
        self._hooks.clear()
        callback = ACCESS_CALLBACK(self._caller(pas, seen))
        for each in pas:
            first, last = each.start - _LONGEST + 1, each.stop - 1
            kinds = HOOK_WRITE | (HOOK_READ if loads else 0)
            self._hooks.append(handle.hook(kinds, callback, first, last))
        self._contexts.forget_code()

    def _caller(self, pas: Sequence[range], seen: Callable[[SeenAccess], None]) -> Callable[..., None]:
        tell = teller(self._contexts, self._memory, self._pending, pas, seen)
        return lambda _uc, kind, pa, size, value, _data: tell(kind, pa, size, value)


def teller(
    contexts: Contexts,
    memory: Memory,
    pending: Pending,
    pas: Sequence[range],
    seen: Callable[[SeenAccess], None],
) -> Callable[[int, int, int, int], None]:
    """Return what calls ``seen`` with an access to these PAs: Unicorn's kind of it, PA, size and value."""
    pc = contexts.live.pc

    def tell(kind: int, pa: int, size: int, value: int) -> None:
        try:
            loaded = contexts.loaded
            if loaded is None or not any(pa < each.stop and each.start < pa + size for each in pas):
                return
            is_store = kind == STORE
            if not is_store:
                value = int.from_bytes(memory.read_bytes(pa, size), "little")
            value &= (1 << 8 * size) - 1
            seen(SeenAccess(loaded, Kind.STORE if is_store else Kind.LOAD, size, pc.value, pa, value))
        except BaseException as error:
            pending.error = error

    return tell


STORE = 17  # UC_MEM_WRITE
