"""Whether a conditional branch is taken, from its word and the registers before it.

:source: Arm DDI 0487, C4.1.65 (branches), C1.2.4 (condition codes)
"""

from __future__ import annotations

from collections.abc import Sequence

_N, _Z, _C, _V = 1 << 31, 1 << 30, 1 << 29, 1 << 28


def condition_holds(condition: int, nzcv: int) -> bool:
    """Tell whether a condition code (4 bits) holds; ``nzcv``: flags in bits 31:28."""
    n, z, c, v = (bool(nzcv & bit) for bit in (_N, _Z, _C, _V))
    found = (z, c, n, v, c and not z, n == v, n == v and not z, True)[condition >> 1]
    return found if not condition & 1 or condition == 15 else not found


def is_taken(word: int, x: Sequence[int], nzcv: int) -> bool | None:
    """Tell whether the conditional branch ``word`` is taken; None: it is none.

    :param x: X0..X30; index 31 is not read
    :param nzcv: flags in bits 31:28
    """
    top = word >> 24
    if top == 0x54:  # B.cond, BC.cond
        return condition_holds(word & 15, nzcv)
    number = word & 31
    value = x[number] if number != 31 else 0
    if top & 0x7E == 0x34:  # CBZ, CBNZ
        value &= 2**64 - 1 if word >> 31 else 2**32 - 1
        return bool(value) is bool(top & 1)
    if top & 0x7E == 0x36:  # TBZ, TBNZ
        bit = word >> 31 << 5 | word >> 19 & 31
        return bool(value >> bit & 1) is bool(top & 1)
    return None
