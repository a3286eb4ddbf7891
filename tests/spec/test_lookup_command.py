"""``emu lookup`` from end to end: designs, fragments, objects, a kernel's own loop."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import run_emu, run_program

from emu.errors import InvalidCase
from emu.fuzz.built_lookup import BuiltLookup, UnderTest
from emu.fuzz.race import Race, table_of
from emu.fuzz.race_plan import make_plan
from emu.fuzz.search import LookupSearch
from emu.lookup.case import LookupCase, Question, format_map, parse_map
from emu.lookup.single import judge
from emu.subject.kernel import load_kernel
from emu.topology.generate import hwid_tables, mpidrs

ROOT = Path(__file__).resolve().parents[2]
ROUTINE = """/* SPDX-License-Identifier: GPL-2.0-or-later
 * lookup_linear - logical CPU number of the PE that runs this
 *
 * in:       x0 = PA of the hwid table, u64[x1], 8-byte aligned; x1 = entries, 1..4096
 * out:      x0 = logical CPU number, or -1 when no entry matches
 * clobbers: x2-x5, NZCV
 * memory:   reads [x0, x0 + 8*x1); writes none
 * state:    EL1, MMU off, no stack
 * exits:    ret, after at most 6*x1 + 10 instructions
 * model:    first i with table[i] == hwid(MPIDR_EL1)
 * source:   original
 */
lookup_linear:
        mrs     x2, mpidr_el1
        movz    x3, #0xff, lsl #32
        movk    x3, #0xff, lsl #16
        movk    x3, #0xffff
        and     x2, x2, x3
        mov     x4, x0
        mov     x0, #0
