"""A processing element: one register context, read and written in place.

The context is QEMU's ``CPUARMState`` as Unicorn keeps it. This table is the only place that knows its
layout; :class:`emu.engine.Engine` checks it against the Unicorn API before the first instruction, on
whatever host it runs.
"""

from __future__ import annotations

from array import array
from ctypes import Array, c_char, c_uint32, c_uint64

from emu.arch import sysreg
from emu.arch.sysreg import Encoding

CONTEXT_HEADER = 40  # bytes of UcContext before the CPUARMState
CONTEXT_BYTES = 12600  # of the CPUARMState that a context keeps
CPUSTATE_IN_ENGINE = 0x1B8
ENV_IN_CPUSTATE = 0x128
COUNTER_IN_ENGINE = 0x558  # instructions begun since emu_start
XREGS, PC, PSTATE = 64, 320, 328
ELR_EL, SP_EL, SCTLR_EL, CPACR, CPTR_EL = 568, 600, 672, 704, 712
CF, VF, NF, ZF, DAIF = 520, 524, 528, 532, 560
TTBR0_EL, TTBR1_EL, VTTBR_EL2, TCR_EL, VTCR_EL2 = 768, 800, 832, 840, 904
HCR_EL2, SCR_EL3, ESR_EL, FAR_EL = 952, 960, 984, 1048
MAIR_EL, VBAR_EL, CONTEXTIDR_EL, TPIDR_EL = 1184, 1216, 1264, 1296
VPIDR_EL2, VMPIDR_EL2, SYNDROME, FAULT_VA, TARGET_EL = 2824, 2832, 3024, 3032, 3040
EXCLUSIVE_ADDR, EXCLUSIVE_VALUE, EXCLUSIVE_HIGH = 12032, 12040, 12048
# What a TLB entry depends on lies in here: SCTLR, TTBR0, TTBR1, VTTBR, TCR, VTCR, HCR and SCR of all levels.
REGIME, REGIME_SIZE = SCTLR_EL, SCR_EL3 + 8 - SCTLR_EL

