"""PSCI calls come to the same on QEMU's virt. Not drawn is where the two may differ:

* a function ID in X0 with bits above W0, which SMCCC ignores and QEMU 7.2 does not;
* AFFINITY_INFO of a level above 0, which PSCI 1.0 leaves open;
* CPU_ON that is wrong in two ways: DEN0022 has no order of its errors;
* SMCCC 1.1, which QEMU 7.2 has not.
"""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import pytest
from programs import run_emu
from reference.qemu import console_of, missing
from reference.world import assemble, missing_assembler

from emu.arch.psci import Function

pytestmark = pytest.mark.skipif(
    bool(missing() or missing_assembler()), reason=missing() or missing_assembler()
)

CPUS = 3
ON_HERE = 0x777  # as the entry of CPU_ON: the image's own code
SLEEPS = 0x888  # as the second parameter of CPU_SUSPEND: set the timer to a millisecond from now before
NO_MORE = 2**64 - 1
HEX = re.compile(r"\b([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{16})\b")
# CPU1 is on, CPU2 stays off. The virtual timer's condition is met, so its interrupt is pending, masked by
# PSTATE; a line for each call of the table: X0 to X3 behind it, or of SLEEPS whether the time has come.
IMAGE = f"""
    ldr x1, =0x08000000
    mov w2, #0x12
    str w2, [x1]
    ldr x1, =0x080a0000
    str wzr, [x1, #0x14]
    add x1, x1, #0x10, lsl #12
    mov w2, #-1
    str w2, [x1, #0x80]
    str w2, [x1, #0x100]
    mov x2, #0xf0
    msr s3_0_c4_c6_0, x2
    mov x2, #1
    msr s3_0_c12_c12_7, x2
    msr cntv_cval_el0, xzr
    msr cntv_ctl_el0, x2
    isb
    ldr x0, =0xc4000003
    mov x1, #1
    adr x2, second
    hvc #0
0:  ldr x0, =0xc4000004
    mov x1, #1
    mov x2, #0
    hvc #0
    cbnz x0, 0b
    adr x28, table
loop:
    ldp x0, x1, [x28]
    ldp x2, x3, [x28, #16]
    cmn x0, #1
    b.eq off
    cmp x2, #{SLEEPS:#x}
    b.ne 1f
    ldr x4, =62500
    mrs x20, cntvct_el0
    add x20, x20, x4
    msr cntv_cval_el0, x20
    isb
1:  adr x4, second
    cmp x2, #{ON_HERE:#x}
    csel x19, x4, x2, eq
    mov x21, x2
    mov x2, x19
    hvc #0
    cmp x2, x19
    csel x2, x21, x2, eq
    cmp x21, #{SLEEPS:#x}
    b.ne 2f
    isb
    mrs x3, cntvct_el0
    cmp x3, x20
    cset x3, hs
2:  mov x19, x2
    bl print
    mov x0, x1
    bl print
    mov x0, x19
    bl print
    mov x0, x3
    bl print
    mov w0, #10
    strb w0, [x27]
    add x28, x28, #32
    b loop
off:
    ldr x0, =0x84000008
    hvc #0
print:
    ldr x27, =0x09000000
    mov x24, #60
3:  lsr x25, x0, x24
    and x25, x25, #15
    add x26, x25, #48
    add x23, x25, #87
    cmp x25, #10
    csel x26, x26, x23, lo
    strb w26, [x27]
    subs x24, x24, #4
    b.pl 3b
    mov w26, #32
    strb w26, [x27]
    ret
second:
    wfi
    b second
    .ltorg
    .balign 8
table:
"""

Call = tuple[int, int, int, int]


def answers(calls: list[Call], folder: Path) -> tuple[list[str], list[str]]:
    """Return what is printed for each call, on QEMU and here."""
    path = folder / "calls.flat"
    table = b"".join(struct.pack("<4Q", *call) for call in [*calls, (NO_MORE, 0, 0, 0)])
    path.write_bytes(assemble(IMAGE) + table)
    theirs = console_of(path, "virt,gic-version=3", CPUS, "")
    ours = run_emu("boot", path, "--cpus", str(CPUS), "--conduit", "hvc")
    assert ours.returncode == 0, ours.stdout + ours.stderr
    found = [[" ".join(line) for line in HEX.findall(text)] for text in (theirs, ours.stdout)]
    assert [len(each) for each in found] == [len(calls)] * 2
    return found[0], found[1]


def drawn(draw: random.Random) -> Call:
    """A call, right or wrong."""
    kind = draw.randrange(5)
    target = draw.choice((0, 1, 2, CPUS, 0x100, 0x8000_0001, 1 << 24, 1 << 32 | 1, 1 << 40, NO_MORE))
    context = draw.getrandbits(64)
    if kind == 0:
        number = draw.randrange(0x20)
        feature = draw.choice((0x8400_0000, 0xC400_0000)) + number
        return Function.PSCI_FEATURES, feature, draw.getrandbits(64), context
    if kind == 1:
        return Function.AFFINITY_INFO64, target, 0, context
    if kind == 2:
        entry = ON_HERE if target in (0, 1) else draw.choice((ON_HERE, 0))
        return Function.CPU_ON64, target if target != 2 else 3, entry, context
    if kind == 3:
        state = draw.choice((0, 1, 0xFFFF, 1 << 16, 1 << 17, 1 << 24, 1 << 31, 0x1_FFFF))
        return draw.choice((Function.CPU_SUSPEND32, Function.CPU_SUSPEND64)), state, 0, context
    unknown = (0x84000005, 0x84000007, 0x8400_000B, 0x8400_0013, 0xC400_0012, 0x8400_00FF, 0x8600_0000, 1)
    return draw.choice((Function.PSCI_VERSION, Function.MIGRATE_INFO_TYPE, *unknown)), target, 0, context


@pytest.mark.parametrize("seed", range(4))
def test_calls_have_the_same_answers_and_change_no_other_register(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    calls = [drawn(draw) for _ in range(150)]
    theirs, ours = answers(calls, tmp_path)
    unequal = [(call, *both) for call, *both in zip(calls, theirs, ours, strict=True) if both[0] != both[1]]
    assert not unequal, ([hex(each) for each in unequal[0][0]], unequal[0][1:])


def test_a_suspended_cpu_sleeps_until_its_interrupt_on_both(tmp_path: Path) -> None:
    """DEN0022 5.4: a wake-up event is one that would be signalled, masked by PSTATE or not."""
    calls: list[Call] = [(Function.CPU_SUSPEND64, state, SLEEPS, 7) for state in (0, 1 << 16)]
    theirs, ours = answers(calls, tmp_path)
    assert theirs == ours
    assert [line.split()[::3] for line in ours] == [[f"{0:016x}", f"{1:016x}"]] * 2
