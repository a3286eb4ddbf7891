"""The flat format of a device tree (Devicetree Specification v0.4, chapter 5), version 17.

Written and parsed without the fdt library, which searches all siblings for each node it adds (0.4 s at 4,096
CPUs, minutes for 2 MiB of empty nodes), has no bounds, and refuses trees that kernels accept (a name twice).
Tests compare with it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NoReturn

from emu.errors import InvalidCase

SIZE_MAX = 2 << 20  # Documentation/arch/arm64/booting.rst: the blob must not exceed 2 MiB
MAGIC, VERSION, LAST_COMPATIBLE = 0xD00D_FEED, 17, 16
BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9
HEADER = struct.Struct(">10I")
DEPTH_MAX = 64  # Linux v6.12 drivers/of/fdt.c, FDT_MAX_DEPTH: the kernel leaves out what lies deeper
NAME_MAX = 255  # bytes; the specification says 31, trees in use do not
_CELL = struct.Struct(">I")
_CELLS = struct.Struct(">II")


def u32(value: int) -> bytes:
    """Return the property value of one cell.

    :raises InvalidCase: ``value`` is not a u32
    """
    if not 0 <= value < 1 << 32:
        raise InvalidCase(f"cell={value:#x}: a cell of a device tree is a u32")
    return struct.pack(">I", value)


def u64(*values: int) -> bytes:
    """Return the property value of two cells for each of ``values``, the high one first.

    :raises InvalidCase: one of them is not a u64
    """
    for value in values:
        if not 0 <= value < 1 << 64:
            raise InvalidCase(f"cells={value:#x}: two cells of a device tree are a u64")
    return struct.pack(f">{len(values)}Q", *values)


def texts(*values: str) -> bytes:
    """Return the property value of these ASCII strings."""
    return b"".join(value.encode("ascii") + b"\0" for value in values)


class Writer:
    """Writes a flattened tree in order."""

    def __init__(self) -> None:
        self._structure: list[bytes] = []
        self._strings = bytearray()
        self._names: dict[str, int] = {}

    def begin(self, name: str) -> None:
        """Open a node; its properties must be added before its children."""
        self._structure.append(struct.pack(">I", BEGIN_NODE) + _padded(texts(name)))

    def end(self) -> None:
        """Close the node opened last."""
        self._structure.append(struct.pack(">I", END_NODE))

    def prop(self, name: str, value: bytes = b"") -> None:
        """Add a property to the node opened last."""
        at = self._names.get(name)
        if at is None:
            at = self._names[name] = len(self._strings)
            self._strings += texts(name)
        self._structure.append(struct.pack(">III", PROP, len(value), at) + _padded(value))

    def to_bytes(self, boot_cpuid_phys: int) -> bytes:
        """Return the blob.

        :param boot_cpuid_phys: u32 of the header: the low cell of the boot CPU's ``reg``
        :raises InvalidCase: it is larger than a kernel accepts
        """
        structure = b"".join(self._structure) + struct.pack(">I", END)
        structure_at = HEADER.size + 16  # an empty memory reservation block, 8-byte aligned
        strings_at = structure_at + len(structure)
        total = strings_at + len(self._strings)
        if total > SIZE_MAX:
            raise InvalidCase(f"device tree of {total} bytes: at most 2 MiB (booting.rst)")
        header = HEADER.pack(
            MAGIC,
            total,
            structure_at,
            strings_at,
            HEADER.size,
            VERSION,
            LAST_COMPATIBLE,
            boot_cpuid_phys,
            len(self._strings),
            len(structure),
        )
        return header + bytes(16) + structure + bytes(self._strings)


@dataclass(slots=True, eq=False)
class Node:
    """A node of a parsed tree.

    :ivar name: with its unit address; the root's is empty
    :ivar props: values by name; of two with one name the first, which the kernel finds
    :ivar children: in the blob's order
    """

    name: bytes
    props: dict[bytes, bytes] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def child(self, name: bytes) -> Node | None:
        """Return the first child with this full name."""
        return next((child for child in self.children if child.name == name), None)

    def cell(self, prop: bytes) -> int | None:
        """Return the first cell (u32) of a property; None when it is missing or shorter."""
        value = self.props.get(prop, b"")
        return int.from_bytes(value[:4], "big") if len(value) >= 4 else None

    def text(self, prop: bytes) -> bytes | None:
        """Return the first string of a property, as strcmp() would see it; None when it is missing."""
        value = self.props.get(prop)
        return None if value is None else value.partition(b"\0")[0]


@dataclass(frozen=True, slots=True)
class Blob:
    """A parsed blob: the header's ``boot_cpuid_phys`` (u32), and the tree."""

    boot_cpuid_phys: int
    root: Node


