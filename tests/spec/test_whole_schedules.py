"""``emu explore --depth whole``: reports of schedules, and schedules on a cluster."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from programs import run_emu

from emu.case import Case
from emu.explore.whole import checkpoint, explore_whole, vary
from emu.explore.whole_cluster import Batch, pack, run_batch

Kernel = Callable[[str], Path]
WHOLE = ("--depth", "whole", "--cpus", "4")
JUDGED = {"arrival", "late", "masks", "readonly", "stuck", "telemetry", "end"}


def passed(text: str) -> set[str]:
    """Return the names of tests that are ok and not skipped."""
    return set(re.findall(r"^ +ok \d+ (\S+)$", text, re.MULTILINE))


def test_ktap_and_junit_have_each_rule_over_all_schedules(real_kernel: Kernel, tmp_path: Path) -> None:
    """What fails has the story and the case of the schedule that shows it; what is not judged is skipped."""
    kernel, xml = str(real_kernel("EMU_KERNEL_NAIVE")), tmp_path / "results.xml"
    words = ("explore", kernel, *WHOLE, "--ktap", "--junit", str(xml))
    done = run_emu(*words, "--max-schedules", "4")
    assert done.returncode == 1
    assert re.search(r"^  # .* ms  CPU0 +calls CPU_ON for CPU", done.stdout, re.MULTILINE)
    assert re.search(r"^  # case: .* fault=\d:late:\d+ depth=whole$", done.stdout, re.MULTILINE)
    assert re.search(r"^  not ok \d+ arrival$", done.stdout, re.MULTILINE)
    assert passed(done.stdout) == JUDGED - {"arrival"}
    suite = ElementTree.parse(xml).getroot()  # noqa: S314
    assert suite.get("failures") == "1"
    done = run_emu(*words, "--max-schedules", "1")
    assert (done.returncode, passed(done.stdout)) == (0, JUDGED)
    done = run_emu(*words, "--max-schedules", "1", "--instructions-max", "6000000")
    assert (done.returncode, passed(done.stdout)) == (125, set())
    assert "# SKIP undecided: 1 schedules came to a bound" in done.stdout


def test_a_worker_far_away_needs_none_of_our_files(real_kernel: Kernel, tmp_path: Path) -> None:
    """A build directory travels with each file that is read of it; the results name our paths."""
    here = tmp_path / "kernel"
    shutil.copytree(real_kernel("EMU_KERNEL_NAIVE"), here)
    case = Case(str(here), topology="flat:4", depth="whole")
    boot = checkpoint(case, "smp_init")
    wanted = [run for _, run in explore_whole(case, schedules=3, everything=True).failing]
    cases = tuple(vary(boot.case, 4, number, 500_000) for number in range(3))
    sent = pack(boot.case)
    shutil.rmtree(here)
    found = run_batch(sent, Batch(boot.case, "smp_init", (), cases))
    assert [run.case for run in found] == list(cases)
    failing = [run for run in found if run.fails]
    assert [each.rule for each in failing[0].findings] == [each.rule for each in wanted[0].findings]


def test_schedules_on_a_cluster_come_to_what_they_come_to_here(real_kernel: Kernel) -> None:
    words = ("explore", str(real_kernel("EMU_KERNEL_NAIVE")), *WHOLE, "--max-schedules", "30", "--all")
    here, there = run_emu(*words), run_emu(*words, "--cluster", "local:2")
    assert (there.returncode, there.stdout) == (here.returncode, here.stdout)
    assert here.returncode == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--depth", "whole", "-j", "2", "--cluster", "local:1"), "the cluster has workers of its own"),
        (("--depth", "whole", "--cluster", "nowhere"), "local, local:N (1 at least) or tcp://HOST:PORT"),
        (("--cluster", "local:1"), "--cluster: --depth whole alone has that"),
    ],
)
def test_a_cluster_is_refused_where_it_has_no_place(words: tuple[str, ...], says: str) -> None:
    done = run_emu("explore", "v3", "--cpus", "2", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
