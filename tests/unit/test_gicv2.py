"""GICv2: what its registers and its CPU interfaces do beside what every controller does (Arm IHI 0048B)."""

from __future__ import annotations

import pytest

from emu.devices.controllers.gicv2 import GicV2
from emu.devices.protocol import NO_CPU, Board, Device

GICD_CTLR, GICD_TYPER, GICD_IGROUPR, GICD_ISENABLER, GICD_ICENABLER = 0x000, 0x004, 0x080, 0x100, 0x180
GICD_ISPENDR, GICD_ICPENDR, GICD_ISACTIVER, GICD_ICACTIVER = 0x200, 0x280, 0x300, 0x380
GICD_IPRIORITYR, GICD_ITARGETSR, GICD_ICFGR = 0x400, 0x800, 0xC00
GICD_SGIR, GICD_CPENDSGIR, GICD_SPENDSGIR = 0xF00, 0xF10, 0xF20
GICC_CTLR, GICC_PMR, GICC_BPR, GICC_IAR, GICC_EOIR, GICC_RPR = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14
GICC_HPPIR, GICC_ABPR, GICC_AIAR, GICC_AEOIR, GICC_AHPPIR, GICC_APR = 0x18, 0x1C, 0x20, 0x24, 0x28, 0xD0
GICC_NSAPR, GICC_DIR = 0xE0, 0x1000
GROUP_0, GROUP_1, ACK_CTL, FIQ_EN, CBPR = 1, 2, 4, 8, 16
SPI, OTHER_SPI, PPI = 40, 41, 27
SPURIOUS, OF_GROUP_1 = 1023, 1022


class Gic:
    """A GICv2 whose groups are enabled on all CPUs; all priorities are 0, the highest."""

    def __init__(self, cpus: int = 3, control: int = GROUP_0 | GROUP_1) -> None:
        self.gic = GicV2(Board(hwids=tuple(range(cpus))))
        self.regions: dict[str, Device] = dict(self.gic.regions())
        self.distributor, self.interface = self.regions["distributor"], self.regions["cpu-interface"]
        self.put(0, GICD_CTLR, 3)
        self.put(0, GICD_ISENABLER + 4, 0xFFFF_FFFF)
        for cpu in range(cpus):
            self.put(cpu, GICD_ISENABLER, 0xFFFF_FFFF)
            self.write(cpu, GICC_CTLR, control)
            self.write(cpu, GICC_PMR, 0xFF)

    def get(self, cpu: int, offset: int, size: int = 4) -> int:
        """Load from the distributor."""
        return self.distributor.load(cpu, offset, size, 0)

    def put(self, cpu: int, offset: int, value: int, size: int = 4) -> None:
        """Store to the distributor."""
        self.distributor.store(cpu, offset, size, value, 0)

    def read(self, cpu: int, offset: int) -> int:
        """Load from the CPU interface."""
        return self.interface.load(cpu, offset, 4, 0)

    def write(self, cpu: int, offset: int, value: int) -> None:
        """Store to the CPU interface."""
        self.interface.store(cpu, offset, 4, value, 0)

    def spi(self, intid: int, targets: int, priority: int = 0) -> None:
        """Raise an SPI whose target CPUs are a mask."""
        self.put(0, GICD_ITARGETSR + intid, targets, 1)
        self.put(0, GICD_IPRIORITYR + intid, priority, 1)
        self.gic.set_line(intid, NO_CPU, True)

    def irqs(self) -> list[int]:
        """Return the CPUs that have an IRQ."""
        return [cpu for cpu in range(len(self.gic.interfaces)) if self.gic.has_irq(cpu)]

    def fiqs(self) -> list[int]:
        """Return the CPUs that have an FIQ."""
        return [cpu for cpu in range(len(self.gic.interfaces)) if self.gic.has_fiq(cpu)]


# -- distributor -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cpus", [1, 4, 8])
def test_the_type_tells_288_interrupts_and_the_cpus(cpus: int) -> None:
    """4.3.2, GICD_TYPER: ITLinesNumber and CPUNumber."""
    assert Gic(cpus).get(0, GICD_TYPER) == 8 | cpus - 1 << 5


