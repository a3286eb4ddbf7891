"""A campaign on disk: one SQLite file with the units done, the findings, and the corpus.

Only the process that runs the campaign writes, one transaction for each unit, so a campaign that is killed
leaves complete units. The contents do not depend on the order in which units finish: of two findings with one
cause the smaller question is kept, and an edge belongs to the lowest unit that reached it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from emu.errors import EmuError
from emu.fuzz.built_lookup import Others
from emu.fuzz.size import size_of
from emu.fuzz.unit import Cause, Edge, Hit, NewEdges, Snapshot, UnitResult, key_of
from emu.lookup.case import LookupCase

VERSION = 2  # PRAGMA user_version
FILE = "campaign.sqlite"
_SCHEMA = """
create table setting (name text primary key, value text not null) without rowid;
create table unit (number integer primary key, kind text not null, cases integer not null);
create table finding (
    property text, pattern text, place text,
    message text not null, "case" text,
    first_unit integer not null, smallest_unit integer not null,
    primary key (property, pattern, place)
) without rowid;
create table hit (
    unit integer, property text, pattern text, place text,
    finding_property text not null, finding_pattern text not null, finding_place text not null,
    count integer not null, own integer not null,
    primary key (unit, property, pattern, place)
) without rowid;
create table corpus (
    unit integer, place integer, "case" text not null,
    primary key (unit, place)
) without rowid;
create table edge (
    nr_cpus integer, defines text, source integer, target integer,
    unit integer not null, place integer not null,
    primary key (nr_cpus, defines, source, target)
) without rowid;
create table kept ("case" text primary key) without rowid;
create view findings as
    select f.property, f.place, f.message, f."case", f.first_unit, f.smallest_unit,
        coalesce((select sum(h.count) from hit h where h.finding_property = f.property
            and h.finding_pattern = f.pattern and h.finding_place = f.place), 0) as count
    from finding f;
