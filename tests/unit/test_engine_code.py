"""Code that changes, is shared, or is stopped at: translations, sites, plans and breakpoints follow it."""

from __future__ import annotations

import pytest
from bare_pe import BASE, CODE, DATA, GRAINS, TABLES, Bare, assemble

from emu.arch import descriptors
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, Raised, Reached, SelfBranch, Waiting
from emu.operation import Kind

every_grain = pytest.mark.parametrize("grain", GRAINS)
HIGH = 0xFFFF_8000_0000_0000
PAGE = descriptors.AF | descriptors.SH_INNER | 0b11  # a level 3 page: read-write at EL1, executable


# -- modified code ----------------------------------------------------------------------------------

WORDS = {
    "nop": "nop",
    "mov": "mov x7, #42",
    "wfe": "wfe",
    "sev": "sev",
    "dsb": "dsb sy",
    "fp": "fmov d0, x0",
    "load": "ldr x7, [x20]",
    "ldxr": "ldxr x7, [x20]",
    "mrs": "mrs x7, mpidr_el1",
    "cntvct": "mrs x7, cntvct_el0",
    "spin": "b .",
    "svc": "svc #1",
    "skip": "b . + 8",
    "prfm": "prfm pldl1keep, [x20]",
}
TARGET = CODE + 0x200


def outcome(bare: Bare, pe: PE, grain: str) -> tuple[object, ...]:
    pe.pc = TARGET
    bare.outside.set_event(pe, True)
    pe.x[7] = 0
    bare.records.clear()
    before = pe.counters.instructions
    stop = bare.go(pe, grain)
    if isinstance(stop, Raised):
        pe.take(stop)
    bare.outside.clear_exclusive(pe)
    return stop, pe.x[7], bare.outside.has_event(pe), list(bare.records), pe.counters.instructions - before


def fresh(text: str, grain: str) -> tuple[object, ...]:
    bare = Bare()
    bare.load(f"nop\n {text}\n nop\n add x8, x8, #1\n b .", TARGET)
    pe = bare.pe()
    pe.x[20] = DATA
    return outcome(bare, pe, grain)


@every_grain
@pytest.mark.parametrize("old", WORDS)
@pytest.mark.parametrize("new", WORDS)
def test_a_store_to_code_is_seen(old: str, new: str, grain: str) -> None:
    """Whatever the word was and becomes: operations, stops and counts are those of the new code."""
    bare = Bare()
    bare.load(f"nop\n {WORDS[old]}\n nop\n add x8, x8, #1\n b .", TARGET)
    bare.load("str w1, [x20]\n dsb sy\n isb\n b .", CODE)
    pe = bare.pe()
    pe.x[20] = DATA
    assert outcome(bare, pe, grain) == fresh(WORDS[old], grain)
    bare.clock = 0
    writer = bare.pe(CODE)
    writer.x[20], writer.x[1] = TARGET + 4, int.from_bytes(assemble(WORDS[new], TARGET + 4), "little")
    assert isinstance(bare.go(writer, grain), SelfBranch)
    assert outcome(bare, pe, grain) == fresh(WORDS[new], grain)


@every_grain
@pytest.mark.parametrize("alias", ["same", "other va", "host"])
@pytest.mark.parametrize("store", ["str w1, [x20]", "stp w1, w2, [x20]", "strb w1, [x20]", "dc zva, x20"])
def test_a_store_through_any_alias_is_seen(store: str, alias: str, grain: str) -> None:
    """Code is known by PA: it runs at its VA, the store comes by another, or from the host."""
    bare = Bare()
    root = bare.new_root()
    bare.map(root, DATA, DATA, 0x20_0000)
    bare.map(root, HIGH, BASE, 0x20_0000)
    where = HIGH + TARGET - BASE
    bare.load("mov x7, #1\n mov x6, #1\n b .", TARGET)
    bare.load(f"{store}\n dsb sy\n isb\n b .", CODE)
    pe, writer = bare.pe(), bare.pe()
    bare.mmu_on(pe, root)
    bare.mmu_on(writer, root)
    pe.pc = where
    assert bare.go(pe, grain) == SelfBranch(where + 8)
    assert (pe.x[7], pe.x[6]) == (1, 1)
    word = int.from_bytes(assemble("mov x7, #2"), "little")
    if alias == "host":
        assert bare.engine.is_code(TARGET, 4)
        bare.memory.write(TARGET, 4, word)
        bare.engine.forget_code()
        store = ""
    else:
        writer.pc = CODE
        writer.x[20], writer.x[1], writer.x[2] = TARGET if alias == "same" else where, word, word
        assert bare.go(writer, grain) == SelfBranch(CODE + 12)
    pe.pc = where
    pe.x[7] = pe.x[6] = 0
    stop = bare.go(pe, grain)
    if store.startswith("dc"):
        assert isinstance(stop, Raised)
        assert stop.preferred_return == where
    elif store.startswith("strb"):
        assert pe.x[7] == 2
    else:
        assert (pe.x[7], pe.x[6]) == (2, 0 if store.startswith("stp") else 1)


