"""One ``uc_engine`` and what is called on it, through ctypes where the Python binding is slow or has gaps."""

from __future__ import annotations

import mmap
from ctypes import (
    CFUNCTYPE,
    POINTER,
    PYFUNCTYPE,
    Array,
    byref,
    c_bool,
    c_char,
    c_int,
    c_int64,
    c_size_t,
    c_ubyte,
    c_uint32,
    c_uint64,
    c_void_p,
    cast,
    pointer,
)
from struct import Struct
from typing import Any
from weakref import finalize

import unicorn as uc_module
from unicorn import arm64_const as regs
from unicorn.unicorn_py3.unicorn import uclib

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.errors import EngineError
from emu.memory import PAGE_SIZE, Memory

READ, WRITE, EXECUTE = uc_module.UC_PROT_READ, uc_module.UC_PROT_WRITE, uc_module.UC_PROT_EXEC

HOOK_READ, HOOK_WRITE = uc_module.UC_HOOK_MEM_READ, uc_module.UC_HOOK_MEM_WRITE
HOOK_LOADED = uc_module.UC_HOOK_MEM_READ_AFTER
HOOK_EXCEPTION = uc_module.UC_HOOK_INTR
HOOK_FAULT = uc_module.UC_HOOK_MEM_UNMAPPED | uc_module.UC_HOOK_MEM_PROT
HOOK_PROTECTED = uc_module.UC_HOOK_MEM_WRITE_PROT  # a store to what :meth:`Handle.protect` forbids
HOOK_BLOCK, HOOK_NEW_BLOCK = uc_module.UC_HOOK_BLOCK, uc_module.UC_HOOK_EDGE_GENERATED
HOOK_CODE = uc_module.UC_HOOK_CODE
HOOK_INSTRUCTION = uc_module.UC_HOOK_INSN
MRS, MSR, SYS = regs.UC_ARM64_INS_MRS, regs.UC_ARM64_INS_MSR, regs.UC_ARM64_INS_SYS


class _Given:
    # A struct that a hook is given the address of; `string_at` takes twice as long.

    def __init__(self, fields: str) -> None:
        struct = Struct(fields)
        self._unpack = struct.unpack_from
        self._octets: type[Array[c_char]] = c_char * struct.size

    def at(self, address: int) -> tuple[int, ...]:
        return self._unpack(self._octets.from_address(address))


_BLOCK = _Given("<QHH")  # uc_tb: VA, instructions, bytes
_SYS = _Given("<5I4xQ")  # uc_arm64_cp_reg: CRn, CRm, op0, op1, op2, the value of Xt


def block_at(address: int) -> tuple[int, int]:
    """Return VA and bytes of the block of translated code that a hook is given the address of."""
    va, _, size = _BLOCK.at(address)
    return va, size


def sys_at(address: int) -> tuple[Encoding, int]:
    """Return the encoding of the SYS instruction that a hook is given the address of, and its Xt (u64)."""
    crn, crm, op0, op1, op2, value = _SYS.at(address)
    return (op0, op1, crn, crm, op2), value


CODE_CALLBACK = CFUNCTYPE(None, c_void_p, c_uint64, c_uint32, c_void_p)
EXCEPTION_CALLBACK = CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
ACCESS_CALLBACK = CFUNCTYPE(None, c_void_p, c_int, c_uint64, c_int, c_int64, c_void_p)
# Hooks that are called often: of what they do not ask for, one byte is taken, or nothing.
LOAD_CALLBACK = CFUNCTYPE(None, c_ubyte, c_ubyte, c_uint64, c_ubyte)
RECORD_CALLBACK = CFUNCTYPE(None, c_ubyte, c_ubyte, c_uint64, c_ubyte, c_uint64)
NEW_BLOCK_CALLBACK = CFUNCTYPE(None, c_ubyte, c_void_p)
SYS_CALLBACK = CFUNCTYPE(c_uint32, c_ubyte, c_ubyte, c_void_p)
# A code hook that asks for none of its arguments: they cost 0.1 us each.
STEP_CALLBACK = CFUNCTYPE(None)
FAULT_CALLBACK = CFUNCTYPE(c_bool, c_void_p, c_int, c_uint64, c_int, c_int64, c_void_p)
REGISTER_CALLBACK = CFUNCTYPE(c_uint32, c_void_p, c_int, c_void_p, c_void_p)

MMIO_READ_CALLBACK = CFUNCTYPE(c_uint64, c_void_p, c_uint64, c_uint32, c_void_p)
MMIO_WRITE_CALLBACK = CFUNCTYPE(None, c_void_p, c_uint64, c_uint32, c_uint64, c_void_p)

