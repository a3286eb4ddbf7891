"""Instruction words that the engine shows to no hook, or that read differently on each PE.

Each is a site (:mod:`emu.cpu.unicorn.sites`): its code hook calls :meth:`ObservedWords.observe`. What the
engine must not execute is done in its place (:mod:`emu.cpu.unicorn.emulated_words`).
"""

from __future__ import annotations

from collections.abc import Callable

from unicorn import arm64_const as regs

from emu import constraints
from emu.arch import a64, sysreg
from emu.arch.a64 import Class, Other
from emu.cpu.exception_return import IL, is_illegal, is_to_aarch32
from emu.cpu.faulting_address import access_address
from emu.cpu.pe import PE, operand
from emu.cpu.sysregs import access as sysregs
from emu.cpu.sysregs import address_translation, vhe
from emu.cpu.sysregs.row import Row, WriteEffect
from emu.cpu.sysregs.rows import TABLE
from emu.cpu.translation import Translation, control, walk
from emu.cpu.traps import fp_trap_el
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.accesses import misaligned_quad
from emu.cpu.unicorn.binding import WRITE
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.misrun import MISRUN, Misrun
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.pending import Pending
from emu.memory import Memory
from emu.operation import Kind, WrittenAtEl2

_HCR_TDZ, _SCTLR_DZE = 1 << 28, 1 << 14
_TRANSLATION, _ENABLE, _MMU = int(WriteEffect.TRANSLATION), int(WriteEffect.ENABLE), int(WriteEffect.MMU)
# Looks at the word at a VA. It returns the class of what the host must do in its place, or None: go on.
_Look = Callable[[UnicornPE, int, int], int | None]


