"""Code in free running: what is stored to it is executed, whichever VA the store is made at."""

from __future__ import annotations

import pytest
from bare_pe import CODE, DATA, Bare, assemble

from emu.arch import descriptors
from emu.arch.sysreg import SCTLR_EL1, WRITTEN_AT_EL2
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, EngineStop, Raised, Waiting
from emu.operation import Kind, WrittenAtEl2
from emu.records import RECORD, EngineRecords

HIGH = 0xFFFF_8000_0000_0000
CALLED = HIGH + 0x20_0000  # VA of the code that changes
STORED = HIGH  # VA of the same pages, where it is stored to
PAGES = CODE + 0x10_0000  # PA
PAGE = descriptors.AF | descriptors.SH_INNER | 0b11
NO_EXECUTE = descriptors.PXN | descriptors.UXN
# The words of a function are in X1, X2...; X20: where they are stored, X21: where they are called.
CALL = "dsb sy\n ic iallu\n dsb sy\n isb\n blr x21\n"


def free(text: str, pages: int = 1, stored: int = PAGE | NO_EXECUTE) -> tuple[Bare, PE]:
    """Return a PE that is to run ``text`` freely, with the MMU on, and the pages of code mapped twice."""
    bare = Bare(observe=False)
    root = bare.new_root()
    bare.map(root, DATA, DATA, 0x20_0000)
    for at in range(0, 0x1000 * pages, 0x1000):
        bare.map_page(root, STORED + at, PAGES + at | stored)
        bare.map_page(root, CALLED + at, PAGES + at | PAGE)
    bare.load(f"{text}\n wfi\n b .", CODE)
    pe = bare.pe()
    bare.mmu_on(pe, root)
    pe.pc, pe.x[20], pe.x[21], pe.x[22] = CODE, STORED, CALLED, DATA
    pe.x[1:4] = [int.from_bytes(assemble(f"mov x7, #{n}"), "little") for n in (1, 2, 3)]
    pe.x[4] = int.from_bytes(assemble("ret"), "little")
    bare.engine.free.begin()
    return bare, pe


def run(bare: Bare, pe: PE, piece: int) -> EngineStop:
    """Run in pieces of so many instructions; return how they end."""
    for _ in range(10_000):
        stop = bare.engine.run(pe, piece)
        if stop is not STEP_LIMIT:
            return stop
    raise AssertionError("no end")


every_piece = pytest.mark.parametrize("piece", [1, 7, 100_000])


@every_piece
@pytest.mark.parametrize("stored", [PAGE | NO_EXECUTE, PAGE], ids=["no-execute", "executable"])
@pytest.mark.parametrize("store", ["str w{}, [x20]", "stp w{}, w4, [x20]", "str x{}, [x20]"])
def test_each_store_to_code_is_seen_at_its_other_va(store: str, stored: int, piece: int) -> None:
    """The first one, and those behind it, which find the entry of the TLB as that has left it."""
    text = "str w4, [x20, #4]\n"
    for number in (1, 2, 3):
        text += f"orr x{number}, x{number}, x4, lsl #32\n {store.format(number)}\n {CALL}"
        text += f"str x7, [x22, #{8 * number}]\n"
    bare, pe = free(text, stored=stored)
    assert run(bare, pe, piece) == Waiting(Kind.WFI)
    assert [bare.memory.read(DATA + 8 * number, 8) for number in (1, 2, 3)] == [1, 2, 3]


@every_piece
def test_zeroes_by_dc_zva_are_seen_in_code(piece: int) -> None:
    """What was called is udf #0 then."""
    bare, pe = free(f"str w4, [x20, #4]\n str w1, [x20]\n {CALL} dc zva, x20\n mov x7, #9\n {CALL}")
    stop = run(bare, pe, piece)
    assert isinstance(stop, Raised)
    assert (stop.preferred_return, pe.x[7]) == (CALLED, 9)


@every_piece
def test_a_page_that_held_data_is_code_next(piece: int) -> None:
    """Its entry was dirty before anything was executed there."""
    text = "mov x9, #64\nl: str x9, [x20, #64]\n subs x9, x9, #1\n b.ne l\n str w4, [x20, #4]\n"
    text += f"str w1, [x20]\n {CALL} mov x8, x7\n str w2, [x20]\n {CALL}"
    bare, pe = free(text)
    assert run(bare, pe, piece) == Waiting(Kind.WFI)
    assert (pe.x[8], pe.x[7]) == (1, 2)


