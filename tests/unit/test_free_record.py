"""What a free run records: the same operations, with the same values, as a run that is observed."""

from __future__ import annotations

import pytest
from bare_machine import CODE, DATA, make

from emu.arch.a64 import ordered_by
from emu.machine import Machine
from emu.machine.free_turns import run_freely
from emu.operation import OPERATIONS, Kind
from emu.trace import Row

# Accesses of all sizes, with a sign, pairs, exclusives that pass, barriers at the ends and in the middle of
# blocks, and behind an ISB, which ends a block.
PROGRAM = f"""
    ldr x0, ={DATA:#x}
    mov x1, #0x55
    dmb ish
    str x1, [x0]
    dsb ishst
    dmb ishld
    ldrb w2, [x0]
    cbz x2, out
    strh w1, [x0, #8]
    dmb ishst
    stp x1, x2, [x0, #16]
    b next
next:
    dmb sy
    ldp x3, x4, [x0, #16]
    mov x12, #-2
    str x12, [x0, #40]
    ldrsb x13, [x0, #40]
    ldrsb w13, [x0, #40]
    ldrsh x13, [x0, #40]
    ldrsw x13, [x0, #40]
    stlr x3, [x0, #32]
    ldar x5, [x0, #32]
again:
    ldaxr x6, [x0, #32]
    add x6, x6, #1
    stlxr w7, x6, [x0, #32]
    cbnz w7, again
    ldxrb w8, [x0]
    clrex
    stxrb w9, w8, [x0]
    dmb ish
    mov x11, #9
around:
    nop
    isb
    dmb ishld
    dsb nsh
    subs x11, x11, #1
    b.ne around
out:
    dmb ish
    b .
""".replace("[x0, #32]", "[x10]").replace(
    "    mov x1, #0x55", f"    ldr x10, ={DATA + 32:#x}\n    mov x1, #0x55"
)


class _NoTimer:
    # A board without a timer.
    def tick(self, cpu: int, now: int) -> int | None:
        """Return that nothing happens."""
        return None


def freely(text: str, cpus: int, turn: int) -> Machine:
    """Return the machine whose CPUs have run the text freely, recorded."""
    machine = make(text, cpus=cpus, scheduler="timed", record=False)
    machine.record_times()
    free = run_freely(machine, _NoTimer(), lambda cpu, va: None)  # type: ignore[arg-type]
    free.turn = turn
    free.record()
    for cpu in range(cpus):
        machine.power_on(cpu, CODE, 0)
    machine.run()
    return machine


def operations(machine: Machine) -> list[Row]:
    """Return the accesses and barriers of the trace, but for ISBs, which a free run does not record."""
    kinds = OPERATIONS - {Kind.PARK}
    rows = [row for row in machine.trace.rows() if row[0] in kinds]
    return [row for row in rows if row[0] != Kind.BARRIER or ordered_by(row[5])]


@pytest.mark.parametrize("turn", [1, 2, 3, 7, 1000])
def test_it_is_what_an_observed_run_records(turn: int) -> None:
    """Whatever the length of turns, in which blocks are cut."""
    observed = make(PROGRAM, cpus=1, record=True)
    observed.power_on(0, CODE, 0)
    observed.run()
    machine = freely(PROGRAM, 1, turn)
    assert operations(machine) == operations(observed)


def test_each_record_has_the_time_of_its_instruction() -> None:
    machine = freely(PROGRAM, 1, 1000)
    times = [
        machine.trace.times[number] for number, row in enumerate(machine.trace.rows()) if row[0] in OPERATIONS
    ]
    assert times == sorted(times)
    single = freely(PROGRAM, 1, 1)
    assert machine.trace.times == single.trace.times


def test_a_store_exclusive_that_fails_is_not_recorded() -> None:
    """Two CPUs add to one word; with turns this short they disturb each other."""
    text = f"""
    ldr x0, ={DATA:#x}
    mov x5, #20
again:
    ldaxr x1, [x0]
    add x1, x1, #1
    stlxr w2, x1, [x0]
    cbnz w2, again
    subs x5, x5, #1
    b.ne again
    b .
    """
    machine = freely(text, 2, 3)
    kinds = [row[0] for row in operations(machine) if row[4] == DATA]
    assert machine.memory.u64(DATA) == 40
    assert kinds.count(Kind.STORE_EXCLUSIVE) == 40
    assert kinds.count(Kind.LOAD_EXCLUSIVE) > 40
