"""The engine: three speeds with one meaning, events, registers, reset. Programs run bare, with the MMU
off.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from bare_pe import BASE, CODE, DATA, GRAINS, VECTORS, Bare, assemble
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.arch import sysreg
from emu.engine import INVISIBLE_MAX
from emu.operation import OPERATIONS, Kind
from emu.pe import PE
from emu.stops import STEP_LIMIT, Call, Misused, Parked, Raised, Reached, Stop, Unsupported, Waiting

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
    stops: list[Stop]
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
        pe.event
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
    assert free.stops[-1].__class__ is Parked


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
    stop: Stop = STEP_LIMIT
    while stop.__class__ is not Parked:
        before, limit = pe.counters.instructions, slices[at % len(slices)]
        stop = bare.engine.run(pe, limit)
        retired = pe.counters.instructions - before
        assert retired <= limit
        assert retired == limit or stop is not STEP_LIMIT
        at += 1
        assert at < 10_000
        if isinstance(stop, Raised):
            bare.engine.deliver(pe, stop)
        elif isinstance(stop, Call):
            pe.x[0] = 0
        elif isinstance(stop, Waiting):
            pe.event = False
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
            bare.engine.deliver(pe, stop)
        elif isinstance(stop, Parked):
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
    pe.event = True
    assert bare.go(pe, grain) == Waiting(wfi=False)
    assert (pe.event, pe.pc, pe.counters.instructions, pe.counters.wfe_sleeps) == (False, CODE + 8, 2, 1)
    assert bare.records == [(Kind.WFE, 0, CODE, 0, 0), (Kind.WFE, 0, CODE + 4, 0, 1)]
    assert bare.go(pe, grain) == Parked(CODE + 8)


@every_grain
def test_wfi_always_stops(grain: str) -> None:
    """No interrupt exists that would end it."""
    bare = Bare()
    bare.load("wfi\n b .")
    pe = bare.pe()
    pe.event = True
    assert bare.go(pe, grain) == Waiting(wfi=True)
    assert (pe.event, pe.pc, pe.counters.instructions) == (True, CODE + 4, 1)


@every_grain
def test_sevl_sets_the_own_event_register_and_sev_asks_the_machine(grain: str) -> None:
    """Arm DDI 0487, C6.2 SEVL, SEV."""
    bare = Bare()
    bare.load("sevl\n sev\n b .")
    first, second = bare.pe(), bare.pe()
    sent = []
    bare.engine.send_event = lambda: sent.append(first.pc)
    assert bare.go(first, grain) == Parked(CODE + 8)
    assert (first.event, second.event, sent) == (True, False, [CODE + 4])


@every_grain
def test_a_branch_to_itself_parks(grain: str) -> None:
    """It does not retire, however often it is run."""
    bare = Bare()
    bare.load("nop\n b .")
    pe = bare.pe()
    for _ in range(3):
        assert bare.go(pe, grain) == Parked(CODE + 4)
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
    assert stop == (Waiting(wfi=False) if asleep else STEP_LIMIT)


# -- registers --------------------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize("el", [1, 2])
def test_each_pe_reads_its_own_mpidr_and_midr(el: int, grain: str) -> None:
    """Arm DDI 0487, MPIDR_EL1, MIDR_EL1: at EL1 the values of VMPIDR_EL2 and VPIDR_EL2."""
    bare = Bare()
    bare.load("mrs x0, mpidr_el1\n mrs x1, midr_el1\n mrs x2, currentel\n b .")
    pes = [bare.engine.new_pe(i, 0x8100_0000 | i << 32 | i, 0x410F_D030 + i, el) for i in range(3)]
    for pe in pes:
        bare.engine.reset(pe, el, CODE, 0)
    for pe in reversed(pes):
        bare.go(pe, grain)
        expected = [0x8100_0000 | pe.index << 32 | pe.index, 0x410F_D030 + pe.index, el << 2]
        assert list(pe.x)[:3] == expected


def test_the_virtual_mpidr_counts_below_el2() -> None:
    """Arm DDI 0487, VMPIDR_EL2: a PE that entered at EL2 reads at EL1 what its EL2 wrote there."""
    bare = Bare()
    bare.load(
        """
        mrs x1, mpidr_el1
        mov x0, #0x1234
        msr vmpidr_el2, x0
        msr vpidr_el2, x0
        mov x0, #1 << 31
        msr hcr_el2, x0
        adr x0, e
        msr elr_el2, x0
        mov x0, #0x3c5
        msr spsr_el2, x0
        eret
    e:  mrs x2, mpidr_el1
        mrs x3, midr_el1
        b .
        """
    )
    pe = bare.pe(el=2)
    bare.go(pe)
    assert (pe.el, pe.x[1], pe.x[2], pe.x[3]) == (1, 0x8000_0000, 0x1234, 0x1234)


@every_grain
def test_id_registers_read_as_overridden_on_one_pe(grain: str) -> None:
    """Others, and other registers, read what the Cortex-A72 says."""
    bare = Bare()
    bare.load("mrs x0, s3_0_c0_c7_2\n mrs x1, id_aa64mmfr0_el1\n mrs xzr, s3_0_c0_c7_2\n b .")
    first, second = bare.pe(), bare.pe()
    bare.engine.override(first, sysreg.ID_AA64MMFR2_EL1, 1 << 16)
    for pe in (first, second):
        bare.go(pe, grain)
        assert pe.counters.instructions == 3
    assert (first.x[0], first.x[1]) == (1 << 16, 0x1124)
    assert (second.x[0], second.x[1]) == (0, 0x1124)


def test_an_override_after_the_code_has_run_is_seen() -> None:
    """Translations without the hook go."""
    bare = Bare()
    bare.load("mrs x0, id_aa64pfr0_el1\n b .")
    pe = bare.pe()
    bare.go(pe)
    assert pe.x[0] == 0x2222
    bare.engine.override(pe, sysreg.ID_AA64PFR0_EL1, 0x77)
    pe.pc = CODE
    bare.go(pe)
    assert pe.x[0] == 0x77


@every_grain
def test_the_generic_counter_is_the_clock_given(grain: str) -> None:
    """No host time gets into a run."""
    bare = Bare()
    bare.load("mrs x0, cntvct_el0\n mrs x1, cntpct_el0\n mrs x2, cntfrq_el0\n b .")
    pe = bare.pe()
    bare.go(pe, grain)
    assert list(pe.x)[:3] == [1, 2, 62_500_000]


@every_grain
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("mrs x0, s3_0_c11_c12_3", "read of system register S3_0_C11_C12_3"),
        ("msr s3_0_c11_c12_3, x0", "write to system register S3_0_C11_C12_3"),
        ("mrs x0, s3_0_c10_c5_0", "read of system register S3_0_C10_C5_0"),  # MPAM1_EL1
        ("msr s3_0_c12_c12_5, x1", "write to system register S3_0_C12_C12_5"),  # ICC_SRE_EL1
        ("mrs x0, tpidr_el2", "read of system register TPIDR_EL2"),  # not at EL1
    ],
)
def test_an_unknown_system_register_is_named(text: str, what: str, grain: str) -> None:
    """Nothing is guessed: neither a value nor an exception."""
    bare = Bare()
    bare.load(f"nop\n {text}\n b .")
    pe = bare.pe()
    assert bare.go(pe, grain) == Unsupported(what, CODE + 4)
    assert (pe.pc, pe.counters.instructions) == (CODE + 4, 1)


# -- accesses ---------------------------------------------------------------------------------------


@every_grain
@pytest.mark.parametrize("text", ["ldr x0, [x20]", "str x0, [x20]", "ldrh w0, [x20]", "stp x0, x1, [x20]"])
def test_an_unaligned_access_with_the_mmu_off_is_misuse(text: str, grain: str) -> None:
    """Arm DDI 0487, B2.15.2: with the MMU off all data is Device-nGnRnE, where that faults."""
    bare = Bare()
    bare.load(f"nop\n {text}\n b .")
    pe = bare.pe()
    pe.x[20] = DATA + 1
    stop = bare.go(pe, grain)
    assert isinstance(stop, Misused)
    assert (stop.va, stop.pa) == (CODE + 4, DATA + 1)
    assert "MMU off" in stop.rule


@every_grain
def test_an_unaligned_access_with_the_mmu_on_is_fine(grain: str) -> None:
    """Normal memory, SCTLR_EL1.A clear."""
    bare = Bare()
    bare.load("ldr x0, [x20]\n str x0, [x20, #9]\n b .")
    pe = bare.pe()
    root = bare.new_root()
    bare.map(root, DATA, DATA, 0x20_0000)
    bare.mmu_on(pe, root)
    bare.put(DATA, 0x0807060504030201, 0x100F0E0D0C0B0A09)
    pe.x[20] = DATA + 1
    assert bare.go(pe, grain) == Parked(CODE + 8)
    assert bare.records == [
        (Kind.LOAD, 8, CODE, DATA + 1, 0x0908070605040302),
        (Kind.STORE, 8, CODE + 4, DATA + 10, 0x0908070605040302),
    ]
    assert pe.counters.loads_mmu_off == 0


@every_grain
@pytest.mark.parametrize("text", ["ldar x0, [x20]", "stlr x0, [x20]", "ldarh w0, [x20]"])
def test_an_unaligned_acquire_or_release_is_misuse_with_the_mmu_on_too(text: str, grain: str) -> None:
    """Arm DDI 0487, B2.5.2: without FEAT_LSE2 they are aligned to their size, else an alignment fault."""
    bare = Bare()
    bare.load(f"{text}\n b .")
    pe = bare.pe()
    root = bare.new_root()
    bare.map(root, DATA, DATA, 0x20_0000)
    bare.mmu_on(pe, root)
    pe.x[20] = DATA + 1
    stop = bare.go(pe, grain)
    assert isinstance(stop, Misused), stop
    assert (stop.va, stop.pa) == (CODE, DATA + 1)


@every_grain
def test_each_size_is_recorded_with_its_value(grain: str) -> None:
    """Loads tell what was loaded, stores what is stored, both without sign extension."""
    bare = Bare()
    bare.load(
        """
        ldrsb x1, [x20]
        ldrsh x1, [x20]
        ldrsw x1, [x20]
        ldr x1, [x20]
        mov x2, #-2
        strb w2, [x20, #8]
        strh w2, [x20, #8]
        str w2, [x20, #8]
        str x2, [x20, #8]
        str xzr, [x20, #8]
        b .
        """
    )
    pe = bare.pe()
    pe.x[20] = DATA
    bare.put(DATA, 0xFFEE_DDCC_BBAA_99F8)
    bare.go(pe, grain)
    loads = [(size, pa, value) for kind, size, _, pa, value in bare.records if kind is Kind.LOAD]
    stores = [(size, pa, value) for kind, size, _, pa, value in bare.records if kind is Kind.STORE]
    assert loads == [(1, DATA, 0xF8), (2, DATA, 0x99F8), (4, DATA, 0xBBAA99F8), (8, DATA, 0xFFEEDDCCBBAA99F8)]
    assert stores == [
        (1, DATA + 8, 0xFE),
        (2, DATA + 8, 0xFFFE),
        (4, DATA + 8, 0xFFFF_FFFE),
        (8, DATA + 8, 2**64 - 2),
        (8, DATA + 8, 0),
    ]
    assert (pe.counters.loads, pe.counters.loads_mmu_off, pe.counters.stores) == (4, 4, 5)


@every_grain
def test_an_access_that_nobody_answers_is_no_operation(grain: str) -> None:
    """An external abort: neither recorded nor counted as a load or store."""
    bare = Bare()
    bare.load("nop\n ldr x0, [x20]\n b .")
    for text in ("ldr x0, [x20]", "str x0, [x20]", "stp x0, x1, [x20]"):
        bare.load(f"nop\n {text}\n b .")
        for address in (0x1000, BASE - 16, BASE + 0x100_0000, 0x7F_0000_0000):
            bare.engine.forget_code()
            bare.records.clear()
            pe = bare.pe()
            pe.x[20] = address
            stop = bare.go(pe, grain)
            assert isinstance(stop, Raised)
            assert (pe.counters.instructions, pe.counters.loads, pe.counters.stores) == (1, 0, 0)
            assert bare.records == []


@pytest.mark.parametrize(
    "text", ["prfm pldl1keep, [x20]", "prfm pldl1keep, [x20, x1]", "prfum pldl1keep, [x20, #-1]"]
)
def test_prefetch_is_no_access(text: str) -> None:
    """PRFM is a hint: nothing is read, no fault is taken."""
    bare = Bare()
    bare.load(f"{text}\n b .")
    pe = bare.pe()
    pe.x[20], pe.x[1] = 0x1001, 3
    assert bare.go(pe) == Parked(CODE + 4)
    assert bare.records == []


@every_grain
def test_dc_zva_is_one_store_of_a_line(grain: str) -> None:
    """Arm DDI 0487, C5.3 DC ZVA: DCZID_EL0.BS words, 64 bytes, around the address given."""
    bare = Bare()
    bare.load("nop\n dc zva, x20\n mrs x0, dczid_el0\n b .")
    pe = bare.pe()
    root = bare.new_root()
    bare.map(root, DATA, DATA, 0x20_0000)
    bare.mmu_on(pe, root)
    bare.put(DATA, *[2**64 - 1] * 24)
    pe.x[20] = DATA + 64 + 17
    assert bare.go(pe, grain) == Parked(CODE + 12)
    assert bare.memory.read_bytes(DATA, 192) == b"\xff" * 64 + bytes(64) + b"\xff" * 64
    assert bare.records == [(Kind.STORE, 64, CODE + 4, DATA + 64, 0)]
    assert (pe.counters.stores, pe.counters.instructions, pe.x[0]) == (1, 3, 4)


@every_grain
def test_dc_zva_with_the_mmu_off_is_misuse(grain: str) -> None:
    """Arm DDI 0487, D7.5.9: on Device memory it takes an alignment fault."""
    bare = Bare()
    bare.load("dc zva, x20\n b .")
    pe = bare.pe()
    pe.x[20] = DATA
    stop = bare.go(pe, grain)
    assert isinstance(stop, Misused)
    assert (stop.va, stop.pa) == (CODE, DATA)


@every_grain
@pytest.mark.parametrize(
    "text", ["fmov d0, x0", "ldr q0, [x20]", "str s0, [x20]", "mrs x0, fpsr", "msr fpcr, x0"]
)
@pytest.mark.parametrize("fpen", [0, 1, 2, 3])
def test_simd_traps_as_cpacr_says(text: str, fpen: int, grain: str) -> None:
    """Arm DDI 0487, CPACR_EL1.FPEN: 0b00 and 0b10 trap EL1, with EC 0x07; nothing is accessed then."""
    bare = Bare()
    bare.load(f"mov x0, #{fpen} << 20\n msr cpacr_el1, x0\n isb\n {text}\n b .")
    pe = bare.pe()
    pe.x[20] = DATA
    stop = bare.go(pe, grain)
    if fpen & 1:
        assert stop == Parked(CODE + 16)
    else:
        assert stop == Raised(0x07 << 26 | 1 << 25 | 0x1E << 20, None, 1, CODE + 12)
        assert (pe.counters.instructions, pe.counters.loads, pe.counters.stores) == (3, 0, 0)


# -- reset ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("el", [1, 2])
def test_a_pe_comes_up_with_everything_off(el: int) -> None:
    """Arm DDI 0487, D1.9.1 and DEN0022 CPU_ON: MMU and caches off, DAIF masked, x0 the context ID."""
    bare = Bare()
    bare.load(f"mrs x1, daif\n mrs x2, spsel\n mrs x3, sctlr_el{el}\n mrs x4, currentel\n b .")
    pe = bare.pe(el=el, x0=0xC0FFEE)
    assert not pe.mmu_on
    assert [pe.x[number] for number in range(1, 31)] == [0xDEAD_0000_0000_0000 | n for n in range(1, 31)]
    assert (pe.x[0], pe.pc, pe.el, pe.sp, pe.event) == (0xC0FFEE, CODE, el, 0, False)
    bare.go(pe)
    assert (pe.x[1], pe.x[2], pe.x[4]) == (0x3C0, 1, el << 2)
    assert pe.x[3] & 0x1005 == 0  # M, C, I


def test_reset_forgets_what_the_pe_was() -> None:
    """System registers, stack, monitor, breakpoint: all as after power-on."""
    bare = Bare()
    bare.load("msr tpidr_el1, x0\n msr vbar_el1, x0\n mov sp, x0\n ldxr x1, [x20]\n fmov d1, d0\n b .")
    pe = bare.pe(x0=0x800)
    pe.x[20] = DATA
    bare.go(pe)
    assert pe.sysreg(sysreg.TPIDR_EL1) == 0x800
    assert bare.engine.armed_monitors
    bare.engine.reset(pe, 1, CODE, 0)
    assert (pe.sysreg(sysreg.TPIDR_EL1), pe.sysreg(sysreg.VBAR_EL1), pe.sp, pe.monitor) == (0, 0, 0, None)
    assert not bare.engine.armed_monitors
    writer = bare.pe()
    bare.engine.store_clears_monitors(DATA, 8, writer)
    assert not pe.event


def test_512_pes_run_the_same_code() -> None:
    """Each with its own registers, none disturbed by another."""
    bare = Bare()
    bare.load(
        "l: ldr x1, [x20]\n add x1, x1, #1\n str x1, [x20]\n add x0, x0, #1\n cmp x0, #3\n b.ne l\n b ."
    )
    pes = [bare.pe() for _ in range(512)]
    for pe in pes:
        pe.x[20] = DATA + 8 * pe.index
    active = list(pes)
    while active:
        active = [pe for pe in active if bare.engine.run_operation(pe) is STEP_LIMIT]
    assert [bare.memory.read(DATA + 8 * pe.index, 8) for pe in pes] == [3] * 512
    assert {pe.counters.instructions for pe in pes} == {18}


def test_text_that_the_tests_share_assembles() -> None:
    """Keystone gives nothing, without a word, for text that it does not know."""
    for text in PROGRAMS.values():
        assert len(assemble(text)) >= 4
