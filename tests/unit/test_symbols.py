"""Symbols against a dict: System.map text, look-ups both ways, and text from elsewhere."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_kernel import refusal

from emu.errors import InvalidSubject, Untestable
from emu.subject.symbols import Symbols

_NAMES = st.text(st.sampled_from("abxT_.$0189"), min_size=1, max_size=6)
_VAS = st.one_of(st.integers(0, 40), st.integers(2**64 - 40, 2**64 - 1), st.integers(0, 2**64 - 1))
_TABLES = st.dictionaries(_NAMES, _VAS, max_size=40)


@given(_TABLES, _NAMES)
def test_address_of_every_name_is_the_one_given_and_of_others_none(table: dict[str, int], other: str) -> None:
    symbols = Symbols.of(table)
    assert {name: symbols.address(name) for name in table} == table
    assert symbols.address(other) == table.get(other)


@given(_TABLES, _VAS)
def test_at_returns_the_nearest_symbol_at_or_below(table: dict[str, int], va: int) -> None:
    """Of several at one address the first (Linux kernel/kallsyms.c, get_symbol_pos)."""
    below = [(value, name) for name, value in table.items() if value <= va]
    expected = None
    if below and max(below)[0] >> 63 == va >> 63:
        nearest = max(below)[0]
        expected = (min(name for value, name in below if value == nearest), va - nearest)
    assert Symbols.of(table).at(va) == expected


@given(_TABLES, st.lists(_VAS, min_size=1))
def test_who_asks_often_is_answered_from_an_index_as_from_the_text(
    table: dict[str, int], vas: list[int]
) -> None:
    searched, indexed = Symbols.of(table), Symbols.of(table)
    indexed._looked = 1 << 30
    assert [indexed.at(va) for va in vas] == [searched.at(va) for va in vas]
    assert [indexed.after(va) for va in vas] == [searched.after(va) for va in vas]
    assert indexed._index is not None
    assert searched._index is None


@given(_TABLES, _VAS)
def test_after_returns_the_lowest_address_above(table: dict[str, int], va: int) -> None:
    assert Symbols.of(table).after(va) == min((value for value in table.values() if value > va), default=None)


@given(_TABLES)
def test_iteration_gives_all_symbols_in_address_order(table: dict[str, int]) -> None:
    listed = list(Symbols.of(table))
    assert dict(listed) == table
    assert [va for _, va in listed] == sorted(table.values())
    assert bool(Symbols.of(table)) == bool(table)


@given(_TABLES, st.randoms(use_true_random=False))
def test_parse_sorts_what_is_not_sorted(table: dict[str, int], random: object) -> None:
    rows = Symbols.of(table).text.split(b"\n")[:-1] if table else []
    random.shuffle(rows)  # type: ignore[attr-defined]
    assert dict(Symbols.parse(b"\n".join(rows), "map")) == table


@given(_TABLES, _TABLES)
def test_with_data_adds_and_keeps_order(table: dict[str, int], more: dict[str, int]) -> None:
    new = {name: va for name, va in more.items() if name not in table}
    symbols = Symbols.of(table).with_data(new)
    assert dict(symbols) == table | new
    assert [va for _, va in symbols] == sorted((table | new).values())


@given(st.binary(max_size=200))
def test_parse_of_any_bytes_is_a_table_or_one_typed_error(data: bytes) -> None:
    if refusal(lambda: Symbols.parse(data, "map"), InvalidSubject) is None:
        symbols = Symbols.parse(data, "map")
        assert len(list(symbols)) == symbols.text.count(b"\n")


@given(_TABLES, st.binary(max_size=30), st.integers(0, 4000))
def test_parse_of_a_damaged_map_is_a_table_or_one_typed_error(
    table: dict[str, int], junk: bytes, place: int
) -> None:
    text = Symbols.of(table).text
    place %= len(text) + 1
    damaged = text[:place] + junk + text[place:]
    refused = refusal(lambda: Symbols.parse(damaged, "map"), InvalidSubject)
    if refused is None:
        symbols = Symbols.parse(damaged, "map")
        assert all(symbols.at(va) is not None for _, va in symbols)
    else:
        assert refused.startswith("map:")


@pytest.mark.parametrize("name", ["T foo", "foo\nbar", "", "o", "fo", " foo", "foo ", "T"])
def test_only_whole_names_are_found(name: str) -> None:
    assert Symbols(b"0000000000001000 T foo\n0000000000001008 T bar\n").address(name) is None


def test_a_name_that_occurs_twice_is_at_its_lowest_address() -> None:
    assert Symbols(b"0000000000001000 t dup\n0000000000002000 t dup\n").address("dup") == 0x1000


def test_require_names_the_subject_and_the_symbol() -> None:
    with pytest.raises(Untestable, match=r"^Image: no symbol missing$"):
        Symbols.of({}).require("missing", "Image")


@pytest.mark.parametrize(
    ("va", "text"),
    [(0xFFF, "0xfff"), (0x1000, "one"), (0x1004, "one+0x4"), (0x2000, "two"), (2**64 - 1, "end")],
)
def test_describe_is_name_plus_offset_or_bare_hex(va: int, text: str) -> None:
    assert Symbols.of({"one": 0x1000, "two": 0x2000, "end": 2**64 - 1}).describe(va) == text


def test_a_stub_of_a_system_map_is_refused_with_its_line() -> None:
    """Debian's linux-image packages ship one line of prose."""
    stub = b"ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n"
    with pytest.raises(InvalidSubject, match=r"^stub:1: .*expected '<16 hex digits> <type> <name>'$"):
        Symbols.parse(stub, "stub")
    with pytest.raises(InvalidSubject, match=r"^System\.map: "):
        Symbols(stub)


