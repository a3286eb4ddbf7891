"""AArch64 relocations: what each computes, which values it can hold, and where the value goes.

Source: ELF for the Arm 64-bit Architecture (AAELF64), section Relocation; Arm DDI 0487, C4.1, for the fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

_MOVK = 0b11 << 29  # opc of MOVK; 0b10 is MOVZ and 0b00 is MOVN


class Formula(Enum):
    """What X is, in AAELF64's notation: S the symbol, A the addend, P the place, G the symbol's GOT slot."""

    NONE = "none"
    ABSOLUTE = "S + A"
    RELATIVE = "S + A - P"
    PAGE = "Page(S + A) - Page(P)"
    GOT_PAGE = "Page(G) - Page(P)"
    GOT = "G"
    GOT_OFFSET = "G - Page(GOT)"

    @property
    def of_got(self) -> bool:
        """The symbol needs a slot in the global offset table."""
        return self in (Formula.GOT_PAGE, Formula.GOT, Formula.GOT_OFFSET)


class OutOfReach(ValueError):
    """X is not a value that the relocation can hold; the message says which are."""


@dataclass(frozen=True, slots=True)
class Relocation:
    """One relocation type.

    ``size`` is that of the place in bytes; X must be a multiple of ``multiple`` with low <= X < high, taken
    as a signed 64-bit number when ``low`` is negative and as an unsigned one otherwise.
    """

    name: str
    formula: Formula
    size: int
    encode: Callable[[int, int], int]  # the place's old content and X to the new content
    low: int = -(2**63)
    high: int = 2**63
    multiple: int = 1

    @property
    def is_branch(self) -> bool:
        """Whether it is a branch: one to an undefined weak symbol goes to the next instruction.

        :source: AAELF64, Weak references
        """
        return self.name in (
            "R_AARCH64_JUMP26",
            "R_AARCH64_CALL26",
            "R_AARCH64_CONDBR19",
            "R_AARCH64_TSTBR14",
        )

    def patch(self, content: int, x: int) -> int:
        """Return the content of the place with X in it.

        :param content: what the place holds, little-endian, ``size`` bytes
        :param x: X of the formula, modulo 2**64
        :raises OutOfReach: X does not fit
        """
        x %= 2**64
        if self.low < 0 and x >= 2**63:
            x -= 2**64
        if not self.low <= x < self.high:
            raise OutOfReach(f"{x:#x} is not in {self.low:#x}..{self.high - 1:#x}")
        if x % self.multiple:
            raise OutOfReach(f"{x:#x} is not a multiple of {self.multiple}")
        return self.encode(content, x) & (1 << 8 * self.size) - 1


def _field(lsb: int, width: int, shift: int) -> Callable[[int, int], int]:
    # X >> shift into a field of the instruction.
    mask = (1 << width) - 1

    def encode(word: int, x: int) -> int:
        return word & ~(mask << lsb) | (x >> shift & mask) << lsb

    return encode


def _lo12(scale: int) -> Callable[[int, int], int]:
    # Bits 11:scale of X into imm12 of ADD or of a load or store.
    insert = _field(10, 12, 0)
    return lambda word, x: insert(word, (x & 0xFFF) >> scale)


def _adr(shift: int) -> Callable[[int, int], int]:
    # X >> shift into immlo (bits 30:29) and immhi (bits 23:5).
    def encode(word: int, x: int) -> int:
        x >>= shift
        return word & ~(3 << 29 | 0x7FFFF << 5) | (x & 3) << 29 | (x >> 2 & 0x7FFFF) << 5

    return encode


def _move_signed(group: int) -> Callable[[int, int], int]:
    # MOVZ of X, or MOVN of ~X when X is negative; a MOVK stays one.
    insert = _field(5, 16, 16 * group)

    def encode(word: int, x: int) -> int:
        if word & _MOVK == _MOVK:
            return insert(word, x)
        word &= ~_MOVK
        return insert(word, ~x) if x < 0 else insert(word | 0b10 << 29, x)

    return encode


def _types() -> dict[int, Relocation]:
    found: dict[int, Relocation] = {}

    def add(
        number: int,
        name: str,
        formula: Formula,
        encode: Callable[[int, int], int],
        bits: tuple[int, int] | None = None,
        *,
        size: int = 4,
        multiple: int = 1,
    ) -> None:
        # bits: the exponents of the range, -2**first (0: from 0) to 2**second.
        low, high = (-(2**63), 2**63) if bits is None else (-(2 ** bits[0]) if bits[0] else 0, 2 ** bits[1])
        found[number] = Relocation(f"R_AARCH64_{name}", formula, size, encode, low, high, multiple)

    def whole(_: int, x: int) -> int:
        return x

    absolute, relative = Formula.ABSOLUTE, Formula.RELATIVE
    for none in (0, 256):  # both numbers are in use
        add(none, "NONE", Formula.NONE, lambda word, _: word, size=0)
    add(257, "ABS64", absolute, whole, size=8)
    add(258, "ABS32", absolute, whole, (31, 32), size=4)
    add(259, "ABS16", absolute, whole, (15, 16), size=2)
    add(260, "PREL64", relative, whole, size=8)
    add(261, "PREL32", relative, whole, (31, 31), size=4)
    add(262, "PREL16", relative, whole, (15, 15), size=2)
    for group, number in enumerate((263, 265, 267, 269)):
        add(number, f"MOVW_UABS_G{group}", absolute, _field(5, 16, 16 * group), (0, 16 * group + 16))
        if group < 3:  # G3 cannot overflow
            add(number + 1, f"MOVW_UABS_G{group}_NC", absolute, _field(5, 16, 16 * group))
    for group, number in enumerate((270, 271, 272)):
        span = (16 * group + 16, 16 * group + 16)
        add(number, f"MOVW_SABS_G{group}", absolute, _move_signed(group), span)
    for group, number in enumerate((287, 289, 291)):
        span = (16 * group + 16, 16 * group + 16)
        add(number, f"MOVW_PREL_G{group}", relative, _move_signed(group), span)
        add(number + 1, f"MOVW_PREL_G{group}_NC", relative, _field(5, 16, 16 * group))
    add(293, "MOVW_PREL_G3", relative, _move_signed(3))
    add(273, "LD_PREL_LO19", relative, _field(5, 19, 2), (20, 20), multiple=4)
    add(274, "ADR_PREL_LO21", relative, _adr(0), (20, 20))
    add(275, "ADR_PREL_PG_HI21", Formula.PAGE, _adr(12), (32, 32))
    add(276, "ADR_PREL_PG_HI21_NC", Formula.PAGE, _adr(12))
    add(277, "ADD_ABS_LO12_NC", absolute, _lo12(0))
    for scale, number in enumerate((278, 284, 285, 286, 299)):
        add(number, f"LDST{8 << scale}_ABS_LO12_NC", absolute, _lo12(scale), multiple=1 << scale)
    add(279, "TSTBR14", relative, _field(5, 14, 2), (15, 15), multiple=4)
    add(280, "CONDBR19", relative, _field(5, 19, 2), (20, 20), multiple=4)
    add(282, "JUMP26", relative, _field(0, 26, 2), (27, 27), multiple=4)
    add(283, "CALL26", relative, _field(0, 26, 2), (27, 27), multiple=4)
    add(311, "ADR_GOT_PAGE", Formula.GOT_PAGE, _adr(12), (32, 32))
    add(312, "LD64_GOT_LO12_NC", Formula.GOT, _lo12(3), multiple=8)
    add(313, "LD64_GOTPAGE_LO15", Formula.GOT_OFFSET, _field(10, 12, 3), (0, 15), multiple=8)
    return found


RELOCATIONS: dict[int, Relocation] = _types()


def type_name(number: int) -> str:
    """Return the name of any AArch64 relocation type, also of one that is not in RELOCATIONS."""
    from elftools.elf.enums import ENUM_RELOC_TYPE_AARCH64

    names = (name for name, value in ENUM_RELOC_TYPE_AARCH64.items() if value == number)
    return next(names, f"relocation type {number}")
