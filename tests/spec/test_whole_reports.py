"""KTAP, JUnit XML and every event, of a kernel that boots by itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from programs import run_emu

Kernel = Callable[[str], Path]
JUDGED = {"arrival", "late", "masks", "readonly", "stuck", "telemetry"}
OF_ACCESSES = {"lost-update", "race"}


def ktap_of(kernel: Path, *words: str) -> tuple[int, str]:
    """Return the status and the KTAP of a boot with two CPUs."""
    done = run_emu("boot", str(kernel), "--depth", "whole", "--cpus", "2", "--ktap", *words)
    return done.returncode, done.stdout


def passed(text: str) -> set[str]:
    """Return the names of tests of CPU1 that are ok and not skipped."""
    (of_cpu1,) = re.findall(r"# Subtest: CPU1\n(.*?)\n  (?:not )?ok 2 CPU1", text, re.DOTALL)
    return set(re.findall(r"^ +ok \d+ (\S+)$", of_cpu1, re.MULTILINE))


def test_ktap_and_junit_have_each_rule_for_each_cpu_and_how_the_boot_has_ended(
    real_kernel: Kernel, tmp_path: Path
) -> None:
    """A rule that has nothing to look at is skipped, never ok."""
    kernel, xml = real_kernel("EMU_KERNEL_SMALL"), tmp_path / "results.xml"
    status, text = ktap_of(kernel, "--junit", str(xml))
    assert (status, text.startswith("KTAP version 1\n1..1\n")) == (0, True)
    assert passed(text) == JUDGED
    assert re.search(r"^    ok \d+ end$", text, re.MULTILINE)
    assert "smp: Brought up" not in text
    suite = ElementTree.parse(xml).getroot()  # noqa: S314
    assert suite.get("failures") == "0"
    assert "smp: Brought up 1 node, 2 CPUs" in xml.read_text()


def test_ktap_of_a_recorded_boot_has_the_rules_of_accesses(real_kernel: Kernel) -> None:
    status, text = ktap_of(real_kernel("EMU_KERNEL_SMALL"), "--races")
    assert (status, passed(text)) == (0, JUDGED | OF_ACCESSES)


def test_ktap_of_a_boot_that_does_not_come_to_its_end(real_kernel: Kernel) -> None:
    """What ends a boot early is a failure of its own; at a bound nothing is told."""
    kernel = real_kernel("EMU_KERNEL_SMALL")
    status, text = ktap_of(kernel, "--until", "never said")
    assert (status, "not ok 3 machine" in text) == (1, True)
    assert re.search(r"^    not ok \d+ end$", text, re.MULTILINE)
    assert "# CPU0 panicked before it came to 'never said'" in text
    status, text = ktap_of(kernel, "--instructions-max", "1000000")
    assert (status, passed(text)) == (125, set())
    assert "# cut off: " in text


def test_verbose_has_firmware_calls_starts_and_arrivals_among_the_lines_of_the_log(
    real_kernel: Kernel,
) -> None:
    """In the order of simulated time, of a kernel without a console too."""
    words = ("boot", str(real_kernel("EMU_KERNEL_SMALL")), "--depth", "whole", "--cpus", "2")
    done, plain = run_emu(*words, "--verbose"), run_emu(*words)
    assert done.returncode == 0
    places = [
        done.stdout.index(text)
        for text in (
            "smp: Bringing up secondary CPUs",
            "CPU0 calls CPU_ON64(x1=0x1) at ",
            "CPU1 starts at secondary_entry",
            "CPU1 lands at secondary_start_kernel",
            "CPU1: Booted secondary processor",
            "smp: Brought up 1 node, 2 CPUs",
        )
    ]
    assert places == sorted(places)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("  [")]
    assert lines == plain.stdout.splitlines()
