"""Reference models: what each says is right, and that tables filled for a map agree with the map."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from emu.arch.mpidr import INVALID_HWID, RES1, hwid
from emu.errors import InvalidContract
from emu.lookup import models
from emu.lookup.contract import LookupTable
from emu.lookup.models import MODELS, InMemory, Model, expected_many, get_model
from emu.lookup.tables import KINDS, DoesNotFit, fill
from emu.topology.generate import hwid_tables, mpidrs

BUILT_IN = [name for name in MODELS if name != "logical-map"]


def in_memory(
    model: str, logical_map: Sequence[int | None], unused: int | None = None, nr_cpus: int = 0
) -> dict[str, InMemory]:
    """The tables that a model needs, filled for a map."""
    found = {}
    for kind in MODELS[model].needs:
        count = "65536" if kind == "hash-to-cpu" else KINDS[kind].count
        said = unused if kind == "hwid" else None
        table = LookupTable("t", KINDS[kind].element, count, kind, said)
        names = {"NR_CPUS": nr_cpus or max(len(logical_map), 1)}
        found[kind] = InMemory(table.element, fill(table, logical_map, names))
    return found


def answer(
    model: str, logical_map: Sequence[int | None], mpidr: int, unused: int | None = None
) -> int | None:
    """What a model says of one MPIDR."""
    return MODELS[model].expected(logical_map, in_memory(model, logical_map, unused), mpidr)


def test_the_models_are_these() -> None:
    assert list(MODELS) == ["first-match", "hash", "logical-map", "permutation", "skip-invalid"]


@pytest.mark.parametrize(
    "path", sorted(Path(models.__path__[0]).glob("[a-z]*.py")), ids=lambda path: path.stem
)
def test_a_model_shares_no_code_with_what_it_judges(path: Path) -> None:
    imported = [
        node.module or ""
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
    ]
    ours = [name for name in imported if name.startswith("emu")]
    assert set(ours) <= {"emu.arch.mpidr", "emu.errors", "emu.lookup.models"}


@pytest.mark.parametrize("model", MODELS)
def test_the_hwid_is_what_counts_and_not_the_flags(model: str) -> None:
    logical_map = (0, 0x100, None, 0x1_0000_0000)
    for cpu, value in enumerate(logical_map):
        if value is not None:
            outside = INVALID_HWID & ~0xFF_00FF_FFFF
            assert answer(model, logical_map, value) == cpu
            assert answer(model, logical_map, value | RES1) == cpu
            assert answer(model, logical_map, value | outside) == cpu


@pytest.mark.parametrize("model", MODELS)
def test_a_hwid_of_no_cpu_is_missing(model: str) -> None:
    assert answer(model, (1, 2, None), 3) is None
    assert answer(model, (1, 2, None), INVALID_HWID) is None
    assert answer(model, (), 0) is None


def test_first_match_takes_the_table_at_its_word() -> None:
    assert answer("first-match", (5, None, None), 0, unused=0) == 1
    assert answer("skip-invalid", (5, None, None), 0, unused=0) == 1
    assert answer("logical-map", (5, None, None), 0, unused=0) is None


@pytest.mark.parametrize("model", ["first-match", "skip-invalid"])
def test_the_first_of_two_entries_is_right(model: str) -> None:
    assert MODELS[model].literal
    assert answer(model, (None, 7, 7, 3), 7) == 1


def test_skip_invalid_never_matches_all_ones() -> None:
    """Of the width that an entry has."""
    table = {"hwid": InMemory(4, bytes.fromhex("ffffffff 01000000"))}
    assert MODELS["skip-invalid"].expected((), table, 1) == 1
    assert MODELS["skip-invalid"].expected((), table, INVALID_HWID) is None


def test_permutation_wants_a_cpu_behind_a_hwid() -> None:
    tables = {
        "sorted-hwid": InMemory(8, (1).to_bytes(8, "little") + (5).to_bytes(8, "little")),
        "sorted-cpu": InMemory(1, b"\x09\xff"),
    }
    assert MODELS["permutation"].expected((), tables, 1) == 9
    assert MODELS["permutation"].expected((), tables, 5) is None


def test_hash_verifies_the_cpu_in_the_bucket() -> None:
    """Two CPUs that differ in bit 0: every other hwid falls into their buckets."""
    logical_map = (0x10, 0x11)
    assert [answer("hash", logical_map, value) for value in (0x10, 0x11, 0x0, 0x1, 0x21)] == [
        0,
        1,
        None,
        None,
        None,
    ]


def test_a_model_without_its_tables_is_refused() -> None:
    with pytest.raises(InvalidContract, match="'permutation': needs a table that holds 'sorted-hwid'"):
        expected_many("permutation", (), {}, ())


def test_a_name_of_no_model_is_refused() -> None:
    with pytest.raises(InvalidContract, match="'best': not one of first-match, hash"):
        get_model("best")


@pytest.mark.parametrize("model", BUILT_IN)
@given(data=st.data(), table=hwid_tables(max_size=10, hole=None), holes=st.sets(st.integers(0, 9)))
def test_tables_filled_for_a_map_agree_with_the_map(
    model: str, data: st.DataObject, table: tuple[int, ...], holes: set[int]
) -> None:
    """Whatever distinct valid hwids there are, wherever the holes, whichever CPU asks."""
    logical_map = tuple(None if cpu in holes else value for cpu, value in enumerate(table))
    asked = data.draw(st.lists(mpidrs(table), min_size=1, max_size=4))
    try:
        tables = in_memory(model, logical_map, nr_cpus=16)
    except DoesNotFit:
        assume(False)
    truth = [logical_map.index(hwid(m)) if hwid(m) in logical_map else None for m in asked]
    assert expected_many(model, logical_map, tables, asked) == truth
    assert expected_many("logical-map", logical_map, {}, asked) == truth


# --- a model of the user's own


def own(folder: Path, body: str) -> str:
    """A model in a file."""
    path = folder / "own_model.py"
    lines = ("from emu.lookup.models import Model", "NAME = 'own'", body, "MODEL = Model(answers)")
    path.write_text("\n".join(lines))
    return str(path)


def test_a_model_of_the_users_own_answers(tmp_path: Path) -> None:
    name = own(tmp_path, "def answers(logical_map, tables, mpidrs): return [m & 1 or None for m in mpidrs]")
    assert isinstance(get_model(name), Model)
    assert expected_many(name, (), {}, [3, 4]) == [1, None]


@pytest.mark.parametrize(
    ("result", "rule"),
    [
        ("[1]", "one answer for each of 2"),
        ("3", "one answer"),
        ("[-1, 2]", "-1: an answer is"),
        ("1/0", "Zero"),
    ],
)
def test_a_model_of_the_users_own_that_misbehaves_is_named(result: str, rule: str, tmp_path: Path) -> None:
    name = own(tmp_path, f"def answers(logical_map, tables, mpidrs): return {result}")
    with pytest.raises(InvalidContract, match=rule):
        expected_many(name, (), {}, [3, 4])
