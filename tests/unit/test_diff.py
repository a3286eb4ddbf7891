"""Alignment of two runs: what is no difference, what is, and how it is shown."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import pytest

from emu.case import Case
from emu.errors import InvalidCase
from emu.host.build import Boot, build
from emu.host.tracing import record_instructions, symbol_table
from emu.operation import Kind
from emu.report.diff import WIDTH, Diff, Run, compare, cpu_ranges, diff_json, diff_text
from emu.report.history import Item, Names, histories
from emu.report.hunks import align, hunks

DESIGNS = ("mainline", "rfc", "v2", "v3", "context-id")


def boot_of(case: Case) -> Boot:
    boot = build(case, record=True)
    record_instructions(boot)
    boot.machine.run()
    boot.machine.finish()
    return boot


def run_of(case: Case) -> Run:
    boot = boot_of(case)
    return Run(boot.machine.trace, symbol_table(boot.guest))


def diff_of(a: str | Case, b: str | Case, *, instructions: bool = True, cpus: int = 4) -> Diff:
    cases = (Case(x, topology=f"flat:{cpus}") if isinstance(x, str) else x for x in (a, b))
    return compare(*(run_of(case) for case in cases), instructions=instructions)


@pytest.mark.parametrize("instructions", [True, False])
@pytest.mark.parametrize("design", DESIGNS)
def test_a_run_is_the_same_as_itself(design: str, instructions: bool) -> None:
    diff = diff_of(design, design, instructions=instructions)
    assert diff.same
    assert len(diff.cpus) == 4
    assert list(diff_text(diff))[-1] == "same: 4 CPUs"


@pytest.mark.parametrize("scheduler", ["random:1", "random:2", "timed"])
def test_another_order_of_cpus_is_no_difference(scheduler: str) -> None:
    """Each CPU is compared with itself, wherever the others are."""
    case = Case("mainline", topology="flat:4")
    assert diff_of(case, replace(case, scheduler=scheduler)).same


def test_other_addresses_of_the_same_symbols_are_no_difference() -> None:
    """A larger NR_CPUS moves all data behind v3's tables: page tables, stacks, tasks."""
    small = Case("v3", topology="flat:4", nr_cpus=4)
    one, other = boot_of(small), boot_of(replace(small, nr_cpus=512))
    assert one.guest.subject.va("idmap_pg_dir") != other.guest.subject.va("idmap_pg_dir")
    runs = [Run(boot.machine.trace, symbol_table(boot.guest)) for boot in (one, other)]
    assert compare(*runs, instructions=False).same
    found = compare(*runs, instructions=True)
    texts = {item.text for cpu in found.cpus for side in (cpu.a, cpu.b) if (item := cpu.item(side))}
    assert texts == {"cmp x19, #4", "cmp x19, #0x200"}, "NR_CPUS itself, in the bound of the look-up"


def test_the_first_difference_of_mainline_and_v3_is_the_lookup() -> None:
    diff = diff_of("mainline", "v3")
    for cpu in diff.cpus[1:]:
        one, other = cpu.item(cpu.a), cpu.item(cpu.b)
        assert one is not None
        assert other is not None
        assert (other.place, other.text) == ("find", "mrs x0, mpidr_el1")
        assert one.text == "bl __cpu_secondary_check52bitva"
    assert len({cpu.place for cpu in diff.cpus[1:]}) == 1


