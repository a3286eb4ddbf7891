"""Fields of system registers: names, bits, and what values mean. Data, by the register's name.

The registers themselves are the rows of :mod:`emu.cpu.sysregs.rows`. A register without a table here is an
address, a number, or IMPLEMENTATION DEFINED.
"""

from __future__ import annotations

from typing import NamedTuple

from emu.arch.fields import (
    aarch32,
    control,
    exceptions,
    identification,
    interrupts,
    syndrome,
    system,
    translation,
)
from emu.arch.fields.field import Field, Fields, field

FIELDS: dict[str, Fields] = {
    **control.CONTROL,
    **translation.TRANSLATION,
    **exceptions.EXCEPTIONS,
    **identification.IDENTIFICATION,
    **aarch32.AARCH32,
    **interrupts.INTERRUPTS,
    **system.SYSTEM,
}
# Registers with another layout while HCR_EL2.E2H is set, and that layout.
WITH_E2H: dict[str, Fields] = {**control.WITH_E2H, **translation.WITH_E2H, **system.WITH_E2H}
_PAR_FAILED: Fields = (
    field("F", 0, 0, {1: "it failed"}),
    field("FST", 6, 1, syndrome.fault_status),
    field("PTW", 8, 8, {1: "on a stage 1 walk"}),
    field("S", 9, 9, {0: "at stage 1", 1: "at stage 2"}),
)


class FieldValue(NamedTuple):
    """A field and what it holds.

    :ivar words: what the value means; empty: its number says all
    """

    field: Field
    value: int
    words: str


def fields_of(name: str, value: int, *, e2h: bool = False) -> Fields:
    """Return the fields that a register has now, the lowest first; none: it is a number.

    :param name: as its row has it
    :param value: the register (u64): what some fields are depends on others
    :param e2h: HCR_EL2.E2H is set
    """
    if name == "PAR_EL1" and value & 1:
        return _PAR_FAILED
    found = WITH_E2H.get(name) if e2h else None
    return FIELDS.get(name, ()) if found is None else found


def decode(name: str, value: int, *, e2h: bool = False) -> list[FieldValue]:
    """Return the fields of a register and what they hold; of a syndrome those of its ISS too."""
    table = list(fields_of(name, value, e2h=e2h))
    if name.startswith("ESR_"):
        iss = syndrome.ISS.get(value >> 26 & 0x3F, ())
        table = [*table[1:], *reversed(iss)] if iss else table
    return [FieldValue(each, each.of(value), each.words(each.of(value))) for each in table]


def outside(name: str, value: int, *, e2h: bool = False) -> int:
    """Return the bits that are set outside of a register's fields; 0 of one without fields."""
    table = fields_of(name, value, e2h=e2h)
    for each in table:
        value &= ~each.mask
    return value if table else 0
