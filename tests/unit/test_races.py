"""Races of CPUs that run freely: planted, and their repaired twins."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from bare_machine import CODE, DATA, make

from emu.arch.psci import Function
from emu.columns import Columns
from emu.explore import races as races_module
from emu.explore.races import Race, _Granule, is_store, order_of, races
from emu.machine import Machine
from emu.machine.free_turns import run_freely
from emu.operation import Kind
from emu.trace import RECORD, Row, Trace

# CPU0 fills a word and says so; CPU1 waits for that and reads it.
PROGRAM = """
    ldr x0, ={data:#x}
    add x10, x0, #64
    mov x2, #1
    mrs x1, mpidr_el1
    tst x1, #0xff
    b.ne look
    str x2, [x0]
    {say}
    b .
look:
    {look}
    cbz x3, look
    {then}
    ldr x4, [x0]
    b .
"""
HWIDS = (0, 1)
PLAIN = ("str x2, [x10]", "ldr x3, [x10]", "nop")
SAID = "str x2, [x10]"


class _NoTimer:
    # A board without a timer.
    def tick(self, cpu: int, now: int) -> int | None:
        """Return that nothing happens."""
        return None


def run(say: str, look: str, then: str, *, turn: int = 5) -> list[Race]:
    """Return the races of two CPUs that run the program."""
    text = PROGRAM.format(data=DATA, say=say, look=look, then=then)
    machine = make(text, cpus=2, scheduler="timed", record=False)
    free = run_freely(machine, _NoTimer(), lambda cpu, va: None)  # type: ignore[arg-type]
    free.turn = turn
    free.record()
    for cpu in (0, 1):
        machine.power_on(cpu, CODE, 0)
    machine.run()
    assert machine.actors[1].pe.x[4] == 1
    return races(machine.trace, HWIDS, lambda va: word(machine, va))


def word(machine: Machine, va: int) -> int:
    """Return the instruction at an address."""
    return machine.memory.read(va, 4)


def sides(found: list[Race]) -> list[tuple[int, int, bool, int, bool]]:
    """Return PA less that of the data, and CPU and direction of both sides."""
    return [
        (race.pa - DATA, race.first[2], is_store(race.first), race.second[2], is_store(race.second))
        for race in found
    ]


@pytest.mark.parametrize("turn", [1, 3, 5, 1000])
def test_a_plain_hand_over_races_on_the_flag_and_on_the_data(turn: int) -> None:
    found = sides(run(*PLAIN, turn=turn))
    assert (64, 0, True, 1, False) in found
    assert (0, 0, True, 1, False) in found


@pytest.mark.parametrize(
    ("say", "look", "then"),
    [
        ("stlr x2, [x10]", "ldar x3, [x10]", "nop"),
        ("stlr x2, [x10]", "ldr x3, [x10]", "nop"),  # what a dependency orders
        ("again: ldaxr x6, [x10]\n stlxr w7, x2, [x10]\n cbnz w7, again", "ldaxr x3, [x10]", "clrex"),
    ],
)
def test_its_repaired_twin_has_none(say: str, look: str, then: str) -> None:
    """Arm DDI 0487, B2.3: a load-acquire that reads from a store-release is ordered behind it."""
    assert run(say, look, then) == []


@pytest.mark.parametrize(
    ("before", "after", "races_on_data"),
    [
        ("dmb ishst", "dmb ishld", False),
        ("dmb ish", "dmb ish", False),
        ("dsb sy", "dsb sy", False),
        ("dmb ishld", "dmb ishld", True),  # orders no stores
        ("dmb ishst", "dmb ishst", True),  # orders no loads
        ("dmb ishst", "nop", True),
        ("nop", "dmb ishld", True),
    ],
)
def test_barriers_order_data_by_a_flag(before: str, after: str, races_on_data: bool) -> None:
    """The flag itself is a plain word on both sides, and is told."""
    found = sides(run(f"{before}\n {SAID}", "ldr x3, [x10]", after))
    assert ((0, 0, True, 1, False) in found) == races_on_data
    assert (64, 0, True, 1, False) in found


def test_a_barrier_in_the_middle_of_a_block_orders_what_is_behind_it() -> None:
    """The data is stored behind it: the flag does not say so."""
    say = "dmb ishst\n str x2, [x10]\n str xzr, [x0]\n str x2, [x0]"
    found = sides(run(say, "ldr x3, [x10]", "dmb ishld", turn=1000))
    assert (0, 0, True, 1, False) in found


def found_in(*rows: Row) -> list[Race]:
    """Return the races among records."""
    return races(trace_of(rows), HWIDS, lambda va: 0)


def trace_of(rows: Iterable[Row]) -> Trace:
    """Return a trace of these records."""
    trace = Trace("")
    trace.put(b"".join(RECORD.pack(*row) for row in rows))
    return trace


STORE, LOAD = (int(kind) for kind in (Kind.STORE, Kind.LOAD))
TELLS: dict[str, Row] = {
    "interrupt": (Kind.SEND_INTERRUPT, 0, 0, 0, 0, 1),
    "CPU_ON": (Kind.CALL, 0, 0, 0, HWIDS[1], Function.CPU_ON64),
    "CPU_OFF": (Kind.POWER_OFF, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("what", TELLS)
def test_interrupts_and_power_order_two_cpus(what: str) -> None:
    store, load = (STORE, 8, 0, 0x100, 0x1000, 1), (LOAD, 8, 1, 0x200, 0x1000, 1)
    tells = TELLS[what]
    assert found_in(store, tells, load) == []
    assert len(found_in(store, load, tells)) == 1
    assert len(found_in(tells, store, load)) == 1
    assert found_in((LOAD, 8, 0, 0x100, 0x1000, 1), load) == []  # no store


def test_bytes_beside_each_other_do_not_race() -> None:
    rows = [
        (STORE, 2, cpu, 0x100 + cpu, pa, pa)
        for cpu, pa in ((0, 0x1000), (1, 0x1004), (0, 0x100C), (1, 0x100E))
    ]
    assert found_in(*rows) == []
    found = found_in(*rows, (LOAD, 16, 0, 0x300, 0x1000, 0))
    assert [(race.pa, race.second[3], race.records) for race in found] == [(0x1004, 0x300, (1, 4))]


@pytest.mark.parametrize(
    ("accesses", "count"),
    [
        ([(STORE, 8, 0x1000, 5), (STORE, 8, 0x1000, 5)], 0),
        ([(STORE, 8, 0x1000, 5), (STORE, 8, 0x1000, 6)], 1),
        ([(LOAD, 8, 0x1000, 5), (STORE, 8, 0x1000, 5)], 0),
        ([(LOAD, 8, 0x1000, 5), (STORE, 8, 0x1000, 6)], 1),
        ([(STORE, 8, 0x1000, 5), (LOAD, 8, 0x1000, 5)], 1),  # what was there before is not known
        ([(STORE, 8, 0x1000, 0x1234_0000_0000), (STORE, 4, 0x1004, 0x1234)], 0),
        ([(STORE, 8, 0x1000, 0x1235_0000_0000), (STORE, 4, 0x1004, 0x1234)], 1),
        ([(STORE, 4, 0x1004, 0x1234), (STORE, 8, 0x1000, 0x1234_5678_0000)], 1),  # half of it is not known
    ],
)
def test_a_store_of_the_value_that_is_there_is_no_race(
    accesses: list[tuple[int, int, int, int]], count: int
) -> None:
    """KCSAN_REPORT_VALUE_CHANGE_ONLY (Linux v6.12 lib/Kconfig.kcsan)."""
    rows = [(kind, size, cpu, 0x100, pa, value) for cpu, (kind, size, pa, value) in enumerate(accesses)]
    assert len(found_in(*rows)) == count


def test_what_such_a_store_may_overwrite_is_a_race() -> None:
    """CPU0 clears what is clear already; CPU1 sets it: in the other order that is lost."""
    before, clears = (LOAD, 8, 0, 0x100, 0x1000, 0), (STORE, 8, 0, 0x104, 0x1000, 0)
    assert found_in(before, clears, (LOAD, 8, 1, 0x200, 0x1000, 0)) == []
    found = found_in(before, clears, (STORE, 8, 1, 0x200, 0x1000, 7))
    assert [race.first for race in found] == [clears, before]


@pytest.mark.parametrize(
    ("text", "acquires", "releases", "marked"),
    [
        ("ldr x1, [x2]", False, False, False),
        ("stp x1, x3, [x2]", False, False, False),
        ("ldxr x1, [x2]", False, False, True),
        ("ldaxr x1, [x2]", True, False, True),
        ("stxr w3, x1, [x2]", False, False, True),
        ("stlxr w3, x1, [x2]", False, True, True),
        ("ldar x1, [x2]", True, False, True),
        ("stlr x1, [x2]", False, True, True),
        (".word 0xc8e1fc43", True, True, True),  # casal x1, x3, [x2]
        (".word 0xc8a17c43", False, False, True),  # cas x1, x3, [x2]
        (".word 0xf8e10043", True, True, True),  # ldaddal x1, x3, [x2]
        (".word 0xf8610043", False, True, True),  # ldaddl x1, x3, [x2]
        (".word 0xf8bfc041", True, False, True),  # ldapr x1, [x2]
    ],
)
def test_what_an_instruction_orders(text: str, acquires: bool, releases: bool, marked: bool) -> None:
    machine = make(f"{text}\n b .", cpus=1, record=False)
    order = order_of(word(machine, CODE))
    assert (order.acquires, order.releases, order.is_marked) == (acquires, releases, marked)


# By PC: a plain access, and what orders.
WORDS = {
    0x100: 0,
    0x104: 0,
    0x108: 0xC8DFFC41,  # ldar x1, [x2]
    0x10C: 0xC89FFC41,  # stlr x1, [x2]
    0x110: 0xC85F7C41,  # ldxr x1, [x2]
    0x114: 0xC8037C41,  # stxr w3, x1, [x2]
    0x118: 0xC8E1FC43,  # casal x1, x3, [x2]
}
BARRIERS = (0xD5033BBF, 0xD50339BF, 0xD5033ABF)  # dmb ish, ishld, ishst


def drawn_rows(seed: int) -> list[Row]:
    """Return records of three CPUs that access a few bytes, in turns, and order what they do at times."""
    draw = random.Random(seed)
    rows: list[Row] = []
    while len(rows) < 150:
        cpu = draw.randrange(3)
        for _ in range(draw.choice((1, 2, 5, 9))):
            what = draw.randrange(20)
            if what == 0:
                rows.append((Kind.BARRIER, 0, cpu, 0x200, 0, draw.choice(BARRIERS)))
            elif what == 1:
                rows.append((Kind.SEND_INTERRUPT, 0, cpu, 0x204, 0, draw.randrange(3)))
            else:
                pc, pa, size = draw.choice(list(WORDS)), 0x1000 + 8 * draw.randrange(2), 8  # locks
                if draw.randrange(8):
                    pc, size = draw.choice((0x100, 0x104)), draw.choice((1, 4, 8, 8, 8, 64))
                    pa = 0x1010 + (draw.randrange(40) if draw.randrange(6) == 0 else 8 * draw.randrange(5))
                kind = STORE if size == 64 or draw.randrange(2) else LOAD
                rows.append((kind, size, cpu, pc, pa, draw.choice((0, 0, 5)) if size < 64 else 0))
    return rows


def all_granules(columns: Columns, orders: Any) -> tuple[bytes, dict[int, Any]]:
    """Return flags of all records, and every granule."""
    touched: dict[int, bool] = {}
    rows = zip(columns.kinds, columns.pas, columns.sizes, columns.pcs, strict=True)
    for kind, pa, size, pc in rows:
        for at in range(pa, pa + size) if kind in (STORE, LOAD) else ():
            touched[at & -8] = touched.get(at & -8, False) or orders[pc].is_marked
    flags = bytes(1 for _ in columns.kinds)
    return flags, {pa: _Granule(pa, is_data=not marked) for pa, marked in touched.items()}


@pytest.mark.parametrize("seed", range(60))
def test_what_is_passed_over_makes_no_difference(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Granules of one CPU, and accesses like the ones before; without, each is gone through in full."""
    rows = drawn_rows(seed)
    found = races(trace_of(rows), (0, 1, 2), lambda va: WORDS.get(va, 0))
    monkeypatch.setattr(races_module, "_shared", all_granules)
    monkeypatch.setattr(races_module, "_PLAIN", object())  # no instruction is that
    in_full = races(trace_of(rows), (0, 1, 2), lambda va: WORDS.get(va, 0))
    assert found == in_full
    assert found


def test_a_store_that_ends_in_the_next_granule_races_there() -> None:
    """One byte of it is there."""
    store = (STORE, 8, 0, 0x100, 0x1001, 1)
    (race,) = found_in(store, (LOAD, 1, 1, 0x104, 0x1008, 1))
    assert (race.pa, race.records) == (0x1008, (0, 1))
