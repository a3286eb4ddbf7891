"""Stage 2 translation by the tables in memory: for what the engine does not tell of a fault at stage 2.

It tells of one on a stage 1 table walk that the walk failed, and at which level that was; not why.

:source: Arm DDI 0487, D8.2 (translation process), D8.14 (faults), VTCR_EL2, HCR_EL2.PTW

MODEL: no FEAT_XNX, no 52-bit addresses: what may be executed is the engine's.
"""

from __future__ import annotations

from emu.arch import sysreg
from emu.cpu.pe import PE
from emu.cpu.translation import ADDRESS, BLOCK_LEVELS, GRANULE_0, Fault, FaultClass, Read, pa_bits

_VM, _PTW = 1 << 0, 1 << 2  # of HCR_EL2
_AF, _S2AP_READ, _S2AP_WRITE = 1 << 10, 1 << 6, 1 << 7
# VTCR_EL2.SL0 to the level of the first look-up.
_FIRST_LEVEL = {12: (2, 1, 0), 14: (3, 2, 1), 16: (3, 2, 1)}


class Stage2:
    """Stage 2 as it is for ``pe`` now, below EL2.

    :ivar fault: why the last look-up of :meth:`read` failed; None: it did not
    :ivar table: PA of the first table
    :ivar granule: log2 of its bytes
    :ivar width: bits of an IPA
    :ivar first_level: at which a look-up begins
    """

    def __init__(self, pe: PE, read: Read) -> None:
        self._pe = pe
        self._read = read
        self._vtcr = pe.system_register(sysreg.VTCR_EL2)
        self.table = pe.system_register(sysreg.VTTBR_EL2) & ADDRESS
        self._protects_walks = bool(pe.sysreg(sysreg.HCR_EL2) & _PTW)
        self.fault: Fault | None = None
        vtcr = self._vtcr
        self.granule = GRANULE_0.get(vtcr >> 14 & 3, 12)
        self.width = 64 - min(max(vtcr & 0x3F, 16), 39)
        self.first_level = _FIRST_LEVEL[self.granule][min(vtcr >> 6 & 3, 2)]

    def read(self, ipa: int) -> int | None:
        """Return the u64 of a stage 1 table at ``ipa``; None: nobody answers, or :attr:`fault` says why."""
        found = self.translate(ipa, is_walk=True)
        if isinstance(found, Fault):
            self.fault = found
            return None
        return self._read(found)

    def translate(self, ipa: int, *, is_store: bool = False, is_walk: bool = False) -> int | Fault:
        """Return the PA of ``ipa`` for a load, a store, or a stage 1 table walk."""
        vtcr = self._vtcr
        granule, width, first = self.granule, self.width, self.first_level
        size = pa_bits(self._pe, vtcr >> 16 & 7)
        per_level = granule - 3
        if ipa >> width:
            return Fault(FaultClass.TRANSLATION, 0)
        table = self.table
        if table >> size:
            return Fault(FaultClass.ADDRESS_SIZE, 0)
        level = shift = descriptor = 0
        for level in range(first, 4):
            shift = granule + per_level * (3 - level)
            index = ipa >> shift if level == first else ipa >> shift & (1 << per_level) - 1  # concatenated
            read_here = self._read(table + 8 * index)
            if read_here is None:
                return Fault(FaultClass.EXTERNAL_ABORT_ON_WALK, level)
            descriptor = read_here
            if not descriptor & 1 or (not descriptor & 2 and level not in BLOCK_LEVELS[granule]):
                return Fault(FaultClass.TRANSLATION, level)
            if level < 3 and descriptor & 2:
                table = descriptor & ADDRESS & -(1 << granule)
                if table >> size:
                    return Fault(FaultClass.ADDRESS_SIZE, level)
                continue
            break
        pa = descriptor & ADDRESS & -(1 << shift)
        if pa >> size:
            return Fault(FaultClass.ADDRESS_SIZE, level)
        if not descriptor & _AF:
            return Fault(FaultClass.ACCESS_FLAG, level)
        is_device = not descriptor >> 2 & 0xC  # MemAttr
        allowed = descriptor & (_S2AP_WRITE if is_store else _S2AP_READ)
        if not allowed or (is_walk and self._protects_walks and is_device):
            return Fault(FaultClass.PERMISSION, level)
        return pa | ipa & (1 << shift) - 1


def is_on(pe: PE) -> bool:
    """Tell whether the accesses of ``pe`` go through stage 2 now."""
    hcr = pe.sysreg(sysreg.HCR_EL2)
    return pe.el < 2 and bool(hcr & _VM) and not hcr & sysreg.HCR_TGE
