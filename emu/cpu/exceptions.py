"""Exception entry: the vector, and what PSTATE, SPSR, ELR, ESR and FAR become. Pure functions of values.

:source: Arm DDI 0487, D1.3 (exception model), D1.3.2 (vector table)

MODEL: AArch64 at every level. The flags are kept; IL, SS, UAO and BTYPE are cleared, DAIF is set.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from emu.cpu.stops import Raised

_NZCV, PAN, _DAIF = 0xF << 28, 1 << 22, 0xF << 6
_U64 = 2**64 - 1
# EC of aborts from a lower EL; the next value is the same from the current EL.
_ABORTS_LOWER = (0x20, 0x24)


ALIGNMENT_FAULT, EXTERNAL_ABORT = 0x21, 0x10  # DFSC and IFSC


def abort_syndrome(status: int, *, is_store: bool = False, is_fetch: bool = False) -> int:
    """Return the ESR value of an abort that its own EL takes: EC, IL, WnR, fault status code."""
    return (0x21 if is_fetch else 0x25) << 26 | 1 << 25 | is_store << 6 | status


class Vector(IntEnum):
    """Which of the four entries of a group of vectors: its offset in bytes."""

    SYNCHRONOUS = 0
    IRQ = 0x80
    FIQ = 0x100
    SERROR = 0x180


class Interrupt(NamedTuple):
    """An asynchronous exception: it is taken between two instructions.

    :ivar vector: IRQ, FIQ or SERROR
    :ivar target_el: 1 or 2; the PE is at that level or a lower one
    :ivar syndrome: the ESR value of an SError; IRQ and FIQ have none
    """

    vector: Vector
    target_el: int
    syndrome: int = 0xBE00_0000  # EC 0x2f, IL


CpuException = Raised | Interrupt


class Entry(NamedTuple):
    """What registers become, all of exception level ``el``; None: the register is left alone."""

    el: int
    pc: int
    pstate: int
    spsr: int
    elr: int
    esr: int | None
    far: int | None


def target_el(exception: CpuException, el: int) -> int:
    """Return the level that takes an exception raised at ``el``: never EL0, nor a lower one."""
    return max(exception.target_el, el, 1)


def vector_va(exception: CpuException, pstate: int, vbar: int) -> int:
    """Return the VA of the vector.

    :param pstate: before the exception
    :param vbar: VBAR_ELx of :func:`target_el`
    """
    el = pstate >> 2 & 3
    group = 0x400 if el < target_el(exception, el) else 0x200 if pstate & 1 else 0
    kind = exception.vector if isinstance(exception, Interrupt) else Vector.SYNCHRONOUS
    return vbar + group + kind & _U64


def enter(exception: CpuException, pc: int, pstate: int, vbar: int, *, sets_pan: bool = False) -> Entry:
    """Return what the registers are after the exception has been taken.

    :param pc: VA of the instruction that an interrupt comes before; of a Raised its preferred return counts
    :param pstate: before the exception, as SPSR has it
    :param vbar: VBAR_ELx of :func:`target_el`
    :param sets_pan: FEAT_PAN, and SCTLR_ELx.SPAN is clear where that counts; else PSTATE.PAN is kept
    """
    current = pstate >> 2 & 3
    el = target_el(exception, current)
    esr: int | None
    if isinstance(exception, Raised):
        elr, far = exception.preferred_return, exception.far
        esr = _syndrome(exception.syndrome, current == el)
    else:
        elr, far = pc, None
        esr = exception.syndrome if exception.vector is Vector.SERROR else None
    return Entry(
        el=el,
        pc=vector_va(exception, pstate, vbar),
        pstate=pstate & (_NZCV | PAN) | PAN * sets_pan | _DAIF | el << 2 | 1,
        spsr=pstate,
        elr=elr,
        esr=esr,
        far=far,
    )


def _syndrome(syndrome: int, same_el: bool) -> int:
    # The EC of an abort says whether it came from a lower EL.
    ec = syndrome >> 26
    if ec & ~1 in _ABORTS_LOWER:
        ec = ec & ~1 | same_el
    return syndrome & 0x03FF_FFFF | ec << 26
