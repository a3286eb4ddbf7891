"""What a kernel that boots by itself says here and on QEMU's virt, line by line, but for the lines below."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reference.qemu import console_of

CONSOLE = "earlycon keep_bootcon"
_LAST = "smp: Brought up"
_RUNS = 3  # of QEMU, at most
_STAMP = re.compile(r"^\[[^]]*\] ")
# What may differ, and why.
_OTHERWISE = re.compile(
    "|".join(
        (
            "^Machine model: ",  # the device tree's
            r"^NODE_DATA\(0\) allocated |^NUMA: NODE_DATA ",  # trees are not of one size
            "^psci: SMC Calling Convention v",  # 1.1 here, 1.0 of QEMU 7.2
            "ITS|LPI|its@|^GICv2m: ",  # QEMU has an ITS, or a frame for MSIs
            "^printk: early log buf free: ",  # what the lines above have taken
            "^software IO TLB: mapped |^cma: Reserved ",  # below NODE_DATA, and clear of the tree
            "^CPU features: detected: Hardware dirty bit management",  # FEAT_HAFDBS, which the engine lacks
            "^CPU features: detected: .*Spectre",
            "^kvm ",
        )
    )
)


# Of the line about memory: what trees and the ITS's tables take.
_SIZES = re.compile(r"\d+K(?=/\d+K available| reserved)")


def _lines(texts: Sequence[str]) -> list[str]:
    found = [_SIZES.sub("...", _STAMP.sub("", line.rstrip())) for line in texts]
    last = next((at for at, line in enumerate(found) if line.startswith(_LAST)), len(found))
    return [line for line in found[: last + 1] if line and not _OTHERWISE.search(line)]


@dataclass(frozen=True, slots=True)
class Virt:
    """QEMU's machine: its core, controller, level that the kernel is entered at, CPUs, and RAM."""

    cpu: str
    gic: int
    el: int
    cpus: int
    ram_mib: int


def differences(kernel: Path, texts: Sequence[str], virt: Virt) -> tuple[list[str], int]:
    """Return what differs between the log of a boot here and QEMU's, as a diff, and how many lines are here.

    QEMU's own times make lines of two CPUs change places: of three runs one that differs in nothing will do.

    :param texts: the lines here, printed with :data:`CONSOLE` in the command line
    """
    machine = f"virt,gic-version={virt.gic}" + (",virtualization=on" if virt.el == 2 else "")
    append = f"nokaslr panic=-1 {CONSOLE}"
    ours = _lines(texts)
    for _ in range(_RUNS):
        console = console_of(
            kernel, machine, virt.cpus, append, cpu=virt.cpu, ram_mib=virt.ram_mib, last=_LAST
        )
        theirs = _lines(console.splitlines())
        found = list(difflib.unified_diff(theirs, ours, "QEMU", "emu", n=0, lineterm=""))
        if not found:
            break
    return found, len(ours)
