"""Sizes and member offsets of structs from BTF, without decoding the rest of it.

A distribution kernel has 100,000 types in some 5 MB. A named struct is found by searching the bytes for its
name's string offset; only a member inside an anonymous struct needs the table of all types (30 ms).
Source: Linux v6.12 Documentation/bpf/btf.rst, include/uapi/linux/btf.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from emu.errors import InvalidSubject, Untestable

MAGIC = b"\x9f\xeb\x01\x00"  # magic, version 1, no flags
HEADER_SIZE = 24
_STRUCT, _UNION = 4, 5
_MODIFIERS = (8, 9, 10, 11, 18)  # TYPEDEF VOLATILE CONST RESTRICT TYPE_TAG
# Words that follow the 12-byte struct btf_type: fixed, and for each of vlen.
_FIXED = {1: 1, 3: 3, 14: 1, 17: 1}  # INT ARRAY VAR DECL_TAG
_EACH = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}  # STRUCT UNION ENUM FUNC_PROTO DATASEC ENUM64
_KIND_MAX = 19
_TYPEDEFS_MAX = 16
_TAILS_MAX = 64
_NESTED_MAX = 256  # anonymous structs looked into for one member; also bounds the recursion


@dataclass(frozen=True, slots=True)
class Member:
    """A member as stored: name and type by number, offset in bits from its struct."""

    name_at: int
    type_id: int
    offset_bits: int
    bitfield_bits: int


class Btf:
    """One BTF blob: header, types and strings.

    :param data: the blob; bytes after its strings are ignored
    :param name: its name in messages
    :raises InvalidSubject: wrong magic, or sections outside the blob
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        if data[:4] != MAGIC or len(data) < HEADER_SIZE:
            raise self._bad(
                f"{data[:4].hex()} in {len(data)} bytes", f"must start with {MAGIC.hex()} and a header"
            )
        header, types_at, types_size, strings_at, strings_size = struct.unpack_from("<5I", data, 4)
        types_at, strings_at = header + types_at, header + strings_at
        end = max(types_at + types_size, strings_at + strings_size)
        if header < HEADER_SIZE or end > len(data) or types_size % 4:
            raise self._bad(
                f"header of {header} bytes, sections end at {end:#x}", f"the blob has {len(data):#x}"
            )
        self._types = data[types_at : types_at + types_size]
        self._words = memoryview(self._types).cast("I")  # little-endian host, as everywhere in this package
        self._strings = data[strings_at : strings_at + strings_size]
        self._index: list[int] | None = None

    def size(self, name: str) -> int:
        """Return sizeof(struct ``name``) in bytes.

        :raises Untestable: no such struct
        :raises InvalidSubject: broken BTF
        """
        return self._words[self._find(name) + 2]

    def offset(self, name: str, path: str) -> int:
        """Return the byte offset of ``path`` (``member`` or ``member.member``) in struct ``name``.

        Members of anonymous structs and unions count as the outer struct's own, as in C.

        :raises Untestable: no such struct or member, or a bit-field
        :raises InvalidSubject: broken BTF
        """
        at, bits = self._find(name), 0
        parts = path.split(".")
        for number, part in enumerate(parts):
            found = self._member(at, part, {at})
            if found is None:
                raise Untestable(f"{self.name}: BTF: struct {name} has no member {path}")
            bits += found.offset_bits
            if number + 1 < len(parts):
                inner = self._aggregate(found.type_id)
                if inner is None:
                    raise Untestable(
                        f"{self.name}: BTF: struct {name}, member {path}: {part} is not a struct"
                    )
                at = inner
            elif found.bitfield_bits or bits % 8:
                raise Untestable(f"{self.name}: BTF: struct {name}, member {path}: a bit-field")
        return bits // 8

    def _find(self, name: str) -> int:
        # Word index of struct `name`: by searching the bytes, else (rarely) in the table of all types.
        for name_at in self._string_offsets(name):
            key, start = struct.pack("<I", name_at), 0
            while (start := self._types.find(key, start)) >= 0:
                if start % 4 == 0 and self._is_struct(start // 4):
                    return start // 4
                start += 1
        raise Untestable(f"{self.name}: BTF: no struct {name}")

    def _string_offsets(self, name: str) -> Iterator[int]:
        # A name is stored alone, or (by a writer that merges tails) at the end of a longer string.
        alone = self._strings.find(b"\0" + name.encode() + b"\0")
        if alone >= 0:
            yield alone + 1
        start = -1
        for _ in range(_TAILS_MAX):
            start = self._strings.find(name.encode() + b"\0", start + 1)
            if start < 0:
                return
            if start != alone + 1:
                yield start

    def _is_struct(self, at: int) -> bool:
        # Whether the words at `at` are a struct with members: the same bytes may be a member or a parameter.
        words = self._words
        if at + 3 > len(words) or words[at + 1] >> 24 & 0x7F not in (_STRUCT, _UNION):
            return False
        vlen, size = words[at + 1] & 0xFFFF, words[at + 2]
        if words[at + 1] & 0x60FF0000 or not vlen or at + 3 + 3 * vlen > len(words):
            return False
        return all(
            member.name_at < len(self._strings) and member.offset_bits <= size * 8
            for member in self._members(at)
        )

    def _members(self, at: int) -> Iterator[Member]:
        words, info = self._words, self._words[at + 1]
        for number in range(info & 0xFFFF):
            base = at + 3 + 3 * number
            if base + 3 > len(words):
                raise self._bad(f"struct at word {at}", "its members leave the type section")
            offset = words[base + 2]
            bits = offset >> 24 if info >> 31 else 0
            yield Member(words[base], words[base + 1], offset & 0xFFFFFF if info >> 31 else offset, bits)

    def _member(self, at: int, name: str, seen: set[int]) -> Member | None:
        # `seen` holds the structs already searched, so that a cycle in broken BTF ends.
        anonymous = []
        for member in self._members(at):
            if not member.name_at:
                anonymous.append(member)
            elif self._string(member.name_at) == name:
                return member
        for member in anonymous:
            inner = self._aggregate(member.type_id)
            if inner is None or inner in seen:
                continue
            seen.add(inner)
            found = self._member(inner, name, seen) if len(seen) < _NESTED_MAX else None
            if found:
                bits = member.offset_bits + found.offset_bits
                return Member(found.name_at, found.type_id, bits, found.bitfield_bits)
        return None

    def _aggregate(self, type_id: int) -> int | None:
        # Word index of the struct or union that `type_id` is, through typedefs and qualifiers.
        index = self._type_index()
        for _ in range(_TYPEDEFS_MAX):
            if not 0 < type_id <= len(index):
                return None
            at = index[type_id - 1]
            kind = self._words[at + 1] >> 24 & 0x1F
            if kind in (_STRUCT, _UNION):
                return at
            if kind not in _MODIFIERS:
                return None
            type_id = self._words[at + 2]
        return None

    def _type_index(self) -> list[int]:
        if self._index is not None:
            return self._index
        fixed = [3 + _FIXED.get(kind, 0) for kind in range(32)]
        each = [_EACH.get(kind, 0) for kind in range(32)]
        index, words, at, end = [], self._words, 0, len(self._words)
        while at + 3 <= end:
            index.append(at)
            info = words[at + 1]
            kind = info >> 24 & 0x1F
            if not 0 < kind <= _KIND_MAX:
                raise self._bad(f"type {len(index)}: kind {kind}", f"kinds are 1 to {_KIND_MAX}")
            at += fixed[kind] + each[kind] * (info & 0xFFFF)
        if at != end:
            raise self._bad(f"type {len(index)} ends at word {at}", f"the type section has {end}")
        self._index = index
        return index

    def _string(self, at: int) -> str:
        end = self._strings.find(b"\0", at)
        return self._strings[at : end if end >= 0 else at].decode("latin-1")

    def _bad(self, value: str, rule: str) -> InvalidSubject:
        return InvalidSubject(f"{self.name}: BTF: {value}: {rule}")
