"""Scripts for interrupt controllers, drawn from seeds: interrupts come, are acknowledged, preempt and end.

What is drawn depends on what emu has acknowledged, so that ends fit. After each op every CPU looks at its IRQ
and FIQ. Left out is what QEMU 7.2 does otherwise than the manual says, or what the manual leaves open:

* GICv2: each CPU has its own pending and active state of an SPI, so SPIs have one target and are not set
  active; GICD_ISPENDR sets no PPIs; SGIs are not set pending by source; what preempts is told by the binary
  point at which the running interrupt was acknowledged; GICC_HPPIR follows GICC_PMR; an acknowledge while
  nothing is signalled may read 1022; the acknowledge of group 1 alone is not there.
* GICv3: ICC_SGI1R_EL1 sends no SGIs of group 0; GICR_WAKER keeps nothing back.
"""

from __future__ import annotations

import random

from reference.interrupt_script import ISR_EL1, REGIONS, OnEmu, Op

from emu.devices.controllers import icc

CPUS = 3
_SGIS, _PPIS, _SPIS = (1, 2, 9), (27, 30), (33, 40, 41, 47)
_ALL = (*_SGIS, *_PPIS, *_SPIS)
_LINES = (*_PPIS, 33)
_GICD = 0x0800_0000
_GICC = REGIONS["gicv2"]["cpu-interface"][0]
_GICR = REGIONS["gicv3"]["redistributors"][0]
_GROUP, _SET_ENABLE, _CLEAR_ENABLE, _SET_PENDING, _CLEAR_PENDING = 0x080, 0x100, 0x180, 0x200, 0x280
_SET_ACTIVE, _CLEAR_ACTIVE = 0x300, 0x380
_PRIORITIES = (0x00, 0x40, 0x48, 0x50, 0x80, 0xA0, 0xA8, 0xF0)
_ONES = 0xFFFF_FFFF


