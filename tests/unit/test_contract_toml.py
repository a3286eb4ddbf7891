"""The TOML form of a contract: every key, every rule, and nothing but InvalidContract for the rest."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.arch.mpidr import INVALID_HWID
from emu.errors import InvalidContract
from emu.lookup.contract import RETURN, Define, LookupTable
from emu.lookup.toml_form import NR_CPUS, parse_contract, read_contract

DESIGN = """
[lookup]
entry = "find"
found = "found"
missing = "missing"
index = "x19"
mpidr = "mpidr_el1"
may_change = ["x0", "x1", "x2", "x3", "x19"]
instructions_max = "200 + 40 * NR_CPUS"

[defines]
NR_CPUS = { default = 256, sweep = [1, 2, 3, 255, 256, 4094] }

[[table]]
symbol = "__cpu_logical_map"
element = "u64"
count = "NR_CPUS"
holds = "hwid"
unused = "INVALID_HWID"
"""


def toml(value: object) -> str:
    """A TOML value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(entry)}" for key, entry in value.items()) + "}"
    return repr(value) if isinstance(value, int | float) else "'" + str(value) + "'"


def text(
    lookup: dict[str, Any] | None = None,
    tables: list[dict[str, Any]] | None = None,
    defines: dict[str, Any] | None = None,
) -> str:
    """A small contract with some keys changed; None leaves a key out."""
    keys = {"entry": "find", "found": "found", "missing": "missing", "index": "x19"} | (lookup or {})
    lines = [f"{key} = {toml(value)}" for key, value in keys.items() if value is not None]
    rows = tables if tables is not None else [{"symbol": "map"}]
    parts = ["[lookup]", *lines, "[defines]", *(f"{k} = {toml(v)}" for k, v in (defines or {}).items())]
    for row in rows:
        parts += ["[[table]]", *(f"{key} = {toml(value)}" for key, value in row.items())]
    return "\n".join(parts)


def refused(source: str) -> str:
    """The message with which a contract is refused."""
    with pytest.raises(InvalidContract) as caught:
        parse_contract(source, "my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml: ")
    assert "\n" not in message
    return message.removeprefix("my.toml: ")


def test_every_key_of_the_design_is_read() -> None:
    contract = parse_contract(DESIGN, "my.toml")
    assert (contract.entry, contract.found, contract.missing) == ("find", "found", "missing")
    assert (contract.index, contract.mpidr) == ("x19", "mpidr_el1")
    assert contract.may_change == ("x0", "x1", "x2", "x3", "x19")
    assert contract.instructions_max == "200 + 40 * NR_CPUS"
    assert contract.defines == {"NR_CPUS": Define(256, (1, 2, 3, 255, 256, 4094))}
    assert contract.tables == (LookupTable("__cpu_logical_map", 8, "NR_CPUS", "hwid", INVALID_HWID),)


def test_what_is_not_said_has_a_default() -> None:
    contract = parse_contract(text(), "my.toml")
    assert contract.defines == {"NR_CPUS": NR_CPUS}
    assert NR_CPUS.sweep == (1, 2, 3, 255, 256, 257, 4095, 4096)
    assert (contract.model, contract.el, contract.stack) == ("logical-map", 1, 0)
    assert not contract.preserve_flags
    assert not contract.parks
    assert contract.tables == (LookupTable("map"),)


def test_a_plain_define_keeps_its_value() -> None:
    contract = parse_contract(text(defines={"NR_CPUS": 512, "SHIFT": -3}), "my.toml")
    assert contract.defines == {"NR_CPUS": Define(512), "SHIFT": Define(-3)}


def test_keys_beyond_the_design_are_read() -> None:
    lookup = {
        "missing": None,
        "found": "ret",
        "index": "x0",
        "missing_index": -1,
        "mpidr": "x2",
        "preserve_flags": True,
        "parks": True,
        "el": 2,
        "stack": 64,
        "model": "first-match",
        "instructions_max": "6*x1 + 8",
    }
    contract = parse_contract(text(lookup, [{"base": "x0", "length": "x1"}]), "my.toml")
    assert (contract.found, contract.missing, contract.missing_index) == (RETURN, RETURN, 2**64 - 1)
    assert (contract.mpidr, contract.el, contract.stack, contract.model) == ("x2", 2, 64, "first-match")
    assert contract.preserve_flags
    assert contract.parks
    assert contract.tables == (LookupTable("x0_table", base="x0", length="x1"),)


