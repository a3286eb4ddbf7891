"""Unmodified kernels: the real secondary_entry path on every secondary, all checks on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from booting import run

from emu.arch.mpidr import INVALID_HWID
from emu.machine.actor import Grain

KERNELS = ("EMU_KERNEL_612", "EMU_KERNEL_61", "EMU_KERNEL_16K", "EMU_KERNEL_SMALL")


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("kernel", KERNELS)
def test_all_secondaries_land_and_operations_do_not_depend_on_the_grain(
    real_kernel: Callable[[str], Path], kernel: str, el: int
) -> None:
    path = real_kernel(kernel)
    runs = [run(f"{path} el={el} grain={grain.value}", record=True) for grain in Grain]
    for done in runs:
        assert done.messages == []
        assert done.outcomes == ["online"] * 8
        assert done.operations() == runs[0].operations()
    counters = [[actor.pe.counters.as_dict() for actor in done.boot.machine.actors] for done in runs]
    assert counters[0] == counters[1] == counters[2]


@pytest.mark.parametrize("kernel", KERNELS)
def test_sixty_four_cpus(real_kernel: Callable[[str], Path], kernel: str) -> None:
    done = run(f"{real_kernel(kernel)} topology=flat:64")
    assert done.messages == []
    assert done.outcomes == ["online"] * 64


def test_secondary_path_of_debian_612_at_el1_has_140_instructions(
    real_kernel: Callable[[str], Path],
) -> None:
    """Measured against QEMU instruction by instruction: a change here is a change of the engine."""
    done = run(f"{real_kernel('EMU_KERNEL_612')} topology=flat:3")
    assert [actor.pe.counters.instructions for actor in done.boot.machine.actors[1:]] == [140, 140]


def test_same_case_twice_gives_identical_trace_bytes(real_kernel: Callable[[str], Path]) -> None:
    case = f"{real_kernel('EMU_KERNEL_612')} topology=flat:5 scheduler=random:11 grain=operation"
    assert run(case, record=True).trace_bytes == run(case, record=True).trace_bytes


def test_spin_table_takes_secondaries_through_the_kernels_own_pen(real_kernel: Callable[[str], Path]) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_612')} enable-method=spin-table el=2")
    assert done.messages == []
    assert done.outcomes == ["online"] * 8


def test_boot_cpu_need_not_be_first_nor_hwid_0(real_kernel: Callable[[str], Path], tmp_path: Path) -> None:
    topology = tmp_path / "shuffled.json"
    topology.write_text(
        '{"boot_cpu": 2, "cpus": [{"hwid": 0}, {"hwid": "0x100000201"}, {"hwid": "0x10003"}, {"hwid": 7}]}'
    )
    done = run(f"{real_kernel('EMU_KERNEL_612')} topology={topology}")
    assert done.messages == []
    assert list(done.boot.guest.hwids) == [0x10003, 0, 0x100000201, 7]


def test_logical_map_is_the_kernels_own_work(real_kernel: Callable[[str], Path]) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_612')} topology=flat:20")
    subject, memory = done.boot.guest.subject, done.boot.machine.memory
    pa = subject.pa("__cpu_logical_map")
    assert [memory.read(pa + 8 * cpu, 8) for cpu in range(21)] == [*done.boot.guest.hwids, INVALID_HWID]


def test_cpus_beyond_the_kernels_nr_cpus_are_clipped(real_kernel: Callable[[str], Path]) -> None:
    """The small kernel is built with NR_CPUS=256; what firmware lists beyond is counted and dropped."""
    done = run(f"{real_kernel('EMU_KERNEL_SMALL')} topology=flat:300")
    assert done.outcomes == ["online"] * 256
    assert "Number of cores (300) exceeds configured maximum of 256 - clipping" in done.lines


def test_planted_wrong_task_in_the_kernels_secondary_data_is_found(
    real_kernel: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All kicked before any has read secondary_data: the kernel's own code gives one task to two CPUs."""
    done = run(f"{real_kernel('EMU_KERNEL_612')} topology=flat:3 bringup=parallel force=1")
    assert done.messages[0].startswith("CPU1, CPU2 took the task ")


def test_nr_cpus_reaches_the_kernel_which_clips_its_logical_map(real_kernel: Callable[[str], Path]) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_612')} topology=flat:4 append=nr_cpus=2")
    subject, memory = done.boot.guest.subject, done.boot.machine.memory
    assert memory.read(subject.pa("nr_cpu_ids"), 4) == 2
    assert done.outcomes == ["online", "online", "off", "off"]
    assert done.messages == []


def test_cycles_go_through_the_kernels_own_entry_each_time(real_kernel: Callable[[str], Path]) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_612')} topology=flat:3 cycle=2")
    assert done.messages == []
    assert [actor.landings for actor in done.boot.machine.actors] == [0, 3, 3]


def test_a_cpu_whose_e2h_is_res1_is_not_told_for_the_layout_that_init_el2_writes(
    real_kernel: Callable[[str], Path],
) -> None:
    """CNTHCTL_EL2 is 0xc00 there and 3 where E2H is set later: the same for EL1, and both right."""
    case = f"{real_kernel('EMU_KERNEL_612')} topology=flat:3 el=2 cpu=neoverse-n1"
    done = run(f"{case} fault=1:e2h-res1")
    assert done.messages == []
    assert done.outcomes == ["online"] * 3
    # A kernel that stays without VHE: E2H is what differs, not what follows from it.
    done = run(f"{case} fault=1:e2h-res1 append=id_aa64mmfr1.vh=0")
    assert [message.split(";")[0] for message in done.messages] == ["CPU1 has HCR_EL2 0x480000000"]
