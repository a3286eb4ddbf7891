"""Devices in a case: a real kernel's own early console, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from programs import run_emu

DEVICE = ("--device", "pl011@0x9000000")


def test_a_kernel_prints_its_early_console_through_the_pl011(real_kernel: Callable[[str], Path]) -> None:
    kernel = str(real_kernel("EMU_KERNEL_612"))
    done = run_emu("boot", kernel, "--cpus", "2", *DEVICE, "--append", "earlycon=pl011,0x9000000")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.partition("] ")[2] for line in done.stdout.splitlines() if line.startswith("[ ")]
    assert "Booting Linux on physical CPU 0x0000000000 [0x410fd083]" in lines[0]
    assert any("psci: PSCIv1.1 detected in firmware." in line for line in lines)
    assert lines[-2:] == ["smp: Brought up 1 node, 2 CPUs", "CPU: All CPU(s) started at EL1"]
    assert "device=pl011@0x9000000" in done.stdout.splitlines()[-1]
    without = run_emu("boot", kernel, "--cpus", "2", "--append", "earlycon=pl011,0x9000000")
    assert without.returncode != 0  # the planted twin: nothing is there, so the kernel's first store aborts


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [
        ("boot", ["--device", "uart@0x9000000"], "device=uart@0x9000000: not "),
        ("boot", ["--device", "pl011@0x40000000"], "pl011 lies in RAM, from 0x40000000 on"),
        ("explore", [*DEVICE], "the state of a device cannot be explored"),
    ],
)
def test_a_device_that_cannot_be_is_one_line(command: str, arguments: list[str], says: str) -> None:
    done = run_emu(command, "v3", "--cpus", "2", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr


def test_a_loop_that_stores_to_a_device_ends_at_its_bound(tmp_path: Path) -> None:
    """A look ahead of it comes to the store, which has no memory that could be restored."""
    path = tmp_path / "prints.S"
    loop = "main: movz x1, #0x900, lsl #16\n mov w2, #10\nloop: str w2, [x1]\n b loop\n"
    path.write_text(f"/* prints - a loop that prints for ever\n *\n * start: boot main\n */\n{loop}")
    done = run_emu("boot", path, "--cpus", "1", *DEVICE, "--instructions-max", "100000")
    assert (done.returncode, done.stderr) == (125, "")
    assert "limit of 100000 instructions" in done.stdout
