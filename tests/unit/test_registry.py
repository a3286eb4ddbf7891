"""The one way in which a folder's files become choices, and how a value that is none of them is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from emu.errors import InvalidCase
from emu.registry import Incomplete, choose, discover, not_one_of, part_of


@dataclass(frozen=True, slots=True)
class Plugin:
    """What the modules of these tests define."""

    name: str
    act: Callable[[], int]
    summary: str
    level: int = 3


GOOD = '"""It acts.\n\nMore.\n"""\nNAME = "good"\n\ndef act() -> int:\n    return 1\n'


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable package without modules, which is forgotten afterwards."""
    folder = tmp_path / "plugins_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""None yet."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == folder.name]:
        del sys.modules[name]


def found(folder: Path) -> dict[str, Plugin]:
    return dict(discover(folder.name, Plugin))


def test_each_module_is_a_choice_by_its_name(package: Path) -> None:
    (package / "later_one.py").write_text(GOOD.replace('"good"', '"later-one"') + "LEVEL = 7\n")
    (package / "good.py").write_text(GOOD)
    plugins = found(package)
    assert list(plugins) == ["good", "later-one"]
    assert (plugins["good"].act(), plugins["good"].level, plugins["good"].summary) == (1, 3, "It acts.")
    assert plugins["later-one"].level == 7


def test_module_is_imported_when_its_choice_is_asked_for(package: Path) -> None:
    (package / "good.py").write_text(GOOD)
    (package / "never.py").write_text("raise AssertionError\n")
    plugins = discover(package.name, Plugin)
    assert (list(plugins), len(plugins), "never" in plugins, "x" in plugins) == (
        ["good", "never"],
        2,
        True,
        False,
    )
    assert [name for name in sys.modules if name.startswith(f"{package.name}.")] == []
    assert plugins["good"] is plugins["good"]
    with pytest.raises(KeyError):
        plugins["x"]


def test_names_come_by_the_order_that_is_asked_for_and_then_by_the_alphabet(package: Path) -> None:
    for name in ("a", "bad_b", "c"):
        (package / f"{name}.py").write_text(GOOD)
    assert list(discover(package.name, Plugin, lambda name: name.startswith("bad-"))) == ["a", "c", "bad-b"]


def test_part_of_a_registry_imports_no_more_than_is_asked_for(package: Path) -> None:
    (package / "good.py").write_text(GOOD)
    (package / "never.py").write_text("raise AssertionError\n")
    levels = part_of(discover(package.name, Plugin), lambda plugin: plugin.level)
    assert (list(levels), len(levels), "never" in levels, levels["good"]) == (["good", "never"], 2, True, 3)


def test_a_folder_is_a_choice_too(package: Path) -> None:
    (package / "good").mkdir()
    (package / "good" / "__init__.py").write_text(GOOD)
    assert list(found(package)) == ["good"]


def test_what_the_modules_share_is_no_choice(package: Path) -> None:
    (package / "shared.py").write_text('"""Shared."""\n')
    (package / "__init__.py").write_text('BESIDES = ("shared",)\n')
    assert found(package) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('"""None."""\n', "defines neither NAME nor name, which Plugin in test_registry asks for"),
        ('NAME = "good"\n', "defines neither ACT nor act"),
        (GOOD.replace('"good"', "5"), "NAME is no str"),
        (GOOD + 'LEVEL = "high"\n', "LEVEL is no int"),
        (GOOD.replace('"good"', '"better"'), "NAME = 'better': the file says 'broken'"),
    ],
)
def test_incomplete_module_is_refused_with_its_file_and_what_is_missing(
    package: Path, text: str, says: str
) -> None:
    (package / "broken.py").write_text(text)
    with pytest.raises(Incomplete) as caught:
        found(package)
    assert str(caught.value).startswith(f"{package / 'broken.py'}: {says}")


def test_file_whose_name_is_no_name_of_a_choice_is_refused(package: Path) -> None:
    (package / "Good.py").write_text(GOOD)
    with pytest.raises(Incomplete) as caught:
        found(package)
    assert str(caught.value) == f"{package / 'Good.py'}: its name: words of a-z and 0-9, joined by _"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("cohrent", "not one of coherent, caches; did you mean coherent?"),
        ("cashes", "not one of coherent, caches; did you mean caches?"),
        ("coh", "not one of coherent, caches; did you mean coherent?"),
        ("c", "not one of coherent, caches"),
        ("x", "not one of coherent, caches"),
        ("", "not one of coherent, caches"),
    ],
)
def test_refusal_lists_the_names_and_the_nearest(value: str, says: str) -> None:
    assert not_one_of(value, ["coherent", "caches"]) == says


def test_choice_is_the_value_of_its_name_or_refused() -> None:
    assert choose("memory", "b", {"a": 1, "b": 2}, InvalidCase) == 2
    with pytest.raises(InvalidCase, match=r"^memory=bbc: not one of a, bcd; did you mean bcd\?$"):
        choose("memory", "bbc", {"a": 1, "bcd": 2}, InvalidCase)
