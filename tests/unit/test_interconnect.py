"""What is outside of PEs, in its plainest form; and that an engine asks it, and nobody when it only looks."""

from __future__ import annotations

import pytest
from bare_pe import CODE, DATA, Bare

from emu.arch import sysreg
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.stops import Raised, Waiting
from emu.operation import Access, Kind, MemoryAccess
from emu.semantics.monitors import GRANULE


def test_a_monitor_is_armed_for_the_address_and_cleared_once() -> None:
    """Arm DDI 0487, B2.12.2: a store-exclusive clears it whatever comes of it."""
    bare, outside = Bare(), LocalInterconnect()
    pe = bare.pe()
    outside.load_exclusive(pe, DATA + GRANULE + 8, 8)
    assert (outside.system.monitors, outside.monitors_armed) == (((pe.index, DATA + GRANULE + 8),), True)
    assert outside.store_exclusive(pe)
    assert (outside.system.monitors, outside.monitors_armed) == ((), False)
    assert not outside.store_exclusive(pe)


@pytest.mark.parametrize(
    ("pa", "size", "hit"),
    [
        (0, 1, True),
        (GRANULE - 1, 1, True),
        (GRANULE, 1, False),
        (-8, 8, False),
        (-8, 9, True),
        (-64, 256, True),
    ],
)
def test_stores_of_others_that_hit_the_granule_clear_it_with_an_event(pa: int, size: int, hit: bool) -> None:
    bare, outside = Bare(), LocalInterconnect()
    pe, other = bare.pe(), bare.pe()
    outside.load_exclusive(pe, DATA, 8)
    outside.stored(pe, DATA + pa, size)  # its own
    assert outside.monitors_armed
    outside.stored(other, DATA + pa, size)
    assert (outside.monitors_armed, outside.has_event(pe), outside.has_event(other)) == (not hit, hit, False)


def test_clearing_the_own_monitor_is_no_event() -> None:
    bare, outside = Bare(), LocalInterconnect()
    pe = bare.pe()
    outside.load_exclusive(pe, DATA, 8)
    outside.clear_exclusive(pe)
    assert (outside.monitors_armed, outside.has_event(pe)) == (False, False)


def test_the_event_register_is_consumed_once() -> None:
    """Arm DDI 0487, D1.7.1."""
    bare, outside = Bare(), LocalInterconnect()
    pe, other = bare.pe(), bare.pe()
    outside.send_event_local(pe)
    assert (outside.has_event(pe), outside.has_event(other)) == (True, False)
    assert [outside.wait_for_event(pe) for _ in range(2)] == [False, True]


def test_a_trapped_wfe_consumes_nothing() -> None:
    """HCR_EL2.TWE: the event register is looked at, and left."""
    bare = Bare()
    bare.load("wfe\n wfe\n b .")
    pe = bare.pe()
    pe.set_system_register(sysreg.HCR_EL2, pe.sysreg(sysreg.HCR_EL2) | 1 << 14)
    stop = bare.go(pe)
    assert isinstance(stop, Raised)
    assert (stop.syndrome >> 26, stop.target_el, pe.pc) == (1, 2, CODE)
    bare.outside.send_event_local(pe)
    assert isinstance(bare.go(pe), Raised)  # the second: the first one had its event
    assert (pe.pc, bare.outside.has_event(pe)) == (CODE + 4, False)


def test_what_is_only_looked_at_is_noticed_by_nobody() -> None:
    """A store that must be executed to be known: memory, monitors, events, counters and records stay."""
    bare = Bare()
    bare.load("st1 {v1.8b}, [x0]")
    pe, other = bare.pe(), bare.pe()
    pe.set_system_register(sysreg.CPACR_EL1, 3 << 20)
    pe.x[0] = CODE + 0x800
    bare.memory.write(CODE + 0x800, 8, 7)
    bare.outside.load_exclusive(other, CODE + 0x800, 8)
    operation = bare.engine.next_operation(pe)
    assert operation == MemoryAccess((Access(CODE + 0x800, 8, True, 0),))
    assert bare.outside.system.monitors == ((other.index, CODE + 0x800),)
    assert not bare.outside.has_event(other)
    assert (bare.records, bare.memory.read(CODE + 0x800, 8)) == ([], 7)
    assert (pe.pc, pe.counters.instructions, pe.counters.stores) == (CODE, 0, 0)


def test_a_sleeper_is_asked_for_by_the_engine() -> None:
    """WFE asks the interconnect; what it answers is what happens."""
    bare = Bare()
    bare.load("wfe\n wfe\n b .")
    pe = bare.pe()
    bare.outside.send_event_local(pe)
    assert bare.go(pe) == Waiting(Kind.WFE)
    assert pe.pc == CODE + 8
