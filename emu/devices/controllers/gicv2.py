"""GICv2: a distributor and CPU interfaces in memory, for up to 8 CPUs, without Security Extensions.

It has 288 INTIDs, 8 bits of priority, and reads as that of QEMU's virt (Arm IHI 0048B).

MODEL: no signal bypasses the interface; there is no virtual interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from emu.devices.controllers.arrays import Arrays
from emu.devices.controllers.bank import PRIVATE, SGIS
from emu.devices.controllers.interface import IDLE, SPURIOUS, Interface
from emu.devices.controllers.interrupts import Interrupts
from emu.devices.controllers.words import Region, Words
from emu.devices.protocol import Board, Device, InterruptController

NAME = "gicv2"
CPUS_MAX = 8

_INTIDS = 288
_GROUP_1 = 1022  # what a read for group 0 gives when the pending interrupt is of group 1
_GICD_IIDR, _GICC_IIDR = 0x0000_043B, 0x0002_043B
_GICD_IDS = (0x04, 0, 0, 0, 0x90, 0xB4, 0x2B, 0x00, 0x0D, 0xF0, 0x05, 0xB1)  # PIDR4..7, PIDR0..3, CIDR0..3
_ACK_CTL, _FIQ_EN, _CBPR, _EOI_MODE = 2, 3, 4, 9  # bits of GICC_CTLR
_POINT_MIN = (0, 1)  # GICC_BPR and GICC_ABPR
_LEVEL_SHIFT = 1


class GicV2(Interrupts):
    """The controller; SGIs are pending by the CPU that has sent them."""

    def __init__(self, board: Board) -> None:
        cpus = len(board.hwids)
        interfaces = [Interface(_LEVEL_SHIFT, _POINT_MIN) for _ in range(cpus)]
        super().__init__(_INTIDS, interfaces, SGIS, board.signal)
        self._sources = [bytearray(16) for _ in range(cpus)]  # of each SGI, a mask of CPUs
        if cpus == 1:  # 4.3.12: no GICD_ITARGETSR, all SPIs go to the only CPU
            self.routes[0] = -1 << PRIVATE

    def regions(self) -> Mapping[str, Device]:
        """Return the distributor, 4 KiB, and the CPU interface, 8 KiB, which each CPU sees as its own."""
        return {
            "distributor": Region(self._distributor(), self._distributor_state, self._set_distributor_state),
            "cpu-interface": Region(self._interface(), self.interfaces_state, self.set_interfaces_state),
        }

    # -- distributor ------------------------------------------------------------------------------

    def _distributor(self) -> Words:
        words, cpus = Words(), len(self.interfaces)
        words.add(0x000, lambda *_: self.groups, self._store_control)
        words.add_constants(0x004, _INTIDS // 32 - 1 | cpus - 1 << 5, _GICD_IIDR)
        Arrays(self).add_to(words, range(_INTIDS))
        if cpus > 1:
            words.add(0x800, lambda cpu, _: 0x0101_0101 << cpu, None, range(PRIVATE // 4))
            words.add(0x800, self._load_targets, self._store_targets, range(PRIVATE // 4, _INTIDS // 4))
        words.add(0xF00, None, self._send)
        words.add(0xF10, self._load_sources, self._clear_sources, range(4))
        words.add(0xF20, self._load_sources, self._set_sources, range(4))
        words.add_constants(0xFD0, *_GICD_IDS)
        return words

    def _store_control(self, _cpu: int, _number: int, value: int, bits: int) -> None:
        if bits & 0xFF:
            self.groups = value & 3
            self.update_all()

    def _load_targets(self, _cpu: int, number: int) -> int:
        return sum(
            1 << 8 * at + cpu
            for cpu, spis in self.routes.items()
            for at in range(4)
            if spis >> 4 * number + at & 1
        )

    def _store_targets(self, _cpu: int, number: int, value: int, bits: int) -> None:
        # 3.2.1: an SPI that has several targets is pending for all until one acknowledges it.
        for at in range(4):
            for cpu in range(len(self.interfaces)) if bits >> 8 * at & 1 else ():
                self.route(cpu, 4 * number + at, bool(value >> 8 * at + cpu & 1))

    def _send(self, cpu: int, _number: int, value: int, _bits: int) -> None:
        # GICD_SGIR, 4.3.15. TargetListFilter 3 is reserved.
        everybody, own = (1 << len(self.interfaces)) - 1, 1 << cpu
        targets = (value >> 16 & everybody, everybody & ~own, own, 0)[value >> 24 & 3]
        while targets:
            target = targets.bit_length() - 1
            targets ^= 1 << target
            self._change_sources(target, value & 15, self._sources[target][value & 15] | own)

    def _change_sources(self, cpu: int, sgi: int, sources: int) -> None:
        self._sources[cpu][sgi] = sources
        bank = self.private[cpu]
        bank.latched = bank.latched & ~(1 << sgi) | bool(sources) << sgi
        self.update(cpu)

    def _load_sources(self, cpu: int, number: int) -> int:
        return int.from_bytes(self._sources[cpu][4 * number : 4 * number + 4], "little")

    def _set_sources(self, cpu: int, number: int, value: int, _bits: int) -> None:
        for sgi, sources in enumerate(value.to_bytes(4, "little"), 4 * number):
            existing = sources & (1 << len(self.interfaces)) - 1
            self._change_sources(cpu, sgi, self._sources[cpu][sgi] | existing)

    def _clear_sources(self, cpu: int, number: int, value: int, _bits: int) -> None:
        for sgi, sources in enumerate(value.to_bytes(4, "little"), 4 * number):
            self._change_sources(cpu, sgi, self._sources[cpu][sgi] & ~sources)

    def _distributor_state(self) -> Any:
        return self.shared_state(), self.private_state(), tuple(bytes(each) for each in self._sources)

    def _set_distributor_state(self, state: Any) -> None:
        shared, private, sources = state
        self._sources = [bytearray(each) for each in sources]
        self.set_shared_state(shared)
        self.set_private_state(private)

    # -- CPU interface ----------------------------------------------------------------------------

    def _interface(self) -> Words:
        words, faces = Words(), self.interfaces
        words.add(0x00, self._load_face_control, self._store_face_control)
        words.add(0x04, lambda cpu, _: faces[cpu].pmr, self._store_mask)
        words.add(0x14, lambda cpu, _: min(faces[cpu].running, 0xFF))
        # BPR, IAR, EOIR, HPPIR and APR, and those of group 1
        for group, offsets in enumerate(((0x08, 0x0C, 0x10, 0x18, 0xD0), (0x1C, 0x20, 0x24, 0x28, 0xE0))):
            point, acknowledge, end, highest, active = offsets
            words.add(point, partial(self._load_point, group), partial(self._store_point, group))
            words.add(acknowledge, partial(self._acknowledge, group))
            words.add(end, None, partial(self._end, group))
            words.add(highest, partial(self._highest, group))
            words.add(active, partial(self._load_active, group), partial(self._store_active, group), range(4))
        words.add_constants(0xFC, _GICC_IIDR)
        words.add(0x1000, None, self._deactivate)
        return words

    def _load_face_control(self, cpu: int, _number: int) -> int:
        face = self.interfaces[cpu]
        flags = face.takes_all << _ACK_CTL | face.fiq_groups << _FIQ_EN | face.is_common << _CBPR
        return face.groups | flags | face.is_split << _EOI_MODE

    def _store_face_control(self, cpu: int, _number: int, value: int, bits: int) -> None:
        value |= self._load_face_control(cpu, 0) & ~bits
        face = self.interfaces[cpu]
        face.groups, face.takes_all = value & 3, bool(value >> _ACK_CTL & 1)
        face.fiq_groups = value >> _FIQ_EN & 1
        face.is_common, face.is_split = bool(value >> _CBPR & 1), bool(value >> _EOI_MODE & 1)
        self.update(cpu)

    def _store_mask(self, cpu: int, _number: int, value: int, bits: int) -> None:
        if bits & 0xFF:
            self.interfaces[cpu].pmr = value & 0xFF
            self.update(cpu)

    def _load_point(self, group: int, cpu: int, _number: int) -> int:
        return self.interfaces[cpu].points[group]

    def _store_point(self, group: int, cpu: int, _number: int, value: int, bits: int) -> None:
        if bits & 0xFF:
            self.interfaces[cpu].points[group] = max(value & 7, _POINT_MIN[group])
            self.update(cpu)

    def _highest(self, group: int, cpu: int, _number: int) -> int:
        # GICC_HPPIR and GICC_AHPPIR, 4.4.7: whether it would be signalled or not, but for its group.
        face = self.interfaces[cpu]
        if face.pending == SPURIOUS or not face.groups >> face.group & 1:
            return SPURIOUS
        if face.group < group:
            return SPURIOUS
        if face.group > group and not face.takes_all:
            return _GROUP_1
        sources = self._sources[cpu][face.pending] if face.pending < 16 else 0
        return face.pending | max((sources & -sources).bit_length() - 1, 0) << 10  # the lowest source first

    def _acknowledge(self, group: int, cpu: int, _number: int) -> int:
        # GICC_IAR and GICC_AIAR, 4.4.4.
        face = self.interfaces[cpu]
        if not (face.irq or face.fiq):
            return SPURIOUS
        value = self._highest(group, cpu, 0)
        if value & 0x3FF < _GROUP_1:
            intid = self.activate(cpu)
            if intid < 16:  # it is active, and pending too if others have sent it
                sources = self._sources[cpu][intid] & self._sources[cpu][intid] - 1
                self._sources[cpu][intid] = sources
                self.private[cpu].latched |= bool(sources) << intid
        return value

    def _end(self, group: int, cpu: int, _number: int, value: int, _bits: int) -> None:
        # GICC_EOIR and GICC_AEOIR, 4.4.5.
        intid = value & 0x3FF
        own = self.bank(cpu, intid).group1 >> intid & 1
        if intid < _INTIDS and self.interfaces[cpu].running != IDLE and own >= group:
            self.end(cpu, own, intid)

    def _deactivate(self, cpu: int, _number: int, value: int, _bits: int) -> None:
        # GICC_DIR, 4.4.15: unpredictable while an end of interrupt deactivates; it is ignored then.
        if self.interfaces[cpu].is_split and value & 0x3FF < _INTIDS:
            self.deactivate(cpu, value & 0x3FF)

    def _load_active(self, group: int, cpu: int, number: int) -> int:
        return self.interfaces[cpu].active[group] >> 32 * number & 0xFFFF_FFFF

    def _store_active(self, group: int, cpu: int, number: int, value: int, bits: int) -> None:
        face = self.interfaces[cpu]
        face.active[group] = face.active[group] & ~(bits << 32 * number) | value << 32 * number
        face.find_running()
        self.update(cpu)


def controller(board: Board) -> InterruptController:
    """Return a GICv2 in its reset state."""
    return GicV2(board)
