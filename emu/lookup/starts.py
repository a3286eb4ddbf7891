"""What a look-up may find at entry in all that its contract leaves open: registers, flags, DAIF, SCTLR.

A right answer does not depend on it. Each start is one way to fill what holds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emu.arch.boot import IMAGE_PA
from emu.errors import InvalidCase
from emu.lookup.driver import DRIVER_FLAGS, DRIVER_POISONS

DAIF_ALL = 0x3C0
LIMITS = {"nzcv": 0xF000_0000, "daif": DAIF_ALL, "sa": 1, "sp": 2**64 - 1}  # bits of what is no X register
_ADDRESSES = tuple(IMAGE_PA + 8 * number for number in range(31))


@dataclass(frozen=True, slots=True)
class Start:
    """One state at entry, as far as the contract leaves it open.

    :ivar registers: X0..X30 (u64)
    :ivar nzcv: the flags, as NZCV has them (bits 31:28)
    :ivar daif: the interrupt masks, as DAIF has them (bits 9:6)
    :ivar checks_sp: whether SCTLR_ELx.SA is set: an access by an SP that is not aligned faults
    :ivar sp: SP (u64) where the contract gives no stack, else its low 16 bits, a multiple of 16; None: an
        address of nothing, or the end of a page
    :ivar words: how a message tells of it; nothing: of the first
    :ivar filler: what the stack of the contract holds (u64 each 8 bytes), but for ``stack``
    :ivar stack: bytes below SP, a multiple of 8, and the u64 there
    """

    registers: tuple[int, ...]
    nzcv: int
    daif: int = DAIF_ALL
    checks_sp: bool = False
    words: str = ""
    sp: int | None = None
    filler: int = 0xA5C3_0000_0000_00FE
    stack: tuple[tuple[int, int], ...] = ()

    def on_stack(self, size: int) -> bytes:
        """Return ``size`` bytes up to SP as they are at entry."""
        words = [self.filler] * (-(-size // 8))
        for below, value in self.stack:
            words[-below // 8] = value
        return b"".join(word.to_bytes(8, "little") for word in words)[-size:] if size else b""


# The first two: no two registers alike, none an address; no flag is the same in both. The batch has the
# second.
STARTS = (
    Start(tuple(0xA5C3_0000_0000_0000 | number for number in range(31)), 0x5000_0000),
    Start(
        DRIVER_POISONS,
        DRIVER_FLAGS,
        words="when registers that hold nothing have other values",
        filler=DRIVER_POISONS[0],
    ),
    Start(
        (0,) * 31,
        0x6000_0000,
        0,
        True,
        "with 0 in what holds nothing, no interrupt masked, SCTLR_ELx.SA set",
        0xAAA0,
        0,
    ),
    Start(
        (2**64 - 1,) * 31, 0xF000_0000, 0x80, True, "with all ones in what holds nothing", 0xFFF0, 2**64 - 1
    ),
    Start(tuple(range(31)), 0, 0x240, False, "with small numbers in what holds nothing", 0x10, 1),
    Start(_ADDRESSES, 0x9000_0000, 0, True, "with addresses in what holds nothing", 0x5550, _ADDRESSES[0]),
)


def start_from(changes: Sequence[tuple[str, int]]) -> Start:
    """Return the first start with some of it changed.

    :param changes: names and values: ``x0``..``x30``, ``nzcv``, ``daif``, ``sp``, ``sa`` (SCTLR_ELx.SA), and
        ``stack-8``, ``stack-16``... below SP
    :raises InvalidCase: another name, or a value that does not fit
    """
    first = STARTS[0]
    registers = list(first.registers)
    others = {"nzcv": first.nzcv, "daif": first.daif, "sa": 0}
    stack: dict[int, int] = {}
    for name, value in changes:
        if name.startswith("x") and name[1:].isdecimal() and int(name[1:]) < 31:
            registers[int(name[1:])] = value
        elif name.startswith("stack-") and name[6:].isdecimal() and int(name[6:]) % 8 == 0 < int(name[6:]):
            stack[int(name[6:])] = value
        elif name in LIMITS and not value & ~LIMITS[name]:
            others[name] = value
        else:
            raise InvalidCase(
                f"case: with={name}:{value:#x}: x0..x30, sp, nzcv, daif, sa or stack-8, and what fits it"
            )
    words = ", ".join(f"{name} = {value:#x}" for name, value in changes)
    return Start(
        tuple(registers),
        others["nzcv"],
        others["daif"],
        bool(others["sa"]),
        f"with {words} at entry" if words else "",
        others.get("sp"),
        stack=tuple(stack.items()),
    )


def changes_of(start: Start, stack: int) -> tuple[tuple[str, int], ...]:
    """Return what :func:`start_from` makes ``start`` of.

    :param stack: bytes of it that the contract gives
    """
    first, size = STARTS[0], stack & -8
    pairs = zip(start.registers, first.registers, strict=True)
    found = [(f"x{number}", value) for number, (value, usual) in enumerate(pairs) if value != usual]
    found += [("nzcv", start.nzcv)] if start.nzcv != first.nzcv else []
    found += [("daif", start.daif)] if start.daif != first.daif else []
    found += [("sa", 1)] if start.checks_sp else []
    found += [("sp", start.sp)] if start.sp is not None else []
    words = memoryview(start.on_stack(size)).cast("Q")
    at = ((size - 8 * place, value) for place, value in enumerate(words))
    found += [(f"stack-{below}", value) for below, value in at if value != first.filler]
    return tuple(found)
