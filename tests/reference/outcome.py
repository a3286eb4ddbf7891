"""What a program leaves behind, and how two of these differ."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from reference.world import DATA, ENTRY_SIZE, LOG, LOG_ENTRIES

END = "end"
_HAS_FAR = (0x20, 0x21, 0x22, 0x24, 0x25, 0x34, 0x35)
_STAGE2_CLASSES = (0x20, 0x24)


class Entry(NamedTuple):
    """One exception, as its handler saw it."""

    vector: int
    esr: int
    far: int
    elr: int
    spsr: int
    hpfar: int

    def __str__(self) -> str:
        el = self.vector >> 12
        return (
            f"EL{el}+{self.vector & 0xFFF:#x} ESR {self.esr:#x} FAR {self.far:#x} ELR {self.elr:#x} "
            f"SPSR {self.spsr:#x}" + (f" HPFAR {self.hpfar:#x}" if self.hpfar else "")
        )


@dataclass(frozen=True)
class Outcome:
    """How a program ended, with the registers and memory that it left.

    :ivar ending: END, or what came in its way
    :ivar general: X0..X30, SP, PC
    """

    ending: str
    general: tuple[int, ...]
    pstate: int
    log: tuple[Entry, ...]
    data: bytes


def read_log(data: bytes) -> tuple[Entry, ...]:
    """Return the entries in the bytes at LOG; FAR and HPFAR only where the architecture defines them."""
    found = []
    for index in range(LOG_ENTRIES):
        entry = Entry(*struct.unpack_from("<6Q", data, index * ENTRY_SIZE))
        if not entry.vector:
            break
        ec, dfsc = entry.esr >> 26, entry.esr & 0x3F
        far = entry.far if ec in _HAS_FAR and not (ec != 0x22 and entry.esr >> 10 & 1) else 0
        stage2 = entry.vector >> 12 == 2 and ec in _STAGE2_CLASSES and (dfsc < 0xC or entry.esr >> 7 & 1)
        found.append(entry._replace(far=far, hpfar=entry.hpfar if stage2 else 0))
    return tuple(found)


def differences(qemu: Outcome, emu: Outcome) -> Iterator[str]:
    """Yield each thing that differs: what QEMU has, then what emu has."""
    if qemu.ending != emu.ending:
        yield f"ending: {qemu.ending} | {emu.ending}"
    for index in range(max(len(qemu.log), len(emu.log))):
        theirs, ours = (side.log[index] if index < len(side.log) else None for side in (qemu, emu))
        if theirs != ours:
            yield f"exception {index}: {theirs} | {ours}"
    for index, (a, b) in enumerate(zip(qemu.general, emu.general, strict=True)):
        if a != b and index != 27:
            name = f"x{index}" if index < 31 else ("sp", "pc")[index - 31]
            yield f"{name}: {a:#x} | {b:#x}"
    if qemu.pstate != emu.pstate:
        yield f"pstate: {qemu.pstate:#x} | {emu.pstate:#x}"
    if qemu.data != emu.data:
        at = next(index for index, (a, b) in enumerate(zip(qemu.data, emu.data, strict=True)) if a != b) & ~7
        a, b = (int.from_bytes(side.data[at : at + 8], "little") for side in (qemu, emu))
        yield f"memory at {DATA + at:#x}: {a:#x} | {b:#x}"


assert LOG < DATA
