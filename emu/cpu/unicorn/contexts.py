"""Register contexts of one engine: which PE is loaded, and what must be forgotten when another one is."""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import c_char, c_void_p, memmove, memset

from unicorn import arm64_const as regs

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.cores import DEFAULT, Core, core_of
from emu.cpu.exception_return import IL
from emu.cpu.pe import PE
from emu.cpu.sysregs import vhe
from emu.cpu.sysregs.access import at_entry, virtual_ids
from emu.cpu.sysregs.rows import GATED
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.binding import X_REGISTERS, Handle, context_restore, context_save
from emu.cpu.unicorn.live import find_live
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.sites import CodeMap
from emu.cpu.unicorn.state import Env
from emu.memory import PAGE_SIZE, Memory

_ID_SPACE = {(3, 0, 0, crm, op2) for crm in range(1, 8) for op2 in range(8)}
_EL_BITS = 0xC
_STATE_BITS = _EL_BITS | IL
_PSTATE_AT_RESET = {1: 0x3C5, 2: 0x3C9}  # DAIF masked, ELxh


class Contexts:
    """The PEs of one engine, of which at most one is loaded.

    :ivar live: the state of the PE that is loaded
    :ivar counter: instructions begun since the engine was entered
    :ivar loaded: the PE, or None
    :ivar in_illegal_state: whether PSTATE.IL of the loaded PE is set; known when the code is not stale
    """

    def __init__(self, handle: Handle, memory: Memory, code: CodeMap) -> None:
        self.handle = handle
        self.code = code
        self.loaded: UnicornPE | None = None
        self.in_illegal_state = False
        self._regime = b""  # that the engine's TLB is for; nothing: for none that is known
        self._state_bits = 0  # PSTATE.EL and IL, in place, when the code map's space was entered
        self.live, self.counter = find_live(handle, memory)
        self._resets: dict[tuple[int, str, bool], c_void_p] = {}
        self._core = None if handle.beyond_v8_0 else DEFAULT  # whose features the engine has now
        if handle.beyond_v8_0:
            code.watched_mrs.update(_ID_SPACE)
            code.gated = GATED | vhe.ENCODINGS

    # -- PEs --------------------------------------------------------------------------------------

    def _reset_of(self, el: int, core: Core, *, is_first: bool) -> c_void_p:
        # A context as it is when a PE of this core, CPU 0 or another one, is switched on at this EL.
        key = (el, core.name if self.handle.beyond_v8_0 else "", is_first)
        found = self._resets.get(key)
        if found is None:
            self.unload()
            self._use_features(core)
            found = self._resets[key] = self._make_reset(el, core, is_first=is_first)
        return found

    def _use_features(self, core: Core) -> None:
        # Let the engine translate for this core.
        if self._core is core or not self.handle.beyond_v8_0:
            return
        self._core = core
        for encoding, offset in layout.FEATURES.items():
            self.live.u64(offset).value = core.id_register_or_default(encoding)
        self.forget_code()

    def _make_reset(self, el: int, core: Core, *, is_first: bool) -> c_void_p:
        # MMU and caches off, interrupts masked.
        handle = self.handle
        for register in X_REGISTERS:
            handle.write(register, 0)
        handle.write_pstate(0x3CD)
        for register in (regs.UC_ARM64_REG_SP_EL0, regs.UC_ARM64_REG_SP_EL1, regs.UC_ARM64_REG_SP_EL2):
            handle.write(register, 0)
        for encoding, value in at_entry(
            el, core, is_first=is_first
        ):  # the last write rebuilds QEMU's cached flags
            handle.write_system(encoding, value)
        handle.write_pstate(_PSTATE_AT_RESET[el])
        handle.write(regs.UC_ARM64_REG_SP, 0)
        handle.write(regs.UC_ARM64_REG_PC, 0)  # what looked for the live state has run code
        return handle.save_new()

    def new_pe(self, index: int, mpidr: int, midr: int, el: int) -> UnicornPE:
        """Return a PE at its reset state, to enter at EL ``el`` (1 or 2)."""
        handle = self.handle
        self.unload()
        context_restore(handle.address, self._reset_of(el, core_of(midr), is_first=not index))
        virtual_mpidr, virtual_midr = virtual_ids(el, mpidr, midr, is_first=not index)
        handle.write_system(sysreg.VMPIDR_EL2, virtual_mpidr)
        handle.write_system(sysreg.VPIDR_EL2, virtual_midr)
        handle.write_system(sysreg.CONTEXTIDR_EL1, 0)
        context = handle.save_new()
        address = context.value
        assert address is not None
        pe = UnicornPE(index, mpidr, midr, context, Env(address + layout.CONTEXT_HEADER), self)
        pe.set_overrides(el, {})
        pe.entry_el = el
        return pe

    def reset(self, pe: UnicornPE, el: int, entry_pa: int, x0: int) -> None:
        """Switch ``pe`` on at ``entry_pa``. X1..X30 are unspecified and hold a pattern."""
        self.unload()
        is_first = not pe.index
        reset = self._reset_of(el, pe.core, is_first=is_first).value
        assert reset is not None
        memmove(pe.saved_env.address, reset + layout.CONTEXT_HEADER, layout.CONTEXT_BYTES)
        virtual_mpidr, virtual_midr = virtual_ids(el, pe.mpidr, pe.midr, is_first=is_first)
        pe.saved_env.u64(layout.VMPIDR_EL2).value = virtual_mpidr
        pe.saved_env.u64(layout.VPIDR_EL2).value = virtual_midr
        if pe.e2h_res1:
            pe.saved_env.u64(layout.HCR_EL2).value |= sysreg.HCR_E2H
        pattern = 0xDEAD_0000_0000_0000 | pe.index << 16
        pe.x[0:31] = [x0, *range(pattern + 1, pattern + 31)]
        pe.pc = entry_pa
        pe.reached = -1
        pe.entry_el = el

    def state_of(self, pe: UnicornPE) -> bytes:
        """Return everything that the engine keeps of ``pe``: the same bytes for the same registers."""
        self.unload()
        env = pe.saved_env
        memset(env.address + layout.CYCLES, 0, layout.CYCLES_SIZE)  # a reader has no use for them
        memset(env.address + layout.SYNDROME, 0, layout.RAISED_SIZE)  # nor for what was handled long ago
        # Flags are results that they can be told from; which results these were makes no difference.
        for flag in (layout.NF, layout.VF):
            env.u32(flag).value &= 1 << 31
        env.u32(layout.ZF).value = int(env.u32(layout.ZF).value != 0)
        return bytes((c_char * layout.CONTEXT_BYTES).from_address(pe.saved_env.address))

    def set_state(self, pe: UnicornPE, state: bytes) -> None:
        """Restore what :meth:`state_of` returned."""
        self.unload()
        memmove(pe.saved_env.address, state, layout.CONTEXT_BYTES)

    # -- switching --------------------------------------------------------------------------------

    def unload(self) -> None:
        """Save the PE that is loaded."""
        pe = self.loaded
        if pe is not None:
            if self.live.regime.raw != self._regime:
                self._regime = b""  # it changed under this PE: the TLB may hold entries of before
            context_save(self.handle.address, pe.saved)
            pe.env = pe.saved_env
            self.loaded = None

    def load(self, pe: PE) -> None:
        """Switch to ``pe``. The TLB belongs to the engine, so it goes when the translation regime differs."""
        if self.loaded is pe:
            return
        assert isinstance(pe, UnicornPE), "a PE of another engine"
        self.unload()
        if pe.core is not self._core:
            self._use_features(pe.core)
        regime: bytes = pe.env.regime.raw
        context_restore(self.handle.address, pe.saved)
        if regime != self._regime:
            self.handle.flush_tlb()
            self._regime = regime
            self.code.stale = True
        elif pe.saved_env.pstate.value & _STATE_BITS != self._state_bits:
            self.code.stale = True
        pe.env = self.live
        self.loaded = pe

    def loaded_handle(self, pe: PE) -> Handle:
        """Switch to ``pe`` and return the handle, which then is about this PE."""
        if self.loaded is not pe:
            self.load(pe)
        return self.handle

    def enter_space(self) -> None:
        """Let the code map follow the translation regime of the PE that is loaded."""
        live = self.live
        self._state_bits = live.pstate.value & _STATE_BITS
        el_bits = self._state_bits & _EL_BITS
        self.in_illegal_state = bool(self._state_bits & IL)
        translated = live.u64(layout.SCTLR_EL + 8 * max(el_bits >> 2, 1)).value & 1
        stage2 = live.u64(layout.HCR_EL2).value & 1
        self.code.enter(live.regime.raw if translated or stage2 else b"", el_bits)

    # -- code -------------------------------------------------------------------------------------

    def forget_code(self) -> None:
        """Drop every translation and everything known about code."""
        self.unload()
        self.handle.flush_blocks()
        self._regime = b""  # and the TLB goes with the next PE
        self.code.forget()

    def forget_pages(self, pas: Iterable[int]) -> None:
        """Drop what was translated of these pages (PAs) and every translated address."""
        self.unload()
        # With the MMU off a VA is a PA, at which the engine finds what was translated at any VA.
        context_restore(self.handle.address, self._reset_of(1, self._core or DEFAULT, is_first=True))
        self.handle.flush_tlb()
        for pa in pas:
            self.handle.forget_block(pa, PAGE_SIZE)
        self._regime = b""  # and the TLB goes with the next PE

    def watch_reads_of(self, encoding: Encoding) -> None:
        """From now on an MRS of this register is looked at before it is executed."""
        if encoding not in self.code.watched_mrs:
            self.code.watched_mrs.add(encoding)
            self.forget_code()
