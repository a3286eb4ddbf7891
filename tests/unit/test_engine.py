"""The engine: three speeds with one meaning, events, registers, reset. Programs run bare, with the MMU
off.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from bare_pe import BASE, CODE, DATA, GRAINS, VECTORS, Bare, assemble
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.engine import INVISIBLE_MAX
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, Call, EngineStop, Raised, Reached, SelfBranch, Waiting
from emu.operation import OPERATIONS, Kind

every_grain = pytest.mark.parametrize("grain", GRAINS)


# -- three speeds -----------------------------------------------------------------------------------

# Name, then instructions. x20 is the data's address; every program ends in a branch to itself.
_TEXTS = """
straight | mov x1, #1; add x2, x1, #2
loads | ldr x1, [x20]; ldrb w2, [x20, #3]; ldrsw x3, [x20, #4]; ldp x4, x5, [x20]
stores | str x0, [x20]; strh w1, [x20, #8]; stp x2, x3, [x20, #16]; stp w1, w2, [x20, #32]
index | str x0, [x20], #8; ldr x1, [x20, #-8]!; ldp x2, x3, [x20], #16; stur x2, [x20, #-8]
loop | mov x9, #5; l: ldr x1, [x20]; add x1, x1, x9; str x1, [x20]; subs x9, x9, #1; b.ne l
empty loop | mov x9, #50; l: subs x9, x9, #1; b.ne l; str x9, [x20]
exclusive | l: ldxr x1, [x20]; add x1, x1, #1; stxr w2, x1, [x20]; cbnz w2, l
exclusive pair | ldxp x1, x2, [x20]; stlxp w3, x2, x1, [x20]; ldaxr w1, [x20]; stxr w3, w1, [x20]
failed exclusive | stxr w2, x1, [x20]; ldxr x1, [x20]; clrex; stxr w3, x1, [x20]
barriers | dsb sy; dmb ish; isb; dc civac, x20; ic iallu; tlbi vmalle1; yield
events | sevl; wfe; sev; wfe; wfe; mov x1, #1
wfe loop | mov x9, #3; l: sevl; wfe; ldr x1, [x20]; subs x9, x9, #1; b.ne l
call | bl f; bl f; b past; f: ldr x1, [x20]; add x0, x0, x1; ret; past: nop
firmware | mov x0, #4; smc #0; str x0, [x20]; hvc #3; svc #0
counters | mrs x0, cntvct_el0; mrs x1, cntpct_el0; mrs x2, mpidr_el1; sub x0, x1, x0; str x0, [x20]
literals | ldr x0, #16; ldr w1, #12; adr x2, e; b e; hint #7; hint #8; e: prfm pldl1keep, [x20]
undefined | .word 0; str x0, [x20]
fp | mov x0, #3 << 20; msr cpacr_el1, x0; isb; fmov d0, x0; str q0, [x20]; ldp d1, d2, [x20]
fp trapped | msr cpacr_el1, xzr; isb; fmov d0, x0; mrs x0, fpcr; ldr d0, [x20]
external abort | mov x1, #0x1000; ldr x0, [x1]; str x0, [x1]; br x1
eret | adr x0, e; msr elr_el1, x0; mov x0, #0x3c5; msr spsr_el1, x0; eret; nop; e: ldr x0, [x20]
misaligned | adr x0, e; add x0, x0, #2; br x0; e: nop
"""
PROGRAMS = {
    name.strip(): text.replace(";", "\n") + "\nb ."
    for name, text in (line.split("|") for line in _TEXTS.strip().splitlines())
}
# Each vector counts in x28 and returns behind the instruction, or to x27 when it cannot.
HANDLER = """
    add x28, x28, #1
    mrs x26, esr_el1
    lsr x26, x26, #26
    cmp x26, #0x15
    b.eq out
    cmp x26, #0x21
    b.eq away
    cmp x26, #0x22
    b.eq away
    mrs x26, elr_el1
    add x26, x26, #4
    msr elr_el1, x26
    eret
away:
    msr elr_el1, x27
out:
    eret
"""


@dataclass
class Result:
    registers: list[int]
    pc: int
    counters: dict[str, int]
    records: list[tuple[Kind, int, int, int, int]]
    stops: list[EngineStop]
    memory: bytes
    event: bool


def run(text: str, grain: str, *, x: dict[int, int] | None = None) -> Result:
    bare = Bare()
    end = bare.load(text)
    bare.load(HANDLER, VECTORS + 0x200)
    pe = bare.pe()
    bare.words(0x1400_0000, at=end)
    pe.x[20], pe.x[27], pe.x[28] = DATA, end, 0
    for number, value in (x or {}).items():
        pe.x[number] = value
    bare.put(DATA, *range(100, 164))
    set_vectors(bare, pe)
    stops = bare.finish(pe, grain)
    return Result(
        list(pe.x), pe.pc, pe.counters.as_dict(), bare.records, stops, bare.memory.read_bytes(DATA, 512),
        bare.outside.has_event(pe)
    )  # fmt: skip


def set_vectors(bare: Bare, pe: PE) -> None:
    start = pe.pc
    bare.load(f"ldr x1, ={VECTORS:#x}\n msr vbar_el1, x1\n b .", BASE)
    keep, pe.pc = pe.x[1], BASE
    bare.engine.break_at(BASE + 8)
    assert bare.engine.run(pe, 10) == Reached(BASE + 8)
    bare.engine.unbreak(BASE + 8)
    pe.x[1], pe.pc = keep, start
    pe.reset_counters()
    bare.records.clear()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_speed_does_the_same(name: str) -> None:
    """Operations, registers, PC, counters, memory and stops do not depend on how far one runs at a time."""
    free, step, operation = (run(PROGRAMS[name], grain) for grain in GRAINS)
    assert step == free
    assert operation == free
    assert free.stops[-1].__class__ is SelfBranch


REGISTER = st.integers(0, 7).map("x{}".format)
OFFSET = st.integers(0, 20).map(lambda n: 8 * n)
LINES = st.one_of(
    st.builds("ldr {}, [x20, #{}]".format, REGISTER, OFFSET),
    st.builds("str {}, [x20, #{}]".format, REGISTER, OFFSET),
    st.builds("ldrb w{}, [x20, #{}]".format, st.integers(0, 7), st.integers(0, 160)),
    st.builds("strh w{}, [x20, #{}]".format, st.integers(0, 7), OFFSET),
    st.builds("ldp x{}, x{}, [x20, #{}]".format, st.integers(0, 3), st.integers(4, 7), OFFSET),
    st.builds("stp w{}, w{}, [x20, #{}]".format, st.integers(0, 3), st.integers(4, 7), OFFSET),
    st.builds("ldxr {}, [x20]".format, REGISTER),
    st.builds("stxr w8, {}, [x20]".format, REGISTER),
    st.builds("ldaxp x{}, x{}, [x20]".format, st.integers(0, 3), st.integers(4, 7)),
    st.builds("stlxp w8, x{}, x{}, [x20]".format, st.integers(0, 3), st.integers(4, 7)),
    st.builds("add {}, {}, {}".format, REGISTER, REGISTER, REGISTER),
    st.sampled_from(["nop", "clrex", "dmb ish", "dsb sy", "isb", "dc civac, x20"]),
    st.sampled_from(["sev", "sevl", "wfe", "yield"]),
    st.sampled_from(["bl f", "smc #0", "svc #1", "hvc #0", "stlr x1, [x20]"]),
    st.sampled_from(["mrs x0, cntvct_el0", "mrs x1, mpidr_el1"]),
)  # fmt: skip


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Straight code, then a loop, then a branch over code, then a park; `f` is a leaf that stores."""
    lines = draw(st.lists(LINES, max_size=6))
    body = draw(st.lists(LINES, min_size=1, max_size=6))
    skipped = draw(st.lists(LINES, max_size=3))
    turns = draw(st.integers(1, 4))
    return "\n".join(
        [*lines, f"mov x9, #{turns}", "l:", *body, "subs x9, x9, #1", "b.ne l", "tbz x0, #0, past", *skipped]
        + ["past:", "ldr x10, [x20]", "b .", "f:", "str x30, [x20, #256]", "ret"]
    )


@settings(max_examples=120, deadline=None)
@given(programs())
def test_any_program_does_the_same_at_every_speed(text: str) -> None:
    """The property over straight code, loops, calls, exclusives, barriers, events and exceptions."""
    free, step, operation = (run(text, grain) for grain in GRAINS)
    assert step == free
    assert operation == free


@settings(max_examples=40, deadline=None)
@given(programs(), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_any_cut_of_a_run_does_the_same(text: str, slices: list[int]) -> None:
    """run() with any limits, one after another, comes to what one run() does."""
    whole = run(text, "run")
    bare = Bare()
    end = bare.load(text)
    bare.load(HANDLER, VECTORS + 0x200)
    pe = bare.pe()
    bare.words(0x1400_0000, at=end)
    pe.x[20], pe.x[27], pe.x[28] = DATA, end, 0
    bare.put(DATA, *range(100, 164))
    set_vectors(bare, pe)
    at = 0
    stop: EngineStop = STEP_LIMIT
    while stop.__class__ is not SelfBranch:
        before, limit = pe.counters.instructions, slices[at % len(slices)]
        stop = bare.engine.run(pe, limit)
        retired = pe.counters.instructions - before
        assert retired <= limit
        assert retired == limit or stop is not STEP_LIMIT
        at += 1
        assert at < 10_000
        if isinstance(stop, Raised):
            pe.take(stop)
        elif isinstance(stop, Call):
            pe.x[0] = 0
        elif isinstance(stop, Waiting):
            bare.outside.set_event(pe, False)
    assert (list(pe.x), pe.pc, pe.counters.as_dict()) == (whole.registers, whole.pc, whole.counters)
    assert bare.records == whole.records


@settings(max_examples=40, deadline=None)
@given(programs())
def test_each_step_retires_one_instruction(text: str) -> None:
    """A step adds one to the count, or none when the instruction raises."""
    bare = Bare()
    bare.load(text)
    bare.load(HANDLER, VECTORS + 0x200)
    pe = bare.pe()
    pe.x[20], pe.x[28] = DATA, 0
    set_vectors(bare, pe)
    for _ in range(300):
        before = pe.counters.instructions
        stop = bare.engine.step(pe)
        retired = pe.counters.instructions - before
        if isinstance(stop, Raised):
            assert retired == (stop.syndrome >> 26 == 0x15)  # SVC is executed, the others are not
            pe.take(stop)
        elif isinstance(stop, SelfBranch):
            assert retired == 0
            break
        else:
            assert retired == 1
    else:
        pytest.fail("no end")


def test_operation_grain_stops_before_each_operation() -> None:
    """Between two stops there is one operation at most, and at_operation() says where."""
    bare = Bare()
    bare.load("mov x1, #1\n str x1, [x20]\n add x1, x1, #1\n dsb sy\n ldp x2, x3, [x20]\n sev\n smc #0\n b .")
    pe = bare.pe()
    pe.x[20] = DATA
    assert not bare.engine.at_operation(pe)
    stops = []
    while True:
        before = len([r for r in bare.records if r[0] in OPERATIONS])
        stop = bare.engine.run_operation(pe)
        new = [record[0] for record in bare.records[before:]]
        stops.append((pe.pc - CODE, new))
        if stop is not STEP_LIMIT:
            break
        assert bare.engine.at_operation(pe)
    load = Kind.LOAD
    assert stops == [
        (4, []),
        (12, [Kind.STORE]),
        (16, [Kind.BARRIER]),
        (20, [load, load]),
        (24, [Kind.SEV]),
        (28, []),
    ]
    assert stop == Call("smc", 0)


def test_a_long_loop_without_operations_is_cut_at_operation_grain() -> None:
    """It returns so that others get a turn; INVISIBLE_MAX instructions at least were run."""
    bare = Bare()
    bare.load("l: add x0, x0, #1\n b l")
    pe = bare.pe()
    assert bare.engine.run_operation(pe) is STEP_LIMIT
    assert INVISIBLE_MAX <= pe.counters.instructions <= INVISIBLE_MAX + 2


def test_count_is_exact_whatever_the_limit() -> None:
    """run(n) retires n instructions, also over blocks that are known already."""
    bare = Bare()
    bare.load("l: add x0, x0, #1\n add x0, x0, #1\n add x0, x0, #1\n b l")
    pe = bare.pe()
    total = 0
    for limit in (1, 2, 3, 4, 5, 6, 7, 100, 1, 9999, 3):
        assert bare.engine.run(pe, limit) is STEP_LIMIT
        total += limit
        assert pe.counters.instructions == total
        assert pe.x[0] == total - total // 4
        assert pe.pc == CODE + 4 * (total % 4)


@pytest.mark.parametrize("text", ["l: sev\n b l", "l: sevl\n wfe\n b l", "l: b l2\nl2: b l"])
def test_an_uncounted_run_ends_when_its_time_is_over(text: str) -> None:
    """Also one that goes on in the host all the time: a stop that comes between two entries is lost."""
    bare = Bare(observe=False)
    bare.load(text)
    assert bare.engine.run_uncounted(bare.pe(), 0.02) is STEP_LIMIT


def test_a_run_after_an_uncounted_one_is_counted() -> None:
    """Blocks made without the instruction counter must not be run with it."""
    bare = Bare(observe=False)
    bare.load("l: add x0, x0, #1\n cbnz x1, l\n smc #0\n b l")
    pe = bare.pe()
    pe.x[1] = 0
    assert bare.engine.run_uncounted(pe) == Call("smc", 0)
    pe.x[1] = 1
    assert bare.engine.run(pe, 1001) is STEP_LIMIT
    assert pe.counters.instructions == 1001
    assert bare.engine.step(pe) is STEP_LIMIT
    assert pe.counters.instructions == 1002
    pe.x[1] = 0
    assert bare.engine.run_uncounted(pe) == Call("smc", 0)
    pe.x[1] = 1
    assert bare.engine.run_operation(pe) is STEP_LIMIT
    assert INVISIBLE_MAX + 1002 <= pe.counters.instructions <= INVISIBLE_MAX + 1010


# -- events -----------------------------------------------------------------------------------------


@every_grain
def test_wfe_sleeps_only_when_the_event_register_is_clear(grain: str) -> None:
    """Arm DDI 0487, D1.7.1: WFE with the register set clears it and completes."""
    bare = Bare()
    bare.load("wfe\n wfe\n b .")
    pe = bare.pe()
    bare.outside.set_event(pe, True)
    assert bare.go(pe, grain) == Waiting(Kind.WFE)
    assert (bare.outside.has_event(pe), pe.pc, pe.counters.instructions, pe.counters.wfe_sleeps) == (
        False,
        CODE + 8,
        2,
        1,
    )
    assert bare.records == [(Kind.WFE, 0, CODE, 0, 0), (Kind.WFE, 0, CODE + 4, 0, 1)]
    assert bare.go(pe, grain) == SelfBranch(CODE + 8)


@every_grain
def test_wfi_always_stops(grain: str) -> None:
    """No interrupt exists that would end it."""
    bare = Bare()
    bare.load("wfi\n b .")
    pe = bare.pe()
    bare.outside.set_event(pe, True)
    assert bare.go(pe, grain) == Waiting(Kind.WFI)
    assert (bare.outside.has_event(pe), pe.pc, pe.counters.instructions) == (True, CODE + 4, 1)


@every_grain
def test_sevl_sets_the_own_event_register_and_sev_asks_the_machine(grain: str) -> None:
    """Arm DDI 0487, C6.2 SEVL, SEV."""
    bare = Bare()
    bare.load("sevl\n sev\n b .")
    first = bare.pe()
    bare.pe()
    assert bare.go(first, grain) == SelfBranch(CODE + 8)
    assert (bare.outside.system.events, bare.outside.sent) == (0b01, [CODE + 8])


@every_grain
def test_a_branch_to_itself_parks(grain: str) -> None:
    """It does not retire, however often it is run."""
    bare = Bare()
    bare.load("nop\n b .")
    pe = bare.pe()
    for _ in range(3):
        assert bare.go(pe, grain) == SelfBranch(CODE + 4)
        assert (pe.pc, pe.counters.instructions) == (CODE + 4, 1)


@pytest.mark.parametrize("text", ["sevl\n wfe", "nop\n sev", "nop\n wfe", "mrs x0, cntvct_el0\n nop"])
@pytest.mark.parametrize("limit", [1, 2])
def test_an_emulated_instruction_as_the_last_of_the_limit(text: str, limit: int) -> None:
    """It is run when it is within the limit and not begun when it is beyond."""
    bare = Bare()
    bare.load(f"{text}\n nop\n b .")
    pe = bare.pe()
    stop = bare.engine.run(pe, limit)
    assert (pe.pc, pe.counters.instructions) == (CODE + 4 * limit, limit)
    asleep = text == "nop\n wfe" and limit == 2
    assert stop == (Waiting(Kind.WFE) if asleep else STEP_LIMIT)


def test_text_that_the_tests_share_assembles() -> None:
    """Keystone gives nothing, without a word, for text that it does not know."""
    for text in PROGRAMS.values():
        assert len(assemble(text)) >= 4