def test_a_register_that_differs_is_named() -> None:
    """One CPU's feature register: the same code sees another value."""
    case = Case("v3", topology="flat:3")
    diff = diff_of(case, replace(case, fault="1:no-52bit-va"))
    (cpu,) = [cpu for cpu in diff.cpus if cpu.cpu == 1]
    one, other = cpu.item(cpu.a), cpu.item(cpu.b)
    assert one is not None
    assert other is not None
    assert one.text == other.text == "mrs x0, id_aa64mmfr2_el1"
    assert (one.effects, other.effects) == ([("x0", "0x10000")], [("x0", "0x0")])
    lines = list(diff_text(diff))
    assert any(line.startswith("- ") and line.endswith("; x0 = 0x10000") for line in lines)
    assert any(line.startswith("+ ") and line.endswith("; x0 = 0x0") for line in lines)


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("design", DESIGNS)
def test_counts_are_those_of_the_machine(design: str, el: int) -> None:
    """What the summary counts from the trace, the engine has counted as it ran."""
    boot = boot_of(Case(design, topology="flat:4", el=el))
    trace = boot.machine.trace
    found = histories(trace, Names(trace, symbol_table(boot.guest)), instructions=True)
    for cpu, actor in enumerate(boot.machine.actors):
        counters, counts = actor.pe.counters, found[cpu].counts
        assert counts["instructions"] == counters.instructions
        assert (counts["loads"], counts["stores"]) == (counters.loads, counters.stores)
        assert counts["loads_mmu_off"] == counters.loads_mmu_off
        own = sum(r.actor == cpu and r.kind is Kind.EXCEPTION and r.value >> 26 == 0x16 for r in trace)
        assert counts["calls"] + own == counters.calls, "an HVC to the kernel's own EL2 is an exception"
        assert counts["wfe"] == counters.wfe_sleeps
        assert counts["exceptions"] == counters.exceptions


@cache
def run_of_design(design: str) -> Run:
    return run_of(Case(design, topology="flat:4"))


@pytest.mark.parametrize("instructions", [True, False])
@pytest.mark.parametrize("a", DESIGNS)
@pytest.mark.parametrize("b", DESIGNS)
def test_text_fits_into_mail(a: str, b: str, instructions: bool) -> None:
    lines = list(diff_text(compare(run_of_design(a), run_of_design(b), instructions=instructions)))
    assert max(map(len, lines)) <= WIDTH
    assert all(line == line.rstrip() and line.isascii() for line in lines)
    assert lines[0].startswith(f"--- {a} ")


def test_more_cpus_on_one_side() -> None:
    case = Case("mainline", topology="flat:2")
    diff = diff_of(case, replace(case, topology="flat:4"))
    assert [cpu.first for cpu in diff.cpus[2:]] == [0, 0]
    text = "\n".join(diff_text(diff))
    assert "- (nothing more)" in text
    assert "CPU2..CPU3" in text


def test_json_has_both_sides_of_each_cpu() -> None:
    found = diff_json(diff_of("mainline", "v3"))
    assert (found["same"], found["grain"]) == (False, "instruction")
    assert [cpu["cpu"] for cpu in found["cpus"]] == [0, 1, 2, 3]
    first = found["cpus"][1]["first"]
    assert first["b"]["at"] == "find"
    assert found["cpus"][1]["a"]["instructions"] != found["cpus"][1]["b"]["instructions"]


@pytest.mark.parametrize(
    ("cpus", "text"),
    [([0], "CPU0"), ([1, 2, 3], "CPU1..CPU3"), ([0, 2, 3, 7], "CPU0, CPU2..CPU3, CPU7")],
)
def test_cpu_ranges(cpus: list[int], text: str) -> None:
    assert cpu_ranges(cpus) == text


def test_a_register_that_had_the_value_already_is_no_difference() -> None:
    """Only one side changes it, both have it."""
    one = Item("f", "cmp x0, #0", (1,), [("nzcv", "0110")], True)
    other = Item("f", "cmp x0, #0", (1,), [], True, after=lambda name: "0110" if name == "nzcv" else None)
    assert one.same_as(other)
    assert other.same_as(one)
    other.after = lambda _name: "1000"
    assert not one.same_as(other)


