"""Every design, exception level, enable-method, grain and scheduler: all CPUs come up right."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from booting import run
from programs import run_program

from emu.designs import DESIGNS
from emu.machine.actor import Grain

PARALLEL = sorted(name for name, design in DESIGNS.items() if design.parallel)


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("method", ["psci", "spin-table"])
@pytest.mark.parametrize("design", sorted(DESIGNS))
def test_every_design_brings_all_cpus_up(design: str, method: str, el: int) -> None:
    done = run(f"{design} enable-method={method} el={el}")
    assert done.messages == []
    assert done.outcomes == ["online"] * 8


@pytest.mark.parametrize("design", sorted(DESIGNS))
@pytest.mark.parametrize("grain", [grain.value for grain in Grain])
@pytest.mark.parametrize("event_register", [0, 1])
def test_every_grain_brings_all_cpus_up_whatever_the_event_registers_hold(
    design: str, grain: str, event_register: int
) -> None:
    done = run(f"{design} grain={grain} event-register={event_register}")
    assert done.messages == []


@pytest.mark.parametrize("design", PARALLEL)
@pytest.mark.parametrize("seed", range(12))
def test_parallel_designs_hold_under_any_random_interleaving(design: str, seed: int) -> None:
    done = run(f"{design} topology=flat:6 bringup=parallel grain=operation scheduler=random:{seed}")
    assert done.messages == []
    assert done.outcomes == ["online"] * 6


@pytest.mark.parametrize("seed", range(6))
def test_mainline_one_at_a_time_holds_under_any_random_interleaving(seed: int) -> None:
    assert run(f"mainline grain=operation scheduler=random:{seed}").messages == []


def test_mainline_all_at_once_gives_one_task_to_two_cpus() -> None:
    """KERNEL defect 1: one global secondary_data, overwritten before the first CPU has read it."""
    done = run("mainline bringup=parallel force=1")
    assert done.messages[0].startswith("CPU1, CPU2, CPU3, CPU4, CPU5, CPU6, CPU7 took the task ")
    assert "runs as CPU7" in done.outcomes


@pytest.mark.parametrize("design", PARALLEL)
def test_hundred_and_twenty_eight_cpus(design: str) -> None:
    done = run(f"{design} topology=flat:128")
    assert done.messages == []
    assert done.outcomes == ["online"] * 128


@pytest.mark.parametrize("design", sorted(DESIGNS))
@pytest.mark.parametrize("el", [1, 2])
def test_operations_per_cpu_do_not_depend_on_the_grain(design: str, el: int) -> None:
    runs = [run(f"{design} el={el} grain={grain.value}", record=True) for grain in Grain]
    first = runs[0].operations()
    assert first.keys() == set(range(1, 8))
    assert all(other.operations() == first for other in runs[1:])
    counted = [[actor.pe.counters.as_dict() for actor in done.boot.machine.actors] for done in runs]
    assert counted[0] == counted[1] == counted[2]


@pytest.mark.parametrize(
    "case",
    [
        "v3 grain=operation scheduler=random:3",
        "rfc enable-method=spin-table bringup=serial el=2",
        "mainline bringup=parallel force=1 grain=instruction scheduler=random:9",
    ],
)
def test_same_case_twice_gives_identical_trace_bytes(case: str) -> None:
    assert run(case, record=True).trace_bytes == run(case, record=True).trace_bytes


def test_trace_bytes_do_not_depend_on_the_process(tmp_path) -> None:
    traces = []
    for seed in ("0", "4242"):
        path = tmp_path / f"{seed}.trace"
        command = [sys.executable, "-m", "emu", "boot", "v2", "--scheduler", "random:5"]
        command += ["--grain", "operation", "--trace", str(path)]
        run_program(*command, env={"PYTHONHASHSEED": seed})
        traces.append(path.read_bytes())
    assert traces[0] == traces[1]


def test_recording_changes_no_counter_and_no_schedule() -> None:
    case = "v3 grain=operation scheduler=random:1 enable-method=spin-table bringup=serial"
    bare, recorded = run(case), run(case, record=True)
    assert [a.pe.counters.as_dict() for a in bare.boot.machine.actors] == [
        a.pe.counters.as_dict() for a in recorded.boot.machine.actors
    ]
    assert bare.boot.machine.picks == recorded.boot.machine.picks
    assert bare.boot.machine.now == recorded.boot.machine.now


def test_nr_cpus_may_exceed_the_cpus_and_the_scan_still_ends_at_a_match() -> None:
    done = run("v3 topology=flat:3 nr-cpus=4096")
    assert done.messages == []
    assert done.outcomes == ["online"] * 3


def test_hvc_conduit_brings_all_cpus_up_at_el1() -> None:
    assert run("v3 conduit=hvc").messages == []


def test_code_moves_from_pa_to_va() -> None:
    """The switched part runs at PA + VA_OFFSET through TTBR1, the part before it at its PA."""
    done = run("v3 topology=flat:2", record=True)
    subject = done.boot.guest.subject
    pcs = [operation[2] for operation in done.operations()[1] if isinstance(operation[2], int)]
    assert min(pcs) >= subject.pa("secondary_holding_pen")
    assert any(pc == subject.va("secondary_load_task") for pc in pcs)
    assert not any(pc == subject.pa("secondary_load_task") for pc in pcs)


def test_example_of_a_boot_path_of_ones_own_boots() -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "my_boot.S"
    done = run(f"{example} topology=flat:16 nr-cpus=64")
    assert done.messages == []
    assert done.outcomes == ["online"] * 16