def test_a_store_beside_the_enables_of_groups_leaves_them() -> None:
    """4.3.1, GICD_CTLR: they are bits 1:0; 4.1.4 has no accesses of bytes to it."""
    gic = Gic()
    gic.put(0, GICD_CTLR + 1, 0, 1)
    assert gic.get(0, GICD_CTLR) == 3
    gic.put(0, GICD_CTLR, 1, 1)
    assert gic.get(0, GICD_CTLR) == 1


def test_targets_of_sgis_and_ppis_read_as_the_cpu_that_reads() -> None:
    """4.3.12, GICD_ITARGETSR0 to 7, which are read-only."""
    gic = Gic()
    for cpu in range(3):
        gic.put(cpu, GICD_ITARGETSR + 28, 0xFFFF_FFFF)
        assert [gic.get(cpu, GICD_ITARGETSR + at) for at in (0, 28)] == [0x0101_0101 << cpu] * 2
    assert gic.get(1, GICD_ITARGETSR + 17, 1) == 2


def test_targets_that_are_no_cpus_are_not_kept() -> None:
    """4.3.12: bits of CPU interfaces that are not implemented are RAZ/WI."""
    gic = Gic(3)
    gic.put(0, GICD_ITARGETSR + 40, 0xFF07_02F0)
    assert gic.get(0, GICD_ITARGETSR + 40) == 0x0707_0200


def test_with_one_cpu_there_are_no_targets_and_spis_go_there() -> None:
    """4.3.12: in a uniprocessor implementation the registers are RAZ/WI."""
    gic = Gic(1)
    gic.spi(SPI, 0)
    assert (gic.irqs(), gic.get(0, GICD_ITARGETSR), gic.get(0, GICD_ITARGETSR + 40)) == ([0], 0, 0)


def test_an_spi_with_several_targets_is_taken_by_the_first_that_acknowledges_it() -> None:
    """1.4.3, the 1-N model: for the others the interrupt is spurious."""
    gic = Gic()
    gic.spi(SPI, 0b101)
    assert gic.irqs() == [0, 2]
    assert [gic.read(cpu, GICC_IAR) for cpu in (2, 0)] == [SPI, SPURIOUS]
    assert (gic.irqs(), gic.get(0, GICD_ISACTIVER + 4)) == ([], 1 << 8)
    gic.write(2, GICC_EOIR, SPI)
    assert gic.irqs() == [0, 2]


def test_an_sgi_is_pending_once_for_each_sender() -> None:
    """4.3.15, GICD_SGIR; 4.4.4, GICC_IAR.CPUID: the lowest sender first."""
    gic = Gic(8)
    for sender in (7, 2, 2):
        gic.put(sender, GICD_SGIR, 1 << 16 | 9)
    assert gic.get(0, GICD_SPENDSGIR + 9, 1) == 1 << 7 | 1 << 2
    assert gic.read(0, GICC_HPPIR) == 2 << 10 | 9
    assert gic.read(0, GICC_IAR) == 2 << 10 | 9
    assert (gic.get(0, GICD_ISPENDR), gic.get(0, GICD_ISACTIVER), gic.irqs()) == (1 << 9, 1 << 9, [])
    gic.write(0, GICC_EOIR, 2 << 10 | 9)
    assert gic.irqs() == [0]
    assert gic.read(0, GICC_IAR) == 7 << 10 | 9
    gic.write(0, GICC_EOIR, 7 << 10 | 9)
    assert (gic.get(0, GICD_ISPENDR), gic.irqs()) == (0, [])


@pytest.mark.parametrize(
    ("word", "expected"),
    [(0x00FE_0003, [1, 2]), (0x01FE_0003, [0, 2]), (0x02FD_0003, [1]), (0x03FF_0003, [])],
)
def test_a_filter_tells_whom_an_sgi_reaches(word: int, expected: list[int]) -> None:
    """4.3.15, TargetListFilter: the list, all others, the CPU itself, reserved; CPUs that are not there."""
    gic = Gic()
    gic.put(1, GICD_SGIR, word)
    assert gic.irqs() == expected


