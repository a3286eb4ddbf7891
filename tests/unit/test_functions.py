"""Function slices of a timeline: which function each CPU is in, within its phases."""

from __future__ import annotations

import pytest
from test_ftrace import CASES, timeline_of

from emu.case import Case
from emu.host.played import function_at
from emu.report.functions import Phase, within


def names(case: Case, cpu: int, *, instructions: bool = True) -> list[str]:
    found = timeline_of(case, instructions=instructions)
    return [each.name for each in found.functions if each.cpu == cpu]


def test_a_secondary_is_in_the_functions_of_its_code_in_their_order() -> None:
    found = names(CASES[0], 1)
    order = ["secondary_entry", "init_kernel_el", "secondary_startup", "__cpu_setup", "__enable_mmu"]
    order += ["__secondary_switched", "secondary_start_kernel", "cpuhp_ap_sync_alive"]
    assert [name for name in dict.fromkeys(found) if name in order] == order
    assert "mmu_on" not in found, "a label that a branch with a condition leads to"


def test_without_instructions_functions_with_operations_are_seen() -> None:
    found = names(CASES[0], 1, instructions=False)
    assert "scan" in found, "it loads"
    assert "secondary_entry" not in found, "it does no operation"


def test_the_boot_cpu_is_in_functions_of_the_kernel_that_the_host_plays() -> None:
    found = names(CASES[0], 0)
    assert {"smp_init", "cpuhp_bringup_mask", "_cpu_up", "__psci_cpu_on"} <= set(found)
    assert {"__psci_cpu_on", "cpuhp_wait_for_sync_state", "bringup_wait_for_ap_online"} <= set(found)


def test_a_firmware_call_is_in_the_function_that_makes_it() -> None:
    """It takes 2 us, which is what it costs."""
    found = timeline_of(CASES[0], instructions=True)
    calls = [each for each in found.functions if each.name == "__psci_cpu_on"]
    assert len(calls) == 3
    assert all(each.end - each.start >= 2000 for each in calls)


@pytest.mark.parametrize("case", CASES, ids=Case.text)
@pytest.mark.parametrize("instructions", [False, True])
def test_each_slice_lies_within_one_phase_or_none(case: Case, instructions: bool) -> None:
    found = timeline_of(case, instructions=instructions)
    assert found.functions
    for function in found.functions:
        assert function.start < function.end
        for phase in found.phases:
            if phase.cpu == function.cpu and phase.start < function.end and function.start < phase.end:
                assert phase.start <= function.start < function.end <= phase.end


def test_recording_instructions_changes_no_phase_and_no_mark() -> None:
    plain, full = (timeline_of(CASES[0], instructions=each) for each in (False, True))
    assert plain.phases == full.phases
    assert plain.marks == full.marks


def test_a_function_is_cut_where_phases_of_its_cpu_meet() -> None:
    phases = [Phase(1, "a", 10, 20), Phase(1, "b", 20, 30), Phase(2, "c", 5, 25)]
    functions = [Phase(0, "e", 12, 22), Phase(1, "f", 0, 15), Phase(1, "g", 15, 40)]
    assert [(each.cpu, each.name, each.start, each.end) for each in within(functions, phases)] == [
        (0, "e", 12, 22),
        (1, "f", 0, 10),
        (1, "f", 10, 15),
        (1, "g", 15, 20),
        (1, "g", 20, 30),
        (1, "g", 30, 40),
    ]


def test_a_host_function_goes_by_the_kernels_name_that_its_docstring_begins_with() -> None:
    assert function_at("emu/host/dcache.py:13") == "dcache_clean_inval_poc"
    assert function_at("somebody.py:13") == "somebody"
