"""Memory by the kernel's own VAs, through the page tables of a PE."""

from __future__ import annotations

from emu.cpu.pe import PE
from emu.memory import PAGE_SIZE, Memory


class KernelMemory:
    """Reads ``memory`` as ``pe`` has it mapped now; what is not mapped, or is no RAM, reads as None."""

    def __init__(self, memory: Memory, pe: PE) -> None:
        self._memory, self._pe = memory, pe

    def read(self, va: int, size: int) -> bytes | None:
        """Return ``size`` bytes at a VA."""
        found = b""
        while size:
            part = min(size, PAGE_SIZE - va % PAGE_SIZE)
            pa = self._pe.translate(va)
            if pa is None or not self._memory.contains(pa, part):
                return None
            found += self._memory.read_bytes(pa, part)
            va, size = va + part, size - part
        return found

    def u64(self, va: int) -> int | None:
        """Return the u64 at a VA."""
        data = self.read(va, 8)
        return None if data is None else int.from_bytes(data, "little")
