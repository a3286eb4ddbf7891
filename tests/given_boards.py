"""Boards as device trees that a user gives: a GIC, the timer, a UART, memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emu.arch.flat_tree import Blob, Node, texts, u32, u64, write

CPUS = 3
_NAMES = {"device_type": "device_type"}
GICV3 = texts("arm,gic-v3")
GICV2 = texts("arm,gic-400")
_STATE = 9  # phandle


def node(name: str, *children: Node, **props: bytes) -> Node:
    """Return a node; of a name of a property ``_`` is ``-``, and ``n_`` before it is ``#``."""
    named = {_NAMES.get(key, key.replace("n_", "#").replace("_", "-")): value for key, value in props.items()}
    return Node(name.encode(), {key.encode(): value for key, value in named.items()}, list(children))


def cells(*values: int) -> bytes:
    """Return a property of u32s."""
    return b"".join(map(u32, values))


def gic(compatible: bytes = GICV3, reg: bytes = b"") -> Node:
    """Return a controller away from where QEMU's virt has it."""
    reg = reg or u64(0x2F00_0000, 0x1_0000, 0x2F10_0000, 0x20_0000)
    return node(
        "gic@2f000000",
        compatible=compatible,
        n_interrupt_cells=u32(3),
        interrupt_controller=b"",
        reg=reg,
        phandle=u32(1),
    )


def timer() -> Node:
    """Return the timer with QEMU's PPIs."""
    interrupts = cells(*(cell for ppi in (13, 14, 11, 10) for cell in (1, ppi, 4)))
    return node("timer", compatible=texts("arm,armv8-timer"), interrupts=interrupts)


def uart(name: str = "serial@1c090000", reg: bytes = b"", spi: int = 5) -> Node:
    """Return a PL011."""
    reg = reg or u64(0x1C09_0000, 0x1000)
    return node(
        name,
        compatible=texts("arm,pl011", "arm,primecell"),
        reg=reg,
        interrupts=cells(0, spi, 4),
        clocks=cells(2, 2),
        clock_names=texts("uartclk", "apb_pclk"),
    )


def clock() -> Node:
    """Return the UART's clock."""
    return node(
        "clk",
        compatible=texts("fixed-clock"),
        n_clock_cells=u32(0),
        clock_frequency=u32(24_000_000),
        phandle=u32(2),
    )


def memory(base: int = 0x8000_0000, size: int = 256 << 20) -> Node:
    """Return a bank of memory."""
    return node(f"memory@{base:x}", device_type=texts("memory"), reg=u64(base, size))


def sleep_state(power_state: int) -> Node:
    """Return an idle state that CPU_SUSPEND enters."""
    words = {"phandle": _STATE, "arm,psci-suspend-param": power_state}
    words |= {f"{name}-us": 20 for name in ("entry-latency", "exit-latency", "min-residency")}
    return node("cpu-sleep", compatible=texts("arm,idle-state"), **{name: u32(words[name]) for name in words})


def tree(path: Path, *devices: Node, cpus: int = CPUS, state: Node | None = None) -> str:
    """Write a tree with these nodes beside CPUs, with an idle state maybe, and PSCI; give its path."""
    states = [node("idle-states", state, entry_method=texts("psci"))] if state else []
    has_state = {"cpu_idle_states": u32(_STATE)} if state else {}
    each = [
        node(
            f"cpu@{cpu}",
            device_type=texts("cpu"),
            compatible=texts("arm,cortex-a72"),
            reg=u32(cpu),
            enable_method=texts("psci"),
            **has_state,
        )
        for cpu in range(cpus)
    ]
    root = node(
        "",
        node("psci", compatible=texts("arm,psci-1.0"), method=texts("smc")),
        node("cpus", *states, *each, n_address_cells=u32(1), n_size_cells=u32(0)),
        *devices,
        n_address_cells=u32(2),
        n_size_cells=u32(2),
        interrupt_parent=u32(1),
        compatible=texts("a,board"),
        model=texts("a board"),
    )
    path.write_bytes(write(Blob(0, root), "a tree"))
    return str(path)


def board(*more: Node) -> Sequence[Node]:
    """Return all that a kernel needs, and more."""
    return gic(), timer(), clock(), uart(), memory(), *more