def test_parse_names_the_line_that_is_cut_off() -> None:
    with pytest.raises(InvalidSubject, match=r"^map:2: b'0000000000001'"):
        Symbols.parse(b"0000000000001000 T foo\n0000000000001", "map")


def test_parse_accepts_crlf_and_the_module_names_of_proc_kallsyms() -> None:
    text = b"0000000000001000 T foo\r\n0000000000002000 t bar\t[ext4]\r\n"
    assert dict(Symbols.parse(text, "map")) == {"foo": 0x1000, "bar": 0x2000}


def test_a_name_that_is_no_text_is_shown_by_its_bytes() -> None:
    """As in a symbol table of a damaged vmlinux."""
    symbols = Symbols(b"ffff800080000000 T _text\nffff800080000100 T a\x80b\n")
    assert list(symbols)[1] == ("a\\x80b", 0xFFFF_8000_8000_0100)
    assert symbols.describe(0xFFFF_8000_8000_0104) == "a\\x80b+0x4"


def test_no_address_of_the_kernel_is_near_a_number_that_is_kept_as_a_symbol() -> None:
    """Linux v6.12 arch/arm64/kernel/image.h, DEFINE_IMAGE_LE64: _kernel_size_le_lo32 and the like."""
    symbols = Symbols.of({"_kernel_size_le_lo32": 0x50_0000, "_text": 0xFFFF_8000_8000_0000})
    assert symbols.at(0xFFFF_8000_7FE0_0008) is None
    assert symbols.describe_pc(0x4000_0008, 0xFFFF_8000_8000_0000 - 0x4020_0000) == "0x40000008"
    assert symbols.describe(0x50_0004) == "_kernel_size_le_lo32+0x4"


def test_what_is_no_text_is_said_so_and_not_shown() -> None:
    for data in (gzip.compress(b"ffff800080000000 T _text\n"), b"\x7fELF\x02\x01\x01" + bytes(64)):
        with pytest.raises(InvalidSubject, match=r"^map:1: no text: expected"):
            Symbols.parse(data, "map")
