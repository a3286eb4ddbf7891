"""Instruction words that the engine must not execute: they are done in its place, between two entries.

Which these are is told by :mod:`emu.cpu.unicorn.observed_words`.
"""

from __future__ import annotations

from unicorn import arm64_const as regs

from emu import constraints
from emu.arch import a64, sysreg
from emu.arch.a64 import Other
from emu.cpu.attributes import attribute, is_device
from emu.cpu.exception_return import is_illegal, is_to_aarch32, pstate_after
from emu.cpu.exceptions import ALIGNMENT_FAULT, EXTERNAL_ABORT, abort_syndrome
from emu.cpu.pe import PE, operand
from emu.cpu.stops import ConstraintViolation, EngineStop, Raised, SelfBranch, Unsupported, Waiting
from emu.cpu.sysregs import access as sysregs
from emu.cpu.sysregs.rows import TABLE
from emu.cpu.traps import default_target_el, fp_trap_el, wfe_trap_el, wfi_trap_el
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.accesses import misaligned_quad
from emu.cpu.unicorn.binding import WRITE
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.faults import abort_behind
from emu.cpu.unicorn.misrun import MISRUN, Misrun
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pe import UnicornPE
from emu.memory import Memory
from emu.operation import Kind

_COND_AL = 0x1E << 20  # ISS: CV set, condition AL


class EmulatedWords:
    """Does these words, of the PE that is loaded."""

    def __init__(self, observing: Observing, contexts: Contexts, memory: Memory, misrun: Misrun) -> None:
        self._observing = observing
        self._contexts = contexts
        self._handle = contexts.handle
        self._live = contexts.live
        self._code = contexts.code
        self._memory = memory
        self._misrun = misrun
        self._btype = self._live.u32(layout.BTYPE)

    def emulate(self, pe: UnicornPE, va: int, word: int, kind: int) -> EngineStop | None:
        """Do the instruction at ``va`` in its place. None: done, go on."""
        stop = self._emulate(pe, va, word, kind)
        if kind != Other.ERET and self._live.pc.value == va + 4:
            self._btype.value = 0
        return stop

    def _emulate(self, pe: UnicornPE, va: int, word: int, kind: int) -> EngineStop | None:
        live = self._live
        record = self._observing.record
        if kind == Kind.PARK:
            return SelfBranch(va)
        if kind == MISRUN:
            return self._misrun.do(pe, va, word)
        if kind == Other.FP:
            el = fp_trap_el(pe)
            if not el:
                return misaligned_quad(pe, word, va, self._memory)
            if el == 1 and default_target_el(pe) == 2:  # HCR_EL2.TGE sends it to EL2, as an UNDEFINED
                return Raised(1 << 25, None, 2, va)
            return Raised(0x07 << 26 | 1 << 25 | _COND_AL, None, el, va)
        if kind in (Other.MRS, Other.MSR):
            row = TABLE[a64.system_register(word)]
            if not sysregs.has_register(pe, row):
                return Raised(1 << 25, None, default_target_el(pe), va)
            el = sysregs.trap_el(row, pe, is_write=kind == Other.MSR)
            return Raised(sysregs.trapped_access(word), None, el, va)
        if kind == Other.ERET:
            return self._return_to_illegal_state(pe, va)
        if kind == Kind.WFI and (el := wfi_trap_el(pe)):
            return Raised(0x01 << 26 | 1 << 25 | _COND_AL, None, el, va)
        if kind == Kind.WFE and (el := wfe_trap_el(pe)) and not self._observing.to.has_event(pe):
            return Raised(0x01 << 26 | 1 << 25 | _COND_AL | 1, None, el, va)
        if kind == Kind.SEV:
            if record:
                record(pe, Kind.SEV, 0, va, 0, 0)
            live.pc.value = va + 4
            self._observing.to.send_event(pe)
            self._contexts.load(pe)  # a sleeper that woke may have switched another PE on
            return None
        if kind == Other.ZERO:
            return self._zero(pe, va, word)
        if kind == Kind.WFE:
            asleep = self._observing.to.wait_for_event(pe)
            if record:
                record(pe, Kind.WFE, 0, va, 0, int(asleep))
            if asleep:
                live.pc.value = va + 4
                pe.counters.instructions += 1
                pe.counters.wfe_sleeps += 1
                return Waiting(Kind.WFE)
        elif kind == Kind.WFI:
            if record:
                record(pe, Kind.WFI, 0, va, 0, 1)
            live.pc.value = va + 4
            pe.counters.instructions += 1
            return Waiting(Kind.WFI)
        live.pc.value = va + 4
        return None

    def _return_to_illegal_state(self, pe: PE, va: int) -> EngineStop | None:
        # An ERET after which PSTATE.IL is set, or that goes where the engine does not.
        spsr = self._handle.read_system(sysreg.SPSR_EL1 if pe.el == 1 else sysreg.SPSR_EL2)
        illegal = is_illegal(spsr, pe.el, pe.sysreg(sysreg.HCR_EL2), aarch32_max=pe.core.aarch32_max)
        if not illegal and is_to_aarch32(spsr):
            return Unsupported("exception return to AArch32 state", va)
        elr = self._handle.read(regs.UC_ARM64_REG_ELR_EL0 + pe.el)
        self._handle.write_pstate(pstate_after(spsr, pe.pstate, illegal=illegal))
        self._live.pc.value = elr
        self._code.stale = True
        return None

    def _zero(self, pe: PE, va: int, word: int) -> EngineStop | None:
        # DC ZVA: 64 bytes at the VA's line become zero (Cortex-A72: DCZID_EL0.BS = 4).
        observing = self._observing
        given = operand(pe.x, word & 31)  # FAR has it as it is
        target = given & -64
        pa = self._handle.translate(target, WRITE)
        assert pa is not None, "asked by _zero_faults()"
        abort = abort_behind(pe, given, self._memory, is_store=True)
        if abort.syndrome & 0x3F != EXTERNAL_ABORT:
            return abort  # of the translation, so before any of the attributes
        if is_device(attribute(pe, target, self._memory.u64)):
            syndrome = abort_syndrome(ALIGNMENT_FAULT, is_store=True)
            raised = Raised(syndrome, given, default_target_el(pe), va)
            return ConstraintViolation(constraints.ZERO_DEVICE.name, va, pa, raised)
        if not self._memory.contains(pa, 64):
            return abort
        if observing.access:
            observing.access(pe, va, pa, 64, True)
        self._memory.write_bytes(pa, bytes(64))
        self._code.stored.update(range(pa >> 2, pa + 64 >> 2))
        pe.counters.stores += 1
        self._observing.to.stored(pe, pa, 64)
        if self._code.holds(pa, 64):
            self._contexts.forget_code()
            self._contexts.load(pe)
        if observing.record:
            observing.record(pe, Kind.STORE, 64, va, pa, 0)
        self._live.pc.value = va + 4
        return None