def items_of(text: str) -> list[Item]:
    """An item for each letter; one in capitals has an effect that the small one has not."""
    return [
        Item(letter.lower(), letter.lower(), (letter.lower(),), [("x0", letter)], is_instruction=True)
        for letter in text
    ]


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        ("abcdefgh", "abcdefgh", []),
        ("abcdefghijklmnop", "abcdXefghijklmnop", ["bcd+efg"]),
        ("abcdefghijklmnop", "abcdefghijkl", ["jkl----"]),
        ("abcdefghijklmnopqrst", "Abcdefghijklmnopqrst", ["!bcd"]),
        ("abcdefghijklmnopqrst", "aBcdefghijklmnopqrSt", ["a!cde", "pqr!t"]),
        ("aXcdefghijklmnop", "aYcdefghijklmnop", ["a-+cde"]),
        ("abcdefgh", "stuvwxyz", ["--------++++++++"]),
    ],
)
def test_both_sides_come_together_again_behind_each_difference(a: str, b: str, found: list[str]) -> None:
    one, other = items_of(a), items_of(b)

    def shown(row: tuple[int, int], changed: bool) -> str:
        return "+" if row[0] < 0 else "-" if row[1] < 0 else "!" if changed else one[row[0]].place

    drawn = ["".join(map(shown, hunk.rows, hunk.changed)) for hunk in hunks(one, other, 3)]
    assert drawn == found


@pytest.mark.parametrize("seed", range(40))
def test_an_alignment_has_each_item_of_both_sides_once_and_in_order(seed: int) -> None:
    draw = random.Random(seed)
    a = [draw.choice("abcde") for _ in range(draw.randrange(300))]
    b = [letter for letter in a if draw.random() > 0.1]
    for _ in range(draw.randrange(8)):
        b.insert(draw.randint(0, len(b)), "f")
    one, other = items_of("".join(a)), items_of("".join(b))
    rows = list(align(one, other))
    assert [here for here, _ in rows if here >= 0] == list(range(len(a)))
    assert [there for _, there in rows if there >= 0] == list(range(len(b)))
    assert all(a[here] == b[there] for here, there in rows if here >= 0 and there >= 0)


@pytest.mark.parametrize("instructions", [True, False])
@pytest.mark.parametrize(("a", "b"), [("mainline", "v3"), ("v2", "v3"), ("rfc", "context-id")])
def test_all_hunks_have_all_that_differs_in_lines_that_fit(a: str, b: str, instructions: bool) -> None:
    runs = [run_of(Case(design, topology="flat:3")) for design in (a, b)]
    diff = compare(*runs, instructions=instructions, everything=True)
    lines = list(diff_text(diff))
    assert max(map(len, lines)) <= WIDTH
    first = list(diff_text(compare(*runs, instructions=instructions)))
    heads = [sum(line.startswith("@@ ") for line in text) for text in (lines, first)]
    assert heads[0] > heads[1]
    for cpu in diff.cpus:
        assert sum(here >= 0 for here, _ in align(cpu.a.items, cpu.b.items)) == len(cpu.a.items)


def test_two_cpus_of_one_run_differ_in_who_they_are() -> None:
    run = run_of(Case("v3", topology="flat:3"))
    lines = list(diff_text(compare(run, run, instructions=True, everything=True, pair=(1, 2))))
    assert [line for line in lines if line.startswith("@@ ")][0].startswith("@@ CPU1 and CPU2: -")
    assert any(line.split() == ["-", ";", "x0", "=", "0x80000001"] for line in lines)
    assert any(line.split() == ["+", ";", "x0", "=", "0x80000002"] for line in lines)
    assert lines[-1] == "different: CPU1 and CPU2"
    assert [line.split()[:2] for line in lines[-4:-2]] == [["-", "CPU1"], ["+", "CPU2"]]
    assert compare(run, run, instructions=True, pair=(1, 1)).same
    with pytest.raises(InvalidCase, match="CPU7: B has no such CPU"):
        compare(run, run, instructions=True, pair=(1, 7))
