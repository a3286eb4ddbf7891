"""Exclusive monitors (Arm DDI 0487, B2.9): what clears one, what a cleared one does, what is recorded."""

from __future__ import annotations

import pytest
from bare_pe import CODE, DATA, GRAINS, Bare
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, Reached, SelfBranch, Waiting
from emu.operation import Kind
from emu.semantics.monitors import armed

every_grain = pytest.mark.parametrize("grain", GRAINS)
LOAD_THEN_STORE = "ldxr x1, [x20]\n add x2, x1, #1\ns: stxr w3, x2, [x20]\n b ."
STXR = CODE + 8
A = CODE
B = CODE + 0x1000


def between(grain: str, text_b: str, *, address: int = DATA, value: int = 7) -> tuple[Bare, PE, PE]:
    """Run A's load-exclusive, then all of B, then the rest of A; memory at the start is 7."""
    bare = Bare()
    bare.load(LOAD_THEN_STORE, A)
    bare.load(text_b + "\n b .", B)
    bare.put(DATA, 7)
    a, b = bare.pe(A), bare.pe(B)
    a.x[20], b.x[20], b.x[1], b.x[3] = DATA, address, value, 0
    bare.engine.break_at(STXR)
    assert bare.go(a, grain) == Reached(STXR)
    assert armed(bare.outside.system, a.index) == DATA
    assert isinstance(bare.go(b, grain), SelfBranch)
    bare.engine.unbreak(STXR)
    bare.records.clear()
    assert isinstance(bare.go(a, grain), SelfBranch)
    return bare, a, b


@every_grain
@pytest.mark.parametrize("value", [7, 8])
@pytest.mark.parametrize("offset", [0, 8, 56])
@pytest.mark.parametrize("text", ["str x1, [x20]", "strb w1, [x20]", "stp x1, x1, [x20]", "stlr x1, [x20]"])
def test_a_store_to_the_granule_makes_the_exclusive_fail(
    text: str, offset: int, value: int, grain: str
) -> None:
    """The value does not matter, nor where in the 64 bytes of the granule the store is."""
    bare, a, _ = between(grain, text, address=DATA + offset, value=value)
    assert (a.x[3], bare.outside.has_event(a)) == (1, True)
    assert bare.records == []
    assert a.counters.stores == 0


@every_grain
@pytest.mark.parametrize("offset", [64, 128, 4096])
def test_a_store_outside_the_granule_does_not(offset: int, grain: str) -> None:
    """The store-exclusive succeeds and is recorded as one store."""
    bare, a, _ = between(grain, "str x1, [x20]", address=DATA + offset)
    assert (a.x[3], bare.outside.has_event(a), bare.memory.read(DATA, 8)) == (0, False, 8)
    assert bare.records == [(Kind.STORE_EXCLUSIVE, 8, STXR, DATA, 8)]
    assert (a.counters.loads, a.counters.stores) == (1, 1)


@every_grain
def test_a_store_that_begins_before_the_granule_and_reaches_into_it(grain: str) -> None:
    """A pair is two accesses, the second of which hits."""
    _, a, _ = between(grain, "stp x1, x1, [x20, #-8]")
    assert a.x[3] == 1


@every_grain
def test_loads_and_maintenance_of_others_leave_the_monitor(grain: str) -> None:
    """Another PE's load, load-exclusive, barrier or cache clean is no store."""
    bare, a, b = between(grain, "ldr x1, [x20]\n ldxr x1, [x20]\n dsb sy\n dc civac, x20")
    assert a.x[3] == 0
    assert bare.outside.has_event(b)  # its own monitor was cleared by A's store


@every_grain
def test_the_first_store_exclusive_wins(grain: str) -> None:
    """Both hold the granule; B stores first, so A's fails and A gets the event."""
    bare, a, b = between(grain, "ldxr x1, [x20]\n mov x2, #50\n stxr w3, x2, [x20]")
    assert (b.x[3], a.x[3], bare.memory.read(DATA, 8)) == (0, 1, 50)
    assert (bare.outside.has_event(a), bare.outside.has_event(b)) == (True, False)


