"""A kernel that boots by itself says what it says on QEMU's virt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from reference.logs import CONSOLE, differences
from reference.qemu import missing

from emu.case import Case
from emu.host.whole.boot import build_whole
from emu.host.whole.ending import How

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.mark.parametrize(
    ("variable", "gic", "el", "cpus"),
    [
        ("EMU_KERNEL_612", 2, 1, 4),
        ("EMU_KERNEL_612", 3, 1, 4),
        ("EMU_KERNEL_612", 3, 2, 4),
        ("EMU_KERNEL_612", 3, 1, 32),
        ("EMU_KERNEL_61", 3, 1, 8),
        ("EMU_KERNEL_16K", 3, 1, 2),
        ("EMU_KERNEL_NEWEST", 3, 1, 4),
    ],
)
def test_the_log_is_qemus_up_to_brought_up(
    variable: str, gic: int, el: int, cpus: int, real_kernel: Callable[[str], Path]
) -> None:
    kernel = real_kernel(variable)
    boot = build_whole(
        Case(str(kernel), topology=f"flat:{cpus}", depth="whole", gic=f"gicv{gic}", el=el, append=CONSOLE)
    )
    assert boot.run() is How.REACHED
    ram_mib = boot.machine.memory.size >> 20
    texts = [line.text for line in boot.lines]
    found, compared = differences(kernel, texts, gic=gic, el=el, cpus=cpus, ram_mib=ram_mib)
    assert found == []
    assert compared > 60