scan:   ldr     x5, [x4, x0, lsl #3]
        cmp     x5, x2
        b.eq    out
        add     x0, x0, #1
        cmp     x0, x1
        b.lo    scan
        mov     x0, #-1
out:    ret
"""


def emu(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_emu("lookup", *arguments)


def searched(
    name: str, *, cases: int = 20_000, sizes: list[int] | None = None, seed: int = 0
) -> LookupSearch:
    search = LookupSearch(UnderTest(name))
    for _ in search.run(sizes or search.under_test.sizes, cases, seed):
        pass
    return search


@pytest.mark.parametrize("design", ["v2", "v3"])
def test_published_loops_that_skip_unused_entries_pass(design: str) -> None:
    search = searched(design)
    assert search.findings == []
    assert search.cases > 40_000


def test_published_rfc_loop_fails_with_hwid_0_and_an_empty_table() -> None:
    """An entry that was never filled holds 0, which is a hwid."""
    found = searched("rfc").findings
    assert [checked.wrong.prop for checked in found if checked.wrong] == ["answer"]
    smallest = found[0]
    assert (smallest.nr_cpus, smallest.question.logical_map) == (1, (None,))
    assert smallest.question.mpidr & 0xFF_00FF_FFFF == 0
    assert (smallest.expected, smallest.answer.exit, smallest.answer.index) == (None, "found", 0)


def test_a_printed_case_fails_again_and_json_has_it_in_numbers() -> None:
    done = emu("rfc", "--cases", "1000", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    (finding,) = found["findings"]
    assert found["verdict"] == "fail"
    assert finding["nr_cpus"] == 1
    assert finding["logical_map"] == [None]
    assert (finding["expected"], finding["got"]) == (None, 0)
    again = emu("--case", finding["case"])
    assert again.returncode == 1
    assert again.stdout.splitlines()[0] == f"finding (answer): {finding['message']}"


def test_same_seed_same_search() -> None:
    first, second = (searched("rfc", cases=5000, seed=3) for _ in range(2))
    assert first.cases == second.cases
    assert first.findings == second.findings


def test_a_routine_that_returns_is_tested_through_its_registers(tmp_path: Path) -> None:
    path = tmp_path / "linear.S"
    path.write_text(ROUTINE)
    assert searched(str(path), cases=2000, sizes=[1, 2, 255]).findings == []
    path.write_text(ROUTINE.replace("b.lo    scan", "b.ls    scan"))
    props = [c.wrong.prop for c in searched(str(path), cases=2000, sizes=[1, 2]).findings if c.wrong]
    assert "memory" in props, "it reads one entry too many"


def test_a_fragment_that_leaves_for_a_place_nobody_declared(tmp_path: Path) -> None:
    path = tmp_path / "leaves.S"
    text = (ROOT / "asm/lookup/v3.S").read_text().replace("b.eq    next", "b.eq    elsewhere")
    path.write_text(text)
    found = searched(str(path), cases=2000, sizes=[1, 2]).findings
    assert any(c.wrong and c.wrong.text.startswith("it leaves for elsewhere") for c in found)


def test_an_object_is_tested_like_its_source(tmp_path: Path) -> None:
    gcc = shutil.which("aarch64-linux-gnu-gcc")
    if gcc is None:
        pytest.skip("aarch64-linux-gnu-gcc is missing: apt-get install gcc-aarch64-linux-gnu")
    source, built = tmp_path / "linear.S", tmp_path / "linear.o"
    source.write_text(ROUTINE.replace("lookup_linear:", ".globl lookup_linear\nlookup_linear:"))
    run_program(gcc, "-c", source, "-o", built)
    (tmp_path / "linear.toml").write_text(
        '[lookup]\nentry = "lookup_linear"\nfound = "ret"\nmissing = "ret"\nindex = "x0"\n'
        'missing_index = -1\nmay_change = ["x2", "x3", "x4", "x5"]\n'
        "[defines]\nNR_CPUS = 16\n"
        '[[table]]\nsymbol = "table"\nbase = "x0"\nlength = "x1"\nelement = "u64"\n'
        'count = "NR_CPUS"\nholds = "hwid"\n'
    )
    search = searched(str(built))
    assert search.findings == []
    assert search.cases > 20_000


def test_the_loop_inside_a_kernel_is_tested_where_it_is(
    real_kernel: Callable[[str], Path], tmp_path: Path
) -> None:
    """The RFC kernel's own __secondary_switched, from its read of MPIDR_EL1 to either end of the loop."""
    image = real_kernel("EMU_KERNEL_RFC")
    subject = load_kernel(image).subject
    start = subject.pa("__secondary_switched") - subject.segments[0].pa
    words = struct.unpack_from("<64I", subject.segments[0].data, start)
    first = next(number for number, word in enumerate(words) if word == 0xD538_00A0)  # mrs x0, mpidr_el1
    parked = next(number for number, word in enumerate(words) if word == 0x1400_0000)  # b .
    path = tmp_path / "loop.toml"
    path.write_text(
        f'[lookup]\nentry = "__secondary_switched+{4 * first:#x}"\n'
        f'found = "__secondary_switched+{4 * parked + 4:#x}"\n'
        f'missing = "{subject.va("__secondary_switched") + 4 * parked:#x}"\nindex = "x19"\n'
        'may_change = ["x0", "x1", "x3"]\ninstructions_max = "9 + 6 * NR_CPUS"\n[defines]\nNR_CPUS = 256\n'
        '[[table]]\nsymbol = "__mpidr_to_cpuid_table"\nunused = 0\n'
    )
    done = emu(str(image), "--contract", str(path), "--cases", "20000", "--json")
    assert done.returncode == 1, done.stderr
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["message"] == "finds CPU 0; no CPU of the map has this hwid"
    assert set(finding["logical_map"]) == {None}


@pytest.mark.parametrize("design", ["rfc", "v2", "v3"])
@given(data=st.data())
def test_the_batch_says_of_each_case_what_one_at_a_time_says(design: str, data: st.DataObject) -> None:
    """Right answers and wrong ones: what is expected is shifted, so that some of either are met."""
    built = _built(design, 16)
    table = data.draw(hwid_tables(min_size=1, max_size=16))
    logical_map = built.whole(table)
    asks = data.draw(st.lists(mpidrs([hwid for hwid in table if hwid is not None]), min_size=1, max_size=8))
    right = built.expected(logical_map, asks)
    told = [data.draw(st.sampled_from([answer, None, 0, 3])) for answer in right]
    built.batch.fill(logical_map)
    wrong = set(built.batch.ask(asks, told))
    for place, (mpidr, expected) in enumerate(zip(asks, told, strict=True)):
        answer = built.single.ask(Question(logical_map, mpidr))
        assert (judge(answer, expected, built.target) is not None) == (place in wrong)


@cache
def _built(name: str, nr_cpus: int) -> BuiltLookup:
    return UnderTest(name).at(nr_cpus)


def test_an_answer_that_depends_on_what_a_register_held_is_found(tmp_path: Path) -> None:
    """x3 is looked at before it is loaded: right with one poison, wrong with the other."""
    path, start = tmp_path / "stale.S", "        mov     x19, #0\n"
    text = (ROOT / "asm/lookup/v3.S").read_text()
    path.write_text(text.replace(start, f"{start}        tbnz    x3, #62, missing\n"))
    found = searched(str(path), cases=2000, sizes=[1, 2]).findings
    assert any(c.wrong and c.wrong.text.endswith("(with x3 = 0x4000000000000000 at entry)") for c in found)
    assert any(c.begin == (("x3", 1 << 62),) for c in found)


def test_look_ups_while_entries_change_find_old_or_new() -> None:
    built = _built("v3", 4)
    race = Race(built)
    seen = [race.run(seed) for seed in range(200)]
    assert [checked.wrong for checked in seen if checked.wrong] == []
    assert {checked.answer.exit for checked in seen} == {"found", "missing"}
    assert any(len(set(make_plan(4, seed).states)) > 2 for seed in range(200))


def test_a_look_up_that_reads_an_entry_in_halves_finds_a_cpu_that_never_was(tmp_path: Path) -> None:
    """Planted: between its two loads an entry goes from one hwid to another; their halves make a third."""
    path = tmp_path / "halves.S"
    text = (ROOT / "asm/lookup/v3.S").read_text()
    halves = (
        "        add     x3, x1, x19, lsl #3\n        ldr     w20, [x3]\n        ldr     w3, [x3, #4]\n"
        "        orr     x3, x20, x3, lsl #32\n"
    )
    load = re.search(r" +ldr +x3, \[x1, x19.*\n", text)
    assert load is not None
    text = text.replace(load[0], halves).replace("x19 (index), NZCV", "x19 (index), x20, NZCV")
    text = text.replace("8*NR_CPUS + 8", "12*NR_CPUS + 8")
    path.write_text(text)
    under_test = UnderTest(str(path))
    for _ in (search := LookupSearch(under_test)).run([1, 2], 2000, 0):
        pass
    broken = {found.wrong.prop for found in search.findings if found.wrong}
    assert broken == {"concurrent"}, "nothing is wrong while nothing changes"
    race = Race(under_test.at(2))
    wrong = [checked for seed in range(3000) if (checked := race.run(seed)).wrong]
    assert wrong
    assert wrong[0].wrong is not None
    assert "at no moment of" in wrong[0].wrong.text
    again = Race(under_test.at(2)).run(wrong[0].race or 0)
    assert again.wrong == wrong[0].wrong, "the seed is the whole run"


def test_only_a_table_with_an_entry_for_each_cpu_can_change_under_a_look_up(tmp_path: Path) -> None:
    assert table_of(_built("v3", 4)) is not None


@pytest.mark.parametrize(
    ("instruction", "register"),
    [
        ("msr tpidr_el1, x0", "TPIDR_EL1"),
        ("msr sp_el0, x0", "SP_EL0"),
        ("msr vbar_el1, x0", "VBAR_EL1"),
        ("msr daifclr, #2", "DAIF"),
    ],
)
def test_a_look_up_that_writes_a_system_register_is_found(
    tmp_path: Path, instruction: str, register: str
) -> None:
    path, start = tmp_path / "writes.S", "        mov     x19, #0\n"
    text = (ROOT / "asm/lookup/v3.S").read_text()
    path.write_text(text.replace(start, f"{start}        {instruction}\n"))
    found = searched(str(path), cases=100, sizes=[1]).findings
    assert any(c.wrong and c.wrong.text.startswith(f"{register} comes out as") for c in found)


def test_a_search_in_which_no_map_fits_has_not_tested_anything(tmp_path: Path) -> None:
    (tmp_path / "tight.py").write_text(
        "from emu.lookup.tables import DoesNotFit, TableKind\n\n"
        "def fill(logical_map, shape):\n    raise DoesNotFit('never')\n\n"
        "NAME, KIND = 'tight', TableKind(fill)\n"
    )
    (tmp_path / "linear.S").write_text((ROOT / "asm/lookup/v3.S").read_text())
    (tmp_path / "linear.toml").write_text(
        '[lookup]\nentry = "find"\nfound = "found"\nmissing = "missing"\nindex = "x19"\n'
        'may_change = ["x0", "x1", "x3"]\n[[table]]\nsymbol = "__cpu_logical_map"\nholds = "tight.py"\n'
    )
    done = emu(str(tmp_path / "linear.S"), "--cases", "100", "--max-cpus", "2")
    assert (done.returncode, done.stdout) == (125, "")
    assert "no map fits the tables of its contract" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["nosuch.S"], 2, "nosuch.S: no such file"),
        (["v3", "-j", "100000"], 2, "-j"),
        (["mainline"], 125, "mainline: this design looks nothing up"),
        (["nosuch"], 2, "nosuch: no such file, and no design: not one of"),
        (["README.md"], 2, "README.md: neither a design"),
        (["v3", "--nr-cpus", "4097"], 2, "4097"),
        (["v3", "--max-cpus", "0"], 2, "max-cpus=0"),
        (["v3", "--matches", "101"], 2, "matches=101"),
        (["v3", "--contract", "nosuch.toml"], 2, "nosuch.toml: No such file"),
        (["--case", "v3 map=0x0"], 2, "nr-cpus"),
        (["--case", "v3 nr-cpus=2 map=0,1,2 mpidr=0"], 2, "3 CPUs, but NR_CPUS=2"),
        (["--case", "v3 nr-cpus=2 map=zero mpidr=0"], 2, "map[0]='zero'"),
    ],
)
def test_wrong_input_is_one_line_on_stderr(arguments: list[str], status: int, says: str) -> None:
    done = emu(*arguments)
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("logical_map", "text"),
    [
        ((None,) * 4, "-*4"),
        ((None, 0, 1, 2), "-,0x0,0x1,0x2"),
        ((5, 6, 7, 8, 8), "0x5..0x8,0x8"),
        ((0, 0x100, 0x200, 0x300, None), "0x0..0x300+0x100,-"),
        ((3, 2, 1, 0), "0x3..0x0-0x1"),
        ((7, 7, 7, 7), "0x7,0x7,0x7,0x7"),
    ],
)
def test_holes_and_sequences_in_a_row_are_written_short(
    logical_map: tuple[int | None, ...], text: str
) -> None:
    assert format_map(logical_map) == text
    assert parse_map(text, "map") == logical_map