def test_code_that_writes_itself() -> None:
    """The next turn of a loop runs what the last one stored, at every grain."""
    text = (
        "mov x9, #4\nl: add x7, x7, #1\n ldr w1, [x20]\n str w1, [x21]\n add x1, x1, #0x400\n str w1, [x20]\n"
    )
    text += " dsb sy\n isb\n subs x9, x9, #1\n b.ne l\n b ."
    found = []
    for grain in GRAINS:
        bare = Bare()
        bare.load(text)
        pe = bare.pe()
        pe.x[7], pe.x[20], pe.x[21] = 0, DATA, CODE + 4
        bare.memory.write(DATA, 4, int.from_bytes(assemble("add x7, x7, #2"), "little"))
        bare.go(pe, grain)
        found.append((pe.x[7], pe.counters.as_dict(), list(bare.records)))
    assert found[0] == found[1] == found[2]
    assert found[0][0] == 1 + 2 + 3 + 4


def test_data_beside_code_costs_nothing() -> None:
    """Only lines that hold code count as code: a fragment's data lies in the page of its text."""
    bare = Bare()
    bare.load("ldr x1, [x20]\n b .")
    pe = bare.pe()
    pe.x[20] = CODE + 0x800
    bare.go(pe)
    assert bare.engine.is_code(CODE, 8)
    assert bare.engine.is_code(CODE - 4, 8)
    assert bare.engine.is_code(CODE - 0x10_0000, 0x20_0000)
    assert not bare.engine.is_code(CODE + 0x800, 8)
    assert not bare.engine.is_code(CODE - 64, 64)


@every_grain
def test_code_across_the_end_of_a_page(grain: str) -> None:
    """A straight line goes on in the next page, with the sites there."""
    bare = Bare()
    at = CODE + 0x1000 - 12
    bare.load("mov x1, #1\n dsb sy\n str x1, [x20]\n ldr x2, [x20]\n sevl\n wfe\n add x1, x1, #1\n b .", at)
    pe = bare.pe(at)
    pe.x[20] = DATA
    assert bare.go(pe, grain) == SelfBranch(at + 28)
    assert bare.kinds() == [Kind.BARRIER, Kind.STORE, Kind.LOAD, Kind.SEVL, Kind.WFE]
    assert (pe.x[1], pe.counters.instructions) == (2, 7)


@every_grain
def test_code_whose_next_page_is_elsewhere_or_missing(grain: str) -> None:
    """Pages that follow by VA need not follow by PA."""
    bare = Bare()
    root = bare.new_root()
    va = HIGH + 0x1000
    bare.map_page(root, HIGH, CODE | PAGE)
    bare.map_page(root, va, (CODE + 0x5000) | PAGE)
    bare.load("mov x1, #1\n dsb sy", CODE + 0xFF8)
    bare.load("mov x1, #99\n b .", CODE + 0x1000)
    bare.load("sevl\n mov x2, #2\n nop", CODE + 0x5000)
    bare.words(*[0xD503_201F] * 1021, at=CODE + 0x500C)
    pe = bare.pe()
    bare.mmu_on(pe, root)
    pe.pc = HIGH + 0xFF8
    stop = bare.go(pe, grain)
    assert isinstance(stop, Raised)
    assert (stop.syndrome >> 26, stop.preferred_return, stop.far) == (0x20 | 1, va + 0x1000, va + 0x1000)
    assert (pe.x[1], pe.x[2], pe.counters.instructions) == (1, 2, 2 + 1024)
    assert bare.kinds() == [Kind.BARRIER, Kind.SEVL]


