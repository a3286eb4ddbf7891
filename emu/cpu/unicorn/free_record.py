"""All accesses and barriers of a free run, in order, as records of a trace.

A memory hook sees each access. No hook sees a barrier: a block hook on the block that has one holds it, and
it is told with the first access behind it, or at the end of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ctypes import c_uint64
from struct import Struct

from emu.arch import a64
from emu.arch.a64 import DC_ZVA, Other
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.binding import HOOK_LOADED, HOOK_WRITE, RECORD_CALLBACK, WRITE, sys_at
from emu.cpu.unicorn.code_pages import CodePages
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.pending import Pending
from emu.memory import Memory
from emu.operation import Kind
from emu.records import HEADED, EngineRecords, head_of

_SIZE_MAX = 8  # bytes of an access, as hooks see it: the engine makes two of one of 16
_VALUES = {size: Struct(f"<{code}").unpack_from for size, code in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))}
_LINE = 64  # bytes that DC ZVA zeroes
_ZEROES = bytes(_LINE)
_HCR_TDZ = 1 << 28
_EL = 3 << 2  # of PSTATE
# Records, what packs one, what appends to the instructions begun, PC, instructions begun, what is wrong.
_Parts = tuple[
    bytearray, Callable[[int, int, int, int], bytes], Callable[[int], None], c_uint64, c_uint64, Pending
]


class FreeRecord:
    """Records of what the PEs of ``contexts`` do.

    :param begun: the instructions that the run has begun
    """

    def __init__(self, contexts: Contexts, memory: Memory, pending: Pending, begun: c_uint64) -> None:
        self._contexts, self._memory, self._pending = contexts, memory, pending
        self._begun = begun
        self._hcr = contexts.live.u64(layout.HCR_EL2)
        self._into: EngineRecords | None = None
        self._code: CodePages | None = None
        self._heads: dict[Kind, list[int]] = {}  # of a record of the CPU that runs, by the size of the access
        self._barriers: dict[int, list[tuple[int, int]]] = {}  # by the VA of a block: VA and word of each
        self._exclusives: dict[int, Kind] = {}  # by the VA of an instruction
        self._compared: dict[
            tuple[int, int], int
        ] = {}  # by CPU and PA: what its last load-exclusive has read
        self._held: list[tuple[int, int]] = []  # those of the block that runs which are ahead
        self._block, self._block_at = 0, 0  # its VA, and the instructions begun before it

    @property
    def is_on(self) -> bool:
        """Whether records are made."""
        return self._into is not None

    def begin(self, into: EngineRecords, code: CodePages) -> None:
        """Put records there from now on."""
        self._into, self._code = into, code
        memory, contexts = self._memory, self._contexts
        last = memory.base + memory.size - 1
        for kind in (Kind.LOAD, Kind.STORE):
            self._heads[kind] = [0] * (_SIZE_MAX + 1)
        contexts.handle.hook(HOOK_LOADED, RECORD_CALLBACK(self._on_load(into)), memory.base, last)
        contexts.handle.hook(HOOK_WRITE, RECORD_CALLBACK(self._on_store(into)), memory.base, last)
        contexts.forget_code()

    def begin_run(self, pe: UnicornPE) -> None:
        """Records are of ``pe`` from now on, whose counter has what it has retired so far."""
        into = self._into
        assert into is not None
        into.begin(into.since + into.ns * pe.counters.instructions)
        first = head_of(Kind.LOAD, 0, pe.index)
        if self._heads[Kind.LOAD][0] != first:
            for kind, heads in self._heads.items():
                heads[:] = (head_of(kind, size, pe.index) for size in range(_SIZE_MAX + 1))

    def rewind(self) -> None:
        """All is as it was when records began."""
        self._compared.clear()
        self._held.clear()

    # -- accesses ---------------------------------------------------------------------------------

    # What is called some million times: each line of it counts.

    def _on_load(self, into: EngineRecords) -> Callable[[int, int, int, int, int], None]:
        rows, pack, append, pc, begun, pending = self._parts(into)
        heads, held, exclusives = self._heads[Kind.LOAD], self._held, self._exclusives

        def on_load(_uc: int, _kind: int, pa: int, size: int, value: int) -> None:
            nonlocal rows
            try:
                here = pc.value
                if held:
                    self._settle(here)
                if here in exclusives:
                    self._load_exclusive(here, pa, size, value)
                    return
                rows += pack(heads[size], here, pa, value)
                append(begun.value)
            except BaseException as error:
                pending.error = error

        return on_load

    def _on_store(self, into: EngineRecords) -> Callable[[int, int, int, int, int], None]:
        rows, pack, append, pc, begun, pending = self._parts(into)
        heads, held, exclusives = self._heads[Kind.STORE], self._held, self._exclusives

        def on_store(_uc: int, _kind: int, pa: int, size: int, value: int) -> None:
            nonlocal rows
            try:
                here = pc.value
                if size < _SIZE_MAX:
                    value &= (1 << 8 * size) - 1
                if held:
                    self._settle(here)
                if here in exclusives:
                    self._store_exclusive(here, pa, size, value)
                    return
                rows += pack(heads[size], here, pa, value)
                append(begun.value)
            except BaseException as error:
                pending.error = error

        return on_store

    def _parts(self, into: EngineRecords) -> _Parts:
        live = self._contexts.live
        return into.rows, HEADED.pack, into.begun.append, live.pc, self._begun, self._pending

    def _load_exclusive(self, here: int, pa: int, size: int, value: int) -> None:
        kind = self._exclusives[here]
        if kind is Kind.STORE_EXCLUSIVE:
            return  # what it compares with
        pe = self._pe
        self._compared[pe.index, pa] = value
        self._put(kind, size, pe, here, pa, value, self._begun.value)

    def _store_exclusive(self, here: int, pa: int, size: int, value: int) -> None:
        pe = self._pe
        (there,) = _VALUES[size](self._memory.view, pa - self._memory.base)
        if self._compared.get((pe.index, pa), there) == there:  # else it fails
            self._put(self._exclusives[here], size, pe, here, pa, value, self._begun.value)

    @property
    def _pe(self) -> UnicornPE:
        loaded = self._contexts.loaded
        assert loaded is not None
        return loaded

    def _put(self, kind: Kind, size: int, pe: UnicornPE, va: int, pa: int, value: int, begun: int) -> None:
        assert self._into is not None
        self._into.add(head_of(kind, size, pe.index), va, pa, value, begun)

    # -- DC ZVA -----------------------------------------------------------------------------------

    def zeroing(self, va: int, words: Sequence[int]) -> Iterator[int]:
        """Yield the VA of each DC ZVA among the words of a block."""
        if self._into is not None:
            yield from (va + 4 * at for at, word in enumerate(words) if a64.classify(word) is Other.ZERO)

    def on_zero(self, _uc: int, _register: int, operation: int) -> int:
        """Do a DC ZVA with one record; 0: it is the engine's, which makes 64 stores of a byte, each a call.

        :param operation: the SYS instruction that is there, which is one unless code has changed
        """
        try:
            encoding, va = sys_at(operation)
            return int(encoding == DC_ZVA and self._zero(va & -_LINE))
        except BaseException as error:
            self._pending.error = error
        return 1

    def _zero(self, va: int) -> bool:
        # Where nothing can come of it but zeroes.
        assert self._code is not None
        live, memory = self._contexts.live, self._memory
        if not live.pstate.value & _EL or self._hcr.value & _HCR_TDZ:
            return False
        pa = self._contexts.handle.translate(va, WRITE)
        if pa is None or not memory.contains(pa, _LINE) or self._code.holds(pa):
            return False
        here = live.pc.value
        if self._held:
            self._settle(here)
        memory.write_bytes(pa, _ZEROES)
        self._put(Kind.STORE, _LINE, self._pe, here, pa, 0, self._begun.value)
        return True

    # -- blocks -----------------------------------------------------------------------------------

    def note_block(self, va: int, words: Sequence[int]) -> bool:
        """Take notice of a block of these words; tell whether it needs a hook that it had not."""
        if self._into is None:
            return False
        for at, word in enumerate(words):
            if word & 0x3F80_0000 == 0x0800_0000:
                self._note_exclusive(va + 4 * at, word)
            elif va + 4 * at in self._exclusives:
                del self._exclusives[va + 4 * at]
        found = [(va + 4 * at, word) for at, word in enumerate(words) if a64.ordered_by(word)]
        if not found or self._barriers.get(va) == found:
            return False
        self._barriers[va] = found
        return True

    def _note_exclusive(self, va: int, word: int) -> None:
        kind = a64.classify(word)
        if kind is Kind.LOAD_EXCLUSIVE or kind is Kind.STORE_EXCLUSIVE:
            self._exclusives[va] = kind

    def on_block(self, _uc: int, va: int, size: int, _data: int) -> None:
        """Hold the barriers of the block at ``va``, which begins; it may end before what was noted."""
        if self._into is not None:
            self._settle(0)
            self._held.extend(each for each in self._barriers.get(va, ()) if each[0] < va + size)
            self._block, self._block_at = va, self._begun.value

    def end(self, pc: int) -> None:
        """The run ends at ``pc`` (VA), with barriers behind that ahead."""
        if self._held:
            self._settle(pc)
            self._held.clear()  # the next run announces the rest of the block

    def _settle(self, pc: int) -> None:
        # Tell of the barriers that are done when the PE is at `pc`; 0: behind the block.
        held = self._held
        while held and not self._block <= pc <= held[0][0]:
            va, word = held.pop(0)
            self._put(Kind.BARRIER, 0, self._pe, va, 0, word, self._block_at + (va - self._block >> 2))
