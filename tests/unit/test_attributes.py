"""Whether an access is cacheable, from SCTLR, MAIR and the page tables in force."""

from __future__ import annotations

import pytest
from bare_pe import BASE, CODE, DATA, Bare

from emu.arch import sysreg
from emu.arch.descriptors import AF, SH_INNER
from emu.cpu.attributes import is_cacheable
from emu.cpu.pe import PE

C = 1 << 2
# MAIR_EL1 by index: Normal write-back, Device-nGnRnE, Device-GRE, Normal non-cacheable, write-through, and
# one that is cacheable inside alone.
MAIR = 0x40_BB_44_0C_00_FF
ATTRIBUTES = [(0, True), (1, False), (2, False), (3, False), (4, True), (5, False)]


def on(bare: Bare, cached: bool = True) -> PE:
    """A PE with its MMU on, its tables mapping DATA by pages of each attribute."""
    bare.load("b .")
    pe = bare.pe()
    root = bare.new_root()
    for index, _ in ATTRIBUTES:
        va = DATA + 0x1000 * index
        bare.map_page(root, va, va | AF | SH_INNER | index << 2 | 0b11)
    bare.mmu_on(pe, root)
    pe.set_system_register(sysreg.MAIR_EL1, MAIR)
    if cached:
        pe.set_system_register(sysreg.SCTLR_EL1, pe.sysreg(sysreg.SCTLR_EL1) | C)
    return pe


@pytest.mark.parametrize(("index", "cacheable"), ATTRIBUTES)
def test_attribute_is_that_of_the_page(index: int, cacheable: bool) -> None:
    bare = Bare()
    pe = on(bare)
    assert is_cacheable(pe, DATA + 0x1000 * index + 8, bare.memory.u64) is cacheable


def test_block_has_an_attribute_too() -> None:
    bare = Bare()
    assert is_cacheable(on(bare), CODE, bare.memory.u64)


def test_nothing_is_cacheable_with_the_mmu_or_the_data_cache_off() -> None:
    bare = Bare()
    assert not is_cacheable(bare.pe(), BASE, bare.memory.u64)
    assert not is_cacheable(on(bare, cached=False), CODE, bare.memory.u64)


def test_address_that_is_not_mapped_is_not_cacheable() -> None:
    bare = Bare()
    assert not is_cacheable(on(bare), DATA + 0x10_0000, bare.memory.u64)
