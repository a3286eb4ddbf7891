"""docs/formats.md names every key of the objects that commands print."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from programs import run_emu

from emu.case import Case
from emu.lookup.case import LEAST, LookupCase, Question
from emu.lookup.tear import Change, Changes

_ROOT = Path(__file__).parents[2]
# Their keys are names of other things: of values, symbols, registers, fields of a class.
_OPEN = {"data", "symbols", "effects", "not_assembled", "design", "layout"}


def test_each_key_of_a_case_is_described() -> None:
    """Of a boot's, and of a look-up's."""
    page = (_ROOT / "docs" / "formats.md").read_text()
    boots = page.partition("## Case")[2].partition("### Case of a look-up")[0]
    lookups = page.partition("### Case of a look-up")[2].partition("### Schedule")[0]
    for field in fields(Case)[1:]:
        assert f"`{field.name.replace('_', '-')}`" in boots, field.name
    for case in (
        LookupCase("x.S", 2, Question((0, None), 1), "c.toml", "S.map", (("A", 5),)),
        LookupCase("x.S", 2, Question((), 1), race=7),
        LookupCase("x.S", 2, Question((1,), 1), race=Changes((Change(0, 2, 3, -1),)), others=(LEAST,)),
    ):
        for word in case.text().split()[1:]:
            assert f"`{word.partition('=')[0]}`" in lookups, word


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _keys(each)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in _OPEN:
                yield from _keys(inner)


@pytest.mark.parametrize(
    "command",
    [
        "boot v3 --cpus 2",
        "boot mainline --cpus 3 --bringup parallel --force",
        "explore mainline --cpus 3 --bringup parallel --force",
        "replay 'v3 topology=flat:2 scheduler=replay:0x9 grain=operation'",
        "lookup rfc --nr-cpus 1 --cases 1000",
        "diff mainline v3 --cpus 2",
        "info v3",
    ],
)
def test_each_key_is_described(command: str) -> None:
    done = run_emu(*shlex.split(command), "--json", cwd=_ROOT)
    assert done.returncode in (0, 1), done.stderr
    described = set(re.findall(r"`([\w-]+)`", (_ROOT / "docs" / "formats.md").read_text()))
    keys = set(_keys(json.loads(done.stdout)))
    assert keys
    assert keys <= described