_START = c_int, c_void_p, c_uint64, c_uint64, c_uint64, c_size_t
emu_start = CFUNCTYPE(*_START)(("uc_emu_start", uclib))
# The same, but other threads wait for its end, and its hooks need not take the interpreter's lock.
emu_start_alone = PYFUNCTYPE(*_START)(("uc_emu_start", uclib))
emu_stop = CFUNCTYPE(c_int, c_void_p)(("uc_emu_stop", uclib))
context_save = CFUNCTYPE(c_int, c_void_p, c_void_p)(("uc_context_save", uclib))
context_restore = CFUNCTYPE(c_int, c_void_p, c_void_p)(("uc_context_restore", uclib))
_context_free = CFUNCTYPE(c_int, c_void_p)(("uc_context_free", uclib))
_uc_ctl = CFUNCTYPE(c_int, c_void_p, c_uint32)(("uc_ctl", uclib))
_TLB_FLUSH = uc_module.UC_CTL_TLB_FLUSH | uc_module.UC_CTL_IO_WRITE << 30  # no arguments
_mmio_map = CFUNCTYPE(
    c_int, c_void_p, c_uint64, c_size_t, MMIO_READ_CALLBACK, c_void_p, MMIO_WRITE_CALLBACK, c_void_p
)(("uc_mmio_map", uclib))
_vmem_translate = PYFUNCTYPE(c_int, c_void_p, c_uint64, c_int, POINTER(c_uint64))(
    ("uc_vmem_translate", uclib)
)


# Bytes of address space that a uc_engine maps for translated code, and some for the rest: where they are not
# to be had the library ends the process with a status of its own (Unicorn 2.1.4, tcg/translate-all.c).
_ROOM_SIZE = (1 << 30) + (64 << 20)


def check_room() -> None:
    """See that an engine has the address space that it needs.

    :raises EngineError: it has not
    """
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    try:
        mmap.mmap(-1, _ROOM_SIZE, flags=private).close()
    except (OSError, MemoryError):
        raise EngineError(
            f"memory: an engine needs {_ROOM_SIZE >> 20} MiB of address space, and there is less (ulimit -v)"
        ) from None


def _free_contexts(contexts: list[c_void_p]) -> None:
    for context in contexts:
        _context_free(context)


