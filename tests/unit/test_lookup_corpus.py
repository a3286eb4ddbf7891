"""The regression corpus: what is in it, in which order, and that every model agrees on what is right."""

from __future__ import annotations

import pytest

from emu.arch.mpidr import INVALID_HWID, MPIDR_HWID_BITMASK, MT, RES1, U, affinity
from emu.lookup.contract import Contract, Define, LookupTable
from emu.lookup.corpus import FLAGS, Situation, near, situations, sweep
from emu.lookup.models import InMemory, expected_many
from emu.lookup.tables import KINDS, DoesNotFit, fill
from emu.topology.presets import PRESETS

SIZES = (1, 2, 3, 16, 255, 256, 4095, 4096)


def by_name(nr_cpus: int, **options: bool) -> dict[str, Situation]:
    """The situations, by their names."""
    return {situation.name: situation for situation in situations(nr_cpus, **options)}


def expected(situation: Situation) -> list[int | None]:
    """What the logical map says."""
    return expected_many("logical-map", situation.logical_map, {}, situation.mpidrs)


def test_it_begins_with_hwid_zero_in_an_empty_table() -> None:
    first = next(situations(256))
    assert (first.name, first.logical_map, first.mpidrs[0]) == ("empty/zero", (), 0)


@pytest.mark.parametrize("nr_cpus", SIZES)
def test_names_are_there_once_and_maps_are_within_nr_cpus(nr_cpus: int) -> None:
    found = list(situations(nr_cpus, unused=(0, INVALID_HWID), literal=True))
    assert len({situation.name for situation in found}) == len(found)
    assert all(len(situation.logical_map) <= nr_cpus for situation in found)
    assert all(0 <= mpidr < 2**64 for situation in found for mpidr in situation.mpidrs)


@pytest.mark.parametrize("nr_cpus", SIZES)
def test_it_is_the_same_every_time(nr_cpus: int) -> None:
    assert list(situations(nr_cpus)) == list(situations(nr_cpus))


@pytest.mark.parametrize("nr_cpus", SIZES)
def test_nobody_asks_what_has_no_right_answer(nr_cpus: int) -> None:
    """Distinct hwids within the mask, or a hwid that two have and that does not ask."""
    for situation in situations(nr_cpus):
        hwids = [hwid for hwid in situation.logical_map if hwid is not None]
        assert not any(hwid & ~MPIDR_HWID_BITMASK for hwid in hwids)
        asked = {mpidr & MPIDR_HWID_BITMASK for mpidr in situation.mpidrs}
        if len(set(hwids)) != len(hwids):
            assert situation.name.startswith("duplicate/")
            assert not {hwid for hwid in hwids if hwids.count(hwid) > 1} & asked


@pytest.mark.parametrize("nr_cpus", SIZES)
def test_match_first_match_last_and_absent_are_asked(nr_cpus: int) -> None:
    found = by_name(nr_cpus)
    assert set(expected(found["full/first"])) == {0}
    assert set(expected(found["full/last"])) == {nr_cpus - 1}
    assert set(expected(found["full/absent/next"])) == {None}
    assert {0, nr_cpus - 1, None} <= set(expected(found["full/ascending"]))


@pytest.mark.parametrize("nr_cpus", [255, 256, 4096])
def test_both_sides_of_a_byte_are_asked(nr_cpus: int) -> None:
    wanted = {index for index in (127, 128, 255, 256, 257, 4094, 4095) if index < nr_cpus}
    assert wanted <= set(expected(by_name(nr_cpus)["full/ascending"]))


def test_every_combination_of_flags_is_asked() -> None:
    assert {mpidr & (RES1 | MT | U) for mpidr in by_name(1)["one/aff0/flags"].mpidrs} == set(FLAGS)
    assert len(set(FLAGS)) == 8


def test_every_bit_outside_the_mask_is_asked_alone_and_together() -> None:
    asked = set(by_name(1)["one/zero/bits-outside-the-mask"].mpidrs)
    assert asked >= {1 << bit for bit in range(64) if not MPIDR_HWID_BITMASK >> bit & 1}
    assert INVALID_HWID & ~MPIDR_HWID_BITMASK in asked


@pytest.mark.parametrize(
    ("name", "hwid"),
    [("zero", 0), ("aff3-only", affinity(1, 0, 0, 0)), ("ones", MPIDR_HWID_BITMASK)],
)
def test_special_hwids_are_found_and_missed(name: str, hwid: int) -> None:
    found = by_name(4)
    assert expected(found[f"one/{name}/match"]) == [0]
    assert set(expected(found[f"holes/all-but-the-last/{name}"])) == {3, None}
    assert hwid in {mpidr & MPIDR_HWID_BITMASK for mpidr in found[f"empty/{name}"].mpidrs}


