"""What a PE is said to do next is what it then does: random load and store words, random registers."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from bare_pe import BASE, CODE, DATA, Bare

from emu.arch import a64, sysreg
from emu.arch.a64 import Other
from emu.arch.operand import transfers
from emu.cpu.next_operation import decoded_accesses
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, EngineStop
from emu.operation import (
    Access,
    Invisible,
    Kind,
    LoadExclusive,
    MemoryAccess,
    Operation,
    Ordering,
    StoreExclusive,
)

_U64 = 2**64 - 1
TABLES = BASE + 0x40_0000
SIZE = 0x41_0000  # little memory: it is compared around each instruction
_KINDS = {
    MemoryAccess: (Kind.LOAD, Kind.STORE),
    LoadExclusive: (Kind.LOAD_EXCLUSIVE,),
    StoreExclusive: (Kind.STORE_EXCLUSIVE,),
}


# A word of each group of loads and stores, and which bits of it are drawn (Arm DDI 0487, C4.1.88).
GROUPS = [
    (0x3900_0000, 0xC4FF_FFFF),  # unsigned offset
    (0x3800_0000, 0xC4DF_FFFF),  # unscaled, post-, pre-indexed, unprivileged
    (0x3820_0800, 0xC4DF_F3FF),  # register offset
    (0x2800_0000, 0xC5FF_FFFF),  # pairs
    (0x1800_0000, 0xC40F_FFFF),  # literals
    (0x085F_7C00, 0xC020_83FF),  # load-exclusives
    (0x085F_0000, 0xC020_FFFF),
    (0x089F_FC00, 0xC040_03FF),  # LDAR, STLR
    (0x0C00_0000, 0x40DF_FFFF),  # structures
    (0x3820_0000, 0xC4FF_FFFF),  # atomics, which Armv8.0 has not
    (0x0800_0000, 0xFFFF_FFFF & ~0x3700_0000),  # all
]


def words(chance: random.Random) -> list[int]:
    """Random words of every group; store-exclusives are tested by their forms."""
    found: list[int] = []
    while len(found) < 400:
        word, drawn = chance.choice(GROUPS)
        word |= chance.getrandbits(32) & drawn
        if a64.classify(word) in (Other.ACCESS, Kind.LOAD_EXCLUSIVE):
            found.append(word)
    return found


def registers(pe: PE, word: int, chance: random.Random) -> None:
    """Random values; what addresses is made of lies in memory mostly, aligned mostly."""
    for number in range(31):
        pe.x[number] = chance.getrandbits(64)
    base = chance.choice([DATA, DATA + 0x800, DATA + 0x1000, BASE + SIZE - 16, BASE + SIZE, 0x1234_5678_0000])
    pe.x[word >> 5 & 31] = base + chance.choice([0, 0, 0, 16, 64, 48, 8, 4, 3, 56, 60])
    index = word >> 16 & 31
    if index not in (31, word >> 5 & 31) and word >> 24 & 0x3B == 0x38:
        pe.x[index] = chance.choice([0, 8, 16, 2**32 - 16, _U64 - 15])


def done(bare: Bare, pe: PE) -> tuple[EngineStop, list[tuple[Kind, int, int, int]]]:
    """What the instruction then does: the stop, and its accesses."""
    bare.records.clear()
    stop = bare.engine.step(pe)
    return stop, [(kind, pa, size, value) for kind, size, _, pa, value in bare.records]


def said(operation: Operation) -> list[tuple[Kind, int, int, int]]:
    """The accesses of an operation as records; what is loaded counts as 0."""
    if isinstance(operation, Invisible):
        return []
    kinds = _KINDS[type(operation)]  # type: ignore[index]
    accesses: tuple[Access, ...] = operation.accesses  # type: ignore[union-attr]
    return [
        (kinds[-1 if access.is_store else 0], access.pa, access.size, access.value) for access in accesses
    ]


def as_said(operation: Operation, records: list[tuple[Kind, int, int, int]]) -> list[tuple[object, ...]]:
    """Records as :func:`said` has them: a pair of W registers is one access to an exclusive of the engine."""
    found: list[tuple[object, ...]] = []
    for kind, pa, size, value in records:
        loads = kind in (Kind.LOAD, Kind.LOAD_EXCLUSIVE)
        pair = (
            isinstance(operation, LoadExclusive | StoreExclusive) and operation.accesses[0].size * 2 == size
        )
        for part in range(2 if pair else 1):
            width = size // 2 if pair else size
            stored = 0 if loads else value >> 8 * width * part & (1 << 8 * width) - 1
            found.append((kind, pa + width * part, width, stored))
    return found


@pytest.mark.parametrize("mmu", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_next_operation_is_what_is_then_done(seed: int, mmu: bool) -> None:
    """Accesses, sizes, order and the values stored; nothing where the instruction raises an exception."""
    chance = random.Random(seed)
    bare = Bare(size=SIZE, tables=TABLES)
    pe = bare.pe()
    if mmu:
        bare.load("b .")
        root = bare.new_root()
        bare.map(root, DATA, DATA, 0x20_0000)
        bare.mmu_on(pe, root)
    pe.set_system_register(sysreg.CPACR_EL1, 3 << 20)
    content = chance.randbytes(0x2000)
    seen: Counter[str] = Counter()
    for word in words(chance):
        bare.words(word, 0x1400_0000)
        bare.engine.forget_code()
        bare.memory.write_bytes(DATA - 0x800, content)
        bare.memory.write_bytes(BASE + SIZE - 0x100, content[:0x100])
        pe.pc = CODE
        registers(pe, word, chance)
        state, memory = pe.state(), bytes(bare.memory.view)
        bare.records.clear()
        operation = bare.engine.next_operation(pe)
        assert bare.records == []
        assert (pe.state(), bytes(bare.memory.view) == memory) == (state, True)
        decoded = bool(decoded_accesses(pe, word, bare.memory))
        stop, records = done(bare, pe)
        if stop is not STEP_LIMIT:
            records = []
        assert as_said(operation, records) == said(operation), f"{word:#010x}: {stop}"
        kind = type(operation).__name__
        seen["decoded" if decoded and kind == "MemoryAccess" else kind] += 1
    assert seen["decoded"] > 40, seen
    assert seen["Invisible"] > 20, seen
    assert seen["LoadExclusive"] > 10, seen
    assert seen["MemoryAccess"] > 2, seen  # executed and undone


FORMS = [
    ("ldr x2, [x0]", [(0, 8, False)]),
    ("stp x2, x3, [x0, #16]!", [(16, 8, True), (24, 8, True)]),
    ("ldpsw x2, x3, [x0, #8]", [(8, 4, False), (12, 4, False)]),
    ("str q1, [x0, #32]", [(32, 8, True), (40, 8, True)]),
    ("ldp q1, q2, [x0]", [(0, 8, False), (8, 8, False), (16, 8, False), (24, 8, False)]),
    ("str b1, [x0, #1]", [(1, 1, True)]),
    ("ldr s1, [x0, #4]", [(4, 4, False)]),
    ("stxp w5, x2, x3, [x0]", [(0, 8, True), (8, 8, True)]),
    ("stlxp w5, w2, w3, [x0]", [(0, 4, True), (4, 4, True)]),
    ("stxr w5, x2, [x0]", [(0, 8, True)]),
    ("stlxrh w5, w2, [x0]", [(0, 2, True)]),
    ("ldxp w2, w3, [x0]", [(0, 4, False), (4, 4, False)]),
    ("strb wzr, [x0, #7]", [(7, 1, True)]),
]


@pytest.mark.parametrize(("text", "accesses"), FORMS)
def test_forms(text: str, accesses: list[tuple[int, int, bool]]) -> None:
    """Each by hand: what is stored is what the engine then stores."""
    bare = Bare()
    bare.load(text)
    pe = bare.pe()
    pe.set_system_register(sysreg.CPACR_EL1, 3 << 20)
    pe.x[0] = DATA
    word = bare.memory.read(CODE, 4)
    if "w5" in text:
        load = text.replace("stlx", "ldx").replace("stx", "ldx").replace(" w5,", "")
        bare.load(f"{load}\n{text}")
        assert bare.engine.step(pe) is STEP_LIMIT
    operation = bare.engine.next_operation(pe)
    found = [(access.pa - DATA, access.size, access.is_store) for access in operation.accesses]  # type: ignore[union-attr]
    assert found == accesses
    assert len(transfers(word)) == len(accesses)
    stop, records = done(bare, pe)
    assert stop is STEP_LIMIT
    assert as_said(operation, records) == said(operation)


@pytest.mark.parametrize(
    ("text", "ordering"),
    [
        ("ldar x1, [x0]", Ordering.ACQUIRE),
        ("stlr w1, [x0]", Ordering.RELEASE),
        ("ldaxr x1, [x0]", Ordering.ACQUIRE),
        ("stlxr w2, x1, [x0]", Ordering.RELEASE),
        ("ldxr x1, [x0]", Ordering.NONE),
        ("stxr w2, x1, [x0]", Ordering.NONE),
        ("ldr x1, [x0]", Ordering.NONE),
    ],
)
def test_ordering(text: str, ordering: Ordering) -> None:
    """Arm DDI 0487, C6.2: Load-Acquire, Store-Release and their exclusives."""
    bare = Bare()
    bare.load(text)
    pe = bare.pe()
    pe.x[0] = DATA
    operation = bare.engine.next_operation(pe)
    assert [access.ordering for access in operation.accesses] == [ordering]  # type: ignore[union-attr]


def test_a_trap_of_vector_registers_is_no_access() -> None:
    """CPACR_EL1.FPEN is 0 at reset."""
    bare = Bare()
    bare.load("str q1, [x0]")
    pe = bare.pe()
    pe.x[0] = DATA
    assert bare.engine.next_operation(pe) == Invisible()


def test_a_page_that_cannot_be_written_is_no_store() -> None:
    """Loads go there, stores and store-exclusives raise a permission fault."""
    bare = Bare()
    bare.load("b .")
    pe, root = bare.pe(), bare.new_root()
    bare.map_page(root, DATA, DATA | 1 << 10 | 3 << 8 | 1 << 7 | 3)  # AF, inner shareable, AP[2]: read-only
    bare.mmu_on(pe, root)
    for text, visible in (("ldr x1, [x0]", True), ("str x1, [x0]", False), ("stxr w2, x1, [x0]", False)):
        bare.load(text)
        bare.engine.forget_code()
        pe.pc, pe.x[0] = CODE, DATA
        assert isinstance(bare.engine.next_operation(pe), Invisible) is not visible
