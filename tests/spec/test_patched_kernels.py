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
        "CPU1 never came to secondary_start_kernel: panic, PC",
    ),
    "an undefined instruction": Patch(
        SMALL,
        "__secondary_switched",
        0xB940_1043,
        2**32 - 1,
        0,
        (),
        "CPU1 never came to secondary_start_kernel: panic, PC",
    ),
    "BUG()": Patch(
        SPLIT,
        "__secondary_switched",
        0xB940_1043,
        2**32 - 1,
        0xD421_0000,
        (),
        "CPU1 executes BRK #0x800, ESR 0xf2000800, ELR PC",
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


RUNS = [(name, command) for name in PATCHES for command in ("boot", "explore")]


@pytest.mark.parametrize(("name", "command"), RUNS)
def test_one_wrong_instruction_is_found(
    real_kernel: Callable[[str], Path], tmp_path: Path, name: str, command: str
) -> None:
    patch = PATCHES[name]
    files = _patched(real_kernel, tmp_path, name)
    done = run_emu(command, *files, "--cpus", "3", *patch.options)
    text = " ".join(done.stdout.split())
    assert (done.returncode, done.stderr) == (int(bool(patch.says)), ""), done.stdout + done.stderr
    assert patch.says in text, done.stdout
    assert "finding (" in text or not patch.says


def _patched(real_kernel: Callable[[str], Path], folder: Path, name: str) -> list[str]:
    patch = PATCHES[name]
    kernel = Kernel(real_kernel(patch.kernel))
    kernel.put(kernel.find(patch.function, patch.word, patch.mask), patch.becomes.to_bytes(4, "little"))
    return kernel.write(folder)


def test_an_oops_is_told_by_where_the_exception_was_taken(
    real_kernel: Callable[[str], Path], tmp_path: Path
) -> None:
    """Not by the panic() that it comes to; with a console the kernel prints it all, and comes to that."""
    files = _patched(real_kernel, tmp_path, "an undefined instruction")
    done = run_emu("boot", *files, "--cpus", "3")
    assert "CPU1..CPU2: panic, at __secondary_switched+0x5c: udf #0\n" in done.stdout
    assert "Internal error: Oops - Undefined instruction: 0000000002000000\n" in done.stdout
    with_console = run_emu("boot", *files, "--cpus", "2", "--device", "pl011@0x9000000")
    assert "Kernel panic - not syncing: Attempted to kill the idle task!\n" in with_console.stdout
    assert "CPU1: panic, at make_task_dead+" in with_console.stdout
    assert (done.returncode, with_console.returncode) == (1, 1)


def test_every_order_of_cpus_that_all_oops_is_one(real_kernel: Callable[[str], Path], tmp_path: Path) -> None:
    files = _patched(real_kernel, tmp_path, "no look at the CPU's number")
    done = run_emu("explore", *files, "--cpus", "3", "--all")
    assert "fail: complete, 2 findings\n1 schedule:" in done.stdout