@every_piece
def test_code_in_many_pages_is_seen_to_change(piece: int) -> None:
    """Pages far apart, and neighbours, become code one after another; then each is changed."""
    pages, step = 40, 0x3000
    each = f"add x20, x20, #{step >> 12}, lsl #12\n add x21, x21, #{step >> 12}, lsl #12\n"
    text = "mov x10, x20\n mov x11, x21\n mov x12, #0\n"
    for number in (1, 2):
        text += f"mov x20, x10\n mov x21, x11\n mov x9, #{pages}\nl{number}: str w4, [x20, #4]\n"
        text += f"str w{number}, [x20]\n {CALL} add x12, x12, x7\n {each} subs x9, x9, #1\n b.ne l{number}\n"
    bare, pe = free(text, pages * step // 0x1000)
    assert run(bare, pe, piece) == Waiting(Kind.WFI)
    assert pe.x[12] == pages * (1 + 2)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 300, 511, 600])
def test_a_wait_at_the_end_of_a_long_straight_line_is_seen(length: int) -> None:
    """The first run of an engine may begin with it: a block has up to 512 instructions."""
    bare = Bare(observe=False)
    bare.load("nop\n" * length + "yield\n add x3, x3, #1\n b .", CODE)
    pe = bare.pe()
    pe.x[3] = 0
    bare.engine.free.begin()
    assert bare.engine.run(pe, 10_000) == Waiting(Kind.WFE)
    assert (pe.pc, pe.x[3]) == (CODE + 4 * length + 4, 0)


# -- DC ZVA while every access is recorded ----------------------------------------------------------


def recorded(bare: Bare, pe: PE) -> tuple[EngineStop, list[tuple[Kind, int, int]]]:
    """Run with every access recorded; return how it ends, and (kind, bytes, PA) of each access."""
    made = EngineRecords(1)
    bare.engine.free.record(made)
    stop = run(bare, pe, 100_000)
    packed, _ = made.take()
    return stop, [(Kind(kind), size, pa) for kind, size, _, _, pa, _ in RECORD.iter_unpack(packed)]


def test_dc_zva_is_one_store_of_64_bytes() -> None:
    """Whatever byte of the line its address is; bytes beside the line stay."""
    bare, pe = free("dc zva, x9\n ldr x8, [x22, #64]")
    bare.put(DATA, *range(1, 25))
    pe.x[9] = DATA + 64 + 5
    stop, rows = recorded(bare, pe)
    assert stop == Waiting(Kind.WFI)
    assert rows == [(Kind.STORE, 64, DATA + 64), (Kind.LOAD, 8, DATA + 64)]
    words = [bare.memory.read(DATA + 8 * at, 8) for at in range(24)]
    assert words == [*range(1, 9), *[0] * 8, *range(17, 25)]
    assert pe.x[8] == 0
    assert pe.counters.instructions == 3


def test_dc_zva_that_faults_or_hits_code_is_the_engine_s() -> None:
    """No row of a fault; and code that becomes zeroes is not executed any more."""
    bare, pe = free("dc zva, x9")
    pe.x[9] = STORED + 0x4000_0000
    stop, rows = recorded(bare, pe)
    assert isinstance(stop, Raised)
    assert (stop.far, stop.preferred_return, rows) == (pe.x[9], CODE, [])
    bare, pe = free(f"str w4, [x20, #4]\n str w1, [x20]\n {CALL} dc zva, x20\n mov x7, #9\n {CALL}")
    stop, rows = recorded(bare, pe)
    assert isinstance(stop, Raised)
    assert (stop.preferred_return, pe.x[7]) == (CALLED, 9)
    assert {pa for kind, _, pa in rows if kind is Kind.STORE} >= set(range(PAGES, PAGES + 64))


def test_a_trap_of_dc_zva_is_taken_while_it_is_recorded() -> None:
    """HCR_EL2.TDZ."""
    bare = Bare(observe=False)
    bare.load(
        "ldr x0, =0x90000000\n msr hcr_el2, x0\n adr x1, at_el1\n msr elr_el2, x1\n mov x2, #0x3c5\n"
        " msr spsr_el2, x2\n eret\nat_el1: dc zva, x22\n wfi"
    )
    pe = bare.pe(el=2)
    pe.x[22] = DATA
    bare.engine.free.begin()
    stop, rows = recorded(bare, pe)
    assert isinstance(stop, Raised)
    assert (stop.target_el, stop.preferred_return) == (2, CODE + 28)
    assert all(kind is Kind.LOAD for kind, _, _ in rows)


# -- back to where it was ---------------------------------------------------------------------------


