"""A rule reads the records of the kinds that it names, and of no other."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

from emu import rules
from emu.operation import Kind
from emu.trace import Trace

SOURCES = sorted(Path(rules.__path__[0]).glob("*.py"))
SELECTIVE = [path for path in SOURCES if "_KINDS" in path.read_text()]


def named(path: Path) -> set[Kind]:
    """The kinds that are named in a module, but for those that it selects records by."""
    tree = ast.parse(path.read_text())
    body = [
        node for node in tree.body if not (isinstance(node, ast.Assign) and "_KINDS" in ast.unparse(node))
    ]
    return {
        Kind[node.attr]
        for top in body
        for node in ast.walk(top)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Kind"
    }


@pytest.mark.parametrize("path", SELECTIVE, ids=[path.stem for path in SELECTIVE])
def test_a_rule_selects_every_kind_that_it_looks_for(path: Path) -> None:
    selected = import_module(f"emu.rules.{path.stem}")._KINDS
    assert named(path) <= selected


def test_there_are_such_rules() -> None:
    assert len(SELECTIVE) > 10


def test_selected_rows_keep_their_numbers() -> None:
    trace = Trace("")
    kinds = [Kind.LOAD, Kind.STORE, Kind.SEV, Kind.WAKE, Kind.WAKE, Kind.STORE, Kind.STORE, Kind.LAND]
    for kind in kinds:
        trace.add(kind, 1, 8, 0, 0, 0)
    selected = frozenset({Kind.STORE, Kind.LAND})
    expected = [(number, kind) for number, kind in enumerate(kinds) if kind in selected]
    assert [(number, row[0]) for number, row in trace.numbered(selected)] == expected
    (boot,) = trace.numbered_boots(selected)
    assert [(number, row[0]) for number, row in boot] == expected
    assert [number for number, _ in trace.numbered()] == [0, 1, 2, 5, 6, 7]


def test_has_tells_whether_there_is_a_record_of_a_kind() -> None:
    trace = Trace("")
    trace.add(Kind.STORE, 0, 8, Kind.LOST, Kind.LOST, Kind.LOST)
    assert trace.has(Kind.STORE)
    assert trace.has(Kind.LOST, Kind.STORE)
    assert not trace.has(Kind.LOST)
    assert not trace.has(Kind.WAKE)