def parse(data: bytes, name: str, size_max: int = SIZE_MAX) -> Blob:
    """Return the tree of a blob of version 16 or later; what follows ``totalsize`` is ignored.

    Every token is read once, so the work is bounded by the size of the blob.

    :param name: prefix of every error
    :param size_max: bytes; the largest blob accepted
    :raises InvalidCase: the header or the structure block breaks a rule of the format
    """
    if len(data) < HEADER.size:
        raise InvalidCase(f"{name}: {len(data)} bytes: the header of a device tree blob has {HEADER.size}")
    magic, total, structure_at, strings_at, reserve_at, version, compatible, boot, strings_size, size = (
        HEADER.unpack_from(data)
    )
    if magic != MAGIC:
        raise InvalidCase(f"{name}: magic={magic:#x}: a device tree blob begins with {MAGIC:#x}")
    if version < LAST_COMPATIBLE or compatible > min(version, VERSION):
        raise InvalidCase(f"{name}: version={version}, compatible={compatible}: must be readable as 16 or 17")
    if total > min(size_max, len(data)):
        most = "2 MiB (booting.rst)" if size_max == SIZE_MAX else str(size_max)
        raise InvalidCase(f"{name}: totalsize={total}: at most {most} and the file's {len(data)}")
    structure_size = size if version >= VERSION else max(total - structure_at, 0)
    for what, at, bytes_ in (
        ("off_mem_rsvmap", reserve_at, 16),
        ("off_dt_struct", structure_at, structure_size),
        ("off_dt_strings", strings_at, strings_size),
    ):
        if at + bytes_ > total:
            raise InvalidCase(f"{name}: {what}={at:#x}+{bytes_:#x}: must lie in totalsize={total:#x}")
    if structure_at % 4:
        raise InvalidCase(f"{name}: off_dt_struct={structure_at:#x}: must be 4-byte aligned")
    structure = data[structure_at : structure_at + structure_size]
    strings = data[strings_at : strings_at + strings_size]
    return Blob(boot, _Parser(structure, strings, name).parse())


def write(blob: Blob, name: str) -> bytes:
    """Return a tree as a blob (version 17).

    :param name: prefix of every error
    :raises InvalidCase: it is larger than a kernel accepts, or a name is not ASCII
    """
    tree = Writer()
    try:
        _write_node(tree, blob.root)
    except UnicodeEncodeError as error:
        raise InvalidCase(f"{name}: {error.object[:60]!a}: a name of a node or property is ASCII") from None
    return tree.to_bytes(blob.boot_cpuid_phys)


def _write_node(tree: Writer, node: Node) -> None:
    tree.begin(node.name.decode("latin-1"))
    for prop, value in node.props.items():
        tree.prop(prop.decode("latin-1"), value)
    for child in node.children:
        _write_node(tree, child)
    tree.end()


class _Parser:
    # Reads a structure block front to back, once.
    def __init__(self, structure: bytes, strings: bytes, name: str) -> None:
        self._structure = structure
        self._strings = strings
        self._name = name
        self._at = 0
        self._names: dict[int, bytes] = {}

    def parse(self) -> Node:
        root: Node | None = None
        path: list[Node] = []
        while (token := self._cell()) != END:
            if token == BEGIN_NODE:
                node = self._begin(len(path))
                if path:
                    path[-1].children.append(node)
                elif root is None:
                    root = node
                else:
                    self._fail("a second root: the tree has one")
                path.append(node)
            elif token == PROP:
                self._prop(path[-1] if path else None)
            elif token == END_NODE:
                if not path:
                    self._fail("END_NODE: no node is open")
                path.pop()
            elif token != NOP:
                self._fail(f"token={token:#x}: must be BEGIN_NODE, END_NODE, PROP, NOP or END")
        if root is None or path:
            self._fail("END: must follow the end of the root node")
        return root

    def _begin(self, depth: int) -> Node:
        if depth >= DEPTH_MAX:
            self._fail(f"a node at depth {depth}: at most {DEPTH_MAX} levels")
        end = self._structure.find(b"\0", self._at, self._at + NAME_MAX + 1)
        if end < 0:
            self._fail(f"node name: must end with NUL within {NAME_MAX} bytes")
        node = Node(self._structure[self._at : end])
        self._at = end + 4 & ~3
        return node

    def _prop(self, node: Node | None) -> None:
        if node is None or node.children:
            self._fail("PROP: properties come before the children of a node")
        if self._at + _CELLS.size > len(self._structure):
            self._fail("PROP: the block ends within it")
        size, name_at = _CELLS.unpack_from(self._structure, self._at)
        at = self._at + _CELLS.size
        if size > len(self._structure) - at:
            self._fail(f"PROP of {size:#x} bytes: must lie in the structure block")
        node.props.setdefault(self._prop_name(name_at), self._structure[at : at + size])
        self._at = at + size + 3 & ~3

    def _prop_name(self, at: int) -> bytes:
        # Cached, because most names are used often. The bound limits the work on a block without NULs.
        name = self._names.get(at)
        if name is None:
            end = self._strings.find(b"\0", at, at + NAME_MAX + 1)
            if end < 0:
                self._fail(
                    f"nameoff={at:#x}: must be a string of at most {NAME_MAX} bytes in the strings block"
                )
            name = self._names[at] = self._strings[at:end]
        return name

    def _cell(self) -> int:
        if self._at + 4 > len(self._structure):
            self._fail("must end with END")
        (cell,) = _CELL.unpack_from(self._structure, self._at)
        self._at += 4
        return int(cell)

    def _fail(self, rule: str) -> NoReturn:
        raise InvalidCase(f"{self._name}: structure block at {self._at:#x}: {rule}")


def _padded(data: bytes) -> bytes:
    # Everything in the structure block starts on a 4-byte boundary.
    return data + bytes(-len(data) % 4)
