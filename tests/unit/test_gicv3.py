"""GICv3: what its registers do beside what every controller does (Arm IHI 0069, one Security state).

This is one file because all tests drive one controller by its registers, with the same words for them.
"""

from __future__ import annotations

import pytest

from emu.arch.sysreg import Encoding
from emu.devices.controllers import icc
from emu.devices.controllers.gicv3 import GicV3
from emu.devices.protocol import NO_CPU, WAKE, Board, Device

GICD_CTLR, GICD_TYPER, GICD_IGROUPR, GICD_ISENABLER, GICD_ICENABLER = 0x000, 0x004, 0x080, 0x100, 0x180
GICD_ISPENDR, GICD_ISACTIVER, GICD_IPRIORITYR, GICD_ITARGETSR, GICD_SGIR = 0x200, 0x300, 0x400, 0x800, 0xF00
GICD_IROUTER, PIDR2 = 0x6000, 0xFFE8
GICR_TYPER, GICR_WAKER, SGI_BASE = 0x0008, 0x0014, 0x1_0000
SPI, OTHER_SPI, PPI, SPURIOUS = 40, 41, 27, 1023
RSS = 1 << 26
CLUSTERS = (0x000, 0x001, 0x100, 0x10F, 0x1_01_00, 0x1_00_00_00_01)
WIDE = (0x00, 0x0F, 0x10, 0x2F, 0xFF)


class Gic:
    """A GICv3 whose CPUs are awake, with all interrupts enabled and of group 1."""

    def __init__(self, hwids: tuple[int, ...] = (0, 1, 2), group1: int = 0xFFFF_FFFF) -> None:
        self.signals: list[int] = []
        self.wakes: list[tuple[int, bool]] = []
        board = Board(signal=self._take, hwids=hwids)
        self.gic = GicV3(board)
        self.cpus = range(len(hwids))
        regions: dict[str, Device] = dict(self.gic.regions())
        self.distributor, self.redistributors = regions["distributor"], regions["redistributors"]
        self.put(GICD_CTLR, 3)
        self.put(GICD_ISENABLER + 4, 0xFFFF_FFFF)
        self.put(GICD_IGROUPR + 4, group1)
        for cpu in self.cpus:
            self.put_own(cpu, GICR_WAKER, 0)
            self.put_own(cpu, SGI_BASE + GICD_IGROUPR, group1)
            self.put_own(cpu, SGI_BASE + GICD_ISENABLER, 0xFFFF_FFFF)
            for register, value in (
                (icc.ICC_PMR_EL1, 0xFF),
                (icc.ICC_IGRPEN0_EL1, 1),
                (icc.ICC_IGRPEN1_EL1, 1),
            ):
                self.write(cpu, register, value)
        self.signals.clear()
        self.wakes.clear()

    def _take(self, line: int, cpu: int, high: bool) -> None:
        # WAKE, or a change of IRQ or FIQ.
        if line == WAKE:
            self.wakes.append((cpu, high))
        else:
            self.signals.append(cpu)

    def get(self, offset: int, size: int = 4) -> int:
        """Load from the distributor."""
        return self.distributor.load(0, offset, size, 0)

    def put(self, offset: int, value: int, size: int = 4) -> None:
        """Store to the distributor."""
        self.distributor.store(0, offset, size, value, 0)

    def get_own(self, cpu: int, offset: int) -> int:
        """Load from the redistributor of ``cpu``; another CPU does."""
        return self.redistributors.load(0, cpu << 17 | offset, 4, 0)

    def put_own(self, cpu: int, offset: int, value: int, size: int = 4) -> None:
        """Store to the redistributor of ``cpu``; another CPU does."""
        self.redistributors.store(0, cpu << 17 | offset, size, value, 0)

    def read(self, cpu: int, register: Encoding) -> int:
        """MRS."""
        return self.gic.read(cpu, register, 0)

    def write(self, cpu: int, register: Encoding, value: int) -> None:
        """MSR."""
        self.gic.write(cpu, register, value, 0)

    def spi(self, intid: int, hwid: int, priority: int = 0) -> None:
        """Raise an SPI that goes to a CPU."""
        self.put(GICD_IROUTER + 8 * intid, hwid & 0xFFFF_FFFF)
        self.put(GICD_IROUTER + 8 * intid + 4, hwid >> 32)
        self.put(GICD_IPRIORITYR + intid, priority, 1)
        self.gic.set_line(intid, NO_CPU, True)

    def irqs(self) -> list[int]:
        """Return the CPUs that have an IRQ."""
        return [cpu for cpu in self.cpus if self.gic.has_irq(cpu)]

    def fiqs(self) -> list[int]:
        """Return the CPUs that have an FIQ."""
        return [cpu for cpu in self.cpus if self.gic.has_fiq(cpu)]


