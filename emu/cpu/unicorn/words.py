"""Instruction words that the engine shows to no hook, runs wrongly, or that read differently on each PE.

Each is a site (:mod:`emu.cpu.unicorn.sites`): its code hook calls :meth:`Words.observe`, and what the engine
must not execute is done by :meth:`Words.emulate` between two entries.
"""

from __future__ import annotations

from unicorn import arm64_const as regs

from emu import constraints
from emu.arch import a64, sysreg
from emu.arch.a64 import Other
from emu.arch.sysreg import Encoding
from emu.cpu.attributes import attribute, is_device
from emu.cpu.exception_return import IL, is_illegal, is_to_aarch32, pstate_after
from emu.cpu.exceptions import ALIGNMENT_FAULT, EXTERNAL_ABORT, abort_syndrome
from emu.cpu.faulting_address import access_address
from emu.cpu.pe import PE, operand
from emu.cpu.stops import ConstraintViolation, EngineStop, Raised, SelfBranch, Unsupported, Waiting
from emu.cpu.sysregs import access as sysregs
from emu.cpu.sysregs import vhe
from emu.cpu.sysregs.row import Row, WriteEffect
from emu.cpu.sysregs.rows import NOTED, TABLE, note_written
from emu.cpu.translation import Translation, control, walk
from emu.cpu.traps import default_target_el, fp_trap_el, wfe_trap_el, wfi_trap_el
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.accesses import misaligned_quad
from emu.cpu.unicorn.binding import WRITE
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.faults import abort_behind
from emu.cpu.unicorn.misrun import MISRUN, Misrun
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.pending import Pending
from emu.memory import Memory
from emu.operation import Kind, WrittenAtEl2

_HCR_TDZ, _SCTLR_DZE = 1 << 28, 1 << 14
_COND_AL = 0x1E << 20  # ISS: CV set, condition AL
_EMULATED = (Kind.WFE, Kind.WFI, Kind.SEV, Kind.PARK, Other.ZERO)
_TRANSLATION, _ENABLE, _MMU = int(WriteEffect.TRANSLATION), int(WriteEffect.ENABLE), int(WriteEffect.MMU)


