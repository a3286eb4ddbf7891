"""An entry that is read in several accesses is stored to at each place between them, once, and not by luck.

Each planted bug joins parts of two reads; its repaired twin takes all of one, or looks whether it is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from contracts import HWID, contract_toml

from emu.errors import InvalidCase
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.race import Race, ask_case
from emu.fuzz.size import size_of
from emu.fuzz.unit import opening, run_unit
from emu.lookup.case import LookupCase, Question
from emu.lookup.tear import Tear

TEXT = (
    HWID
    + """        ldr     x1, =__cpu_logical_map
        mov     x19, #0
1:      add     x4, x1, x19, lsl #{shift}
        {read}
        cmp     x3, x0
        b.eq    found
9:      add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    1b
missing:
        b       missing
found:  nop
"""
)
TOML = contract_toml(range(9), lookup='instructions_max = "60 * NR_CPUS + 60"', table='element = "{element}"')


@dataclass(frozen=True, slots=True)
class Read:
    """A read of the entry at X4, into X3, that may be torn; and its twin.

    :ivar places: where the one entry of the first CPU can be stored to within its read
    """

    torn: str
    twin: str
    places: set[tuple[int, int]]
    element: str = "u64"


BYTES = "\n".join(f"ldrb w5, [x4, #{at}]\n bfi x3, x5, #{8 * at}, #8" for at in range(8))
BYTES_COMPARED = "\n".join(
    f"ldrb w3, [x4, #{at}]\n ubfx x5, x0, #{8 * at}, #8\n cmp x3, x5\n b.ne 9f" for at in range(8)
)
WORDS = "ldr w3, [x4]\n ldr w5, [x4, #4]\n orr x3, x3, x5, lsl #32"
READS = {
    "16 + 16 + 32": Read(
        "ldrh w3, [x4]\n ldrh w5, [x4, #2]\n orr x3, x3, x5, lsl #16\n"
        " ldr w5, [x4, #4]\n orr x3, x3, x5, lsl #32",
        "ldr x5, [x4]\n uxth x3, w5\n ubfx x6, x5, #16, #16\n orr x3, x3, x6, lsl #16\n"
        " lsr x6, x5, #32\n orr x3, x3, x6, lsl #32",
        {(0, 1), (1, 1)},
    ),
    "two LDRH": Read(
        "ldrh w3, [x4]\n ldrh w5, [x4, #2]\n orr w3, w3, w5, lsl #16", "ldr w3, [x4]", {(0, 1)}, "u32"
    ),
    "two LDR of W": Read(WORDS, "ldr x3, [x4]", {(0, 1)}),
    "high word first": Read(
        "ldr w5, [x4, #4]\n ldr w3, [x4]\n orr x3, x3, x5, lsl #32", "ldr x3, [x4]", {(0, 1)}
    ),
    "bytes": Read(BYTES, "ldr x3, [x4]", {(read, 1) for read in range(7)}),
    "bytes, each compared": Read(
        f"{BYTES_COMPARED}\n mov x3, x0", "ldr x3, [x4]", {(read, 1) for read in range(7)}
    ),
    "LDP of W": Read(
        "ldp w3, w5, [x4]\n orr x3, x3, x5, lsl #32",
        "ldxp w3, w5, [x4]\n orr x3, x3, x5, lsl #32",  # of 8 bytes: at once
        {(0, 1), (0, -1)},
    ),
    "two LDXP, neither checked by STXP": Read(
        "ldxp w3, w6, [x4]\n ldxp w6, w5, [x4]\n orr x3, x3, x5, lsl #32",
        "ldxp w3, w5, [x4]\n clrex\n orr x3, x3, x5, lsl #32",
        {(0, 1)},
    ),
    "whole, twice": Read(
        "ldr x3, [x4]\n cmp w3, w0\n b.ne 9f\n ldr x3, [x4]\n lsr x3, x3, #32\n lsr x5, x0, #32\n"
        " cmp x3, x5\n b.ne 9f\n mov x3, x0",
        "ldr x3, [x4]\n cmn x3, #1\n b.eq 9f\n ldr x3, [x4]",  # whether there is one, then which
        {(0, 1)},
    ),
    "words, not looked at again": Read(WORDS, f"2: {WORDS}\n ldr w5, [x4]\n cmp w5, w3\n b.ne 2b", {(0, 1)}),
}


def race_of(folder: Path, read: str, element: str = "u64") -> Race:
    """The race of a look-up with this read, of two CPUs."""
    source = folder / "user.S"
    source.write_text(TEXT.format(read=read, shift={"u64": 3, "u32": 2}[element]))
    source.with_suffix(".toml").write_text(TOML.format(element=element))
    return Race(UnderTest(str(source)).at(2))


@pytest.mark.parametrize("name", READS)
def test_each_place_in_a_read_is_tried_once_and_a_torn_one_is_found(tmp_path: Path, name: str) -> None:
    """A store comes at each place; each that tears the entry shows for a mixture of the two hwids."""
    read = READS[name]
    race = race_of(tmp_path, read.torn, read.element)
    tears = list(race.tears())
    assert len(set(tears)) == len(tears)
    assert {(tear.read, tear.parts) for tear in tears if tear.cpu == 0} == read.places
    wrong = [checked for tear in tears if (checked := race.run(tear)).wrong is not None]
    shown = {each.race[:3] for each in wrong if isinstance(each.race, Tear)}
    places = {place for place in read.places if not _is_even(name, place)}
    assert shown >= {(cpu, *place) for cpu in (0, 1) for place in places}
    assert all(each.wrong is not None and "at no moment of entry" in each.wrong.text for each in wrong)
    assert race.run(wrong[0].race or 0) == wrong[0], "a tear is the whole run"


def _is_even(name: str, place: tuple[int, int]) -> bool:
    # Places at which what is read before, or after, is 0 in every hwid: bytes 3, 5, 6 and 7.
    return name.startswith("bytes") and place[0] in (4, 5, 6)


@pytest.mark.parametrize("name", READS)
def test_a_read_that_cannot_be_torn_is_no_finding(tmp_path: Path, name: str) -> None:
    """The twin: at once, of one access, or looked at again."""
    read = READS[name]
    race = race_of(tmp_path, read.twin, read.element)
    assert [checked.wrong for tear in race.tears() if (checked := race.run(tear)).wrong is not None] == []


def test_a_read_at_once_has_no_place(tmp_path: Path) -> None:
    """One LDR of an entry that is aligned: nothing is run for it."""
    assert list(race_of(tmp_path, "ldr x3, [x4]").tears()) == []


def test_a_read_that_is_not_aligned_faults(tmp_path: Path) -> None:
    """The MMU is off, so an LDR across two entries is an exception before it could be torn."""
    race = race_of(tmp_path, "ldur x3, [x4, #4]\n ldr x3, [x4]")
    assert list(race.tears()) == []
    wrong = race.run(0).wrong
    assert wrong is not None
    assert "exception" in wrong.text


def test_a_case_says_where_the_store_comes(tmp_path: Path) -> None:
    """It is read back, and asked again alike."""
    read = READS["two LDR of W"]
    race = race_of(tmp_path, read.torn)
    found = next(checked for tear in race.tears() if (checked := race.run(tear)).wrong is not None)
    name = str(tmp_path / "user.S")
    case = LookupCase(name, 2, Question((), 0), race=found.race)
    assert case.text() == f"{name} nr-cpus=2 race=torn:0:0:1:7"
    assert LookupCase.parse(case.text()) == case
    assert ask_case(UnderTest(name), case).wrong == found.wrong
    assert size_of(case) < size_of(LookupCase(name, 2, Question((), 0), race=Tear(0, 0, 2, 1)))


@pytest.mark.parametrize("race", ["torn", "torn:0:0:0:1", "torn:0:0:x:1", "torn:2:0:1:1", "soon"])
def test_a_tear_that_is_none_is_refused(tmp_path: Path, race: str) -> None:
    """Malformed, or of a CPU that there is not."""
    race_of(tmp_path, READS["two LDR of W"].torn)
    name = str(tmp_path / "user.S")
    with pytest.raises(InvalidCase, match="race"):
        ask_case(UnderTest(name), LookupCase.parse(f"{name} nr-cpus=2 race={race}"))


@pytest.mark.parametrize("is_torn", [True, False])
def test_a_campaign_has_a_unit_of_them(tmp_path: Path, is_torn: bool) -> None:
    """In its opening: the finding's case is the smallest run that shows it."""
    read = READS["16 + 16 + 32"]
    race_of(tmp_path, read.torn if is_torn else read.twin)
    name = str(tmp_path / "user.S")
    points = [(2, ())]
    result = run_unit(UnderTest(name), points, opening(points)[-1])
    assert result.kind == "torn"
    assert [hit.case.text() for hit in result.hits if hit.case is not None] == (
        [f"{name} nr-cpus=2 race=0:0x1@1 map=0x10000 mpidr=0x80000000"] if is_torn else []
    )


def test_a_race_needs_a_table_of_entries() -> None:
    """Bad input, not an error of emu: of a binary search it is not the only one."""
    name = str(Path(__file__).parent / "correct" / "binary.S")
    with pytest.raises(InvalidCase, match="no table of which each CPU has one entry"):
        ask_case(UnderTest(name), LookupCase.parse(f"{name} nr-cpus=2 race=1"))
