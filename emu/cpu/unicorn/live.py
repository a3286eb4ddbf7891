"""Find the state of the running PE in Unicorn's structs, and check every offset that is used later.

No pointer is followed before the kernel has said that it can be read: on another build of Unicorn this ends
in a message, not in a signal.
"""

from __future__ import annotations

import platform
import sys
from array import array
from collections.abc import Iterator
from ctypes import c_uint64

from unicorn import arm64_const as regs

from emu.arch import sysreg
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.binding import X_REGISTERS, Handle
from emu.cpu.unicorn.process_memory import ProcessMemory
from emu.cpu.unicorn.state import Env, traced_columns
from emu.errors import EngineError
from emu.memory import Memory

_PROBE = 0x1122_3344_5566_7788
_NOP, _LDXR_X0_X1 = 0xD503_201F, 0xC85F_7C20
# Not every bit of these can be written.
_FIXED_BITS = (sysreg.SCTLR_EL1, sysreg.SCTLR_EL2, sysreg.HCR_EL2, sysreg.SCR_EL3, sysreg.CPACR_EL1)


def find_live(handle: Handle, memory: Memory) -> tuple[Env, c_uint64]:
    """Return the live state, and the engine's counter of instructions begun.

    This executes two instructions at the beginning of memory. Memory and system registers are left as they
    were.

    :raises EngineError: this build of Unicorn keeps them elsewhere
    """
    for number, register in enumerate(X_REGISTERS):
        handle.write(register, _PROBE + number)
    address = _find_env(handle)
    if address is None:
        raise _wrong(handle, "the state of the CPU is not where any known build has it")
    live = Env(address)
    counter = c_uint64.from_address(handle.address + layout.COUNTER_IN_ENGINE)
    for what, got, wanted in _check(handle, memory, live, counter):
        if got != wanted:
            raise _wrong(
                handle, f"{what} is not where {layout.__name__} has it ({got:#x}, expected {wanted:#x})"
            )
    return live, counter


def _wrong(handle: Handle, why: str) -> EngineError:
    host = f"{sys.platform} {platform.machine()}"
    return EngineError(f"unicorn {handle.version} on {host}: {why}; install the wheel of unicorn==2.1.4")


def _find_env(handle: Handle) -> int | None:
    # Address of the CPUARMState: what lies there has the registers that were written through the API. The
    # build that is meant for this host comes first.
    size = layout.CONTEXT_HEADER + layout.CONTEXT_BYTES
    if handle.context_size() != size:
        raise _wrong(handle, f"a context has {handle.context_size()} bytes, expected {size}")
    host = (sys.platform, platform.machine())
    wanted = b"".join((_PROBE + number).to_bytes(8, "little") for number in range(31))
    reader = ProcessMemory()
    try:
        if reader.read(handle.address, layout.COUNTER_IN_ENGINE + 8) is None:
            return None
        cpu = reader.pointer(handle.address + layout.CPUSTATE_IN_ENGINE)
        for build in sorted(layout.BUILDS, key=lambda build: build.host != host):
            env = reader.pointer(cpu + build.env)
            state = reader.read(env, layout.CONTEXT_BYTES)
            if state is not None and state[layout.XREGS : layout.XREGS + len(wanted)] == wanted:
                return env
    finally:
        reader.close()
    return None


def _check(handle: Handle, memory: Memory, live: Env, counter: c_uint64) -> Iterator[tuple[str, int, int]]:
    # What each offset is for, what is found there, and what the API says.
    handle.write(regs.UC_ARM64_REG_PC, _PROBE & ~3)
    yield "PC", live.pc.value, _PROBE & ~3
    for encoding, offset in layout.IN_CONTEXT.items():
        if encoding == sysreg.TTBR1_EL2 and not handle.beyond_v8_0:
            continue  # a CPU without FEAT_VHE lacks it
        before = handle.read_system(encoding)
        if encoding not in _FIXED_BITS:
            handle.write_system(encoding, 0x5566_7000 + offset * 0x1000)
        yield sysreg.name(encoding), live.u64(offset).value, handle.read_system(encoding)
        if encoding not in _FIXED_BITS:
            handle.write_system(encoding, before)  # no PE starts with a probe
    for encoding, offset in layout.FEATURES.items():
        yield f"the engine's {sysreg.name(encoding)}", live.u64(offset).value, handle.read_system(encoding)
    handle.write(regs.UC_ARM64_REG_NZCV, 0xA000_0000)
    flags = traced_columns(array("Q", live.traced().tobytes()), 1)[1][0]
    yield "NZCV", flags >> 4, 0xA
    nop, ldxr = _NOP.to_bytes(4, "little"), _LDXR_X0_X1.to_bytes(4, "little")
    kept = memory.read_bytes(memory.base, 12)
    memory.write_bytes(memory.base, nop + ldxr + nop)
    handle.write(X_REGISTERS[1], memory.base)
    handle.uc.emu_start(memory.base, 0, 0, 2)
    memory.write_bytes(memory.base, kept)
    handle.flush_blocks()
    yield "the instruction counter", counter.value, 3
    yield "the exclusive address", live.u64(layout.EXCLUSIVE_ADDR).value, memory.base
    yield "the exclusive value", live.u64(layout.EXCLUSIVE_VALUE).value, int.from_bytes(nop + ldxr, "little")