def test_a_very_long_straight_line() -> None:
    """Longer than a translation block (512 instructions), with an operation every 100."""
    found = []
    for grain in GRAINS:
        bare = Bare()
        words = [0x9100_0400] * 3000  # add x0, x0, #1
        for at in range(50, 3000, 100):
            words[at] = 0xF900_0280  # str x0, [x20]
        bare.words(*words, 0x1400_0000)
        pe = bare.pe()
        pe.x[20] = DATA
        bare.go(pe, grain)
        found.append((pe.counters.as_dict(), list(pe.x), list(bare.records)))
    assert found[0] == found[1] == found[2]
    assert found[0][0]["instructions"] == 3000


# -- breakpoints ------------------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize("name", WORDS)
def test_a_breakpoint_on_any_word(name: str, grain: str) -> None:
    """It stops before the word has done anything; going on does it, once."""
    plain = fresh(WORDS[name], grain)
    bare = Bare()
    bare.load(f"nop\n {WORDS[name]}\n nop\n add x8, x8, #1\n b .", TARGET)
    pe = bare.pe(TARGET)
    pe.x[20] = DATA
    bare.engine.break_at(TARGET + 4)
    pe.x[7] = 0
    bare.outside.set_event(pe, True)
    assert bare.go(pe, grain) == Reached(TARGET + 4)
    assert (pe.pc, pe.counters.instructions, bare.records) == (TARGET + 4, 1, [])
    stop = bare.go(pe, grain)
    assert (stop, pe.x[7], bare.outside.has_event(pe), bare.records, pe.counters.instructions) == plain


@every_grain
def test_a_breakpoint_on_the_first_instruction_of_a_run(grain: str) -> None:
    """A PE that has not been told of it stops; the one that has goes on."""
    bare = Bare()
    bare.load("nop\n nop\n b .")
    bare.engine.break_at(CODE)
    first, second = bare.pe(), bare.pe()
    assert bare.go(first, grain) == Reached(CODE)
    assert bare.go(second, grain) == Reached(CODE)
    assert (first.counters.instructions, first.pc) == (0, CODE)
    assert bare.go(first, grain) == SelfBranch(CODE + 8)
    assert bare.go(second, grain) == SelfBranch(CODE + 8)


@every_grain
def test_a_breakpoint_in_a_loop_stops_each_time(grain: str) -> None:
    """It stays armed."""
    bare = Bare()
    bare.load("mov x0, #3\nl: subs x0, x0, #1\n b.ne l\n b .")
    pe = bare.pe()
    bare.engine.break_at(CODE + 4)
    for left in (3, 2, 1):
        assert bare.go(pe, grain) == Reached(CODE + 4)
        assert pe.x[0] == left
    assert bare.go(pe, grain) == SelfBranch(CODE + 12)
    assert pe.counters.instructions == 7


@every_grain
def test_a_breakpoint_on_a_branch_target_within_a_known_block(grain: str) -> None:
    """Put into code that has run already, taken out, put back."""
    bare = Bare()
    bare.load("nop\n nop\n nop\n b .")
    pe = bare.pe()

    def again() -> object:
        pe.pc = CODE
        return bare.go(pe, grain)

    assert again() == SelfBranch(CODE + 12)
    bare.engine.break_at(CODE + 8)
    assert again() == Reached(CODE + 8)
    bare.engine.unbreak(CODE + 8)
    assert again() == SelfBranch(CODE + 12)
    bare.engine.break_at(CODE + 8)
    bare.engine.break_at(CODE + 8)
    assert again() == Reached(CODE + 8)
    assert bare.go(pe, grain) == SelfBranch(CODE + 12)
    assert again() == Reached(CODE + 8)


