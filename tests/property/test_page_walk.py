"""The walk that a debugger shows is the translation that the engine makes: random tables of every granule."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from bare_pe import BASE, Bare

from emu.arch import sysreg
from emu.cpu.pe import PE
from emu.cpu.translation import ADDRESS, BLOCK_LEVELS, Fault, FaultClass
from emu.debug.page_walk import Walk, page_walk, vas_of

AF, S2_RW, NORMAL_2 = 1 << 10, 3 << 6, 0xF << 2
TG0, TG1 = {12: 0, 14: 2, 16: 1}, {12: 2, 14: 1, 16: 3}
_U64 = 2**64 - 1
SIZE = 0x200_0000
PAS = 0x100_0000  # bytes that pages map


@dataclass
class Tables:
    """One tree of tables under construction, in memory that maps to itself.

    :ivar vas: VAs (or IPAs) that are mapped, by nothing that is overwritten later
    """

    bare: Bare
    granule: int
    width: int
    attributes: int
    first: int  # level
    root: int = 0
    vas: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = self.new()

    def new(self) -> int:
        """A table of one granule, of zeroes, aligned to it."""
        size = 1 << self.granule
        start = -(-self.bare._tables // size) * size
        self.bare._tables = start + size
        assert start + size <= BASE + SIZE, "room for tables"
        return start

    def map(self, draw: random.Random, va: int, pa: int) -> None:
        """Map one page or block."""
        table, level = self.root, self.first
        while True:
            shift = self.granule + (self.granule - 3) * (3 - level)
            top = self.width if level == self.first else shift + self.granule - 3
            at = table + 8 * (va >> shift & (1 << top - shift) - 1)
            found = self.bare.memory.read(at, 8)
            is_leaf = level == 3 or (level in BLOCK_LEVELS[self.granule] and draw.random() < 0.3)
            if is_leaf and not found & 1:
                kind = 3 if level == 3 else 1
                self.bare.put(at, pa & -(1 << shift) | self.attributes | kind)
                self.vas.append(va)
                return
            if found & 3 != 3 or level == 3:
                if found & 1:
                    return  # it is mapped already
                found = self.new() | 3
                self.bare.put(at, found)
            table, level = found & ADDRESS & -(1 << self.granule), level + 1


def some_pa(draw: random.Random) -> int:
    return BASE + draw.randrange(PAS)


def levels_of(width: int, granule: int) -> int:
    return -(-(width - granule) // (granule - 3))


def a_tree(bare: Bare, draw: random.Random, attributes: int = AF) -> Tables:
    granule = draw.choice((12, 14, 16))
    width = draw.randint(25, 48)
    return Tables(bare, granule, width, attributes, 4 - levels_of(width, granule))


def fill(draw: random.Random, tree: Tables, high: bool) -> list[int]:
    base = (_U64 << tree.width) & _U64 if high else 0
    near = draw.randrange(1 << tree.width)
    for _ in range(draw.randint(1, 6)):
        offset = near ^ draw.randrange(1 << draw.randrange(1, tree.width)) if draw.random() < 0.7 else near
        tree.map(draw, offset % (1 << tree.width), some_pa(draw))
    return [base | va for va in tree.vas]


def at_el1(bare: Bare, draw: random.Random) -> tuple[PE, list[int]]:
    """A PE at EL1 with a tree for each range."""
    pe = bare.pe()
    low, high = a_tree(bare, draw), a_tree(bare, draw)
    vas = [*fill(draw, low, False), *fill(draw, high, True)]
    tcr = (
        64 - low.width | (64 - high.width) << 16 | TG0[low.granule] << 14 | TG1[high.granule] << 30 | 5 << 32
    )
    if draw.random() < 0.1:
        tcr |= draw.choice((1 << 7, 1 << 23))  # EPD0, EPD1
    pe.set_system_register(sysreg.TCR_EL1, tcr)
    pe.set_system_register(sysreg.TTBR0_EL1, low.root)
    pe.set_system_register(sysreg.TTBR1_EL1, high.root)
    pe.set_system_register(sysreg.SCTLR_EL1, 0x30D0_0801)
    return pe, vas


def at_el2(bare: Bare, draw: random.Random) -> tuple[PE, list[int]]:
    """A PE at EL2 without E2H: one range."""
    pe = bare.pe(el=2)
    tree = a_tree(bare, draw)
    vas = fill(draw, tree, False)
    pe.set_system_register(
        sysreg.TCR_EL2, 64 - tree.width | TG0[tree.granule] << 14 | 5 << 16 | 1 << 31 | 1 << 23
    )
    pe.set_system_register(sysreg.TTBR0_EL2, tree.root)
    pe.set_system_register(sysreg.SCTLR_EL2, 0x30C5_0831)
    return pe, vas


def under_stage2(bare: Bare, draw: random.Random) -> tuple[PE, list[int]]:
    """A PE at EL1 whose stage 2 maps most of memory to itself, and lacks some pages."""
    pe, vas = at_el1(bare, draw)
    second = Tables(bare, 12, 39, AF | S2_RW | NORMAL_2, 1)
    middle = second.new()
    bare.put(second.root + 8 * (BASE >> 30), middle | 3)
    for block in range(SIZE >> 21):
        pa = BASE + (block << 21)
        if draw.random() < 0.85:
            bare.put(middle + 8 * block, pa | AF | S2_RW | NORMAL_2 | 1)
            continue
        pages = second.new()
        bare.put(middle + 8 * block, pages | 3)
        for page in range(512):
            if draw.random() < 0.7:
                bare.put(pages + 8 * page, pa + (page << 12) | AF | S2_RW | NORMAL_2 | 3)
    pe.set_system_register(sysreg.VTCR_EL2, 1 << 31 | 25 | 1 << 6 | 2 << 16)
    pe.set_system_register(sysreg.VTTBR_EL2, second.root)
    pe.set_system_register(sysreg.HCR_EL2, 1 << 31 | 1)
    return pe, vas


def check_entries(bare: Bare, found: Walk) -> None:
    """Each look-up is of a descriptor in memory, one level behind the other, from the table before."""
    for stage in (1, 2):
        before = None
        for each in found.entries:
            if each.stage != stage:
                if stage == 2:
                    before = None  # the next stage 2 walk begins again
                continue
            assert each.descriptor == bare.memory.u64(each.pa)
            assert 0 <= each.level <= 3
            if before is not None and before.is_table:
                assert each.level == before.level + 1
                address = each.ipa if each.ipa >= 0 else each.pa
                assert address & -(1 << 12) >= before.descriptor & ADDRESS  # type: ignore[operator]
            before = each
    if isinstance(found.first, Fault):
        assert found.first.kind in (FaultClass.TRANSLATION, FaultClass.EXTERNAL_ABORT_ON_WALK)
    elif found.ttbr is not None:
        own = [each for each in found.entries if each.stage == 1]
        assert own[-1].level == found.first.level
        assert not own[-1].is_table


@pytest.mark.parametrize(
    ("make", "seed"), [(make, seed) for make in (at_el1, at_el2, under_stage2) for seed in range(7)]
)
def test_a_walk_comes_to_what_the_engine_comes_to(make: object, seed: int) -> None:
    draw = random.Random(f"{make.__name__} {seed}")  # type: ignore[attr-defined]
    bare = Bare(size=SIZE, tables=BASE + 0x140_0000)
    pe, vas = make(bare, draw)  # type: ignore[operator]
    translated = 0
    asked = [*vas, *(va ^ 1 << draw.randrange(64) for va in vas), *(draw.getrandbits(64) for _ in range(4))]
    for va in asked:
        found = page_walk(pe, va, bare.memory.u64)
        assert found.pa == pe.translate(va), f"{va:#x}: {found}"
        check_entries(bare, found)
        if found.pa is None:
            continue
        translated += 1
        if translated > 2:
            continue
        mapped = vas_of(pe, found.pa, bare.memory.u64)
        assert va in mapped.addresses or not mapped.is_all
        assert all(pe.translate(each) == found.pa for each in mapped.addresses)
    assert translated


def test_a_walk_whose_levels_are_wrong_is_found() -> None:
    bare = Bare(size=SIZE, tables=BASE + 0x140_0000)
    pe, vas = at_el1(bare, random.Random("levels"))
    found = page_walk(pe, vas[0], bare.memory.u64)
    check_entries(bare, found)
    entries = tuple(replace(each, level=each.level - 1) for each in found.entries)
    with pytest.raises(AssertionError):
        check_entries(bare, replace(found, entries=entries))


def test_a_pa_that_is_mapped_nowhere_has_no_va_and_one_that_is_mapped_often_has_them_all() -> None:
    bare = Bare()
    pe = bare.pe()
    assert vas_of(pe, BASE, bare.memory.u64).addresses == (BASE,), "the MMU is off"
    root = bare.new_root()
    bare.mmu_on(pe, root)
    for page in range(70):
        bare.map_page(root, (5 << 39) + (page << 12), BASE + 0x40_0000 | AF | 3)
    found = vas_of(pe, BASE + 0x40_0008, bare.memory.u64)
    assert (len(found.addresses), found.is_all) == (64, False), "the search ends, and says so"
    assert vas_of(pe, BASE + 0x50_0000, bare.memory.u64) == type(found)((), True)


def test_tables_that_lead_to_themselves_end_the_search() -> None:
    bare = Bare()
    pe = bare.pe()
    root = bare.new_root()
    bare.mmu_on(pe, root)
    for index in range(1, 256):
        bare.put(root + 8 * index, root | 3)
    assert not vas_of(pe, BASE, bare.memory.u64).is_all
    assert vas_of(pe, 0x100_0000, bare.memory.u64).addresses == ()
