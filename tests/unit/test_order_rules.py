"""Rules of order, caches and events, on traces made by hand."""

from __future__ import annotations

import random

import pytest

from emu.arch.dataflow import DataFlow
from emu.operation import STORES, Expect, Kind, Register, Report
from emu.outcome import End
from emu.report.words import finding_words
from emu.rules import contract, late, lost_update, lost_write, race, readonly, stale, stuck
from emu.trace import Trace

PA = 0x4020_0000
# LDR X1, [X0]; ADD X1, X1, #1; STR X1, [X0]; MOV X2, #2; STR X2, [X0]
WORDS = [0xF940_0001, 0x9100_0421, 0xF900_0001, 0xD280_0042, 0xF900_0002]
CODE = {0x1000 + 4 * at: word for at, word in enumerate(WORDS)}


def trace(*rows: tuple[Kind, int, int, int | str, int, int | str]) -> Trace:
    """A trace of (kind, cpu, size, pc or file:line, pa, value or text)."""
    made = Trace("test")
    made.flow = DataFlow(CODE.get)
    for kind, cpu, size, where, pa, value in rows:
        pc = made.host_pc(where) if isinstance(where, str) else where
        made.add(kind, cpu, size, pc, pa, made.string(value) if isinstance(value, str) else value)
    return made


def messages(rule, *rows) -> list[str]:
    return [finding_words(finding) for finding in rule.judge(trace(*rows))]


def test_update_with_a_store_in_between_is_lost() -> None:
    load = (Kind.LOAD, 0, 8, 0x1000, PA, 1)
    other = (Kind.STORE, 1, 8, 0x2008, PA, 2)
    store = (Kind.STORE, 0, 8, 0x1008, PA, 2)
    assert messages(lost_update, load, other, store) == [
        "CPU0 stored 0x2 to PA 0x40200000 at PC 0x1008, made of 0x1: the 0x2 that CPU1 stored at PC 0x2008 "
        "in between is lost"
    ]
    assert messages(lost_update, load, store, other) == []
    assert messages(lost_update, other, load, store) == []


@pytest.mark.parametrize(
    ("load_at", "store_at", "value"),
    [
        (0x1000, 0x9000, 2),  # far away
        (0x1000, 0x1010, 2),  # nothing that was made of it
        ("emu/host/cpuhp.py:10", "emu/host/kick.py:11", 2),  # another file
        ("emu/host/kick.py:10", "emu/host/kick.py:90", 2),
    ],
)
def test_store_that_does_not_belong_to_the_load_loses_nothing(load_at, store_at, value: int) -> None:
    """A flag that one sets and another clears is no update."""
    rows = (
        (Kind.LOAD, 0, 8, load_at, PA, 1),
        (Kind.STORE, 1, 8, 0x2008, PA, 5),
        (Kind.STORE, 0, 8, store_at, PA, value),
    )
    assert messages(lost_update, *rows) == []


def test_stale_look_counts_when_it_was_the_last() -> None:
    store = (Kind.STORE, 0, 8, "emu/host/kick.py:1", PA, 7)
    early = (Kind.STALE, 1, 8, 0, PA, 7)
    look = (Kind.LOAD, 1, 8, 0x1000, PA, 0)
    again = (Kind.LOAD, 1, 8, 0x1000, PA, 7)
    (message,) = messages(stale, store, early, look)
    assert message == (
        "CPU1 at PC 0x1000 read 0x0 from PA 0x40200000, which is stale: 0x7 was stored by CPU0 at "
        "emu/host/kick.py:1"
    )
    assert messages(stale, store, early, look, again) == []


def test_a_stale_look_names_who_stored_the_newer_value_whichever_store_was_last() -> None:
    """One stores in the caches, the other past them: what a look missed is only one of them."""
    cached = (Kind.STORE, 0, 8, 0x1000, PA, 7)
    past = (Kind.STORE, 2, 8, 0x2000, PA, 5)
    missed = (Kind.STALE, 1, 8, 0, PA, 7)
    look = (Kind.LOAD, 1, 8, 0x3000, PA, 5)
    for stores in ((cached, past), (past, cached)):
        (message,) = messages(stale, *stores, missed, look)
        assert message.endswith("which is stale: 0x7 was stored by CPU0 at PC 0x1000")
    (message,) = messages(stale, cached, (Kind.STORE, 2, 8, 0x2000, PA, 7), missed, look)
    assert message.endswith("which is stale: 0x7 was stored by CPU2 at PC 0x2000")


def test_a_stale_look_names_who_stored_the_part_that_is_newer() -> None:
    low = (Kind.STORE, 0, 4, 0x1000, PA, 7)
    high = (Kind.STORE, 2, 4, 0x2000, PA + 4, 9)
    missed = (Kind.STALE, 1, 8, 0, PA, 9 << 32 | 7)
    (message,) = messages(stale, high, low, missed, (Kind.LOAD, 1, 8, 0x3000, PA, 7))
    assert "was stored by CPU2 at PC 0x2000" in message


def test_a_lost_store_is_the_one_whose_value_is_lost() -> None:
    lost = (Kind.STORE, 2, 1, 0x1000, PA, 9)
    kept = (Kind.STORE, 0, 1, 0x2000, PA, 3)
    for stores in ((lost, kept), (kept, lost)):
        assert messages(lost_write, *stores, (Kind.LOST, 0, 8, 0, PA, 9)) == [
            "CPU2 stored 0x9 at PC 0x1000 into the u64 at PA 0x40200000, and it is lost"
        ]


