"""``--record-from``: rules judge a kernel that boots by itself, as one whose C side the host plays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import run_emu

from emu.case import Case
from emu.errors import InvalidCase
from emu.explore.whole_races import judge_whole
from emu.host.build import build
from emu.host.whole.boot import WholeBoot
from emu.host.whole.recording import boot_from
from emu.operation import Kind, Report
from emu.rules import judge

Kernel = Callable[[str], Path]


def recorded(kernel: Path, **choices: Any) -> WholeBoot:
    """Return the run of a kernel, over and recorded from smp_init() on."""
    choices = {"topology": "flat:4", "record_from": "smp_init", **choices}
    boot = boot_from(Case(str(kernel), depth="whole", **choices))
    boot.run()
    boot.finish()
    return boot


def found_in(boot: WholeBoot) -> set[tuple[str, str, tuple[int, ...]]]:
    """Return rule, fault and CPUs of what rules find, but for races, which the host has none of."""
    verdict, _ = judge_whole(boot)
    return {(each.rule, each.what, each.cpus) for each in verdict.findings if each.rule != "race"}


def played(kernel: Path, **choices: Any) -> set[tuple[str, str, tuple[int, ...]]]:
    """Return the same of a run whose C side the host plays."""
    machine = build(Case(str(kernel), topology="flat:4", **choices), record=True).machine
    machine.run()
    machine.finish()
    return {(each.rule, each.what, each.cpus) for each in judge(machine.trace).findings}


TOOK_ANOTHERS = {
    ("arrival", what, cpus)
    for what, cpus in (
        ("shared-task", (2, 3)),
        ("shared-stack", (2, 3)),
        ("wrong-task", (2,)),
        ("outside-stack", (2,)),
        ("wrong-per-cpu-offset", (2,)),
    )
}


@pytest.mark.parametrize(
    ("variable", "choices", "found"),
    [
        ("EMU_KERNEL_RFC", {}, set()),
        ("EMU_KERNEL_RFC", {"fault": "2:no-granule"}, {("telemetry", "reason-overwritten", (2, 3))}),
        ("EMU_KERNEL_SMALL", {"fault": "2:no-granule"}, set()),
        ("EMU_KERNEL_SMALL", {"fault": "2:wrong-el", "el": 2}, {("arrival", "wrong-boot-mode", ())}),
        ("EMU_KERNEL_SMALL", {"fault": "2:late:5091000000"}, TOOK_ANOTHERS),
    ],
)
def test_rules_find_what_they_find_of_the_same_case_at_the_secondaries_depth(
    variable: str, choices: dict[str, Any], found: set[tuple[str, str, tuple[int, ...]]], real_kernel: Kernel
) -> None:
    """A reason that another CPU overwrites; CPUs in two modes; one that comes when the kernel has given up on
    it, and takes what was meant for the next one.
    """
    kernel = real_kernel(variable)
    assert found_in(recorded(kernel, record_from="", until="panic", **choices)) == found
    assert played(kernel, **choices) == found


def test_the_kernels_own_log_says_what_becomes_of_its_cpus(real_kernel: Kernel) -> None:
    """By its ring, line by line: the reason is that of the CPU that has it."""
    boot = recorded(real_kernel("EMU_KERNEL_SMALL"), fault="2:no-granule", record_from="")
    trace = boot.machine.trace
    told = [(Report(record.size), record.actor) for record in trace if record.kind is Kind.REPORT]
    assert (Report.NO_GRANULE, 2) in told
    assert [cpu for what, cpu in told if what is Report.BOOTED] == [1, 3]
    lines = [trace.text_of(record) for record in trace if record.kind is Kind.LOG]
    assert lines[-1] == "smp: Brought up 1 node, 3 CPUs"
    assert lines == [line.text.partition("] ")[2] for line in log(boot)]
    assert found_in(boot) == set()


def log(boot: WholeBoot) -> list[Any]:
    """Return the lines of the log."""
    boot.read_log()
    return boot.lines


def test_one_secondary_data_for_two_cpus_is_a_race_and_a_shared_stack(real_kernel: Kernel) -> None:
    """With HOTPLUG_PARALLEL; its twin with one for each CPU has neither."""
    boot = recorded(real_kernel("EMU_KERNEL_NAIVE"), fault="2:late:300000")
    verdict, races = judge_whole(boot)
    assert ("arrival", "shared-task", (2, 3)) in found_in(boot)
    names = {name for race in races.races for name in (boot.name(race.first[3]), boot.name(race.second[3]))}
    assert any(name.startswith("arch_cpuhp_kick_ap_alive+") for name in names)
    assert any(each.rule == "race" for each in verdict.findings)
    boot = recorded(real_kernel("EMU_KERNEL_RFC"), fault="2:late:300000")
    assert judge_whole(boot)[0].findings == ()


def test_a_cpu_that_is_alive_when_the_kernel_has_given_up_on_it_is_told(real_kernel: Kernel) -> None:
    """Linux v6.12 arch/arm64/kernel/smp.c, __cpu_up(): it waits for five seconds."""
    choices = {"fault": "2:late:6000000000", "until": "sched_init_smp", "record_from": ""}
    boot = recorded(real_kernel("EMU_KERNEL_SMALL"), **choices)
    assert boot.not_started == [2]
    assert found_in(boot) == set()


def test_a_trace_that_is_full_ends_the_run_undecided(
    real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emu.machine.free_turns.RECORDS_MAX", 100_000)
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    done = run_emu("boot", kernel, "--depth", "whole", "--cpus", "2", "--record-from", "smp_init")
    assert done.returncode == 125
    assert "undecided: limit of 100,000 records of a trace (--record-from, --until);" in done.stdout


def test_a_place_that_is_none_is_refused(real_kernel: Kernel) -> None:
    case = Case(str(real_kernel("EMU_KERNEL_SMALL")), topology="flat:2", depth="whole", record_from="nowhere")
    with pytest.raises(InvalidCase, match="^record-from=nowhere: no symbol of the kernel$"):
        boot_from(case)
    with pytest.raises(InvalidCase, match="^from=smp_init: it is recorded from nowhere on"):
        boot_from(case, "smp_init")
