"""A PE on Unicorn: one register context, read and written in place."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import Array, c_uint64, c_void_p
from typing import TYPE_CHECKING

from unicorn import arm64_const as regs

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.cores import core_of
from emu.cpu.exceptions import CpuException, enter, target_el, vector_va
from emu.cpu.pe import Counters
from emu.cpu.sysregs.rows import TABLE
from emu.cpu.translation import control
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.binding import READ, WRITE
from emu.cpu.unicorn.state import Env

if TYPE_CHECKING:
    from emu.cpu.unicorn.contexts import Contexts

# NZCV, UAO, PAN, SS, IL, DAIF, EL and SP: the engine keeps others that an SPSR had at an exception return.
_PSTATE = 0xF0F0_03CF
_BTYPE = 3 << 10
_SCTLR_SPAN = 1 << 23
_E2H_TGE = sysreg.HCR_E2H | sysreg.HCR_TGE
_OPEN_MONITOR = 2**64 - 1


class UnicornPE:
    """One core of the engine that ``contexts`` belong to (:class:`emu.cpu.pe.PE`).

    :ivar saved: the engine's handle of the saved context
    :ivar saved_env: the state in there
    :ivar lines: bit 0: IRQ is asserted, bit 1: FIQ is
    :ivar env: the live state while the engine has this PE loaded, else the saved one
    """

    __slots__ = (
        "_contexts",
        "_pstate_bits",
        "core",
        "counters",
        "e2h_res1",
        "entry_el",
        "env",
        "index",
        "lines",
        "midr",
        "mpidr",
        "overrides",
        "reached",
        "saved",
        "saved_env",
    )

    def __init__(
        self, index: int, mpidr: int, midr: int, saved: c_void_p, env: Env, contexts: Contexts
    ) -> None:
        self.index = index
        self.mpidr = mpidr
        self.midr = midr
        self.core = core_of(midr)
        self.entry_el = 1
        self.e2h_res1 = False
        self.saved = saved
        self.saved_env = env
        self.env = env
        self.overrides: dict[Encoding, int] = {}
        self.reached = -1
        self.lines = 0
        self.counters = Counters()
        self._contexts = contexts
        self._pstate_bits = _PSTATE | (_BTYPE if self.core.has("FEAT_BTI") else 0)

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
    def daif(self) -> int:
        """PSTATE.D, A, I and F as the DAIF register has them: bits 9:6."""
        return self.env.u64(layout.DAIF).value & 0x3C0

    @property
    def mmu_on(self) -> bool:
        """Whether stage 1 translation of the current EL is enabled (SCTLR_ELx.M)."""
        return bool(self.sctlr & 1)

    @property
    def sctlr(self) -> int:
        """SCTLR_ELx of the current regime: of EL0 mostly SCTLR_EL1."""
        return control(self)

    @property
    def nzcv(self) -> int:
        """The flags as NZCV has them: bits 31:28."""
        return self._contexts.loaded_handle(self).read(regs.UC_ARM64_REG_NZCV) & 0xF000_0000

    @nzcv.setter
    def nzcv(self, value: int) -> None:
        self._contexts.loaded_handle(self).write(regs.UC_ARM64_REG_NZCV, value)

    @property
    def pstate(self) -> int:
        """PSTATE as SPSR_ELx has it: flags, masks, EL and SPSel."""
        return self._contexts.loaded_handle(self).read(regs.UC_ARM64_REG_PSTATE)

    def stack_pointer(self, el: int) -> int:
        """Return SP_ELx (VA), whether it is in use or banked."""
        in_use = self.el if self.env.pstate.value & 1 else 0
        return self.env.x[31] if el == in_use else self.env.u64(layout.SP_EL + 8 * el).value

    def general(self, first: int, count: int) -> bytes:
        """Return ``count`` registers from ``first`` on, 8 bytes each, little-endian: X0..X30, SP, PC."""
        return self.env.general.raw[8 * first : 8 * (first + count)]

    def sysreg(self, encoding: Encoding) -> int:
        """Return a system register (u64) at little cost; only those that a saved context has at hand."""
        return self.env.u64(layout.IN_CONTEXT[encoding]).value

    def system_register(self, encoding: Encoding) -> int:
        """Return any system register (u64) as the engine has it, whatever the overrides say."""
        kept = layout.KEPT.get(encoding)
        if kept is not None:
            return self.env.u64(kept).value
        return self._contexts.loaded_handle(self).read_system(encoding)

    def set_system_register(self, encoding: Encoding, value: int) -> None:
        """Set a system register (u64) as if the PE had written it, without its traps."""
        kept = layout.KEPT.get(encoding)
        if kept is not None:
            self.env.u64(kept).value = value
            return
        self._contexts.loaded_handle(self).write_system(encoding, value)
        self._contexts.code.stale = True

    def vector_register(self, number: int) -> int:
        """Return V0..V31 (u128)."""
        return self._contexts.loaded_handle(self).read(regs.UC_ARM64_REG_Q0 + number)

    def translate(self, va: int, *, is_store: bool = False) -> int | None:
        """Return the PA that the PE reads, or writes, at ``va`` in its current regime; None: it faults."""
        return self._contexts.loaded_handle(self).translate(va, WRITE if is_store else READ)

    def override(self, encoding: Encoding, value: int) -> None:
        """Make a system register read as ``value`` (u64) on this PE."""
        self.overrides[encoding] = value
        self._contexts.watch_reads_of(encoding)

    def set_overrides(self, el: int, values: Mapping[Encoding, int]) -> None:
        """Make these system registers (u64), no others, read so on this PE, which is entered at ``el``."""
        self.overrides.clear()
        for encoding in self.core.identification:
            self._contexts.watch_reads_of(encoding)
        if el == 2:  # which reads the physical MPIDR_EL1 and MIDR_EL1
            for row in TABLE.values():
                if row.virtual is not None and row.value is not None:
                    self.override(row.encoding, row.value(self))
        for encoding, value in values.items():
            self.override(encoding, value)

    def state(self) -> bytes:
        """Return everything that the engine keeps of the PE, for :meth:`set_state`."""
        return self._contexts.state_of(self)

    def state_without_general(self) -> bytes:
        """Return the same without X0..X30, SP and PC."""
        state = self.state()
        return state[: layout.XREGS] + state[layout.PC + 8 :]

    def set_state(self, state: bytes) -> None:
        """Restore what :meth:`state` returned; monitor and event register are not in it."""
        self._contexts.set_state(self, state)

    def vector(self, exception: CpuException) -> int:
        """Return the VA of the vector that the exception would be taken to now."""
        return vector_va(exception, self.env.pstate.value, self._vbar(exception))

    def take(self, exception: CpuException) -> int:
        """Take the exception as the architecture says and return the EL it was taken to."""
        handle = self._contexts.loaded_handle(self)
        pstate = handle.read(regs.UC_ARM64_REG_PSTATE) & self._pstate_bits
        sets_pan = self._sets_pan(target_el(exception, self.el))
        entry = enter(exception, self.pc, pstate, self._vbar(exception), sets_pan=sets_pan)
        handle.write_system(sysreg.SPSR_EL1 if entry.el == 1 else sysreg.SPSR_EL2, entry.spsr)
        handle.write(regs.UC_ARM64_REG_ELR_EL0 + entry.el, entry.elr)
        if entry.esr is not None:
            handle.write(regs.UC_ARM64_REG_ESR_EL0 + entry.el, entry.esr)
        if entry.far is not None:
            handle.write(regs.UC_ARM64_REG_FAR_EL0 + entry.el, entry.far)
        handle.write_pstate(entry.pstate)
        self.env.pc.value = entry.pc
        self._contexts.code.stale = True
        self.counters.exceptions += 1
        return entry.el

    def _sets_pan(self, el: int) -> bool:
        # Arm DDI 0487, AArch64.TakeException(): at EL1, and at EL2 where it hosts EL0.
        if not self.core.has("FEAT_PAN2"):
            return False
        if el == 2 and self.sysreg(sysreg.HCR_EL2) & _E2H_TGE != _E2H_TGE:
            return False
        return not self.sysreg(sysreg.SCTLR_EL1 if el == 1 else sysreg.SCTLR_EL2) & _SCTLR_SPAN

    def _vbar(self, exception: CpuException) -> int:
        el = target_el(exception, self.el)
        return self.sysreg(sysreg.VBAR_EL1 if el == 1 else sysreg.VBAR_EL2)

    def reset_counters(self) -> None:
        """Set the counters to 0: what was done so far was preparation."""
        self.counters = Counters()

    def open_monitor(self) -> None:
        """Make the next store-exclusive fail: the interconnect has cleared the monitor."""
        self.env.u64(layout.EXCLUSIVE_ADDR).value = _OPEN_MONITOR