def test_a_label_may_be_reached_with_the_index_that_says_none() -> None:
    contract = parse_contract(text({"missing": None, "missing_index": -1}), "my.toml")
    assert (contract.found, contract.missing, contract.missing_index) == ("found", RETURN, 2**64 - 1)


def test_without_a_place_for_missing_it_parks() -> None:
    contract = parse_contract(text({"missing": None}), "my.toml")
    assert contract.missing is None
    assert contract.parks


@pytest.mark.parametrize("place", [0xFFFF_8000_8001_0000, "0xffff800080010000"])
def test_a_place_may_be_an_address(place: object) -> None:
    if isinstance(place, int):  # over what TOML promises; Python reads it
        place = str(place)
        source = text().replace("entry = 'find'", f"entry = {place}")
    else:
        source = text({"entry": place})
    assert parse_contract(source, "my.toml").entry == 0xFFFF_8000_8001_0000


@pytest.mark.parametrize(
    ("unused", "value"),
    [("INVALID_HWID", INVALID_HWID), ("0", 0), (0, 0), ("0xffff", 0xFFFF), (7, 7)],
)
def test_unused_is_a_number_or_invalid_hwid(unused: object, value: int) -> None:
    assert parse_contract(text(tables=[{"symbol": "map", "unused": unused}]), "x").tables[0].unused == value


def test_a_kind_has_an_element_and_a_count_of_its_own() -> None:
    tables = [
        {"symbol": kind.replace("-", "_"), "holds": kind}
        for kind in ("mpidr-hash", "hash-to-cpu", "sorted-cpu")
    ]
    found = parse_contract(text(tables=tables), "x").tables
    assert [(table.element, table.count) for table in found] == [
        (8, "4"),
        (4, "4 * NR_CPUS"),
        (4, "NR_CPUS"),
    ]