# What a trace of instructions copies of the state, from X0 to PSTATE.DAIF; where in it, in u64, things are.
TRACED, TRACED_BYTES = XREGS, DAIF + 8 - XREGS
_PC_AT, _PSTATE_AT, _CF_AT, _NF_AT, _DAIF_AT = ((at - XREGS) // 8 for at in (PC, PSTATE, CF, NF, DAIF))
_SIGN_N, _SIGN_V = (bytes(bit if byte >> 7 else 0 for byte in range(256)) for bit in (0x80, 0x10))
_IS_ZERO = bytes([0x40]) + bytes(255)
_CARRY = bytes([0]) + bytes([0x20]) * 255
_LEVEL = bytes(byte & 0xD for byte in range(256))  # PSTATE.EL and SPSel
_LOW = bytes(byte & 0xF for byte in range(256))

# Registers that can be read from a saved context, by encoding.
_IN_CONTEXT: dict[Encoding, int] = {
    sysreg.SCTLR_EL1: SCTLR_EL + 8,
    sysreg.SCTLR_EL2: SCTLR_EL + 16,
    sysreg.CPACR_EL1: CPACR,
    sysreg.CPTR_EL2: CPTR_EL + 16,
    sysreg.TTBR0_EL1: TTBR0_EL + 8,
    sysreg.TTBR1_EL1: TTBR1_EL + 8,
    sysreg.TCR_EL1: TCR_EL + 16,
    sysreg.MAIR_EL1: MAIR_EL + 8,
    sysreg.VBAR_EL1: VBAR_EL + 8,
    sysreg.VBAR_EL2: VBAR_EL + 16,
    sysreg.TPIDR_EL1: TPIDR_EL + 8,
    sysreg.TPIDR_EL2: TPIDR_EL + 16,
    sysreg.CONTEXTIDR_EL1: CONTEXTIDR_EL + 8,
    sysreg.HCR_EL2: HCR_EL2,
    sysreg.SCR_EL3: SCR_EL3,
    sysreg.VMPIDR_EL2: VMPIDR_EL2,
    sysreg.VPIDR_EL2: VPIDR_EL2,
}
_OPEN_MONITOR = 2**64 - 1


class Env:
    """A view of one ``CPUARMState`` at a host address."""

    __slots__ = ("address", "pc", "pstate", "regime", "x")

    def __init__(self, address: int) -> None:
        self.address = address
        self.x: Array[c_uint64] = (c_uint64 * 32).from_address(address + XREGS)
        self.pc = c_uint64.from_address(address + PC)
        self.pstate = c_uint32.from_address(address + PSTATE)
        self.regime: Array[c_char] = (c_char * REGIME_SIZE).from_address(address + REGIME)

    def u64(self, offset: int) -> c_uint64:
        """Return the 64-bit cell at ``offset`` bytes into the state."""
        return c_uint64.from_address(self.address + offset)


def traced_columns(copies: array[int], count: int) -> tuple[list[array[int]], bytes, bytes]:
    """Return what so many copies of the state have, column by column, for :mod:`emu.instructions`.

    That is u64 X0..X30, SP and PC, then a byte NZCV << 4 | EL << 2 | SPSel and a byte DAIF of each.
    """
    width = TRACED_BYTES // 8

    def column(at: int) -> array[int]:
        return copies[at : count * width : width]

    carry, negative = column(_CF_AT).tobytes(), column(_NF_AT).tobytes()
    # QEMU keeps the flags apart: N and V are bit 31 of NF and VF, Z is ZF == 0, C is CF.
    nonzero = 0
    for byte in range(4, 8):
        nonzero |= int.from_bytes(negative[byte::8], "little")
    planes = (
        negative[3::8].translate(_SIGN_N),
        nonzero.to_bytes(count, "little").translate(_IS_ZERO),
        carry[0::8].translate(_CARRY),
        carry[7::8].translate(_SIGN_V),
        column(_PSTATE_AT).tobytes()[0::8].translate(_LEVEL),
    )
    flags = 0
    for plane in planes:
        flags |= int.from_bytes(plane, "little")
    masks = int.from_bytes(column(_DAIF_AT).tobytes(), "little") >> 6
    daif = masks.to_bytes(8 * count, "little")[0::8].translate(_LOW)
    words = [column(at) for at in (*range(32), _PC_AT)]
    return words, flags.to_bytes(count, "little"), daif


class Counters:
    """What a PE has done, exact at every speed. All are counts of retired instructions or accesses."""

    __slots__ = ("calls", "exceptions", "instructions", "loads", "loads_mmu_off", "stores", "wfe_sleeps")

    def __init__(self) -> None:
        self.instructions = 0
        self.loads = 0
        self.loads_mmu_off = 0
        self.stores = 0
        self.wfe_sleeps = 0
        self.calls = 0
        self.exceptions = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class PE:
    """One core: ``x`` is X0..X30 and the current SP at index 31 (u64 each), ``pc`` a VA."""

    __slots__ = (
        "counters",
        "env",
        "event",
        "index",
        "midr",
        "monitor",
        "mpidr",
        "overrides",
        "reached",
        "saved",
        "saved_env",
    )

    def __init__(self, index: int, mpidr: int, midr: int, saved: object, env: Env) -> None:
        self.index = index
        self.mpidr = mpidr
        self.midr = midr
        self.saved = saved  # the engine's handle of the saved context
        self.saved_env = env
        self.env = env  # the live state while the engine has this PE loaded
        self.overrides: dict[Encoding, int] = {}  # ID registers that read differently on this PE
        self.event = False  # the event register (Arm DDI 0487, D1.7.1)
        self.monitor: int | None = None  # PA of the exclusive granule while the local monitor is armed
        self.reached = -1  # VA of the breakpoint that the PE stands at: going on passes it
        self.counters = Counters()

    @property
    def x(self) -> Array[c_uint64]:
        """X0..X30, and the current stack pointer at index 31."""
        return self.env.x

    @property
    def pc(self) -> int:
        """VA of the next instruction."""
        return self.env.pc.value

    @pc.setter
    def pc(self, va: int) -> None:
        self.env.pc.value = va

    @property
    def el(self) -> int:
        """Current exception level, 0..3."""
        return self.env.pstate.value >> 2 & 3

    @property
    def sp(self) -> int:
        """The current stack pointer (VA)."""
        return self.env.x[31]

    @property
    def sp_el0(self) -> int:
        """SP_EL0; at EL1h this is the kernel's ``current``."""
        return self.env.x[31] if not self.env.pstate.value & 1 else self.env.u64(SP_EL).value

    @property
    def daif(self) -> int:
        """PSTATE.D, A, I and F as the DAIF register has them: bits 9:6."""
        return self.env.u64(DAIF).value & 0x3C0

    @property
    def mmu_on(self) -> bool:
        """Whether stage 1 translation of the current EL is enabled (SCTLR_ELx.M)."""
        return bool(self.env.u64(SCTLR_EL + 8 * max(self.el, 1)).value & 1)

    def sysreg(self, encoding: Encoding) -> int:
        """Return a system register of this PE (u64); only those that the saved context keeps."""
        return self.env.u64(_IN_CONTEXT[encoding]).value

    def reset_counters(self) -> None:
        """Begin to count anew: what was done so far was preparation."""
        self.counters = Counters()

    def open_monitor(self) -> None:
        """Clear the local exclusive monitor: the next store-exclusive fails."""
        self.monitor = None
        self.env.u64(EXCLUSIVE_ADDR).value = _OPEN_MONITOR
