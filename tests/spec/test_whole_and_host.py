"""The Python host that plays kernel/cpu.c says what the kernel says that boots by itself: lines and order."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest

from emu.case import Case
from emu.compare.runs import run_one, timed
from emu.compare.times import (
    ATOMIC,
    CALLBACKS,
    IN_C,
    LOOKUP,
    MMU_OFF,
    PREPARE,
    STARTING,
    WAIT_ONLINE,
    WAITS,
)
from emu.compare.whole import run_whole
from emu.errors import InvalidCase
from emu.host.build import build
from emu.host.faults import FAULTS
from emu.host.whole.boot import build_whole
from emu.milestone import Milestone
from emu.operation import Kind
from emu.trace import Trace

_STAMP = re.compile(r"^\[[^]]*\] ")
# The lines of CPUs: what both can say. The host begins with smp_init_cpus() and ends with smp_cpus_done().
_OF_CPUS = re.compile(
    r"^(?:smp: |CPU\d+: (?!cluster|cores)|CPU: (?:All|CPUs)|/cpus/|psci: failed|missing boot)"
)
_BEHIND = "sched_init_smp"  # what the kernel calls behind smp_cpus_done()'s caller


def by_itself(kernel: Path, **choices: Any) -> list[str]:
    """What the kernel says at depth whole."""
    boot = build_whole(Case(str(kernel), depth="whole", until=_BEHIND, **choices))
    boot.run()
    boot.read_log()
    assert boot.reached, boot.how
    return [line for line in (_STAMP.sub("", each.text) for each in boot.lines) if _OF_CPUS.search(line)]


def played(kernel: Path, **choices: Any) -> list[str]:
    """What the host says of the same case."""
    machine = build(Case(str(kernel), **choices)).machine
    machine.run()
    machine.finish()
    lines = [machine.trace.text_of(record) for record in machine.trace if record.kind is Kind.LOG]
    return [line for line in lines if _OF_CPUS.search(line)]


# Faults in one run or more of each depth below, and those that both depths refuse of a kernel.
_SAME = (
    "2:never-starts",
    "2:denied:1",
    "2:no-granule",
    "2:late:3000000000",
    "1:never-starts,3:denied:1",
    "1-3:no-granule",
)
_BEHIND_THE_END = ("2:double-start", "2:late:7000000000")
_REFUSED = {
    "2:context-lost": "no secondary takes a context ID",
    "2:context-swapped:1": "no secondary takes a context ID",
    "2:context-truncated": "no secondary takes a context ID",
    "2:no-52bit-va": "it runs with 48-bit VAs, and asks no secondary for 52",
    "2:refuse-after-off": "no CPU is started a second time",
}
_OTHERS = ("2:wrong-el", "2:e2h-res1")  # with a kernel of Debian's; of a core with VHE


def test_every_fault_that_both_depths_know_is_held_here() -> None:
    """A new kind in firmware or in the CPU wants a line."""
    listed = ",".join((*_SAME, *_BEHIND_THE_END, *_REFUSED, *_OTHERS))
    held = {spec.split(":")[1] for spec in listed.split(",")}
    assert held == {name for name, kind in FAULTS.items() if kind.fault().is_of_hardware}


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"el": 2},
        *({"fault": fault} for fault in _SAME),
        {"append": "maxcpus=2"},
        {"append": "nr_cpus=3"},
        {"append": "nosmp"},
        {"topology": "bad-holes"},
        {"topology": "bad-duplicate"},
        {"topology": "bad-reserved-bits"},
        {"topology": "boot-elsewhere:4"},
        {"topology": "clusters:6"},
    ],
    ids=lambda choices: ",".join(f"{name}={value}" for name, value in choices.items()) or "plain",
)
def test_the_host_says_of_a_boot_what_the_kernel_says(
    choices: dict[str, Any], real_kernel: Callable[[str], Path]
) -> None:
    kernel = real_kernel("EMU_KERNEL_SMALL")
    choices = {"topology": "flat:4", **choices}
    lines = played(kernel, **choices)
    assert any(line.startswith(("smp: Brought up", "missing boot")) for line in lines)
    assert by_itself(kernel, **choices) == lines


def test_a_debian_kernel_and_the_host_see_inconsistent_modes(real_kernel: Callable[[str], Path]) -> None:
    """hyp_mode_check() warns, which a kernel without CONFIG_BUG does not: the small one says nothing."""
    choices = {"topology": "flat:3", "fault": "2:wrong-el"}
    lines = played(real_kernel("EMU_KERNEL_612"), **choices)
    assert lines[-1] == "CPU: CPUs started in inconsistent modes"
    assert by_itself(real_kernel("EMU_KERNEL_612"), **choices, append="earlycon keep_bootcon") == lines


@pytest.mark.parametrize("fault", _BEHIND_THE_END)
def test_what_starts_behind_the_end_is_what_the_host_plays_on(
    fault: str, real_kernel: Callable[[str], Path]
) -> None:
    """The lines are the same up to where the kernel's run ends; the host plays on, to one more."""
    kernel = real_kernel("EMU_KERNEL_SMALL")
    choices = {"topology": "flat:4", "fault": fault}
    *lines, last = played(kernel, **choices)
    assert last.startswith("CPU3: Booted secondary processor 0x0000000002")
    assert by_itself(kernel, **choices) == lines


