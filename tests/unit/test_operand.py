"""Where loads and stores go: the decoded address against where the engine says the access went."""

from __future__ import annotations

import pytest
from bare_pe import CODE, DATA, Bare

from emu.arch.operand import access_va
from emu.operation import Kind

FORMS = [
    "ldr x2, [x0]",
    "ldr x2, [x0, #504]",
    "str w2, [x0, #4]",
    "ldrb w2, [x0, #3]",
    "strh w2, [x0, #2]",
    "ldrsw x2, [x0, #12]",
    "ldur x2, [x0, #-8]",
    "stur w2, [x0, #-12]",
    "ldr x2, [x0], #16",
    "str x2, [x0, #-16]!",
    "ldr x2, [x0, x1]",
    "ldr x2, [x0, x1, lsl #3]",
    "ldr w2, [x0, w3, uxtw #2]",
    "ldr x2, [x0, w4, sxtw]",
    "ldr x2, [x0, w4, sxtw #3]",
    "ldrh w2, [x0, w3, uxtw #1]",
    "ldp x2, x5, [x0, #16]",
    "stp x2, x5, [x0, #-32]!",
    "ldp w2, w5, [x0], #8",
    "ldpsw x2, x5, [x0, #8]",
    "ldar x2, [x0]",
    "stlr w2, [x0]",
    "ldr x2, [sp, #8]",
    "ldr x2, #8",
    "ldtr x2, [x0, #8]",
]


@pytest.mark.parametrize("text", FORMS)
def test_address_is_where_the_engine_accesses(text: str) -> None:
    bare = Bare()
    bare.load(text)
    pe = bare.pe()
    pe.x[0], pe.x[1], pe.x[3], pe.x[4], pe.x[31] = DATA + 0x400, 0x18, 0x20, 2**32 - 8, DATA + 0x800
    word = bare.memory.read(CODE, 4)
    address = access_va(word, CODE, list(pe.x))
    bare.engine.step(pe)
    first = next(row for row in bare.records if row[0] in (Kind.LOAD, Kind.STORE))
    assert address == first[3]


def test_exclusives_and_structures_take_the_base_alone() -> None:
    x = [0] * 32
    x[7] = 0x1234_5678
    for word in (0xC85F_7CE0, 0xC802_7CE1, 0xC87F_08E0, 0x4C40_70E0):  # ldxr, stxr, ldxp, ld1 with [x7]
        assert access_va(word, CODE, x) == 0x1234_5678
