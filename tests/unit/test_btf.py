"""BTF: sizes and offsets by name (Documentation/bpf/btf.rst), on types built here."""

from __future__ import annotations

import struct

import make_kernel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.errors import InvalidSubject, Untestable
from emu.subject.btf import Btf


def _read(btf: make_kernel.Btf) -> Btf:
    return Btf(btf.blob(), "f")


@pytest.fixture
def nested() -> make_kernel.Btf:
    """Struct outer { int a; union { int b; struct { int c; inner_t d; }; }; const inner e; int f : 3; }."""
    btf = make_kernel.Btf()
    number = btf.int_("int", 4)
    inner = btf.struct("inner", 8, [("x", number, 0), ("y", number, 32)])
    named = btf.add(8, "inner_t", inner)
    const = btf.add(10, "", inner)
    anonymous = btf.struct("", 12, [("c", number, 0), ("d", named, 32)])
    union = btf.struct("", 12, [("b", number, 0), ("", anonymous, 0)], union=True)
    members = [("a", number, 0), ("", union, 32), ("e", const, 128), ("f", number, 192 | 3 << 24)]
    rows = b"".join(struct.pack("<III", btf.string(m), kind, bits) for m, kind, bits in members)
    btf.add(4, "outer", 28, len(members), rows, flag=1)
    return btf


@pytest.mark.parametrize(
    ("path", "offset"),
    [("a", 0), ("b", 4), ("c", 4), ("d", 8), ("d.x", 8), ("d.y", 12), ("e", 16), ("e.y", 20)],
)
def test_members_of_anonymous_and_nested_structs_are_found(
    nested: make_kernel.Btf, path: str, offset: int
) -> None:
    assert _read(nested).offset("outer", path) == offset


def test_size_is_in_bytes(nested: make_kernel.Btf) -> None:
    assert (_read(nested).size("outer"), _read(nested).size("inner")) == (28, 8)


@pytest.mark.parametrize(
    ("name", "path", "rule"),
    [
        ("nothing", "a", "no struct nothing"),
        ("int", "a", "no struct int"),
        ("outer", "z", "struct outer has no member z"),
        ("outer", "x", "struct outer has no member x"),
        ("outer", "d.z", "struct outer has no member d.z"),
        ("outer", "a.b", "struct outer, member a.b: a is not a struct"),
        ("outer", "f", "struct outer, member f: a bit-field"),
        ("outer", "", "struct outer has no member "),
    ],
)
def test_what_is_not_there_is_untestable(nested: make_kernel.Btf, name: str, path: str, rule: str) -> None:
    with pytest.raises(Untestable, match=f"^f: BTF: {rule}$"):
        _read(nested).offset(name, path)


def test_every_kind_of_type_is_stepped_over() -> None:
    """The kinds and their sizes: include/uapi/linux/btf.h."""
    btf = make_kernel.Btf()
    number = btf.int_("int", 4)
    btf.add(2, "", number)  # PTR
    btf.add(3, "", 0, extra=struct.pack("<III", number, number, 7))  # ARRAY
    btf.add(6, "enum", 4, 2, struct.pack("<IiIi", btf.string("A"), 1, btf.string("B"), -1))
    btf.add(7, "fwd", 0)
    for modifier in (8, 9, 10, 11, 18):
        btf.add(modifier, "t", number)
    prototype = btf.add(13, "", number, 1, struct.pack("<II", btf.string("p"), number))
    btf.add(12, "func", prototype)
    btf.add(14, "var", number, extra=struct.pack("<I", 1))
    btf.add(15, "datasec", 8, 1, struct.pack("<III", 1, 0, 8))
    btf.add(16, "double", 8)
    btf.add(17, "tag", number, extra=struct.pack("<i", -1))
    btf.add(19, "enum64", 8, 1, struct.pack("<III", btf.string("C"), 0, 1))
    anonymous = btf.struct("", 8, [("deep", number, 32)])
    btf.struct("last", 16, [("", anonymous, 64)])
    assert _read(btf).offset("last", "deep") == 12


def test_a_member_or_parameter_of_the_same_name_is_not_taken_for_the_struct() -> None:
    btf = make_kernel.Btf()
    number = btf.int_("task", 4)
    btf.struct("holder", 4, [("task", number, 0)])
    btf.add(13, "", 0, 1, struct.pack("<II", btf.string("task"), number))
    btf.add(7, "task", 0)
    btf.struct("task", 40, [("pid", number, 64)])
    assert (_read(btf).size("task"), _read(btf).offset("task", "pid")) == (40, 8)


def test_a_name_stored_as_the_tail_of_another_is_found() -> None:
    btf = make_kernel.Btf()
    number = btf.int_("int", 4)
    at = btf.string("old_task")
    btf.types.append(
        struct.pack("<III", at + 4, 4 << 24 | 1, 8) + struct.pack("<III", btf.string("pid"), number, 32)
    )
    assert _read(btf).offset("task", "pid") == 4


def test_a_struct_that_holds_itself_ends() -> None:
    btf = make_kernel.Btf()
    rows = [("", 1, 0)] * 500 + [("", 2, 0)]
    btf.struct("loop", 4, rows)
    btf.add(8, "t", 2)  # a typedef of itself
    with pytest.raises(Untestable, match="struct loop has no member x"):
        _read(btf).offset("loop", "x")


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", " in 0 bytes: must start with 9feb0100 and a header"),
        (b"\xeb\x9f\x01\x00" + bytes(20), "eb9f0100 in 24 bytes: must start with"),
        (b"\x9f\xeb\x01\x00" + bytes(19), "9feb0100 in 23 bytes: must start with"),
        (struct.pack("<HBB5I", 0xEB9F, 1, 0, 24, 0, 4, 4, 1), "sections end at 0x1d: the blob has 0x18"),
        (struct.pack("<HBB5I", 0xEB9F, 1, 0, 20, 0, 0, 0, 0), "header of 20 bytes"),
        (struct.pack("<HBB5I", 0xEB9F, 1, 0, 24, 0, 3, 3, 0) + bytes(8), "sections end at"),
    ],
)
def test_a_bad_header_is_refused(data: bytes, rule: str) -> None:
    with pytest.raises(InvalidSubject, match=f"^f: BTF: .*{rule}"):
        Btf(data, "f")


def test_unknown_kinds_and_cut_off_types_are_refused(nested: make_kernel.Btf) -> None:
    nested.add(20, "new", 0)
    with pytest.raises(InvalidSubject, match="type 8: kind 20: kinds are 1 to 19"):
        _read(nested).offset("outer", "c")
    nested.types[-1] = struct.pack("<III", 0, 4 << 24 | 9, 0)
    with pytest.raises(InvalidSubject, match="type 8 ends at word"):
        _read(nested).offset("outer", "c")


@given(st.lists(st.tuples(st.integers(0, 2**16), st.binary(min_size=1, max_size=5)), min_size=1, max_size=6))
def test_damaged_btf_gives_a_number_or_a_typed_error(edits: list[tuple[int, bytes]]) -> None:
    btf = make_kernel.kernel_btf()
    anonymous = btf.struct("", 8, [("deep", 1, 32)])
    btf.struct("outer", 16, [("", anonymous, 64)])
    data = bytearray(btf.blob())
    for place, junk in edits:
        place %= len(data)
        data[place : place + len(junk)] = junk
    for name, path in (("task_struct", "thread_info.cpu"), ("secondary_data", "status"), ("outer", "deep")):
        make_kernel.refusal(lambda name=name, path=path: Btf(bytes(data), "f").offset(name, path))
        make_kernel.refusal(lambda name=name: Btf(bytes(data), "f").size(name))