@every_grain
def test_a_failed_store_exclusive_clears_nobody(grain: str) -> None:
    """It stores nothing."""
    bare, a, b = between(grain, "mov x2, #50\n stxr w3, x2, [x20]\n clrex")
    assert (b.x[3], a.x[3]) == (1, 0)
    assert not bare.outside.has_event(a)
    assert bare.kinds() == [Kind.STORE_EXCLUSIVE]


@every_grain
@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize(("offset", "status"), [(0, 1), (63, 1), (64, 0), (-1, 1)])
def test_a_host_store_clears_monitors(offset: int, status: int, size: int, grain: str) -> None:
    """Host tasks and firmware store as nobody's PE."""
    if offset == -1 and size == 1:
        status = 0
    bare = Bare()
    bare.load(LOAD_THEN_STORE)
    pe = bare.pe()
    pe.x[20] = DATA
    bare.engine.break_at(STXR)
    assert bare.go(pe, grain) == Reached(STXR)
    bare.outside.stored(None, DATA + offset, size)
    assert bare.outside.has_event(pe) == bool(status)
    bare.go(pe, grain)
    assert pe.x[3] == status


@every_grain
@pytest.mark.parametrize(
    "text", ["clrex", "adr x5, t\n msr elr_el1, x5\n mov x5, #0x3c5\n msr spsr_el1, x5\n eret\nt:"]
)
def test_clrex_and_eret_clear_the_own_monitor_without_an_event(text: str, grain: str) -> None:
    """Arm DDI 0487, B2.9.5: an exception return clears it."""
    bare = Bare()
    bare.load(f"ldxr x1, [x20]\n{text}\n stxr w3, x1, [x20]\n b .")
    pe = bare.pe()
    pe.x[20] = DATA
    bare.go(pe, grain)
    assert (pe.x[3], bare.outside.has_event(pe), bare.outside.system.monitors) == (1, False, ())


@every_grain
def test_an_exception_entry_leaves_the_monitor(grain: str) -> None:
    """Only the return clears it."""
    bare = Bare()
    bare.load("ldxr x1, [x20]\n svc #0\n b .")
    pe = bare.pe()
    pe.x[20] = DATA
    stop = bare.go(pe, grain)
    pe.take(stop)  # type: ignore[arg-type]
    assert armed(bare.outside.system, pe.index) == DATA


@every_grain
def test_a_cleared_monitor_wakes_a_wfe_sleeper(grain: str) -> None:
    """Arm DDI 0487, D1.7.1: the clearing of the global monitor is an event: how a spinlock waits."""
    bare = Bare()
    bare.load("l: sevl\n wfe\n ldaxr x1, [x20]\n cbnz x1, out\n wfe\n b l\nout: b .", A)
    bare.load("mov x1, #1\n stlr x1, [x20]\n b .", B)
    a, b = bare.pe(A), bare.pe(B)
    a.x[20] = b.x[20] = DATA
    assert bare.go(a, grain) == Waiting(Kind.WFE)
    assert not bare.outside.has_event(a)
    bare.go(b, grain)
    assert bare.outside.has_event(a)


@every_grain
def test_a_store_of_the_own_leaves_the_monitor(grain: str) -> None:
    """Arm DDI 0487, B2.12.1: whether it clears the local monitor is IMPLEMENTATION DEFINED."""
    bare = Bare()
    bare.load("ldxr x1, [x20]\n str x2, [x20]\n stxr w3, x1, [x20]\n b .")
    pe, other = bare.pe(), bare.pe()
    pe.x[20], pe.x[2] = DATA, 99
    bare.outside.load_exclusive(other, DATA, 8)
    bare.go(pe, grain)
    assert pe.x[3] == 0
    assert bare.kinds() == [Kind.LOAD_EXCLUSIVE, Kind.STORE, Kind.STORE_EXCLUSIVE]
    assert (pe.counters.loads, pe.counters.stores) == (1, 2)


