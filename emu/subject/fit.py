"""FIT images: a device tree that holds kernels, packed as it says, and configurations that name one of them.

Sources: Flat Image Tree specification v0.8; Linux v6.12 scripts/make_fit.py (``make image.fit``).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import NoReturn

from emu.arch.flat_tree import MAGIC, Node, parse
from emu.errors import InvalidCase, InvalidSubject
from emu.subject.image import IMAGE_SIZE_MAX

_MAGIC = struct.pack(">I", MAGIC)
_IMAGES = b"\0\0\0\1images\0"  # BEGIN_NODE and the name
_HEAD = 1 << 16
_KINDS = (b"kernel", b"kernel_noload")
_HASHES = ("md5", "sha1", "sha256", "sha384", "sha512")


def is_fit(data: bytes) -> bool:
    """Tell whether a file that begins so is a FIT: a device tree blob with a node /images."""
    return data.startswith(_MAGIC) and _IMAGES in data[:_HEAD]


def fit_payload(data: bytes, name: str) -> bytes:
    """Return the data of the kernel that the default configuration names, packed as they are.

    A FIT without configurations must have one kernel.

    :param name: prefix of every error
    :raises InvalidSubject: a damaged tree, no such kernel, one of another architecture, or damaged data
    """
    try:
        root = parse(data, name, size_max=IMAGE_SIZE_MAX).root
    except InvalidCase as error:
        raise InvalidSubject(str(error)) from None
    image = _kernel(root, name)
    where = f"{name}: FIT image {_text(image.name)!r}"
    _check_is_ours(image, where)
    payload = _data_of(image, data, where)
    for child in image.children:
        if child.name.partition(b"@")[0].partition(b"-")[0] == b"hash":
            _check_hash(child, payload, where)
    return payload


def _text(value: bytes | None) -> str:
    return "nothing" if value is None else value.decode("latin-1")


def _kernel(root: Node, name: str) -> Node:
    images = root.child(b"images")
    if images is None:
        raise InvalidSubject(f"{name}: FIT without /images: no kernel is in it")
    configurations = root.child(b"configurations")
    if configurations is None or not configurations.children:
        kernels = [image for image in images.children if image.text(b"type") in _KINDS]
        if len(kernels) != 1:
            raise InvalidSubject(f"{name}: FIT with {len(kernels)} kernels and no configuration: must be one")
        return kernels[0]
    default = configurations.text(b"default")
    chosen = configurations.children[0] if default is None else configurations.child(default)
    if chosen is None:
        raise InvalidSubject(f"{name}: FIT configuration {_text(default)!r}: not in /configurations")
    wanted = chosen.text(b"kernel")
    image = None if wanted is None else images.child(wanted)
    if image is None:
        where = f"{name}: FIT configuration {_text(chosen.name)!r}: kernel {_text(wanted)!r}"
        raise InvalidSubject(f"{where}: not in /images")
    return image


def _check_is_ours(image: Node, where: str) -> None:
    for prop, accepted in ((b"type", _KINDS), (b"arch", (b"arm64",)), (b"os", (b"linux", None))):
        found = image.text(prop)
        if found not in accepted:
            words = " or ".join(_text(each) for each in accepted if each is not None)
            raise InvalidSubject(f"{where}: {prop.decode()} {_text(found)!r}: must be {words}")
    load, entry = image.props.get(b"load"), image.props.get(b"entry")
    if image.text(b"type") == b"kernel" and entry is not None and load is not None and entry != load:
        shown = f"{int.from_bytes(entry, 'big'):#x}, loaded at {int.from_bytes(load, 'big'):#x}"
        raise InvalidSubject(f"{where}: entered at {shown}: an arm64 Image is entered at its first byte")


def _data_of(image: Node, data: bytes, where: str) -> bytes:
    # In the tree, or behind it at an offset from its end, or from the start of the file.
    inside = image.props.get(b"data")
    if inside is not None:
        return inside
    size, at, offset = (image.cell(prop) for prop in (b"data-size", b"data-position", b"data-offset"))
    if at is None and offset is not None:
        (total,) = struct.unpack_from(">I", data, 4)
        at = (total + 3 & ~3) + offset
    if size is None or at is None:
        _fail(where, "no data: must have data, or data-size and data-position or data-offset")
    if at + size > len(data):
        _fail(where, f"its data end at {at + size:#x}: the file has {len(data):#x} bytes")
    return data[at : at + size]


def _check_hash(node: Node, payload: bytes, where: str) -> None:
    # Of an algorithm that is not known here nothing is said.
    algorithm, value = _text(node.text(b"algo")), node.props.get(b"value", b"")
    if algorithm == "crc32":
        found = struct.pack(">I", zlib.crc32(payload))
    elif algorithm in _HASHES:
        found = hashlib.new(algorithm, payload, usedforsecurity=False).digest()
    else:
        return
    if found != value:
        _fail(where, f"{algorithm} {value[:8].hex()}: its data have {found[:8].hex()}")


def _fail(where: str, rule: str) -> NoReturn:
    raise InvalidSubject(f"{where}: {rule}")
