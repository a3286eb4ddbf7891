"""A kernel is played as it was built: what it cannot do is refused with the reason, or the log says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from booting import run

from emu.case import Case
from emu.cpu.unicorn.engine import UnicornEngine
from emu.errors import InvalidCase
from emu.host.build import build
from emu.host.cpuhp import SyncState

Kernel = Callable[[str], Path]


@pytest.mark.parametrize(
    ("kernel", "rest", "why"),
    [
        ("EMU_KERNEL_SMALL", "fault=1:no-52bit-va", "it runs with 48-bit VAs, and asks no secondary for 52"),
        ("EMU_KERNEL_SMALL", "fault=1:no-clean memory=caches", "its own code cleans what it writes"),
        ("EMU_KERNEL_SMALL", "fault=1:no-match", "no CPU of it looks itself up by its MPIDR"),
        ("EMU_KERNEL_SMALL", "fault=1:setup-refused", r"its primary runs its own smp_cpu_setup\(\)"),
        ("EMU_KERNEL_SPLIT", "bringup=serial", r"has no __cpu_up\(\) \(HOTPLUG_SPLIT_STARTUP\); --force"),
        ("EMU_KERNEL_NO_HOTPLUG", "fault=1:kill-me", "without CONFIG_HOTPLUG_CPU, nobody writes CPU_KILL_ME"),
        ("EMU_KERNEL_NO_HOTPLUG", "cycle=1", "is built without CONFIG_HOTPLUG_CPU: no CPU goes down"),
        (
            "EMU_KERNEL_NO_HOTPLUG",
            "hotplug=1:offline",
            "is built without CONFIG_HOTPLUG_CPU: no CPU goes down",
        ),
        ("EMU_KERNEL_NO_HOTPLUG", "kexec=v3", "CPUs are stuck in the kernel"),
    ],
)
def test_what_it_cannot_do_is_refused(real_kernel: Kernel, kernel: str, rest: str, why: str) -> None:
    with pytest.raises(InvalidCase, match=why):
        run(f"{real_kernel(kernel)} topology=flat:2 {rest}")


@pytest.mark.parametrize(
    ("kernel", "rest", "bringup"),
    [
        ("EMU_KERNEL_SMALL", "", "serial"),
        ("EMU_KERNEL_SPLIT", "", "split"),
        ("EMU_KERNEL_RFC", "", "parallel"),
        ("EMU_KERNEL_NAIVE", "", "parallel"),
        ("EMU_KERNEL_NAIVE", "append=cpuhp.parallel=0", "split"),
        ("EMU_KERNEL_NAIVE", "bringup=split", "split"),
        ("EMU_KERNEL_SMALL", "enable-method=spin-table", "serial"),
        ("EMU_KERNEL_SPLIT", "enable-method=spin-table", "split"),
        # Nothing of it asks for PSCI: arch_cpuhp_init_parallel_bringup() is the weak one.
        ("EMU_KERNEL_RFC", "enable-method=spin-table", "parallel"),
    ],
)
def test_its_own_cpuhp_core_says_how_cpus_come_up(
    real_kernel: Kernel, kernel: str, rest: str, bringup: str
) -> None:
    """Linux v6.12 kernel/cpu.c, bringup_nonboot_cpus()."""
    boot = build(Case.parse(f"{real_kernel(kernel)} topology=flat:2 {rest}"))
    assert boot.case.bringup == bringup


def test_what_it_does_by_itself_needs_no_force(real_kernel: Kernel) -> None:
    boot = build(Case.parse(f"{real_kernel('EMU_KERNEL_NAIVE')} topology=flat:2 bringup=parallel"))
    assert boot.notes == []
    forced = build(replace(boot.case, force=1))
    assert forced.notes == ["force=1: nothing here would be refused"]


def test_a_kernel_parameter_that_it_reads_is_used(real_kernel: Kernel) -> None:
    for kernel, notes in (("NAIVE", []), ("SPLIT", ["append: not used: cpuhp.parallel"])):
        case = f"{real_kernel(f'EMU_KERNEL_{kernel}')} topology=flat:2 append=cpuhp.parallel=1"
        assert build(Case.parse(case)).notes == notes


def test_without_cpu_hotplug_a_cpu_that_gives_up_is_stuck_in_the_kernel(real_kernel: Kernel) -> None:
    """Linux v6.12 arch/arm64/kernel/smp.c, cpu_die_early()."""
    done = run(f"{real_kernel('EMU_KERNEL_NO_HOTPLUG')} topology=flat:3 fault=1:die-early")
    assert done.outcomes == ["online", "parked in cpu_park_loop", "online"]
    assert "CPU1: is stuck in kernel" in done.lines
    assert not any("killed" in line or "died" in line for line in done.lines)


def test_with_cpu_hotplug_it_is_killed(real_kernel: Kernel) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_SMALL')} topology=flat:3 fault=1:die-early")
    assert "CPU1: died during early boot" in done.lines


def test_a_cpu_that_firmware_lists_by_another_mpidr_finds_itself_in_no_table(real_kernel: Kernel) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_RFC')} topology=flat:4 fault=2:no-match")
    assert [done.outcomes[cpu] for cpu in (0, 1, 3)] == ["online"] * 3
    assert done.outcomes[2] != "online"


def test_the_boot_cpu_is_online_for_the_synchronisation_too(real_kernel: Kernel) -> None:
    """Linux v6.12 kernel/cpu.c, boot_cpu_hotplug_init()."""
    for subject in ("v3", str(real_kernel("EMU_KERNEL_SMALL"))):
        done = run(f"{subject} topology=flat:2")
        sync_state = done.boot.guest.data.sync_state(0)
        assert done.boot.machine.memory.read(sync_state, 4) == SyncState.SYNC_STATE_ONLINE


def test_a_kernel_with_slots_is_asked_for_their_numbers(
    real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its compiler's code that takes a slot is found: had it three, CPU3 would be behind them."""
    original = UnicornEngine.watch_index
    case = f"{real_kernel('EMU_KERNEL_RFC')} topology=flat:4"
    assert run(case).messages == []
    monkeypatch.setattr(UnicornEngine, "watch_index", lambda self, vas, limit: original(self, vas, 3))
    (message,) = run(case).messages
    assert message.startswith("CPU3 takes slot 3 at ")
    assert message.endswith("the table has slots 0..2")
