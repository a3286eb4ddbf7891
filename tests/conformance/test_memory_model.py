"""What every memory model keeps to: each load returns a value that was there, on a machine and explored."""

from __future__ import annotations

import random

import pytest
from booting import run
from exploring import X, Y

from emu.case import Case
from emu.errors import InvalidCase
from emu.explore.explorer import explore_case
from emu.explore.search import Bounds
from emu.models import MODELS, memory_model
from emu.operation import Access, Load, Store

every_model = pytest.mark.parametrize("name", MODELS)


def granule_of(name: str) -> int:
    return min(MODELS[name].granules, default=64)


@every_model
def test_it_describes_itself(name: str) -> None:
    model = MODELS[name]
    assert model.name == name
    assert all(len(letter) == 1 and "{}" in words for letter, words in model.choices.items())
    for granule in model.granules:
        assert memory_model(name, granule) is model
    says = "not one of " if model.granules else f"memory={name} has no lines"
    with pytest.raises(InvalidCase, match=rf"^granule=3: {says}"):
        run(f"v3 topology=flat:2 memory={name} granule=3")


@every_model
@pytest.mark.parametrize("grain", ["free", "operation", "instruction"])
def test_a_sound_boot_passes_in_it_at_every_grain(name: str, grain: str) -> None:
    done = run(f"v3 topology=flat:3 memory={name} granule={granule_of(name)} grain={grain}")
    assert (done.messages, done.outcomes) == ([], ["online"] * 3)


@every_model
def test_a_boot_gives_the_same_twice(name: str) -> None:
    case = f"v2 topology=flat:3 memory={name} scheduler=random:3 grain=operation"
    assert run(case).trace_bytes == run(case).trace_bytes


@every_model
def test_a_sound_boot_is_explored_completely_without_a_finding(name: str) -> None:
    explorer, _ = explore_case(Case.parse(f"v3 topology=flat:2 memory={name}"))
    result = explorer.search(Bounds())
    assert (result.complete, result.findings) == (True, [])


@every_model
@pytest.mark.parametrize("seed", range(20))
def test_a_load_returns_what_was_stored_there(name: str, seed: int) -> None:
    """The initial value or a stored one, as whole words; and something in any state."""
    chance = random.Random(seed)
    model, granule = MODELS[name], granule_of(name)
    words = [X, Y]
    operations = [
        kind(pa, 1, cacheable=c) if kind is Store else kind(pa, cacheable=c)
        for pa in words
        for kind in (Load, Store)
        for c in (True, False)
    ]
    units = model.units(operations, granule)
    explored = model.explored(units, granule)
    state = explored.initial(lambda _pa, size: bytes(size))
    possible = {pa: {0} for pa in words}
    for value in range(1, 60):
        pa, cpu = chance.choice(words), chance.randrange(3)
        if not any(unit <= pa < unit + granule for unit in units):
            continue  # plain memory: the explorer's own
        cacheable = chance.random() < 0.6
        if chance.random() < 0.4:
            state = explored.store(state, cpu, Access(pa, 8, True, value, cacheable)).state
            possible[pa].add(value)
            continue
        found = explored.loads(state, cpu, Access(pa, 8, False, cacheable=cacheable))
        assert found
        assert {each.value for each in found} <= possible[pa]
        state = chance.choice(found).state
        for unit in range(len(units)):
            letters = explored.choices(state, unit)
            assert set(letters) <= set(model.choices)
            if letters and chance.random() < 0.3:
                state = explored.choose(state, unit, chance.choice(letters)).state
        hash(state)