@pytest.mark.parametrize("kind", [Kind.STORE_EXCLUSIVE, Kind.ATOMIC])
def test_exclusive_and_atomic_stores_are_lost_and_missed_as_others_are(kind: Kind) -> None:
    store = (kind, 2, 8, 0x1000, PA, 9)
    assert len(messages(lost_write, store, (Kind.LOST, 0, 8, 0, PA, 9))) == 1
    (message,) = messages(stuck, store, (Kind.LOST_WAKEUP, 1, 0, 0x2000, PA, 0))
    assert "CPU2 has stored to PA 0x40200000 at PC 0x1000; no SEV follows" in message


def test_lost_store_names_its_cpu() -> None:
    rows = ((Kind.STORE, 2, 4, 0x1000, PA + 4, 9), (Kind.LOST, 0, 8, 0, PA, 9 << 32))
    assert messages(lost_write, *rows) == [
        "CPU2 stored 0x9 at PC 0x1000 into the u64 at PA 0x40200000, and it is lost"
    ]
    assert messages(lost_write, (Kind.LOST, 0, 8, 0, PA, 0)) == []  # what nobody stored


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("store",)], "no SEV follows"),
        ([("sev",), ("store",)], "the last SEV, by CPU0 at PC 0x1004, came before that store"),
        ([("store",), ("sev",)], "the SEV that CPU0 sent at PC 0x1004 was spent before it slept"),
    ],
)
def test_lost_wake_up_says_what_should_have_woken_it(rows: list[tuple[str]], says: str) -> None:
    made = {
        "store": (Kind.STORE, 0, 8, 0x1000, PA, 1),
        "sev": (Kind.SEV, 0, 0, 0x1004, 0, 0),
    }
    ready = (Kind.LOST_WAKEUP, 1, 0, 0x2000, PA, 0)
    (message,) = messages(stuck, *(made[name] for (name,) in rows), ready)
    assert message.startswith("CPU1 sleeps in WFE at PC 0x2000 for ever, although it would go on")
    assert says in message


def test_going_round_names_what_is_looked_at() -> None:
    assert messages(stuck, (Kind.LIVELOCK, 1, 0, 0x2000, PA, 0)) == [
        "CPU1 goes round for ever at PC 0x2000, looking at PA 0x40200000: nobody makes progress"
    ]


def test_race_has_both_sides() -> None:
    rows = ((Kind.RACE, 0, 8 | 0x80, "emu/host/kick.py:3", PA, 5), (Kind.RACE, 1, 8, 0x1000, PA, 0))
    assert messages(race, *rows) == [
        "data race at PA 0x40200000: write of 0x5, 8 bytes, by CPU0 at emu/host/kick.py:3 and read of 0x0, "
        "8 bytes, by CPU1 at PC 0x1000"
    ]


@pytest.mark.parametrize(
    ("end", "found"), [(End.IN_HOST_TASK, 1), (End.ONLINE, 1), (End.OFF, 0), (End.ASLEEP_WFE, 0)]
)
def test_late_is_who_is_alive_and_given_up(end: End, found: int) -> None:
    rows = (
        (Kind.LAND, 1, 0, 0x1000, 0, 1),
        (Kind.REPORT, 1, Report.NOT_ALIVE, 0, 0, "CPU1 failed to report alive state"),
        (Kind.OUTCOME, 1, end, 0, 0, "ap_sync_alive"),
    )
    assert len(messages(late, *rows)) == found
    assert messages(late, rows[1], (Kind.OUTCOME, 1, end, 0, 0, "ap_sync_alive")) == []


def test_readonly_is_what_the_log_reports() -> None:
    va = 0xFFFF_8000_8000_2090
    assert messages(readonly, (Kind.REPORT, 0, Report.READ_ONLY, 0, va, "Unable to handle")) == [
        "CPU0 stores to 0xffff800080002090, which is read-only after init"
    ]


@pytest.mark.parametrize(("x19", "found"), [(1, 0), (2, 1)])
def test_contract_is_the_index_on_arrival(x19: int, found: int) -> None:
    rows = ((Kind.EXPECT, 1, Expect.INDEX, 0, 0, 1), (Kind.REGISTER, 1, 8, 0x1000, Register.X19, x19))
    assert len(messages(contract, *rows)) == found
    assert messages(contract, rows[1]) == []


@pytest.mark.parametrize("seed", range(30))
def test_updates_are_lost_in_words_of_several_cpus_alone(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule looks at the accesses to words that several CPUs store to; at all, it finds the same."""
    draw = random.Random(seed)
    rows = []
    for _ in range(200):
        kind = draw.choice((Kind.LOAD, Kind.LOAD, Kind.STORE, Kind.STORE, Kind.ATOMIC, Kind.BARRIER))
        pa = PA + 8 * draw.randrange(6) if kind != Kind.BARRIER else 0
        rows.append((kind, draw.randrange(3), draw.choice((4, 8)), "a.py:1", pa, draw.randrange(3)))
    found = messages(lost_update, *rows)
    monkeypatch.setattr(lost_update, "_of_words", lambda columns: columns.are(Kind.LOAD, *STORES))
    assert found == messages(lost_update, *rows)
    assert found
