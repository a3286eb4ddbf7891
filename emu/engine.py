"""The only module that knows Unicorn: one engine, N register contexts.

A PE runs until a :data:`emu.stops.Stop`. Memory accesses come from Unicorn's memory hooks, exceptions from
its interrupt hook, and what it shows to no hook from code hooks on the sites of :mod:`emu.codemap`, which the
edge hook finds before a new block runs. Observations go to ``record``; without it only the counters are kept.

This file is over the usual length because the boundary must not be crossed: whatever touches a Unicorn
handle is here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char,
    c_int,
    c_int64,
    c_size_t,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
    cast,
    memmove,
)
from threading import Event, Thread
from typing import Any
from weakref import finalize

import unicorn as uc_module
from unicorn import arm64_const as regs
from unicorn.unicorn_py3.unicorn import uclib

from emu import pe as layout
from emu.arch import a64, sysreg
from emu.arch.a64 import Class
from emu.codemap import BREAKPOINT, COUNTERS, LINE_SHIFT, CodeMap, changes_translation
from emu.errors import EngineError
from emu.instructions import Recorder as StepRecorder
from emu.memory import Memory
from emu.operation import Kind
from emu.pe import PE, Env
from emu.stops import STEP_LIMIT, Call, Misused, Parked, Raised, Reached, Stop, Unsupported, Waiting

UNLIMITED = 1 << 40
UNCOUNTED_SECONDS = 300
# An operation is preceded by invisible instructions; a loop without any operation is cut after this many.
INVISIBLE_MAX = 1 << 16
PSTATE_EL = {1: 0x3C5, 2: 0x3C9}  # DAIF masked, ELxh
_GRANULE = 64  # exclusives reservation granule, bytes (Cortex-A72 TRM, CTR_EL0.ERG)
_EC_ABORT_OR_PC = (0x20, 0x21, 0x22, 0x24, 0x25)
_HCR_TWI, _HCR_TWE, _HCR_TID3, _HCR_TDZ = 1 << 13, 1 << 14, 1 << 18, 1 << 28
_CPTR_TFP = 1 << 10
_SCTLR_A = 1 << 1
_COND_AL = 0x1E << 20  # ISS: CV set, condition AL
_EXCP_SWI, _EXCP_HVC, _EXCP_SMC = 2, 11, 13  # the PC is behind the instruction
_WRITES = (7, 12)  # UC_ERR_WRITE_UNMAPPED, UC_ERR_WRITE_PROT
_FETCHES = (8, 14)  # UC_ERR_FETCH_UNMAPPED, UC_ERR_FETCH_PROT
# UC_ERR_*_UNMAPPED and UC_ERR_*_PROT to EC of the external abort.
_UNMAPPED = {6: 0x25, 7: 0x25, 8: 0x21, 12: 0x25, 13: 0x25, 14: 0x21}

_SCTLRS = (sysreg.SCTLR_EL1, sysreg.SCTLR_EL2)
_VIRTUAL = (sysreg.MPIDR_EL1, sysreg.MIDR_EL1)  # what EL1 reads in them is EL2's to say

Recorder = Callable[[Kind, int, int, int, int], None]  # kind, size, pc, pa, value


class _Block(Structure):
    _fields_ = [("pc", c_uint64), ("icount", c_uint16), ("size", c_uint16)]


_CODE_CB = CFUNCTYPE(None, c_void_p, c_uint64, c_uint32, c_void_p)
_INTR_CB = CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
_MEM_CB = CFUNCTYPE(None, c_void_p, c_int, c_uint64, c_int, c_int64, c_void_p)
_MEM_FAULT_CB = CFUNCTYPE(c_bool, c_void_p, c_int, c_uint64, c_int, c_int64, c_void_p)
_STEP_CB = CFUNCTYPE(None)  # a code hook that asks for none of its arguments: they cost 0.1 us each
_EDGE_CB = CFUNCTYPE(None, c_void_p, POINTER(_Block), POINTER(_Block), c_void_p)

_emu_start = CFUNCTYPE(c_int, c_void_p, c_uint64, c_uint64, c_uint64, c_size_t)(("uc_emu_start", uclib))
_STOP_AGAIN_SECONDS = 0.005
_emu_stop = CFUNCTYPE(c_int, c_void_p)(("uc_emu_stop", uclib))
_context_save = CFUNCTYPE(c_int, c_void_p, c_void_p)(("uc_context_save", uclib))
_context_restore = CFUNCTYPE(c_int, c_void_p, c_void_p)(("uc_context_restore", uclib))
_context_free = CFUNCTYPE(c_int, c_void_p)(("uc_context_free", uclib))
_uc_ctl = CFUNCTYPE(c_int, c_void_p, c_uint32)(("uc_ctl", uclib))
_TLB_FLUSH = uc_module.UC_CTL_TLB_FLUSH | uc_module.UC_CTL_IO_WRITE << 30  # no arguments
_vmem_translate = CFUNCTYPE(c_int, c_void_p, c_uint64, c_int, POINTER(c_uint64))(("uc_vmem_translate", uclib))


def _free_contexts(contexts: list[c_void_p]) -> None:
    for context in contexts:
        _context_free(context)


class Engine:
    """Runs PEs on ``memory``. ``clock`` gives the generic counter's value (CNTVCT_EL0, CNTPCT_EL0)."""

    def __init__(self, memory: Memory, clock: Callable[[], int] = lambda: 0) -> None:
        self.memory = memory
        self.clock = clock
        self.record: Recorder | None = None
        self.watched = range(0)  # PAs whose stores go to `record_store` even when nothing is recorded
        self.record_store: Recorder | None = None
        self.send_event: Callable[[], None] = lambda: None
        # For memory models: before an access (PE, VA of its instruction, PA, size, is a store), and at
        # a DC or IC (PE, word, its VA).
        self.access: Callable[[PE, int, int, int, bool], None] | None = None
        self.maintain: Callable[[PE, int, int], None] | None = None
        self.armed_monitors: dict[PE, int] = {}  # PA of the granule
        self.events: list[PE] = []  # PEs whose event register a cleared monitor has set
        uc: Any = uc_module
        self._version = str(uc.__version__)
        self._uc = uc.Uc(uc.UC_ARCH_ARM64, uc.UC_MODE_ARM)
        self._uc.ctl_set_cpu_model(regs.UC_CPU_ARM64_A72)
        self._uc.mem_map_ptr(memory.base, memory.size, uc_module.UC_PROT_ALL, memory.host_address)
        self._handle = self._uc._uch
        self._loaded: PE | None = None
        self._regime = b""  # that the engine's TLB is for; nothing: for none that is known
        self._stop: Stop | None = None
        self._at_site = False  # the last stop came from a code hook: its instruction has not run
        self._emulate: tuple[int, int, int] | None = None
        self._error: BaseException | None = None
        self._counted = True
        self._recount = False  # blocks without the instruction counter may be about
        self._resume_at = -1
        self._exception = -1
        self._fault_pa = 0
        self._found: list[tuple[int, int, list[tuple[int, int]]]] = []  # blocks with new sites
        self._code = CodeMap(memory, self._fetch_pa)
        self._el_bits = 0  # PSTATE.EL, in place, of the code map's space
        self._keep: list[Any] = []
        # VA and class of the last exclusive that was met; for a store: reads so far, whether it fails.
        self._exclusive = array("Q", [1, 0, 0, 0])
        self._contexts: list[c_void_p] = []
        self._memory_hook_handles: list[c_size_t] = []
        self._site_hooks: dict[int, c_size_t] = {}
        self.steps: StepRecorder | None = None  # gets every instruction
        self._step_hook: c_size_t | None = None
        self.timed = False  # somebody asks for `begun`
        self._edges: set[tuple[int, int]] | None = None
        self._edge_hook: c_size_t | None = None
        self._block = 0  # VA of the block that began last; 0: of none since a PE was switched on
        finalize(self, _free_contexts, self._contexts).atexit = False
        self._start()

    # -- set-up -----------------------------------------------------------------------------------

    def _start(self) -> None:
        # Warm the handle with one counted instruction, find the live state, check the offsets, put the hooks.
        engine = cast(self._handle, c_void_p).value
        assert engine is not None
        self._address = engine
        cpu = c_uint64.from_address(engine + layout.CPUSTATE_IN_ENGINE).value
        self._live = Env(c_uint64.from_address(cpu + layout.ENV_IN_CPUSTATE).value)
        self._counter = c_uint64.from_address(engine + layout.COUNTER_IN_ENGINE)
        self._check_layout()
        self._hook(uc_module.UC_HOOK_INTR, _INTR_CB(self._on_exception))
        fault = uc_module.UC_HOOK_MEM_UNMAPPED | uc_module.UC_HOOK_MEM_PROT
        self._hook(fault, _MEM_FAULT_CB(self._on_unmapped))
        self._hook(uc_module.UC_HOOK_EDGE_GENERATED, _EDGE_CB(self._on_block))
        self._on_code_cb = _CODE_CB(self._on_code)
        self._keep.append(self._on_code_cb)
        self._resets = {el: self._make_reset(el) for el in (1, 2)}

    def _check_layout(self) -> None:
        # emu.pe's offsets against the API: a different build of Unicorn must say so, not misread.
        live, probe = self._live, 0x1122_3344_5566_7788
        checks: list[tuple[str, int, int]] = []
        for number in (0, 30):
            reg = regs.UC_ARM64_REG_X0 if number == 0 else regs.UC_ARM64_REG_X30
            self._uc.reg_write(reg, probe + number)
            checks.append((f"x{number}", live.x[number], probe + number))
        self._uc.reg_write(regs.UC_ARM64_REG_PC, probe & ~3)
        checks.append(("pc", live.pc.value, probe & ~3))
        for encoding, offset in layout._IN_CONTEXT.items():
            if encoding in (
                sysreg.SCTLR_EL1,
                sysreg.SCTLR_EL2,
                sysreg.HCR_EL2,
                sysreg.SCR_EL3,
                sysreg.CPACR_EL1,
            ):
                wanted = self._read_cp(encoding)
            else:
                wanted = 0x5566_7000 + offset * 0x1000
                self._write_cp(encoding, wanted)
                wanted = self._read_cp(encoding)
            checks.append((sysreg.name(encoding), live.u64(offset).value, wanted))
        self._uc.reg_write(regs.UC_ARM64_REG_NZCV, 0xA000_0000)
        flags = layout.traced_columns(array("Q", self._traced().tobytes()), 1)[1][0]
        checks.append(("NZCV", flags >> 4, 0xA))
        nop, ldxr = (0xD503201F).to_bytes(4, "little"), (0xC85F7C20).to_bytes(4, "little")  # ldxr x0, [x1]
        self._uc.mem_write(self.memory.base, nop + ldxr + nop)
        self._uc.reg_write(regs.UC_ARM64_REG_X1, self.memory.base)
        self._uc.emu_start(self.memory.base, 0, 0, 2)
        size = uclib.uc_context_size(self._handle)
        checks.append(("context size", size, layout.CONTEXT_HEADER + layout.CONTEXT_BYTES))
        checks.append(("instruction counter", self._counter.value, 3))
        checks.append(("exclusive address", live.u64(layout.EXCLUSIVE_ADDR).value, self.memory.base))
        wanted = int.from_bytes(nop + ldxr, "little")
        checks.append(("exclusive value", live.u64(layout.EXCLUSIVE_VALUE).value, wanted))
        self._uc.mem_write(self.memory.base, bytes(12))
        self._uc.ctl_flush_tb()
        for what, got, wanted in checks:
            if got != wanted:
                raise EngineError(
                    f"unicorn {self._version}: {what} is not where emu/pe.py has it "
                    f"({got:#x}, expected {wanted:#x}); install unicorn==2.1.4"
                )

    def _hook(self, kind: int, callback: Any, begin: int = 1, end: int = 0) -> c_size_t:
        handle = c_size_t()
        error = uclib.uc_hook_add(
            self._handle, byref(handle), kind, cast(callback, c_void_p), None, c_uint64(begin), c_uint64(end)
        )
        assert error == 0, f"uc_hook_add({kind}): {error}"
        if callback is not getattr(self, "_on_code_cb", None):
            self._keep.append(callback)
        return handle

    def _make_reset(self, el: int) -> c_void_p:
        # A context as it is when a PE is switched on at this EL: MMU and caches off, interrupts masked.
        uc = self._uc
        for number in range(31):
            uc.reg_write(
                regs.UC_ARM64_REG_X0 + number if number < 29 else regs.UC_ARM64_REG_X29 + number - 29, 0
            )
        self._set_pstate(0x3CD)
        for encoding in layout._IN_CONTEXT:
            if encoding not in (sysreg.SCTLR_EL1, sysreg.SCTLR_EL2):
                self._write_cp(encoding, 0)
        for reg in (regs.UC_ARM64_REG_SP_EL0, regs.UC_ARM64_REG_SP_EL1, regs.UC_ARM64_REG_SP_EL2):
            uc.reg_write(reg, 0)
        self._write_cp(sysreg.SCTLR_EL1, 0x30D0_0800)  # RES1 bits of Armv8.0
        self._write_cp(sysreg.SCTLR_EL2, 0x30C5_0830)
        self._write_cp(sysreg.CPTR_EL2, 0x33FF)
        self._write_cp(sysreg.CNTFRQ_EL0, 62_500_000)
        self._write_cp(sysreg.HCR_EL2, 1 << 31 if el == 1 else 0)  # RW
        self._write_cp(sysreg.SCR_EL3, 0x501)  # NS, HCE, RW; the last write rebuilds QEMU's cached flags
        self._set_pstate(PSTATE_EL[el])
        uc.reg_write(regs.UC_ARM64_REG_SP, 0)
        return self._save_new()

    def _save_new(self) -> c_void_p:
        context = c_void_p()
        assert uclib.uc_context_alloc(self._handle, byref(context)) == 0
        self._contexts.append(context)
        _context_save(self._address, context)
        return context

    # -- PEs --------------------------------------------------------------------------------------

    def new_pe(self, index: int, mpidr: int, midr: int, el: int) -> PE:
        """Return a PE at its reset state, to enter at EL ``el`` (1 or 2); ``mpidr``, ``midr``: raw u64."""
        self._unload()
        _context_restore(self._address, self._resets[el])
        self._write_cp(sysreg.VMPIDR_EL2, mpidr)
        self._write_cp(sysreg.VPIDR_EL2, midr)
        self._write_cp(sysreg.CONTEXTIDR_EL1, 0)
        context = self._save_new()
        address = context.value
        assert address is not None
        pe = PE(index, mpidr, midr, context, Env(address + layout.CONTEXT_HEADER))
        self.set_overrides(pe, el, {})
        return pe

    def set_overrides(self, pe: PE, el: int, values: Mapping[sysreg.Encoding, int]) -> None:
        """Make these system registers (u64), no others, read so on this PE, which is entered at ``el``."""
        pe.overrides.clear()
        if el == 2:  # at EL2 MPIDR_EL1 and MIDR_EL1 are the physical ones
            self.override(pe, sysreg.MPIDR_EL1, pe.mpidr)
            self.override(pe, sysreg.MIDR_EL1, pe.midr)
        for encoding, value in values.items():
            self.override(pe, encoding, value)

    def override(self, pe: PE, encoding: sysreg.Encoding, value: int) -> None:
        """Make a system register read as ``value`` (u64) on this PE."""
        pe.overrides[encoding] = value
        if encoding not in self._code.watched_mrs:
            self._code.watched_mrs.add(encoding)
            self.forget_code()

    def disarm(self, pe: PE) -> None:
        """Clear the exclusive monitor of ``pe``, which is no event for it."""
        self.armed_monitors.pop(pe, None)
        pe.open_monitor()

    def reset(self, pe: PE, el: int, entry_pa: int, x0: int) -> None:
        """Switch ``pe`` on at ``entry_pa``. X1..X30 are unspecified and hold a pattern."""
        self._unload()
        reset = self._resets[el].value
        assert reset is not None
        memmove(pe.saved_env.address, reset + layout.CONTEXT_HEADER, layout.CONTEXT_BYTES)
        pe.saved_env.u64(layout.VMPIDR_EL2).value = pe.mpidr
        pe.saved_env.u64(layout.VPIDR_EL2).value = pe.midr
        pattern = 0xDEAD_0000_0000_0000 | pe.index << 16
        pe.x[0:31] = [x0, *range(pattern + 1, pattern + 31)]
        pe.pc = entry_pa
        pe.reached = -1
        self._block = 0
        self.disarm(pe)

    def observe_memory(self) -> None:
        """From now on count memory accesses, and record them and the rest if ``record`` is set.

        Before, a PE runs without any memory hook.
        """
        if self.steps is not None and self._step_hook is None:
            self._hook_steps(self.steps)
        hooked = self._code.observing
        if self._code.observe(self.record is not None):
            if not hooked:
                read, write = self._memory_hooks()
                self._memory_hook_handles = [
                    self._hook(uc_module.UC_HOOK_MEM_READ, read),
                    self._hook(uc_module.UC_HOOK_MEM_WRITE, write),
                ]
            self.forget_code()

    def unobserve(self) -> None:
        """Neither count nor record from now on, as before :meth:`observe_memory`."""
        for handle in self._memory_hook_handles:
            error = uclib.uc_hook_del(self._handle, handle)
            assert error == 0, f"uc_hook_del: {error}"
        self._memory_hook_handles = []
        if self._step_hook is not None:
            error = uclib.uc_hook_del(self._handle, self._step_hook)
            assert error == 0, f"uc_hook_del: {error}"
            self._step_hook = None
        self._code.unobserve()
        self.forget_code()

    def step_recorder(self) -> StepRecorder:
        """Return a recorder of instructions; as ``steps`` it gets those after :meth:`observe_memory`."""
        return StepRecorder(self._traced(), layout.traced_columns)

    def _traced(self) -> memoryview:
        # The part of the live state that a trace of instructions copies.
        live = (c_char * layout.TRACED_BYTES).from_address(self._live.address + layout.TRACED)
        return memoryview(live).cast("B")

    @property
    def begun(self) -> int:
        """Instructions begun that the running PE's counter does not have yet; only while ``timed``."""
        return int(self._counter.value)

    def take_state(self, pe: PE) -> None:
        """Give ``steps`` the state that ``pe`` stops in, as if it were about to do an instruction."""
        self._load(pe)
        assert self.steps is not None
        self.steps.take()

    def _hook_steps(self, steps: StepRecorder) -> None:
        # A hook on every instruction. The hooks of sites must come after it: what they do changes the state,
        # and what they stop is not shown to the hooks behind.
        def on_instruction() -> None:
            try:
                place()[:] = source
            except ValueError:
                full()

        def full() -> None:
            try:
                steps.make_room()
            except BaseException as error:
                self._error = error
                _emu_stop(self._address)

        place, source = steps.place, steps.source
        for handle in self._site_hooks.values():
            error = uclib.uc_hook_del(self._handle, handle)
            assert error == 0, f"uc_hook_del: {error}"
        self._step_hook = self._hook(uc_module.UC_HOOK_CODE, _STEP_CB(on_instruction))
        for va in self._site_hooks:
            self._site_hooks[va] = self._hook(uc_module.UC_HOOK_CODE, self._on_code_cb, va, va)
        self.forget_code()

    def collect_edges(self, into: set[tuple[int, int]] | None) -> None:
        """From now on add every edge of the control flow to ``into``: VAs of a block and of the next one.

        A block is what the engine runs at a stretch: to a branch, to the end of a page, or to a word that the
        host does in its place; before the first block of a PE that was switched on it is 0. The same run
        gives the same edges, whatever ran before. Each block costs a call, so this is for one PE that is
        looked at closely. None: stop it.
        """
        self._edges = into
        if (into is None) == (self._edge_hook is None):
            return
        if into is None:
            error = uclib.uc_hook_del(self._handle, self._edge_hook)
            assert error == 0, f"uc_hook_del: {error}"
            self._edge_hook = None
        else:
            self._edge_hook = self._hook(uc_module.UC_HOOK_BLOCK, _CODE_CB(self._on_edge))
        self.forget_code()

    def break_at(self, va: int) -> None:
        """Stop any PE whose PC gets to ``va``, before the instruction runs."""
        if self._code.sites.get(va) != BREAKPOINT:
            self._add_site(va, BREAKPOINT)
            self.forget_code()

    def unbreak(self, va: int) -> None:
        """Forget a breakpoint; its hook stays and does what the word there asks for."""
        if self._code.sites.get(va) == BREAKPOINT:
            self._code.sites[va] = Class.INVISIBLE

    def forget_code(self) -> None:
        """Drop every translation and everything known about code: the host rewrote some, or hooks changed."""
        self._unload()
        self._uc.ctl_flush_tb()
        self._regime = b""  # and the TLB goes with the next PE
        self._code.forget()

    def translate(self, pe: PE, va: int) -> int | None:
        """Return the PA that ``pe`` reads at ``va`` in its current regime, or None when it is not mapped."""
        self._load(pe)
        pa = c_uint64()
        if _vmem_translate(self._address, va, uc_module.UC_PROT_READ, pa):
            return None
        return pa.value

    def translate_live(self, va: int) -> int | None:
        """Return the PA of ``va`` for the PE that runs, also in a hook; None when it is not mapped."""
        pa = c_uint64()
        return None if _vmem_translate(self._address, va, uc_module.UC_PROT_READ, pa) else pa.value

    def word(self, va: int) -> int | None:
        """Return the instruction word (u32) that the PE that runs fetches at ``va``, or None."""
        return self._code.word(va)

    def state_of(self, pe: PE) -> bytes:
        """Return everything that the engine keeps of ``pe``, for :meth:`set_state`."""
        self._unload()
        return bytes((c_char * layout.CONTEXT_BYTES).from_address(pe.saved_env.address))

    def set_state(self, pe: PE, state: bytes) -> None:
        """Put ``pe`` where it was when :meth:`state_of` gave ``state``; monitor and event are not in it."""
        self._unload()
        memmove(pe.saved_env.address, state, layout.CONTEXT_BYTES)

    def protect(self, pa: int, size: int, *, read: bool, write: bool, execute: bool) -> None:
        """Let PEs do no more than this to whole pages of memory; anything else is an external abort."""
        self._unload()
        allowed = (
            read * uc_module.UC_PROT_READ | write * uc_module.UC_PROT_WRITE | execute * uc_module.UC_PROT_EXEC
        )
        self._uc.mem_protect(pa, size, allowed)

    def nzcv(self, pe: PE) -> int:
        """Return the flags of ``pe`` as NZCV has them: bits 31:28."""
        self._load(pe)
        return int(self._uc.reg_read(regs.UC_ARM64_REG_NZCV)) & 0xF000_0000

    def set_nzcv(self, pe: PE, value: int) -> None:
        """Set the flags of ``pe``: bits 31:28 of ``value``."""
        self._load(pe)
        self._uc.reg_write(regs.UC_ARM64_REG_NZCV, value)

    def pstate(self, pe: PE) -> int:
        """Return PSTATE of ``pe`` as SPSR_ELx has it: flags, masks, EL and SPSel."""
        self._load(pe)
        return int(self._uc.reg_read(regs.UC_ARM64_REG_PSTATE))

    def system_register(self, pe: PE, encoding: sysreg.Encoding) -> int:
        """Return a system register of ``pe`` (u64) as the engine has it, whatever its overrides say."""
        self._load(pe)
        return self._read_cp(encoding)

    def vector_register(self, pe: PE, number: int) -> int:
        """Return V0..V31 of ``pe`` (u128)."""
        self._load(pe)
        return int(self._uc.reg_read(regs.UC_ARM64_REG_Q0 + number))

    @property
    def code_lines(self) -> set[int]:
        """PA >> LINE_SHIFT of every line (64 bytes) that a PE has, or may have, fetched from."""
        return self._code.lines

    def is_code(self, pa: int, size: int) -> bool:
        """Tell whether a PE has, or may have, fetched from the lines (64 bytes) of these bytes."""
        return self._code.holds(pa, size)

    # -- switching --------------------------------------------------------------------------------

    def _unload(self) -> None:
        pe = self._loaded
        if pe is not None:
            if self._live.regime.raw != self._regime:
                self._regime = b""  # it changed under this PE: the TLB may hold entries of before
            _context_save(self._address, pe.saved)
            pe.env = pe.saved_env
            self._loaded = None

    def _load(self, pe: PE) -> None:
        # Switch to `pe`; the TLB belongs to the engine, so it goes when the translation regime differs.
        if self._loaded is pe:
            return
        self._unload()
        regime: bytes = pe.env.regime.raw
        _context_restore(self._address, pe.saved)
        if regime != self._regime:
            _uc_ctl(self._address, _TLB_FLUSH)
            self._regime = regime
            self._code.stale = True
        elif pe.saved_env.pstate.value & 0xC != self._el_bits:
            self._code.stale = True
        pe.env = self._live
        self._loaded = pe

    def _enter_space(self) -> None:
        # Let the code map follow the translation regime of the PE that is loaded.
        live = self._live
        self._el_bits = live.pstate.value & 0xC
        translated = live.u64(layout.SCTLR_EL + 8 * max(self._el_bits >> 2, 1)).value & 1
        stage2 = live.u64(layout.HCR_EL2).value & 1
        self._code.enter(live.regime.raw if translated or stage2 else b"", self._el_bits)

    # -- running ----------------------------------------------------------------------------------

    def run(self, pe: PE, instructions_max: int = UNLIMITED) -> Stop:
        """Run ``pe`` at full speed until it stops or has retired ``instructions_max`` (1 at least)."""
        assert instructions_max > 0, "the engine takes 0 for no limit"
        self._load(pe)
        return self._run(pe, instructions_max)

    def run_uncounted(self, pe: PE, seconds: float = UNCOUNTED_SECONDS) -> Stop:
        """Run ``pe`` until it stops, with no limit and no instruction count: at least twice as fast.

        Before :meth:`observe_memory` only; counted and uncounted code do not mix. A loop that nothing ends is
        given up after so many ``seconds`` of host time, which is no result: what it was, a counted run says.
        """
        assert not self._code.observing, "counted code does not run uncounted"
        self._load(pe)
        self._counted = False
        self._recount = True
        counters = pe.counters.instructions
        # Not Unicorn's own time-out: its thread looks at the clock every other microsecond.
        ended = Event()
        watchdog = Thread(target=self._stop_after, args=(seconds, ended), daemon=True)
        watchdog.start()
        try:
            stop = self._run(pe, UNLIMITED)
        finally:
            ended.set()
            watchdog.join()
        pe.counters.instructions = counters
        self._counted = True
        return stop

    def _stop_after(self, seconds: float, ended: Event) -> None:
        # Again and again: a stop is lost on an engine that is just being entered, or is entered again.
        while not ended.wait(seconds):
            _emu_stop(self._address)
            seconds = _STOP_AGAIN_SECONDS

    def step(self, pe: PE) -> Stop:
        """Run one instruction."""
        self._load(pe)
        return self._run(pe, 1)

    def run_operation(self, pe: PE) -> Stop:
        """Run the operation at the PC, if there is one, then up to the next one."""
        self._load(pe)
        left = INVISIBLE_MAX
        pc, code = self._live.pc, self._code
        if code.stale:
            self._enter_space()
        va = pc.value
        count = (code.plans.get(va) or code.plan(va))[0]
        while left > 0:
            stop = self._run(pe, count)
            if stop is not STEP_LIMIT:
                return stop
            left -= count
            if code.stale:
                self._enter_space()
            va = pc.value
            count, is_operation = code.plans.get(va) or code.plan(va)
            if is_operation:
                break
        return STEP_LIMIT

    def at_operation(self, pe: PE) -> bool:
        """Tell whether the instruction at the PC is one that others can observe."""
        self._load(pe)
        if self._code.stale:
            self._enter_space()
        return self._code.plan(pe.pc)[1]

    def _run(self, pe: PE, limit: int) -> Stop:
        # `pe` is loaded. Enter the engine as often as emulated instructions and new sites make it return.
        live_pc, counters, handle, code = self._live.pc, pe.counters, self._address, self._code
        if self._recount and self._counted:
            self._recount = False
            self.forget_code()
            self._load(pe)
        self._resume_at = pe.reached if pe.reached == live_pc.value else -1
        pe.reached = -1
        while True:
            pc = live_pc.value
            if code.stale:
                self._enter_space()
            if pc not in code.blocks and not self._look_at_entry(pc):
                return self._misaligned(pc)
            self._stop = None
            self._at_site = False
            self._emulate = None
            self._exception = -1
            if self._counted:
                error = _emu_start(handle, pc, 0, 0, limit)
            else:
                error = _emu_start(handle, pc, 0, 0, 0)
            begun = self._counter.value
            if self.timed:
                self._counter.value = 0
            if self._at_site:
                begun -= 1
                if self._step_hook is not None and self._emulate is None and self.steps is not None:
                    self.steps.drop()
            elif begun > limit:
                begun = limit
            counters.instructions += begun
            limit -= begun
            if self._error is not None:
                pending, self._error = self._error, None
                raise pending
            progress = bool(self._found) or self._emulate is not None
            if self._found:
                self._install_found()
            if self._exception >= 0:
                return self._raised(pe)
            if error in _UNMAPPED:
                counters.instructions -= error not in _FETCHES
                return self._external_abort(pe, error)
            if error:
                return Unsupported(f"unicorn error {error}", live_pc.value)
            if self._emulate is not None:
                stop = self._emulated(pe, *self._emulate)
                if stop is not None:
                    return stop
                counters.instructions += 1
                limit -= 1
            elif self._stop is not None:
                return self._stop
            if limit <= 0 or not (self._counted or progress):
                return STEP_LIMIT
            self._resume_at = -1

    # -- sites ------------------------------------------------------------------------------------

    def _fetch_pa(self, va: int) -> int | None:
        # PA that the loaded PE fetches `va` from.
        pa = c_uint64()
        return None if _vmem_translate(self._address, va, uc_module.UC_PROT_EXEC, pa) else pa.value

    def _look_at_entry(self, pc: int) -> bool:
        # The engine does not announce the first block of a run. False: the PC is misaligned.
        if pc & 3:
            return False
        size = self._code.entry_size(pc)
        found = self._code.block(pc, size)
        self._code.blocks.add(pc)
        if found:
            self._found.append((pc, size, found))
            self._install_found()
        return True

    def _install_found(self) -> None:
        for va, size, sites in self._found:
            for site, kind in sites:
                self._add_site(site, kind)
            self._uc.ctl_remove_cache(va, va + size)
        self._found.clear()

    def _add_site(self, va: int, kind: int) -> None:
        hooked = va in self._code.sites
        self._code.sites[va] = kind
        self._code.replan()
        if not hooked:
            self._site_hooks[va] = self._hook(uc_module.UC_HOOK_CODE, self._on_code_cb, va, va)

    # -- hooks: called by the engine, never raise, never call out ---------------------------------

    def _on_block(self, _uc: int, block: Any, _previous: Any, _data: int) -> None:
        try:
            pc, size = block[0].pc, block[0].size
            if self._code.stale:
                self._enter_space()
            if pc & 3:
                self._stop = self._misaligned(pc)
                self._found.append((pc & -4, size + 4, []))  # the next one who comes here is to be told too
                _emu_stop(self._address)
            else:
                found = self._code.block(pc, size)
                if found:
                    self._found.append((pc, size, found))
                    _emu_stop(self._address)
        except BaseException as error:
            self._error = error
            _emu_stop(self._address)

    def _on_edge(self, _uc: int, va: int, _size: int, _data: int) -> None:
        if self._edges is not None:
            self._edges.add((self._block, va))
        self._block = va

    def _on_exception(self, _uc: int, number: int, _data: int) -> None:
        self._exception = number
        _emu_stop(self._address)

    def _on_unmapped(self, _uc: int, _kind: int, pa: int, _size: int, _value: int, _data: int) -> bool:
        self._fault_pa = pa
        return False

    def _on_code(self, _uc: int, va: int, _size: int, _data: int) -> None:
        try:
            if self._code.sites[va] == BREAKPOINT and va != self._resume_at:
                assert self._loaded is not None
                self._stop = Reached(va)
                self._loaded.reached = va
                self._at_site = True
                _emu_stop(self._address)
                return
            self._resume_at = -1
            if self._code.stale:
                self._enter_space()
            word = self._code.word(va)
            if word is not None and self._observe(va, word):
                self._at_site = True
                _emu_stop(self._address)
        except BaseException as error:
            self._error = error
            _emu_stop(self._address)

    def _observe(self, va: int, word: int) -> bool:
        # Record what the word does; True when the host must stop before it and do it instead.
        kind = a64.classify(word)
        pe, record = self._loaded, self.record
        assert pe is not None
        if self._exclusive[0] == va:
            self._exclusive[0] = 1  # no VA of an instruction; set again below
        if kind is Class.BARRIER:
            if record:
                record(Kind.BARRIER, 0, va, 0, word)
        elif kind in (Class.CACHE, Class.TLB):
            if kind is Class.TLB:
                self._code.remapped()
            elif self.maintain:
                self.maintain(pe, word, pe.x[word & 31] if word & 31 != 31 else 0)
            if record:
                target = pe.x[word & 31] if word & 31 != 31 else 0
                record(Kind.CACHE if kind is Class.CACHE else Kind.TLB, 0, va, target, word)
        elif kind is Class.SEVL:
            if record:
                record(Kind.SEVL, 0, va, 0, 0)
            pe.event = True
        elif kind is Class.YIELD:
            if record:
                record(Kind.YIELD, 0, va, 0, 0)
        elif kind in (Class.LOAD_EXCLUSIVE, Class.STORE_EXCLUSIVE):
            self._exclusive[0] = va
            self._exclusive[1] = kind
            self._exclusive[2] = self._exclusive[3] = 0
            if kind is Class.STORE_EXCLUSIVE:
                self.armed_monitors.pop(pe, None)
                pe.monitor = None
        elif kind is Class.CLREX:
            self.armed_monitors.pop(pe, None)
            pe.monitor = None
        elif kind is Class.ERET:
            self.armed_monitors.pop(pe, None)
            pe.monitor = None
            self._code.stale = True
            if record:
                el = self._spsr(pe.el) >> 2 & 3
                if el != pe.el:
                    record(Kind.EL, 0, va, 0, el)
        elif a64.uses_fp(word):
            if self._fp_trap_el(pe):
                self._emulate = (va, word, Class.FP)
                return True
        elif kind is Class.MSR:
            if changes_translation(word) and (a64.system_register(word)[2] == 1 or pe.mmu_on):
                self._code.stale = True  # with the MMU off, SCTLR and HCR alone change anything
            if record and a64.system_register(word) in _SCTLRS:
                record(Kind.MMU, 0, va, 0, pe.x[word & 31] if word & 31 != 31 else 0)
        elif kind is Class.MRS:
            self._read_register(pe, va, word)
        elif kind is Class.ZERO and self._zero_faults(pe, word):
            return False  # the engine raises what is due
        elif kind in (Class.WFE, Class.WFI, Class.SEV, Class.SPIN, Class.ZERO):
            self._emulate = (va, word, kind)
            return True
        return False

    def _read_register(self, pe: PE, va: int, word: int) -> None:
        # An MRS that reads something else on this PE: done here, inside the hook, and passed over.
        encoding = a64.system_register(word)
        value = pe.overrides.get(encoding)
        if value is None:
            if encoding not in COUNTERS:
                return
            value = self.clock()
        elif pe.el == 1:
            if encoding in _VIRTUAL:
                return  # VMPIDR_EL2 and VPIDR_EL2 say it
            if encoding[:3] == (3, 0, 0) and encoding[3] and pe.sysreg(sysreg.HCR_EL2) & _HCR_TID3:
                return  # it traps
        if word & 31 != 31:
            self._live.x[word & 31] = value
        self._uc.reg_write(regs.UC_ARM64_REG_PC, va + 4)

    def _memory_hooks(self) -> tuple[Any, Any]:
        # Closures over plain locals: these two run at every access.
        live, base_of = self._live, layout.SCTLR_EL
        pc, pstate = live.pc, live.pstate
        sctlr = [live.u64(base_of + 8 * el) for el in (1, 1, 2, 3)]  # EL0 uses SCTLR_EL1
        code_lines, monitors, exclusive = self._code.lines, self.armed_monitors, self._exclusive
        view, ram, load, store = self.memory.view, self.memory.base, Kind.LOAD, Kind.STORE
        load_x, store_x, stx = Kind.LOAD_EXCLUSIVE, Kind.STORE_EXCLUSIVE, int(Class.STORE_EXCLUSIVE)
        remembered = (live.u64(layout.EXCLUSIVE_VALUE), live.u64(layout.EXCLUSIVE_HIGH))
        quads, ram_size = self.memory.view.cast("Q"), self.memory.size
        line_last = (1 << LINE_SHIFT) - 1
        # MODEL: of an access that crosses a page the engine tells the first frame alone; the second is taken
        # to follow it.

        def on_read(_uc: int, _kind: int, pa: int, size: int, _value: int, _data: int) -> None:
            try:
                at = pa - ram
                if not 0 <= at < ram_size:
                    return  # an external abort follows
                here = pc.value
                is_exclusive = exclusive[0] == here
                if is_exclusive and exclusive[1] == stx:  # the compare of a store-exclusive
                    value = int.from_bytes(view[at : at + size], "little")
                    if value != remembered[exclusive[2] & 1].value:
                        exclusive[3] = 1
                    exclusive[2] += 1
                    return
                pe = self._loaded
                assert pe is not None
                counters = pe.counters
                counters.loads += 1
                if not sctlr[pstate.value >> 2 & 3].value & 1:
                    counters.loads_mmu_off += 1
                if pa & (size - 1):
                    self._check_unaligned(pe, here, pa)
                if self.access:
                    self.access(pe, here, pa, size, False)
                if is_exclusive:
                    pe.monitor = monitors[pe] = pa & -_GRANULE
                record = self.record
                if record:
                    if size == 8 and not at & 7:
                        value = quads[at >> 3]
                    else:
                        value = int.from_bytes(view[at : at + size], "little")
                    record(load_x if is_exclusive else load, size, here, pa, value)
            except BaseException as error:
                self._error = error

        def on_write(_uc: int, _kind: int, pa: int, size: int, value: int, _data: int) -> None:
            try:
                if not 0 <= pa - ram < ram_size:
                    return  # an external abort follows
                here = pc.value
                is_exclusive = exclusive[0] == here and exclusive[1] == stx
                if is_exclusive and exclusive[3]:
                    return  # it fails: the old value is written back
                pe = self._loaded
                assert pe is not None
                pe.counters.stores += 1
                if pa & (size - 1):
                    self._check_unaligned(pe, here, pa)
                if self.access:
                    self.access(pe, here, pa, size, True)
                if monitors:
                    self.store_clears_monitors(pa, size, pe)
                if pa >> LINE_SHIFT in code_lines or (
                    (pa & line_last) + size > line_last + 1 and pa + size - 1 >> LINE_SHIFT in code_lines
                ):
                    self._code.written()
                record = self.record
                if record:
                    kind = store_x if is_exclusive else store
                    record(kind, size, here, pa, value & ((1 << 8 * size) - 1))
                elif pa in self.watched and self.record_store:
                    self.record_store(store, size, here, pa, value & ((1 << 8 * size) - 1))
            except BaseException as error:
                self._error = error

        return _MEM_CB(on_read), _MEM_CB(on_write)

    def _check_unaligned(self, pe: PE, va: int, pa: int) -> None:
        # MODEL: hardware takes an alignment fault before the access; here it has been made and the PE ends.
        if not pe.mmu_on:
            rule = (
                "unaligned access with the MMU off "
                "(Device-nGnRnE memory: alignment fault, Arm DDI 0487 B2.15.2)"
            )
        elif (self._code.word(va) or 0) & 0x3F80_0000 == 0x0880_0000:  # LDAR, STLR and their like
            rule = "unaligned load-acquire or store-release (alignment fault, Arm DDI 0487 B2.5.2)"
        elif pe.env.u64(layout.SCTLR_EL + 8 * max(pe.el, 1)).value & _SCTLR_A:
            rule = "unaligned access with SCTLR_ELx.A set (alignment fault, Arm DDI 0487 B2.5.2)"
        else:
            return
        self._stop = Misused(rule, va, pa)
        _emu_stop(self._address)  # never resumed, so the half-done instruction does not matter

    def store_clears_monitors(self, pa: int, size: int, writer: PE | None) -> None:
        """Clear the monitor of each PE but ``writer`` whose granule the store hits: an event for it."""
        first, last = pa & -_GRANULE, (pa + size - 1) & -_GRANULE
        for pe, granule in list(self.armed_monitors.items()):
            if granule in (first, last) and pe is not writer:
                pe.open_monitor()
                pe.event = True
                self.events.append(pe)
                del self.armed_monitors[pe]

    def store_clears_monitors_in(self, pas: range) -> None:
        """Clear the monitor of each PE whose granule lies in these PAs: the host stores to all of them."""
        for granule in set(self.armed_monitors.values()):
            if pas.start < granule + _GRANULE and granule < pas.stop:
                self.store_clears_monitors(granule, 1, None)

    # -- stops ------------------------------------------------------------------------------------

    def _emulated(self, pe: PE, va: int, word: int, kind: int) -> Stop | None:
        # Do the instruction at `va` in its place. None: done, go on.
        live = self._live
        record = self.record
        if kind == Class.SPIN:
            return Parked(va)
        if kind == Class.FP:
            return Raised(0x07 << 26 | 1 << 25 | _COND_AL, None, self._fp_trap_el(pe), va)
        hcr = pe.sysreg(sysreg.HCR_EL2) if pe.el < 2 else 0
        if kind == Class.WFI and hcr & _HCR_TWI:
            return Raised(0x01 << 26 | 1 << 25 | _COND_AL, None, 2, va)
        if kind == Class.WFE and hcr & _HCR_TWE and not pe.event:
            return Raised(0x01 << 26 | 1 << 25 | _COND_AL | 1, None, 2, va)
        if kind == Class.SEV:
            if record:
                record(Kind.SEV, 0, va, 0, 0)
            live.pc.value = va + 4
            self.send_event()
            self._load(pe)  # a sleeper that woke may have switched another PE on
            return None
        if kind == Class.ZERO:
            return self._zero(pe, va, word)
        if kind == Class.WFE:
            asleep = not pe.event
            pe.event = False
            if record:
                record(Kind.WFE, 0, va, 0, int(asleep))
            if asleep:
                live.pc.value = va + 4
                pe.counters.instructions += 1
                pe.counters.wfe_sleeps += 1
                return Waiting(wfi=False)
        elif kind == Class.WFI:
            if record:
                record(Kind.WFI, 0, va, 0, 1)
            live.pc.value = va + 4
            pe.counters.instructions += 1
            return Waiting(wfi=True)
        live.pc.value = va + 4
        return None

    def _zero(self, pe: PE, va: int, word: int) -> Stop | None:
        # DC ZVA: 64 bytes at the VA's line become zero (Cortex-A72: DCZID_EL0.BS = 4).
        target = (pe.x[word & 31] if word & 31 != 31 else 0) & -64
        if not pe.mmu_on:
            rule = "DC ZVA with the MMU off (Device memory: alignment fault, Arm DDI 0487 D7.5.9)"
            return Misused(rule, va, target)
        pa = c_uint64()
        failed = _vmem_translate(self._address, target, uc_module.UC_PROT_WRITE, pa)
        assert not failed, "asked by _zero_faults()"
        if not self.memory.contains(pa.value, 64):
            return Raised(0x25 << 26 | 1 << 25 | 1 << 6 | 0x10, target, 1, va)
        if self.access:
            self.access(pe, va, pa.value, 64, True)
        self.memory.write_bytes(pa.value, bytes(64))
        pe.counters.stores += 1
        self.store_clears_monitors(pa.value, 64, pe)
        if self.is_code(pa.value, 64):
            self.forget_code()
            self._load(pe)
        if self.record:
            self.record(Kind.STORE, 64, va, pa.value, 0)
        self._live.pc.value = va + 4
        return None

    def _zero_faults(self, pe: PE, word: int) -> bool:
        # Whether DC ZVA traps (HCR_EL2.TDZ) or does not translate.
        if pe.el < 2 and pe.sysreg(sysreg.HCR_EL2) & _HCR_TDZ:
            return True
        target = (pe.x[word & 31] if word & 31 != 31 else 0) & -64
        return pe.mmu_on and bool(_vmem_translate(self._address, target, uc_module.UC_PROT_WRITE, c_uint64()))

    def _fp_trap_el(self, pe: PE) -> int:
        # EL that an access to SIMD state traps to, or 0. CPACR_EL1.FPEN (bits 21:20): 0b11 does not trap,
        # 0b01 traps EL0 only.
        el, fpen = pe.el, pe.sysreg(sysreg.CPACR_EL1) >> 20 & 3
        if (el == 1 and not fpen & 1) or (el == 0 and fpen != 3):
            return 1
        return 2 if pe.sysreg(sysreg.CPTR_EL2) & _CPTR_TFP else 0

    def _misaligned(self, pc: int) -> Stop:
        return Raised(0x22 << 26 | 1 << 25, pc, 1, pc)

    def _raised(self, pe: PE) -> Stop:
        live, number = self._live, self._exception
        syndrome = c_uint32.from_address(live.address + layout.SYNDROME).value
        far = live.u64(layout.FAULT_VA).value
        target = max(c_uint32.from_address(live.address + layout.TARGET_EL).value, 1)
        pc, ec = live.pc.value, syndrome >> 26
        if number == _EXCP_SMC:
            return Call("smc", syndrome & 0xFFFF)
        if number == _EXCP_HVC:
            return Call("hvc", syndrome & 0xFFFF)
        if number != _EXCP_SWI and ec not in (0x20, 0x21):  # a failed fetch was never begun
            pe.counters.instructions -= 1  # it did not retire
        if ec == 0 and number == 1:
            unknown = self._unknown_register(pc)
            if unknown:
                return Unsupported(unknown, pc)
        if not syndrome:
            syndrome = 1 << 25  # EC 0, IL: QEMU leaves it 0 for a few traps
        return Raised(syndrome, far if ec in _EC_ABORT_OR_PC else None, target, pc)

    def _unknown_register(self, pc: int) -> str | None:
        # An undefined MRS/MSR/SYS names a register that QEMU 5.0 or the Cortex-A72 lacks: never guess.
        word = self._code.word(pc)
        if word is not None and a64.classify(word) in (Class.MRS, Class.MSR):
            verb = "read of" if word >> 21 & 1 else "write to"
            return f"{verb} system register {sysreg.name(a64.system_register(word))}"
        return None

    def _external_abort(self, pe: PE, error: int) -> Stop:
        # MODEL: QEMU tells the PA, not the VA; with the MMU on FAR is marked not valid (FnV, ISS bit 10).
        ec, far = _UNMAPPED[error], self._fault_pa
        iss = 0x10 | (1 << 6 if error in _WRITES else 0)
        if error in _FETCHES:
            far = pe.pc
        elif pe.mmu_on:
            iss |= 1 << 10
        _uc_ctl(self._address, _TLB_FLUSH)
        return Raised(ec << 26 | 1 << 25 | iss, far, 1, pe.pc)

    # -- exception entry --------------------------------------------------------------------------

    def vector(self, pe: PE, raised: Raised) -> tuple[int, int]:
        """Return the EL that takes the exception, and the VA of the vector that is for it.

        :source: Arm DDI 0487, D1.3.2 (vectors)
        """
        el = max(raised.target_el, pe.el, 1)
        vbar = pe.sysreg(sysreg.VBAR_EL1 if el == 1 else sysreg.VBAR_EL2)
        offset = 0x400 if pe.el < el else 0x200 if pe.env.pstate.value & 1 else 0
        return el, vbar + offset & 2**64 - 1

    def deliver(self, pe: PE, raised: Raised) -> int:
        """Take the exception as the architecture says and return the EL it was taken to.

        :source: Arm DDI 0487, D1.3.1 (exception entry)
        """
        self._load(pe)
        uc = self._uc
        pstate = uc.reg_read(regs.UC_ARM64_REG_PSTATE)
        current = pstate >> 2 & 3
        el, vector = self.vector(pe, raised)
        syndrome = raised.syndrome
        ec = syndrome >> 26
        if ec in (0x20, 0x21, 0x24, 0x25):  # the EC says whether the abort came from a lower EL
            ec = (ec & ~1) | (1 if el == current else 0)
            syndrome = syndrome & 0x03FF_FFFF | ec << 26
        self._write_cp(sysreg.SPSR_EL1 if el == 1 else sysreg.SPSR_EL2, pstate)
        uc.reg_write(regs.UC_ARM64_REG_ELR_EL0 + el, raised.preferred_return)
        uc.reg_write(regs.UC_ARM64_REG_ESR_EL0 + el, syndrome)
        if raised.far is not None:
            uc.reg_write(regs.UC_ARM64_REG_FAR_EL0 + el, raised.far)
        self._set_pstate(pstate & 0xF000_0000 | pstate & 1 << 22 | 0x3C0 | el << 2 | 1)
        self._live.pc.value = vector
        self._code.stale = True
        pe.counters.exceptions += 1
        return el

    def _set_pstate(self, pstate: int) -> None:
        # Unicorn neither banks SP nor rebuilds the cached flags when the host writes PSTATE.
        uc = self._uc
        old = uc.reg_read(regs.UC_ARM64_REG_PSTATE)
        banks = [regs.UC_ARM64_REG_SP_EL0, regs.UC_ARM64_REG_SP_EL1, regs.UC_ARM64_REG_SP_EL2]
        banks.append(regs.UC_ARM64_REG_SP_EL3)
        uc.reg_write(banks[old >> 2 & 3 if old & 1 else 0], uc.reg_read(regs.UC_ARM64_REG_SP))
        uc.reg_write(regs.UC_ARM64_REG_PSTATE, pstate)
        uc.reg_write(regs.UC_ARM64_REG_SP, uc.reg_read(banks[pstate >> 2 & 3 if pstate & 1 else 0]))
        self._write_cp(sysreg.CONTEXTIDR_EL1, self._read_cp(sysreg.CONTEXTIDR_EL1))

    def _spsr(self, el: int) -> int:
        return self._read_cp(sysreg.SPSR_EL1 if el == 1 else sysreg.SPSR_EL2)

    def _read_cp(self, encoding: sysreg.Encoding) -> int:
        op0, op1, crn, crm, op2 = encoding
        return int(self._uc.reg_read(regs.UC_ARM64_REG_CP_REG, (crn, crm, op0, op1, op2)))

    def _write_cp(self, encoding: sysreg.Encoding, value: int) -> None:
        op0, op1, crn, crm, op2 = encoding
        self._uc.reg_write(regs.UC_ARM64_REG_CP_REG, (crn, crm, op0, op1, op2, value))
