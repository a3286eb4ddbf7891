"""The granule and 52-bit checks of early boot: the real code detects what the ID registers say, and tells."""

from __future__ import annotations

import json

import pytest
from booting import run

from emu.arch import boot
from emu.designs import DESIGNS

STUCK_52 = boot.CPU_STUCK_IN_KERNEL | boot.CPU_STUCK_REASON_52_BIT_VA
STUCK_GRAN = boot.CPU_STUCK_IN_KERNEL | boot.CPU_STUCK_REASON_NO_GRAN


@pytest.fixture
def topology(tmp_path):
    def write(cpu: int, register: str, value: int) -> str:
        cpus: list[dict] = [{"hwid": n} for n in range(4)]
        cpus[cpu]["id_registers"] = {register: value}
        path = tmp_path / "topology.json"
        path.write_text(json.dumps({"cpus": cpus}))
        return str(path)

    return write


def early_status(done, design: str, cpu: int, reason: int) -> int:
    guest, memory = done.boot.guest, done.boot.machine.memory
    pa = guest.subject.pa("__early_cpu_boot_status")
    if DESIGNS[design].early_status == "per_cpu":
        return memory.read(pa + 8 * cpu, 8)
    if DESIGNS[design].early_status == "per_reason":
        return memory.read(pa + (reason >> 8) - 1, 1) | reason
    return memory.read(pa, 8)


@pytest.mark.parametrize("design", sorted(DESIGNS))
def test_cpu_without_52_bit_vas_parks_and_leaves_its_reason(design: str, topology) -> None:
    path = topology(3, "ID_AA64MMFR2_EL1", 0)
    done = run(f"{design} topology={path} bringup=serial")
    assert done.outcomes[:3] == ["online"] * 3
    actor = done.boot.machine.actors[3]
    assert done.boot.guest.subject.pa("va52_stuck") <= actor.pe.pc <= done.boot.guest.subject.pa("va52_ok")
    assert early_status(done, design, 3, boot.CPU_STUCK_REASON_52_BIT_VA) == STUCK_52
    assert any(message.startswith("CPU3 never came to secondary_start_kernel") for message in done.messages)


@pytest.mark.parametrize("design", sorted(DESIGNS))
def test_cpu_without_the_granule_parks_and_leaves_its_reason(design: str, topology) -> None:
    path = topology(3, "ID_AA64MMFR0_EL1", 0xF000_1124)  # TGran4 0b1111: not supported
    done = run(f"{design} topology={path} bringup=serial")
    assert done.outcomes[:3] == ["online"] * 3
    assert early_status(done, design, 3, boot.CPU_STUCK_REASON_NO_GRAN) == STUCK_GRAN


def test_boot_cpu_with_48_bit_vas_makes_the_check_moot(topology) -> None:
    path = topology(0, "ID_AA64MMFR2_EL1", 0)
    done = run(f"v3 topology={path}")
    assert done.messages == []
    assert done.boot.machine.memory.read(done.boot.guest.subject.pa("vabits_actual"), 8) == 48


def test_rfc_erases_the_early_status_that_v3_keeps(topology) -> None:
    """KERNEL defect 5: a CPU that passes zeroes the shared early status, another CPU's failure with it."""
    path = topology(1, "ID_AA64MMFR2_EL1", 0)
    erased = run(f"rfc topology={path} bringup=parallel")
    assert early_status(erased, "rfc", 1, 0) == 0
    kept = run(f"v3 topology={path} bringup=parallel")
    assert early_status(kept, "v3", 1, 0) == STUCK_52
