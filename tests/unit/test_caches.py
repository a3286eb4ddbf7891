"""Lines of the model ``caches``: what each access and each operation makes of one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.models.caches import lines as caches
from emu.models.caches.lines import Choice, Line

IVAC, CVAC, CVAU, CIVAC = 0xD508_7620, 0xD50B_7A20, 0xD50B_7B20, 0xD50B_7E20
ABSENT = Line(bytes(64))


def test_cacheable_store_is_in_the_domain_and_not_in_memory() -> None:
    line = caches.stored(ABSENT, 8, b"\x01", True)
    assert line.state == "dirty"
    assert (line.view(True)[8], line.view(False)[8]) == (1, 0)
    assert caches.stale(line, 8, 1, False) == b"\x01"
    assert caches.stale(line, 9, 1, False) is None


def test_store_past_the_caches_leaves_a_copy_behind() -> None:
    line = caches.stored(caches.fill(ABSENT), 8, b"\x01", False)
    assert line.state == "clean"
    assert (line.view(True)[8], line.view(False)[8]) == (0, 1)
    assert caches.stale(line, 8, 1, True) == b"\x01"
    assert caches.stored(ABSENT, 8, b"\x01", False).state == "absent"


@pytest.mark.parametrize(
    ("word", "state", "in_memory", "lost"),
    [(CVAC, "clean", 1, 0), (CIVAC, "absent", 1, 0), (IVAC, "absent", 0, 1)],
)
def test_maintenance_by_va(word: int, state: str, in_memory: int, lost: int) -> None:
    """Arm DDI 0487 D7.5.9: clean writes back, invalidate drops, whatever lies there."""
    line, gone = caches.maintain(caches.stored(ABSENT, 0, b"\x01", True), word)
    assert (line.state, line.memory[0], gone) == (state, in_memory, lost)


def test_unification_is_nothing_to_data() -> None:
    assert not caches.is_by_va(CVAU)


def test_write_back_of_a_dirty_line_covers_what_was_stored_beside_it() -> None:
    line = caches.stored(caches.stored(ABSENT, 0, b"\x01", True), 8, b"\x02", False)
    line, lost = caches.write_back(line)
    assert line.memory[:9] == b"\x01" + bytes(8)
    assert lost == 1 << 8


def test_choices_fit_the_state() -> None:
    clean, dirty = caches.fill(ABSENT), caches.stored(ABSENT, 0, b"\x01", True)
    assert caches.choices(ABSENT) == (Choice.FILL,)
    assert caches.choices(clean) == (Choice.DROP,)
    assert caches.choices(dirty) == (Choice.WRITE_BACK,)
    with pytest.raises(ValueError, match="DROP of a line that is dirty"):
        caches.choose(dirty, Choice.DROP)


STEPS = st.one_of(
    st.tuples(st.just("store"), st.integers(0, 7), st.integers(1, 255), st.booleans()),
    st.tuples(st.just("load"), st.integers(0, 7), st.just(0), st.booleans()),
    st.tuples(st.just("maintain"), st.sampled_from([IVAC, CVAC, CIVAC]), st.just(0), st.just(True)),
    st.tuples(st.just("choose"), st.just(0), st.just(0), st.just(True)),
)


@given(st.lists(STEPS, max_size=30))
def test_nothing_is_lost_or_stale_that_is_not_told(steps: list[tuple[str, int, int, bool]]) -> None:
    """The newest value of each byte is in one of the two places until it is told lost."""
    line, newest = Line(bytes(8)), bytearray(8)
    for what, at, value, cacheable in steps:
        lost = 0
        if what == "store":
            line = caches.stored(line, at, bytes([value]), cacheable)
            newest[at] = value
        elif what == "load":
            newer = caches.stale(line, at, 1, cacheable)
            got = line.view(cacheable)[at]
            assert (newer[0] if newer else got) == newest[at]
            line = caches.loaded(line, cacheable)
        elif what == "maintain":
            line, lost = caches.maintain(line, at)
        else:
            line, lost = caches.choose(line, caches.choices(line)[0])
        for byte in range(8):
            here = newest[byte] in (line.view(True)[byte], line.view(False)[byte])
            if lost >> byte & 1:
                assert line.view(False)[byte] != newest[byte]
                newest[byte] = line.view(True)[byte]
            else:
                assert here
