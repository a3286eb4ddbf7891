"""docs/contracts.md: what it shows is read, and it names every key, kind and model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emu.lookup import toml_form
from emu.lookup.contract import LookupTable
from emu.lookup.corpus import situations
from emu.lookup.header import SMALLEST, contract_of_header
from emu.lookup.models import MODELS, expected_many
from emu.lookup.tables import KINDS, DoesNotFit, fill
from emu.lookup.toml_form import parse_contract

DOCS = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)


def test_the_header_is_read() -> None:
    (text,) = (block for block in blocks("") if block.startswith("/*"))
    contract = contract_of_header(text, "docs")
    assert contract is not None
    assert (contract.entry, contract.model) == ("lookup_linear", "first-match")


@pytest.mark.parametrize("text", blocks("toml"))
def test_each_toml_is_read(text: str) -> None:
    assert parse_contract(text, "docs").index == "x19"


def test_the_smallest_toml_is_the_one_of_the_message() -> None:
    smallest, shown = (parse_contract(text, "x") for text in ("\n".join(SMALLEST), blocks("toml")[0]))
    assert smallest.tables == shown.tables
    assert (smallest.entry, smallest.found, smallest.missing) == (shown.entry, shown.found, shown.missing)


def test_the_kind_and_the_model_of_ones_own_work(tmp_path: Path) -> None:
    for name, text in zip(("kind.py", "model.py"), blocks("python"), strict=True):
        (tmp_path / name).write_text(text)
    table = LookupTable("t", 4, holds=str(tmp_path / "kind.py"))
    assert fill(table, (1, None), {"NR_CPUS": 2}) == b"\x01\0\0\0\xff\xff\xff\xff"
    with pytest.raises(DoesNotFit, match="Aff3 is in use"):
        fill(table, (1 << 32,), {"NR_CPUS": 2})
    assert expected_many(str(tmp_path / "model.py"), (5,), {}, (1 << 32 | 5, 6)) == [0, None]


@pytest.mark.parametrize("name", [*KINDS, *MODELS])
def test_every_kind_and_model_is_named(name: str) -> None:
    assert f"| `{name}` |" in DOCS


def test_every_key_is_named() -> None:
    for key in toml_form._LOOKUP_KEYS:
        assert f"`lookup.{key}`" in DOCS
    for key in toml_form._TABLE_KEYS:
        assert f"`table.{key}`" in DOCS


def test_every_family_of_the_corpus_is_named() -> None:
    for situation in situations(256, literal=True):
        assert f"`{situation.name.partition('/')[0]}/" in DOCS
