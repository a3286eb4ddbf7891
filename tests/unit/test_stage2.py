"""Faults of stage 2, and which of both stages an access fails at."""

from __future__ import annotations

import pytest
from bare_pe import BASE, CODE, DATA, Bare

from emu.arch import sysreg
from emu.cpu.cores import CORES
from emu.cpu.pe import PE
from emu.cpu.stage2 import Stage2
from emu.cpu.stops import Raised
from emu.cpu.translation import Fault, FaultClass

VM, RW, PTW = 1 << 0, 1 << 31, 1 << 2
VTCR = 1 << 31 | 25 | 1 << 6 | 2 << 16  # 39 bits from level 1, PS: 40 bits
AF, RWX, NORMAL, READ, WRITE = 1 << 10, 3 << 6, 0xF << 2, 1 << 6, 2 << 6
BLOCK, PAGE = AF | NORMAL | RWX | 1, AF | NORMAL | RWX | 3


def staged(bare: Bare, pe: PE, level3: dict[int, int]) -> int:
    """Switch stage 2 on, with memory mapped to itself; ``level3``: descriptors of pages at DATA."""
    first, second, third = (bare.new_table() for _ in range(3))
    bare.put(first + 8 * (BASE >> 30), second | 3)
    for index in range(16):
        bare.put(second + 8 * index, BASE + (index << 21) | BLOCK)
    bare.put(second + 8 * (DATA - BASE >> 21), third | 3)
    for page in range(512):
        bare.put(third + 8 * page, level3.get(page, DATA + (page << 12) | PAGE))
    pe.set_system_register(sysreg.VTCR_EL2, VTCR)
    pe.set_system_register(sysreg.VTTBR_EL2, first)
    pe.set_system_register(sysreg.HCR_EL2, RW | VM)
    return third


def loaded(bare: Bare, pe: PE, va: int) -> Raised:
    bare.load("ldr x1, [x0]\n b .")
    bare.engine.forget_code()
    pe.x[0], pe.pc = va, CODE
    stop = bare.engine.run(pe, 10)
    assert isinstance(stop, Raised), stop
    return stop


# The stage 2 descriptor of the page with the stage 1 table, and the fault status of a walk through it.
WALKS = [
    (0, 0x07),  # translation, level 3
    (DATA | PAGE & ~AF, 0x0B),  # access flag
    (DATA | PAGE & ~RWX, 0x0F),  # permission
    (DATA | PAGE & ~RWX | WRITE, 0x0F),
    (DATA | 1 << 41 | PAGE, 0x03),  # address size: over 40 bits
]


@pytest.mark.parametrize(("descriptor", "status"), WALKS)
def test_a_walk_that_stage_2_stops_says_why_and_at_which_level_of_stage_2(
    descriptor: int, status: int
) -> None:
    bare = Bare()
    bare.load("b .")
    pe = bare.pe()
    root = bare.new_root()
    bare.put(root + 8, DATA | 3)  # the next table, of 1 << 39, lies in the page
    bare.mmu_on(pe, root)
    staged(bare, pe, {0: descriptor})
    stop = loaded(bare, pe, 1 << 39)
    assert (stop.syndrome & 0x3F, stop.syndrome >> 7 & 1, stop.target_el) == (status, 1, 2)


def test_a_table_in_device_memory_is_no_table_with_ptw() -> None:
    bare = Bare()
    pe = bare.pe()
    staged(bare, pe, {0: DATA | AF | RWX | 3})  # MemAttr 0: Device
    for hcr, expected in ((VM, None), (VM | PTW, Fault(FaultClass.PERMISSION, 3))):
        pe.set_system_register(sysreg.HCR_EL2, RW | hcr)
        second = Stage2(pe, bare.memory.u64)
        second.read(DATA)
        assert second.fault == expected
        assert second.translate(DATA) == DATA, "not for accesses"


@pytest.mark.parametrize(
    ("bits", "load", "store"),
    [(READ, True, False), (WRITE, False, True), (READ | WRITE, True, True), (0, False, False)],
)
def test_stage_2_permissions_are_of_loads_and_of_stores(bits: int, load: bool, store: bool) -> None:
    bare = Bare()
    pe = bare.pe()
    staged(bare, pe, {1: DATA | AF | NORMAL | bits | 3})
    second = Stage2(pe, bare.memory.u64)
    for is_store, allowed in ((False, load), (True, store)):
        found = second.translate(DATA + 0x1008, is_store=is_store)
        assert found == (DATA + 8 if allowed else Fault(FaultClass.PERMISSION, 3))


def test_an_address_that_stage_1_has_none_for_is_not_stage_2s() -> None:
    """A Cortex-A53 has 40 bits of PA: with stage 1 off an address over it is a fault of stage 1, at EL1."""
    bare = Bare()
    pe = bare.engine.new_pe(0, 0x8000_0000, CORES["cortex-a53"].midr, 1)
    bare.engine.reset(pe, 1, CODE, 0)
    staged(bare, pe, {})
    stop = loaded(bare, pe, 1 << 40)
    assert (stop.syndrome & 0x3F, stop.target_el, stop.far) == (0, 1, 1 << 40)
    stop = loaded(bare, pe, 1 << 39)
    assert (stop.syndrome & 0x3F, stop.target_el) == (0x04, 2), "beyond VTCR_EL2.T0SZ"
