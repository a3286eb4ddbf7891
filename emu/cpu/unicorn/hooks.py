"""The hooks of blocks, sites, instructions and exceptions.

A hook never raises: it leaves what happened in :class:`emu.cpu.unicorn.pending.Pending`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_size_t

from emu.arch.a64 import Other
from emu.cpu.stops import Reached
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.accesses import LOAD_MAX, access_hooks
from emu.cpu.unicorn.binding import (
    CODE_CALLBACK,
    EXCEPTION_CALLBACK,
    FAULT_CALLBACK,
    HOOK_BLOCK,
    HOOK_CODE,
    HOOK_EXCEPTION,
    HOOK_FAULT,
    HOOK_NEW_BLOCK,
    HOOK_READ,
    HOOK_WRITE,
    NEW_BLOCK_CALLBACK,
    STEP_CALLBACK,
    block_at,
)
from emu.cpu.unicorn.code_pages import CodePages
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.faults import misaligned
from emu.cpu.unicorn.observed_words import ObservedWords
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pending import EngineException, Pending
from emu.cpu.unicorn.sites import BREAKPOINT
from emu.cpu.unicorn.steps import StepCopies
from emu.memory import Memory
from emu.operation import Kind


class Hooks:
    """The hooks of one engine, and which of them are there."""

    def __init__(
        self, observing: Observing, contexts: Contexts, words: ObservedWords, memory: Memory, pending: Pending
    ) -> None:
        self._observing = observing
        self._contexts = contexts
        self._handle = contexts.handle
        self._code = contexts.code
        self._words = words
        self._memory = memory
        self._pending = pending
        self._sites: dict[int, c_size_t] = {}  # by VA
        self._accesses: list[c_size_t] = []
        self._steps: c_size_t | None = None
        self._edges: set[tuple[int, int]] | None = None
        self._blocks: c_size_t | None = None
        self._last_block = 0  # VA of the block that began last; 0: of none since a PE was switched on
        handle = contexts.handle
        handle.hook(HOOK_EXCEPTION, EXCEPTION_CALLBACK(self._on_exception))
        self._on_fault_callback = FAULT_CALLBACK(self._on_fault)
        self._faults = handle.hook(HOOK_FAULT, self._on_fault_callback)
        self._new_blocks = handle.hook(HOOK_NEW_BLOCK, NEW_BLOCK_CALLBACK(self._on_new_block))
        self._on_site_callback = CODE_CALLBACK(self._on_site)

    # -- accesses ---------------------------------------------------------------------------------

    def observe_accesses(self, pass_over: Sequence[range]) -> None:
        """Add the hooks of loads and stores; translations must be forgotten after it.

        :param pass_over: PAs within which loads are not told, ascending
        """
        read, passing, write = access_hooks(self._observing, self._contexts, self._memory, self._pending)
        self._accesses = [self._handle.hook(HOOK_WRITE, write)]
        rest = 0  # PA of the first byte that no hook of loads has
        for pas in pass_over:
            end = pas.stop - LOAD_MAX + 1  # a load from there on may go beyond it
            if rest < pas.start < end:
                self._accesses.append(self._handle.hook(HOOK_READ, read, rest, pas.start - 1))
                self._accesses.append(self._handle.hook(HOOK_READ, passing, pas.start, end - 1))
                rest = end
        self._accesses.append(self._handle.hook(HOOK_READ, read, rest, 2**64 - 1))

    def unobserve(self) -> None:
        """Delete the hooks of accesses, instructions and sites; translations must be forgotten after it.

        What is a site all the same is found again; of the others each would cost a call of Python.
        """
        kept = self._observing.indexed
        for va in [va for va, kind in self._code.sites.items() if kind != BREAKPOINT and va not in kept]:
            self._handle.unhook(self._sites.pop(va))
            del self._code.sites[va]
        for handle in self._accesses:
            self._handle.unhook(handle)
        self._accesses = []
        if self._steps is not None:
            self._handle.unhook(self._steps)
            self._steps = None

    def suspend(self) -> CodePages:
        """Delete all hooks but those of exceptions, for good; translations must be forgotten after it.

        :return: is to be told of code that is translated from then on
        """
        self.unobserve()
        for handle in (self._new_blocks, self._faults, *self._sites.values()):
            self._handle.unhook(handle)
        return CodePages(self._handle, self._memory, self._on_fault_callback)

    # -- instructions -----------------------------------------------------------------------------

    @property
    def shows_steps(self) -> bool:
        """Whether every instruction is shown to a recorder."""
        return self._steps is not None

    def show_steps(self, steps: StepCopies) -> None:
        """Show every instruction to ``steps``.

        The hooks of sites are put after this one: what they do changes the state, and what they stop is not
        shown to the hooks behind.
        """

        def on_instruction() -> None:
            try:
                place()[:] = source
            except ValueError:
                full()

        def full() -> None:
            try:
                steps.make_room()
            except BaseException as error:
                self._pending.error = error
                self._handle.stop()

        place, source = steps.place, steps.source
        for handle in self._sites.values():
            self._handle.unhook(handle)
        self._steps = self._handle.hook(HOOK_CODE, STEP_CALLBACK(on_instruction))
        for va in self._sites:
            self._sites[va] = self._handle.hook(HOOK_CODE, self._on_site_callback, va, va)
        self._contexts.forget_code()

    # -- sites ------------------------------------------------------------------------------------

    def add_site(self, va: int, kind: int) -> None:
        """Stop at ``va`` from now on and look at the word there."""
        self._code.sites[va] = kind
        self._code.replan()
        if va not in self._sites:
            self._sites[va] = self._handle.hook(HOOK_CODE, self._on_site_callback, va, va)

    def break_at(self, va: int) -> None:
        """Stop any PE whose PC gets to ``va``, before the instruction runs."""
        if self._code.sites.get(va) != BREAKPOINT:
            self.add_site(va, BREAKPOINT)
            self._contexts.forget_code()

    def watch(self, va: int) -> None:
        """Look at any PE whose PC gets to ``va``, which goes on."""
        if va not in self._code.sites:
            self.add_site(va, Other.INVISIBLE)
            self._contexts.forget_code()

    def unbreak(self, va: int) -> None:
        """Forget a breakpoint; its hook stays and does what the word there asks for."""
        if self._code.sites.get(va) == BREAKPOINT:
            self._code.sites[va] = Other.INVISIBLE

    def look_at_entry(self, pc: int) -> bool:
        """Look for sites in the first block of a run, which the engine does not announce.

        :return: False when the PC is misaligned
        """
        if pc & 3:
            return False
        size = self._code.entry_size(pc)
        found = self._code.block(pc, size)
        self._code.blocks.add(pc)
        if found:
            self._pending.found.append((pc, size, found))
            self.install_found()
        return True

    def install_found(self) -> None:
        """Put hooks on the sites that were found in blocks, and have these translated again."""
        for va, size, sites in self._pending.found:
            for site, kind in sites:
                self.add_site(site, kind)
            self._handle.forget_block(va, size)
        self._pending.found.clear()

    def _on_new_block(self, _uc: int, block: int) -> None:
        try:
            pc, size = block_at(block)
            if self._code.stale:
                self._contexts.enter_space()
            if pc & 3:
                assert self._contexts.loaded is not None
                self._pending.stop = misaligned(self._contexts.loaded, pc)
                # The next one who comes here is to be told too.
                self._pending.found.append((pc & -4, size + 4, []))
                self._handle.stop()
            else:
                found = self._code.block(pc, size)
                if found:
                    self._pending.found.append((pc, size, found))
                    self._handle.stop()
        except BaseException as error:
            self._pending.error = error
            self._handle.stop()

    def _on_site(self, _uc: int, va: int, _size: int, _data: int) -> None:
        pending = self._pending
        try:
            if self._code.sites[va] == BREAKPOINT and va != pending.resume_at:
                assert self._contexts.loaded is not None
                pending.stop = Reached(va)
                self._contexts.loaded.reached = va
                pending.at_site = True
                self._handle.stop()
                return
            pending.resume_at = -1
            if self._code.stale:
                self._contexts.enter_space()
            if va in self._observing.indexed:
                self._look_at_index(va)
            word = self._code.word(va)
            if va in self._code.stored_sites:
                self._look_at_fetch(va)
            if word is not None and self._words.observe(va, word):
                pending.at_site = True
                self._handle.stop()
        except BaseException as error:
            pending.error = error
            self._handle.stop()

    def _look_at_fetch(self, va: int) -> None:
        pe, pa, word = self._contexts.loaded, self._code.pa_if_stored(va), self._code.word(va)
        if pa is not None and word is not None:
            assert pe is not None
            self._observing.to.fetch_stored(pe, va, pa, word)

    def _look_at_index(self, va: int) -> None:
        observing, pe = self._observing, self._contexts.loaded
        assert pe is not None
        index = pe.x[observing.indexed[va]]
        if index >= observing.slots:
            observing.to.record(pe, Kind.SLOT, 0, va, index, observing.slots)

    # -- edges ------------------------------------------------------------------------------------

    def collect_edges(self, into: set[tuple[int, int]] | None) -> None:
        """From now on add every edge of the control flow to ``into``; None: stop it."""
        self._edges = into
        if (into is None) == (self._blocks is None):
            return
        if into is None:
            assert self._blocks is not None
            self._handle.unhook(self._blocks)
            self._blocks = None
        else:
            self._blocks = self._handle.hook(HOOK_BLOCK, CODE_CALLBACK(self._on_block))
        self._contexts.forget_code()

    def begin_edges(self) -> None:
        """The next block is the first one of a PE that is switched on."""
        self._last_block = 0

    def _on_block(self, _uc: int, va: int, _size: int, _data: int) -> None:
        if self._edges is not None:
            self._edges.add((self._last_block, va))
        self._last_block = va

    # -- exceptions -------------------------------------------------------------------------------

    def _on_exception(self, _uc: int, number: int, _data: int) -> None:
        live = self._contexts.live
        found = EngineException(
            number,
            live.u32(layout.SYNDROME).value,
            live.u64(layout.FAULT_VA).value,
            live.u32(layout.TARGET_EL).value,
        )
        is_fetch = found.syndrome >> 26 in (0x20, 0x21)
        # When it ends, the engine itself fetches from the address before the one that it was to end at.
        if self._pending.exception is None and (not is_fetch or found.far >> 12 == live.pc.value >> 12):
            self._pending.exception = found
        self._handle.stop()

    def _on_fault(self, _uc: int, _kind: int, pa: int, _size: int, _value: int, _data: int) -> bool:
        self._pending.fault_pa = pa
        return False
