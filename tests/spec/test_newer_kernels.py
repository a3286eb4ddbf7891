"""Debian's newest kernels, whose symbols are in no file but the Image: each way in, one boot each."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from booting import run
from programs import run_emu

_WAYS = {
    "EMU_KERNEL_618": ("topology=flat:8", "firmware=acpi el=2 topology=flat:4"),
    "EMU_KERNEL_NEWEST": (
        "topology=flat:8",
        "firmware=acpi el=2 topology=flat:4",
        "enable-method=spin-table el=2 topology=flat:4",
        "bringup=serial cycle=1 memory=caches topology=flat:3",
    ),
}


@pytest.mark.parametrize(("kernel", "way"), [(kernel, way) for kernel in _WAYS for way in _WAYS[kernel]])
def test_every_cpu_comes_up(real_kernel: Callable[[str], Path], kernel: str, way: str) -> None:
    done = run(f"{real_kernel(kernel)} {way}")
    assert done.messages == []
    assert set(done.outcomes) == {"online"}
    assert len(done.outcomes) == int(way[-1])


def test_the_log_of_a_kernel_that_boots_by_itself_is_text(real_kernel: Callable[[str], Path]) -> None:
    """Its struct printk_info is longer than that of others: CONFIG_PRINTK_EXECUTION_CTX."""
    done = run_emu("boot", real_kernel("EMU_KERNEL_NEWEST"), "--cpus", "2", "--depth", "whole")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) > 60
    assert re.match(r"\[ +0\.000000\] Linux version \d+\.\d+", lines[1])
    assert all(re.fullmatch(r"\[ +\d\.\d{6}\] [\t -~]*", line) for line in lines)
    assert "smp: Brought up 1 node, 2 CPUs" in lines[-1]
