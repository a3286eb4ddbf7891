"""Cores that are compared: QEMU's name of each, and what of their identification rightly differs.

A core of emu's lacks what the engine lacks: QEMU 7.2's model of the same core says that it is there. All
other fields of ID registers read the same (test_identification.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.cores import CORES, Core

# PSTATE of Armv8.0: NZCV, SS, IL, DAIF, M; and what later features add.
_PSTATE = 0xF << 28 | 3 << 20 | 0xF << 6 | 0x1F
_PSTATE_BY_FEATURE = {"FEAT_PAN2": 1 << 22, "FEAT_UAO": 1 << 23, "FEAT_BTI": 3 << 10}

ID_PFR0_EL1, ID_PFR1_EL1, ID_DFR0_EL1 = ((3, 0, 0, 1, op2) for op2 in range(3))
ID_MMFR4_EL1, ID_ISAR6_EL1 = (3, 0, 0, 2, 6), (3, 0, 0, 2, 7)
MVFR1_EL1, ID_PFR2_EL1, ID_MMFR5_EL1 = (3, 0, 0, 3, 1), (3, 0, 0, 3, 4), (3, 0, 0, 3, 6)
ID_AA64DFR0_EL1, CLIDR_EL1 = (3, 0, 0, 5, 0), (3, 1, 0, 0, 1)

# Fields that differ, by register: a mask, and why.
Fields = dict[Encoding, tuple[int, str]]
_OF_ALL: Fields = {
    sysreg.ID_AA64PFR0_EL1: (0xF00_FF00, "EL2, EL3: emu, which plays firmware, has both; GIC: the machine's"),
    ID_PFR1_EL1: (0xF000_F0F0, "Security, Virtualization: as EL3 and EL2; GIC"),
    ID_DFR0_EL1: (0xF0, "CopSDbg: as EL3"),
}
_OF_N1: Fields = {
    sysreg.ID_AA64PFR0_EL1: (0xFFFF_FF00, "RAS, half precision; as of all"),
    sysreg.ID_AA64PFR1_EL1: (0xF0, "SSBS"),
    sysreg.ID_AA64MMFR1_EL1: (0xF000_F00F, "HAFDBS, HPDS2, XNX"),
    sysreg.ID_AA64MMFR2_EL1: (0xF000, "IESB, of RAS"),
    ID_PFR0_EL1: (0xF << 28, "RAS"),
    ID_PFR2_EL1: (0xF0, "SSBS"),
    ID_MMFR4_EL1: (0xF_0000, "HPDS2"),
    MVFR1_EL1: (0xFF0_0000, "half precision"),
}
_OF_MAX: Fields = {
    sysreg.ID_AA64PFR0_EL1: (2**64 - 1 & ~0xFF, "all above EL1: RAS, half precision, AMU, DIT, CSV2, CSV3"),
    sysreg.ID_AA64PFR1_EL1: (0xF0, "SSBS"),
    sysreg.ID_AA64ISAR0_EL1: (0xFFFF << 48, "RNDR, outer shareable and range TLBI, FlagM2"),
    sysreg.ID_AA64ISAR1_EL1: (0xFFF << 44, "BF16, DGH, I8MM"),
    sysreg.ID_AA64MMFR0_EL1: (0xFFFFF << 24 | 0xF0_000F, "52-bit PA, granules at stage 2, ECV, FGT, 16 KiB"),
    sysreg.ID_AA64MMFR1_EL1: (0xFFFF << 28 | 0xF, "HAFDBS, XNX, ETS, HCX, TIDCP1"),
    sysreg.ID_AA64MMFR2_EL1: (2**64 - 1 & ~0xFF, "IESB, LVA, TTST, ST, IDST, TTL, BBM, E0PD, EVT"),
    ID_AA64DFR0_EL1: (0xF0F, "later debug architecture and PMU"),
    ID_DFR0_EL1: (0xF00_00FF, "later debug architecture and PMU"),
    ID_PFR0_EL1: (0xFFFF_0000, "RAS, DIT, CSV2"),
    ID_PFR2_EL1: (0xFF, "SSBS, CSV3"),
    ID_MMFR4_EL1: (0xF00, "XNX"),
    ID_MMFR5_EL1: (0xF, "ETS"),
    ID_ISAR6_EL1: (0xFF0_0F00, "FHM, BF16, I8MM"),
    MVFR1_EL1: (0xFF0_0000, "half precision"),
    CLIDR_EL1: (7 << 21 | 7 << 27, "LoUIS, LoUU: no cleaning to make code of data, in QEMU"),
}


@dataclass(frozen=True)
class Compared:
    """A core on both sides.

    :ivar option: QEMU's ``-cpu``
    :ivar fields: of ID registers, that differ
    :ivar pa_bits: the most bits of a PA that either has
    :ivar lacks_idst: whether QEMU's has FEAT_IDST, and emu's not
    """

    core: Core
    option: str
    fields: Fields = field(default_factory=dict)
    pa_bits: int = 48
    lacks_idst: bool = False

    @property
    def name(self) -> str:
        """What ``--cpu`` calls it."""
        return self.core.name

    @property
    def pstate(self) -> int:
        """The bits of PSTATE, as SPSR has it, that both have."""
        bits = _PSTATE
        for feature, more in _PSTATE_BY_FEATURE.items():
            bits |= more if self.core.has(feature) else 0
        return bits

    def is_same(self, encoding: Encoding, qemu: int, emu: int) -> bool:
        """Tell whether the register reads the same but for the fields that may differ."""
        return not (qemu ^ emu) & ~self.fields.get(encoding, (0, ""))[0]


COMPARED = {
    each.name: each
    for each in (
        Compared(CORES["cortex-a53"], "cortex-a53", _OF_ALL),
        Compared(CORES["cortex-a57"], "cortex-a57", _OF_ALL),
        Compared(CORES["cortex-a72"], "cortex-a72", _OF_ALL),
        Compared(CORES["neoverse-n1"], "neoverse-n1", _OF_ALL | _OF_N1),
        Compared(
            CORES["max"],
            "max,sve=off,sme=off,lpa2=off",
            _OF_ALL | _OF_MAX,
            pa_bits=52,
            lacks_idst=True,
        ),
    )
}