@pytest.mark.parametrize(
    ("lookup", "message"),
    [
        ({"entry": None}, "lookup.entry: missing"),
        ({"found": None}, "lookup.found: missing"),
        ({"index": None}, "lookup.index: missing"),
        ({"entry": "ret"}, "lookup.entry='ret': where the lookup begins"),
        ({"entry": "a b"}, "lookup.entry='a b': a label"),
        ({"entry": -1}, "lookup.entry=-1: a label"),
        ({"entry": True}, "lookup.entry=True: a label"),
        ({"entry": 1.5}, "lookup.entry=1.5: a label"),
        ({"entry": "0x12345678123456789"}, "lookup.entry="),
        ({"found": "find"}, "lookup.found='find': the entry itself"),
        ({"missing": "find"}, "lookup.missing='find': the entry itself"),
        ({"missing": "found"}, "lookup.missing='found': found is the same place"),
        ({"found": "ret", "missing": "ret"}, "lookup.missing='ret': found is the same place"),
        ({"missing_index": -1}, "lookup.missing_index=-1: 'missing' says it already"),
        ({"missing": "ret"}, "lookup.missing='ret': only the index can say it there: say missing_index"),
        ({"missing": None, "missing_index": 2**64}, "lookup.missing_index=18446744073709551616: an integer"),
        ({"missing": None, "parks": False}, "lookup.parks=False: nothing is left"),
        ({"index": "x31"}, "lookup.index='x31': one of x0..x30"),
        ({"index": "w3"}, "lookup.index='w3': one of x0..x30"),
        ({"index": 3}, "lookup.index=3: one of x0..x30"),
        ({"mpidr": "x99"}, "lookup.mpidr='x99': one of x0..x30 or mpidr_el1"),
        ({"may_change": "x0"}, "lookup.may_change='x0': a list"),
        ({"may_change": ["x0", "x1", "x33"]}, "lookup.may_change[2]='x33': one of x0..x30"),
        ({"may_change": ["x0", "x1", "x0"]}, "lookup.may_change[2]='x0': is there twice"),
        ({"may_change": ["x19", "x19"]}, "lookup.may_change[1]='x19': is there twice"),
        ({"preserve_flags": 1}, "lookup.preserve_flags=1: true or false"),
        ({"parks": "yes"}, "lookup.parks='yes': true or false"),
        ({"instructions_max": "40 * CPUS"}, "lookup.instructions_max='40 * CPUS': CPUS is not defined"),
        ({"instructions_max": "2 ** 3"}, "lookup.instructions_max='2 ** 3': one of"),
        ({"instructions_max": "NR_CPUS - 1"}, "lookup.instructions_max='NR_CPUS - 1': 0 with NR_CPUS=1"),
        ({"instructions_max": 1.5}, "lookup.instructions_max=1.5: an integer or an expression"),
        ({"instructions_max": 0}, "lookup.instructions_max='0': 0 with"),
        ({"el": 3}, "lookup.el=3: an integer, 1..2"),
        ({"el": True}, "lookup.el=True: an integer"),
        ({"stack": -8}, "lookup.stack=-8: an integer, 0..65536"),
        ({"model": "magic"}, "lookup.model='magic': not one of first-match, hash, logical-map"),
        ({"model": 3}, "lookup.model=3: a string"),
        ({"model": "nowhere.py"}, "lookup.model="),
        ({"model": "permutation"}, "lookup.model='permutation': it needs a [[table]] that holds 'sorted-"),
        ({"indx": "x0"}, "lookup.indx: not one of entry, found, missing"),
    ],
)
def test_a_broken_lookup_key_is_named_with_its_rule(lookup: dict[str, Any], message: str) -> None:
    assert refused(text(lookup)).startswith(message)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "table[0].symbol: missing"),
        ({"symbol": "a b"}, "table[0].symbol='a b': a symbol"),
        ({"symbol": 3}, "table[0].symbol=3: a string"),
        ({"symbol": "a", "element": "u7"}, "table[0].element='u7': one of u8, u16, u32, u64"),
        ({"symbol": "a", "element": 8}, "table[0].element=8: one of"),
        ({"symbol": "a", "element": ["u8"]}, "table[0].element=['u8']: one of"),
        ({"symbol": "a", "count": "CPUS"}, "table[0].count='CPUS': CPUS is not defined"),
        ({"symbol": "a", "count": "NR_CPUS - 256"}, "table[0].count='NR_CPUS - 256' is 0: a table has 1.."),
        ({"symbol": "a", "count": "NR_CPUS << 20"}, "table[0].count='NR_CPUS << 20' is"),
        ({"symbol": "a", "count": 16}, "table[0].count='16': 16 entries for NR_CPUS=256; count NR_CPUS"),
        ({"symbol": "a", "holds": "cats"}, "table[0].holds='cats': not one of hash-to-cpu, hwid"),
        ({"symbol": "a", "holds": "no.py"}, "table[0].holds="),
        ({"symbol": "a", "holds": "mpidr-hash", "count": 8}, "table[0].count='8': mpidr-hash is 4 of u64"),
        ({"symbol": "a", "unused": -1}, "table[0].unused=-1: a number of 64 bits"),
        ({"symbol": "a", "unused": "none"}, "table[0].unused='none': a number"),
        ({"symbol": "a", "element": "u8", "unused": 256}, "table[0].unused=256: does not fit"),
        ({"symbol": "a", "base": "x40"}, "table[0].base='x40': one of x0..x30"),
        ({"base": "x0", "length": "x0"}, "table[0].length='x0': is table[0].base already"),
        ({"symbol": "a", "size": 8}, "table[0].size: not one of symbol"),
    ],
)
def test_a_broken_table_key_is_named_with_its_rule(table: dict[str, Any], message: str) -> None:
    assert refused(text(tables=[table])).startswith(message)


@pytest.mark.parametrize(
    ("defines", "message"),
    [
        ({"NR_CPUS": 0}, "defines.NR_CPUS=0: an integer, 1..4096"),
        ({"NR_CPUS": 4097}, "defines.NR_CPUS=4097: an integer, 1..4096"),
        ({"NR_CPUS": "many"}, "defines.NR_CPUS='many': an integer"),
        ({"NR_CPUS": {"sweep": [1]}}, "defines.NR_CPUS.default: missing"),
        ({"NR_CPUS": {"default": 2, "sweep": 3}}, "defines.NR_CPUS.sweep=3: a list of integers"),
        ({"NR_CPUS": {"default": 2, "sweep": [1, 5000]}}, "defines.NR_CPUS.sweep[1]=5000: an integer"),
        (
            {"NR_CPUS": {"default": 2, "swep": [1]}},
            "defines.NR_CPUS.swep: not one of default, sweep; did you mean sweep?",
        ),
        ({"x1": 3}, "defines.x1: the name of a constant"),
        ({"A-B": 3}, "defines.A-B: the name of a constant"),
    ],
)
def test_a_broken_define_is_named_with_its_rule(defines: dict[str, Any], message: str) -> None:
    assert refused(text(defines=defines)).startswith(message)


def test_two_registers_cannot_be_one() -> None:
    tables = [{"base": "x0", "length": "x1"}, {"symbol": "b", "base": "x0"}]
    assert refused(text(tables=tables)).startswith("table[1].base='x0': is table[0].base already")
    assert refused(text({"mpidr": "x0"}, tables[:1])).startswith(
        "table[0].base='x0': is lookup.mpidr already"
    )


