"""The contract in a header: every phrase that is understood, and the refusal of every other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.arch.mpidr import INVALID_HWID
from emu.designs import DESIGNS
from emu.errors import InvalidContract
from emu.lookup.comment import FIELDS
from emu.lookup.contract import RETURN, Contract, Define, LookupTable
from emu.lookup.header import (
    SMALLEST,
    contract_for,
    contract_of_design,
    contract_of_header,
    write_contract,
)
from emu.lookup.toml_form import parse_contract
from emu.subject.fragment import asm_dir

FIELD_TEXT = {
    "in": "none; reads MPIDR_EL1",
    "out": "x19 = logical CPU number, 0..NR_CPUS-1",
    "clobbers": "x0 (hwid), x1-x3, NZCV",
    "memory": "reads __cpu_logical_map, u64[NR_CPUS]; writes none",
    "state": "EL1, MMU off, no stack",
    "exits": "falls through at found, within 8*NR_CPUS + 8 instructions; else at missing",
    "model": "first i with __cpu_logical_map[i] == hwid(MPIDR_EL1) and != INVALID_HWID",
    "source": "original",
}
LINE = {name: number for number, name in enumerate(FIELD_TEXT, 4)}
REGISTERS = {
    "in": "x0 = PA of the hwid table, u64[x1], 8-byte aligned; x1 = entries, 1..4096",
    "out": "x0 = logical CPU number, or -1 when no entry matches",
    "clobbers": "x2-x5, NZCV",
    "memory": "reads [x0, x0 + 8*x1); writes none",
    "state": "EL1 or EL2, MMU off, no stack",
    "exits": "ret, after at most 6*x1 + 8 instructions",
    "model": "first i with table[i] == hwid(MPIDR_EL1)",
}


def header(**fields: str) -> str:
    """A header with some fields changed."""
    values = FIELD_TEXT | {key.rstrip("_"): value for key, value in fields.items()}
    lines = ["/* SPDX-License-Identifier: GPL-2.0-or-later", " * find - a look-up", " *"]
    lines += [f" * {f'{key}:':<9} {value}".rstrip() for key, value in values.items()]
    return "\n".join([*lines, " */", "find:", "        ret", ""])


def read(**fields: str) -> Contract:
    """The contract of such a header."""
    contract = contract_of_header(header(**fields), "my.S")
    assert contract is not None
    return contract


def refused(field: str, value: str) -> str:
    """The message with which a field is refused; it says where and what is understood."""
    with pytest.raises(InvalidContract) as caught:
        read(**{f"{field}_": value})
    message = str(caught.value)
    start = f"my.S:{LINE[field]}: {field}: "
    assert message.startswith(start)
    assert "\n" not in message
    assert "; understood: " in message
    return message.removeprefix(start)


def test_the_example_of_the_style_guide_is_read() -> None:
    contract = read(**{f"{key}_": value for key, value in REGISTERS.items()})
    assert contract == Contract(
        source="my.S",
        entry="find",
        found=RETURN,
        missing=RETURN,
        index="x0",
        missing_index=2**64 - 1,
        may_change=("x2", "x3", "x4", "x5"),
        instructions_max="6*x1 + 8",
        model="first-match",
        defines={"NR_CPUS": Define(256, (1, 2, 3, 255, 256, 257, 4095, 4096))},
        tables=(LookupTable("x0_table", base="x0", length="x1", align=8),),
    )


@pytest.mark.parametrize("name", ["rfc", "v2", "v3"])
def test_our_own_lookups_are_read(name: str) -> None:
    text = (asm_dir() / "lookup" / f"{name}.S").read_text()
    contract = contract_of_header(text, f"{name}.S")
    assert contract is not None
    assert (contract.entry, contract.found, contract.missing) == ("find", "found", "missing")
    assert (contract.index, contract.mpidr, contract.stack) == ("x19", "mpidr_el1", 0)
    assert contract.may_change == ("x0", "x1", "x3", "x19")
    assert not contract.preserve_flags
    assert contract.instructions_max.startswith("6*" if name == "rfc" else "8*")
    table = "__mpidr_to_cpuid_table" if name == "rfc" else "__cpu_logical_map"
    unused = 0 if name == "rfc" else INVALID_HWID
    assert contract.tables == (LookupTable(table, 8, "NR_CPUS", "hwid", unused),)
    assert contract.model == ("logical-map" if name == "rfc" else "skip-invalid")


@pytest.mark.parametrize("design", DESIGNS.values(), ids=lambda design: design.name)
def test_a_design_that_looks_up_has_its_contract_and_no_other_has(design: object) -> None:
    contract = contract_of_design(design)  # type: ignore[arg-type]
    if design.lookup_table is None:  # type: ignore[attr-defined]
        assert contract is None
        return
    assert contract is not None
    (table,) = contract.tables
    assert (table.symbol, table.unused) == (design.lookup_table, design.lookup_table_unused)  # type: ignore[attr-defined]


# --- each field


@pytest.mark.parametrize(
    ("text", "register"),
    [
        ("none", "mpidr_el1"),
        ("reads MPIDR_EL1", "mpidr_el1"),
        ("x7 = MPIDR_EL1", "x7"),
        ("x7 = raw MPIDR of this PE", "x7"),
    ],
)
def test_in_says_where_the_mpidr_is(text: str, register: str) -> None:
    assert read(in_=text).mpidr == register


def test_in_says_which_register_has_a_table_of_a_symbol() -> None:
    contract = read(in_="x1 = PA of __cpu_logical_map, u64[NR_CPUS]; x2 = number of entries")
    assert contract.tables == (LookupTable("__cpu_logical_map", base="x1", length="x2"),)


def test_in_bounds_how_many_entries_are_tried() -> None:
    contract = read(
        in_="x0 = address of map, u64[x1]; x1 = entries, 2..300", memory="reads none; writes none"
    )
    assert contract.defines["NR_CPUS"] == Define(256, (2, 3, 255, 256, 257))


@pytest.mark.parametrize(
    ("text", "index", "none"),
    [
        ("x3 = logical CPU number", "x3", None),
        ("x3 = logical id, 0..NR_CPUS-1", "x3", None),
        ("x3 = index; alive to the end of early boot", "x3", None),
    ],
)
def test_out_names_the_index_register(text: str, index: str, none: int | None) -> None:
    contract = read(out=text)
    assert (contract.index, contract.missing_index) == (index, none)


@pytest.mark.parametrize(("text", "value"), [("-1", 2**64 - 1), ("0xffff", 0xFFFF), ("4096", 4096)])
def test_out_names_the_value_for_none(text: str, value: int) -> None:
    contract = read(out=f"x0 = logical CPU number, or {text} when no entry matches", exits="ret")
    assert (contract.missing_index, contract.missing) == (value, RETURN)


@pytest.mark.parametrize(
    ("text", "registers", "flags_kept"),
    [
        ("none", (), True),
        ("NZCV", (), False),
        ("x0 (hwid), x1 (table, PA), NZCV", ("x0", "x1"), False),
        ("x2-x5, x3", ("x2", "x3", "x4", "x5"), True),
    ],
)
def test_clobbers_are_registers_and_flags(text: str, registers: tuple[str, ...], flags_kept: bool) -> None:
    contract = read(clobbers=text)
    assert (contract.may_change, contract.preserve_flags) == (registers, flags_kept)


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("reads map, u32[NR_CPUS]", (LookupTable("map", 4),)),
        ("reads map, u64[NR_CPUS] of hwid, unused 0", (LookupTable("map", unused=0),)),
        ("reads map, u64[NR_CPUS], unused INVALID_HWID", (LookupTable("map", unused=INVALID_HWID),)),
        (
            "reads keys, u64[NR_CPUS] of sorted-hwid, and reads ids, u16[NR_CPUS] of sorted-cpu",
            (LookupTable("keys", holds="sorted-hwid"), LookupTable("ids", 2, holds="sorted-cpu")),
        ),
        (
            "reads mpidr_hash of mpidr-hash, reads buckets, u16[max(64, 4 * NR_CPUS)] of hash-to-cpu",
            (
                LookupTable("mpidr_hash", 8, "4", "mpidr-hash"),
                LookupTable("buckets", 2, "max(64, 4 * NR_CPUS)", "hash-to-cpu"),
            ),
        ),
    ],
)
def test_memory_lists_the_tables(text: str, tables: tuple[LookupTable, ...]) -> None:
    assert read(memory=f"{text}; writes none", model="logical-map").tables == tables


def test_memory_may_use_the_register_that_counts() -> None:
    contract = read(in_="x1 = entries", memory="reads map, u64[x1]; writes none")
    assert contract.tables == (LookupTable("map", length="x1"),)


@pytest.mark.parametrize(
    ("text", "el", "stack"),
    [
        ("EL1, MMU on, no stack", 1, 0),
        ("EL2, MMU off, 64 bytes of stack", 2, 64),
        ("EL1 or EL2, MMU on or off, no stack: the table must be clean to the PoC", 1, 0),
    ],
)
def test_state_is_level_mmu_and_stack(text: str, el: int, stack: int) -> None:
    contract = read(state=text)
    assert (contract.el, contract.stack) == (el, stack)


@pytest.mark.parametrize(
    ("text", "found", "missing", "parks", "bound"),
    [
        ("falls through at found, into slot; else at lost", "found", "lost", False, ""),
        ("to done, within max(8, NR_CPUS) instructions; else parks", "done", None, True, "max(8, NR_CPUS)"),
        ("ret, within 99 instructions; else branches to itself at lost for ever", "ret", "lost", False, "99"),
        ("reaches done; else parks at lost", "done", "lost", False, ""),
        ("falls through at found; else from lost to elsewhere, without a status", "found", "lost", False, ""),
    ],
)
def test_exits_are_found_missing_and_a_bound(
    text: str, found: str, missing: str | None, parks: bool, bound: str
) -> None:
    contract = read(exits=text)
    assert (contract.found, contract.missing, contract.parks) == (found, missing, parks)
    assert contract.instructions_max == bound


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("logical-map", "logical-map"),
        ("the logical id of hwid(MPIDR_EL1); entry 0 is never filled", "logical-map"),
        ("first i with map[i] == hwid(MPIDR_EL1)", "first-match"),
        ("first i with map[i] == hwid(MPIDR_EL1) and != INVALID_HWID; x19 stays alive", "skip-invalid"),
    ],
)
def test_model_is_a_name_or_a_phrase(text: str, model: str) -> None:
    assert read(model=text).model == model


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("in", "x0 = something"),
        ("in", "x31 = MPIDR_EL1"),
        ("in", "x0 = PA of the table, u64[x1]"),  # x1 counts, but nothing says so
        ("in", "x0 = PA of the table, u7[4]"),
        ("out", "w0 = logical CPU number"),
        ("out", "the index"),
        ("clobbers", "x0, x31"),
        ("clobbers", "x5-x2"),
        ("clobbers", "w0"),
        ("clobbers", "a few"),
        ("memory", "reads everything; writes none"),
        ("memory", "reads map, u64[NR_CPUS]"),
        ("memory", "reads map, u64[NR_CPUS]; writes map"),
        ("memory", "reads map, u64[NR_CPUS] of cats; writes none"),
        ("memory", "reads map, u64[NR_CPUS] of hwid, unused nothing; writes none"),
        ("memory", "reads [x0, x0 + 8*x1); writes none"),
        ("state", "EL3, MMU off, no stack"),
        ("state", "EL1, a stack"),
        ("exits", "somewhere"),
        ("exits", "ret; sometimes parks"),
        ("model", "the best one"),
        ("model", "last i with map[i] == hwid(MPIDR_EL1)"),
    ],
)
def test_what_is_not_understood_is_refused_with_line_and_phrases(field: str, text: str) -> None:
    refused(field, text)


def test_values_that_contradict_are_refused_with_the_line_of_the_header() -> None:
    with pytest.raises(InvalidContract, match=r"^my.S:4: the header says lookup.found='find': the entry"):
        read(exits="falls through at find; else at missing")
    with pytest.raises(InvalidContract, match=r"lookup.instructions_max='6\*N': N is not defined"):
        read(exits="ret, within 6*N instructions; else at missing")
    with pytest.raises(InvalidContract, match="lookup.parks=False: nothing is left"):
        read(exits="falls through at found")
    with pytest.raises(InvalidContract, match="state: 65552 bytes of stack: at most 65536"):
        read(state="EL1, MMU off, 65552 bytes of stack")
    assert read(state="EL1, MMU off, 65536 bytes of stack").stack == 65536


@pytest.mark.parametrize("field", FIELDS)
def test_silence_is_refused(field: str) -> None:
    values = {f"{key}_": value for key, value in FIELD_TEXT.items()}
    with pytest.raises(InvalidContract, match=f"my.S:[0-9]+: {field}: not said; a header has in, out"):
        read(**values | {f"{field}_": ""})
    text = "\n".join(line for line in header().splitlines() if not line.startswith(f" * {field}:"))
    with pytest.raises(InvalidContract, match=f": {field}: not said"):
        contract_of_header(text, "my.S")


def test_a_field_that_is_there_twice_is_refused() -> None:
    text = header().replace(" */", " * in:  none\n */")
    with pytest.raises(InvalidContract, match="my.S:12: in: is there twice"):
        contract_of_header(text, "my.S")


@pytest.mark.parametrize(
    "text", ["", "find:\n ret\n", "/* in: a comment\n * out: of place */\n", "// source: me\n"]
)
def test_text_without_a_header_has_no_contract(text: str) -> None:
    assert contract_of_header(text, "my.S") is None


def test_a_field_may_go_on_over_lines() -> None:
    assert (
        read(exits="falls through at found, within\n *           9 instructions;\n * else at lost").missing
        == "lost"
    )


def test_a_header_may_be_of_line_comments_and_anywhere_in_the_file() -> None:
    lines = [f"// {line[3:]}" for line in header().splitlines()[1:11]]
    text = "\n".join(["// SPDX", "", "start:", "        nop", *lines, "find:", "        ret"])
    contract = contract_of_header(text, "my.S")
    assert contract is not None
    assert (contract.entry, contract.missing) == ("find", "missing")


def test_without_a_title_the_lookup_is_called_find() -> None:
    contract = contract_of_header(header().replace("find - a look-up", "A look-up."), "my.S")
    assert contract is not None
    assert contract.entry == "find"


@given(st.sampled_from(FIELDS[:-1]), st.text("x0123 =,;()[]+*-retEL MPIDRfoundelsatpks:", max_size=40))
def test_any_text_in_a_field_is_read_or_refused(field: str, text: str) -> None:
    try:
        read(**{f"{field}_": text})
    except InvalidContract as error:
        assert str(error).startswith("my.S:")  # noqa: PT017


# --- which contract a file has


def test_a_toml_that_is_given_comes_first_then_one_beside_the_file_then_the_header(tmp_path: Path) -> None:
    source, beside, given_ = tmp_path / "my.S", tmp_path / "my.toml", tmp_path / "other.toml"
    source.write_text(header())
    assert contract_for(source).source == str(source)
    beside.write_text("\n".join(SMALLEST))
    assert contract_for(source).source == str(beside)
    given_.write_text("\n".join(SMALLEST))
    assert contract_for(source, given_).source == str(given_)


def test_without_any_contract_the_message_says_what_to_write(tmp_path: Path) -> None:
    source = tmp_path / "my.S"
    source.write_text("find:\n ret\n")
    with pytest.raises(InvalidContract) as caught:
        contract_for(source)
    message = str(caught.value)
    assert message.startswith(f"{source}: no contract: ")
    assert "my.toml beside it" in message
    assert all(line in message for line in SMALLEST)
    assert parse_contract("\n".join(SMALLEST), "smallest").index == "x19"


def test_an_object_is_not_read_as_text(tmp_path: Path) -> None:
    source = tmp_path / "vmlinux"
    source.write_bytes(b"\x7fELF" + header().encode())
    with pytest.raises(InvalidContract, match="vmlinux.toml beside it"):
        contract_for(source)


# --- in words


def test_the_contract_in_words_says_every_fact() -> None:
    assert write_contract(read(**{f"{key}_": value for key, value in REGISTERS.items()})) == (
        "contract: from my.S\n"
        "begins at find, at EL1, without a stack\n"
        "MPIDR: the code reads MPIDR_EL1\n"
        "found: returns, logical CPU number in x0\n"
        "missing: returns with x0 = -1\n"
        "may change: x0, x2, x3, x4, x5, NZCV; every other register, and SP, comes out as it went in\n"
        "instructions: at most 6*x1 + 8\n"
        "right: as the model first-match says\n"
        "reads x0_table: u64[NR_CPUS] of hwid, unused INVALID_HWID, address in x0, number of entries in x1\n"
        "any other load but of a constant of its image, and any store, is a finding\n"
        "NR_CPUS = 256; the corpus tries 1, 2, 3, 255, 256, 257, 4095, 4096\n"
    )


def test_the_contract_in_words_says_where_the_index_says_none() -> None:
    words = write_contract(read(out="x19 = index, or -1 when no entry matches", exits="to done"))
    assert "missing: reaches done with x19 = -1\n" in words


def test_the_contract_in_words_says_addresses_parks_and_stack() -> None:
    contract = parse_contract(
        "lookup = { entry = 0x1000, found = 0x2000, index = 'x1', mpidr = 'x0', el = 2, stack = 32, "
        "preserve_flags = true }\ntable = [{ symbol = 'h', holds = 'mpidr-hash' }]\n"
        "defines = { NR_CPUS = 8 }",
        "k.toml",
    )
    assert write_contract(contract) == (
        "contract: from k.toml\n"
        "begins at 0x1000, at EL2, with 32 bytes of stack\n"
        "MPIDR: raw, in x0\n"
        "found: reaches 0x2000, logical CPU number in x1\n"
        "missing: never reaches an exit, waits or loops for ever\n"
        "may change: x1; every other register, and SP, comes out as it went in\n"
        "right: as the model logical-map says\n"
        "reads h: u64[4] of mpidr-hash\n"
        "any other load but of a constant of its image, and any store outside the stack, is a finding\n"
        "NR_CPUS = 8\n"
    )
