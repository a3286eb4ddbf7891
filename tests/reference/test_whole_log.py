"""A kernel that boots by itself says what it says on QEMU's virt, line by line, but for the lines below."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from reference.qemu import console_of, missing

from emu.case import Case
from emu.host.whole.boot import build_whole
from emu.host.whole.ending import How

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

_LAST = "smp: Brought up"
_RUNS = 3  # of QEMU, at most
_STAMP = re.compile(r"^\[[^]]*\] ")
# What may differ, and why.
_OTHERWISE = re.compile(
    "|".join(
        (
            "^Machine model: ",  # the device tree's
            r"^NODE_DATA\(0\) allocated ",  # trees are not of one size
            "^psci: SMC Calling Convention v",  # 1.1 here, 1.0 of QEMU 7.2
            "ITS|LPI|^GICv2m: ",  # QEMU has an ITS, or a frame for MSIs
            "^software IO TLB: mapped ",  # below NODE_DATA
            "^CPU features: detected: (Virtualization Host Extensions|.*Spectre)",
            "^kvm ",
        )
    )
)


def _lines(log: str) -> list[str]:
    found = [_STAMP.sub("", line.rstrip()) for line in log.splitlines()]
    last = next(number for number, line in enumerate(found) if line.startswith(_LAST))
    return [line for line in found[: last + 1] if line and not _OTHERWISE.search(line)]


@pytest.mark.parametrize(
    ("variable", "gic", "el"),
    [
        ("EMU_KERNEL_612", "gicv2", 1),
        ("EMU_KERNEL_612", "gicv3", 1),
        ("EMU_KERNEL_612", "gicv3", 2),
        ("EMU_KERNEL_NEWEST", "gicv3", 1),
    ],
)
def test_the_log_is_qemus_up_to_brought_up(
    variable: str, gic: str, el: int, real_kernel: Callable[[str], Path]
) -> None:
    kernel, cpus = real_kernel(variable), 4
    console = "earlycon keep_bootcon"
    boot = build_whole(
        Case(str(kernel), topology=f"flat:{cpus}", depth="whole", gic=gic, el=el, append=console)
    )
    assert boot.run() is How.REACHED
    machine = f"virt,gic-version={gic[-1]}" + (",virtualization=on" if el == 2 else "")
    ours = _lines("\n".join(line.text for line in boot.lines))
    assert len(ours) > 60
    for _ in range(_RUNS):  # of which each has times of its own, and lines of two CPUs may change places
        theirs = _lines(console_of(kernel, machine, cpus, f"nokaslr panic=-1 {console}"))
        differing = list(difflib.unified_diff(theirs, ours, "QEMU", "emu", n=0, lineterm=""))
        if not differing:
            break
    assert differing == []
