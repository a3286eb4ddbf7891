"""Loads and stores of general registers, and prefetches, which do nothing.

Source: Arm DDI 0487, C4.1.96. Exclusives and atomics are left out: look-ups have no use for them.
"""

from __future__ import annotations

from emu.lookup.prove import bits
from emu.lookup.prove.bits import Value
from emu.lookup.prove.semantics.instruction import Instruction, field, ra, rd, rm, rn
from emu.lookup.prove.semantics.register import extended
from emu.lookup.prove.state import Access, State

_U64 = 64


def _transfer(word: int, state: State, access: Access) -> None:
    # LDR, STR and their narrow and signed kinds, by size and opc.
    size, kind = access.size, field(word, 23, 22)
    if kind == 0:
        state.around.store(state, access, state.read(rd(word), 8 * size))
        return
    if size == 8 and kind == 2:
        return  # PRFM
    value = state.around.load(state, access)
    if kind == 1:
        state.write(rd(word), bits.widen(value, 8 * size, _U64))
    elif kind == 2:
        state.write(rd(word), bits.widen_signed(value, 8 * size, _U64))
    else:
        state.write(rd(word), bits.widen_signed(value, 8 * size, 32), 32)


def _size(word: int) -> int:
    return 1 << (word >> 30)


def _is_transfer(word: int) -> bool:
    size, kind = word >> 30, field(word, 23, 22)
    return not (size == 3 and kind == 3) and not (size == 2 and kind == 3)


def _at(word: int, state: State, offset: Value) -> Access:
    base = state.read_sp(rn(word))
    return Access(bits.add(base, offset, _U64), _size(word), rn(word), base)


def _scaled(word: int, state: State) -> None:
    _transfer(word, state, _at(word, state, field(word, 21, 10) * _size(word)))


def _offset9(word: int) -> int:
    return bits.signed(field(word, 20, 12), 9) & bits.mask(64)


def _unscaled(word: int, state: State) -> None:
    _transfer(word, state, _at(word, state, _offset9(word)))


def _indexed(word: int, state: State) -> None:
    before = field(word, 11, 10) == 3
    base = state.read_sp(rn(word))
    moved = bits.add(base, _offset9(word), _U64)
    _transfer(word, state, Access(moved if before else base, _size(word), rn(word), base))
    state.write_sp(rn(word), moved)


def _indexed_allocated(word: int) -> bool:
    # Writeback to the register that is transferred is UNPREDICTABLE; PRFM has no writeback.
    kind = field(word, 23, 22)
    return (
        _is_transfer(word)
        and not (word >> 30 == 3 and kind == 2)
        and (rn(word) != rd(word) or rn(word) == 31)
    )


def _by_register(word: int, state: State) -> None:
    offset = extended(state.read(rm(word)), field(word, 15, 13), _U64)
    by = word >> 30 if field(word, 12, 12) else 0
    _transfer(word, state, _at(word, state, bits.left(offset, by, _U64) if by else offset))


def _by_register_allocated(word: int) -> bool:
    return _is_transfer(word) and bool(field(word, 14, 14))


def _literal(word: int, state: State) -> None:
    kind = word >> 30
    if kind == 3:
        return  # PRFM
    offset = bits.signed(field(word, 23, 5), 19) * 4
    size = 8 if kind == 1 else 4
    value = state.around.load(state, Access(state.pc + offset & bits.mask(64), size))
    wide = (bits.widen_signed if kind == 2 else bits.widen)(value, 8 * size, _U64)
    state.write(rd(word), wide)


def _pair(word: int, state: State) -> None:
    kind, size = field(word, 24, 23), 8 if word >> 31 else 4
    base = state.read_sp(rn(word))
    moved = bits.add(base, bits.signed(field(word, 21, 15), 7) * size & bits.mask(64), _U64)
    first = base if kind == 1 else moved
    accesses = [Access(bits.add(first, at, _U64), size, rn(word), base) for at in (0, size)]
    registers = rd(word), ra(word)
    if field(word, 22, 22):
        loaded = [state.around.load(state, access) for access in accesses]
        for register, value in zip(registers, loaded, strict=True):
            widen = bits.widen_signed if word >> 30 == 1 else bits.widen
            state.write(register, widen(value, 8 * size, _U64))
    else:
        for register, access in zip(registers, accesses, strict=True):
            state.around.store(state, access, state.read(register, 8 * size))
    if kind in (1, 3):
        state.write_sp(rn(word), moved)


def _pair_allocated(word: int) -> bool:
    loads, kind, opc = field(word, 22, 22), field(word, 24, 23), word >> 30
    if opc == 3 or (opc == 1 and not (loads and kind)):
        return False
    if loads and rd(word) == ra(word):
        return False
    return kind not in (1, 3) or rn(word) == 31 or rn(word) not in (rd(word), ra(word))


def _acquire(word: int, state: State) -> None:
    access = _at(word, state, 0)
    state.write(rd(word), bits.widen(state.around.load(state, access), 8 * access.size, _U64))


INSTRUCTIONS = (
    Instruction("LDR, STR (unsigned offset)", 0x3F00_0000, 0x3900_0000, _scaled, _is_transfer),
    Instruction("LDUR, STUR", 0x3F20_0C00, 0x3800_0000, _unscaled, _is_transfer),
    Instruction("LDR, STR (pre- and post-indexed)", 0x3F20_0400, 0x3800_0400, _indexed, _indexed_allocated),
    Instruction("LDR, STR (register offset)", 0x3F20_0C00, 0x3820_0800, _by_register, _by_register_allocated),
    Instruction("LDR (literal)", 0x3F00_0000, 0x1800_0000, _literal),
    Instruction("LDP, STP, LDPSW, LDNP, STNP", 0x3E00_0000, 0x2800_0000, _pair, _pair_allocated),
    Instruction("LDAR", 0x3FFF_FC00, 0x08DF_FC00, _acquire),
)
