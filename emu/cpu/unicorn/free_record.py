"""All accesses and barriers of a free run, in order, as rows of numbers.

A memory hook sees each access. No hook sees a barrier: a block hook on the block that has one makes a row
before the block runs, which says where in the block the barrier is.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

from emu.arch import a64
from emu.arch.a64 import Other
from emu.cpu.engine import ROW_CPU, ROW_SIZE
from emu.cpu.pe import operand
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.binding import HOOK_READ, HOOK_WRITE, SHORT_ACCESS_CALLBACK, WRITE
from emu.cpu.unicorn.code_pages import CodePages
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.pending import Pending
from emu.memory import Memory
from emu.operation import Kind

_SIZE_MAX = 16  # bytes of an access, as hooks see it
_LINE = 64  # bytes that DC ZVA zeroes
_HCR_TDZ = 1 << 28


class FreeRecord:
    """Rows of what the PEs of ``contexts`` do.

    :ivar rows: where they go; None: nowhere
    """

    def __init__(self, contexts: Contexts, memory: Memory, pending: Pending) -> None:
        self.rows: array[int] | None = None
        self._contexts, self._memory, self._pending = contexts, memory, pending
        self._code: CodePages | None = None
        self._barriers: dict[int, list[int]] = {}  # by the VA of a block: VAs in it
        self._heads: dict[Kind, list[int]] = {}  # of a row of the CPU that runs, by the size of the access

    def begin(self, rows: array[int], code: CodePages) -> None:
        """Append rows from now on."""
        self.rows = rows
        self._code = code
        memory, contexts = self._memory, self._contexts
        last = memory.base + memory.size - 1
        for kind, hook in ((Kind.LOAD, HOOK_READ), (Kind.STORE, HOOK_WRITE)):
            self._heads[kind] = [0] * (_SIZE_MAX + 1)
            callback = SHORT_ACCESS_CALLBACK(self._appender(self._heads[kind]))
            contexts.handle.hook(hook, callback, memory.base, last)
        contexts.forget_code()

    def _appender(self, heads: list[int]) -> Callable[[int, int, int, int], None]:
        # What is called some million times: three calls that append take less than one with a tuple.
        assert self.rows is not None
        append, pc, pending = self.rows.append, self._contexts.live.pc, self._pending

        def on_access(_uc: int, _kind: int, pa: int, size: int) -> None:
            try:
                append(heads[size])
                append(pc.value)
                append(pa)
            except BaseException as error:
                pending.error = error

        return on_access

    def begin_run(self, cpu: int) -> None:
        """Rows are of ``cpu`` from now on."""
        for kind, heads in self._heads.items():
            if heads[0] >> ROW_CPU != cpu or not heads[0]:
                heads[:] = (kind | size << ROW_SIZE | cpu << ROW_CPU for size in range(_SIZE_MAX + 1))

    def zeroing(self, va: int, words: Sequence[int]) -> Iterator[int]:
        """Yield the VA of each DC ZVA among the words of a block."""
        if self.rows is not None:
            yield from (va + 4 * at for at, word in enumerate(words) if a64.classify(word) is Other.ZERO)

    def zero(self, pe: UnicornPE, word: int) -> bool:
        """Do a DC ZVA with one row, where nothing can come of it but zeroes; else leave it to the engine.

        The engine makes 64 stores of a byte, each of which is a call.
        """
        assert self.rows is not None
        assert self._code is not None
        pa = None
        if pe.el and not self._contexts.live.u64(layout.HCR_EL2).value & _HCR_TDZ:
            pa = self._contexts.handle.translate(operand(pe.x, word & 31) & -_LINE, WRITE)
        if pa is None or not self._memory.contains(pa, _LINE) or self._code.holds(pa):
            return False
        self._memory.write_bytes(pa, bytes(_LINE))
        self.rows.extend(
            (Kind.STORE | _LINE << ROW_SIZE | pe.index << ROW_CPU, self._contexts.live.pc.value, pa)
        )
        return True

    def note_block(self, va: int, words: Sequence[int]) -> bool:
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
