"""What is known of one system register."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag

from emu.arch.sysreg import Encoding
from emu.cpu.interconnect import Interconnect
from emu.cpu.pe import PE

NEVER = 4  # of Row.read_el: UNDEFINED at every level, though the engine has it


class WriteEffect(IntFlag):
    """What a write does beyond the register."""

    NONE = 0
    TRANSLATION = 1  # addresses may translate otherwise from here on
    ENABLE = 2  # that is so even with the MMU off: it switches stage 1 or 2 on
    MMU = 4  # it goes into the trace as the MMU of its level


@dataclass(frozen=True, slots=True)
class Trap:
    """A bit of another register that has accesses from lower levels trapped.

    :ivar control: the register that has the bit
    :ivar reads, writes: which accesses are trapped
    :ivar below: those from levels below this one; it is where they are trapped to, but that EL0's go to EL1
        or EL2 as HCR_EL2.TGE says
    :ivar when: the value of the bit that traps
    :ivar unless: other bits of the register; one of them that is set lets the access pass
    """

    control: Encoding
    bit: int
    reads: bool = True
    writes: bool = True
    below: int = 2
    when: int = 1
    unless: int = 0


# Gives what an MRS reads; None: the engine's value is right, or it raises what is due.
Reader = Callable[[PE, Interconnect], int | None]
# Does what an MSR of this value does, in place of the engine.
Writer = Callable[[PE, Interconnect, int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One system register.

    :ivar reset: what a PE starts with (u64), 0 where that is UNKNOWN; None: the engine's value, which is 0
        where code can write the register, but for those that :mod:`emu.cpu.sysregs.access` sets
    :ivar read_el: lowest level at which an MRS is not UNDEFINED
    :ivar write_el: the same of an MSR; None: read-only
    :ivar at_hand: a PE that is switched out has it (:meth:`emu.cpu.pe.PE.sysreg`)
    :ivar value: what the register is on a PE, where that does not come from the engine
    :ivar virtual: the register that EL1 reads in its place
    :ivar read, write: handlers, in place of the engine
    :ivar look: what :attr:`read` gives, for who only looks; None: reading has no effect
    :ivar traps: those that there are on the way to EL2
    :ivar by_host: the engine does not know it: traps are raised by us too
    :ivar feature: without which it is UNDEFINED; empty: Armv8.0
    """

    name: str
    encoding: Encoding
    reset: int | None = None
    read_el: int = 1
    write_el: int | None = 1
    at_hand: bool = False
    effect: WriteEffect = WriteEffect.NONE
    value: Callable[[PE], int] | None = None
    virtual: Encoding | None = None
    read: Reader | None = None
    write: Writer | None = None
    look: Reader | None = None
    traps: tuple[Trap, ...] = ()
    by_host: bool = False
    feature: str = ""
    source: str = "Arm DDI 0487, D24.2"
