"""Words of later architectures that the engine runs wrongly: done here, or not modelled.

* LDSMAX, LDSMIN, LDUMAX, LDUMIN of less than 64 bits: it compares without extending either operand.
* PACIA and its like of an address that is not canonical: it flips another bit of the result.
* LDRAA and LDRAB: it takes SP for the modifier.

:source: Arm DDI 0487, C6.2 (LDSMAX), shared pseudocode AddPAC, C6.2 (LDRAA); Unicorn 2.1.4
"""

from __future__ import annotations

from emu.arch import sysreg
from emu.cpu.pe import PE, operand
from emu.cpu.stops import EngineStop, Unsupported
from emu.cpu.translation import bits_of_address
from emu.cpu.unicorn.binding import WRITE
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.misrun_words import is_authenticated_load, is_min_max, signed
from emu.cpu.unicorn.observing import Observing
from emu.cpu.unicorn.pe import UnicornPE
from emu.memory import Memory
from emu.operation import Kind

MISRUN = -2  # class of a site, beside a64.Class
_MINIMUM = 0b001  # of opc, bits 14:12: SMAX 100, SMIN 101, UMAX 110, UMIN 111
_HCR_API = 1 << 41
# SCTLR_ELx.EnIA, EnIB, EnDA, EnDB, by bits 11:10 of the word.
_ENABLES = (1 << 31, 1 << 30, 1 << 27, 1 << 13)


class Misrun:
    """What these words do, of the PE that is loaded."""

    def __init__(self, observing: Observing, contexts: Contexts, memory: Memory) -> None:
        self._observing = observing
        self._contexts = contexts
        self._memory = memory

    def observe(self, pe: UnicornPE, word: int) -> bool:
        """Tell whether :meth:`do` is to do the word; if not, the engine does it, or raises what is due."""
        if is_min_max(word):
            return pe.core.has("FEAT_LSE") and self._pa(pe, word) is not None
        if not pe.core.has("FEAT_PAuth") or (pe.el < 2 and not pe.sysreg(sysreg.HCR_EL2) & _HCR_API):
            return False
        if is_authenticated_load(word):
            return bool(pe.sctlr & _ENABLES[2 + (word >> 23 & 1)])
        signs = signed(word)
        if signs is None:
            return False  # the site is for a word that was here before
        register, key = signs
        return bool(pe.sctlr & _ENABLES[key]) and not _is_canonical(pe, operand(pe.x, register))

    def do(self, pe: PE, va: int, word: int) -> EngineStop | None:
        """Do the word at ``va``. None: done, go on."""
        if is_authenticated_load(word):
            return Unsupported("an authenticated load (LDRAA, LDRAB)", va)
        if not is_min_max(word):
            return Unsupported("signing an address that is not canonical", va)
        size = 1 << (word >> 30)
        pa = self._pa(pe, word)
        assert pa is not None, "asked by observe()"
        observing, counters = self._observing, pe.counters
        if observing.access:
            observing.access(pe, va, pa, size, False)
        old = self._memory.read(pa, size)
        new = _min_max(word, old, operand(pe.x, word >> 16 & 31), size)
        if observing.record:
            observing.record(pe, Kind.LOAD, size, va, pa, old)
        if observing.access:
            observing.access(pe, va, pa, size, True)
        observing.to.stored(pe, pa, size)
        if observing.record:
            observing.record(pe, Kind.STORE, size, va, pa, new)
        counters.loads += 1
        counters.loads_mmu_off += not pe.mmu_on
        counters.stores += 1
        self._memory.write(pa, size, new)
        if word & 31 != 31:
            pe.x[word & 31] = old
        if self._contexts.code.holds(pa, size):
            self._contexts.forget_code()
            self._contexts.load(pe)
        pe.pc = va + 4
        return None

    def _pa(self, pe: PE, word: int) -> int | None:
        # What is accessed, if that neither faults nor is undone: such an access is left to the engine.
        base = word >> 5 & 31
        at, size = pe.x[base], 1 << (word >> 30)  # the base may be SP
        if at & size - 1 or (base == 31 and at & 15):
            return None
        pa = self._contexts.handle.translate(at, WRITE)
        if pa is None or self._contexts.handle.translate(at) is None:
            return None
        return pa if self._memory.contains(pa, size) else None


def _min_max(word: int, old: int, value: int, size: int) -> int:
    opc, bits = word >> 12 & 7, 8 * size
    value &= (1 << bits) - 1
    sign = 0 if opc & 2 else 1 << bits - 1
    least, most = sorted((old, value), key=lambda each: each ^ sign)
    return least if opc & _MINIMUM else most


def _is_canonical(pe: PE, address: int) -> bool:
    # Whether the bits that a PAC is put into all are the same.
    bottom, top = bits_of_address(pe, address)
    return address >> bottom & (1 << top - bottom) - 1 in (0, (1 << top - bottom) - 1)
