"""The Python host that plays kernel/cpu.c says what the kernel says that boots by itself: lines and order."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.case import Case
from emu.host.build import build
from emu.host.whole.boot import build_whole
from emu.operation import Kind

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


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"el": 2},
        {"fault": "2:never-starts"},
        {"fault": "2:denied:1"},
        {"fault": "2:no-granule"},
        {"fault": "2:late:3000000000"},
        {"fault": "1:never-starts,3:denied:1"},
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


@pytest.mark.parametrize("fault", ["2:never-starts", "2:no-granule", "1:late:100000"])
def test_it_says_the_same_of_a_parallel_bring_up(fault: str, real_kernel: Callable[[str], Path]) -> None:
    """CONFIG_HOTPLUG_PARALLEL, with a secondary_data for each CPU."""
    kernel = real_kernel("EMU_KERNEL_RFC")
    choices = {"topology": "flat:4", "fault": fault}
    assert by_itself(kernel, **choices) == played(kernel, **choices, bringup="parallel")