@every_grain
@pytest.mark.parametrize(
    ("load", "store", "sizes"),
    [
        ("ldxrb w1, [x20]", "stxrb w3, w2, [x20]", [1]),
        ("ldaxrh w1, [x20]", "stlxrh w3, w2, [x20]", [2]),
        ("ldxr w1, [x20]", "stxr w3, w2, [x20]", [4]),
        ("ldxp w1, w4, [x20]", "stxp w3, w2, w5, [x20]", [8]),
        ("ldxp x1, x4, [x20]", "stxp w3, x2, x5, [x20]", [8, 8]),
    ],
)
@pytest.mark.parametrize("changed", [None, 0, 1])
@pytest.mark.parametrize("told", [True, False])
def test_every_size(
    load: str, store: str, sizes: list[int], changed: int | None, told: bool, grain: str
) -> None:
    """A success is recorded as its accesses, a failure as nothing.

    The monitor alone decides, not the value: what nobody is told of changes nothing.
    """
    width = sum(sizes) // 2 if "xp" in load else sum(sizes)
    if changed == 1 and "xp" not in load:
        changed = 0
    bare = Bare()
    bare.load(f"{load}\n nop\n{store}\n b .")
    bare.put(DATA, 2**64 - 1, 2**64 - 1)
    pe = bare.pe()
    pe.x[20], pe.x[2], pe.x[5] = DATA, 0x11, 0x22
    bare.engine.break_at(CODE + 8)
    bare.go(pe, grain)
    if changed is not None:
        bare.memory.write(DATA + changed * width, 1, 0x55)
        if told:
            bare.outside.stored(None, DATA + changed * width, 1)
    fails = told and changed is not None
    bare.records.clear()
    bare.go(pe, grain)
    assert pe.x[3] == fails
    assert [size for _, size, *_ in bare.records] == ([] if fails else sizes)
    assert set(bare.kinds()) <= {Kind.STORE_EXCLUSIVE}


def test_code_that_replaces_an_exclusive_is_no_exclusive() -> None:
    """What is remembered of a VA goes with its word."""
    bare = Bare()
    bare.load("ldxr x1, [x20]\n b .")
    pe = bare.pe()
    pe.x[20] = DATA
    bare.go(pe)
    bare.outside.clear_exclusive(pe)
    bare.load("ldr x1, [x20]\n b .")
    bare.engine.forget_code()
    pe.pc = CODE
    bare.records.clear()
    bare.go(pe)
    assert (bare.kinds(), bare.outside.system.monitors) == ([Kind.LOAD], ())


INCREMENT = "mov x9, #20\nl: ldxr x1, [x20]\n add x1, x1, #1\n stxr w2, x1, [x20]\n cbnz w2, l\n"
COUNT = INCREMENT + " subs x9, x9, #1\n b.ne l\n b ."


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["step", "operation"]), st.booleans())
def test_no_update_is_lost_under_any_schedule(random: object, grain: str, same: bool) -> None:
    """Three PEs add to one counter, or to three in one granule, picked at random."""
    bare = Bare()
    bare.load(COUNT)
    pes = [bare.pe() for _ in range(3)]
    for pe in pes:
        pe.x[20] = DATA + (0 if same else 8 * pe.index)
    one = bare.engine.step if grain == "step" else bare.engine.run_operation
    active = list(pes)
    picks = 0
    while active and picks < 30_000:
        pe = active[random.randrange(len(active))]  # type: ignore[attr-defined]
        if one(pe) is not STEP_LIMIT:
            active.remove(pe)
        picks += 1
    assert not active, "no progress"
    total = sum(bare.memory.read(DATA + 8 * i, 8) for i in range(3))
    assert total == 60
    assert sum(kind is Kind.STORE_EXCLUSIVE for kind in bare.kinds()) == 60