def test_two_tables_may_have_one_length() -> None:
    tables = [{"base": "x0", "length": "x1"}, {"base": "x2", "length": "x1"}]
    assert len(parse_contract(text(tables=tables), "x").tables) == 2


def test_two_tables_cannot_have_one_symbol() -> None:
    assert refused(text(tables=[{"symbol": "a"}] * 2)).startswith("table[1].symbol='a': is there twice")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("entry = ", "Invalid"),
        ("", "no [lookup]"),
        ("lookup = 3", "no [lookup]"),
        ("[lookups]", "lookups: not one of lookup, defines, table"),
        (text().replace("[[table]]", "[table]"), "table="),
        ("defines = 3\n" + text().replace("[defines]", ""), "defines=3: written as [defines]"),
    ],
)
def test_what_is_no_contract_at_all_is_refused(source: str, message: str) -> None:
    assert refused(source).startswith(message)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidContract, match="none.toml: No such file"):
        read_contract(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidContract, match="not UTF-8"):
        read_contract(binary)


# --- Python files of the user's own

KIND = """
from emu.lookup.tables import TableKind

NAME = "byte-swapped"


def fill(logical_map, shape):
    hwids = [shape.unused if hwid is None else hwid for hwid in logical_map]
    return b"".join(hwid.to_bytes(8, "big") for hwid in hwids + [shape.unused] * (shape.count - len(hwids)))


KIND = TableKind(fill)
"""
MODEL = """
from emu.lookup.models import Model

NAME = "nobody"
MODEL = Model(lambda logical_map, tables, mpidrs: [None] * len(mpidrs))
"""


def test_files_of_the_users_own_are_found_beside_the_contract(tmp_path: Path) -> None:
    (tmp_path / "my_table.py").write_text(KIND)
    (tmp_path / "my_model.py").write_text(MODEL)
    path = tmp_path / "my.toml"
    path.write_text(text({"model": "my_model.py"}, [{"symbol": "map", "holds": "my_table.py"}]))
    contract = read_contract(path)
    assert contract.model == str(tmp_path / "my_model.py")
    assert contract.tables[0].holds == str(tmp_path / "my_table.py")


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def", "SyntaxError"),
        ("", "defines no NAME"),
        ("NAME = 'x'", "MODEL is no Model"),
        ("NAME = 'x'\nMODEL = 3", "MODEL is no Model"),
    ],
)
def test_a_broken_file_of_the_users_own_is_refused(code: str, rule: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(code)
    with pytest.raises(InvalidContract, match=rule) as caught:
        parse_contract(text({"model": "broken.py"}), "my.toml", tmp_path)
    assert str(caught.value).startswith("my.toml: lookup.model=")


# --- fuzz

_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [
            "",
            "find",
            "found",
            "ret",
            "x0",
            "x19",
            "NR_CPUS",
            "0x10",
            "hwid",
            "u64",
            "INVALID_HWID",
            "a.py",
            "1/0",
        ]
    ),
    st.text("abcxNR_0123456789 +*/().", max_size=12),
    st.lists(st.sampled_from(["x0", "x1", "x33"]), max_size=3),
    st.just({"default": 3, "sweep": [1]}),
)
_LOOKUP_KEYS = st.sampled_from(
    (
        *("entry", "found", "missing", "index", "missing_index", "mpidr", "may_change", "preserve_flags"),
        *("parks", "instructions_max", "el", "stack", "model", "other"),
    )
)
_TABLE_KEYS = st.sampled_from(("symbol", "element", "count", "holds", "unused", "base", "length", "other"))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(_LOOKUP_KEYS, _ODD, max_size=3),
    st.lists(
        st.dictionaries(_TABLE_KEYS, _ODD.filter(lambda value: value is not None), max_size=4), max_size=2
    ),
    st.dictionaries(
        st.sampled_from(["NR_CPUS", "N", "x1"]), _ODD.filter(lambda v: v is not None), max_size=2
    ),
)
def test_odd_values_are_read_or_refused(
    lookup: dict[str, Any], tables: list[dict[str, Any]], defines: dict[str, Any]
) -> None:
    with suppress(InvalidContract):
        parse_contract(text(lookup, tables, defines), "my.toml")


@given(st.text(max_size=60))
def test_any_text_is_refused_in_one_line(source: str) -> None:
    with pytest.raises(InvalidContract) as caught:
        parse_contract(source, "my.toml")
    assert len(str(caught.value).splitlines()) == 1