class Drawn:
    """A script that grows; what is acknowledged and not ended is remembered by CPU."""

    settable = frozenset(_SPIS)  # by GICD_ISPENDR
    activable = frozenset((*_SGIS, *_PPIS))  # by GICD_ISACTIVER

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.ops = name, list[Op]()
        self.random = random.Random(seed)
        self._emulated = OnEmu(name, CPUS)
        self._running: list[list[int]] = [[] for _ in range(CPUS)]  # what acknowledges have read
        self._dropped: list[list[int]] = [[] for _ in range(CPUS)]  # of those, what is to be deactivated
        self._lines: dict[tuple[int, int], bool] = {}
        self.group1 = {intid for intid in _ALL if self.random.random() < 0.7}
        self.is_split = self.random.random() < 0.4
        self.start()
        for intid in _ALL:
            for cpu in range(CPUS):
                self.set_priority(cpu, intid)

    def do(self, cpu: int, place: int | tuple[int, int, int, int, int], value: int | None = None) -> int:
        """Append an op; return what it reads on emu."""
        self.ops.append(Op(cpu, place, value))
        return self._emulated.do(self.ops[-1])

    def draw(self, length: int) -> list[Op]:
        """Return the script with ``length`` more steps."""
        steps = [self.send, self.line, self.take, self.end] * 3 + [self.change, self.configure, self.look]
        for _ in range(length):
            self.random.choice(steps)(self.random.randrange(CPUS))
            for cpu in range(CPUS):
                self.do(cpu, ISR_EL1)
        return self.ops

    # -- what the versions have each --------------------------------------------------------------

    def start(self) -> None:
        """Enable the groups, and what is to stay."""
        raise NotImplementedError

    def send(self, cpu: int) -> None:
        """Send an SGI."""
        raise NotImplementedError

    def acknowledge(self, cpu: int) -> int:
        """Acknowledge an interrupt."""
        raise NotImplementedError

    def drop(self, cpu: int, value: int) -> None:
        """End what ``value`` has acknowledged."""
        raise NotImplementedError

    def deactivate(self, cpu: int, value: int) -> None:
        """Deactivate it."""
        raise NotImplementedError

    def configure(self, cpu: int) -> None:
        """Change the CPU interface."""
        raise NotImplementedError

    def look(self, cpu: int) -> None:
        """Read what has no effect."""
        intid = self.random.choice(_ALL)
        for array in (_SET_ENABLE, _CLEAR_PENDING, _SET_ACTIVE):
            self.do(cpu, self._register(cpu, array, intid))

    # -- what they have in common -----------------------------------------------------------------

    def _register(self, cpu: int, array: int, intid: int) -> int:
        # The register of one bit for each INTID.
        return self.frame(cpu, intid) + array + 4 * (intid // 32)

    def frame(self, cpu: int, intid: int) -> int:
        """Return the PA of the frame that has the arrays of ``intid``."""
        return _GICD

    def set_priority(self, cpu: int, intid: int) -> None:
        """Give ``intid`` a priority, of few, so that some are equal."""
        at = self.frame(cpu, intid) + 0x400 + intid
        self.ops.append(Op(cpu, at, self.random.choice(_PRIORITIES), 1))
        self._emulated.do(self.ops[-1])

    def line(self, cpu: int) -> None:
        """Change the level of an input."""
        intid = self.random.choice(_LINES)
        line = (-1 if intid == 33 else cpu), intid
        self._lines[line] = not self._lines.get(line, False)
        self.do(cpu, intid, int(self._lines[line]))

    def change(self, cpu: int) -> None:
        """Change the state of an interrupt by its masks."""
        intid = self.random.choice(_ALL)
        arrays = [_SET_ENABLE, _SET_ENABLE, _CLEAR_ENABLE]
        if intid in self.settable:
            arrays += [_SET_PENDING, _SET_PENDING, _CLEAR_PENDING]
        if self.random.random() < 0.3:
            arrays += [_SET_ACTIVE, _CLEAR_ACTIVE] if intid in self.activable else [_CLEAR_ACTIVE]
        self.do(cpu, self._register(cpu, self.random.choice(arrays), intid), 1 << intid % 32)

    def take(self, cpu: int) -> None:
        """Acknowledge, and remember what is to be ended."""
        value = self.acknowledge(cpu)
        if value & 0x3FF < 1020:
            self._running[cpu].append(value)

    def end(self, cpu: int) -> None:
        """End what was acknowledged last, or deactivate something."""
        dropped = self._dropped[cpu]
        if dropped and self.random.random() < 0.5:
            self.deactivate(cpu, dropped.pop(self.random.randrange(len(dropped))))
        elif self._running[cpu]:
            value = self._running[cpu].pop()
            self.drop(cpu, value)
            if self.is_split:
                dropped.append(value)


class DrawnV2(Drawn):
    """A script for GICv2."""

    def start(self) -> None:
        """Each SPI has a target; group 1 is acknowledged by GICC_IAR in some scripts."""
        for intid in _SPIS:
            shift = 8 * (intid % 4)
            at = _GICD + 0x800 + intid - intid % 4
            targets = 1 << self.random.randrange(CPUS)
            self.do(0, at, self.do(0, at) & ~(0xFF << shift) | targets << shift)
        groups = sum(1 << intid for intid in self.group1)
        for cpu in range(CPUS):
            self.do(cpu, _GICD + _GROUP, groups & _ONES)
            self.do(cpu, _GICD + _SET_ENABLE, _ONES)
            flags = self.random.randrange(8) << 2
            self.do(cpu, _GICC + 0x00, 3 | flags | self.is_split << 9)
            self.do(cpu, _GICC + 0x04, 0xF8)
            point = self.random.randrange(7)
            self.do(cpu, _GICC + 0x08, point)
            self.do(cpu, _GICC + 0x1C, point + 1)
        for array, value in ((_GROUP, groups >> 32), (_SET_ENABLE, _ONES)):
            self.do(0, _GICD + array + 4, value)
        self.do(
            0, _GICD + 0xC08, self.random.getrandbits(32) & 0xAAAA_AAAA & ~(3 << 2)
        )  # 33 is level-sensitive
        self.do(0, _GICD, 3)

    def send(self, cpu: int) -> None:
        """Write GICD_SGIR."""
        where = self.random.randrange(3) << 24 | self.random.randrange(1 << CPUS) << 16
        self.do(cpu, _GICD + 0xF00, where | self.random.choice(_SGIS))

    def acknowledge(self, cpu: int) -> int:
        """Read GICC_IAR."""
        return self.do(cpu, _GICC + 0x0C)

    def drop(self, cpu: int, value: int) -> None:
        """Write GICC_EOIR."""
        self.do(cpu, _GICC + 0x10, value)

    def deactivate(self, cpu: int, value: int) -> None:
        """Write GICC_DIR."""
        self.do(cpu, _GICC + 0x1000, value)

    def configure(self, cpu: int) -> None:
        """Change the priority mask or a priority."""
        if self.random.randrange(2):
            self.do(cpu, _GICC + 0x04, self.random.choice((0x00, 0x50, 0x80, 0xFF, 0xFF, 0xFF)))
        else:
            self.set_priority(cpu, self.random.choice(_ALL))

    def look(self, cpu: int) -> None:
        """Read sources of SGIs and active priorities too."""
        super().look(cpu)
        for at in (_GICD + 0xF10, _GICD + 0xF28, _GICC + 0x14, _GICC + 0xD4, _GICC + 0xE0):
            self.do(cpu, at)


class DrawnV3(Drawn):
    """A script for GICv3."""

    settable = activable = frozenset(_ALL)

    def frame(self, cpu: int, intid: int) -> int:
        """SGIs and PPIs are in the redistributor of the CPU."""
        return _GICR + (cpu << 17) + 0x1_0000 if intid < 32 else _GICD

    def start(self) -> None:
        """Affinities are those of CPUs, and one that no CPU has."""
        groups = sum(1 << intid for intid in self.group1)
        for cpu in range(CPUS):
            self.do(cpu, _GICR + (cpu << 17) + 0x14, 0)
            self.do(cpu, self.frame(cpu, 0) + _GROUP, groups & _ONES)
            self.do(cpu, self.frame(cpu, 0) + _SET_ENABLE, _ONES)
            self.do(cpu, icc.ICC_CTLR_EL1, self.is_split << 1 | self.random.randrange(2))
            self.do(cpu, icc.ICC_PMR_EL1, 0xF8)
            for enable in (icc.ICC_IGRPEN0_EL1, icc.ICC_IGRPEN1_EL1):
                self.do(cpu, enable, 1)
        self.do(0, _GICD, 2)
        for array, value in ((_GROUP, groups >> 32), (_SET_ENABLE, _ONES)):
            self.do(0, _GICD + array + 4, value)
        for intid in _SPIS:
            self.do(0, _GICD + 0x6000 + 8 * intid, self.random.randrange(CPUS + 1))
        self.do(
            0, _GICD + 0xC08, self.random.getrandbits(32) & 0xAAAA_AAAA & ~(3 << 2)
        )  # 33 is level-sensitive
        self.do(0, _GICD, 3)

    def send(self, cpu: int) -> None:
        """Write ICC_SGI1R_EL1 or ICC_SGI0R_EL1."""
        sgi = self.random.choice(_SGIS)
        group0 = self.random.choice((icc.ICC_SGI0R_EL1, icc.ICC_ASGI1R_EL1))
        register = icc.ICC_SGI1R_EL1 if sgi in self.group1 else group0
        irm = self.random.randrange(2) << 40
        self.do(cpu, register, irm | sgi << 24 | self.random.randrange(1 << CPUS + 1))

    def acknowledge(self, cpu: int) -> int:
        """Read ICC_IAR0_EL1 or ICC_IAR1_EL1."""
        return self.do(cpu, self.random.choice((icc.ICC_IAR0_EL1, icc.ICC_IAR1_EL1, icc.ICC_IAR1_EL1)))

    def drop(self, cpu: int, value: int) -> None:
        """Write the register of its group."""
        self.do(cpu, icc.ICC_EOIR1_EL1 if value in self.group1 else icc.ICC_EOIR0_EL1, value)

    def deactivate(self, cpu: int, value: int) -> None:
        """Write ICC_DIR_EL1."""
        self.do(cpu, icc.ICC_DIR_EL1, value)

    def configure(self, cpu: int) -> None:
        """Change the priority mask, a binary point, a priority, or the route of an SPI."""
        draw = self.random
        what = draw.randrange(4)
        if what == 0:
            self.do(cpu, icc.ICC_PMR_EL1, draw.choice((0x00, 0x50, 0x80, 0xF8, 0xF8, 0xF8)))
        elif what == 1:
            self.do(cpu, draw.choice((icc.ICC_BPR0_EL1, icc.ICC_BPR1_EL1)), draw.randrange(8))
        elif what == 2:
            self.set_priority(cpu, draw.choice(_ALL))
        else:
            self.do(cpu, _GICD + 0x6000 + 8 * draw.choice(_SPIS), draw.randrange(CPUS + 1))

    def look(self, cpu: int) -> None:
        """Read what is pending and running too."""
        super().look(cpu)
        for register in (icc.ICC_HPPIR0_EL1, icc.ICC_HPPIR1_EL1, icc.ICC_RPR_EL1, icc.ICC_AP0R0_EL1):
            self.do(cpu, register)


DRAWN = {"gicv2": DrawnV2, "gicv3": DrawnV3}
