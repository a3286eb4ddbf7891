"""The device tree a real kernel boots from: memory, chosen, psci and one node per CPU.

Sources: Devicetree Specification v0.4, chapter 5 (the flat format); Linux v6.12 Documentation/devicetree/
bindings: arm/cpus.yaml, arm/psci.yaml, reserved-memory/reserved-memory.yaml.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from emu.arch.boot import NR_CPUS_MAX
from emu.arch.mpidr import check_hwid
from emu.errors import InvalidCase

_MAGIC, _VERSION, _LAST_COMPATIBLE = 0xD00D_FEED, 17, 16
_BEGIN_NODE, _END_NODE, _PROP, _END = 1, 2, 3, 9
_HEADER_SIZE = 40
_BOOTARGS_MAX = 2048  # COMMAND_LINE_SIZE, arch/arm64/include/uapi/asm/setup.h


class _Flat:
    # A flattened tree, written front to back.
    def __init__(self) -> None:
        self._structure: list[bytes] = []
        self._strings = bytearray()
        self._names: dict[str, int] = {}

    def begin(self, name: str) -> None:
        self._structure.append(struct.pack(">I", _BEGIN_NODE) + _padded(name.encode() + b"\0"))

    def end(self) -> None:
        self._structure.append(struct.pack(">I", _END_NODE))

    def prop(self, name: str, value: bytes = b"") -> None:
        at = self._names.get(name)
        if at is None:
            at = self._names[name] = len(self._strings)
            self._strings += name.encode() + b"\0"
        self._structure.append(struct.pack(">III", _PROP, len(value), at) + _padded(value))

    def text(self, name: str, *values: str) -> None:
        self.prop(name, b"".join(value.encode() + b"\0" for value in values))

    def cell(self, name: str, value: int) -> None:
        self.prop(name, struct.pack(">I", value))

    def u64(self, name: str, *values: int) -> None:
        self.prop(name, struct.pack(f">{len(values)}Q", *values))

    def to_bytes(self, boot_hwid: int) -> bytes:
        structure = b"".join(self._structure) + struct.pack(">I", _END)
        structure_at = _HEADER_SIZE + 16  # an empty memory reservation block, 8-byte aligned
        strings_at = structure_at + len(structure)
        total = strings_at + len(self._strings)
        header = struct.pack(
            ">10I",
            _MAGIC,
            total,
            structure_at,
            strings_at,
            _HEADER_SIZE,
            _VERSION,
            _LAST_COMPATIBLE,
            boot_hwid & 0xFFFF_FFFF,
            len(self._strings),
            len(structure),
        )
        return header + bytes(16) + structure + bytes(self._strings)


def write_devicetree(
    *,
    hwids: Sequence[int],
    boot_cpu: int,
    dram_base: int,
    dram_size: int,
    conduit: str,
    enable_method: str = "psci",
    release_addrs: Sequence[int] = (),
    bootargs: str = "nokaslr",
    reserved: Sequence[tuple[int, int]] = (),
) -> bytes:
    """Return a flattened device tree (version 17) for these CPUs.

    The CPU nodes come in the order of ``hwids``; the kernel numbers them in that order but for the boot CPU,
    which it makes CPU 0 (arch/arm64/kernel/smp.c, of_parse_and_init_cpus).

    :param hwids: MPIDR_EL1 & MPIDR_HWID_BITMASK of each CPU, 1 to 4,096 distinct values
    :param boot_cpu: index into ``hwids``
    :param dram_base: PA, page aligned; ``dram_size`` bytes follow
    :param conduit: "smc" or "hvc", the method of /psci; used when enable_method is "psci"
    :param enable_method: "psci" or "spin-table", of every CPU
    :param release_addrs: PA of the u64 each CPU polls, one per hwid, 8-byte aligned; spin-table only
    :param bootargs: the kernel command line, ASCII
    :param reserved: (PA, bytes) ranges inside DRAM that the kernel maps but never hands out (no "no-map")
    :raises InvalidCase: a value breaks its rule
    """
    _check_cpus(hwids, boot_cpu, enable_method, conduit, release_addrs)
    _check_memory(dram_base, dram_size, reserved)
    if not bootargs.isascii() or not bootargs.isprintable() or len(bootargs) >= _BOOTARGS_MAX:
        raise InvalidCase(
            f"bootargs={bootargs[:60]!r}: must be printable ASCII below {_BOOTARGS_MAX} characters"
        )
    tree = _Flat()
    tree.begin("")
    tree.cell("#address-cells", 2)
    tree.cell("#size-cells", 2)
    tree.text("compatible", "linux,dummy-virt")
    tree.text("model", "emu")
    tree.begin("chosen")
    tree.text("bootargs", bootargs)
    tree.end()
    tree.begin(f"memory@{dram_base:x}")
    tree.text("device_type", "memory")
    tree.u64("reg", dram_base, dram_size)
    tree.end()
    if reserved:
        _add_reserved(tree, reserved)
    if enable_method == "psci":
        tree.begin("psci")
        tree.text("compatible", "arm,psci-1.0", "arm,psci-0.2")
        tree.text("method", conduit)
        tree.end()
    _add_cpus(tree, hwids, enable_method, release_addrs)
    tree.end()
    return tree.to_bytes(hwids[boot_cpu])


def _add_reserved(tree: _Flat, reserved: Sequence[tuple[int, int]]) -> None:
    tree.begin("reserved-memory")
    tree.cell("#address-cells", 2)
    tree.cell("#size-cells", 2)
    tree.prop("ranges")
    for base, size in reserved:
        tree.begin(f"emu@{base:x}")
        tree.u64("reg", base, size)
        tree.end()
    tree.end()


def _add_cpus(tree: _Flat, hwids: Sequence[int], enable_method: str, release_addrs: Sequence[int]) -> None:
    tree.begin("cpus")
    tree.cell("#address-cells", 2)
    tree.cell("#size-cells", 0)
    for cpu, hwid in enumerate(hwids):
        tree.begin(f"cpu@{hwid:x}")
        tree.text("device_type", "cpu")
        tree.text("compatible", "arm,cortex-a72")
        tree.u64("reg", hwid)
        tree.text("enable-method", enable_method)
        if enable_method == "spin-table":
            tree.u64("cpu-release-addr", release_addrs[cpu])
        tree.end()
    tree.end()


def _check_cpus(
    hwids: Sequence[int], boot_cpu: int, enable_method: str, conduit: str, release_addrs: Sequence[int]
) -> None:
    if not 1 <= len(hwids) <= NR_CPUS_MAX:
        raise InvalidCase(f"{len(hwids)} hwids: must be 1 to {NR_CPUS_MAX}")
    if not 0 <= boot_cpu < len(hwids):
        raise InvalidCase(f"boot_cpu={boot_cpu}: must be an index into the {len(hwids)} hwids")
    first: dict[int, int] = {}
    for cpu, hwid in enumerate(hwids):
        check_hwid(hwid, f"hwids[{cpu}]")
        if first.setdefault(hwid, cpu) != cpu:
            raise InvalidCase(
                f"hwids[{cpu}]={hwid:#x}: also hwids[{first[hwid]}]; the kernel refuses duplicates"
            )
    if enable_method not in ("psci", "spin-table"):
        raise InvalidCase(f"enable_method={enable_method!r}: must be psci or spin-table")
    if enable_method == "psci" and conduit not in ("smc", "hvc"):
        raise InvalidCase(f"conduit={conduit!r}: must be smc or hvc (arm/psci.yaml)")
    if len(release_addrs) != (len(hwids) if enable_method == "spin-table" else 0):
        raise InvalidCase(f"{len(release_addrs)} release_addrs: one per hwid for spin-table, none for psci")
    for cpu, address in enumerate(release_addrs):
        if not 0 < address < 1 << 64 or address % 8:
            raise InvalidCase(
                f"release_addrs[{cpu}]={address:#x}: must be a u64 PA, 8-byte aligned (booting.rst)"
            )


def _check_memory(dram_base: int, dram_size: int, reserved: Sequence[tuple[int, int]]) -> None:
    end = dram_base + dram_size
    if dram_base < 0 or dram_size <= 0 or end > 1 << 52 or (dram_base | dram_size) % 4096:
        raise InvalidCase(f"dram={dram_base:#x}+{dram_size:#x}: must be whole 4 KiB pages of a 52-bit PA")
    for number, (base, size) in enumerate(reserved):
        if size <= 0 or base < dram_base or base + size > end:
            raise InvalidCase(
                f"reserved[{number}]={base:#x}+{size:#x}: must lie in {dram_base:#x}+{dram_size:#x}"
            )


def _padded(data: bytes) -> bytes:
    # Everything in the structure block starts on a 4-byte boundary.
    return data + bytes(-len(data) % 4)
