"""The tests that ``make test`` leaves to ``make test-all``, which CI runs: the deep ones.

They hold what other tests hold too, against a reference that takes long, on more kernels and cores, or with
more processes, kills and seeds. pytest by itself runs them all; ``-m "not deep"`` leaves these out.
"""

from __future__ import annotations

import re

# Parts of the ids of tests.
DEEP = (
    # Drawn programs, devices, logs and lockstep against QEMU.
    r"^tests/reference/(?!test_(identification|firmware_calls))",
    r"^tests/spec/test_arm64_host\.py",  # an emulated host
    r"EMU_KERNEL_(61|16K|618)\b|kernel-(61|16k|618)\b",  # other kernels than the newest and 6.12
    r"^tests/repo/test_(one_file|ci_page|bench|skips_are_failures|deep)\.py",  # copies of the tree
    r"^tests/spec/test_(bisect|campaign)\.py::test_(every_commit|git_bisect|ten_kills|two_workers|in_parts)",
    r"^tests/spec/test_campaign\.py::test_(a_worker|what_has_changed|an_interrupt|one_worker|a_unit_does)",
    r"^tests/spec/test_explore\.py::test_(the_same_with_any|a_killed|interrupted|twice_the_same)",
    r"^tests/spec/test_whole_boot\.py::test_(an_init|a_schedule_is|schedules_from|a_kernel_of_debians|another_o)",
    r"^tests/spec/test_whole_(kept|races|record|traces)\.py",
    r"^tests/spec/test_whole_reports\.py::test_(ktap_of|verbose)",
    r"^tests/spec/test_whole_schedules\.py::test_(ktap|a_worker|schedules_on)",
    r"^tests/spec/test_given_tree\.py::test_(the_console|a_kernel.*gicv2)",
    r"^tests/spec/test_(whole_and_host|patched_kernels|option_pairs|progress)\.py",
    r"^tests/spec/test_loops\.py::test_(an_exploration_does|an_exception_whose|a_boot_notices)",
    r"^tests/spec/test_(lookup_jobs\.py::test_the_command_says|lookup_command\.py::test_published)",
    r"^tests/spec/test_(litmus\.py::test_the_states_of_the_cat)",
    r"^tests/spec/test_(vcpu_hotplug\.py::test_a_hundred|topologies\.py::test_first_and_last_of_4096)",
    r"^tests/unit/test_naps\.py::test_a_drawn_run",
    r"^tests/spec/test_whole_boot\.py::test_(a_parallel_kernel|acpi_tables.*\[(gicv2|el2)\]|the_result_is_the_s)",
    r"^tests/spec/test_(kexec|real_kernels)\.py::.*-[2-9]\]",  # at EL2
    r"^tests/spec/test_nothing_runs_for_ever\.py::test_(two_runs|what_others_do)",
    r"^tests/spec/test_(primary_lines|logical_maps|acpi_kernels|newer_kernels|replay_of_a_livelock)\.py",
    r"^tests/spec/test_step_sessions\.py::(.*\[(?!kexec, free\]|coherent, op)|test_what_moves.*\[coherent)",
    r"^tests/spec/test_gdb_clients\.py::test_(?!it_ends_a_count)",
    r"^tests/property/test_prove_semantics\.py::.*\[40",  # many words of each instruction
    r"^tests/spec/test_lookup_(prove\.py::test_(correct|planted)|induction\.py::test_(linear|a_bug|a_loop))",
    r"^tests/property/test_(generate|acpi_fuzz|devicetree_fuzz)\.py",
    r"^tests/lookup/test_(zoo|paths|contract_lies)\.py",
    r"^tests/lookup/test_smallest\.py::(test_no_smaller_question_breaks_the_property\[|.*hash_shift)",
    r"^tests/lookup/test_smallest_races\.py::.*_of_any",
    r"^tests/unit/test_(counting\.py::.*drawn_loops|spins\.py::.*is_let_on\[)",
    r"^tests/unit/test_pytest_plugin\.py::test_what_the_documentation_shows",
    r"^tests/unit/test_(perfetto_ui|pictures)\.py",  # a browser
    r"^tests/conformance/test_assembler\.py::.*\[gnu\]",
)
_DEEP = re.compile("|".join(DEEP))


def is_deep(nodeid: str) -> bool:
    """Tell whether the test with this id is a deep one."""
    return bool(_DEEP.search(nodeid))
