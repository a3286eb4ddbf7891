"""Findings as data: what makes two of them the same, their words, their JSON, and the rules' templates."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from string import Formatter

import pytest

from emu import rules
from emu.constraints import CONSTRAINTS
from emu.finding import PA, PC, VA, Finding, Source, Word
from emu.operation import Kind, Report
from emu.outcome import End, Outcome
from emu.properties.expression import KINDS
from emu.report.json_form import finding_json, outcome_json, verdict_word
from emu.report.words import finding_words, fix_words, told
from emu.rules import FIXES, RULES, WORDS
from emu.trace import Trace

LOST = Finding.of(
    "lost-write",
    "lost",
    (2,),
    {"cpu": 2, "value": Word(9), "at": Source("emu/host/kick.py:33"), "pa": PA(0x4020_0000)},
    (3, 8),
)


def test_the_same_finding_in_another_schedule_has_the_same_key() -> None:
    """Its records have other indices there; whatever else differs is another finding."""
    data = dict(LOST.data)
    assert Finding.of("lost-write", "lost", (2,), data, (5, 6)).key == LOST.key
    assert Finding.of("lost-write", "lost", (2,), {**data, "value": Word(8)}).key != LOST.key
    assert Finding.of("lost-write", "lost", (1,), data).key != LOST.key
    assert Finding.of("lost-write", "lost", (2,), data, boot=1).key != LOST.key


def test_addresses_are_what_the_data_has_of_them() -> None:
    finding = Finding.of("a", "b", (), {"n": 1, "pa": PA(8), "at": PC(4), "va": VA(2), "w": Word(3)})
    assert finding.addresses == (PA(8), PC(4), VA(2))
    assert [type(address) for address in finding.addresses] == [PA, PC, VA]


def test_words_name_addresses_when_they_are_asked_to() -> None:
    """A story does; a line of a report does not."""
    text = "CPU2 stored 0x9 at emu/host/kick.py:33 into the u64 at PA 0x40200000{}, and it is lost"
    assert finding_words(LOST) == text.format("")
    assert finding_words(LOST, lambda _address: "secondary_data") == text.format(" (secondary_data)")
    assert finding_words(LOST, lambda _address: "") == text.format("")
    assert "stores at 0x40200000 a writeback granule" in fix_words(LOST)


def test_a_finding_of_the_second_boot_says_so() -> None:
    finding = Finding.of("arrival", "started-twice", (1,), {"cpu": 1}, boot=1)
    assert finding_words(finding) == "after kexec: CPU1 was switched on while it was on"


def test_a_finding_without_a_template_is_told_as_its_data() -> None:
    """A rule that forgets one is still heard."""
    finding = Finding.of("none", "odd-value", (0,), {"pa": PA(16), "count": 3})
    assert finding_words(finding) == "odd-value pa=PA 0x10 count=3"
    assert fix_words(finding) == ""


def test_json_says_what_an_address_is_one_of() -> None:
    data = {
        "pa": PA(16),
        "pc": PC(4),
        "va": VA(1 << 63),
        "word": Word(2**64 - 1),
        "at": Source("kick.py:3"),
        "outcome": Outcome(End.IN_HOST_TASK, "ap_sync_alive"),
        "reason": Report.NO_GRANULE,
        "count": 2,
        "name": "tabelle",
    }
    found = finding_json(Finding.of("none", "odd", (1, 0), data, (7,), 1), "v3 el=2")
    assert json.loads(json.dumps(found)) == {
        "rule": "none",
        "what": "odd",
        "message": found["message"],
        "cpus": [1, 0],
        "data": {
            "pa": {"pa": "0x10"},
            "pc": {"pc": "0x4"},
            "va": {"va": "0x8000000000000000"},
            "word": "0xffffffffffffffff",
            "at": {"source": "kick.py:3"},
            "outcome": {"end": "in-host-task", "name": "ap_sync_alive", "number": 0},
            "reason": "no-granule",
            "count": 2,
            "name": "tabelle",
        },
        "records": [7],
        "boot": 1,
        "case": "v3 el=2",
    }
    assert outcome_json(Outcome(End.ONLINE)) == {"end": "online", "name": None, "number": 0}


def test_a_run_without_findings_that_was_cut_off_is_untestable() -> None:
    assert [verdict_word([LOST]), verdict_word([LOST], stopped=True)] == ["fail", "fail"]
    assert [verdict_word([]), verdict_word([], stopped=True)] == ["pass", "untestable"]


def test_what_a_test_gets_has_both() -> None:
    each = told(LOST, "v3")
    assert (each.rule, each.what, each.cpus, each.case) == ("lost-write", "lost", (2,), "v3")
    assert each.message == finding_words(LOST)


@pytest.mark.parametrize("name", RULES)
def test_every_finding_of_a_rule_has_its_words(name: str) -> None:
    """Each string in a rule's file that looks like a kind of finding is one, and the other way round."""
    module = importlib.import_module(f"{rules.__name__}.{name.replace('-', '_')}")
    assert set(FIXES[name]) <= set(WORDS[name])
    tree = ast.parse(inspect.getsource(module))
    tables = [node for node in tree.body if isinstance(node, ast.Assign)]
    keys = {id(node) for table in tables if _names(table) & {"WORDS", "FIX"} for node in ast.walk(table)}
    used = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in keys
    }
    made_of = {f"{one}{other}" for one in used for other in ("-of-another", "-nor-ended") if other in used}
    elsewhere = {"misuse": tuple(CONSTRAINTS), "property": KINDS}.get(name, ())
    assert set(WORDS[name]) <= used | made_of | set(elsewhere)
    looks_like_one = {each for each in used if re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", each)}
    assert looks_like_one - {name} <= set(WORDS[name])


def _names(assignment: ast.Assign) -> set[str]:
    return {target.id for target in assignment.targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize("name", RULES)
def test_templates_are_well_formed(name: str) -> None:
    for template in (*WORDS[name].values(), *FIXES[name].values()):
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
        assert all(field.isidentifier() for field in fields), template


def test_records_of_each_boot_have_the_numbers_of_the_trace() -> None:
    trace = Trace("test")
    for kind in (Kind.LOAD, Kind.SHUTDOWN, Kind.COPY, Kind.REENTRY, Kind.LOAD):
        trace.add(kind, 0, 0, 0, 0, 0)
    boots = [[(number, row[0]) for number, row in rows] for rows in trace.numbered_boots()]
    assert boots == [[(0, Kind.LOAD)], [(3, Kind.REENTRY), (4, Kind.LOAD)]]
    assert [len(list(rows)) for rows in trace.boots()] == [1, 2]
