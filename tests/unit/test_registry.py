"""The one way in which a folder's files become choices, and how a value that is none of them is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from emu.errors import InvalidCase
from emu.registry import Incomplete, choose, discover, not_one_of


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
    return discover(folder.name, Plugin)


def test_each_module_is_a_choice_by_its_name(package: Path) -> None:
    (package / "b.py").write_text(GOOD)
    (package / "a.py").write_text(GOOD.replace('"good"', '"later-one"') + "LEVEL = 7\n")
    plugins = found(package)
    assert list(plugins) == ["good", "later-one"]
    assert (plugins["good"].act(), plugins["good"].level, plugins["good"].summary) == (1, 3, "It acts.")
    assert plugins["later-one"].level == 7


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
        (GOOD.replace('"good"', '"Good"'), "NAME = 'Good': words of a-z and 0-9"),
        (GOOD.replace('"good"', '"a_b"'), "NAME = 'a_b': words of a-z and 0-9"),
    ],
)
def test_incomplete_module_is_refused_with_its_file_and_what_is_missing(
    package: Path, text: str, says: str
) -> None:
    (package / "broken.py").write_text(text)
    with pytest.raises(Incomplete) as caught:
        found(package)
    assert str(caught.value).startswith(f"{package / 'broken.py'}: {says}")


def test_two_of_one_name_are_refused_with_both_files(package: Path) -> None:
    (package / "one.py").write_text(GOOD)
    (package / "two.py").write_text(GOOD)
    with pytest.raises(Incomplete) as caught:
        found(package)
    assert str(caught.value) == f"{package / 'two.py'}: NAME = 'good': {package / 'one.py'} has that name"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("cohrent", "not one of coherent, caches; did you mean coherent?"),
        ("cashes", "not one of coherent, caches; did you mean caches?"),
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
