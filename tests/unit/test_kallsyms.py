"""The kallsyms of a raw Image: every layout, damaged tables, real kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import make_kallsyms
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_kallsyms import IMAGE_SIZE, LAYOUTS, POINTERS_AT, TABLES_AT, Layout, functions, listing
from make_kernel import BASE_VA, refusal

from emu.errors import Untestable
from emu.subject.kallsyms import read_kallsyms
from emu.subject.unwrap import read_file, unwrap

_SYMBOLS = functions()
_IMAGES = {release: make_kallsyms.image(_SYMBOLS, layout) for release, layout in LAYOUTS.items()}


def _refused(image: bytes) -> str | None:
    return refusal(lambda: read_kallsyms(image, "some/Image"), Untestable)


@pytest.mark.parametrize("release", LAYOUTS)
def test_the_table_of_every_layout_is_read(release: str) -> None:
    assert read_kallsyms(_IMAGES[release], "Image") == listing(_SYMBOLS)


@pytest.mark.parametrize("release", LAYOUTS)
@settings(max_examples=4)
@given(seed=st.integers(0, 1000), count=st.integers(300, 1500))
def test_whatever_the_names_and_however_many(release: str, seed: int, count: int) -> None:
    symbols = functions(seed, count)
    made = make_kallsyms.image(symbols, LAYOUTS[release], seed=seed)
    assert read_kallsyms(made, "Image") == listing(symbols)


@pytest.mark.parametrize("base_va", [0xFFFF_8000_0800_0000, 0xFFFF_C000_8000_0000, 0xFFFF_FFC0_8000_0000])
@pytest.mark.parametrize("release", LAYOUTS)
def test_the_base_is_that_of_any_size_of_virtual_addresses(release: str, base_va: int) -> None:
    made = make_kallsyms.image(_SYMBOLS, LAYOUTS[release], base_va)
    assert read_kallsyms(made, "Image") == listing(_SYMBOLS, base_va)


def test_a_table_of_functions_alone_begins_at_the_first() -> None:
    """CONFIG_KALLSYMS_ALL=n: the relative base is the address of _stext."""
    symbols = [symbol for symbol in _SYMBOLS if symbol[2] not in ("_text", "_end")]
    for release in ("5.10", "6.2", "6.12"):
        made = make_kallsyms.image(symbols, LAYOUTS[release])
        assert read_kallsyms(made, "Image") == listing(symbols)


def test_a_name_of_128_tokens_has_a_length_of_two_bytes() -> None:
    """Linux 6.1: names of Rust are that long."""
    long = "".join(chr(97 + number % 26) + str(number % 10) for number in range(200))
    symbols = [*_SYMBOLS[:300], (_SYMBOLS[300][0], "T", long), *_SYMBOLS[300:]]
    assert read_kallsyms(make_kallsyms.image(symbols, LAYOUTS["7.3"]), "Image") == listing(symbols)


def test_names_without_some_digit_are_found_by_their_letters() -> None:
    symbols = [(offset, letter, name.replace("9", "bdfghi")) for offset, letter, name in _SYMBOLS]
    assert read_kallsyms(make_kallsyms.image(symbols, LAYOUTS["6.18"]), "Image") == listing(symbols)


def test_digits_in_a_row_elsewhere_are_no_table() -> None:
    made = bytearray(_IMAGES["7.3"])
    decoy = b"".join(bytes([code, 0]) for code in range(256))
    made[0x200 : 0x200 + len(decoy)] = decoy
    assert read_kallsyms(bytes(made), "Image") == listing(_SYMBOLS)


def test_an_image_without_kallsyms_says_what_to_give() -> None:
    assert _refused(make_kallsyms.image(_SYMBOLS, None)) == (
        f"some/Image: no usable System.map, and no kallsyms_token_table in its {IMAGE_SIZE:#x} bytes "
        "(CONFIG_KALLSYMS=n, or Linux before 5.0); give --system-map FILE"
    )


def _damaged(release: str, at: int, data: bytes) -> str | None:
    made = bytearray(_IMAGES[release])
    made[at : at + len(data)] = data
    return _refused(bytes(made))


@pytest.mark.parametrize("release", LAYOUTS)
def test_each_part_that_is_damaged_is_named(release: str) -> None:
    parts: dict[str, int] = {}
    make_kallsyms.tables(_SYMBOLS, LAYOUTS[release], TABLES_AT, BASE_VA, parts)
    for part, further, junk, missing in (
        ("num_syms", 0, bytes(4), "no kallsyms_markers"),
        ("names", 0, b"\x02", "no kallsyms_markers"),
        ("markers", 4, b"\xff", "no kallsyms_markers"),
        ("token_table", 200, b"x" * 8, "no kallsyms_token_table"),
        ("token_index", 10, b"\xff", "no kallsyms_token_table"),
    ):
        assert f"and {missing} in its" in (_damaged(release, parts[part] + further, junk) or ""), part


@pytest.mark.parametrize("release", LAYOUTS)
def test_offsets_that_do_not_ascend_are_no_addresses(release: str) -> None:
    swapped = [_SYMBOLS[0], *_SYMBOLS[2:500], _SYMBOLS[1], *_SYMBOLS[500:]]
    made = make_kallsyms.image(swapped, LAYOUTS[release])
    assert "and no kallsyms_offsets that ascend in its" in (_refused(made) or "")


@pytest.mark.parametrize("release", ["5.10", "6.12", "7.0", "7.3"])
def test_without_pointers_nobody_knows_where_it_was_linked(release: str) -> None:
    made = _damaged(release, POINTERS_AT, bytes(TABLES_AT - POINTERS_AT))
    assert "no pointers that say where kallsyms_offsets begin" in (made or "")


@pytest.mark.parametrize("release", ["5.10, not relocatable", "6.18"])
def test_a_stored_base_needs_no_pointers(release: str) -> None:
    assert _damaged(release, POINTERS_AT, bytes(TABLES_AT - POINTERS_AT)) is None


@pytest.mark.parametrize("release", LAYOUTS)
def test_an_image_cut_off_in_its_tables_has_none(release: str) -> None:
    parts: dict[str, int] = {}
    make_kallsyms.tables(_SYMBOLS, LAYOUTS[release], TABLES_AT, BASE_VA, parts)
    for end in (parts["markers"] + 3, parts["token_index"] + 5, parts["token_index"] + 511):
        assert _refused(_IMAGES[release][:end]) is not None


@settings(max_examples=50)
@given(
    release=st.sampled_from(list(LAYOUTS)),
    edits=st.lists(st.tuples(st.integers(0, 0x8000), st.binary(min_size=1, max_size=9)), max_size=4),
    end=st.none() | st.integers(TABLES_AT, TABLES_AT + 0x8000),
)
def test_a_damaged_table_gives_symbols_or_one_typed_error(
    release: str, edits: list[tuple[int, bytes]], end: int | None
) -> None:
    made = bytearray(_IMAGES[release])
    for place, junk in edits:
        made[TABLES_AT + place : TABLES_AT + place + len(junk)] = junk
    _refused(bytes(made)[:end])


@pytest.mark.parametrize("count", [0, 1, 255, 256])
def test_fewer_names_than_two_markers_have_are_no_kernel(count: int) -> None:
    symbols = _SYMBOLS[:count]
    made = bytearray(make_kallsyms.image(_SYMBOLS, None))
    if symbols:
        table = make_kallsyms.tables(symbols, Layout(), TABLES_AT, BASE_VA)
        made[TABLES_AT : TABLES_AT + len(table)] = table
    assert _refused(bytes(made)) is not None


def test_kallsyms_of_a_real_kernel_agree_with_its_system_map(real_kernel: Callable[[str], Path]) -> None:
    tree = real_kernel("EMU_KERNEL_SMALL")
    text = read_kallsyms((tree / "arch/arm64/boot/Image").read_bytes(), "Image")
    found = {tuple(line.split()) for line in text.decode().splitlines()}
    listed = {tuple(line.split()) for line in (tree / "System.map").read_text().splitlines()}
    assert found <= listed
    assert len(found) > 0.9 * len(listed)


def test_the_newest_kernel_has_its_banner_where_its_kallsyms_say(real_kernel: Callable[[str], Path]) -> None:
    path = real_kernel("EMU_KERNEL_NEWEST")
    image = unwrap(read_file(path), str(path))
    found = {line.split(b" ")[2]: int(line[:16], 16) for line in read_kallsyms(image, str(path)).splitlines()}
    assert image.startswith(b"Linux version ", found[b"linux_banner"] - found[b"_text"])
