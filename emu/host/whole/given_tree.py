"""A device tree that the user brings: which board it describes, and what the kernel gets of it.

The board has the interrupt controller, the timers, the first PL011 and the first bank of memory where the
tree has them. Everything else with a ``compatible`` is disabled in the kernel's copy, and said: a kernel that
probed it would take an external abort.

:source: Devicetree Specification v0.4, 2.3.8 (ranges), 3; Linux v6.12 Documentation/devicetree/bindings:
    interrupt-controller/arm,gic.yaml, arm,gic-v3.yaml, timer/arm,arch_timer.yaml, serial/pl011.yaml
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from emu.arch.flat_tree import Blob, Node, parse, texts, write
from emu.devices.timer import HYP_PHYSICAL, HYP_VIRTUAL, PHYSICAL, VIRTUAL
from emu.errors import InvalidCase, Untestable
from emu.host.whole.board import REDISTRIBUTOR_SIZE, Places
from emu.memory import PAGE_SIZE
from emu.topology.devicetree.read import compile_dts

_CONTROLLERS = {
    b"arm,gic-v3": "gicv3",
    **dict.fromkeys((b"arm,cortex-a15-gic", b"arm,gic-400", b"arm,cortex-a7-gic"), "gicv2"),
}
_TIMER, _UART = b"arm,armv8-timer", b"arm,pl011"
# Nodes without registers that need no device, and buses.
_NO_DEVICE = (
    b"fixed-clock",
    b"fixed-factor-clock",
    b"simple-bus",
    b"arm,psci",
    b"arm,psci-0.2",
    b"arm,psci-1.0",
)
_NOT_DEVICES = (b"cpus", b"chosen", b"aliases", b"memory", b"reserved-memory", b"psci")  # nodes of the root
_SPI, _PPI = 0, 1
_FIRST = {_SPI: 32, _PPI: 16}  # INTID of interrupt 0 of a kind
_SPI_MAX = {"gicv2": 288, "gicv3": 256}
_RAM_ALIGN, _RAM_LEAST, _RAM_MAX = 2 << 20, 64 << 20, 4 << 30
_REGION_MAX, _PA_END = 1 << 28, 1 << 44
_CELLS_MAX = 4  # of an address or a size
_SEEDS = (b"kaslr-seed", b"rng-seed")


class _Place(NamedTuple):
    # A device: its node and path, its registers (PA, bytes).
    node: Node
    path: str
    regions: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class GivenTree:
    """A tree as it was read.

    :ivar name: of its file
    :ivar places: of the board that it describes
    :ivar ram: PA and bytes of the first bank of memory
    :ivar cpus: how many there are
    :ivar said: what is in it and not modelled, in words
    """

    name: str
    blob: Blob
    places: Places
    ram: tuple[int, int]
    cpus: int
    said: list[str] = field(default_factory=list)

    def write(self, ram_size: int, bootargs: str, chosen: Mapping[str, bytes]) -> bytes:
        """Return the blob for the kernel, with so much memory; ``bootargs`` follow those of the tree.

        :raises InvalidCase: it is larger than a kernel accepts
        """
        root = self.blob.root
        banks = [node for node in root.children if _is_memory(node)]
        root.children = [node for node in root.children if node not in banks[1:]]
        banks[0].props[b"reg"] = _cells(root, self.ram[0], ram_size)
        node = root.child(b"chosen")
        if node is None:
            node = Node(b"chosen")
            root.children.append(node)
        for seed in _SEEDS:
            node.props.pop(seed, None)
        own = (node.text(b"bootargs") or b"").decode("latin-1")
        if not own.isascii():
            raise InvalidCase(f"{self.name}: /chosen: bootargs={own[:60]!a}: must be ASCII")
        node.props[b"bootargs"] = texts(f"{own} {bootargs}".strip())
        for name, value in chosen.items():
            node.props.setdefault(name.encode(), value)
        return write(self.blob, self.name)


def read_tree(path: Path, cpus: int) -> GivenTree:
    """Return the tree of a ``.dtb``, or of a ``.dts`` that dtc compiles, and the board for so many CPUs.

    :raises InvalidCase: it cannot be read, or breaks a rule
    :raises Untestable: it has no interrupt controller, no timer or no memory that is modelled
    """
    name = f"dtb={path}"
    try:
        data = compile_dts(path) if path.suffix == ".dts" else path.read_bytes()
    except OSError as error:
        raise InvalidCase(f"{name}: {error.strerror}") from None
    return _Reader(parse(data, name), name, cpus).read()


class _Reader:
    def __init__(self, blob: Blob, name: str, cpus: int) -> None:
        self._blob, self._name, self._cpus = blob, name, cpus
        self._said: list[str] = []
        self._left_out: dict[str, list[str]] = {}  # paths by the first `compatible`

    def read(self) -> GivenTree:
        root = self._blob.root
        found: dict[bytes, _Place] = {}
        for place in list(_devices(root)):
            names = _compatible(place.node)
            kind = next((kind for kind in map(_kind, names) if kind), None)
            if kind and kind not in found:
                found[kind] = place
            elif kind or not any(name in _NO_DEVICE for name in names):
                self._leave_out(place)
        for compatible, (first, *more) in self._left_out.items():
            paths = f"{first} and {len(more)} more" if more else first
            self._said.append(f"{self._name}: {paths} ({compatible}): not modelled, and disabled")
        for kind, what in ((b"gic", "GICv2 or GICv3"), (b"timer", "generic timer (arm,armv8-timer)")):
            if kind not in found:
                raise Untestable(f"{self._name}: no {what} in it")
        ram = self._ram(root)
        places = self._places(found)
        for at, (what, pas) in enumerate(places.regions()):
            taken = [("memory", range(ram[0], sum(ram))), *places.regions()[:at]]
            for other, others in taken:
                if pas.start < others.stop and others.start < pas.stop:
                    raise InvalidCase(f"{self._name}: {what} at {pas.start:#x}: {other} is there")
            size = pas.stop - pas.start
            if (pas.start | size) % PAGE_SIZE or not 0 < size <= _REGION_MAX or pas.stop > _PA_END:
                rule = f"whole pages of {PAGE_SIZE}, at most {_REGION_MAX:#x} bytes below {_PA_END:#x}"
                raise InvalidCase(f"{self._name}: {what} at {pas.start:#x}+{size:#x}: must be {rule}")
        return GivenTree(self._name, self._blob, places, ram, self._cpus, self._said)

    def _leave_out(self, place: _Place) -> None:
        place.node.props[b"status"] = b"disabled\0"
        self._left_out.setdefault(_compatible(place.node)[0].decode("latin-1"), []).append(place.path)

    def _ram(self, root: Node) -> tuple[int, int]:
        banks = [node for node in root.children if _is_memory(node)]
        regions = [region for node in banks for region in _reg(node, root)]
        if not regions:
            raise Untestable(f"{self._name}: no memory in it")
        base, size = regions[0]
        if base % _RAM_ALIGN or size < _RAM_LEAST or base > _PA_END - _RAM_MAX:
            rule = f"2 MiB aligned, {_RAM_LEAST:#x} bytes or more, below {_PA_END:#x}"
            raise InvalidCase(f"{self._name}: memory at {base:#x}+{size:#x}: must be {rule}")
        for start, length in regions[1:]:
            self._said.append(
                f"{self._name}: memory at {start:#x}+{length:#x} is left out: one bank is there"
            )
        return base, min(size, _RAM_MAX) // _RAM_ALIGN * _RAM_ALIGN

    def _redistributors(self, gic: _Place) -> list[tuple[int, int]]:
        # The regions of redistributors, as far as CPUs have one there.
        count = gic.node.cell(b"#redistributor-regions") or 1
        found, left = [], self._cpus
        for pa, size in gic.regions[1 : 1 + count]:
            here = min(left, size // REDISTRIBUTOR_SIZE)
            left -= here
            if here:
                found.append((pa, here * REDISTRIBUTOR_SIZE))
        if left or gic.node.cell(b"redistributor-stride"):
            why = f"{self._cpus} redistributors of {REDISTRIBUTOR_SIZE:#x} bytes are modelled"
            raise Untestable(f"{self._name}: {gic.path}: {why}")
        return found

    def _places(self, found: Mapping[bytes, _Place]) -> Places:
        gic = found[b"gic"]
        controller = next(_CONTROLLERS[name] for name in _compatible(gic.node) if name in _CONTROLLERS)
        if len(gic.regions) < 2:
            raise InvalidCase(f"{self._name}: {gic.path}: reg: must have two regions")
        distributor, second = gic.regions[:2]
        more: tuple[tuple[int, int], ...] = ()
        if controller == "gicv3":
            second, *others = self._redistributors(gic)
            more = tuple(others)
        lines = [intid for kind, intid in _interrupts(found[b"timer"].node) if kind == _PPI]
        if len(lines) < 4 or max(lines) >= _FIRST[_SPI]:
            raise InvalidCase(f"{self._name}: {found[b'timer'].path}: interrupts: must have four PPIs")
        timers = {PHYSICAL: lines[1], VIRTUAL: lines[2], HYP_PHYSICAL: lines[3]}
        timers[HYP_VIRTUAL] = lines[4] if len(lines) > 4 else 28
        uart = found.get(b"uart")
        if uart is None:
            return Places(controller, distributor, second, timers, -1, more=more)
        wired = _interrupts(uart.node)
        if not uart.regions or not wired or wired[0][0] != _SPI or wired[0][1] >= _SPI_MAX[controller]:
            raise Untestable(
                f"{self._name}: {uart.path}: an SPI of the controller below {_SPI_MAX[controller]}"
            )
        return Places(
            controller, distributor, second, timers, uart.regions[0][0], wired[0][1], uart.path, more
        )


def _kind(name: bytes) -> bytes:
    return {_TIMER: b"timer", _UART: b"uart"}.get(name, b"gic" if name in _CONTROLLERS else b"")


def _compatible(node: Node) -> list[bytes]:
    return node.props.get(b"compatible", b"").rstrip(b"\0").split(b"\0")


def _is_memory(node: Node) -> bool:
    return node.text(b"device_type") == b"memory"


def _counts(node: Node) -> tuple[int, int]:
    # Cells of an address and of a size of its children; the specification's values where it has none.
    address, size = node.cell(b"#address-cells"), node.cell(b"#size-cells")
    return min(2 if address is None else address, _CELLS_MAX), min(1 if size is None else size, _CELLS_MAX)


def _numbers(value: bytes, *widths: int) -> Iterator[tuple[int, ...]]:
    # Records of numbers of so many cells each.
    size = 4 * sum(widths)
    for at in range(0, len(value) // size * size if size else 0, size or 1):
        row = []
        for width in widths:
            row.append(int.from_bytes(value[at : at + 4 * width], "big"))
            at += 4 * width
        yield tuple(row)


def _reg(node: Node, parent: Node) -> list[tuple[int, int]]:
    return [(base, size) for base, size in _numbers(node.props.get(b"reg", b""), *_counts(parent))]


def _cells(parent: Node, base: int, size: int) -> bytes:
    address, length = _counts(parent)
    return base.to_bytes(4 * address, "big") + size.to_bytes(4 * length, "big")


def _interrupts(node: Node) -> list[tuple[int, int]]:
    # (SPI or PPI, INTID) of each; of a controller with three cells for one.
    rows = _numbers(node.props.get(b"interrupts", b""), 1, 1, 1)
    return [(kind, _FIRST[kind] + number) for kind, number, _ in rows if kind in _FIRST]


def _devices(root: Node) -> Iterator[_Place]:
    # The enabled nodes with a `compatible` that a CPU can reach, or that have no registers.
    def walk(parent: Node, path: str, to_pa: Callable[[int], int | None]) -> Iterator[_Place]:
        for node in parent.children:
            if node.text(b"status") not in (None, b"okay", b"ok"):
                continue
            if parent is root and node.name.partition(b"@")[0] in _NOT_DEVICES:
                continue
            here = f"{path}/{node.name.decode('latin-1')}"
            if b"compatible" in node.props:
                regions = [(to_pa(base), size) for base, size in _reg(node, parent)]
                yield _Place(node, here, tuple((pa, size) for pa, size in regions if pa is not None))
            if b"ranges" in node.props and node.text(b"status") != b"disabled":
                yield from walk(node, here, _translation(node, parent, to_pa))

    return walk(root, "", lambda address: address)


def _translation(node: Node, parent: Node, to_pa: Callable[[int], int | None]) -> Callable[[int], int | None]:
    # From an address of the children of a bus to a PA; None: no CPU reaches it.
    address, size = _counts(node)
    rows = list(_numbers(node.props[b"ranges"], address, _counts(parent)[0], size))
    if not rows:
        return to_pa

    def translated(child: int) -> int | None:
        for first, at, length in rows:
            if first <= child < first + length:
                return to_pa(at + child - first)
        return None

    return translated
