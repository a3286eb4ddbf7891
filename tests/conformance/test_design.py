"""What every design keeps to: its symbols are there, and its CPUs come up with their own data."""

from __future__ import annotations

import pytest
from booting import run

from emu.designs import DESIGNS, EARLY_STATUS_KINDS
from emu.host.secondary import ORDERS
from emu.subject.fragment import asm_dir

every_design = pytest.mark.parametrize("name", DESIGNS)
STRATEGIES_OF = [
    (name, bringup)
    for name, design in DESIGNS.items()
    for bringup in (
        "serial",
        *(["split"] if design.split else []),
        *(["parallel"] if design.parallel else []),
    )
]


@every_design
def test_its_choices_are_known_ones(name: str) -> None:
    design = DESIGNS[name]
    assert design.name == name
    assert design.early_status in EARLY_STATUS_KINDS
    assert design.base in ORDERS


@every_design
def test_each_fragment_is_a_file_and_stands_there_once(name: str) -> None:
    fragments = DESIGNS[name].fragments
    assert len(set(fragments)) == len(fragments)
    for fragment in fragments:
        assert any((asm_dir() / f"{fragment}{suffix}").is_file() for suffix in (".S", ".inc")), fragment


@every_design
@pytest.mark.parametrize("nr_cpus", [1, 5, 4096])
def test_it_assembles_with_its_symbols_for_any_number_of_cpus(name: str, nr_cpus: int) -> None:
    design = DESIGNS[name]
    subject = design.load(nr_cpus)
    for symbol in filter(None, (design.lookup_table, design.data_symbol, "secondary_entry")):
        assert subject.pa(symbol) % 4 == 0
    assert (design.lookup_table is not None) == any(item.startswith("lookup/") for item in design.fragments)


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize(("name", "bringup"), STRATEGIES_OF)
def test_every_cpu_comes_up_with_its_own_task(name: str, bringup: str, el: int) -> None:
    done = run(f"{name} topology=flat:4 bringup={bringup} el={el}")
    assert done.messages == []
    assert done.outcomes == ["online"] * 4


@pytest.mark.parametrize(("name", "bringup"), STRATEGIES_OF)
def test_no_order_of_operations_matters_to_it(name: str, bringup: str) -> None:
    """Random schedules, and caches that need maintenance."""
    for seed in range(3):
        done = run(
            f"{name} topology=flat:3 bringup={bringup} scheduler=random:{seed} grain=operation memory=caches"
        )
        assert (done.messages, done.outcomes) == ([], ["online"] * 3)


@every_design
def test_grains_give_the_same_operations(name: str) -> None:
    case = f"{name} topology=flat:3 bringup=serial"
    free = run(case, record=True).operations()
    assert free
    assert run(f"{case} grain=instruction", record=True).operations() == free
