"""Which words of later architectures the engine may run wrongly."""

from __future__ import annotations

from collections.abc import Collection

# PACIxSP, PACIxZ, PACIx1716: the register that they sign, and its key.
_HINTS = {0xD503_211F: (17, 0), 0xD503_215F: (17, 1), 0xD503_231F: (30, 0), 0xD503_233F: (30, 0),
          0xD503_235F: (30, 1), 0xD503_237F: (30, 1)}  # fmt: skip


def is_misrun(word: int, features: Collection[str]) -> bool:
    """Tell whether the engine may run the word wrongly (:mod:`emu.cpu.unicorn.misrun`).

    :param features: what some PE has; a word of another feature does nothing, or is UNDEFINED
    """
    if is_min_max(word):
        return "FEAT_LSE" in features
    return "FEAT_PAuth" in features and (is_authenticated_load(word) or signed(word) is not None)


def is_min_max(word: int) -> bool:
    """Tell whether the word is LDSMAX, LDSMIN, LDUMAX or LDUMIN of less than 64 bits."""
    return word & 0x3F20_CC00 == 0x3820_4000 and word >> 30 != 3


def is_authenticated_load(word: int) -> bool:
    """Tell whether the word is LDRAA or LDRAB."""
    return word & 0xFF20_0400 == 0xF820_0400


def signed(word: int) -> tuple[int, int] | None:
    """Return the register that the word signs, and which key it takes: IA, IB, DA, DB; None: it does not."""
    if word & 0xFFFF_D000 == 0xDAC1_0000:
        return word & 31, word >> 10 & 3
    return _HINTS.get(word)
