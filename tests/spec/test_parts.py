"""LDP, STP and their like are several accesses: what others see of them half done, and what they do not.

Each planted bug takes a pair for one access, and shows; its twin does without, and does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from exploring import Code, Program, X, code_of, explorer_of, machine_of

from emu.cpu.cores import CORES
from emu.errors import ReplayDiverged
from emu.explore.ends import EndState, find_ends
from emu.explore.registers import Registers
from emu.explore.search import Bounds, Count
from emu.operation import Access, Kind, LoadExclusive, MemoryAccess
from emu.outcome import End
from emu.semantics.parts import parts_of

FP = "mov x9, #0x300000\n msr cpacr_el1, x9\n isb\n "
ZERO = dict.fromkeys((X, X + 8), 0)
WRITE = "mov x1, #1\n str x1, [x0]\n dmb ishst\n str x1, [x0, #8]\n b ."
WRITE_BOTH = "l: ldxp x4, x5, [x0]\n mov x1, #1\n stxp w3, x1, x1, [x0]\n cbnz w3, l\n b ."
READ = "ldr x1, [x0]\n ldr x2, [x0, #8]\n b ."
READ_BACKWARDS = "ldr x2, [x0, #8]\n ldr x1, [x0]\n b ."
READ_BOTH = "l: ldxp x1, x2, [x0]\n stxp w3, x1, x2, [x0]\n cbnz w3, l\n b ."


def ends_of(*programs: Program, **bounds: int | bool) -> tuple[set[tuple[int, int]], Count]:
    """X1 and X2 of the last CPU at every end, and what the search has counted."""
    explorer = explorer_of(programs, words=ZERO, midr=CORES["max"].midr)
    registers = Registers(explorer.stepper.machine)
    found: set[tuple[int, int]] = set()

    def see(end: EndState) -> None:
        assert all(local.outcome.end is End.SELF_BRANCH for local in end.locals)
        x = registers.of(end.locals[-1])
        found.add((x[1], x[2]))

    def begin() -> object:
        found.clear()
        return see

    ends = find_ends(explorer, Bounds(**bounds), begin)  # type: ignore[arg-type]
    assert not ends.incomplete
    return found, ends.count


@dataclass(frozen=True, slots=True)
class Torn:
    """A pair that is seen half done.

    :ivar seen: X1 and X2 of the reader that no single access gives
    :ivar twin: of programs that do it right
    """

    writer: str
    reader: str
    seen: set[tuple[int, int]]
    twin: tuple[str, str]
    mapped: bool = False


STP = "mov x1, #1\n stp x1, x1, [x0]\n b ."
LDP = "ldp x1, x2, [x0]\n b ."
CASES = {
    # The flag is the second word, and the reader looks at it first: right, had the writer a barrier.
    "STP": Torn(STP, READ_BACKWARDS, {(0, 1)}, (WRITE, READ_BACKWARDS)),
    "STP the other way round": Torn(STP, READ, {(1, 0)}, (WRITE_BOTH, READ_BOTH)),
    "LDP old and new": Torn(WRITE, LDP, {(0, 1)}, (WRITE, READ_BACKWARDS.replace("[x0, #8]", "[x0, #16]"))),
    "LDP new and old": Torn(WRITE, LDP, {(1, 0)}, (WRITE_BOTH, READ_BOTH)),
    "STNP and LDNP": Torn(
        STP.replace("stp", "stnp"), LDP.replace("ldp", "ldnp"), {(0, 1), (1, 0)}, (WRITE_BOTH, READ_BOTH)
    ),
    "STP with write-back": Torn(
        "mov x1, #1\n stp x1, x1, [x0], #16\n b .", READ, {(1, 0)}, (WRITE_BOTH, READ_BOTH)
    ),
    # One entry of a table, in one line, that another CPU writes as a whole.
    "an entry of a table": Torn(WRITE_BOTH, LDP, {(0, 1), (1, 0)}, (WRITE_BOTH, READ_BOTH)),
    "LDXP without STXP": Torn(
        WRITE_BOTH, "ldxp x1, x2, [x0]\n b .", {(0, 1), (1, 0)}, (WRITE_BOTH, READ_BOTH)
    ),
    "STR of a Q register": Torn(
        FP + "mov x1, #1\n dup v0.2d, x1\n str q0, [x0]\n b .", READ, {(1, 0)}, (WRITE_BOTH, READ_BOTH)
    ),
    "LDR of a Q register": Torn(
        WRITE,
        FP + "ldr q0, [x0]\n mov x1, v0.d[0]\n mov x2, v0.d[1]\n b .",
        {(0, 1)},
        (WRITE_BOTH, READ_BOTH),
    ),
    "STP of W registers under one load": Torn(
        "mov w1, #1\n stp w1, w1, [x0]\n b .",
        "ldr x1, [x0]\n mov x2, #0\n b .",
        {(1, 0), (1 << 32, 0)},
        ("mov x1, #1\n orr x1, x1, x1, lsl #32\n str x1, [x0]\n b .", "ldr x1, [x0]\n mov x2, #0\n b ."),
    ),
    "LDP of W registers under one store": Torn(
        "mov x1, #1\n orr x1, x1, x1, lsl #32\n str x1, [x0]\n b .",
        "ldp w1, w2, [x0]\n b .",
        {(1, 0), (0, 1)},
        (
            "mov x1, #1\n orr x1, x1, x1, lsl #32\n str x1, [x0]\n b .",
            "ldxp w1, w2, [x0]\n b .",  # of 8 bytes: at once
        ),
    ),
    "LDPSW": Torn(
        "mov x1, #-1\n str x1, [x0]\n b .",
        "ldpsw x1, x2, [x0]\n b .",
        {(2**64 - 1, 0), (0, 2**64 - 1)},
        ("mov x1, #-1\n str x1, [x0]\n b .", "ldr x1, [x0]\n mov x2, x1\n b ."),
    ),
    "an unaligned store": Torn(
        "movz w1, #0x201\n strh w1, [x0, #1]\n b .",
        "ldrh w1, [x0, #1]\n mov x2, #0\n b .",
        {(1, 0), (0x200, 0)},
        ("movz w1, #0x201\n strh w1, [x0, #2]\n b .", "ldrh w1, [x0, #2]\n mov x2, #0\n b ."),
        mapped=True,
    ),
    "LD1 of two elements": Torn(
        WRITE,
        FP + "ld1 {v0.2d}, [x0]\n mov x1, v0.d[0]\n mov x2, v0.d[1]\n b .",
        {(0, 1)},
        (WRITE_BOTH, READ_BOTH),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_pair_that_others_look_at_is_seen_half_done(name: str) -> None:
    case = CASES[name]
    programs = [Code(text, case.mapped) for text in (case.writer, case.reader)]
    found, _ = ends_of(*programs)
    assert case.seen <= found
    assert found == ends_of(*programs, reduce=False)[0]


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_at_once_is_not(name: str) -> None:
    case = CASES[name]
    found, _ = ends_of(*(Code(text, case.mapped) for text in case.twin))
    assert not case.seen & found
    assert len(found) > 1


def test_lines_zeroed_are_seen_in_every_order_of_their_doublewords() -> None:
    fill = "mov x4, #7\n str x4, [x0]\n str x4, [x0, #8]\n dc zva, x0\n b ."
    found, _ = ends_of(Code(fill, True), Code(READ, True))
    assert {(7, 7), (0, 7), (7, 0), (0, 0)} <= found


@pytest.mark.parametrize(
    "pair",
    [
        "stp x1, x2, [x0]",
        "ldp x1, x2, [x0]",
        "ldxp x1, x2, [x0]",
        "ldp w1, w2, [x0]",
        "stp x1, x2, [x0], #16",
    ],
)
@pytest.mark.parametrize("other", ["ldr x1, [x0, #256]", "str x0, [x0, #64]", "ldp x1, x2, [x0, #256]"])
def test_a_pair_that_nobody_else_looks_at_costs_no_schedule(pair: str, other: str) -> None:
    _, count = ends_of(f"{pair}\n b .", f"{other}\n b .")
    _, without = ends_of("nop\n b .", f"{other}\n b .")
    assert count.schedules == without.schedules == 1


def test_a_pair_of_which_others_look_at_one_word_is_as_cheap_as_an_access_to_that() -> None:
    _, count = ends_of("stp x1, x2, [x0]\n b .", "ldr x1, [x0, #8]\n b .")
    _, single = ends_of("str x2, [x0, #8]\n b .", "ldr x1, [x0, #8]\n b .")
    assert count.schedules == single.schedules == 2


def test_a_loop_that_waits_with_a_pair_leaves_it_by_what_it_saw_half_old() -> None:
    """Every look as a whole keeps it there until the second word is set, and then the first one is, too."""
    wait = "l: ldp x1, x2, [x0]\n cbz x2, l\n b ."
    assert ends_of(WRITE, wait)[0] == {(1, 1), (0, 1)}
    assert ends_of(WRITE, wait.replace("ldp x1, x2, [x0]", "ldr x2, [x0, #8]\n ldr x1, [x0]"))[0] == {(1, 1)}


def test_a_loop_that_waits_with_a_pair_for_ever_is_found() -> None:
    wait = "l: ldp x1, x2, [x0]\n cbz x2, l\n b ."
    result = explorer_of([wait, "str x0, [x0]\n b ."], words=ZERO).search(Bounds(), everything=True)
    assert [found.finding.rule for found in result.findings] == ["stuck"]
    assert result.complete


# -- on the machine -------------------------------------------------------------------------------


def run(schedule: str, *programs: Program) -> list[tuple[int, int, int, int]]:
    """Take a schedule; give CPU, kind, offset from X and value of each access."""
    machine = machine_of(programs, words=ZERO, scheduler=f"replay:{schedule}")
    machine.run()
    machine.finish()
    kinds = (Kind.LOAD, Kind.STORE, Kind.LOAD_EXCLUSIVE)
    return [
        (cpu, kind, pa - X, value)
        for kind, _, cpu, _, pa, value in machine.trace.rows()
        if kind in kinds and pa - X in (0, 8)
    ]


def test_the_machine_makes_one_part_when_the_schedule_says_so() -> None:
    store, load = Kind.STORE, Kind.LOAD
    programs = (STP, READ)
    assert run("0,0,1,1,1", *programs) == [
        (0, store, 0, 1),
        (0, store, 8, 1),
        (1, load, 0, 1),
        (1, load, 8, 1),
    ]
    assert run("0,h0.1,1,1,1,0", *programs) == [
        (0, store, 8, 1),
        (1, load, 0, 0),
        (1, load, 8, 1),
        (0, store, 0, 1),
    ]


def test_registers_are_written_when_the_last_part_is_made() -> None:
    machine = machine_of(
        ["ldp x1, x2, [x0], #16\n b .", "b ."], words={X: 5, X + 8: 6}, scheduler="replay:h0.1,0"
    )
    pe = machine.actors[0].pe
    before = list(pe.x)
    machine.step()
    assert (list(pe.x), pe.pc, pe.counters.instructions) == (before, code_of(0), 0)
    assert [tuple(made) for made in machine.actors[0].made] == [(1, 6)]
    machine.step()
    assert (pe.x[0], pe.x[1], pe.x[2], pe.pc) == (X + 16, 5, 6, code_of(0) + 4)
    assert (pe.counters.instructions, pe.counters.loads, machine.actors[0].made) == (1, 2, ())


def test_a_load_that_was_made_keeps_its_value_when_another_cpu_stores_after_it() -> None:
    machine = machine_of(
        [LDP, "mov x1, #1\n stp x1, x1, [x0]\n b ."], words=ZERO, scheduler="replay:h0.0,1x3,0"
    )
    machine.run()
    assert machine.actors[0].pe.x[1:3] == [0, 1]
    assert (machine.memory.read(X, 8), machine.memory.read(X + 8, 8)) == (1, 1)


def test_stores_that_were_made_are_not_made_again() -> None:
    machine = machine_of(
        [STP, "mov x1, #2\n str x1, [x0]\n b ."], words=ZERO, scheduler="replay:0,h0.0,1x3,0"
    )
    machine.run()
    assert (machine.memory.read(X, 8), machine.memory.read(X + 8, 8)) == (2, 1)


def test_a_store_between_the_parts_of_a_load_exclusive_lets_the_store_exclusive_fail() -> None:
    exclusive = "ldxp x1, x2, [x0]\n stxp w3, x0, x0, [x0]\n b ."
    for schedule, failed in (("h0.1,1x2,0x3", 1), ("1x2,h0.1,0x3", 0), ("h0.1,0x3,1x2", 0)):
        machine = machine_of([exclusive, "str x0, [x0]\n b ."], words=ZERO, scheduler=f"replay:{schedule}")
        machine.run()
        assert machine.actors[0].pe.x[3] == failed


def test_no_part_is_made_of_an_instruction_that_raises_an_exception() -> None:
    last = "mov x3, x0\n lsr x3, x3, #21\n add x3, x3, #{}\n lsl x3, x3, #21\n sub x3, x3, #8\n"
    code = last.format(64) + " mov x1, #1\n stp x1, x1, [x3]\n b ."
    explorer = explorer_of([code, READ], words=ZERO)
    result = explorer.search(Bounds(), everything=True)
    assert result.complete
    assert not any(local.action.apart or local.made for local in explorer.stepper.locals)


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("h0.2", "no part 2"),
        ("h1.0", "no part 0"),
        ("h0.0,h0.1", "no part 1"),
        ("h0.0,h0.0", "no part 0"),
        ("h7.0", "CPU7"),
    ],
)
def test_a_schedule_with_a_part_that_is_not_there_is_refused(schedule: str, why: str) -> None:
    machine = machine_of(["stp x0, x0, [x0]\n b .", "b ."], scheduler=f"replay:{schedule}")
    with pytest.raises(ReplayDiverged, match=re.escape(why)):
        machine.run()


# -- what the parts are ---------------------------------------------------------------------------


def accesses(*parts: tuple[int, int], is_store: bool = False) -> tuple[Access, ...]:
    return tuple(Access(pa, size, is_store, 0x0807_0605_0403_0201) for pa, size in parts)


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        (MemoryAccess(accesses((0, 8))), 0),
        (MemoryAccess(accesses((8, 4))), 0),
        (MemoryAccess(accesses((0, 8), (8, 8))), 2),
        (MemoryAccess(accesses((0, 4), (4, 4))), 2),
        (MemoryAccess(accesses((4, 8))), 8),
        (MemoryAccess(accesses((1, 2), (3, 1))), 3),
        (MemoryAccess(accesses((0, 8)) + accesses((0, 8), is_store=True)), 0),  # an atomic
        (LoadExclusive(accesses((0, 8), (8, 8))), 2),
        (LoadExclusive(accesses((0, 4), (4, 4))), 0),
        (LoadExclusive(accesses((0, 8))), 0),
    ],
)
def test_parts_are_what_is_single_copy_atomic(made: MemoryAccess | LoadExclusive, parts: int) -> None:
    found = parts_of(made)
    assert len(found) == parts
    if parts:
        assert sum(part.size for part in found) == sum(access.size for access in made.accesses)


def test_bytes_of_an_unaligned_store_are_those_of_its_value() -> None:
    found = parts_of(MemoryAccess(accesses((4, 8), is_store=True)))
    assert [(part.pa, part.value) for part in found] == [(4 + at, at + 1) for at in range(8)]
