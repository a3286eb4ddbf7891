"""The registers that are arrays of INTIDs, with 1, 2 or 8 bits of each (Arm IHI 0048B, 4.3; IHI 0069, 12).

They are the same in the distributor of a GICv2, and in distributor and redistributors of a GICv3.
"""

from __future__ import annotations

from functools import partial

from emu.devices.controllers.interrupts import Interrupts
from emu.devices.controllers.words import Words

_U32 = 0xFFFF_FFFF


class Arrays:
    """Enables, pending and active states, groups, priorities and configuration of all interrupts."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._bank, self._changed, self._fixed = interrupts.bank, interrupts.changed, interrupts.fixed

    def add_to(self, words: Words, intids: range) -> None:
        """Add the registers of ``intids`` to a frame; SGIs and PPIs are those of the CPU."""
        masks = range(intids.start // 32, intids.stop // 32)
        words.add(0x080, partial(self._load, "group1"), self._store_group, masks)
        for offset, name in ((0x100, "enabled"), (0x200, "latched"), (0x300, "active")):
            load = partial(self._load, name) if name != "latched" else self._load_pending
            words.add(offset, load, partial(self._set, name), masks)
            words.add(offset + 0x80, load, partial(self._clear, name), masks)
        fours = range(intids.start // 4, intids.stop // 4)
        words.add(0x400, self._load_priority, self._store_priority, fours)
        sixteens = range(intids.start // 16, intids.stop // 16)
        words.add(0xC00, self._load_configuration, self._store_configuration, sixteens)

    def _load(self, name: str, cpu: int, number: int) -> int:
        mask: int = getattr(self._bank(cpu, 32 * number), name)
        return mask >> 32 * number & _U32

    def _load_pending(self, cpu: int, number: int) -> int:
        return self._bank(cpu, 32 * number).pending() >> 32 * number & _U32

    def _set(self, name: str, cpu: int, number: int, value: int, _bits: int) -> None:
        bank, mask = self._bank(cpu, 32 * number), self._writable(name, number, value)
        setattr(bank, name, getattr(bank, name) | mask)
        self._changed(cpu, mask)

    def _clear(self, name: str, cpu: int, number: int, value: int, _bits: int) -> None:
        bank, mask = self._bank(cpu, 32 * number), self._writable(name, number, value)
        setattr(bank, name, getattr(bank, name) & ~mask)
        self._changed(cpu, mask)

    def _writable(self, name: str, number: int, value: int) -> int:
        # The INTIDs of ones in a register.
        if number == 0 and name != "active":
            value &= ~self._fixed
        return value << 32 * number

    def _store_group(self, cpu: int, number: int, value: int, bits: int) -> None:
        bank = self._bank(cpu, 32 * number)
        bank.group1 = bank.group1 & ~(bits << 32 * number) | value << 32 * number
        self._changed(cpu, bits << 32 * number)

    def _load_priority(self, cpu: int, number: int) -> int:
        four = self._bank(cpu, 4 * number).priorities[4 * number : 4 * number + 4]
        return int.from_bytes(four, "little")

    def _store_priority(self, cpu: int, number: int, value: int, bits: int) -> None:
        priorities, start = self._bank(cpu, 4 * number).priorities, 4 * number
        kept = int.from_bytes(priorities[start : start + 4], "little") & ~bits
        priorities[start : start + 4] = (kept | value).to_bytes(4, "little")
        self._changed(cpu, 0xF << start)

    def _load_configuration(self, cpu: int, number: int) -> int:
        edge = self._bank(cpu, 16 * number).edge >> 16 * number
        return sum(2 << 2 * at for at in range(16) if edge >> at & 1)

    def _store_configuration(self, cpu: int, number: int, value: int, bits: int) -> None:
        bank, start = self._bank(cpu, 16 * number), 16 * number
        for at in range(16) if number else ():  # SGIs are edge-triggered
            if bits >> 2 * at + 1 & 1:
                is_edge = value >> 2 * at + 1 & 1
                bank.edge = bank.edge & ~(1 << start + at) | is_edge << start + at
        self._changed(cpu, 0xFFFF << start)
