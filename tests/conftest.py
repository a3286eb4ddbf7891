"""What all tests share: the real kernels that a developer or CI has at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_HOW = {
    "EMU_KERNEL_612": "the vmlinuz of Debian's linux-image-6.12*-cloud-arm64-unsigned",
    "EMU_KERNEL_61": "the vmlinuz of Debian's linux-image-6.1*-cloud-arm64-unsigned",
    "EMU_KERNEL_16K": "the vmlinuz of Debian's linux-image-6.12*-arm64-16k-unsigned",
    "EMU_KERNEL_SMALL": "a build tree of Linux 6.12, arm64 tinyconfig with SMP, KALLSYMS and PRINTK",
}


@pytest.fixture(scope="session")
def real_kernel() -> Callable[[str], Path]:
    """Return the path that an environment variable names, or skip the test with what to put there."""

    def path(variable: str) -> Path:
        value = os.environ.get(variable)
        if not value:
            pytest.skip(f"set {variable} to {_HOW[variable]}")
        found = Path(value)
        assert found.exists(), f"{variable}={value}: no such file"
        return found

    return path