@given(st.integers(0, 2**40), st.integers(-(2**20), 2**20), st.integers(1, 40))
def test_any_sequence_is_read_as_it_was_written(first: int, step: int, count: int) -> None:
    hwids = tuple(max(first + step * place, 0) for place in range(count))
    assert parse_map(format_map(hwids), "map") == hwids


@pytest.mark.parametrize(
    "text", ["0x0..0x3+0x0", "0x3..0x0", "0x0..0x3-0x1", "0x0..", "0x0..0x9+", "0x0..0x3+-1"]
)
def test_a_sequence_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidCase):
        parse_map(text, "map")


@given(hwid_tables(max_size=8), st.integers(0, 2**64 - 1), st.integers(1, 4096))
def test_a_case_is_a_line_of_text(table: tuple[int | None, ...], mpidr: int, nr_cpus: int) -> None:
    case = LookupCase("my file.S", nr_cpus, Question(table, mpidr), "a b.toml", "", (("SIZE", 3),))
    again = LookupCase.parse(case.text())
    padded = (*again.question.logical_map, *[None] * (len(table) - len(again.question.logical_map)))
    assert padded == table
    assert (again.subject, again.nr_cpus, again.question.mpidr) == ("my file.S", nr_cpus, mpidr)
    assert (again.contract, again.others) == ("a b.toml", (("SIZE", 3),))