def test_each_bit_of_a_hwid_tells_two_cpus_apart() -> None:
    found = by_name(2)
    bits = [bit for bit in range(64) if MPIDR_HWID_BITMASK >> bit & 1]
    for bit in bits:
        assert expected(found[f"one-bit/{bit}"]) == [0, 1, 0, 1]


def test_fields_that_are_swapped_or_lost_tell_two_cpus_apart() -> None:
    found = by_name(2)
    assert sum(name.startswith("swapped/") for name in found) == 6
    assert expected(found["one-field/aff3/lost"]) == [0, 1]
    assert expected(found["one-field/aff3/lost-first"]) == [1, 0]


def test_the_value_of_unused_entries_asks() -> None:
    found = {s.name: s for s in situations(1, unused=(0x1234,))}
    assert found["empty/unused/0x1234"].mpidrs[0] == 0x1234
    assert set(expected(found["empty/unused/0x1234"])) == {None}


def test_only_a_literal_model_is_asked_for_duplicates_and_raw_entries() -> None:
    plain, literal = by_name(4), by_name(4, literal=True)
    more = literal.keys() - plain.keys()
    assert {name.partition("/")[0] for name in more} == {"raw", "duplicate"}
    raw = literal["raw/res1/0x0/alone"]
    assert raw.logical_map == (RES1,)
    assert expected(raw) == [None, None]


def test_every_preset_that_fits_is_a_shape() -> None:
    shapes = {name.removeprefix("shape/") for name in by_name(4096) if name.startswith("shape/")}
    assert shapes == set(PRESETS)


def test_the_boot_cpu_of_a_shape_is_logical_cpu_0() -> None:
    assert by_name(8)["shape/boot-elsewhere"].logical_map[:2] == (affinity(0, 1, 0, 0), 0)


def test_refused_entries_of_a_shape_are_holes() -> None:
    assert by_name(8)["shape/bad-holes"].logical_map[:5] == (0, None, None, 3, 4)


@pytest.mark.parametrize("model", ["first-match", "skip-invalid", "permutation", "hash"])
@pytest.mark.parametrize("nr_cpus", [1, 2, 3, 256])
def test_filled_tables_have_the_right_answers(model: str, nr_cpus: int) -> None:
    """Each kind of table, filled for each situation, leads its model to what the logical map says."""
    fitted = 0
    for situation in situations(nr_cpus):
        try:
            tables = {
                kind: InMemory(
                    row.element,
                    fill(
                        LookupTable("t", row.element, row.count, kind),
                        situation.logical_map,
                        {"NR_CPUS": nr_cpus},
                    ),
                )
                for kind, row in KINDS.items()
                if not (kind == "hash-to-cpu" and model != "hash")
            }
        except DoesNotFit:
            assert model == "hash"
            continue
        fitted += 1
        assert expected_many(model, situation.logical_map, tables, situation.mpidrs) == expected(situation)
    assert fitted > 40


def test_near_numbers_are_other_hwids() -> None:
    for value in (0, MPIDR_HWID_BITMASK, affinity(4, 3, 2, 1)):
        assert value not in near(value)
        assert not any(hwid & ~MPIDR_HWID_BITMASK for hwid in near(value))
        assert {value ^ 1, value ^ 1 << 39} <= set(near(value))
    assert affinity(3, 4, 2, 1) in near(affinity(4, 3, 2, 1))
    assert affinity(1, 2, 3, 4) in near(affinity(4, 3, 2, 1))


# --- the values of the defines


def contract(**defines: Define) -> Contract:
    """A contract with these defines."""
    return Contract("x", "find", "found", "x19", "missing", defines=defines, tables=(LookupTable("map"),))


def test_the_sweep_goes_through_nr_cpus_from_the_smallest() -> None:
    values = sweep(contract(NR_CPUS=Define(256, (4096, 1, 255, 256))))
    assert [names["NR_CPUS"] for names in values] == [1, 255, 256, 4096]


def test_a_define_without_a_sweep_keeps_its_default() -> None:
    assert sweep(contract(NR_CPUS=Define(512), SHIFT=Define(3))) == [{"NR_CPUS": 512, "SHIFT": 3}]


def test_other_defines_are_swept_one_at_a_time() -> None:
    values = sweep(contract(A=Define(1, (2, 3)), NR_CPUS=Define(4, (1,))))
    assert [(names["NR_CPUS"], names["A"]) for names in values] == [(1, 1), (4, 1), (4, 2), (4, 3)]