@pytest.mark.parametrize(("fault", "why"), _REFUSED.items())
def test_both_refuse_a_fault_that_changes_nothing(
    fault: str, why: str, real_kernel: Callable[[str], Path]
) -> None:
    kernel = real_kernel("EMU_KERNEL_SMALL")
    said = []
    for say in (played, by_itself):
        with pytest.raises(InvalidCase, match=why) as refused:
            say(kernel, topology="flat:4", fault=fault)
        said.append(str(refused.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("fault", ["", "2:e2h-res1", "2:never-starts"])
def test_it_says_the_same_where_the_kernel_is_a_host_at_el2(
    fault: str, real_kernel: Callable[[str], Path]
) -> None:
    """With FEAT_VHE, where every CPU sets HCR_EL2.E2H, or one has it from the start."""
    choices = {"topology": "flat:4", "el": 2, "cpu": "neoverse-n1", "fault": fault}
    kernel = real_kernel("EMU_KERNEL_SMALL")
    assert by_itself(kernel, **choices) == played(kernel, **choices)


@pytest.mark.parametrize(
    "fault", ["2:never-starts", "2:no-granule", "1:late:100000", "1-3:denied:1", "2:double-start"]
)
def test_it_says_the_same_of_a_parallel_bring_up(fault: str, real_kernel: Callable[[str], Path]) -> None:
    """CONFIG_HOTPLUG_PARALLEL, with a secondary_data for each CPU."""
    kernel = real_kernel("EMU_KERNEL_RFC")
    choices = {"topology": "flat:4", "fault": fault}
    assert by_itself(kernel, **choices) == played(kernel, **choices, bringup="parallel")


# -- time -------------------------------------------------------------------------------------------

_COMMON = "nominal,alive=100us"
_ON_ONE_SIDE = (Milestone.MAPPED, Milestone.STARTED, Milestone.ASKED)
# A kernel, its bring-up as the host plays it, and as a parameter asks for it.
_MODES = [
    ("EMU_KERNEL_SMALL", "serial", "auto"),
    ("EMU_KERNEL_612", "serial", "auto"),
    ("EMU_KERNEL_SPLIT", "split", "auto"),
    ("EMU_KERNEL_RFC", "split", "split"),
    ("EMU_KERNEL_RFC", "parallel", "parallel"),
]


def events(trace: Trace) -> list[tuple[int, str, int]]:
    """Actor, what, and the CPU that it is about, in the order in which they came to be."""
    found = []
    for record in trace:
        if record.kind is Kind.MILESTONE and record.size not in _ON_ONE_SIDE:
            found.append((record.actor, Milestone(record.size).name, record.pa))
        elif record.kind is Kind.LAND and record.actor:
            found.append((record.actor, "LAND", record.actor))
    return found


@pytest.mark.parametrize(("name", "played_as", "asked_as"), _MODES)
def test_milestones_and_counters_of_the_host_are_those_of_the_kernel(
    name: str, played_as: str, asked_as: str, real_kernel: Callable[[str], Path]
) -> None:
    """In parallel, whose event comes first depends on what callbacks cost; each CPU's own order does not."""
    case = timed(Case(str(real_kernel(name)), topology="flat:4", latency=_COMMON))
    boot = build(replace(case, bringup=played_as), record=True)
    boot.machine.record_times()
    boot.machine.run()
    boot.machine.finish()
    played = events(boot.machine.trace)
    itself = events(run_whole(replace(case, depth="whole", bringup=asked_as)).boot.machine.trace)
    assert len(played) > 24
    if played_as == "parallel":
        for cpu in range(4):
            assert [each for each in itself if each[0] == cpu] == [each for each in played if each[0] == cpu]
    else:
        assert itself == played
    runs = [
        run_one(replace(case, bringup=played_as)),
        run_one(replace(case, depth="whole", bringup=asked_as)),
    ]
    host, whole = runs
    for counter in ("cpu_on", "instructions", "lock_waits"):
        assert whole.counters[counter] == host.counters[counter], counter
    assert host.counters["instructions"] > 300
    assert host.online == whole.online == 4
    assert [each.cpu for each in host.times.cpus] == [each.cpu for each in whole.times.cpus] == [1, 2, 3]


def test_a_lock_over_cpu_on_is_waited_for_as_often(real_kernel: Callable[[str], Path]) -> None:
    """Of a parallel bring-up, in which all CPUs are on their way when the next is kicked."""
    kernel = str(real_kernel("EMU_KERNEL_RFC"))
    case = timed(Case(kernel, topology="flat:4", latency="nominal,alive=50ms,lock=1us", bringup="parallel"))
    host, whole = run_one(case), run_one(replace(case, depth="whole"))
    assert host.counters["lock_waits"] == whole.counters["lock_waits"] == 2
    assert host.counters["lock_ns"] == whole.counters["lock_ns"]


@pytest.mark.parametrize("name", ["EMU_KERNEL_SMALL", "EMU_KERNEL_612"])
def test_trace_points_change_nothing_of_the_run(name: str, real_kernel: Callable[[str], Path]) -> None:
    case = Case(str(real_kernel(name)), topology="flat:4", depth="whole", scheduler="timed")
    plain = build_whole(case)
    plain.run()
    plain.read_log()
    watched = run_whole(case).boot
    assert [str(line) for line in watched.lines] == [str(line) for line in plain.lines]
    for mine, theirs in zip(watched.machine.actors, plain.machine.actors, strict=True):
        assert (mine.time, mine.pe.counters.instructions) == (theirs.time, theirs.pe.counters.instructions)


def test_lanes_of_a_kernel_have_each_cpu_from_its_kick_to_its_callbacks(
    real_kernel: Callable[[str], Path],
) -> None:
    case = Case(str(real_kernel("EMU_KERNEL_RFC")), topology="flat:4", depth="whole", bringup="parallel")
    lanes = run_whole(timed(replace(case, latency=_COMMON))).times.lanes
    for cpu in (1, 2, 3):
        names = [name for name, _ in groupby(part.name for part in lanes[cpu])]
        assert names == [STARTING, MMU_OFF, LOOKUP, IN_C, WAITS, ATOMIC, WAITS, CALLBACKS]
    assert {part.name for part in lanes[0]} >= {PREPARE, WAIT_ONLINE}
    assert all(a.end <= b.start for lane in lanes.values() for a, b in pairwise(lane))
