"""``emu boot --depth whole --dtb FILE``: the board is the one that a user's device tree describes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from given_boards import (
    CPUS,
    GICV2,
    GICV3,
    board,
    cells,
    clock,
    gic,
    memory,
    node,
    sleep_state,
    timer,
    tree,
    uart,
)
from programs import run_emu

from emu.arch.flat_tree import Node, parse, texts, u32, u64
from emu.arch.psci import Function
from emu.case import Case
from emu.devices.controllers.gicv3 import GicV3
from emu.devices.protocol import WAKE
from emu.errors import EmuError, Untestable
from emu.host.whole.boot import build_whole
from emu.host.whole.ending import How
from emu.host.whole.given_tree import read_tree
from emu.machine.free_turns import FreeTurns
from emu.operation import Kind

Kernel = Callable[[str], Path]
SUSPEND = Function.CPU_SUSPEND64


@pytest.mark.parametrize("compatible", [GICV3, GICV2], ids=["gicv3", "gicv2"])
def test_a_kernel_boots_on_the_board_of_the_tree(
    compatible: bytes, tmp_path: Path, real_kernel: Kernel
) -> None:
    """Memory, controller and UART lie elsewhere than on QEMU's virt."""
    second = 0x20_0000 if compatible == GICV3 else 0x2000
    devices = [gic(compatible, u64(0x2F00_0000, 0x1_0000, 0x2F10_0000, second)), *board()[1:]]
    path = tree(tmp_path / "board.dtb", *devices)
    done = run_emu("boot", real_kernel("EMU_KERNEL_SMALL"), "--depth", "whole", "--dtb", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"smp: Brought up 1 node, {CPUS} CPUs" in done.stdout
    assert "Machine model: a board" in done.stdout


@pytest.mark.parametrize("power_state", [1, 1 << 16], ids=["standby", "power-down"])
def test_cpus_that_idle_in_cpu_suspend_wake_up(
    power_state: int, tmp_path: Path, real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver cpuidle-psci; before the call Linux lets the redistributor sleep (CPU_PM_ENTER).

    Planted: the controller asks for no CPU then.
    """
    path = tree(tmp_path / "board.dtb", *board(), state=sleep_state(power_state))
    choices = {"dtb": path, "until": "panic", "append": "cryptomgr.notests earlycon"}
    case = Case(str(real_kernel("EMU_KERNEL_612")), depth="whole", **choices)
    boot = build_whole(case)
    assert boot.run() is How.REACHED
    called = {row.actor for row in boot.machine.trace if row.kind == Kind.CALL and row.value == SUSPEND}
    assert called == set(range(CPUS))
    monkeypatch.setattr(GicV3, "wakes", lambda *_: False)
    interrupt = FreeTurns.interrupt
    monkeypatch.setattr(
        FreeTurns, "interrupt", lambda free, cpu, line, high: line == WAKE or interrupt(free, cpu, line, high)
    )
    assert build_whole(case).run() is How.STUCK


def test_the_console_is_where_the_tree_has_it(tmp_path: Path, real_kernel: Kernel) -> None:
    path = tree(tmp_path / "board.dtb", *board(node("chosen", bootargs=texts("earlycon"))))
    case = Case(str(real_kernel("EMU_KERNEL_612")), depth="whole", dtb=path, until="earlycon: pl11")
    boot = build_whole(case)
    boot.run()
    assert boot.reached
    assert boot.lines[-1].text.endswith("at MMIO 0x000000001c090000 (options '')")


def test_what_is_not_modelled_is_disabled_and_said(tmp_path: Path) -> None:
    devices = [
        node(f"virtio@{at:x}", compatible=texts("virtio,mmio"), reg=u64(at, 0x200)) for at in (0xA00, 0xC00)
    ]
    off = node("off@0", compatible=texts("a,b"), status=texts("disabled"), reg=u64(0, 1))
    second = uart("serial@1c0a0000", u64(0x1C0A_0000, 0x1000))
    path = Path(tree(tmp_path / "board.dtb", *board(*devices, off, second, memory(0x9000_0000))))
    given = read_tree(path, CPUS)
    assert given.said == [
        f"dtb={path}: /virtio@a00 and 1 more (virtio,mmio): not modelled, and disabled",
        f"dtb={path}: /serial@1c0a0000 (arm,pl011): not modelled, and disabled",
        f"dtb={path}: memory at 0x90000000+0x10000000 is left out: one bank is there",
    ]
    root = parse(given.write(64 << 20, "words", {"rng-seed": b"1"}), "").root
    disabled = {child.name for child in root.children if child.text(b"status") == b"disabled"}
    assert disabled == {b"virtio@a00", b"virtio@c00", b"off@0", b"serial@1c0a0000"}
    (bank,) = [child for child in root.children if child.text(b"device_type") == b"memory"]
    assert bank.props[b"reg"] == u64(0x8000_0000, 64 << 20)
    chosen = root.child(b"chosen")
    assert chosen is not None
    assert chosen.props == {b"bootargs": b"words\0", b"rng-seed": b"1"}


def test_addresses_of_a_bus_are_translated(tmp_path: Path) -> None:
    """Devicetree Specification v0.4, 2.3.8: empty ``ranges`` are the identity; without any, no way."""
    inner = node(
        "motherboard",
        uart("uart@90000", cells(0x9_0000, 0x1000)),
        compatible=texts("simple-bus"),
        n_address_cells=u32(1),
        n_size_cells=u32(1),
        ranges=cells(0, 0, 0x1C00_0000, 0x100_0000),
    )
    outer = node(
        "soc", inner, compatible=texts("simple-bus"), n_address_cells=u32(2), n_size_cells=u32(2), ranges=b""
    )
    i2c = node("i2c@0", uart("uart@1", u32(1)), compatible=texts("a,i2c"), reg=u64(0, 0x1000))
    path = tree(tmp_path / "board.dtb", gic(), timer(), clock(), i2c, outer, memory())
    places = read_tree(Path(path), CPUS).places
    assert (places.uart_pa, places.uart_intid) == (0x1C09_0000, 37)
    assert places.uart_path == "/soc/motherboard/uart@90000"


def test_redistributors_in_several_regions_are_taken_as_far_as_cpus_have_them(tmp_path: Path) -> None:
    """Linux v6.12 Documentation/devicetree/bindings/interrupt-controller/arm,gic-v3.yaml."""
    reg = u64(0x2F00_0000, 0x1_0000, 0x2F10_0000, 0x4_0000, 0x2F20_0000, 0x8_0000, 0x2F30_0000, 0x2_0000)
    several = gic(GICV3, reg)
    several.props[b"#redistributor-regions"] = u32(3)
    places = read_tree(Path(tree(tmp_path / "board.dtb", several, *board()[1:])), CPUS).places
    assert (places.second, places.more) == ((0x2F10_0000, 0x4_0000), ((0x2F20_0000, 0x2_0000),))
    del several.props[b"#redistributor-regions"]
    with pytest.raises(Untestable, match="3 redistributors"):
        read_tree(Path(tree(tmp_path / "other.dtb", several, *board()[1:])), CPUS)


def without(name: str) -> list[Node]:
    """Return a board less the node of this name."""
    return [each for each in board() if each.name.decode().partition("@")[0] != name]


@pytest.mark.parametrize(
    ("devices", "status", "says"),
    [
        (without("gic"), 125, "no GICv2 or GICv3"),
        (without("timer"), 125, "no generic timer"),
        (without("memory"), 125, "no memory in it"),
        ([*without("gic"), gic(GICV3, u64(0x2F00_0000, 0x1_0000))], 2, "must have two regions"),
        (
            [*without("gic"), gic(GICV3, u64(0x2F00_0000, 0x1_0000, 0x2F10_0000, 0x4_0000))],
            125,
            "3 redistributors of 0x20000 bytes are modelled",
        ),
        (
            [*without("gic"), gic(GICV2, u64(0x2F00_0000, 0x1_0000, 0x2F00_1000, 0x2000))],
            2,
            "distributor is there",
        ),
        ([*without("serial"), uart(reg=u64(0x8000_0000, 0x1000))], 2, "memory is there"),
        ([*without("serial"), uart(spi=300)], 125, "an SPI of the controller below 256"),
        ([*without("memory"), memory(0x8000_1000)], 2, "must be 2 MiB aligned"),
    ],
)
def test_a_board_that_cannot_be_is_refused(
    devices: list[Node], status: int, says: str, tmp_path: Path
) -> None:
    with pytest.raises(EmuError, match=says) as refused:
        read_tree(Path(tree(tmp_path / "board.dtb", *devices)), CPUS)
    assert refused.value.exit_status == status


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--gic", "gicv2"), "has a gicv3"),
        (("--firmware", "acpi"), "is a device tree"),
        (("--ram", "512"), "has 256 MiB"),
        (("--topology", "flat:2"), "does too"),
    ],
)
def test_a_choice_that_the_tree_makes_is_refused(
    options: tuple[str, ...], says: str, tmp_path: Path, real_kernel: Kernel
) -> None:
    path = tree(tmp_path / "board.dtb", *board())
    done = run_emu("boot", real_kernel("EMU_KERNEL_SMALL"), "--depth", "whole", "--dtb", path, *options)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_damaged_tree_is_refused_or_read(tmp_path: Path) -> None:
    """Whatever its bytes: an error of emu, or a board and a blob."""
    path = tmp_path / "board.dtb"
    good = Path(tree(path, *board(node("chosen", bootargs=texts("quiet"))))).read_bytes()
    draw, read = random.Random(1), 0
    for _ in range(150):
        data = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0xFF, draw.randrange(256)))
        path.write_bytes(data)
        try:
            given = read_tree(path, CPUS)
            parse(given.write(given.ram[1], "words", {}), "")
            read += 1
        except EmuError:
            pass
    assert 10 < read < 140


def test_other_depths_refuse_a_tree(tmp_path: Path) -> None:
    done = run_emu("boot", "v3", "--dtb", tree(tmp_path / "board.dtb", *board()))
    assert done.returncode == 2
    assert "--dtb" in done.stderr or "dtb=" in done.stderr
