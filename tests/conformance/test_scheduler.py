"""What every scheduler keeps to, whatever it is."""

from __future__ import annotations

import pytest
from booting import run
from hypothesis import given
from hypothesis import strategies as st
from scheduling import picks

from emu.errors import InvalidCase
from emu.schedulers import SCHEDULERS, make_scheduler

RUNNABLE = st.lists(st.integers(0, 600), min_size=1, max_size=6, unique=True).map(sorted)
every_scheduler = pytest.mark.parametrize("name", SCHEDULERS)


@every_scheduler
@given(sets=st.lists(RUNNABLE, max_size=10), seed=st.integers(0, 2**64))
def test_picks_one_of_the_runnable(name: str, sets: list[list[int]], seed: int) -> None:
    """Also when the one that went last cannot go any more."""
    for chosen, runnable in zip(picks(name, seed, sets), sets, strict=True):
        assert chosen in runnable


@every_scheduler
@given(sets=st.lists(RUNNABLE, max_size=10), seed=st.integers(0, 2**64))
def test_same_seed_and_arguments_give_the_same_picks(name: str, sets: list[list[int]], seed: int) -> None:
    """Nothing else decides: neither time nor the order of a set."""
    assert picks(name, seed, sets) == picks(name, seed, sets)


@every_scheduler
@given(runnable=RUNNABLE, seed=st.integers(0, 2**32))
def test_leaves_its_arguments_alone(name: str, runnable: list[int], seed: int) -> None:
    """The list is the machine's own."""
    before = list(runnable)
    picks(name, seed, [runnable] * 5)
    assert runnable == before


@pytest.mark.parametrize("name", [name for name, kind in SCHEDULERS.items() if kind.fair])
@given(runnable=RUNNABLE, seed=st.integers(0, 2**32))
def test_starves_nobody(name: str, runnable: list[int], seed: int) -> None:
    """Each of N runnable actors goes within 40 N picks."""
    assert set(picks(name, seed, [runnable] * (40 * len(runnable)))) == set(runnable)


@every_scheduler
def test_can_be_named(name: str) -> None:
    """NAME, and NAME:SEED with the seed in any base."""
    expected = type(SCHEDULERS[name].scheduler(""))
    texts = [name, f"{name}:7", f"{name}:0x7"] if SCHEDULERS[name].seeded else [name]
    assert all(isinstance(make_scheduler(text), expected) for text in texts)


@every_scheduler
def test_nonsense_behind_its_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidCase, match=rf"^scheduler={name}:\?!: \S"):
        make_scheduler(f"{name}:?!")


@pytest.mark.parametrize("name", [name for name, kind in SCHEDULERS.items() if kind.walk])
def test_a_walk_is_one_schedule_after_another(name: str) -> None:
    """The same text gives the same schedules, and each of them is one that ``--scheduler`` takes."""
    walk = SCHEDULERS[name].walk
    assert walk is not None
    texts = [walk("5")(number) for number in range(20)]
    assert texts == [walk("5")(number) for number in range(20)]
    assert len(set(texts)) == 20
    for text in texts:
        make_scheduler(text)


@every_scheduler
def test_a_boot_comes_to_its_end_and_to_the_same_twice(name: str) -> None:
    grain = "operation" if SCHEDULERS[name].of_operations else "free"
    case = f"v3 topology=flat:3 scheduler={name} grain={grain}"
    first, second = run(case), run(case)
    assert first.outcomes == ["online"] * 3
    assert first.messages == []
    assert first.trace_bytes == second.trace_bytes


@pytest.mark.parametrize("name", [name for name, kind in SCHEDULERS.items() if kind.of_operations])
def test_a_scheduler_of_operations_does_not_let_a_cpu_run_freely(name: str) -> None:
    with pytest.raises(InvalidCase, match="^grain=free: "):
        run(f"v3 topology=flat:2 scheduler={name} grain=free")


def test_a_recorded_schedule_is_one_of_operations() -> None:
    assert SCHEDULERS["replay"].of_operations
