"""GICv3: a distributor and redistributors in memory, CPU interfaces by system registers; no LPIs.

It has 256 INTIDs, affinity routing, a single Security state (GICD_CTLR.DS), and reads as that of QEMU's virt
(Arm IHI 0069).

MODEL: there is no virtual interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from emu.arch.mpidr import AFF0
from emu.arch.sysreg import Encoding
from emu.devices.controllers.arrays import Arrays
from emu.devices.controllers.bank import PRIVATE
from emu.devices.controllers.icc import LEVEL_SHIFT, POINT_MIN, SystemInterface
from emu.devices.controllers.interface import Interface
from emu.devices.controllers.interrupts import Interrupts
from emu.devices.controllers.words import Region, Words
from emu.devices.protocol import Board, Device, InterruptController

NAME = "gicv3"
CPUS_MAX = 512

_INTIDS = 256
_IIDR = 0x0000_043B
# PIDR4..7, PIDR0..3, CIDR0..3; PIDR0 tells the distributor and redistributors.
_IDS = (0x44, 0, 0, 0, 0x92, 0xB4, 0x3B, 0x00, 0x0D, 0xF0, 0x05, 0xB1)
_REDISTRIBUTOR_IDS = (*_IDS[:4], 0x93, *_IDS[5:])
_IDS_AT = 0xFFD0
_ARE, _DS = 1 << 4, 1 << 6  # of GICD_CTLR: both always set
_ID_BITS, _A3V, _NO_1_OF_N, _RSS = 15 << 19, 1 << 24, 1 << 25, 1 << 26  # of GICD_TYPER
_AFFINITY = 0xFF_00FF_FFFF  # of GICD_IROUTER
_LAST, _COMMON_LPI_AFF = 1 << 4, 1 << 24  # of GICR_TYPER
_SLEEP, _ASLEEP = 1 << 1, 1 << 2  # of GICR_WAKER: ProcessorSleep, ChildrenAsleep
_FRAME_SHIFT = 16  # RD_base and SGI_base of each CPU, 64 KiB each


class GicV3(Interrupts):
    """The controller, with the registers of its CPU interfaces."""

    def __init__(self, board: Board) -> None:
        interfaces = [Interface(LEVEL_SHIFT, POINT_MIN, fiq_groups=1) for _ in board.hwids]
        super().__init__(_INTIDS, interfaces, 0, board.signal)
        self.hwids = board.hwids
        self._redistributors = board.redistributors or (len(board.hwids),)
        assert sum(self._redistributors) == len(board.hwids), "each CPU has one"
        self.lasts = frozenset(end - 1 for end in accumulate(self._redistributors))
        self._cpu_of = {hwid: cpu for cpu, hwid in enumerate(board.hwids)}
        self._has_range_selector = any(hwid & 0xF0 << AFF0[1] for hwid in board.hwids)
        self._routers = [0] * _INTIDS  # GICD_IROUTER
        for interface in self.interfaces:
            interface.is_asleep = True
        for intid in range(PRIVATE, _INTIDS):
            self._route(intid, 0)
        self._icc = SystemInterface(self, self._cpu_of, self._has_range_selector)
        self.encodings = self._icc.encodings

    def regions(self) -> Mapping[str, Device]:
        """Return the distributor, 64 KiB, and the redistributors, 128 KiB for each CPU in order.

        They are called ``redistributors``, and those of further regions ``redistributors-1`` and so on.
        """
        found: dict[str, Device] = {
            "distributor": Region(self._distributor(), self._distributor_state, self._set_distributor_state)
        }
        for region, end in enumerate(accumulate(self._redistributors)):
            name = f"redistributors-{region}" if region else "redistributors"
            found[name] = _Redistributors(self, range(end - self._redistributors[region], end))
        return found

    def read(self, cpu: int, encoding: Encoding, now: int) -> int:
        """Return a register of the CPU interface, u64; an acknowledge has its effect."""
        return self._icc.read(cpu, encoding)

    def look(self, cpu: int, encoding: Encoding) -> int | None:
        """Return what a register of the CPU interface reads, u64, without effect; None: it is write-only."""
        return self._icc.look(cpu, encoding)

    def write(self, cpu: int, encoding: Encoding, value: int, now: int) -> None:
        """Write a register of the CPU interface."""
        self._icc.write(cpu, encoding, value)

    def reset(self, cpu: int, now: int) -> None:
        """Reset the CPU interface of ``cpu``, which is in its power domain; its redistributor is not."""
        self.interfaces[cpu].reset(POINT_MIN)
        self.update(cpu)

    # -- distributor ------------------------------------------------------------------------------

    def _distributor(self) -> Words:
        words = Words()
        words.add(0x000, lambda *_: _ARE | _DS | self.groups, self._store_control)
        selector = _RSS if self._has_range_selector else 0
        words.add_constants(0x004, _INTIDS // 32 - 1 | _ID_BITS | _A3V | _NO_1_OF_N | selector, _IIDR)
        Arrays(self).add_to(words, range(PRIVATE, _INTIDS))
        words.add(0x6000, self._load_router, self._store_router, range(2 * PRIVATE, 2 * _INTIDS))
        words.add_constants(_IDS_AT, *_IDS)
        return words

    def _store_control(self, _cpu: int, _number: int, value: int, bits: int) -> None:
        if bits & 0xFF:
            self.groups = value & 3
            self.update_all()

    def _load_router(self, _cpu: int, number: int) -> int:
        return self._routers[number // 2] >> 32 * (number % 2) & 0xFFFF_FFFF

    def _store_router(self, _cpu: int, number: int, value: int, bits: int) -> None:
        shift = 32 * (number % 2)
        self._route(number // 2, self._routers[number // 2] & ~(bits << shift) | value << shift)

    def _route(self, intid: int, router: int) -> None:
        # An affinity that no CPU has is nobody's: the SPI stays pending.
        old, new = self._cpu_of.get(self._routers[intid]), self._cpu_of.get(router & _AFFINITY)
        self._routers[intid] = router & _AFFINITY
        if old is not None:
            self.route(old, intid, False)
        if new is not None:
            self.route(new, intid, True)

    def _distributor_state(self) -> Any:
        return self.shared_state(), tuple(self._routers)

    def _set_distributor_state(self, state: Any) -> None:
        shared, routers = state
        self._routers = list(routers)
        self.set_shared_state(shared)


class _Redistributors:
    # Two frames of each CPU of a region, for accesses by any CPU.

    def __init__(self, gic: GicV3, cpus: range) -> None:
        self._gic = gic
        self._cpus = cpus
        self._frames = self._control(), Words()
        Arrays(gic).add_to(self._frames[1], range(PRIVATE))

    def _control(self) -> Words:
        words, gic = Words(), self._gic
        words.add_constants(0x004, _IIDR)
        words.add(0x008, lambda cpu, _: cpu << 8 | (_LAST if cpu in gic.lasts else 0) | _COMMON_LPI_AFF)
        words.add(0x00C, lambda cpu, _: gic.hwids[cpu] & 0xFF_FFFF | gic.hwids[cpu] >> 32 << 24)
        words.add(0x014, self._load_waker, self._store_waker)
        words.add_constants(_IDS_AT, *_REDISTRIBUTOR_IDS)
        return words

    def _load_waker(self, cpu: int, _number: int) -> int:
        return _SLEEP | _ASLEEP if self._gic.interfaces[cpu].is_asleep else 0

    def _store_waker(self, cpu: int, _number: int, value: int, bits: int) -> None:
        if bits & 0xFF:
            self._gic.interfaces[cpu].is_asleep = bool(value & _SLEEP)
            self._gic.update(cpu)

    def _at(self, offset: int) -> tuple[int, Words, int]:
        # The CPU, the frame and the offset in it.
        number = offset >> _FRAME_SHIFT
        cpu = self._cpus.start + (number >> 1)
        return cpu, self._frames[number & 1], offset & (1 << _FRAME_SHIFT) - 1

    def load(self, cpu: int, offset: int, size: int, now: int) -> int:
        """Return what the register reads."""
        owner, words, at = self._at(offset)
        return words.load(owner, at, size) if owner in self._cpus else 0

    def store(self, cpu: int, offset: int, size: int, value: int, now: int) -> None:
        """Store to the register."""
        owner, words, at = self._at(offset)
        if owner in self._cpus:
            words.store(owner, at, size, value)

    def tick(self, now: int) -> int | None:
        """Return None: nothing takes time."""
        return None

    def state(self) -> Any:
        """Return the private interrupts and the interface of each CPU; the first region has those of all."""
        if self._cpus.start:
            return None
        return self._gic.private_state(), self._gic.interfaces_state()

    def set_state(self, state: Any) -> None:
        """Restore what :meth:`state` returned."""
        if state is None:
            return
        private, interfaces = state
        self._gic.set_private_state(private)
        self._gic.set_interfaces_state(interfaces)


def controller(board: Board) -> InterruptController:
    """Return a GICv3 in its reset state."""
    return GicV3(board)
