"""The flat format of a device tree (Devicetree Specification v0.4, chapter 5), version 17."""

from __future__ import annotations

import struct

from emu.errors import InvalidCase

SIZE_MAX = 2 << 20  # Documentation/arch/arm64/booting.rst: the blob must not exceed 2 MiB
MAGIC, VERSION, LAST_COMPATIBLE = 0xD00D_FEED, 17, 16
BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9
HEADER = struct.Struct(">10I")


def u32(value: int) -> bytes:
    """Return the property value of one cell.

    :raises InvalidCase: ``value`` is no u32
    """
    if not 0 <= value < 1 << 32:
        raise InvalidCase(f"cell={value:#x}: a cell of a device tree is a u32")
    return struct.pack(">I", value)


def u64(*values: int) -> bytes:
    """Return the property value of two cells for each of ``values``, the high one first.

    :raises InvalidCase: one of them is no u64
    """
    for value in values:
        if not 0 <= value < 1 << 64:
            raise InvalidCase(f"cells={value:#x}: two cells of a device tree are a u64")
    return struct.pack(f">{len(values)}Q", *values)


def texts(*values: str) -> bytes:
    """Return the property value of these ASCII strings."""
    return b"".join(value.encode("ascii") + b"\0" for value in values)


class Writer:
    """A flattened tree, written front to back.

    Directly, because every `append` of the fdt library looks through all siblings: 0.6 s at 4,096 CPUs.
    """

    def __init__(self) -> None:
        self._structure: list[bytes] = []
        self._strings = bytearray()
        self._names: dict[str, int] = {}

    def begin(self, name: str) -> None:
        """Open a node; its properties come before its children."""
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
        :raises InvalidCase: it is larger than a kernel takes
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


def _padded(data: bytes) -> bytes:
    # Everything in the structure block starts on a 4-byte boundary.
    return data + bytes(-len(data) % 4)
