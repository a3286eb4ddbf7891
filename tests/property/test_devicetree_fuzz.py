"""Damaged device trees: each gives a topology or one line that names the file, in a bounded number of steps.

A failure prints ``SEED:NUMBER``; ``_mutant(seed, number)`` makes that blob again.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import fdt
import pytest

import emu.topology.devicetree
from emu.arch.flat_tree import BEGIN_NODE, END, END_NODE, HEADER, NOP, PROP, Node, parse, u32
from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.devicetree.read import read_devicetree
from emu.topology.devicetree.write import write_devicetree

_NAME = "mutant.dtb"
_MUTANTS = 3600  # per seed
_DRAM: dict[str, Any] = {"dram_base": 0x4000_0000, "dram_size": 0x1000_0000}
_EDGES = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
    0x7F,
    0xFF,
    0x100,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFC,
    0xFFFF_FFFF,
)
# Lines of Python per 4 bytes of a blob, which is one token at most, and what any blob costs.
_LINES_PER_CELL, _LINES_ONCE = 14, 400


def _ours() -> bytes:
    cpus = (
        Cpu(0, enable_method="psci", core=0),
        Cpu(1, enable_method="psci", core=0, thread=1),
        Cpu(0x1_0000_0100, enable_method="spin-table", release_addr=0x4F00_0000, socket=1, core=0),
        Cpu(0x1_0000_0100),
    )
    return write_devicetree(Topology("ours", cpus, conduit="hvc"), **_DRAM, reserved=[(0x4F00_0000, 0x1000)])


def _like_qemus() -> bytes:
    # What QEMU's virt machine says of 8 CPUs, with a few of its devices, by the fdt library.
    tree = fdt.FDT()
    tree.header.version = 17
    for path, props in (
        (
            "/",
            {
                "interrupt-parent": 0x8009,
                "#size-cells": 2,
                "#address-cells": 2,
                "compatible": "linux,dummy-virt",
            },
        ),
        (
            "/psci",
            {
                "method": "hvc",
                "compatible": ["arm,psci-1.0", "arm,psci-0.2", "arm,psci"],
                "cpu_on": 0xC4000003,
            },
        ),
        (
            "/pl011@9000000",
            {"interrupts": [0, 1, 4], "reg": [0, 0x9000000, 0, 0x1000], "compatible": "arm,pl011"},
        ),
        ("/intc@8000000/v2m@8020000", {"phandle": 0x800A, "msi-controller": None}),
        ("/cpus", {"#size-cells": 0, "#address-cells": 1}),
    ):
        for name, value in props.items():
            tree.set_property(name, value, path)
    for cpu in range(8):
        core = f"/cpus/cpu-map/socket{cpu >> 2}/cluster{cpu >> 1 & 1}/core0/thread{cpu & 1}"
        tree.set_property("cpu", 0x8008 - cpu, core)
    for cpu in range(8):
        for name, value in (
            ("phandle", 0x8008 - cpu),
            ("reg", cpu),
            ("enable-method", "psci"),
            ("compatible", "arm,cortex-a57"),
            ("device_type", "cpu"),
        ):
            tree.set_property(name, value, f"/cpus/cpu@{cpu}")
    return bytes(tree.to_dtb(last_comp_version=16, boot_cpuid_phys=0))


def _64_cpus() -> bytes:
    cpus = tuple(
        Cpu(n >> 4 << 8 | n & 15, enable_method="psci", cluster=n >> 4, core=n & 15) for n in range(64)
    )
    return write_devicetree(Topology("64", cpus, boot_cpu=63), **_DRAM)


_SEEDS: dict[str, Callable[[], bytes]] = {"ours": _ours, "like-qemus": _like_qemus, "64-cpus": _64_cpus}


def _flip(blob: bytearray, pick: random.Random) -> None:
    for _ in range(pick.choice((1, 1, 2, 8, 64))):
        blob[pick.randrange(len(blob))] ^= 1 << pick.randrange(8)


def _truncate(blob: bytearray, pick: random.Random) -> None:
    del blob[pick.randrange(len(blob)) :]
    if len(blob) >= 8 and pick.random() < 0.5:
        struct.pack_into(">I", blob, 4, len(blob))


def _splice(blob: bytearray, pick: random.Random) -> None:
    # A piece of the tree in another place, whole tokens more often than not.
    align = pick.choice((1, 4, 4))
    start, at = (pick.randrange(len(blob)) // align * align for _ in range(2))
    piece = blob[start : start + align * pick.randrange(1, 64)]
    blob[at : at + pick.choice((0, len(piece)))] = piece


def _edge_in_header(blob: bytearray, pick: random.Random) -> None:
    at = 4 * pick.randrange(10)
    old = struct.unpack_from(">I", blob, at)[0]
    value = pick.choice((*_EDGES, old - 4, old - 1, old + 1, old + 4, len(blob)))
    struct.pack_into(">I", blob, at, value & 0xFFFF_FFFF)


def _edge_in_cell(blob: bytearray, pick: random.Random) -> None:
    # Tokens, lengths, name offsets and cells all lie on 4 bytes.
    for _ in range(pick.choice((1, 1, 3))):
        struct.pack_into(">I", blob, 4 * pick.randrange(10, len(blob) // 4), pick.choice(_EDGES))


def _nest(blob: bytearray, pick: random.Random) -> None:
    # More tokens at a token or a name that looks like one, the sizes in the header kept right.
    name = pick.choice((b"\0\0\0\0", b"cpus\0\0\0\0", b"cpu@\0\0\0\0", b"cluster0\0\0\0\0", b"cpu-map\0"))
    count = pick.choice((1, 2, 60, 64, 65, 1000))
    begin, end = struct.pack(">I", BEGIN_NODE) + name, struct.pack(">I", END_NODE)
    more = pick.choice((begin * count + end * count, (begin + end) * count, begin * count, end * count))
    at = pick.choice([at for at in range(56, len(blob), 4) if blob[at : at + 4] in (begin[:4], end)] or [40])
    blob[at:at] = more
    for field in (4, 12, 36):
        grown = struct.unpack_from(">I", blob, field)[0] + len(more)
        struct.pack_into(">I", blob, field, grown & 0xFFFF_FFFF)


def _retype(blob: bytearray, pick: random.Random) -> None:
    # One name for another, and one kind of node for another.
    old, new = pick.sample(
        (b"cpu@", b"cpus", b"reg\0", b"core", b"sock", b"clus", b"thre", b"psci", b"fail"), 2
    )
    at = blob.find(old, pick.randrange(len(blob)))
    if at >= 0:
        blob[at : at + 4] = new


_MUTATORS = (_flip, _truncate, _splice, _edge_in_header, _edge_in_cell, _nest, _retype)


def _mutant(seed: bytes, number: int) -> bytes:
    pick = random.Random(number)
    blob = bytearray(seed)
    for _ in range(pick.choice((1, 1, 1, 2))):
        if len(blob) > HEADER.size + 4:
            pick.choice(_MUTATORS)(blob, pick)
    return bytes(blob)


def _read(blob: bytes) -> Topology | None:
    # Anything but these two outcomes escapes, and pytest shows it.
    try:
        topology = read_devicetree(blob, _NAME)
    except InvalidCase as refused:
        text = str(refused)
        assert text.startswith(f"{_NAME}: "), text
        assert text.isprintable(), text
        return None
    assert topology.name == _NAME
    return topology


@contextmanager
def _counted_lines() -> Iterator[list[int]]:
    # Lines of the package that run meanwhile.
    folder = str(Path(emu.topology.devicetree.__file__).parent)
    lines = [0]

    def on_line(frame: FrameType, event: str, argument: object) -> Any:
        lines[0] += event == "line"
        return on_line

    def on_call(frame: FrameType, event: str, argument: object) -> Any:
        return on_line if frame.f_code.co_filename.startswith(folder) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield lines
    finally:
        sys.settrace(before)


def _steps_max(blob: bytes) -> int:
    return _LINES_ONCE + _LINES_PER_CELL * len(blob) // 4


def _shape(node: Node) -> Any:
    return (
        node.name.decode(),
        sorted(map(bytes.decode, node.props)),
        [_shape(child) for child in node.children],
    )


def _shape_of_fdt(node: fdt.Node) -> Any:
    name = "" if node.name == "/" else node.name
    return (name, sorted(prop.name for prop in node.props), [_shape_of_fdt(child) for child in node.nodes])


@pytest.mark.parametrize("seed", _SEEDS)
def test_a_mutant_gives_a_topology_or_one_line(seed: str) -> None:
    original = _SEEDS[seed]()
    outcomes = {True: 0, False: 0}
    for number in range(_MUTANTS):
        blob = _mutant(original, number)
        try:
            outcomes[_read(blob) is not None] += 1
        except Exception as escaped:
            pytest.fail(f"{seed}:{number}: {type(escaped).__name__}: {escaped}")
    # Neither of them is rare, or the mutations say little.
    assert min(outcomes.values()) > _MUTANTS // 5, outcomes


@pytest.mark.parametrize("seed", _SEEDS)
def test_the_steps_of_a_mutant_are_bounded_by_its_size(seed: str) -> None:
    original = _SEEDS[seed]()
    for number in range(0, _MUTANTS, 30):
        blob = _mutant(original, number)
        with _counted_lines() as lines:
            _read(blob)
        assert lines[0] <= _steps_max(blob), f"{seed}:{number}"


@pytest.mark.parametrize("seed", _SEEDS)
def test_the_fdt_library_sees_the_same_tree_where_it_sees_one(seed: str) -> None:
    """It refuses more (NOPs, a name twice, names that are not ASCII) and bounds less."""
    original = _SEEDS[seed]()
    compared = 0
    for number in range(0, _MUTANTS, 15):
        blob = _mutant(original, number)
        try:
            ours = parse(blob, _NAME).root
            theirs = fdt.parse_dtb(blob).root
        except Exception:  # whatever the library raises for a blob it cannot read
            continue
        # The library takes what follows a NUL for no part of a name, and "/" for the root's.
        assert _shape(ours) == _shape_of_fdt(theirs), f"{seed}:{number}"
        compared += 1
    assert compared > _MUTANTS // 15 // 10


def _blob(*structure: bytes, strings: bytes = b"") -> bytes:
    block = b"".join(structure)
    at = HEADER.size + 16
    header = HEADER.pack(
        0xD00D_FEED,
        at + len(block) + len(strings),
        at,
        at + len(block),
        HEADER.size,
        17,
        16,
        0,
        len(strings),
        len(block),
    )
    return header + bytes(16) + block + strings


def _begin(name: bytes) -> bytes:
    return u32(BEGIN_NODE) + name + b"\0" + bytes(-(len(name) + 1) % 4)


def _many(size: int) -> dict[str, bytes]:
    # What costs most per byte, or would with a look back.
    root, end, done = _begin(b""), u32(END_NODE), u32(END_NODE) + u32(END)
    cpus, cpu_map = _begin(b"cpus"), _begin(b"cpu@0") + end + _begin(b"cpu-map")
    deep = _begin(b"cluster0") * 60
    prop = u32(PROP) + u32(0) + u32(0)
    cores = b"".join(_begin(b"core%d" % number) + end for number in range(size // 20))
    names = range(0, size // 2 - 256, 24)
    return {
        "NOPs": _blob(root, u32(NOP) * (size // 4), done),
        "nodes": _blob(root, (_begin(b"") + end) * (size // 12), done),
        "siblings": _blob(root, b"".join(_begin(b"%d" % n) + end for n in range(size // 16)), done),
        "properties": _blob(root, prop * (size // 12), done, strings=b"a\0"),
        "long names": _blob(
            root,
            b"".join(u32(PROP) + u32(0) + u32(at) for at in names),
            done,
            strings=(b"a" * 250 + b"\0") * (size // 502),
        ),
        "CPUs": _blob(root, cpus, (_begin(b"cpu") + end) * (size // 12), end, done),
        "cores": _blob(root, cpus, cpu_map, deep, cores, end * 61, end, done),
        "clusters": _blob(root, cpus, cpu_map, (deep + end * 60) * (size // 1200), end, end, done),
        "compatible": _blob(
            root, u32(PROP) + u32(size) + u32(0) + bytes(size), done, strings=b"compatible\0"
        ),
    }


@pytest.mark.parametrize("kind", _many(0))
def test_what_is_made_to_be_slow_is_linear(kind: str) -> None:
    blob = _many(1 << 17)[kind]
    with _counted_lines() as lines:
        _read(blob)
    assert lines[0] <= _steps_max(blob)