# -- redistributors --------------------------------------------------------------------------------


def test_redistributors_tell_their_cpus_by_affinity_and_the_last_one() -> None:
    """GICR_TYPER: Affinity_Value, Processor_Number, Last; there are no LPIs."""
    gic = Gic(CLUSTERS)
    upper = [gic.get_own(cpu, GICR_TYPER + 4) for cpu in gic.cpus]
    assert upper == [0x000, 0x001, 0x100, 0x10F, 0x1_0100, 0x0100_0001]
    lower = [gic.get_own(cpu, GICR_TYPER) for cpu in gic.cpus]
    assert [value >> 8 & 0xFFFF for value in lower] == list(gic.cpus)
    assert [value >> 4 & 1 for value in lower] == [0] * 5 + [1]
    assert [value & 1 for value in lower] == [0] * 6
    assert [gic.get_own(cpu, PIDR2) for cpu in gic.cpus] == [0x3B] * 6


def test_behind_the_last_redistributor_there_is_nothing() -> None:
    gic = Gic((0, 1))
    gic.put_own(2, GICR_WAKER, 0)
    assert (gic.get_own(2, GICR_TYPER), gic.get_own(2, PIDR2), gic.get_own(1, PIDR2)) == (0, 0, 0x3B)


def test_redistributors_in_several_regions_go_on_by_number_and_each_region_has_a_last_one() -> None:
    """QEMU 7.2 hw/intc/arm_gicv3_redist.c; Linux v6.12 gic_iterate_rdists() ends at GICR_TYPER.Last."""
    gic = GicV3(Board(hwids=(0, 1, 2, 3, 4), redistributors=(3, 2)))
    regions = gic.regions()
    first, second = regions["redistributors"], regions["redistributors-1"]
    assert [first.load(0, cpu << 17 | GICR_TYPER, 4, 0) >> 4 & 1 for cpu in range(3)] == [0, 0, 1]
    types = [second.load(0, at << 17 | GICR_TYPER, 4, 0) for at in range(2)]
    assert [(value >> 8 & 0xFFFF, value >> 4 & 1) for value in types] == [(3, 0), (4, 1)]
    assert first.load(0, 3 << 17 | PIDR2, 4, 0) == second.load(0, 2 << 17 | PIDR2, 4, 0) == 0
    second.store(0, 1 << 17 | GICR_WAKER, 4, 0, 0)
    state = first.state(), second.state()
    second.store(0, 1 << 17 | GICR_WAKER, 4, 2, 0)
    for region, before in zip((first, second), state, strict=True):
        region.set_state(before)
    assert [second.load(0, at << 17 | GICR_WAKER, 4, 0) for at in range(2)] == [6, 0]


def test_a_redistributor_that_sleeps_keeps_interrupts_back() -> None:
    """GICR_WAKER: both bits are set after reset; ChildrenAsleep follows ProcessorSleep."""
    gic = Gic()
    assert GicV3(Board()).regions()["redistributors"].load(0, GICR_WAKER, 4, 0) == 6
    assert gic.get_own(1, GICR_WAKER) == 0
    gic.put_own(1, GICR_WAKER, 2)
    gic.gic.set_line(PPI, 1, True)
    gic.spi(SPI, 1)
    assert (gic.get_own(1, GICR_WAKER), gic.irqs(), gic.read(1, icc.ICC_IAR1_EL1)) == (6, [], SPURIOUS)
    assert gic.get_own(1, SGI_BASE + GICD_ISPENDR) == 1 << PPI
    assert (gic.wakes, gic.gic.wakes(1), gic.gic.wakes(0)) == ([(1, True)], True, False)
    gic.put_own(1, GICR_WAKER, 0)
    assert (gic.irqs(), gic.signals) == ([1], [1])
    assert (gic.wakes, gic.gic.wakes(1)) == ([(1, True), (1, False)], False)


