"""A contract that promises too much: the finding names what it left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoo import FOLDER, cpus_of, search

from emu.fuzz.built_lookup import Checked

TEXT = (FOLDER / "correct" / "unrolled.S").read_text()
TOML = (FOLDER / "correct" / "unrolled.toml").read_text()
SWEEP = "sweep = [1, 2, 3, 4, 5, 6, 7, 8, 255, 256]"


def lie(folder: Path, *changes: tuple[str, str], text: str = TEXT, contract: str = TOML) -> Checked | None:
    """Return the first finding with a contract in which texts are replaced, or None."""
    contract = contract.replace(SWEEP, "sweep = [1, 2, 4]")
    for old, new in changes:
        assert old in contract, old
        contract = contract.replace(old, new)
    source = folder / "user.S"
    source.write_text(text)
    source.with_suffix(".toml").write_text(contract)
    for done in search(source, 500):
        if done.findings:
            return done.findings[0]
    return None


def said(found: Checked | None) -> str:
    """Return the property and the text of a finding."""
    assert found is not None, "nothing was found"
    assert found.wrong is not None
    return f"{found.wrong.prop}: {found.wrong.text}"


def test_the_truth_is_no_finding(tmp_path: Path) -> None:
    """The contract as it is."""
    assert lie(tmp_path) is None


@pytest.mark.parametrize("register", ["x0", "x1", "x2", "x3"])
def test_a_clobber_left_out_is_named(tmp_path: Path, register: str) -> None:
    """Registers that are written whatever the table holds: one entry, no CPU."""
    found = lie(tmp_path, (f'"{register}", ', ""))
    assert said(found).startswith(f"registers: {register} comes out as ")
    assert found is not None
    assert (found.nr_cpus, cpus_of(found)) == (1, 0)


@pytest.mark.parametrize("register", ["x4", "x5", '"x6"'])
def test_a_clobber_of_the_unrolled_part_needs_four_entries(tmp_path: Path, register: str) -> None:
    """x4..x6 are loaded where four entries are left."""
    name = register.strip('"')
    found = lie(tmp_path, (', "x6"', "") if name == "x6" else (f'"{name}", ', ""))
    assert said(found).startswith(f"registers: {name} comes out as ")
    assert found is not None
    assert (found.nr_cpus, cpus_of(found)) == (4, 0)


def test_flags_that_are_promised(tmp_path: Path) -> None:
    """``preserve_flags``."""
    found = lie(tmp_path, ('index = "x19"', 'index = "x19"\npreserve_flags = true'))
    assert said(found).startswith("registers: NZCV comes out as 0b")


def test_an_index_in_another_register(tmp_path: Path) -> None:
    """``index``: x4 holds something else, and x19 is then an ordinary register."""
    found = lie(tmp_path, ('index = "x19"', 'index = "x20"'))
    assert said(found).startswith(("answer: finds CPU 0x", "registers: x19 comes out as "))


def test_a_bound_too_tight(tmp_path: Path) -> None:
    """``instructions_max``: 16 to where the only entry is, 2 of the next look at the end."""
    found = lie(tmp_path, ("16 * (NR_CPUS // 4) + 6 * (NR_CPUS % 4) + 15", "6 * NR_CPUS + 9"))
    assert said(found).startswith("bound: takes ")


def test_a_table_too_short(tmp_path: Path) -> None:
    """``count``: of the padded table no padding is said."""
    text, contract = ((FOLDER / "correct" / f"padded{end}").read_text() for end in (".S", ".toml"))
    contract = contract.replace("NR_CPUS + 8", "NR_CPUS").replace("5, 4095, 4096]", "5]")
    source = tmp_path / "user.S"
    source.write_text(text)
    source.with_suffix(".toml").write_text(contract)
    *_, done = search(source, 500)
    assert any("memory: reads 8 bytes at __cpu_logical_map+0x8, outside" in said(f) for f in done.findings)


def test_an_entry_of_another_width(tmp_path: Path) -> None:
    """``element``: the code reads 8 bytes of a table of one entry of 4."""
    found = lie(tmp_path, ('symbol = "__cpu_logical_map"', 'symbol = "__cpu_logical_map"\nelement = "u32"'))
    assert said(found).startswith(("memory: reads 8 bytes at __cpu_logical_map", "exit: ", "answer: "))


def test_another_unused_value(tmp_path: Path) -> None:
    """``unused``: an entry of 0 is the CPU with hwid 0 to this lookup."""
    found = lie(tmp_path, ('symbol = "__cpu_logical_map"', 'symbol = "__cpu_logical_map"\nunused = 0'))
    assert said(found) == "answer: finds CPU 0; no CPU of the map has this hwid"
    assert found is not None
    assert (found.nr_cpus, cpus_of(found)) == (1, 0)


def test_no_exit_for_who_is_not_there(tmp_path: Path) -> None:
    """``missing`` left out: not to come to an exit is then what is promised, and the code does just that."""
    assert lie(tmp_path, ('missing = "missing"\n', "")) is None


def test_a_place_where_nothing_matches_that_is_not_reached(tmp_path: Path) -> None:
    """``missing``: a label that is only reached with an entry found."""
    found = lie(tmp_path, ('missing = "missing"', 'missing = "fourth"'))
    assert said(found).startswith("exit: it branches to itself")


def test_an_mpidr_that_the_code_does_not_take(tmp_path: Path) -> None:
    """``mpidr``: it reads MPIDR_EL1, which is another CPU's."""
    found = lie(tmp_path, ('index = "x19"', 'index = "x19"\nmpidr = "x7"'))
    assert said(found).startswith("answer: finds ")


def test_a_stack_that_is_not_there(tmp_path: Path) -> None:
    """``stack``: the frame of a routine that has none said."""
    text = (FOLDER / "correct" / "framed.S").read_text().replace("48 bytes of stack", "no stack")
    text = text.replace("writes its stack", "writes none")
    source = tmp_path / "user.S"
    source.write_text(text)
    found = next(done.findings[0] for done in search(source, 500) if done.findings)
    assert said(found).startswith("exit: exception, ESR 0x9")


def test_a_stack_that_is_too_small(tmp_path: Path) -> None:
    """``stack``: 48 bytes of it are used."""
    text = (FOLDER / "correct" / "framed.S").read_text().replace("48 bytes of stack", "32 bytes of stack")
    source = tmp_path / "user.S"
    source.write_text(text)
    found = next(done.findings[0] for done in search(source, 500) if done.findings)
    assert said(found).startswith("memory: stores ")


def test_another_model(tmp_path: Path) -> None:
    """``model``: with unused entries of 0 the first of them is right for hwid 0, says first-match."""
    unused = ('symbol = "__cpu_logical_map"', 'symbol = "__cpu_logical_map"\nunused = 0')
    assert lie(tmp_path, unused, ('index = "x19"', 'index = "x19"\nmodel = "first-match"')) is None
