"""A kernel that boots by itself says what it says on QEMU's virt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from reference.logs import CONSOLE, Virt, differences
from reference.qemu import missing

from emu.case import Case
from emu.host.whole.boot import build_whole
from emu.host.whole.ending import How

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.mark.parametrize(
    ("variable", "cpu", "gic", "el", "cpus"),
    [
        ("EMU_KERNEL_612", "cortex-a72", 2, 1, 4),
        ("EMU_KERNEL_612", "cortex-a72", 3, 1, 4),
        ("EMU_KERNEL_612", "cortex-a72", 3, 2, 4),
        ("EMU_KERNEL_612", "neoverse-n1", 3, 2, 4),  # VHE
        ("EMU_KERNEL_612", "cortex-a72", 3, 1, 32),
        ("EMU_KERNEL_61", "cortex-a72", 3, 1, 8),
        ("EMU_KERNEL_16K", "neoverse-n1", 3, 1, 2),
        ("EMU_KERNEL_NEWEST", "cortex-a72", 3, 1, 4),
    ],
)
def test_the_log_is_qemus_up_to_brought_up(
    variable: str, cpu: str, gic: int, el: int, cpus: int, real_kernel: Callable[[str], Path]
) -> None:
    kernel = real_kernel(variable)
    case = Case(
        str(kernel),
        topology=f"qemu-gicv{gic}:{cpus}",
        depth="whole",
        cpu=cpu,
        gic=f"gicv{gic}",
        el=el,
        append=CONSOLE,
    )
    boot = build_whole(case)
    assert boot.run() is How.REACHED
    virt = Virt(cpu, gic, el, cpus, boot.machine.memory.size >> 20)
    found, compared = differences(kernel, [line.text for line in boot.lines], virt)
    assert found == []
    assert compared > 60
