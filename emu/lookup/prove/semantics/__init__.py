"""What instructions do, a file for each group of the manual's index (Arm DDI 0487, C4.1).

An instruction that is in none of them is not known here: a proof that meets it says so by name. All are held
against the engine on random states (tests/property/test_prove_semantics.py).
"""

from __future__ import annotations

from functools import cache

from emu.lookup.prove.semantics import branch, immediate, memory, register, system
from emu.lookup.prove.semantics.instruction import Instruction

GROUPS = (immediate, register, branch, memory, system)
INSTRUCTIONS: tuple[Instruction, ...] = tuple(each for group in GROUPS for each in group.INSTRUCTIONS)


def raises(word: int) -> bool:
    """Tell whether ``word`` (u32) is SVC, HVC, SMC, BRK, HLT or UDF: none goes on to the next instruction."""
    # Source: Arm DDI 0487, C4.1 (reserved) and C4.1.94 (exception generation).
    kind = word & 0xFFE0_001F
    return word >> 16 == 0 or kind in (0xD400_0001, 0xD400_0002, 0xD400_0003, 0xD420_0000, 0xD440_0000)


@cache
def decode(word: int) -> Instruction | None:
    """Return what ``word`` (u32) is, or None when its semantics are not known here."""
    for each in INSTRUCTIONS:
        if word & each.mask == each.value and each.allocated(word):
            return each
    return None
