"""The registry of designs, and that what a design says of itself is so."""

from __future__ import annotations

import dataclasses
import importlib
import re

import pytest

from emu.arch.mpidr import INVALID_HWID
from emu.designs import DESIGNS, EARLY_STATUS_KINDS, Design, get
from emu.errors import InvalidCase

every_design = pytest.mark.parametrize("design", DESIGNS.values(), ids=lambda design: design.name)


def test_designs_are_registered_under_their_names() -> None:
    """A file in the folder is registered; nothing else lists it."""
    assert {"context-id", "mainline", "rfc", "v2", "v3"} <= set(DESIGNS)
    assert all(get(name).name == name for name in DESIGNS)


def test_unknown_design_names_the_known_ones() -> None:
    """Name, rule and cure in one line."""
    with pytest.raises(InvalidCase, match=f"^design=v4: not one of {', '.join(DESIGNS)}"):
        get("v4")


@every_design
def test_design_file_says_where_it_comes_from(design: Design) -> None:
    """One paragraph and its source."""
    module = importlib.import_module(f"emu.designs.{design.name.replace('-', '_')}")
    assert re.search(r"Source: .*20\d\d", (module.__doc__ or "").replace("\n", " "))


@every_design
def test_design_is_a_value(design: Design) -> None:
    """Frozen, so that a case can hold it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        design.name = "x"  # type: ignore[misc]
    assert hash(design) == hash(dataclasses.replace(design))


@every_design
def test_symbols_that_a_design_names_exist(design: Design) -> None:
    """The host writes to them by name."""
    subject = design.load(8)
    for symbol in (
        "secondary_entry",
        "secondary_holding_pen",
        "secondary_holding_pen_release",
        "secondary_startup",
        "__secondary_switched",
        "secondary_start_kernel",
        "__secondary_too_slow",
        "__no_granule_support",
        "__cpu_secondary_check52bitva",
        "__early_cpu_boot_status",
        "__boot_cpu_mode",
        "__per_cpu_offset",
        "vabits_actual",
        "swapper_pg_dir",
        "idmap_pg_dir",
        "secondary_data",
        design.data_symbol,
        *([design.lookup_table] if design.lookup_table else []),
    ):
        assert subject.symbols.address(symbol), symbol


@every_design
def test_lookup_runs_where_the_design_says(design: Design) -> None:
    """A table that must be clean to the PoC is one that is scanned with the MMU off, and the reverse."""
    lookups = [fragment for fragment in design.fragments if fragment.startswith("lookup/")]
    assert len(lookups) == (design.lookup_table is not None)
    if lookups:
        mmu_on = design.fragments.index("boot/__secondary_switched")
        assert design.table_clean_to_poc == (design.fragments.index(lookups[0]) < mmu_on)
        assert design.table_skips_boot_cpu == (design.lookup_table_unused != INVALID_HWID)


@every_design
def test_early_status_is_the_included_variant(design: Design) -> None:
    """Exactly one variant, and its size follows from it."""
    included = [f"include/early_status_{kind}" for kind in EARLY_STATUS_KINDS]
    assert [fragment for fragment in design.fragments if fragment in included] == [
        f"include/early_status_{design.early_status}"
    ]
    subject = design.load(4096)
    size = subject.va("secondary_holding_pen_release") - subject.va("__early_cpu_boot_status")
    assert size == (4096 * 8 if design.early_status == "per_cpu" else 2048)


@every_design
def test_design_with_one_slot_for_all_is_not_parallel(design: Design) -> None:
    """Two secondaries would take the same task and stack."""
    assert design.parallel == design.data_per_cpu == (design.data_symbol == "cpu_boot_data")


@every_design
def test_global_slot_exists_for_those_that_fall_back(design: Design) -> None:
    """Without a context ID a CPU takes the global slot."""
    assert design.context_id_pointer == ("slot/slot_pointer" in design.fragments)