def test_a_reset_of_a_cpu_is_one_of_its_interface_and_not_of_its_redistributor() -> None:
    """IHI 0069, 12.2: ICC_PMR_EL1 and the enables are 0 after it, and no priority is active."""
    gic = Gic()
    changed = ((icc.ICC_CTLR_EL1, 3), (icc.ICC_BPR0_EL1, 5), (icc.ICC_AP1R0_EL1, 4), (icc.ICC_PMR_EL1, 0xF8))
    started = [register for register, _ in changed] + [icc.ICC_IGRPEN0_EL1, icc.ICC_IGRPEN1_EL1]
    after_reset = [GicV3(Board()).read(0, register, 0) for register in started]
    gic.gic.set_line(PPI, 1, True)
    assert gic.irqs() == [1]
    for register, value in changed:
        gic.write(1, register, value)
    private = gic.gic.private_state()
    gic.signals.clear()
    gic.gic.reset(1, 0)
    assert [gic.read(1, register) for register in started] == after_reset
    assert (gic.irqs(), gic.gic.private_state(), gic.get_own(1, GICR_WAKER)) == ([], private, 0)
    for register in (icc.ICC_PMR_EL1, icc.ICC_IGRPEN1_EL1):
        gic.write(1, register, 0xFF)
    assert (gic.irqs(), gic.signals) == ([1], [1])


def test_private_interrupts_are_in_redistributors_alone() -> None:
    """With affinity routing the registers of SGIs, PPIs and targets are RES0 in the distributor."""
    gic = Gic()
    for offset in (
        GICD_IGROUPR,
        GICD_ISENABLER,
        GICD_ISPENDR,
        GICD_IPRIORITYR,
        GICD_ITARGETSR + 40,
        GICD_SGIR,
    ):
        gic.put(offset, 0xFFFF_FFFF)
        assert gic.get(offset) == 0
    assert gic.irqs() == []


def test_sgis_can_be_disabled_and_set_pending_by_masks() -> None:
    """GICR_ISENABLER0, GICR_ISPENDR0: they are like other interrupts."""
    gic = Gic()
    gic.put_own(2, SGI_BASE + GICD_ICENABLER, 1 << 3)
    gic.put_own(2, SGI_BASE + GICD_ISPENDR, 1 << 3)
    assert gic.irqs() == []
    gic.put_own(2, SGI_BASE + GICD_ISENABLER, 1 << 3)
    assert gic.irqs() == [2]
    gic.put_own(2, SGI_BASE + 0xC00, 0)
    gic.put_own(2, SGI_BASE + 0xC04, 0xFFFF_FFFF)
    assert [gic.get_own(2, SGI_BASE + at) for at in (0xC00, 0xC04)] == [0xAAAA_AAAA] * 2


def test_a_state_has_who_sleeps() -> None:
    gic = Gic()
    gic.put_own(1, GICR_WAKER, 2)
    state = gic.redistributors.state()
    gic.put_own(1, GICR_WAKER, 0)
    gic.redistributors.set_state(state)
    assert [gic.get_own(cpu, GICR_WAKER) for cpu in gic.cpus] == [0, 6, 0]


# -- distributor -----------------------------------------------------------------------------------


def test_the_control_register_tells_affinity_routing_and_one_security_state() -> None:
    """GICD_CTLR: ARE and DS are set for good; no write is ever pending."""
    gic = Gic()
    for value in (0xFFFF_FFFF, 0):
        gic.put(GICD_CTLR, value)
        assert gic.get(GICD_CTLR) == 0x50 | value & 3
    gic.spi(SPI, 2)
    assert gic.irqs() == []
    gic.put(GICD_CTLR, 2)
    assert gic.irqs() == [2]


def test_the_type_tells_224_spis_without_1_of_n() -> None:
    """GICD_TYPER: ITLinesNumber, IDbits, A3V, No1N; no LPIs, no message-based SPIs."""
    assert Gic().get(GICD_TYPER) == 7 | 15 << 19 | 1 << 24 | 1 << 25
    assert Gic().get(PIDR2) == 0x3B


