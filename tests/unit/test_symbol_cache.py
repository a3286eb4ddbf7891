"""The cache of symbols that were read from raw Images."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import make_kallsyms
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_kallsyms import LAYOUTS, functions
from make_kernel import BASE_VA

from emu.cache import cache_dir
from emu.errors import EmuError, InvalidSubject
from emu.subject import kernel, symbol_cache
from emu.subject.symbol_cache import cached_symbols, keep_symbols
from emu.subject.symbols import Symbols

_TABLE = Symbols(b"0000000000001000 T _text\n0000000000002000 T _end\n")
_NAMES = ("a", "aa", "ab", "b", "_a", "A", "a.b", "zz")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that tables are cached in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "emu" / "symbols"


def test_what_was_kept_is_found_again(cache: Path) -> None:
    assert cached_symbols("ab12") is None
    keep_symbols("ab12", _TABLE)
    found = cached_symbols("ab12")
    assert found is not None
    assert found.text == _TABLE.text
    assert [file.name for file in cache.iterdir()] == ["ab12.map"]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(_NAMES)), min_size=1, max_size=12))
def test_a_table_that_was_kept_finds_the_names_that_it_found(rows: list[tuple[int, str]]) -> None:
    """By the order that is kept, where one that was not searches its text: of equal names the lowest."""
    text = "".join(f"{va:016x} T {name}\n" for va, name in sorted(rows, key=lambda row: row[0])).encode()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", folder)
        keep_symbols("ab12", Symbols(text))
        found = cached_symbols("ab12")
    assert found is not None
    for name in (*_NAMES, "", "T a", "a\nb"):
        assert found.address(name) == Symbols(text).address(name), name


@pytest.mark.parametrize("damaged", [b"", b"junk\n", _TABLE.text, _TABLE.text[:-3]])
def test_a_damaged_table_is_none(cache: Path, damaged: bytes) -> None:
    cache.mkdir(parents=True)
    (cache / "ab12.map").write_bytes(damaged)
    assert not cached_symbols("ab12")


def test_a_table_of_which_any_byte_has_changed_is_none(cache: Path) -> None:
    """With another digit it would be another address, and still a table."""
    keep_symbols("ab12", _TABLE)
    (file,) = cache.iterdir()
    kept = file.read_bytes()
    for at in range(len(kept)):
        file.write_bytes(kept[:at] + bytes([kept[at] ^ 1]) + kept[at + 1 :])
        assert cached_symbols("ab12") is None
        file.write_bytes(kept[:at])
        assert cached_symbols("ab12") is None


def test_a_cache_that_cannot_be_written_is_no_error(cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where the folder should be")
    keep_symbols("ab12", _TABLE)
    assert cached_symbols("ab12") is None


def test_the_oldest_tables_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbol_cache, "_CACHED_MAX", 2)
    for number, name in enumerate(("a", "b", "c")):
        keep_symbols(name, _TABLE)
        os.utime(cache / f"{name}.map", (number, number))
    keep_symbols("d", _TABLE)
    assert sorted(file.name for file in cache.iterdir()) == ["c.map", "d.map"]


@pytest.mark.parametrize(
    ("value", "home", "folder"), [("/x", "/h", "/x"), ("", "/h", "/h/.cache"), ("rel", "/h", None)]
)
def test_the_cache_is_under_an_absolute_cache_home(
    value: str, home: str, folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XDG Base Directory Specification: a relative $XDG_CACHE_HOME is ignored."""
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", home)
    assert cache_dir("symbols") == (Path(folder) / "emu" / "symbols" if folder else None)


def test_a_table_that_was_not_believed_is_not_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that was is read from the Image once."""
    image, reads, whole = tmp_path / "Image", [], kernel.read_kallsyms

    def read(data: bytes, name: str) -> bytes:
        reads.append(name)
        return whole(data, name)

    monkeypatch.setattr(kernel, "read_kallsyms", read)
    symbols = functions()
    moved = [
        (offset + 4 if offset and name != "_end" else offset, letter, name)
        for offset, letter, name in symbols
    ]
    made = make_kallsyms.image(symbols, None)
    table = make_kallsyms.tables(moved, LAYOUTS["6.18"], make_kallsyms.TABLES_AT, BASE_VA)
    image.write_bytes(made[: make_kallsyms.TABLES_AT] + table + made[make_kallsyms.TABLES_AT + len(table) :])
    for _ in range(2):
        with pytest.raises(InvalidSubject, match="calls in the text of .* go to no symbol"):
            kernel.load_kernel(image)
    assert (len(reads), cache.exists()) == (2, False)
    image.write_bytes(make_kallsyms.image(symbols, LAYOUTS["6.18"]))
    for _ in range(2):
        with pytest.raises(EmuError, match="THREAD_SIZE"):
            kernel.load_kernel(image)
    assert len(reads) == 3