"""
_SAMPLE = 8  # questions of the corpus that a unit gets


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """A cause of wrong answers, merged over all units.

    :ivar key: the same for the same cause in ``emu lookup`` and other campaigns
    :ivar place: where the code ended, as label and offset in bytes; "": not known
    :ivar message: message of the smallest question
    :ivar case: the smallest question, as ``emu lookup --case`` takes it; "": there is none
    :ivar count: questions that were asked one by one and showed it
    :ivar first_unit: lowest unit that met it
    """

    prop: str
    place: str
    message: str
    case: str
    count: int
    first_unit: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """Units done, questions asked, edges reached, questions in the corpus, findings."""

    units: int
    cases: int
    edges: int
    corpus: int
    findings: int


class CampaignStore:
    """The database of a campaign, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Open the database of ``folder``, or create it.

        :raises EmuError: not a database of a campaign, or it cannot be written
        """
        self.path = folder / FILE
        with self._reading():
            self._db = sqlite3.connect(self.path, isolation_level=None)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            version = self._db.execute("pragma user_version").fetchone()[0]
            if version == 0 and not self._db.execute("select 1 from sqlite_master").fetchone():
                self._db.executescript(f"begin; {_SCHEMA} pragma user_version = {VERSION}; commit;")
            elif version != VERSION:
                raise EmuError(f"{self.path}: format {version}, not {VERSION}: use another --dir")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            said = " ".join(f"{error}".split())  # of a damaged schema it quotes lines
            raise EmuError(f"{self.path}: {said}") from None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        # A damaged database may hold text that is not UTF-8, and values of other types than the schema's.
        with self._errors():
            try:
                yield
            except (ValueError, TypeError) as error:
                raise EmuError(f"{self.path}: damaged: {error}") from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._errors():
            cursor = self._db.cursor()
            cursor.execute("begin immediate")
            try:
                yield cursor
            except BaseException:
                cursor.execute("rollback")
                raise
            cursor.execute("commit")

    def close(self) -> None:
        """Close the database; SQLite merges the write-ahead log."""
        self._db.close()

    # -- settings -----------------------------------------------------------------------------------

    @property
    def settings(self) -> dict[str, str]:
        """The settings that the campaign began with; empty: it has not begun."""
        with self._reading():
            found = dict(self._db.execute("select name, value from setting"))
            for name, value in found.items():
                if not isinstance(name, str) or not isinstance(value, str):
                    raise TypeError(f"setting {name!r:.40}={value!r:.40}")
            return found

    def begin(self, settings: Mapping[str, str]) -> None:
        """Begin a campaign; the cases of the findings of an earlier one are kept as questions."""
        with self._transaction() as db:
            db.execute("""insert or ignore into kept select "case" from finding where "case" is not null""")
            for table in ("setting", "unit", "finding", "hit", "corpus", "edge"):
                db.execute(f"delete from {table}")
            db.executemany("insert into setting values (?, ?)", settings.items())

    # -- units --------------------------------------------------------------------------------------

    def done(self) -> set[int]:
        """Return the numbers of the units that are done."""
        with self._reading():
            return {number for (number,) in self._db.execute("select number from unit")}

    def add(self, result: UnitResult, subject: LookupCase) -> list[Cause]:
        """Commit the result of a unit; return the causes of new findings.

        :param subject: the subject, contract and System.map that the stored cases get
        """
        new = []
        with self._transaction() as db:
            db.execute("insert into unit values (?, ?, ?)", (result.number, result.kind, result.cases))
            for hit in result.hits:
                if self._add_hit(db, result.number, hit, subject):
                    new.append(hit.finding)
            for place, reached in enumerate(result.reached):
                self._add_reached(db, result.number, place, reached, subject)
        return new

    def _add_hit(self, db: sqlite3.Cursor, unit: int, hit: Hit, subject: LookupCase) -> bool:
        own = bool(hit.message)
        db.execute(
            "insert into hit values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (unit, *hit.cause, *hit.finding, hit.count, own),
        )
        row = db.execute(
            'select "case", first_unit, smallest_unit from finding '
            "where (property, pattern, place) = (?, ?, ?)",
            hit.finding,
        ).fetchone()
        case = _named(hit.case, subject) if hit.case else None
        if row is None:
            assert own, "what a snapshot knows is in the database"
            db.execute(
                "insert into finding values (?, ?, ?, ?, ?, ?, ?)",
                (*hit.finding, hit.message, case, unit, unit),
            )
            return True
        old_case, first, smallest = row
        db.execute(
            "update finding set first_unit = ? where (property, pattern, place) = (?, ?, ?)",
            (min(first, unit), *hit.finding),
        )
        if own and _before(case, unit, old_case, smallest):
            db.execute(
                'update finding set message = ?, "case" = ?, smallest_unit = ? '
                "where (property, pattern, place) = (?, ?, ?)",
                (hit.message, case, unit, *hit.finding),
            )
        return False

    def _add_reached(
        self, db: sqlite3.Cursor, unit: int, place: int, reached: NewEdges, subject: LookupCase
    ) -> None:
        # An edge belongs to the lowest (unit, place); a question without edges is deleted.
        won = False
        for nr_cpus, others, source, target in reached.edges:
            key = nr_cpus, _defines(others), source, target
            row = db.execute(
                "select unit, place from edge where (nr_cpus, defines, source, target) = (?, ?, ?, ?)", key
            ).fetchone()
            if row is not None and row <= (unit, place):
                continue
            won = True
            db.execute("insert or replace into edge values (?, ?, ?, ?, ?, ?)", (*key, unit, place))
            if row and not db.execute("select 1 from edge where (unit, place) = (?, ?)", row).fetchone():
                db.execute("delete from corpus where (unit, place) = (?, ?)", row)
        if won:
            db.execute("insert into corpus values (?, ?, ?)", (unit, place, _named(reached.case, subject)))

    # -- what is known ------------------------------------------------------------------------------

    def snapshot(self, limit: int) -> Snapshot:
        """Return the snapshot of the units below ``limit``; all of them must be done."""
        with self._reading():
            cases = self._db.execute(
                'select "case" from corpus where unit < ? order by unit, place', (limit,)
            )
            corpus = tuple(LookupCase.parse(text) for (text,) in cases)
            rows = self._db.execute(
                "select nr_cpus, defines, source, target from edge where unit < ?", (limit,)
            )
            edges: frozenset[Edge] = frozenset((n, _others(d), s, t) for n, d, s, t in rows)
            causes: dict[Cause, Cause] = {}
            for row in self._db.execute(
                "select property, pattern, place, finding_property, finding_pattern, finding_place from hit "
                "where unit < ? and own order by unit desc",
                (limit,),
            ):
                causes[row[:3]] = row[3:]
        return Snapshot(corpus, edges, causes)

    def kept(self) -> tuple[LookupCase, ...]:
        """Return the findings of earlier campaigns, as questions."""
        with self._reading():
            rows = self._db.execute('select "case" from kept order by "case"').fetchall()
            return tuple(LookupCase.parse(text) for (text,) in rows)

    def corpus(self) -> tuple[LookupCase, ...]:
        """Return the questions that reached new edges, in the order of units."""
        with self._reading():
            rows = self._db.execute('select "case" from corpus order by unit, place').fetchall()
            return tuple(LookupCase.parse(text) for (text,) in rows)

    def keep(self, cases: Iterable[str]) -> None:
        """Keep questions, which the first unit asks."""
        with self._transaction() as db:
            db.executemany("insert or ignore into kept values (?)", [(case,) for case in cases])

    def units(self) -> list[tuple[str, int, int]]:
        """Return of each kind of unit how many are done, and the questions that they asked."""
        with self._reading():
            return list(
                self._db.execute(
                    "select kind, count(*), sum(cases) from unit group by kind order by min(number)"
                )
            )

    def findings(self) -> list[StoredFinding]:
        """Return the findings, in the order of the lowest unit that met each."""
        with self._reading():
            rows = self._db.execute(
                'select f.property, f.pattern, f.place, f.message, f."case", f.first_unit, '
                "coalesce((select sum(h.count) from hit h where (h.finding_property, h.finding_pattern, "
                "h.finding_place) = (f.property, f.pattern, f.place)), 0) from finding f "
                "order by f.first_unit, f.property, f.message, f.place"
            ).fetchall()
            return [
                StoredFinding(prop, at, text, case or "", count, unit, key_of((prop, pattern, at)))
                for prop, pattern, at, text, case, unit, count in rows
            ]

    def finding(self, cause: Cause) -> StoredFinding:
        """Return the finding of this cause."""
        with self._reading():
            prop, place, message, case, unit = self._db.execute(
                'select property, place, message, "case", first_unit from finding '
                "where (property, pattern, place) = (?, ?, ?)",
                cause,
            ).fetchone()
        return StoredFinding(prop, place, message, case or "", 0, unit, key_of(cause))

    def totals(self) -> Totals:
        """Return the totals of the campaign."""
        with self._reading():
            units, cases = self._db.execute("select count(*), coalesce(sum(cases), 0) from unit").fetchone()
            counts = [
                self._db.execute(f"select count(*) from {table}").fetchone()[0]
                for table in ("edge", "corpus", "finding")
            ]
        return Totals(units, cases, *counts)


def sample(snapshot: Snapshot, seed: int, number: int) -> Snapshot:
    """Return the snapshot with those questions of its corpus that unit ``number`` gets."""
    if len(snapshot.corpus) <= _SAMPLE:
        return snapshot
    chosen = Random(f"{seed}:{number}:corpus").sample(range(len(snapshot.corpus)), _SAMPLE)
    return replace(snapshot, corpus=tuple(snapshot.corpus[index] for index in sorted(chosen)))


def _before(case: str | None, unit: int, old: str | None, old_unit: int) -> bool:
    # Whether this question replaces the stored one: it is smaller, or equal and of a lower unit.
    if case is None or old is None:
        return unit < old_unit
    return (size_of(LookupCase.parse(case)), unit) < (size_of(LookupCase.parse(old)), old_unit)


def _named(case: LookupCase, subject: LookupCase) -> str:
    named = replace(case, subject=subject.subject, contract=subject.contract, system_map=subject.system_map)
    return named.text()


def _defines(others: Others) -> str:
    return json.dumps(others) if others else ""


def _others(text: str) -> Others:
    pairs: Sequence[Sequence[object]] = json.loads(text) if text else ()
    return tuple((str(name), int(str(value))) for name, value in pairs)
