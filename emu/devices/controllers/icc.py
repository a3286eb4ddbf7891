"""ICC_*_EL1: the CPU interface of a GICv3 as system registers (Arm IHI 0069, 12.2).

There are 5 bits of priority, and one Security state: what is said of Non-secure accesses holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from emu.arch.mpidr import affinity
from emu.arch.sysreg import Encoding
from emu.devices.controllers.interface import IDLE, SPURIOUS
from emu.devices.controllers.interrupts import Interrupts

ICC_PMR_EL1: Encoding = (3, 0, 4, 6, 0)
ICC_IAR0_EL1: Encoding = (3, 0, 12, 8, 0)
ICC_EOIR0_EL1: Encoding = (3, 0, 12, 8, 1)
ICC_HPPIR0_EL1: Encoding = (3, 0, 12, 8, 2)
ICC_BPR0_EL1: Encoding = (3, 0, 12, 8, 3)
ICC_AP0R0_EL1: Encoding = (3, 0, 12, 8, 4)
ICC_AP1R0_EL1: Encoding = (3, 0, 12, 9, 0)
ICC_DIR_EL1: Encoding = (3, 0, 12, 11, 1)
ICC_RPR_EL1: Encoding = (3, 0, 12, 11, 3)
ICC_SGI1R_EL1: Encoding = (3, 0, 12, 11, 5)
ICC_ASGI1R_EL1: Encoding = (3, 0, 12, 11, 6)
ICC_SGI0R_EL1: Encoding = (3, 0, 12, 11, 7)
ICC_IAR1_EL1: Encoding = (3, 0, 12, 12, 0)
ICC_EOIR1_EL1: Encoding = (3, 0, 12, 12, 1)
ICC_HPPIR1_EL1: Encoding = (3, 0, 12, 12, 2)
ICC_BPR1_EL1: Encoding = (3, 0, 12, 12, 3)
ICC_CTLR_EL1: Encoding = (3, 0, 12, 12, 4)
ICC_IGRPEN0_EL1: Encoding = (3, 0, 12, 12, 6)
ICC_IGRPEN1_EL1: Encoding = (3, 0, 12, 12, 7)

# Those that are not write-only, by the manual's names.
NAMES: Mapping[Encoding, str] = {
    ICC_PMR_EL1: "ICC_PMR_EL1",
    ICC_RPR_EL1: "ICC_RPR_EL1",
    ICC_CTLR_EL1: "ICC_CTLR_EL1",
    ICC_IGRPEN0_EL1: "ICC_IGRPEN0_EL1",
    ICC_IGRPEN1_EL1: "ICC_IGRPEN1_EL1",
    ICC_BPR0_EL1: "ICC_BPR0_EL1",
    ICC_BPR1_EL1: "ICC_BPR1_EL1",
    ICC_HPPIR0_EL1: "ICC_HPPIR0_EL1",
    ICC_HPPIR1_EL1: "ICC_HPPIR1_EL1",
    ICC_AP0R0_EL1: "ICC_AP0R0_EL1",
    ICC_AP1R0_EL1: "ICC_AP1R0_EL1",
    ICC_IAR0_EL1: "ICC_IAR0_EL1",
    ICC_IAR1_EL1: "ICC_IAR1_EL1",
}

LEVEL_SHIFT = 3
POINT_MIN = (2, 3)  # of ICC_BPR0_EL1 and ICC_BPR1_EL1

_PRIORITY = 0xF8
_CBPR, _EOI_MODE = 1 << 0, 1 << 1  # of ICC_CTLR_EL1
_CONSTANT = 4 << 8 | 1 << 11 | 1 << 15  # of it: PRIbits, IDbits, A3V
_RSS = 1 << 18
# Of each group: acknowledge, end, highest pending, binary point, what is active, enable.
_OF_GROUPS = (
    (
        ICC_IAR0_EL1,
        ICC_EOIR0_EL1,
        ICC_HPPIR0_EL1,
        ICC_BPR0_EL1,
        ICC_AP0R0_EL1,
        ICC_IGRPEN0_EL1,
    ),
    (
        ICC_IAR1_EL1,
        ICC_EOIR1_EL1,
        ICC_HPPIR1_EL1,
        ICC_BPR1_EL1,
        ICC_AP1R0_EL1,
        ICC_IGRPEN1_EL1,
    ),
)
_IRM = 1 << 40  # of ICC_SGI1R_EL1: to all others

Read = Callable[[int], int]  # of a CPU
Write = Callable[[int, int], None]  # of a CPU; the value


class SystemInterface:
    """The registers of all CPUs; :class:`GicV3` has what they are made of.

    :ivar encodings: all that there are
    """

    def __init__(self, interrupts: Interrupts, cpu_of: Mapping[int, int], has_range_selector: bool) -> None:
        """:param cpu_of: CPU numbers by hwid."""
        self._interrupts, self._interfaces = interrupts, interrupts.interfaces
        self._cpu_of, self._has_range_selector = cpu_of, has_range_selector
        self._reads: dict[Encoding, Read] = {
            ICC_PMR_EL1: lambda cpu: self._interfaces[cpu].pmr,
            ICC_RPR_EL1: lambda cpu: min(self._interfaces[cpu].running, 0xFF),
            ICC_CTLR_EL1: self._read_control,
        }
        self._writes: dict[Encoding, Write] = {
            ICC_PMR_EL1: self._write_mask,
            ICC_CTLR_EL1: self._write_control,
            ICC_DIR_EL1: self._deactivate,
            ICC_SGI0R_EL1: partial(self._send, 1),
            ICC_ASGI1R_EL1: partial(self._send, 1),
            ICC_SGI1R_EL1: partial(self._send, 3),
        }
        for group, encodings in enumerate(_OF_GROUPS):
            self._add_group(group, *encodings)
        self.encodings = frozenset(self._reads.keys() | self._writes.keys())

    def _add_group(
        self,
        group: int,
        acknowledge: Encoding,
        end: Encoding,
        highest: Encoding,
        point: Encoding,
        active: Encoding,
        enable: Encoding,
    ) -> None:
        self._reads[acknowledge] = partial(self._acknowledge, group)
        self._writes[end] = partial(self._end, group)
        self._reads[highest] = partial(self._highest, group)
        self._reads[point], self._writes[point] = partial(self._point, group), partial(self._set_point, group)
        self._reads[active] = lambda cpu: self._interfaces[cpu].active[group]
        self._writes[active] = partial(self._set_active, group)
        self._reads[enable] = lambda cpu: self._interfaces[cpu].groups >> group & 1
        self._writes[enable] = partial(self._enable, group)

    def read(self, cpu: int, encoding: Encoding) -> int:
        """Return a register that is not write-only, u64."""
        return self._reads[encoding](cpu)

    def look(self, cpu: int, encoding: Encoding) -> int | None:
        """Return what :meth:`read` would, without an acknowledge; None of one that is write-only."""
        for group, encodings in enumerate(_OF_GROUPS):
            if encoding == encodings[0]:
                return self._acknowledged(group, cpu)
        return self.read(cpu, encoding) if encoding in self._reads else None

    def write(self, cpu: int, encoding: Encoding, value: int) -> None:
        """Write a register that is not read-only."""
        self._writes[encoding](cpu, value)

    # -- configuration ----------------------------------------------------------------------------

    def _write_mask(self, cpu: int, value: int) -> None:
        self._interfaces[cpu].pmr = value & _PRIORITY
        self._interrupts.update(cpu)

    def _read_control(self, cpu: int) -> int:
        interface = self._interfaces[cpu]
        constant = _CONSTANT | (_RSS if self._has_range_selector else 0)
        return constant | interface.is_common * _CBPR | interface.is_split * _EOI_MODE

    def _write_control(self, cpu: int, value: int) -> None:
        interface = self._interfaces[cpu]
        interface.is_common, interface.is_split = bool(value & _CBPR), bool(value & _EOI_MODE)
        self._interrupts.update(cpu)

    def _point(self, group: int, cpu: int) -> int:
        # ICC_CTLR_EL1.CBPR: of group 1 that of group 0 is read, one higher, and writes are ignored.
        interface = self._interfaces[cpu]
        if group and interface.is_common:
            return min(interface.points[0] + 1, 7)
        return interface.points[group]

    def _set_point(self, group: int, cpu: int, value: int) -> None:
        interface = self._interfaces[cpu]
        if not (group and interface.is_common):
            interface.points[group] = max(value & 7, POINT_MIN[group])
            self._interrupts.update(cpu)

    def _set_active(self, group: int, cpu: int, value: int) -> None:
        self._interfaces[cpu].active[group] = value & 0xFFFF_FFFF
        self._interfaces[cpu].find_running()
        self._interrupts.update(cpu)

    def _enable(self, group: int, cpu: int, value: int) -> None:
        interface = self._interfaces[cpu]
        interface.groups = interface.groups & ~(1 << group) | (value & 1) << group
        self._interrupts.update(cpu)

    # -- interrupts -------------------------------------------------------------------------------

    def _highest(self, group: int, cpu: int) -> int:
        # ICC_HPPIR<n>_EL1: whether it would be signalled or not, but for its group.
        interface = self._interfaces[cpu]
        is_own = interface.group == group and interface.groups >> group & 1
        return interface.pending if is_own else SPURIOUS

    def _acknowledge(self, group: int, cpu: int) -> int:
        intid = self._acknowledged(group, cpu)
        return intid if intid == SPURIOUS else self._interrupts.activate(cpu)

    def _acknowledged(self, group: int, cpu: int) -> int:
        # What an acknowledge would give.
        interface = self._interfaces[cpu]
        if interface.group != group or not (interface.irq or interface.fiq):
            return SPURIOUS
        return interface.pending

    def _end(self, group: int, cpu: int, value: int) -> None:
        # An end that is of another group than the running priority is unpredictable; it is ignored.
        interface, intid = self._interfaces[cpu], value & 0xFF_FFFF
        is_running = interface.running != IDLE and interface.running_group() == group
        if is_running and intid < self._interrupts.intids:
            self._interrupts.end(cpu, group, intid)

    def _deactivate(self, cpu: int, value: int) -> None:
        # Unpredictable while an end of interrupt deactivates; it is ignored then.
        intid = value & 0xFF_FFFF
        if self._interfaces[cpu].is_split and intid < self._interrupts.intids:
            self._interrupts.deactivate(cpu, intid)

    def _send(self, groups: int, cpu: int, value: int) -> None:
        # With one Security state ICC_SGI1R_EL1 sends what is of either group, the others what is of group 0.
        bit = 1 << (value >> 24 & 15)
        for target in self._targets(cpu, value):
            bank = self._interrupts.private[target]
            if groups & (2 if bank.group1 & bit else 1):
                bank.latched |= bit
                self._interrupts.update(target)

    def _targets(self, cpu: int, value: int) -> Iterator[int]:
        if value & _IRM:
            yield from (other for other in range(len(self._interfaces)) if other != cpu)
            return
        first = (value >> 44 & 15) * 16 if self._has_range_selector else 0
        cluster = affinity(value >> 48 & 0xFF, value >> 32 & 0xFF, value >> 16 & 0xFF, first)
        targets = value & 0xFFFF
        while targets:
            bit = targets & -targets
            targets ^= bit
            target = self._cpu_of.get(cluster + bit.bit_length() - 1)
            if target is not None:
                yield target