def test_code_that_the_host_has_put_back_is_executed() -> None:
    """Pages that are told are translated again, whatever VA they are executed at; the same comes of it."""
    text = f"blr x21\n str x7, [x22]\n str w2, [x20]\n {CALL} str x7, [x22, #8]"
    bare, pe = free(text)
    bare.words(*pe.x[1:2], *pe.x[4:5], at=PAGES)
    state, before = pe.state(), bare.memory.read_bytes(PAGES, 4096)
    found = []
    for _ in range(3):
        assert run(bare, pe, 100_000) == Waiting(Kind.WFI)
        found.append((bare.memory.read(DATA, 8), bare.memory.read(DATA + 8, 8)))
        bare.memory.write_bytes(PAGES, before)
        bare.put(DATA, 0, 0)
        pe.set_state(state)
        bare.engine.free.rewind([PAGES, DATA])
    assert found == [(1, 2)] * 3


# -- registers of EL2 -------------------------------------------------------------------------------


@pytest.mark.parametrize("at_el2", [True, False])
@pytest.mark.parametrize("is_free", [True, False])
def test_what_el2_has_written_is_kept_in_a_free_run_as_in_another(is_free: bool, at_el2: bool) -> None:
    """SCTLR_EL1 and HCR_EL2, which the engine does by itself; of a write of EL1 nothing is kept."""
    bare = Bare(observe=not is_free)
    bare.load(
        "mov x0, #0x80000000\n msr hcr_el2, x0\n mrs x1, sctlr_el1\n msr sctlr_el1, x1\n wfi"
        if at_el2
        else "mrs x1, sctlr_el1\n msr sctlr_el1, x1\n wfi"
    )
    pe = bare.pe(el=2 if at_el2 else 1)
    if is_free:
        bare.engine.free.begin()
    assert bare.engine.run(pe, 100) == Waiting(Kind.WFI)
    written = WrittenAtEl2.SCTLR_EL1 | WrittenAtEl2.HCR_EL2 if at_el2 else 0
    assert pe.system_register(WRITTEN_AT_EL2) == written
    assert pe.sysreg(SCTLR_EL1) == pe.x[1]


@every_piece
def test_a_store_to_code_beside_what_is_noted_is_seen(piece: int) -> None:
    """The engine does not make stores to such pages by itself; those to the noted bytes alone are told."""
    text = "str w4, [x20, #4]\n"
    for number in (1, 2, 3):
        text += f"str w{number}, [x20]\n {CALL} str x7, [x22, #{8 * number}]\n str w7, [x20, #64]\n"
    bare, pe = free(text)
    seen: list[tuple[int, int, int]] = []
    noted = range(PAGES + 64, PAGES + 68)
    bare.engine.free.note_stores(noted, lambda store: seen.append((store.pa, store.size, store.value)))
    assert run(bare, pe, piece) == Waiting(Kind.WFI)
    assert [bare.memory.read(DATA + 8 * number, 8) for number in (1, 2, 3)] == [1, 2, 3]
    assert seen == [(PAGES + 64, 4, 1), (PAGES + 64, 4, 2), (PAGES + 64, 4, 3)]


@every_piece
def test_each_kind_of_store_to_a_page_with_noted_bytes_is_made(piece: int) -> None:
    """And told once with PC, PA, size and value, where it is to the noted bytes; loads are as ever."""
    text = """
    str x1, [x22, #16]
    stp x2, x3, [x22, #8]
    strb w4, [x22, #23]
again:
    ldxr x5, [x23]
    stxr w6, x22, [x23]
    cbnz w6, again
    str x2, [x22, #4096]
    ldr x8, [x22, #16]
    """
    bare, pe = free(text)
    pe.x[23] = DATA + 16
    seen: list[tuple[int, int, int, int]] = []
    bare.engine.free.note_stores(
        range(DATA + 16, DATA + 24), lambda store: seen.append((store.pc, store.pa, store.size, store.value))
    )
    ret = pe.x[4] & 0xFF
    assert run(bare, pe, piece) == Waiting(Kind.WFI)
    assert seen == [
        (CODE, DATA + 16, 8, pe.x[1]),
        (CODE + 4, DATA + 16, 8, pe.x[3]),
        (CODE + 8, DATA + 23, 1, ret),
        (CODE + 16, DATA + 16, 8, DATA),
    ]
    assert (pe.x[8], pe.x[5] >> 56, pe.x[6]) == (DATA, ret, 0)
    assert [bare.memory.read(DATA + at, 8) for at in (8, 16, 4096)] == [pe.x[2], DATA, pe.x[2]]