def test_senders_are_set_and_cleared_one_by_one() -> None:
    """4.3.16 and 4.3.17, GICD_CPENDSGIR and GICD_SPENDSGIR: a byte for each SGI, banked."""
    gic = Gic()
    gic.put(1, GICD_SPENDSGIR + 4, 0x0000_0503)  # SGI 4 by CPUs 0 and 1, SGI 5 by CPUs 0 and 2
    assert (gic.irqs(), gic.get(1, GICD_ISPENDR), gic.get(0, GICD_ISPENDR)) == ([1], 0x30, 0)
    gic.put(1, GICD_CPENDSGIR + 4, 0x0000_04FF)
    assert (gic.get(1, GICD_CPENDSGIR + 4), gic.get(1, GICD_ISPENDR)) == (0x0000_0100, 0x20)
    gic.put(1, GICD_CPENDSGIR + 5, 0x01, 1)
    assert (gic.irqs(), gic.get(1, GICD_ISPENDR)) == ([], 0)
    gic.put(1, GICD_SPENDSGIR + 15, 0xF8, 1)  # by CPUs that are not there
    assert gic.get(1, GICD_ISPENDR) == 0


def test_sgis_are_always_enabled_and_not_set_pending_by_masks() -> None:
    """4.3.5, 4.3.7 and 4.3.8: SGIs' bits are RAO/WI, and read-only."""
    gic = Gic()
    gic.put(0, GICD_ICENABLER, 0xFFFF_FFFF)
    assert gic.get(0, GICD_ISENABLER) == 0x0000_FFFF
    gic.put(0, GICD_ISPENDR, 0x0000_FFFF)
    assert gic.get(0, GICD_ISPENDR) == 0
    gic.put(0, GICD_SGIR, 2 << 24 | 1)
    gic.put(0, GICD_ICPENDR, 0x0000_FFFF)
    assert (gic.get(0, GICD_ICPENDR), gic.irqs()) == (1 << 1, [0])


def test_the_configuration_of_sgis_is_fixed() -> None:
    """4.3.13, GICD_ICFGR0; the lower bit of each field is reserved."""
    gic = Gic()
    for offset, expected in ((0, 0xAAAA_AAAA), (4, 0), (8, 0)):
        gic.put(0, GICD_ICFGR + offset, 0x5555_5555)
        assert gic.get(0, GICD_ICFGR + offset) == expected
    gic.put(0, GICD_ICFGR + 9, 0xFF, 1)
    gic.put(0, GICD_ICFGR + 10, 0x22, 1)
    assert gic.get(0, GICD_ICFGR + 8) == 0x0022_AA00


def test_a_group_is_set_and_cleared() -> None:
    """4.3.4, GICD_IGROUPR; those of SGIs and PPIs are each CPU's own."""
    gic = Gic()
    gic.put(1, GICD_IGROUPR, 0x0F0F_0F0F)
    gic.put(1, GICD_IGROUPR + 1, 0xA0, 1)
    gic.put(1, GICD_IGROUPR + 4, 3)
    gic.put(1, GICD_IGROUPR + 4, 2)
    assert [gic.get(1, GICD_IGROUPR + at) for at in (0, 4)] == [0x0F0F_A00F, 2]
    assert [gic.get(0, GICD_IGROUPR + at) for at in (0, 4)] == [0, 2]


def test_sgis_can_be_set_active() -> None:
    """4.3.9, GICD_ISACTIVER: a state that was kept is put back."""
    gic = Gic()
    gic.put(1, GICD_ISACTIVER, 1 << 3)
    gic.put(1, GICD_SGIR, 2 << 24 | 3)
    assert (gic.get(1, GICD_ISACTIVER), gic.get(0, GICD_ISACTIVER), gic.irqs()) == (1 << 3, 0, [])
    gic.put(1, GICD_ICACTIVER, 1 << 3)
    assert gic.irqs() == [1]


