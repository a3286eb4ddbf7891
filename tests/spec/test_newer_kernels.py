"""Debian's newest kernels, whose symbols are in no file but the Image: each way in, one boot each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from booting import run

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