@every_grain
def test_a_breakpoint_by_va_in_both_address_spaces(grain: str) -> None:
    """One at the PA with the MMU off, one at the high VA; each stops where its VA is the PC."""
    bare = Bare()
    root = bare.new_root()
    bare.map(root, HIGH, BASE, 0x20_0000)
    bare.load("nop\n nop\n b .")
    on, off = bare.pe(), bare.pe()
    bare.mmu_on(on, root)
    high = HIGH + CODE - BASE
    bare.engine.break_at(CODE + 4)
    bare.engine.break_at(high + 4)
    on.pc = high
    for _ in range(2):
        assert bare.go(off, grain) == Reached(CODE + 4)
        assert bare.go(on, grain) == Reached(high + 4)
        assert bare.go(off, grain) == SelfBranch(CODE + 8)
        assert bare.go(on, grain) == SelfBranch(high + 8)
        off.pc, on.pc = CODE, high
    bare.engine.unbreak(CODE + 4)  # while the other address space is loaded
    assert bare.go(off, grain) == SelfBranch(CODE + 8)
    assert bare.go(on, grain) == Reached(high + 4)


def test_a_breakpoint_that_the_pe_was_moved_away_from_stops_again() -> None:
    """Only going on from where it stands passes it."""
    bare = Bare()
    bare.load("nop\n nop\n b .")
    pe = bare.pe()
    bare.engine.break_at(CODE + 4)
    assert bare.go(pe) == Reached(CODE + 4)
    pe.pc = CODE
    assert bare.go(pe) == Reached(CODE + 4)
    bare.engine.reset(pe, 1, CODE + 4, 0)
    assert bare.go(pe) == Reached(CODE + 4)


# -- translation regimes ----------------------------------------------------------------------------


@every_grain
def test_pes_with_different_tables_alternate(grain: str) -> None:
    """One VA, three frames: two tables and the MMU off. Nobody sees another's."""
    bare = Bare()
    va = DATA
    bare.load("l: ldr x1, [x20]\n add x1, x1, #1\n str x1, [x20]\n subs x9, x9, #1\n b.ne l\n b .")
    pes = []
    for index in range(3):
        pe = bare.pe()
        if index:
            root = bare.new_root()
            bare.map(root, va, DATA + index * 0x20_0000, 0x20_0000)
            bare.mmu_on(pe, root)
        pe.pc, pe.x[20], pe.x[9] = CODE, va, 10
        bare.put(DATA + index * 0x20_0000, 1000 * index)
        pes.append(pe)
    active = list(pes)
    while active:
        one = {
            "run": lambda pe: bare.engine.run(pe, 3),
            "step": bare.engine.step,
            "operation": bare.engine.run_operation,
        }[grain]
        active = [pe for pe in active if one(pe) is STEP_LIMIT]
    values = [bare.memory.read(DATA + index * 0x20_0000, 8) for index in range(3)]
    assert values == [10, 1010, 2010]


@every_grain
def test_one_va_with_other_code_in_each_address_space(grain: str) -> None:
    """Sites and plans are those of the code that the PE fetches."""
    bare = Bare()
    va = HIGH
    texts = ["nop\n sevl\n wfe\n b .", "ldr x1, [x20]\n dsb sy\n nop\n b .", "wfe\n nop\n nop\n svc #3"]
    pes = []
    for index, text in enumerate(texts):
        bare.load(text, CODE + 0x1000 * index)
        pe = bare.pe()
        root = bare.new_root()
        bare.map(root, DATA, DATA, 0x20_0000)
        bare.map_page(root, va, (CODE + 0x1000 * index) | PAGE)
        bare.mmu_on(pe, root)
        pe.pc, pe.x[20] = va, DATA
        pes.append(pe)
    for _ in range(2):
        for pe in pes:
            pe.pc = va
            bare.outside.set_event(pe, False)
        bare.records.clear()
        assert bare.go(pes[0], grain) == SelfBranch(va + 12)
        assert bare.kinds() == [Kind.SEVL, Kind.WFE]
        bare.records.clear()
        assert bare.go(pes[1], grain) == SelfBranch(va + 12)
        assert bare.kinds() == [Kind.LOAD, Kind.BARRIER]
        bare.records.clear()
        assert bare.go(pes[2], grain) == Waiting(Kind.WFE)
        assert isinstance(bare.go(pes[2], grain), Raised)
        assert bare.kinds() == [Kind.WFE]


