"""The database of a campaign: what is kept does not depend on the order in which units are done."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from emu.errors import EmuError
from emu.fuzz.size import size_of
from emu.fuzz.store import FILE, CampaignStore, sample
from emu.fuzz.unit import Edge, Hit, NewEdges, Snapshot, UnitResult, broken, opening
from emu.lookup.case import LookupCase, Question

SUBJECT = LookupCase("my.S", 0, Question((), 0), "my.toml")
RES1 = 1 << 31


def case(*hwids: int | None, nr_cpus: int = 4, mpidr: int = 0) -> LookupCase:
    return LookupCase("here.S", nr_cpus, Question(hwids, RES1 | mpidr))


def hit(
    prop: str, asked: LookupCase | None, *, count: int = 1, met: str = "how", finding: str = "how"
) -> Hit:
    message = f"{prop} wrong at {asked.nr_cpus}" if asked else ""
    return Hit((prop, met, "find"), (prop, finding, "find"), count, message, asked)


def edge(target: int, nr_cpus: int = 4) -> Edge:
    return nr_cpus, (("BITS", 3),), 0, target


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CampaignStore]:
    found = CampaignStore(tmp_path)
    yield found
    found.close()


def dump(path: Path) -> list[str]:
    return list(sqlite3.connect(path / FILE).iterdump())


def test_one_cause_is_one_finding_with_the_smallest_question(store: CampaignStore) -> None:
    assert store.add(UnitResult(3, "random", 9, (hit("answer", case(1, 2), count=5),)), SUBJECT) == [
        ("answer", "how", "find")
    ]
    assert store.add(UnitResult(4, "random", 9, (hit("answer", case(1), count=2),)), SUBJECT) == []
    assert store.add(UnitResult(5, "random", 9, (hit("answer", case(1, 2, 3), count=1),)), SUBJECT) == []
    found = store.findings()
    assert [(f.prop, f.count, f.first_unit) for f in found] == [("answer", 8, 3)]
    assert found[0].case == "my.S nr-cpus=4 contract=my.toml map=0x1 mpidr=0x80000000"


def test_other_properties_messages_and_places_are_other_findings(store: CampaignStore) -> None:
    hits = (
        hit("answer", case(1)),
        hit("bound", case(1)),
        hit("answer", case(1), met="other", finding="other"),
        Hit(("answer", "how", "scan"), ("answer", "how", "scan"), 1, "there", case(1)),
    )
    store.add(UnitResult(0, "kept", 4, hits), SUBJECT)
    assert store.totals().findings == 4


def test_what_a_snapshot_knows_is_counted_without_a_question(store: CampaignStore) -> None:
    store.add(UnitResult(0, "kept", 4, (hit("answer", case(1), met="raw"),)), SUBJECT)
    snapshot = store.snapshot(1)
    assert snapshot.causes == {("answer", "raw", "find"): ("answer", "how", "find")}
    store.add(UnitResult(1, "random", 4, (hit("answer", None, met="raw", count=7),)), SUBJECT)
    assert [f.count for f in store.findings()] == [8]


def results() -> list[UnitResult]:
    return [
        UnitResult(
            0,
            "small",
            5,
            (hit("answer", case(1, 2, 3)),),
            (NewEdges(case(1), (edge(4), edge(8))), NewEdges(case(2), (edge(12),))),
        ),
        UnitResult(
            1, "small", 5, (hit("answer", case(1)), hit("bound", case(5))), (NewEdges(case(3), (edge(8),)),)
        ),
        UnitResult(
            2, "random", 5, (hit("answer", case(1)),), (NewEdges(case(4), (edge(4), edge(12), edge(16))),)
        ),
        broken(opening([(4, ())])[1], "died", "its worker died (signal 9)"),
    ]


def test_every_order_of_arrival_gives_the_same_database(tmp_path: Path) -> None:
    dumps = []
    units = results()
    units[3] = UnitResult(3, "random", 0, units[3].hits)
    for number, order in enumerate(permutations(units)):
        folder = tmp_path / str(number)
        folder.mkdir()
        store = CampaignStore(folder)
        for result in order:
            store.add(result, SUBJECT)
        store.close()
        dumps.append(dump(folder))
    assert len(dumps) == 24
    assert all(found == dumps[0] for found in dumps)


def test_an_edge_belongs_to_the_lowest_unit_and_a_question_without_edges_goes(store: CampaignStore) -> None:
    for result in reversed(results()[:3]):
        store.add(result, SUBJECT)
    totals = store.totals()
    assert (totals.units, totals.cases, totals.edges, totals.corpus) == (3, 15, 4, 3)
    corpus = store.snapshot(9).corpus
    assert [found.question.logical_map for found in corpus] == [(1,), (2,), (4,)]


def test_a_snapshot_is_of_the_units_below_it(store: CampaignStore) -> None:
    for result in results()[:3]:
        store.add(result, SUBJECT)
    assert store.snapshot(0) == Snapshot()
    assert store.snapshot(1).edges == {edge(4), edge(8), edge(12)}
    assert store.snapshot(3).edges == {edge(4), edge(8), edge(12), edge(16)}


def test_a_sample_follows_from_seed_and_number() -> None:
    snapshot = Snapshot(corpus=tuple(case(number) for number in range(100)))
    assert sample(snapshot, 1, 7) == sample(snapshot, 1, 7)
    assert sample(snapshot, 1, 7) != sample(snapshot, 1, 8)
    assert len(sample(snapshot, 1, 7).corpus) == 8
    assert sample(Snapshot(corpus=(case(1),)), 1, 7).corpus == (case(1),)


def test_the_same_unit_is_not_taken_twice(store: CampaignStore) -> None:
    store.add(results()[0], SUBJECT)
    with pytest.raises(EmuError, match="UNIQUE"):
        store.add(results()[0], SUBJECT)
    assert store.totals().units == 1


def test_a_unit_is_kept_whole_or_not_at_all(store: CampaignStore) -> None:
    known = hit("answer", None)  # of no finding: cannot be
    with pytest.raises(AssertionError):
        store.add(UnitResult(7, "random", 3, (hit("bound", case(1)), known)), SUBJECT)
    assert (store.done(), store.findings()) == (set(), [])


def test_what_was_found_is_kept_as_questions_when_it_begins_again(store: CampaignStore) -> None:
    store.begin({"seed": "1"})
    for result in results():
        if result.number not in store.done():
            store.add(result, SUBJECT)
    store.begin({"seed": "2"})
    assert store.settings == {"seed": "2"}
    assert (store.done(), store.findings(), store.totals().edges) == (set(), [], 0)
    assert sorted(len(found.question.logical_map) for found in store.kept()) == [1, 1]
    store.begin({"seed": "3"})
    assert len(store.kept()) == 2


def test_a_worker_that_dies_is_one_finding_however_often(store: CampaignStore) -> None:
    units = opening([(2, ()), (3, ())])
    for unit in units:
        store.add(broken(unit, "died", f"its worker died (signal {unit.number})"), SUBJECT)
    assert [(f.prop, f.count, f.first_unit, f.message, f.case) for f in store.findings()] == [
        ("worker", len(units), 0, "its worker died (signal 0)", "")
    ]


def test_sizes_tell_all_questions_apart() -> None:
    rng = random.Random(1)
    cases = {
        case(*(rng.choice((None, 0, 1, 256)) for _ in range(3)), nr_cpus=3, mpidr=rng.choice((0, 1)))
        for _ in range(200)
    }
    assert len({size_of(found) for found in cases}) == len(cases)
    assert size_of(case(1)) < size_of(case(1, 2))
    assert size_of(case(1, 2, nr_cpus=2)) < size_of(case(1))


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_database_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(EmuError) as caught:
        CampaignStore(tmp_path)
    assert FILE in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_schema_that_is_damaged_is_one_line(tmp_path: Path) -> None:
    """SQLite quotes it, over lines."""
    CampaignStore(tmp_path).close()
    whole = (tmp_path / FILE).read_bytes()
    for word in (b"create view", b"coalesce(", b"create table"):
        at = whole.lower().index(word)
        (tmp_path / FILE).write_bytes(whole[:at] + b"`" + whole[at + 1 :])
        with pytest.raises(EmuError) as refused:
            CampaignStore(tmp_path)
        assert len(f"{refused.value}".splitlines()) == 1


def test_another_format_is_refused(tmp_path: Path) -> None:
    CampaignStore(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("pragma user_version = 99")
    with pytest.raises(EmuError, match="format 99, not 2"):
        CampaignStore(tmp_path)


def test_another_program_can_read_it_meanwhile(store: CampaignStore, tmp_path: Path) -> None:
    store.add(results()[0], SUBJECT)
    with sqlite3.connect(f"file:{tmp_path / FILE}?mode=ro", uri=True) as db:
        assert db.execute("pragma journal_mode").fetchone() == ("wal",)
        assert db.execute("select count, first_unit from findings").fetchall() == [(1, 0)]
        store.add(results()[1], SUBJECT)
        assert db.execute("select count from findings where property = 'answer'").fetchall() == [(2,)]
