"""The tree keeps the rules of tree_rules.py; docs and reviews need not repeat them."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import tree_rules as rules
from programs import run_program

_ROOT = Path(__file__).parents[2]


@cache
def _tracked() -> tuple[str, ...]:
    # Other people's checkouts are fine too: git refuses those unless told.
    command = ["git", "-c", f"safe.directory={_ROOT}", "ls-files", "-z"]
    done = run_program(*command, cwd=_ROOT, text=False)
    names = done.stdout.decode().split("\0")
    return tuple(name for name in names if name and (_ROOT / name).is_file())


def _files(*suffixes: str, below: str = "") -> list[str]:
    return [name for name in _tracked() if name.endswith(suffixes or "") and name.startswith(below)]


@cache
def _text(name: str) -> str:
    return (_ROOT / name).read_bytes().decode(errors="replace")


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_text(name), name)


def _hold(names: list[str], rule: Callable[[str], rules.Complaints]) -> None:
    assert names, "no files: the rule looks at the wrong place"
    broken = [f"{name}:{line}: {what}" for name in names for line, what in rule(name)]
    if broken:
        pytest.fail("\n".join(broken), pytrace=False)


def test_tools_in_python_are_linted() -> None:
    """Their names have no suffix, by which ruff would know them."""
    config = tomllib.loads(_text("pyproject.toml"))
    programs = [name for name in _files(below="tools/") if _text(name).startswith("#!/usr/bin/env python3")]
    assert config["tool"]["ruff"]["extend-include"] == programs


def test_imports_point_one_way() -> None:
    _hold(_files(".py", below="emu/"), lambda name: rules.imports(name, _tree(name)))


def test_rules_and_reports_read_data_and_run_nothing() -> None:
    _hold(_files(".py", below="emu/"), lambda name: rules.words(name, _tree(name)))
    assert all("import re" in _text(name) for name in rules.REGEX_FOR)


def test_only_the_command_line_prints() -> None:
    _hold(_files(".py", below="emu/"), lambda name: rules.output(name, _tree(name)))


def test_a_run_asks_neither_the_clock_nor_chance() -> None:
    _hold(_files(".py", below="emu/"), lambda name: rules.certainty(name, _tree(name)))


def test_public_names_have_docstrings_and_hints() -> None:
    _hold(_files(".py", below="emu/"), lambda name: rules.documentation(_tree(name)))


def test_long_files_say_why() -> None:
    _hold(_files(".py"), lambda name: rules.length(_text(name), ast.get_docstring(_tree(name)) or ""))


def test_classes_are_small() -> None:
    _hold(_files(".py", below="emu/"), lambda name: rules.classes(_tree(name)))


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by that name, and takes neither of the two."""
    names: dict[str, str] = {}
    for path in _files(".py", below="tests/"):
        name = path.rpartition("/")[2]
        assert not name.startswith("test_") or name not in names, f"{path} and {names[name]}"
        names[name] = path


def test_nothing_names_a_private_path_or_a_package_registry() -> None:
    _hold(list(_tracked()), lambda name: rules.places(_text(name)))


def test_assembly_says_its_licence() -> None:
    _hold(_files(".S", ".inc", below="asm/"), lambda name: rules.licence(_text(name)))


def test_every_room_in_the_order_is_listed_once() -> None:
    rooms = [room for row in rules.ORDER for room in row]
    assert len(rooms) == len(set(rooms))