def test_an_access_is_to_the_bytes_of_one_register() -> None:
    """What is behind the register is not accessed, though the manual does not say so."""
    gic = Gic()
    gic.put(0, GICD_ICENABLER + 7, 0xFFFF, 2)
    assert [gic.get(0, GICD_ISENABLER + at) for at in (4, 8)] == [0x00FF_FFFF, 0]
    gic.put(0, GICD_ISENABLER + 11, 0xFFFF_FFFF)
    assert [gic.get(0, GICD_ISENABLER + at) for at in (8, 12)] == [0xFF00_0000, 0]


def test_priorities_and_targets_are_accessed_by_bytes() -> None:
    """4.1.4: and as words, the lowest INTID in the lowest byte."""
    gic = Gic()
    for at, value in enumerate((0x10, 0x20, 0x30, 0x40)):
        gic.put(1, GICD_IPRIORITYR + 40 + at, value, 1)
    assert (gic.get(0, GICD_IPRIORITYR + 40), gic.get(0, GICD_IPRIORITYR + 42, 1)) == (0x4030_2010, 0x30)
    gic.put(1, GICD_IPRIORITYR + 3, 0x77, 1)
    assert (gic.get(1, GICD_IPRIORITYR), gic.get(0, GICD_IPRIORITYR)) == (0x7700_0000, 0)


@pytest.mark.parametrize("control", [0, GROUP_0, GROUP_1])
@pytest.mark.parametrize("group", [GROUP_0, GROUP_1])
def test_the_distributor_forwards_only_enabled_groups(group: int, control: int) -> None:
    """4.3.1, GICD_CTLR: what is pending stays so."""
    gic = Gic(control=GROUP_0 | GROUP_1 | ACK_CTL)
    gic.put(0, GICD_CTLR, control)
    gic.put(0, GICD_IGROUPR + 4, 1 << 8 if group == GROUP_1 else 0)
    gic.spi(SPI, 1)
    forwarded = control == group
    assert (gic.irqs(), gic.read(0, GICC_HPPIR)) == (([0], SPI) if forwarded else ([], SPURIOUS))
    gic.put(0, GICD_CTLR, control | group)
    assert (gic.irqs(), gic.get(0, GICD_ISPENDR + 4)) == ([0], 1 << 8)


def test_a_group_that_is_not_forwarded_hides_no_other() -> None:
    """4.3.1: the distributor selects among what it forwards."""
    gic = Gic(control=GROUP_0 | GROUP_1 | ACK_CTL)
    gic.put(0, GICD_IGROUPR + 4, 1 << 9)
    gic.spi(SPI, 1, 0x10)
    gic.spi(OTHER_SPI, 1, 0x20)
    assert gic.read(0, GICC_HPPIR) == SPI
    gic.put(0, GICD_CTLR, GROUP_1)
    assert (gic.read(0, GICC_HPPIR), gic.irqs(), gic.read(0, GICC_IAR)) == (OTHER_SPI, [0], OTHER_SPI)


# -- CPU interface ---------------------------------------------------------------------------------


def test_a_group_that_is_disabled_at_the_interface_is_not_signalled() -> None:
    """4.4.1, GICC_CTLR, and 4.4.7, GICC_HPPIR."""
    gic = Gic(control=GROUP_1)
    gic.spi(SPI, 1)
    assert (gic.irqs(), gic.read(0, GICC_IAR), gic.read(0, GICC_HPPIR)) == ([], SPURIOUS, SPURIOUS)
    gic.write(0, GICC_CTLR, GROUP_0)
    assert (gic.irqs(), gic.read(0, GICC_HPPIR), gic.read(0, GICC_IAR)) == ([0], SPI, SPI)