class Handle:
    """One ``uc_engine`` with ``memory`` mapped at its PA.

    :ivar uc: the binding's object, for what happens seldom
    :ivar beyond_v8_0: whether its CPU model has features of Armv8.1 and later
    :ivar address: of the ``uc_engine``, for the functions of this module
    """

    def __init__(self, memory: Memory, *, beyond_v8_0: bool = False) -> None:
        check_room()
        uc: Any = uc_module
        self.beyond_v8_0 = beyond_v8_0
        self.version = str(uc.__version__)
        self.uc = uc.Uc(uc.UC_ARCH_ARM64, uc.UC_MODE_ARM)
        self.uc.ctl_set_cpu_model(regs.UC_CPU_ARM64_MAX if beyond_v8_0 else regs.UC_CPU_ARM64_A72)
        self.uc.ctl_set_page_size(PAGE_SIZE)  # of TLB entries and blocks: 1 KiB by itself, which takes longer
        self.uc.mem_map_ptr(memory.base, memory.size, uc_module.UC_PROT_ALL, memory.host_address)
        self._uch = self.uc._uch
        address = cast(self._uch, c_void_p).value
        assert address is not None
        self.address = address
        self._found = c_uint64()  # the PA that was translated last
        self._found_at = pointer(self._found)
        self._callbacks: dict[int, Any] = {}  # kept alive
        self._contexts: list[c_void_p] = []
        finalize(self, _free_contexts, self._contexts).atexit = False

    def stop(self) -> None:
        """Leave ``emu_start`` as soon as the hook that calls this has returned."""
        emu_stop(self.address)

    # -- hooks ------------------------------------------------------------------------------------

    def hook(self, kind: int, callback: Any, begin: int = 1, end: int = 0, *more: c_int) -> c_size_t:
        """Add a hook for addresses ``begin`` to ``end``, all of them by default, and return its handle.

        :param more: of HOOK_INSTRUCTION: the instruction
        """
        handle = c_size_t()
        error = uclib.uc_hook_add(
            self._uch,
            byref(handle),
            kind,
            cast(callback, c_void_p),
            None,
            c_uint64(begin),
            c_uint64(end),
            *more,
        )
        assert error == 0, f"uc_hook_add({kind}): {error}"
        self._callbacks[id(callback)] = callback
        return handle

    def unhook(self, handle: c_size_t) -> None:
        """Delete a hook; translations must be forgotten before the next run."""
        error = uclib.uc_hook_del(self._uch, handle)
        assert error == 0, f"uc_hook_del: {error}"

    def map_callbacks(self, pas: range, load: Any, store: Any) -> None:
        """Let accesses to whole pages of PAs call these; nothing may be mapped there."""
        error = _mmio_map(self.address, pas.start, len(pas), load, None, store, None)
        assert error == 0, f"uc_mmio_map({pas.start:#x}): {error}"
        self._callbacks[id(load)], self._callbacks[id(store)] = load, store

    # -- translations -----------------------------------------------------------------------------

    def flush_tlb(self) -> None:
        """Forget every translated address."""
        _uc_ctl(self.address, _TLB_FLUSH)

    def flush_blocks(self) -> None:
        """Forget every translated block."""
        self.uc.ctl_flush_tb()

    def forget_block(self, va: int, size: int) -> None:
        """Forget what was translated of these bytes of code."""
        self.uc.ctl_remove_cache(va, va + size)

    def translate(self, va: int, access: int = READ) -> int | None:
        """Return the PA of ``va`` in the current regime for READ, WRITE or EXECUTE; None: it faults."""
        return None if _vmem_translate(self.address, va, access, self._found_at) else self._found.value

    def fetch_pa(self, va: int) -> int | None:
        """Return the PA that ``va`` is fetched from, or None."""
        return self.translate(va, EXECUTE)

    def protect(self, pa: int, size: int, allowed: int) -> None:
        """Allow no more than READ, WRITE and EXECUTE in ``allowed`` on whole pages."""
        self.uc.mem_protect(pa, size, allowed)

    # -- contexts and registers -------------------------------------------------------------------

    def save_new(self) -> c_void_p:
        """Return a new context with the current state."""
        context = c_void_p()
        assert uclib.uc_context_alloc(self._uch, byref(context)) == 0
        self._contexts.append(context)
        context_save(self.address, context)
        return context

    def context_size(self) -> int:
        """Return the size of a context in bytes, header included."""
        return int(uclib.uc_context_size(self._uch))

    def read(self, register: int) -> int:
        """Return a register by Unicorn's number for it."""
        return int(self.uc.reg_read(register))

    def write(self, register: int, value: int) -> None:
        """Set a register by Unicorn's number for it."""
        self.uc.reg_write(register, value)

    def write_pc(self, va: int) -> None:
        """Go on at ``va`` after the code hook that calls this; a write of the state alone would not."""
        self.uc.reg_write(regs.UC_ARM64_REG_PC, va)

    def read_system(self, encoding: Encoding) -> int:
        """Return a system register (u64)."""
        op0, op1, crn, crm, op2 = encoding
        return int(self.uc.reg_read(regs.UC_ARM64_REG_CP_REG, (crn, crm, op0, op1, op2)))

    def write_system(self, encoding: Encoding, value: int) -> None:
        """Set a system register; this rebuilds QEMU's cached flags."""
        op0, op1, crn, crm, op2 = encoding
        self.uc.reg_write(regs.UC_ARM64_REG_CP_REG, (crn, crm, op0, op1, op2, value))

    def write_pstate(self, pstate: int) -> None:
        """Set PSTATE with the SP that belongs to it.

        Unicorn neither banks SP nor rebuilds the cached flags when the host writes PSTATE.
        """
        uc = self.uc
        old = uc.reg_read(regs.UC_ARM64_REG_PSTATE)
        uc.reg_write(_BANKS[old >> 2 & 3 if old & 1 else 0], uc.reg_read(regs.UC_ARM64_REG_SP))
        uc.reg_write(regs.UC_ARM64_REG_PSTATE, pstate)
        uc.reg_write(regs.UC_ARM64_REG_SP, uc.reg_read(_BANKS[pstate >> 2 & 3 if pstate & 1 else 0]))
        self.write_system(sysreg.CONTEXTIDR_EL1, self.read_system(sysreg.CONTEXTIDR_EL1))


X_REGISTERS = (
    *range(regs.UC_ARM64_REG_X0, regs.UC_ARM64_REG_X0 + 29),
    regs.UC_ARM64_REG_X29,
    regs.UC_ARM64_REG_X30,
)
_BANKS = (
    regs.UC_ARM64_REG_SP_EL0,
    regs.UC_ARM64_REG_SP_EL1,
    regs.UC_ARM64_REG_SP_EL2,
    regs.UC_ARM64_REG_SP_EL3,
)
