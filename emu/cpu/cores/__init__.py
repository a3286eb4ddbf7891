"""Cores: what CPUs there are, each a file (:class:`Core`): its identification and the features that it has.

A PE is a core by its MIDR_EL1: implementer and part number. One whose part nobody knows is a Cortex-A72 that
says to be another.

:ivar CORES: by name, as ``--cpu`` has it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.registry import discover

_PART = 0xFF00_FFF0  # of MIDR_EL1: implementer and part number
BESIDES = ("aarch32", "cortex_v8_0", "gicv3")


@dataclass(frozen=True, slots=True)
class Core:
    """One core.

    :ivar midr: MIDR_EL1, u32
    :ivar identification: what ID registers read (u64), where that is not what the engine's own Cortex-A72 has
    :ivar features: the names that the Arm ARM gives the optional ones that it has, and emu models
    :ivar ccsidr: CCSIDR_EL1 by CSSELR_EL1
    :ivar pmcr: PMCR_EL0 at reset (u32): who made the PMU, and its number of counters (N)
    :ivar unmodelled: names of registers that it has, and emu does not model
    :ivar aarch32_max: the highest EL that can use AArch32; -1: none
    """

    name: str
    summary: str
    midr: int
    identification: Mapping[Encoding, int] = field(default_factory=dict)
    features: frozenset[str] = frozenset()
    ccsidr: Mapping[int, int] = field(default_factory=dict)
    pmcr: int = 0x4102_3000
    unmodelled: Mapping[Encoding, str] = field(default_factory=dict)
    aarch32_max: int = 3

    def has(self, feature: str) -> bool:
        """Tell whether the core has an optional feature; of "" each core."""
        return not feature or feature in self.features

    def id_register(self, encoding: Encoding) -> int | None:
        """Return what an ID register reads (u64); None: as the engine's own Cortex-A72 has it."""
        value = self.identification.get(encoding)
        if value is None and self.features and encoding[:3] == (3, 0, 0) and 1 <= encoding[3] <= 7:
            return 0
        return value

    def id_register_or_default(self, encoding: Encoding) -> int:
        """Return what an ID register reads (u64), one of those that decide what the engine translates."""
        value = self.id_register(encoding)
        return OF_V8_0[encoding] if value is None else value


# What the engine has for a Cortex-A53, A57 or A72.
OF_V8_0: dict[Encoding, int] = {
    sysreg.ID_AA64ISAR0_EL1: 0x1_1120,
    sysreg.ID_AA64ISAR1_EL1: 0,
    sysreg.ID_AA64PFR0_EL1: 0x2222,
    sysreg.ID_AA64PFR1_EL1: 0,
    sysreg.ID_AA64MMFR0_EL1: 0x1124,
    sysreg.ID_AA64MMFR1_EL1: 0,
    sysreg.ID_AA64MMFR2_EL1: 0,
}
CORES = discover(__name__, Core)
DEFAULT = CORES["cortex-a72"]


@cache
def core_of(midr: int) -> Core:
    """Return the core whose MIDR_EL1 says ``midr``, in any revision."""
    part = midr & _PART
    if part == DEFAULT.midr & _PART:
        return DEFAULT
    return next((core for core in CORES.values() if core.midr & _PART == part), DEFAULT)