@pytest.mark.parametrize("cpu", range(6))
def test_an_spi_goes_to_the_affinity_that_its_router_has(cpu: int) -> None:
    """GICD_IROUTER: Aff3 is in the upper word; Interrupt_Routing_Mode is not there."""
    gic = Gic(CLUSTERS)
    gic.spi(SPI, CLUSTERS[cpu])
    assert gic.irqs() == [cpu]
    gic.put(GICD_IROUTER + 8 * SPI, 0xFF00_0000 | CLUSTERS[cpu] & 0xFF_FFFF)
    assert (gic.irqs(), gic.get(GICD_IROUTER + 8 * SPI)) == ([cpu], CLUSTERS[cpu] & 0xFF_FFFF)
    assert gic.get(GICD_IROUTER + 8 * SPI + 4) == CLUSTERS[cpu] >> 32


def test_an_spi_of_an_affinity_that_nobody_has_stays_pending() -> None:
    gic = Gic()
    gic.spi(SPI, 0x0700)
    assert (gic.irqs(), gic.get(GICD_ISPENDR + 4)) == ([], 1 << 8)
    gic.put(GICD_IROUTER + 8 * SPI, 2)
    assert gic.irqs() == [2]


def test_after_reset_spis_go_to_affinity_0() -> None:
    gic = Gic((1, 0))
    gic.gic.set_line(SPI, NO_CPU, True)
    assert gic.irqs() == [1]


# -- SGIs ------------------------------------------------------------------------------------------


def sgi(hwid: int, targets: int, intid: int = 5, selector: int = 0) -> int:
    """Return the word for ``targets`` in the cluster of ``hwid``."""
    affinities = (hwid >> 8 & 0xFF) << 16 | (hwid >> 16 & 0xFF) << 32 | (hwid >> 32) << 48
    return affinities | intid << 24 | targets | selector << 44


@pytest.mark.parametrize(
    ("hwid", "targets", "expected"),
    [(0x000, 0xFFFF, [0, 1]), (0x000, 2, [1]), (0x100, 0x8001, [2, 3]), (0x100, 0x4002, []), (0x200, 1, []),
     (0x1_01_00, 0xFFFF, [4]), (0x1_00_00_00_00, 2, [5])],
)  # fmt: skip
def test_an_sgi_reaches_the_cpus_of_its_affinity_list(hwid: int, targets: int, expected: list[int]) -> None:
    """ICC_SGI1R_EL1: Aff3 to Aff1 and a list of 16 values of Aff0."""
    gic = Gic(CLUSTERS)
    gic.write(0, icc.ICC_SGI1R_EL1, sgi(hwid, targets))
    assert gic.irqs() == expected
    for cpu in expected:
        assert gic.read(cpu, icc.ICC_IAR1_EL1) == 5


def test_an_sgi_to_all_reaches_all_but_the_sender() -> None:
    """ICC_SGI1R_EL1.IRM: the list is not looked at."""
    gic = Gic(CLUSTERS)
    gic.write(3, icc.ICC_SGI1R_EL1, 1 << 40 | 7 << 24 | 1)
    assert gic.irqs() == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("hwid", [0x10, 0x80, 0x1F])
def test_an_aff0_from_16_on_brings_the_range_selector(hwid: int) -> None:
    assert Gic((0, hwid)).get(GICD_TYPER) & RSS


@pytest.mark.parametrize(("selector", "expected"), [(0, [0, 1]), (1, [2]), (2, [3]), (15, [4]), (3, [])])
def test_the_range_selector_tells_which_sixteen(selector: int, expected: list[int]) -> None:
    """ICC_SGI1R_EL1.RS, where GICD_TYPER.RSS and ICC_CTLR_EL1.RSS say that it is there."""
    gic = Gic(WIDE)
    assert (gic.get(GICD_TYPER) & RSS, gic.read(0, icc.ICC_CTLR_EL1) >> 18 & 1) == (RSS, 1)
    gic.write(0, icc.ICC_SGI1R_EL1, sgi(0, 0xFFFF, selector=selector))
    assert gic.irqs() == expected


def test_where_every_aff0_is_below_16_there_is_no_range_selector() -> None:
    gic = Gic(CLUSTERS)
    assert (gic.get(GICD_TYPER) & RSS, gic.read(0, icc.ICC_CTLR_EL1) >> 18 & 1) == (0, 0)
    gic.write(0, icc.ICC_SGI1R_EL1, sgi(0, 1, selector=3))
    assert gic.irqs() == [0]