def test_group_0_is_fiq_where_it_is_asked_for() -> None:
    """4.4.1, GICC_CTLR.FIQEn: group 1 is always IRQ."""
    gic = Gic(control=GROUP_0 | GROUP_1 | FIQ_EN)
    gic.spi(SPI, 1)
    assert (gic.irqs(), gic.fiqs()) == ([], [0])
    gic.put(0, GICD_IGROUPR + 4, 1 << 8)
    assert (gic.irqs(), gic.fiqs()) == ([0], [])
    gic.put(0, GICD_IGROUPR + 4, 0)
    assert (gic.read(0, GICC_IAR), gic.fiqs()) == (SPI, [])


def test_an_acknowledge_for_group_0_takes_group_1_only_with_ack_ctl() -> None:
    """4.4.4, GICC_IAR: 1022 says that the aliased registers are to be used. 4.4.9, GICC_AIAR."""
    gic = Gic()
    gic.put(0, GICD_IGROUPR + 4, 1 << 8)
    gic.spi(SPI, 1)
    assert [gic.read(0, at) for at in (GICC_HPPIR, GICC_IAR, GICC_AHPPIR)] == [OF_GROUP_1, OF_GROUP_1, SPI]
    assert (gic.irqs(), gic.read(0, GICC_AIAR), gic.read(0, GICC_AIAR)) == ([0], SPI, SPURIOUS)
    gic.write(0, GICC_AEOIR, SPI)
    assert gic.irqs() == [0]
    gic.write(0, GICC_CTLR, GROUP_0 | GROUP_1 | ACK_CTL)
    assert [gic.read(0, at) for at in (GICC_HPPIR, GICC_IAR)] == [SPI, SPI]


def test_the_registers_of_group_1_do_not_see_group_0() -> None:
    """4.4.9 to 4.4.11: an acknowledge is spurious, an end is ignored."""
    gic = Gic()
    gic.spi(SPI, 1)
    assert [gic.read(0, at) for at in (GICC_AHPPIR, GICC_AIAR, GICC_IAR)] == [SPURIOUS, SPURIOUS, SPI]
    gic.write(0, GICC_AEOIR, SPI)
    assert gic.get(0, GICD_ISACTIVER + 4) == 1 << 8
    gic.write(0, GICC_EOIR, SPI)
    assert gic.get(0, GICD_ISACTIVER + 4) == 0


def test_what_is_pending_is_told_whatever_masks_it() -> None:
    """4.4.7, GICC_HPPIR: neither GICC_PMR nor the running priority hide it."""
    gic = Gic()
    gic.spi(SPI, 1, 0x40)
    assert gic.read(0, GICC_IAR) == SPI
    gic.spi(OTHER_SPI, 1, 0x80)
    gic.write(0, GICC_PMR, 0x10)
    assert (gic.irqs(), gic.read(0, GICC_HPPIR), gic.read(0, GICC_IAR)) == ([], OTHER_SPI, SPURIOUS)


@pytest.mark.parametrize(("point", "expected"), [(0, [0]), (3, [0]), (4, []), (7, [])])
def test_only_a_higher_group_priority_preempts(point: int, expected: list[int]) -> None:
    """3.3.3: with binary point n, bits 7 to n + 1 are the group priority."""
    gic = Gic()
    gic.write(0, GICC_BPR, point)
    gic.spi(SPI, 1, 0x50)
    assert gic.read(0, GICC_IAR) == SPI
    assert gic.read(0, GICC_RPR) == 0x50 >> point + 1 << point + 1
    gic.spi(OTHER_SPI, 1, 0x40)
    assert gic.irqs() == expected


@pytest.mark.parametrize(("control", "expected"), [(0, []), (CBPR, [0])])
def test_group_1_has_its_own_binary_point_or_that_of_group_0(control: int, expected: list[int]) -> None:
    """4.4.1, CBPR; 4.4.8, GICC_ABPR: with n, bits 7 to n are the group priority."""
    gic = Gic(control=GROUP_0 | GROUP_1 | ACK_CTL | control)
    gic.put(0, GICD_IGROUPR + 4, 3 << 8)
    gic.write(0, GICC_BPR, 3)
    gic.write(0, GICC_ABPR, 5)
    gic.spi(SPI, 1, 0x50)
    assert gic.read(0, GICC_IAR) == SPI
    gic.spi(OTHER_SPI, 1, 0x40)
    assert gic.irqs() == expected