class Words:
    """What these words do, of the PE that is loaded."""

    def __init__(self, observing: Observing, contexts: Contexts, memory: Memory, pending: Pending) -> None:
        self._observing = observing
        self._contexts = contexts
        self._handle = contexts.handle
        self._live = contexts.live
        self._code = contexts.code
        self._memory = memory
        self._pending = pending
        self._exclusive = pending.exclusive
        self._btype = self._live.u32(layout.BTYPE)
        self._misrun = Misrun(observing, contexts, memory)
        self._loaded = (self._live.u64(layout.EXCLUSIVE_VALUE), self._live.u64(layout.EXCLUSIVE_HIGH))

    # -- before the instruction -------------------------------------------------------------------

    def observe(self, va: int, word: int) -> bool:
        """Record what the word does; True when the host must stop before it and do it instead."""
        kind = a64.classify(word)
        interconnect = self._observing.to
        pe, record = self._contexts.loaded, self._observing.record
        assert pe is not None
        exclusive = self._exclusive
        if exclusive[0] == va:
            exclusive[0] = 1  # no VA of an instruction; set again below
        if self._btype.value and self._is_no_landing(pe, va):
            return False  # the engine raises what is due
        if kind is Kind.BARRIER:
            if record:
                record(pe, kind, 0, va, 0, word)
        elif kind is Kind.CACHE or kind is Kind.TLB:
            target = operand(pe.x, word & 31)
            if kind is Kind.TLB:
                self._code.remapped()
            elif a64.is_by_set_way(word):
                interconnect.maintain_by_set_way(pe, va, word, target)
            elif self._observing.access or self._observing.maintenance:
                interconnect.maintain(pe, va, word, target)
            if record:
                record(pe, kind, 0, va, target, word)
        elif kind is Kind.SEVL:
            if record:
                record(pe, kind, 0, va, 0, 0)
            interconnect.send_event_local(pe)
        elif kind is Kind.YIELD:
            if record:
                record(pe, kind, 0, va, 0, 0)
        elif kind in (Kind.LOAD_EXCLUSIVE, Kind.STORE_EXCLUSIVE):
            exclusive[0] = va
            exclusive[1] = kind
            exclusive[2] = exclusive[3] = 0
            if kind is Kind.STORE_EXCLUSIVE:
                armed_pa = interconnect.store_exclusive(pe)
                if armed_pa is None:
                    pe.open_monitor()
                else:
                    self._pass_comparison(word, armed_pa)
        elif kind is Other.CLREX:
            interconnect.clear_exclusive(pe)
        elif kind is Other.ERET and pe.el:
            interconnect.clear_exclusive(pe)
            self._code.stale = True
            spsr = self._spsr(pe.el)
            self._look_at_unset(pe, va, spsr)
            illegal = is_illegal(spsr, pe.el, pe.sysreg(sysreg.HCR_EL2), aarch32_max=pe.core.aarch32_max)
            if illegal or spsr & IL or is_to_aarch32(spsr):
                self._pending.emulate = (va, word, kind)
                return True
            if record and spsr >> 2 & 3 != pe.el:
                record(pe, Kind.EL, 0, va, 0, spsr >> 2 & 3)
        elif a64.uses_fp(word):
            if fp_trap_el(pe) or misaligned_quad(pe, word, va, self._memory):
                self._pending.emulate = (va, word, Other.FP)
                return True
        elif kind in (Other.MRS, Other.MSR):
            if self._is_undefined(pe, word) or self._is_trapped(pe, word):
                self._pending.emulate = (va, word, kind)
                return True
            other = vhe.redirected(pe, a64.system_register(word)) if self._code.gated else None
            if other is not None:
                self._redirect(pe, va, word, other)
            elif kind is Other.MSR:
                self._write_register(pe, va, word)
            else:
                self._read_register(pe, va, word)
        elif kind is Other.ZERO and self._zero_faults(pe, word):
            return False  # the engine raises what is due
        elif kind in (Other.ACCESS, Other.INVISIBLE):
            if self._code.observing and a64.is_atomic(word) and pe.core.has("FEAT_LSE"):
                pa = pe.translate(access_address(pe, word, va), is_store=True)
                if pa is not None:
                    interconnect.look_for_monitor(pe, va, word, pa)
            if self._code.gated and self._misrun.observe(pe, word):
                self._pending.emulate = (va, word, MISRUN)
                return True
        elif kind in _EMULATED:
            self._pending.emulate = (va, word, kind)
            return True
        return False

    def _is_no_landing(self, pe: UnicornPE, va: int) -> bool:
        # Whether a branch to here raises a Branch Target exception (FEAT_BTI): no site is a word for that.
        found = walk(pe, va, self._memory.u64)
        return isinstance(found, Translation) and found.guarded

    def _pass_over(self, va: int) -> None:
        # Go on behind the instruction at `va`, inside its hook.
        self._btype.value = 0
        self._handle.write_pc(va + 4)

    def _pass_comparison(self, word: int, pa: int) -> None:
        # The monitor alone decides. The engine compares what the load-exclusive has loaded with what is at
        # the PA now, so let it have loaded that.
        size = 1 << (word >> 30) + (word >> 21 & 1)  # of a pair: both
        if self._memory.contains(pa, size):
            data = self._memory.read_bytes(pa, size)
            low, high = self._loaded
            low.value, high.value = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")

    def _look_at_unset(self, pe: UnicornPE, va: int, spsr: int) -> None:
        # Tell of what an exception return goes by that is as it was at reset.
        tell = self._observing.to.breaks
        if spsr == sysregs.UNSET_SPSR:
            tell(pe, va, constraints.UNSET_SPSR[pe.el])
        if self._handle.read(regs.UC_ARM64_REG_ELR_EL0 + pe.el) == sysregs.UNSET_ELR:
            tell(pe, va, constraints.UNSET_ELR[pe.el])
        leaves_el2 = pe.entry_el == pe.el == 2 and spsr >> 2 & 3 < 2
        if leaves_el2 and not pe.system_register(sysreg.WRITTEN_AT_EL2) & WrittenAtEl2.HCR_EL2:
            tell(pe, va, constraints.UNSET_HCR)

    def _spsr(self, el: int) -> int:
        return self._handle.read_system(sysreg.SPSR_EL1 if el == 1 else sysreg.SPSR_EL2)

    @staticmethod
    def _is_undefined(pe: UnicornPE, word: int) -> bool:
        # Whether an access is to a register that the PE lacks, though the engine has it.
        row = TABLE.get(a64.system_register(word))
        return row is not None and not sysregs.has_register(pe, row)

    def _is_trapped(self, pe: UnicornPE, word: int) -> bool:
        # Whether an access is trapped to a register that the engine does not know.
        row = TABLE.get(a64.system_register(word))
        if row is None or not row.by_host:
            return False
        is_write = not word >> 21 & 1
        lowest = row.write_el if is_write else row.read_el
        if lowest is None or pe.el < lowest:
            return False  # UNDEFINED, which comes first
        return bool(sysregs.trap_el(row, pe, is_write=is_write))

    def _redirect(self, pe: UnicornPE, va: int, word: int, target: Encoding) -> None:
        # An MRS or MSR of another register than its encoding says: done here, and passed over.
        number = word & 31
        if word >> 21 & 1:
            value = self._handle.read_system(target)
            if number != 31:
                self._live.x[number] = value
        else:
            value = operand(pe.x, number)
            row = TABLE.get(target)
            if row is not None:
                self._note_write(pe, va, row, value)
            self._handle.write_system(target, value)
        self._pass_over(va)

    def _read_register(self, pe: UnicornPE, va: int, word: int) -> None:
        # An MRS that reads something else on this PE: done here, inside the hook, and passed over. None: the
        # engine reads it, or raises what is due.
        encoding = a64.system_register(word)
        value = sysregs.read(pe, encoding, self._observing.to)
        if value is None:
            return
        if word & 31 != 31:
            self._live.x[word & 31] = value
        self._pass_over(va)

    def _write_register(self, pe: UnicornPE, va: int, word: int) -> None:
        # An MSR that does more than to change the register, or that is done here and passed over.
        row = TABLE.get(a64.system_register(word))
        if row is None:
            return  # the site is for a word that was here before
        value = operand(pe.x, word & 31)
        self._note_write(pe, va, row, value)
        if pe.e2h_res1 and row.encoding == sysreg.HCR_EL2 and pe.el == 2:
            self._handle.write_system(sysreg.HCR_EL2, value | sysreg.HCR_E2H)
            self._pass_over(va)
            return
        if row.write is None or row.write_el is None or pe.el < row.write_el:
            return
        if not sysregs.traps(row, pe, row.encoding, is_write=True):  # else the engine raises what is due
            row.write(pe, self._observing.to, value)
            self._pass_over(va)

    def _note_write(self, pe: UnicornPE, va: int, row: Row, value: int) -> None:
        if row.encoding in NOTED:
            note_written(pe, NOTED[row.encoding])
        effect = int(row.effect)  # operators of an IntFlag are Python code
        if effect & _TRANSLATION and (effect & _ENABLE or pe.mmu_on):
            self._code.stale = True
        if effect & _MMU and self._observing.maintenance:
            self._observing.to.control_written(value)
        if effect & _MMU and self._observing.record:
            self._observing.record(pe, Kind.MMU, 0, va, 0, value)

    # -- instead of the instruction ---------------------------------------------------------------

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
        spsr = self._spsr(pe.el)
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

    def _zero_faults(self, pe: PE, word: int) -> bool:
        # Whether DC ZVA traps (HCR_EL2.TDZ, SCTLR_EL1.DZE) or does not translate.
        if pe.el < 2 and pe.sysreg(sysreg.HCR_EL2) & _HCR_TDZ:
            return True
        if pe.el == 0 and not control(pe) & _SCTLR_DZE:
            return True
        target = operand(pe.x, word & 31) & -64
        return self._handle.translate(target, WRITE) is None