@pytest.mark.parametrize(
    ("register", "reached"),
    [(icc.ICC_SGI1R_EL1, [3, 4]), (icc.ICC_SGI0R_EL1, [3]), (icc.ICC_ASGI1R_EL1, [3])],
)
def test_only_sgi1r_sends_what_is_of_group_1(register: Encoding, reached: list[int]) -> None:
    """With one Security state ICC_SGI1R_EL1 sends SGIs of either group, the two others those of group 0."""
    gic = Gic(group1=1 << 4)
    for intid in (3, 4):
        gic.write(0, register, sgi(0, 2, intid))
    assert gic.get_own(1, SGI_BASE + GICD_ISPENDR) == sum(1 << intid for intid in reached)


def test_an_interrupt_costs_its_targets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 256 CPUs no other is looked at."""
    gic = Gic(tuple(cpu >> 4 << 8 | cpu & 15 for cpu in range(256)))
    looked: list[int] = []
    update = gic.gic.update
    monkeypatch.setattr(gic.gic, "update", lambda cpu: (looked.append(cpu), update(cpu)))
    gic.write(0, icc.ICC_SGI1R_EL1, sgi(0xF00, 1 << 15))
    gic.write(255, icc.ICC_EOIR1_EL1, gic.read(255, icc.ICC_IAR1_EL1))
    assert set(looked) == {255}
    looked.clear()
    gic.put(GICD_IROUTER + 8 * SPI, 0x108)
    looked.clear()
    gic.gic.set_line(SPI, NO_CPU, True)
    gic.gic.set_line(PPI, 24, True)
    assert set(looked) == {24}


# -- CPU interface ---------------------------------------------------------------------------------


def test_group_0_is_fiq_and_has_its_own_acknowledge() -> None:
    """ICC_IAR0_EL1, ICC_HPPIR0_EL1: what is of the other group is spurious."""
    gic = Gic(group1=0)
    gic.spi(SPI, 1)
    assert (gic.irqs(), gic.fiqs()) == ([], [1])
    assert [gic.read(1, each) for each in (icc.ICC_HPPIR1_EL1, icc.ICC_IAR1_EL1)] == [SPURIOUS] * 2
    assert [gic.read(1, each) for each in (icc.ICC_HPPIR0_EL1, icc.ICC_IAR0_EL1)] == [SPI] * 2
    assert (gic.read(1, icc.ICC_AP0R0_EL1), gic.read(1, icc.ICC_AP1R0_EL1), gic.fiqs()) == (1, 0, [])


def test_an_end_of_the_other_group_than_the_running_priority_is_ignored() -> None:
    """ICC_EOIR0_EL1: an end is for the interrupt that was acknowledged last; else it is unpredictable."""
    gic = Gic(group1=1 << 8)  # SPI is of group 1, OTHER_SPI of group 0
    gic.spi(SPI, 0, 0x80)
    assert gic.read(0, icc.ICC_IAR1_EL1) == SPI
    gic.spi(OTHER_SPI, 0, 0x40)
    assert gic.read(0, icc.ICC_IAR0_EL1) == OTHER_SPI
    gic.write(0, icc.ICC_EOIR1_EL1, SPI)
    assert (gic.read(0, icc.ICC_RPR_EL1), gic.get(GICD_ISACTIVER + 4)) == (0x40, 3 << 8)
    gic.write(0, icc.ICC_EOIR0_EL1, OTHER_SPI)
    assert (gic.read(0, icc.ICC_RPR_EL1), gic.get(GICD_ISACTIVER + 4)) == (0x80, 1 << 8)
    gic.write(0, icc.ICC_EOIR0_EL1, SPI)
    assert gic.read(0, icc.ICC_RPR_EL1) == 0x80
    gic.write(0, icc.ICC_EOIR1_EL1, SPI)
    assert (gic.read(0, icc.ICC_RPR_EL1), gic.get(GICD_ISACTIVER + 4)) == (0xFF, 0)


def test_the_group_of_the_running_priority_is_that_of_the_highest() -> None:
    """Group 1 has preempted group 0: its end comes first."""
    gic = Gic(group1=1 << 9)  # OTHER_SPI is of group 1
    gic.spi(SPI, 0, 0x80)
    gic.read(0, icc.ICC_IAR0_EL1)
    gic.spi(OTHER_SPI, 0, 0x40)
    assert gic.read(0, icc.ICC_IAR1_EL1) == OTHER_SPI
    gic.write(0, icc.ICC_EOIR0_EL1, SPI)
    assert gic.read(0, icc.ICC_RPR_EL1) == 0x40
    gic.write(0, icc.ICC_EOIR1_EL1, OTHER_SPI)
    assert gic.read(0, icc.ICC_RPR_EL1) == 0x80


@pytest.mark.parametrize("end", [icc.ICC_EOIR0_EL1, icc.ICC_EOIR1_EL1])
def test_an_end_while_nothing_is_running_is_ignored(end: Encoding) -> None:
    gic = Gic()
    gic.put_own(0, SGI_BASE + GICD_ISACTIVER, 1 << PPI)
    gic.write(0, end, PPI)
    assert gic.get_own(0, SGI_BASE + GICD_ISACTIVER) == 1 << PPI


@pytest.mark.parametrize("value", [256, 1020, 1023, 1 << 23])
def test_an_end_of_what_is_no_interrupt_is_ignored(value: int) -> None:
    gic = Gic()
    gic.spi(SPI, 0, 0x80)
    gic.read(0, icc.ICC_IAR1_EL1)
    gic.write(0, icc.ICC_EOIR1_EL1, value)
    gic.write(0, icc.ICC_DIR_EL1, value)
    assert (gic.read(0, icc.ICC_RPR_EL1), gic.get(GICD_ISACTIVER + 4)) == (0x80, 1 << 8)


def test_a_deactivation_is_ignored_unless_ends_are_split() -> None:
    """ICC_DIR_EL1 is unpredictable with EOImode 0."""
    gic = Gic()
    gic.spi(SPI, 0)
    gic.read(0, icc.ICC_IAR1_EL1)
    gic.write(0, icc.ICC_DIR_EL1, SPI)
    assert gic.get(GICD_ISACTIVER + 4) == 1 << 8


@pytest.mark.parametrize("group", [icc.ICC_IGRPEN1_EL1, icc.ICC_IGRPEN0_EL1])
def test_a_group_that_is_disabled_at_the_interface_is_not_signalled(group: Encoding) -> None:
    gic = Gic(group1=0xFFFF_FFFF if group == icc.ICC_IGRPEN1_EL1 else 0)
    gic.write(0, group, 0)
    gic.spi(SPI, 0)
    assert (gic.irqs(), gic.fiqs(), gic.read(0, group)) == ([], [], 0)
    assert [gic.read(0, each) for each in (icc.ICC_HPPIR0_EL1, icc.ICC_HPPIR1_EL1)] == [SPURIOUS] * 2
    gic.write(0, group, 1)
    assert gic.irqs() + gic.fiqs() == [0]


def test_priorities_have_five_bits_at_the_interface() -> None:
    """ICC_CTLR_EL1.PRIbits; ICC_PMR_EL1 keeps as many; so has ICC_AP1R0_EL1 32 levels."""
    gic = Gic()
    assert (gic.read(0, icc.ICC_CTLR_EL1) >> 8 & 7, gic.read(0, icc.ICC_PMR_EL1)) == (4, 0xF8)
    gic.spi(SPI, 0, 0xA7)
    gic.read(0, icc.ICC_IAR1_EL1)
    assert (gic.read(0, icc.ICC_RPR_EL1), gic.read(0, icc.ICC_AP1R0_EL1)) == (0xA0, 1 << 20)


def test_what_is_pending_is_told_whatever_masks_it() -> None:
    """ICC_HPPIR1_EL1: neither ICC_PMR_EL1 nor the running priority hide it."""
    gic = Gic()
    gic.spi(SPI, 0, 0x40)
    gic.read(0, icc.ICC_IAR1_EL1)
    gic.spi(OTHER_SPI, 0, 0x80)
    gic.write(0, icc.ICC_PMR_EL1, 0x10)
    assert (gic.irqs(), gic.read(0, icc.ICC_HPPIR1_EL1)) == ([], OTHER_SPI)


def test_active_priorities_can_be_kept_and_put_back() -> None:
    """ICC_AP0R0_EL1 and ICC_AP1R0_EL1: bit n is group priority 8 * n."""
    gic = Gic()
    gic.write(0, icc.ICC_AP1R0_EL1, 1 << 31 | 1 << 4)
    assert gic.read(0, icc.ICC_RPR_EL1) == 0x20
    gic.write(0, icc.ICC_AP0R0_EL1, 1 << 2)
    assert gic.read(0, icc.ICC_RPR_EL1) == 0x10
    gic.spi(SPI, 0, 0x10)
    assert gic.irqs() == []
    gic.write(0, icc.ICC_AP0R0_EL1, 0)
    assert gic.irqs() == [0]
    gic.write(0, icc.ICC_AP1R0_EL1, 0)
    assert gic.read(0, icc.ICC_RPR_EL1) == 0xFF


def test_with_a_common_binary_point_that_of_group_1_follows() -> None:
    """ICC_CTLR_EL1.CBPR: ICC_BPR1_EL1 reads one more than ICC_BPR0_EL1, at most 7, and keeps its own."""
    gic = Gic()
    gic.write(0, icc.ICC_BPR1_EL1, 4)
    gic.write(0, icc.ICC_CTLR_EL1, 1)
    for point, expected in ((0, 3), (5, 6), (7, 7)):
        gic.write(0, icc.ICC_BPR0_EL1, point)
        gic.write(0, icc.ICC_BPR1_EL1, 0)
        assert gic.read(0, icc.ICC_BPR1_EL1) == expected
    gic.write(0, icc.ICC_CTLR_EL1, 0)
    assert (gic.read(0, icc.ICC_BPR1_EL1), gic.read(0, icc.ICC_BPR0_EL1)) == (4, 7)


@pytest.mark.parametrize(("point", "expected"), [(3, [0]), (4, [0]), (5, []), (7, [])])
def test_only_a_higher_group_priority_preempts(point: int, expected: list[int]) -> None:
    """ICC_BPR1_EL1: with binary point n, bits 7 to n are the group priority."""
    gic = Gic()
    gic.write(0, icc.ICC_BPR1_EL1, point)
    gic.spi(SPI, 0, 0x50)
    gic.read(0, icc.ICC_IAR1_EL1)
    gic.spi(OTHER_SPI, 0, 0x40)
    assert gic.irqs() == expected


def test_every_register_of_the_interface_is_owned() -> None:
    """Each is read or written by its encoding; there are no others of the CPU interface at EL1."""
    gic = Gic()
    names = {name: value for name, value in vars(icc).items() if name.startswith("ICC_")}
    assert gic.gic.encodings == frozenset(names.values())
    writes_only = {
        "ICC_EOIR0_EL1",
        "ICC_EOIR1_EL1",
        "ICC_DIR_EL1",
        "ICC_SGI0R_EL1",
        "ICC_SGI1R_EL1",
        "ICC_ASGI1R_EL1",
    }
    for name, encoding in names.items():
        if name in writes_only:
            gic.write(0, encoding, 0)
        else:
            assert 0 <= gic.read(0, encoding) < 1 << 32


def test_a_look_at_the_registers_gives_what_a_read_would_and_changes_nothing() -> None:
    gic = Gic()
    gic.spi(40, 1, priority=0x40)
    looked = {register: gic.gic.look(1, register) for register in icc.NAMES}
    assert looked[icc.ICC_IAR1_EL1] == looked[icc.ICC_HPPIR1_EL1] == 40
    pending = gic.get(GICD_ISPENDR + 4), gic.get(GICD_ISACTIVER + 4)
    assert {register: gic.gic.look(1, register) for register in icc.NAMES} == looked
    assert (gic.get(GICD_ISPENDR + 4), gic.get(GICD_ISACTIVER + 4)) == pending == (1 << 8, 0)
    for register in icc.NAMES:  # IAR last but for one that has nothing
        assert gic.read(1, register) == looked[register]
    assert gic.gic.look(1, icc.ICC_RPR_EL1) == 0x40, "it is acknowledged now"
    assert gic.gic.look(1, icc.ICC_EOIR1_EL1) is None
