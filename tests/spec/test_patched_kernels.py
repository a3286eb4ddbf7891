"""Kernels with one instruction that is another: what that breaks is found.

What the primary executes too breaks its boot before a secondary starts, so each is of the secondaries alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from patching import NOP, Kernel
from programs import run_emu


class Patch(NamedTuple):
    """One instruction of ``function``, found by its bits in ``mask``, becomes another word."""

    kernel: str
    function: str
    word: int
    mask: int
    becomes: int
    options: tuple[str, ...]
    says: str


_MSR = 0xFFFF_FFE0
_BRANCH = 0xFF00_0000  # B.cond and CBZ, with their condition and register left out
_B_EQ, _BL = 0x5400_0000, 0x9400_0000
SMALL, RFC, SPLIT = "EMU_KERNEL_SMALL", "EMU_KERNEL_RFC", "EMU_KERNEL_SPLIT"
SPIN = ("--enable-method", "spin-table")
PATCHES = {
    "no vectors": Patch(
        SMALL, "__secondary_switched", 0xD518_C000, _MSR, NOP, (), "has VBAR_EL1 0x0; vectors is at"
    ),
    "no per-CPU offset": Patch(
        SPLIT, "__secondary_switched", 0xD518_D080, _MSR, NOP, (), "has the per-CPU offset 0x0; its own is"
    ),
    "no task": Patch(
        SMALL,
        "__secondary_switched",
        0xD518_4100,
        _MSR,
        NOP,
        (),
        "CPU1 has the task 0x0 in SP_EL0; its own is",
    ),
    "no look at secondary_data": Patch(
        SMALL, "__secondary_switched", 0xF940_0002, 2**32 - 1, NOP, (), "CPU1 never came to secondary_start"
    ),
    "no look at the stack": Patch(
        SMALL, "__secondary_switched", 0xF940_1041, 2**32 - 1, NOP, (), "CPU1 never came to secondary_start"
    ),
    "no look at the CPU's number": Patch(
        SMALL,
        "__secondary_switched",
        0xB940_1043,
        2**32 - 1,
        NOP,
        (),
        "never came to secondary_start_kernel: panic",
    ),
    "no __cpu_setup": Patch(
        SMALL, "secondary_startup", _BL, 0xFC00_0000, NOP, (), "has TCR_EL1 0x0; the boot CPU has 0x"
    ),
    "no translation table": Patch(
        SMALL, "__enable_mmu", 0xD518_2020, _MSR, NOP, (), "never came to secondary_start_kernel"
    ),
    "a boot mode of its own": Patch(
        SMALL,
        "secondary_entry",
        _BL,
        0xFC00_0000,
        NOP,
        (),
        "__boot_cpu_mode is {0x0, 0xe11}, not 0xe11 twice",
    ),
    "a pen that lets nobody go": Patch(
        SMALL, "secondary_holding_pen", _B_EQ, _BRANCH, NOP, SPIN, "never came to secondary_start_kernel"
    ),
    "a pen that lets all go": Patch(
        SMALL, "pen", 0xEB02_009F, 2**32 - 1, 0xEB02_005F, SPIN, "in SP_EL0; its own is"
    ),
    "a pen that does not wait": Patch(SMALL, "pen", 0xD503_205F, 2**32 - 1, NOP, SPIN, ""),
    "a look-up that finds nobody": Patch(
        RFC, "__secondary_switched", _B_EQ, _BRANCH, NOP, (), "never came to secondary_start_kernel"
    ),
    "a look-up that takes the first": Patch(
        RFC,
        "__secondary_switched",
        0xEB00_007F,
        2**32 - 1,
        0xEB03_007F,
        (),
        "never came to secondary_start_kernel",
    ),
    "a look-up of another register": Patch(
        RFC,
        "__secondary_switched",
        0xD538_00A0,
        2**32 - 1,
        0xD538_0000,
        (),
        "never came to secondary_start_kernel",
    ),
    "a slot twice as far": Patch(
        RFC,
        "__secondary_switched",
        0xD37C_EE63,
        2**32 - 1,
        0xD37B_EA63,
        (),
        "never came to secondary_start_kernel",
    ),
}


# Every order of what a kernel does from an exception to panic() is too much.
LONG = "no look at the CPU's number"
RUNS = [
    (name, command)
    for name in PATCHES
    for command in ("boot", "explore")
    if (name, command) != (LONG, "explore")
]


@pytest.mark.parametrize(("name", "command"), RUNS)
def test_one_wrong_instruction_is_found(
    real_kernel: Callable[[str], Path], tmp_path: Path, name: str, command: str
) -> None:
    patch = PATCHES[name]
    kernel = Kernel(real_kernel(patch.kernel))
    at = kernel.find(patch.function, patch.word, patch.mask)
    kernel.put(at, patch.becomes.to_bytes(4, "little"))
    done = run_emu(command, *kernel.write(tmp_path), "--cpus", "3", *patch.options)
    text = " ".join(done.stdout.split())
    assert (done.returncode, done.stderr) == (int(bool(patch.says)), ""), done.stdout + done.stderr
    assert patch.says in text, done.stdout
    assert "finding (" in text or not patch.says