def test_the_running_priority_is_taken_by_the_binary_point_of_what_is_pending() -> None:
    """3.3.3: 0x50 of group 1, whose groups are of 64 priorities, does not preempt 0x48 of group 0."""
    gic = Gic(control=GROUP_0 | GROUP_1 | ACK_CTL)
    gic.put(0, GICD_IGROUPR + 4, 1 << 9)
    gic.write(0, GICC_ABPR, 6)
    gic.spi(SPI, 1, 0x48)
    assert gic.read(0, GICC_IAR) == SPI
    gic.spi(OTHER_SPI, 1, 0x00)
    assert gic.irqs() == [0]
    gic.put(0, GICD_IPRIORITYR + OTHER_SPI, 0x40, 1)
    assert gic.irqs() == []


def test_the_least_binary_points_are_0_and_1() -> None:
    """4.4.3 and 4.4.8: there are 8 bits of priority."""
    gic = Gic()
    for value in (7, 0):
        gic.write(0, GICC_BPR, value)
        gic.write(0, GICC_ABPR, value)
        assert (gic.read(0, GICC_BPR), gic.read(0, GICC_ABPR)) == (value, max(value, 1))


def test_active_priorities_can_be_kept_and_put_back() -> None:
    """4.4.12 and 4.4.13, GICC_APR and GICC_NSAPR: bit n of all words is group priority 2 * n."""
    gic = Gic()
    gic.spi(SPI, 1, 0x50)
    gic.read(0, GICC_IAR)
    words = [gic.read(0, GICC_APR + at) for at in range(0, 16, 4)]
    assert words == [0, 1 << 8, 0, 0]
    gic.write(0, GICC_APR + 4, 0)
    assert gic.read(0, GICC_RPR) == 0xFF
    gic.write(0, GICC_NSAPR + 12, 1 << 31)
    assert gic.read(0, GICC_RPR) == 0xFE
    gic.write(0, GICC_APR, 1)
    assert (gic.read(0, GICC_RPR), gic.irqs()) == (0, [])
    for offset in (GICC_APR, GICC_NSAPR + 12):
        gic.write(0, offset, 0)
    gic.spi(OTHER_SPI, 1, 0x50)
    assert gic.irqs() == [0]
    gic.write(0, GICC_APR, 1)
    assert gic.irqs() == []


def test_ends_without_an_active_priority_and_of_no_interrupt_are_ignored() -> None:
    """4.4.5: neither the ID of a spurious interrupt nor a number that is no INTID ends anything."""
    gic = Gic()
    gic.put(0, GICD_ISACTIVER, 1 << PPI)
    gic.write(0, GICC_EOIR, PPI)
    assert gic.get(0, GICD_ISACTIVER) == 1 << PPI
    gic.spi(SPI, 1, 0x50)
    gic.read(0, GICC_IAR)
    for value in (SPURIOUS, OF_GROUP_1, 288):
        gic.write(0, GICC_EOIR, value)
        assert gic.read(0, GICC_RPR) == 0x50


def test_a_deactivation_is_ignored_unless_ends_are_split() -> None:
    """4.4.15, GICC_DIR, is unpredictable with EOImode 0."""
    gic = Gic()
    gic.spi(SPI, 1)
    gic.read(0, GICC_IAR)
    gic.write(0, GICC_DIR, SPI)
    assert gic.get(0, GICD_ISACTIVER + 4) == 1 << 8


def test_the_control_register_keeps_its_bits_and_bytes() -> None:
    """4.4.1, GICC_CTLR without Security Extensions, and without bypass."""
    gic = Gic()
    gic.write(0, GICC_CTLR, 0xFFFF_FFFF)
    assert gic.read(0, GICC_CTLR) == 0x21F
    gic.interface.store(0, GICC_CTLR, 1, GROUP_0, 0)
    assert (gic.read(0, GICC_CTLR), gic.read(1, GICC_CTLR)) == (0x201, 3)
