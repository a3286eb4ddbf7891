"""A parallel bring-up of what has one secondary_data: with --force the bug shows, whatever the subject."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from programs import run_emu

FORCED = ("--bringup", "parallel", "--force")
KERNELS = ("EMU_KERNEL_SPLIT", "EMU_KERNEL_SMALL", "EMU_KERNEL_612")


@pytest.mark.parametrize("cpus", ["3", "8"])
@pytest.mark.parametrize("variable", ["", *KERNELS])
def test_two_cpus_take_one_task(variable: str, cpus: str, real_kernel: Callable[[str], Path]) -> None:
    subject = real_kernel(variable) if variable else "mainline"
    done = run_emu("boot", subject, "--cpus", cpus, *FORCED)
    assert done.returncode == 1, done.stdout
    assert "took the task" in done.stdout
    assert " scheduler=boot-first " in done.stdout.splitlines()[-1]
    assert "(--scheduler boot-first)" in done.stderr


def test_a_kernel_that_kicks_all_by_itself_needs_no_force(real_kernel: Callable[[str], Path]) -> None:
    done = run_emu("boot", real_kernel("EMU_KERNEL_NAIVE"), "--cpus", "3")
    assert done.returncode == 1, done.stdout
    assert "took the task" in done.stdout
    assert " bringup=parallel scheduler=boot-first " in done.stdout.splitlines()[-1]
    assert done.stderr.startswith("emu: bringup=parallel: the boot CPU kicks all")


def test_round_robin_lets_each_come_to_its_end_first(real_kernel: Callable[[str], Path]) -> None:
    """The kernel kicks in its own code, so a CPU that was kicked runs before the next one is."""
    kernel = real_kernel("EMU_KERNEL_SPLIT")
    done = run_emu("boot", kernel, "--cpus", "3", *FORCED, "--scheduler", "round-robin")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "more",
    [
        ("--scheduler", "random:1"),
        ("--grain", "operation"),
        ("--case", "mainline topology=flat:2 bringup=parallel force=1"),
    ],
)
def test_what_was_asked_for_stays(more: tuple[str, ...]) -> None:
    subject = () if "--case" in more else ("mainline", *FORCED)
    done = run_emu("boot", *subject, *more)
    assert "boot-first" not in done.stdout + done.stderr


def test_a_run_that_needs_no_force_is_round_robin() -> None:
    assert "scheduler" not in run_emu("boot", "v3", "--cpus", "2", "--bringup", "parallel").stdout
