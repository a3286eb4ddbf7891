"""The model ``caches`` on a machine: what PEs find in memory whose lines are dirty."""

from __future__ import annotations

import pytest
from bare_pe import BASE, DATA, SIZE

from emu.memory import Memory
from emu.models.caches.lines import Choice
from emu.models.caches.machine import Domain
from emu.operation import DC_CIVAC, Kind


class Rig:
    """A domain, with accesses made as a machine makes them."""

    def __init__(self, granule: int = 64) -> None:
        self.memory = Memory(BASE, SIZE)
        self.notes: list[tuple[Kind, int, int, int]] = []
        self.domain = Domain(self.memory, granule, lambda *note: self.notes.append(note))

    def store(self, pa: int, data: bytes, cacheable: bool) -> None:
        self.domain.access(0, pa, len(data), cacheable, True)
        self.memory.write_bytes(pa, data)
        self.domain.settle()

    def load(self, pa: int, size: int, cacheable: bool) -> bytes:
        self.domain.access(0, pa, size, cacheable, False)
        data = self.memory.read_bytes(pa, size)
        self.domain.settle()
        return data


def test_each_access_finds_its_own_view() -> None:
    rig = Rig()
    rig.store(DATA, b"new", True)
    assert rig.load(DATA, 3, False) == bytes(3)
    assert rig.load(DATA, 3, True) == b"new"
    assert rig.memory.read_bytes(DATA, 3) == b"new"  # between accesses, that of caches that are on
    assert [note[0] for note in rig.notes] == [Kind.STALE]
    rig.domain.choose(DATA & -64, Choice.WRITE_BACK.value)
    assert rig.load(DATA, 3, False) == b"new"


@pytest.mark.parametrize("cacheable", [True, False])
def test_access_over_two_lines_is_one_to_each(cacheable: bool) -> None:
    """Unaligned, which Normal memory allows."""
    rig, pa = Rig(), DATA + 60
    rig.store(DATA, bytes(128), True)
    rig.store(pa, b"12345678", cacheable)
    assert rig.load(pa, 8, cacheable) == b"12345678"
    other = rig.load(pa, 8, not cacheable)
    assert other == bytes(8)
    assert sum(note[0] is Kind.STALE for note in rig.notes) == 2


def test_lines_are_as_large_as_the_granule() -> None:
    small, large = Rig(64), Rig(256)
    for rig in (small, large):
        rig.store(DATA, b"x", True)
        rig.store(DATA + 128, b"y", False)
        rig.domain.choose(DATA & -rig.domain.granule, Choice.WRITE_BACK.value)
    assert small.load(DATA + 128, 1, False) == b"y"
    assert large.load(DATA + 128, 1, False) == bytes(1)
    assert [note[0] for note in large.notes][:1] == [Kind.LOST]
    assert not any(note[0] is Kind.LOST for note in small.notes)


def test_choice_that_the_state_does_not_allow_is_refused() -> None:
    with pytest.raises(ValueError, match="WRITE_BACK of a line that is absent"):
        Rig().domain.choose(DATA, Choice.WRITE_BACK.value)


@pytest.mark.parametrize("granule", [64, 128])
def test_a_line_that_is_dirty_from_the_beginning_is_stale_to_those_whose_caches_are_off(granule: int) -> None:
    """Also where a line of the model is larger, and the other half of it is clean."""
    rig = Rig(granule)
    rig.memory.write_bytes(DATA, b"new")
    rig.memory.behind = {DATA: b"old" + bytes(61)}
    assert rig.load(DATA, 3, True) == b"new"
    assert rig.load(DATA, 3, False) == b"old"
    assert [(kind, pa) for kind, pa, _, _ in rig.notes] == [(Kind.STALE, DATA)]
    rig.domain.maintain(0, DC_CIVAC, DATA, delayed=False)
    assert rig.load(DATA, 3, False) == b"new"
    assert rig.load(DATA + 64, 3, False) == bytes(3)
    assert len(rig.notes) == 1


def test_a_store_past_a_line_that_is_dirty_from_the_beginning_is_lost() -> None:
    """When the line is written back."""
    rig = Rig()
    rig.memory.write_bytes(DATA, b"new")
    rig.memory.behind = {DATA: bytes(64)}
    rig.store(DATA + 8, b"12345678", False)
    rig.domain.choose(DATA, Choice.WRITE_BACK.value)
    assert rig.load(DATA, 3, False) == b"new"
    assert rig.load(DATA + 8, 8, False) == bytes(8)
    assert Kind.LOST in [note[0] for note in rig.notes]
