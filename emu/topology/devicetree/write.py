"""The device tree a real kernel boots from: memory, chosen, psci and one node per CPU.

Sources: Linux v6.12 Documentation/devicetree/bindings: arm/cpus.yaml, arm/psci.yaml,
reserved-memory/reserved-memory.yaml; arch/arm64/kernel/smp.c (of_parse_and_init_cpus).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from emu.arch.flat_tree import NAME_MAX, Writer, texts, u32, u64
from emu.errors import InvalidCase
from emu.topology import Cpu, Topology
from emu.topology.devicetree.cpu_map import phandles, write_cpu_map
from emu.topology.devicetree.names import node_names

_BOOTARGS_MAX = 2048  # COMMAND_LINE_SIZE, arch/arm64/include/uapi/asm/setup.h
_NO_MORE: Mapping[str, bytes] = MappingProxyType({})
# By implementer (MIDR_EL1 31:24) and part (15:4), as in asm/cputype.h; cpus.yaml has a name for models too.
_COMPATIBLE = {
    (0x41, 0xD03): "arm,cortex-a53",
    (0x41, 0xD04): "arm,cortex-a35",
    (0x41, 0xD05): "arm,cortex-a55",
    (0x41, 0xD07): "arm,cortex-a57",
    (0x41, 0xD08): "arm,cortex-a72",
    (0x41, 0xD09): "arm,cortex-a73",
    (0x41, 0xD0B): "arm,cortex-a76",
    (0x41, 0xD0C): "arm,neoverse-n1",
    (0x41, 0xD40): "arm,neoverse-v1",
    (0x41, 0xD49): "arm,neoverse-n2",
}
_COMPATIBLE_MODEL = "arm,armv8"


class Node(NamedTuple):
    """A node of the root with no children: its name with the unit address, its properties in order."""

    name: str
    properties: Mapping[str, bytes]


def write_devicetree(
    topology: Topology,
    *,
    dram_base: int,
    dram_size: int,
    bootargs: str = "nokaslr",
    reserved: Sequence[tuple[int, int]] = (),
    chosen: Mapping[str, bytes] = _NO_MORE,
    nodes: Sequence[Node] = (),
    interrupt_parent: int = 0,
) -> bytes:
    """Return a flattened device tree (version 17) of ``topology``, bad entries included.

    The CPU nodes are in the order of ``topology.cpus``. There is a /psci when an entry uses it, and a cpu-map
    when the topology describes which CPUs share a core. The header names the boot CPU, listed or not, by the
    low half of its hwid.

    :param dram_base: PA, page aligned; ``dram_size`` bytes follow
    :param bootargs: the kernel command line, ASCII
    :param reserved: (PA, bytes) ranges inside DRAM that the kernel maps but never hands out (no "no-map")
    :param chosen: further properties of /chosen; values as :func:`u32` and :func:`u64` return them
    :param nodes: further nodes of the root, devices
    :param interrupt_parent: phandle of the interrupt controller among them; 0: there is none
    :raises InvalidCase: a value breaks its rule, or the blob exceeds 2 MiB
    """
    _check_memory(dram_base, dram_size, reserved)
    tree = _begin_tree()
    tree.prop("compatible", texts("linux,dummy-virt"))
    tree.prop("model", texts("emu"))
    if interrupt_parent:
        tree.prop("interrupt-parent", u32(interrupt_parent))
    _add_chosen(tree, bootargs, chosen)
    tree.begin(f"memory@{dram_base:x}")
    tree.prop("device_type", texts("memory"))
    tree.prop("reg", u64(dram_base, dram_size))
    tree.end()
    if reserved:
        _add_reserved(tree, reserved)
    if any(cpu.enable_method == "psci" for cpu in topology.cpus):
        tree.begin("psci")
        tree.prop("compatible", texts("arm,psci-1.0", "arm,psci-0.2"))
        tree.prop("method", texts(topology.conduit or "smc"))
        tree.end()
    for node in nodes:
        tree.begin(node.name)
        for name, value in node.properties.items():
            tree.prop(name, value)
        tree.end()
    _add_cpus(tree, topology)
    tree.end()
    return tree.to_bytes(topology.boot.hwid & 0xFFFF_FFFF)


def write_stub_devicetree(*, bootargs: str = "nokaslr", chosen: Mapping[str, bytes] = _NO_MORE) -> bytes:
    """Return the tree that an ACPI machine hands over: /chosen and nothing else.

    More nodes would disable ACPI (Linux v6.12 arch/arm64/kernel/acpi.c, dt_is_stub). No CPU is named, so the
    header's boot CPU is 0, as the EFI stub leaves it.

    :param bootargs: the kernel command line, ASCII
    :param chosen: further properties of /chosen; values as :func:`u32` and :func:`u64` return them
    :raises InvalidCase: a value breaks its rule
    """
    tree = _begin_tree()
    _add_chosen(tree, bootargs, chosen)
    tree.end()
    return tree.to_bytes(0)


def _begin_tree() -> Writer:
    tree = Writer()
    tree.begin("")
    tree.prop("#address-cells", u32(2))
    tree.prop("#size-cells", u32(2))
    return tree


def _add_chosen(tree: Writer, bootargs: str, chosen: Mapping[str, bytes]) -> None:
    if not bootargs.isascii() or not bootargs.isprintable() or len(bootargs) >= _BOOTARGS_MAX:
        raise InvalidCase(
            f"bootargs={bootargs[:60]!r}: must be printable ASCII below {_BOOTARGS_MAX} characters"
        )
    if "bootargs" in chosen:
        raise InvalidCase("chosen=bootargs: has a parameter of its own")
    tree.begin("chosen")
    tree.prop("bootargs", texts(bootargs))
    for name, value in chosen.items():
        tree.prop(name, value)
    tree.end()


def _add_reserved(tree: Writer, reserved: Sequence[tuple[int, int]]) -> None:
    tree.begin("reserved-memory")
    tree.prop("#address-cells", u32(2))
    tree.prop("#size-cells", u32(2))
    tree.prop("ranges")
    for base, size in reserved:
        tree.begin(f"emu@{base:x}")
        tree.prop("reg", u64(base, size))
        tree.end()
    tree.end()


def _add_cpus(tree: Writer, topology: Topology) -> None:
    handles = phandles(topology)
    tree.begin("cpus")
    tree.prop("#address-cells", u32(2))
    tree.prop("#size-cells", u32(0))
    if topology.describes_cores:
        write_cpu_map(tree, topology, handles)
    for index, (cpu, name) in enumerate(zip(topology.cpus, node_names(topology), strict=True)):
        _check_cpu(cpu, index)
        tree.begin(name)
        tree.prop("device_type", texts("cpu"))
        tree.prop(
            "compatible", texts(_COMPATIBLE.get((cpu.midr >> 24, cpu.midr >> 4 & 0xFFF), _COMPATIBLE_MODEL))
        )
        tree.prop("reg", u64(cpu.hwid))
        if cpu.enable_method:
            tree.prop("enable-method", texts(cpu.enable_method))
        if cpu.release_addr:
            tree.prop("cpu-release-addr", u64(cpu.release_addr))
        if index in handles:
            tree.prop("phandle", u32(handles[index]))
        tree.end()
    tree.end()


def _check_cpu(cpu: Cpu, index: int) -> None:
    # Refuse values that a node cannot hold. All other bad values are written, to test the kernel with them.
    if not 0 <= cpu.release_addr < 1 << 64:
        raise InvalidCase(f"cpus[{index}].release_addr={cpu.release_addr:#x}: must be a u64 PA")
    for what, text in (("enable_method", cpu.enable_method), ("node", cpu.node)):
        if not text.isascii() or not text.isprintable():
            raise InvalidCase(f"cpus[{index}].{what}={text[:60]!r}: must be printable ASCII")
    if "/" in cpu.node or len(cpu.node) > NAME_MAX or cpu.node.partition("@")[0] == "cpu-map":
        raise InvalidCase(f"cpus[{index}].node={cpu.node[:60]!r}: is no name of a CPU's node")


def _check_memory(dram_base: int, dram_size: int, reserved: Sequence[tuple[int, int]]) -> None:
    end = dram_base + dram_size
    if dram_base < 0 or dram_size <= 0 or end > 1 << 52 or (dram_base | dram_size) % 4096:
        raise InvalidCase(f"dram={dram_base:#x}+{dram_size:#x}: must be whole 4 KiB pages of a 52-bit PA")
    for number, (base, size) in enumerate(reserved):
        if size <= 0 or base < dram_base or base + size > end:
            raise InvalidCase(
                f"reserved[{number}]={base:#x}+{size:#x}: must lie in {dram_base:#x}+{dram_size:#x}"
            )
