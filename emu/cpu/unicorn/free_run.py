"""Free running: a PE runs at full speed, takes its interrupts, and nothing is observed.

A kernel that boots by itself runs some 10^8 instructions. A code hook on one address costs every counted
instruction a look at it, so here no word has one. WFE and YIELD end a block: a block hook, which costs only
the block that it is on, lets the run end with that block. Instruction hooks do the system registers that are
not the engine's. IRQs are the engine's own: it takes one behind the instruction that unmasks it.

MODEL: in free running WFE sleeps no longer than a YIELD takes, which the architecture allows, and SEV does
nothing; the exclusive monitor is the engine's, which compares values; accesses to Device memory, SIMD traps
and illegal exception returns are not checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from ctypes import c_int, c_uint32, c_uint64
from functools import partial
from typing import Any

from emu.arch import a64
from emu.arch.a64 import B_SELF, Other
from emu.cpu.engine import SeenAccess
from emu.cpu.pe import PE, operand
from emu.cpu.stops import STEP_LIMIT, EngineStop, Reached, Unsupported, Waiting
from emu.cpu.sysregs import access as sysregs
from emu.cpu.sysregs import address_translation, vhe
from emu.cpu.sysregs.rows import NOTED, TABLE
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.binding import (
    CODE_CALLBACK,
    EXECUTE,
    HOOK_BLOCK,
    HOOK_INSTRUCTION,
    HOOK_NEW_BLOCK,
    MRS,
    MSR,
    NEW_BLOCK_CALLBACK,
    REGISTER_CALLBACK,
    SYS,
    SYS_CALLBACK,
    Handle,
    block_at,
    emu_start_alone,
)
from emu.cpu.unicorn.code_pages import CodePages
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.faults import ABORTS, FETCHES, external_abort, misaligned, raised
from emu.cpu.unicorn.free_record import FreeRecord
from emu.cpu.unicorn.free_stops import FreeStops
from emu.cpu.unicorn.hooks import Hooks
from emu.cpu.unicorn.noted_stores import NotedStores
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.pending import Pending
from emu.memory import PAGE_SIZE, Memory
from emu.operation import Kind
from emu.records import EngineRecords

_WFI = 0xD503_207F
_YIELDS = (0xD503_205F, 0xD503_203F, B_SELF)  # WFE, YIELD, and a branch to itself
_YIELDED, _IN_WFI = Waiting(Kind.WFE), Waiting(Kind.WFI)
# Kinds of a site: a block that ends with a yield, one with a place to halt at, one with barriers.
_YIELD, _HALT, _BARRIERS = -1, -2, -3
_TRANSLATE = -4  # and AT
# QEMU's interrupt_request by the lines that are asserted: CPU_INTERRUPT_HARD for IRQ, TGT_EXT_1 for FIQ.
_REQUESTS = (0, 0x2, 0x10, 0x12)
_EL, _EL2 = 3 << 2, 2 << 2  # PSTATE.EL
_SYSTEM = 0xD5  # top byte of MRS, MSR and hints
# The top byte of a branch, by which alone it is one.
_BRANCHES = re.compile(b"[%b]" % re.escape(bytes(top for top in range(256) if a64.is_branch(top << 24))))
_SELF = B_SELF.to_bytes(4, "little")
_ENTRY_MAX = 512  # words of the first block of a run that are looked at: QEMU's TCG_MAX_INSNS


class FreeRunner:
    """Runs the PEs of ``contexts`` freely (:class:`emu.cpu.engine.FreeRunning`).

    :ivar is_on: since :meth:`begin`
    """

    def __init__(
        self, hooks: Hooks, observing: Observing, contexts: Contexts, memory: Memory, pending: Pending
    ) -> None:
        self.is_on = False
        self._others = hooks
        self._code: CodePages | None = None
        self._observing = observing
        self._contexts = contexts
        self._handle: Handle = contexts.handle
        self._memory = memory
        self._octets, self._words = memory.octets, memory.view.cast("I")
        self._translate = contexts.handle.translate
        self._pending = pending
        self._live = contexts.live
        self._counter = contexts.counter
        address = contexts.handle.address
        self._limit = c_uint64.from_address(address + layout.LIMIT_IN_ENGINE)
        cpu_state = c_uint64.from_address(address + layout.CPUSTATE_IN_ENGINE).value
        self._request = c_uint32.from_address(cpu_state + layout.INTERRUPT_IN_CPUSTATE)
        self._hooks: dict[tuple[int, int], Any] = {}  # by VA and what is there: Kind or Other
        self._yields: dict[int, int] = {}  # instructions of a block that ends so, by its VA
        self._looked: dict[tuple[int, bool], bytes] = {}  # code that a run began at, by VA and is it at EL2
        self._redirected = contexts.code.gated & vhe.ENCODINGS - vhe.EL12  # ours at EL2, where it knows them
        self._looks_at_all = False  # at blocks that neither halt by themselves nor use system registers too
        # Sites without a hook: VA, kind, instructions of a block to its yield, the block and its size.
        self._found: list[tuple[int, int, int, int, int]] = []
        self._on_yield_callback = CODE_CALLBACK(self._on_yield)
        self._on_halt_callback = CODE_CALLBACK(self._on_halt)
        self._stops = FreeStops(contexts, memory, pending)
        self._noted = NotedStores(
            contexts, memory, pending, lambda pa: bool(self._code and self._code.holds(pa)), self.pause_behind
        )
        self.note_stores = self._noted.note
        self._recorded = FreeRecord(contexts, memory, pending, self._counter)
        self._on_barriers_callback = CODE_CALLBACK(self._recorded.on_block)
        registers: dict[int, Callable[[UnicornPE, int], bool]] = {
            Other.MRS: self._load_register,
            Other.MSR: lambda pe, word: sysregs.write(
                pe, a64.system_register(word), observing.to, operand(pe.x, word & 31)
            ),
        }
        self._registers = registers
        translate = partial(address_translation.translate, memory.u64)
        self._of_instruction: dict[int, tuple[Any, int]] = {
            Other.MRS: (REGISTER_CALLBACK(lambda *_: self._instead(Other.MRS, registers[Other.MRS])), MRS),
            Other.MSR: (REGISTER_CALLBACK(lambda *_: self._instead(Other.MSR, registers[Other.MSR])), MSR),
            Other.ZERO: (SYS_CALLBACK(self._recorded.on_zero), SYS),
            _TRANSLATE: (REGISTER_CALLBACK(lambda *_: self._instead(Other.INVISIBLE, translate)), SYS),
        }
        self._breaks: dict[int, Any] = {}
        self._notes: list[Any] = []
        self._ends = False
        self._reached = -1
        self._begun_at = -1  # VA that the run has begun at, as long as nothing is retired
        self._left_at: dict[int, int] = {}  # by PE: VA that its last run has ended at
        # What has lowered the limit, and the VA that the run is to end at then; None: nothing has.
        self._aim: tuple[int, int] | None = None

    # -- mode -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Run freely from now on; nothing else has hooks on code."""
        self._code = self._others.suspend()
        self._contexts.code.unobserve()
        self.is_on = True
        self._handle.hook(HOOK_NEW_BLOCK, NEW_BLOCK_CALLBACK(self._on_new_block))
        self._contexts.forget_code()

    def set_line(self, pe: PE, line: int, high: bool) -> None:
        """Assert or deassert IRQ or FIQ of ``pe``; of the one that runs it counts from the next block on."""
        pe.lines = pe.lines & ~(1 << line) | high << line
        if self._contexts.loaded is pe:
            self._request.value = _REQUESTS[pe.lines]

    def stop_behind(self) -> None:
        """End the run behind the instruction whose hook calls this."""
        self.pause_behind()
        self._ends = True

    def pause_behind(self) -> None:
        """End the run behind the instruction whose hook calls this, as if its limit had come."""
        self._limit.value = self._counter.value
        self._aim = None

    @property
    def ended(self) -> bool:
        """Whether :meth:`stop_behind` has ended the last run."""
        return self._ends

    def rewind(self, pages: Collection[int]) -> None:
        """PEs and memory are as they were before: these pages (PAs) have changed."""
        assert self._code is not None
        self._left_at.clear()
        self._recorded.rewind()
        self._contexts.forget_pages([pa for pa in pages if self._code.holds(pa)])

    # -- breakpoints ------------------------------------------------------------------------------

    def break_at(self, va: int) -> None:
        """Stop any PE whose PC gets to ``va``, the first instruction of a block."""
        if va not in self._breaks:
            self._breaks[va] = self._handle.hook(HOOK_BLOCK, CODE_CALLBACK(self._on_break), va, va)
            self._contexts.forget_code()

    def unbreak(self, va: int) -> None:
        """Forget a breakpoint."""
        if va in self._breaks:
            self._handle.unhook(self._breaks.pop(va))
            self._contexts.forget_code()

    def note_at(self, va: int, seen: Callable[[PE], None]) -> None:
        """Call ``seen`` as a PE gets to ``va``, the first instruction of a block."""

        def noted(*_: int) -> None:
            loaded = self._contexts.loaded
            assert loaded is not None
            try:
                seen(loaded)
            except BaseException as error:
                self._pending.error = error
                self.stop_behind()

        self._notes.append(self._handle.hook(HOOK_BLOCK, CODE_CALLBACK(noted), va, va))
        self._contexts.forget_code()

    def halt_at(self, pas: Collection[int], *, before_modes: bool = False) -> None:
        """End each run before an instruction at one of these PAs, as if its limit had come."""
        self._stops.use_halts(pas, before_modes)
        self._looks_at_all = self._stops.are_any or self._recorded.is_on
        self._looked.clear()

    def watch(self, pas: Sequence[range], *, loads: bool, seen: Callable[[SeenAccess], None]) -> None:
        """Call ``seen`` with each store, or load too, to these PAs, before it is made."""
        self._stops.watch(pas, loads, seen)

    def record(self, into: EngineRecords) -> None:
        """From now on put a record there for each access and barrier."""
        self._looked.clear()
        self._looks_at_all = True
        assert self._code is not None
        self._recorded.begin(into, self._code)

    # -- running ----------------------------------------------------------------------------------

    def run(self, limit: int) -> EngineStop:
        """Run the PE that is loaded until it stops or has retired ``limit`` instructions (1 at least)."""
        pe = self._contexts.loaded
        assert pe is not None
        self._noted.forget_rewritten(pe)
        pending, counters, recorded = self._pending, pe.counters, self._recorded
        pc, counter, handle = self._live.pc, self._counter, self._handle.address
        self._request.value = _REQUESTS[pe.lines]
        # Where the last run has left it, it has halted already; not where it was switched on, or led, since.
        self._begun_at = pc.value if self._left_at.get(pe.index) == pc.value else -1
        try:
            while True:
                at = pc.value
                if at & 3:
                    return misaligned(pe, at)
                self._look_at_entry(at)
                pending.exception = None
                self._ends = False
                self._reached = -1
                self._aim = None
                if recorded.is_on:
                    recorded.begin_run(pe)
                error = emu_start_alone(handle, at, not at, 0, limit)
                if recorded.is_on:
                    recorded.end(pc.value)
                begun, most = counter.value, self._limit.value
                counter.value = 0
                retired = min(begun, most)
                if retired:
                    self._begun_at = pe.reached = -1
                counters.instructions += retired
                limit -= retired
                if pending.error is not None:
                    failure, pending.error = pending.error, None
                    raise failure
                at_limit = begun > most
                if self._found:
                    self._install()
                    at_limit = begun >= most  # the new block has stopped it there, before it was noticed
                    if pending.exception is None and not error and not at_limit:
                        continue
                if pending.exception is not None:
                    if self._do_register(pe):
                        if limit > 0 and not self._ends:
                            continue
                        return STEP_LIMIT
                    return raised(self._contexts, pe, pending.exception, self._memory)
                if error in ABORTS:
                    counters.instructions -= error not in FETCHES
                    return external_abort(self._contexts, pe, error, pending.fault_pa, self._memory)
                if error:
                    return Unsupported(f"unicorn error {error}", pc.value)
                if self._reached >= 0:
                    pe.reached = self._reached
                    return Reached(self._reached)
                if self._aim is not None and at_limit:
                    kind, va = self._aim
                    if pc.value == va:
                        return _YIELDED if kind == _YIELD else STEP_LIMIT
                    if limit > 0:
                        continue  # an interrupt has led elsewhere
                # A WFI ends the run before its limit.
                return _IN_WFI if not at_limit and self._word(pc.value - 4) == _WFI else STEP_LIMIT
        finally:
            self._request.value = 0
            self._left_at[pe.index] = pc.value

    def at_self_branch(self, pe: PE) -> bool:
        """Tell whether ``pe`` stands at a branch to itself."""
        self._contexts.load(pe)
        return self._word(self._live.pc.value) == B_SELF

    def _code_pa(self, va: int, size: int) -> int | None:
        # The PA that `size` bytes of one page are fetched from; None: they are not, or not from RAM.
        pa = self._translate(va, EXECUTE)
        return pa if pa is not None and self._memory.contains(pa, size) else None

    def _word(self, va: int) -> int | None:
        pa = self._code_pa(va, 4)
        return None if pa is None else self._words[pa - self._memory.base >> 2]

    # -- sites ------------------------------------------------------------------------------------

    def _look_at_entry(self, va: int) -> None:
        # The engine does not announce the first block of a run. Code may have changed since the last time.
        size = min(4 * _ENTRY_MAX, PAGE_SIZE - va % PAGE_SIZE)
        pa = self._code_pa(va, size)
        if pa is None:
            return
        assert self._code is not None
        self._code.note(pa)
        code = self._memory.read_bytes(pa, size)
        where = va, self._live.pstate.value & _EL == _EL2
        if self._looked.get(where) != code:
            self._looked[where] = code
            branch = _BRANCHES.search(code[3::4])
            self._look(va, pa, code[: 4 * branch.end()] if branch else code)
            if self._found:
                self._install()

    def _on_new_block(self, _uc: int, block: int) -> None:
        try:
            va, size = block_at(block)
            pa = self._code_pa(va, size)
            if pa is not None and size:
                assert self._code is not None
                self._code.note(pa)
                at = pa - self._memory.base
                code = self._octets[at : at + size]
                if _SYSTEM in code[3::4] or code[-4:] == _SELF or self._looks_at_all:
                    self._look(va, pa, code)
                    if self._found:
                        self._handle.stop()
        except BaseException as error:
            self._pending.error = error
            self._handle.stop()

    def _look(self, va: int, pa: int, code: bytes) -> None:
        # Look at a block, or at a straight line that a run begins with: a branch comes last.
        first, tops, size = pa - self._memory.base >> 2, code[3::4], len(code)
        words = self._words[first : first + size // 4]
        line, at = size, tops.find(_SYSTEM)
        while at >= 0:
            word = words[at]
            if word in _YIELDS:
                self._note_yield(va, at + 1, size)
                line = 4 * at + 4
                break
            kind, site = a64.classify(word), va + 4 * at
            if kind in self._registers and (site, kind) not in self._hooks and self._is_ours(kind, word):
                self._found.append((site, kind, 0, va, size))
            elif self._redirected and a64.is_at(word) and (site, _TRANSLATE) not in self._hooks:
                self._found.append((site, _TRANSLATE, 0, va, size))
            at = tops.find(_SYSTEM, at + 1)
        else:
            if words[-1] == B_SELF:
                self._note_yield(va, size // 4, size)
        if self._stops.are_any and self._stops.note_block(va, pa, words[: line // 4]):
            self._found.append((va, _HALT, 0, va, size))
        if not self._recorded.is_on:
            return
        if self._recorded.note_block(va, words[: line // 4]):
            self._found.append((va, _BARRIERS, 0, va, size))
        for site in self._recorded.zeroing(va, words[: line // 4]):
            if (site, Other.ZERO) not in self._hooks:
                self._found.append((site, Other.ZERO, 0, va, size))

    def _note_yield(self, va: int, count: int, size: int) -> None:
        if self._yields.get(va) != count:
            self._found.append((va, _YIELD, count, va, size))

    def _is_ours(self, kind: int, word: int) -> bool:
        # Whether an access to a system register is not left to the engine.
        encoding = a64.system_register(word)
        if encoding in self._redirected and self._live.pstate.value & _EL == _EL2:
            return True
        row = TABLE.get(encoding)
        if row is not None and row.by_host:
            return False  # the engine calls it UNDEFINED, and it is done then
        if kind == Other.MRS:
            return encoding in self._contexts.code.watched_mrs or sysregs.has_reader(encoding)
        return encoding in NOTED or (row is not None and row.write is not None)

    def _install(self) -> None:
        for site, kind, count, block, size in self._found:
            if kind == _YIELD:
                self._yields[site] = count
            if (site, kind) not in self._hooks:
                self._hooks[site, kind] = self._hook(site, kind)
            self._handle.forget_block(block, size)
        self._found.clear()

    def _hook(self, site: int, kind: int) -> Any:
        of_block = {
            _YIELD: self._on_yield_callback,
            _HALT: self._on_halt_callback,
            _BARRIERS: self._on_barriers_callback,
        }
        if kind in of_block:
            return self._handle.hook(HOOK_BLOCK, of_block[kind], site, site)
        callback, which = self._of_instruction[kind]
        return self._handle.hook(HOOK_INSTRUCTION, callback, site, site, c_int(which))

    # -- hooks ------------------------------------------------------------------------------------

    def _on_yield(self, _uc: int, va: int, _size: int, _data: int) -> None:
        # A block begins that ends with one of them.
        count = self._yields[va]
        ends_at = self._counter.value + count
        last = va + 4 * count - 4
        word = self._word(last)
        if ends_at <= self._limit.value and word in _YIELDS:
            self._limit.value = ends_at
            self._aim = _YIELD, last if word == B_SELF else last + 4

    def _on_halt(self, _uc: int, va: int, _size: int, _data: int) -> None:
        # A block begins that has a place to halt at.
        begun = self._counter.value
        for count in self._stops.after(va, begins=not begun and va == self._begun_at):
            if begun + count < self._limit.value:
                self._limit.value = begun + count
                self._aim = _HALT, va + 4 * count
            return

    def _on_break(self, _uc: int, va: int, _size: int, _data: int) -> None:
        loaded = self._contexts.loaded
        if self._counter.value or loaded is None or loaded.reached != va:
            self._reached = va
            self._handle.stop()

    def _instead(self, kind: Other, do: Callable[[UnicornPE, int], bool]) -> int:
        # Do the instruction in place of the engine; 0: the engine does it, or raises what is due.
        try:
            pe, word = self._contexts.loaded, self._word(self._live.pc.value)
            assert pe is not None
            assert word is not None
            return int(a64.classify(word) is kind and do(pe, word))
        except BaseException as error:
            self._pending.error = error
            self.stop_behind()
        return 1

    # -- system registers -------------------------------------------------------------------------

    def _load_register(self, pe: UnicornPE, word: int) -> bool:
        # MRS of a register that is not left to the engine; False: it is, or the access raises something.
        encoding, outside = a64.system_register(word), self._observing.to
        value = sysregs.read(pe, encoding, outside)
        if value is None and encoding not in TABLE:
            value = outside.read_register(pe, encoding)
        if value is None:
            return False
        if word & 31 != 31:
            self._live.x[word & 31] = value
        return True

    def _do_register(self, pe: UnicornPE) -> bool:
        # Do an MRS or MSR that the engine calls UNDEFINED, of a register that the table or a device has.
        exception = self._pending.exception
        assert exception is not None
        if exception.number != 1 or exception.syndrome >> 26 or not pe.el:
            return False
        va = self._live.pc.value
        word = self._word(va)
        kind = None if word is None else a64.classify(word)
        if word is None or kind is None or (do := self._registers.get(kind)) is None or not do(pe, word):
            return False
        self._live.pc.value = va + 4
        return True