class ObservedWords:
    """What these words do, of the PE that is loaded, before the engine executes them."""

    def __init__(
        self, observing: Observing, contexts: Contexts, memory: Memory, pending: Pending, misrun: Misrun
    ) -> None:
        self._observing = observing
        self._contexts = contexts
        self._handle = contexts.handle
        self._live = contexts.live
        self._code = contexts.code
        self._memory = memory
        self._pending = pending
        self._exclusive = pending.exclusive
        self._misrun = misrun
        self._btype = self._live.u32(layout.BTYPE)
        self._loaded = (self._live.u64(layout.EXCLUSIVE_VALUE), self._live.u64(layout.EXCLUSIVE_HIGH))
        self._by_class: dict[Class, _Look] = {
            Kind.BARRIER: self._barrier,
            Kind.CACHE: self._cache,
            Kind.TLB: self._tlb,
            Kind.SEVL: self._sevl,
            Kind.YIELD: self._yield,
            Kind.LOAD_EXCLUSIVE: self._load_exclusive,
            Kind.STORE_EXCLUSIVE: self._store_exclusive,
            Other.CLREX: self._clrex,
            Other.ERET: self._eret,
            Other.MRS: self._mrs,
            Other.MSR: self._msr,
            Other.ZERO: self._zero,
            Other.ACCESS: self._access,
            Other.INVISIBLE: self._access,
            Kind.WFE: lambda _pe, _va, _word: Kind.WFE,
            Kind.WFI: lambda _pe, _va, _word: Kind.WFI,
            Kind.SEV: lambda _pe, _va, _word: Kind.SEV,
            Kind.PARK: lambda _pe, _va, _word: Kind.PARK,
        }
        self._looks: dict[int, _Look] = {}  # by word

    def observe(self, va: int, word: int) -> bool:
        """Record what the word does; True when the host must stop before it and do it instead."""
        pe = self._contexts.loaded
        assert pe is not None
        exclusive = self._exclusive
        if exclusive[0] == va:
            exclusive[0] = 1  # no VA of an instruction; set again below
        if self._btype.value and self._is_no_landing(pe, va):
            return False  # the engine raises what is due
        look = self._looks.get(word)
        if look is None:
            of_class = self._by_class.get(a64.classify(word), self._nothing)
            if a64.is_at(word):
                of_class = self._translate
            look = self._looks[word] = self._fp if a64.uses_fp(word) else of_class
        emulated = look(pe, va, word)
        if emulated is None:
            return False
        self._pending.emulate = (va, word, emulated)
        return True

    def _is_no_landing(self, pe: UnicornPE, va: int) -> bool:
        # Whether a branch to here raises a Branch Target exception (FEAT_BTI): no site is a word for that.
        found = walk(pe, va, self._memory.u64)
        return isinstance(found, Translation) and found.guarded

    def _pass_over(self, va: int) -> None:
        # Go on behind the instruction at `va`, inside its hook.
        self._btype.value = 0
        self._handle.write_pc(va + 4)

    # -- by class ---------------------------------------------------------------------------------

    def _nothing(self, _pe: UnicornPE, _va: int, _word: int) -> int | None:
        return None

    def _barrier(self, pe: UnicornPE, va: int, word: int) -> int | None:
        if self._observing.record:
            self._observing.record(pe, Kind.BARRIER, 0, va, 0, word)
        return None

    def _cache(self, pe: UnicornPE, va: int, word: int) -> int | None:
        observing, target = self._observing, operand(pe.x, word & 31)
        if a64.is_by_set_way(word):
            observing.to.maintain_by_set_way(pe, va, word, target)
        elif observing.access or observing.maintenance:
            observing.to.maintain(pe, va, word, target)
        if observing.record:
            pa = self._handle.translate(target) if a64.is_by_va(word) else None
            if pa is not None and pa != target:
                observing.record(pe, Kind.MAPPED, 0, va, pa, 0)
            observing.record(pe, Kind.CACHE, 0, va, target, word)
        return None

    def _tlb(self, pe: UnicornPE, va: int, word: int) -> int | None:
        self._code.remapped()
        if self._observing.record:
            self._observing.record(pe, Kind.TLB, 0, va, operand(pe.x, word & 31), word)
        return None

    def _sevl(self, pe: UnicornPE, va: int, _word: int) -> int | None:
        if self._observing.record:
            self._observing.record(pe, Kind.SEVL, 0, va, 0, 0)
        self._observing.to.send_event_local(pe)
        return None

    def _yield(self, pe: UnicornPE, va: int, _word: int) -> int | None:
        if self._observing.record:
            self._observing.record(pe, Kind.YIELD, 0, va, 0, 0)
        return None

    def _fp(self, pe: UnicornPE, va: int, word: int) -> int | None:
        return Other.FP if fp_trap_el(pe) or misaligned_quad(pe, word, va, self._memory) else None

    def _zero(self, pe: UnicornPE, _va: int, word: int) -> int | None:
        # None where DC ZVA traps (HCR_EL2.TDZ, SCTLR_EL1.DZE) or does not translate: the engine raises it.
        if pe.el < 2 and pe.sysreg(sysreg.HCR_EL2) & _HCR_TDZ:
            return None
        if pe.el == 0 and not control(pe) & _SCTLR_DZE:
            return None
        target = operand(pe.x, word & 31) & -64
        return None if self._handle.translate(target, WRITE) is None else Other.ZERO

    def _translate(self, pe: UnicornPE, va: int, word: int) -> int | None:
        # AT: of a host it is done here, and passed over.
        if address_translation.translate(self._memory.u64, pe, word):
            self._pass_over(va)
        return None

    def _access(self, pe: UnicornPE, va: int, word: int) -> int | None:
        if self._code.observing and a64.is_atomic(word) and pe.core.has("FEAT_LSE"):
            pa = pe.translate(access_address(pe, word, va), is_store=True)
            if pa is not None:
                self._observing.to.look_for_monitor(pe, va, word, pa)
        return MISRUN if self._code.gated and self._misrun.observe(pe, word) else None

    # -- exclusives -------------------------------------------------------------------------------

    def _load_exclusive(self, _pe: UnicornPE, va: int, _word: int) -> int | None:
        self._begin_exclusive(va, Kind.LOAD_EXCLUSIVE)
        return None

    def _store_exclusive(self, pe: UnicornPE, va: int, word: int) -> int | None:
        self._begin_exclusive(va, Kind.STORE_EXCLUSIVE)
        armed_pa = self._observing.to.store_exclusive(pe)
        if armed_pa is None:
            pe.open_monitor()
        else:
            self._pass_comparison(word, armed_pa)
        return None

    def _begin_exclusive(self, va: int, kind: Kind) -> None:
        exclusive = self._exclusive
        exclusive[0] = va
        exclusive[1] = kind
        exclusive[2] = exclusive[3] = 0

    def _pass_comparison(self, word: int, pa: int) -> None:
        # The monitor alone decides. The engine compares what the load-exclusive has loaded with what is at
        # the PA now, so let it have loaded that.
        size = 1 << (word >> 30) + (word >> 21 & 1)  # of a pair: both
        if self._memory.contains(pa, size):
            data = self._memory.read_bytes(pa, size)
            low, high = self._loaded
            low.value, high.value = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")

    def _clrex(self, pe: UnicornPE, _va: int, _word: int) -> int | None:
        self._observing.to.clear_exclusive(pe)
        return None

    # -- exception returns ------------------------------------------------------------------------

    def _eret(self, pe: UnicornPE, va: int, _word: int) -> int | None:
        el = pe.el
        if not el:
            return None
        self._observing.to.clear_exclusive(pe)
        self._code.stale = True
        spsr = self._handle.read_system(sysreg.SPSR_EL1 if el == 1 else sysreg.SPSR_EL2)
        self._look_at_unset(pe, va, spsr)
        illegal = is_illegal(spsr, el, pe.sysreg(sysreg.HCR_EL2), aarch32_max=pe.core.aarch32_max)
        if illegal or spsr & IL or is_to_aarch32(spsr):
            return Other.ERET
        if self._observing.record and spsr >> 2 & 3 != el:
            self._observing.record(pe, Kind.EL, 0, va, 0, spsr >> 2 & 3)
        return None

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

    # -- system registers -------------------------------------------------------------------------

    def _mrs(self, pe: UnicornPE, va: int, word: int) -> int | None:
        # An MRS that reads something else on this PE is done here, inside the hook, and passed over.
        encoding, number = a64.system_register(word), word & 31
        if self._is_refused(pe, TABLE.get(encoding), is_write=False):
            return Other.MRS
        value = sysregs.read(pe, encoding, self._observing.to)
        if value is None:
            return None  # the engine reads it, or raises what is due
        if number != 31:
            self._live.x[number] = value
        self._pass_over(va)
        return None

    def _msr(self, pe: UnicornPE, va: int, word: int) -> int | None:
        # An MSR that does more than to change the register, or that is done here and passed over.
        encoding = a64.system_register(word)
        row = TABLE.get(encoding)
        if self._is_refused(pe, row, is_write=True):
            return Other.MSR
        value = operand(pe.x, word & 31)
        other = vhe.redirected(pe, encoding)
        if other is not None:
            row = TABLE.get(other)
        elif row is None:
            return None  # the site is for a word that was here before
        if row is not None:
            self._note_write(pe, va, row, value)
        if sysregs.write(pe, encoding, self._observing.to, value):
            self._pass_over(va)
        return None

    @staticmethod
    def _is_refused(pe: UnicornPE, row: Row | None, *, is_write: bool) -> bool:
        # Whether an access is UNDEFINED though the engine has the register, or trapped though it has not.
        if row is None:
            return False
        if not sysregs.has_register(pe, row):
            return True
        if not row.by_host:
            return False
        lowest = row.write_el if is_write else row.read_el
        if lowest is None or pe.el < lowest:
            return False  # UNDEFINED, which comes first
        return bool(sysregs.trap_el(row, pe, is_write=is_write))

    def _note_write(self, pe: PE, va: int, row: Row, value: int) -> None:
        effect = int(row.effect)  # operators of an IntFlag are Python code
        if effect & _TRANSLATION and (effect & _ENABLE or pe.mmu_on):
            self._code.stale = True
        if effect & _MMU and self._observing.maintenance:
            self._observing.to.control_written(value)
        if effect & _MMU and self._observing.record:
            self._observing.record(pe, Kind.MMU, 0, va, 0, value)