@every_grain
def test_code_that_is_mapped_elsewhere_after_a_tlbi(grain: str) -> None:
    """The guest changes its own page table; what was known of the VA's code goes."""
    bare = Bare()
    root = bare.new_root()
    va = HIGH
    bare.map(root, TABLES, TABLES, 0x20_0000)
    bare.map_page(root, va, CODE + 0x1000 | PAGE)
    bare.load("mov x7, #1\n nop\n ret", CODE + 0x1000)
    bare.load("sevl\n mov x7, #2\n ret", CODE + 0x2000)
    bare.load("blr x20\n str x22, [x21]\n dsb sy\n tlbi vmalle1\n dsb sy\n isb\n mov x6, x7\n blr x20\n b .")
    pe = bare.pe()
    table = root
    for shift in (39, 30, 21):
        table = bare.memory.read(table + 8 * (va >> shift & 0x1FF), 8) & 0xFFFF_FFFF_F000
    bare.mmu_on(pe, root)
    assert TABLES <= table < TABLES + 0x20_0000
    pe.x[20], pe.x[21], pe.x[22] = va, table + 8 * (va >> 12 & 0x1FF), CODE + 0x2000 | PAGE
    assert isinstance(bare.go(pe, grain), SelfBranch)
    assert (pe.x[6], pe.x[7]) == (1, 2)
    assert Kind.SEVL in bare.kinds()


@every_grain
def test_the_tlb_of_a_pe_that_switched_its_mmu_on_before_a_power_on(grain: str) -> None:
    """Resetting a PE takes the running one out: what it has put into the TLB must not outlive it."""
    bare = Bare()
    root = bare.new_root()
    bare.map(root, DATA, DATA + 0x20_0000, 0x20_0000)
    bare.load("ldr x1, [x20]\n b .")
    bare.put(DATA, 1)
    bare.put(DATA + 0x20_0000, 2)
    first, second = bare.pe(), bare.pe()
    bare.go(second, grain)  # the engine has run with the MMU off
    bare.mmu_on(first, root)
    first.x[20] = DATA
    bare.go(first, grain)
    assert first.x[1] == 2
    bare.engine.reset(second, 1, CODE, 0)
    second.x[20] = DATA
    bare.go(second, grain)
    assert second.x[1] == 1


def test_translate_follows_the_pe() -> None:
    """The PA that this PE reads at a VA, in its current regime."""
    bare = Bare()
    root = bare.new_root()
    bare.map(root, DATA, DATA + 0x20_0000, 0x20_0000)
    on, off = bare.pe(), bare.pe()
    bare.mmu_on(on, root)
    for _ in range(2):
        assert on.translate(DATA + 5) == DATA + 0x20_0005
        assert off.translate(DATA + 5) == DATA + 5
    assert on.translate(HIGH) is None


@every_grain
def test_a_second_branch_to_a_misaligned_address_faults_too(grain: str) -> None:
    """Arm DDI 0487, D1.3.6: PC alignment is checked each time, by every PE."""
    bare = Bare()
    bare.load("br x0\n nop\n nop\n b .")
    for _ in range(3):
        pe = bare.pe(x0=CODE + 6)
        stop = bare.go(pe, grain)
        assert stop == Raised(0x22 << 26 | 1 << 25, CODE + 6, 1, CODE + 6)
        assert pe.counters.instructions == 1


@every_grain
def test_an_access_across_two_pages_goes_to_both_frames(grain: str) -> None:
    """Data is right; the record tells the first frame (MODEL: the second is not told by the engine)."""
    bare = Bare()
    root = bare.new_root()
    bare.map_page(root, HIGH, DATA | PAGE)
    bare.map_page(root, HIGH + 0x1000, DATA + 0x5000 | PAGE)
    bare.load("str x1, [x20]\n ldr x2, [x20]\n b .")
    pe = bare.pe()
    bare.mmu_on(pe, root)
    pe.x[20], pe.x[1] = HIGH + 0xFFC, 0x1122_3344_5566_7788
    assert bare.go(pe, grain) == SelfBranch(CODE + 8)
    assert pe.x[2] == pe.x[1]
    assert bare.memory.read(DATA + 0xFFC, 4) == 0x5566_7788
    assert bare.memory.read(DATA + 0x5000, 4) == 0x1122_3344
    assert bare.records[0] == (Kind.STORE, 8, CODE, DATA + 0xFFC, 0x1122_3344_5566_7788)
