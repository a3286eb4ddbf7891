"""``emu compare``: what times are made of, and the published tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import run_emu

from emu.case import Case
from emu.compare.runs import Run, run_one, timed
from emu.compare.times import PREPARE, STARTING, WAIT_ALIVE, WAITS

MODES = ("serial", "split", "parallel")


def run(latency: str, mode: str, topology: str = "flat:5", subject: str = "v3") -> Run:
    return run_one(timed(Case(subject, topology=topology, bringup=mode, latency=latency)))


@pytest.mark.parametrize("subject", ["v2", "v3", "context-id"])
@pytest.mark.parametrize("mode", MODES)
def test_without_costs_no_mode_takes_time(subject: str, mode: str) -> None:
    found = run("zero", mode, subject=subject)
    assert found.times.total == 0
    assert [each.whole for each in found.times.cpus] == [0] * 4
    assert found.online == 5


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(2, 9), st.integers(1, 1_000_000))
def test_k_cpus_that_take_t_to_be_alive(cpus: int, ns: int) -> None:
    serial, split, parallel = (run(f"zero,alive={ns}ns", mode, f"flat:{cpus}").times.total for mode in MODES)
    assert serial == split == (cpus - 1) * ns
    assert parallel == ns


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.integers(1_000_000, 5_000_000))
def test_behind_the_first_ms_a_wait_for_alive_ends_at_a_look(ns: int) -> None:
    serial, split = (run(f"zero,alive={ns}ns", mode).times for mode in MODES[:2])
    assert serial.total == 4 * ns
    assert all(0 <= each.whole - ns <= 1_500_000 for each in split.cpus)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 10**6), min_size=6, max_size=6), st.integers(2, 8))
def test_a_serial_run_is_the_sum_of_its_parts(figures: list[int], cpus: int) -> None:
    keys = ("prepare", "alive", "before_alive", "atomic", "online", "sleep")
    latency = "nominal," + ",".join(f"{key}={ns}ns" for key, ns in zip(keys, figures, strict=True))
    times = run(latency, "serial", f"flat:{cpus}").times
    assert times.total == sum(each.whole for each in times.cpus) == times.prepare + times.online
    boot = times.lanes[0]
    assert all(part.end == behind.start for part, behind in zip(boot, boot[1:], strict=False))
    assert sum(part.end - part.start for part in boot) == times.total


def test_what_the_boot_cpu_waits_for_is_on_its_lane_and_on_the_other() -> None:
    times = run("zero,alive=500us,prepare=10us", "serial", "flat:3").times
    assert [(part.name, part.about) for part in times.lanes[0]] == [
        (PREPARE, 1),
        (WAIT_ALIVE, 1),
        (PREPARE, 2),
        (WAIT_ALIVE, 2),
    ]
    assert [(part.name, part.end - part.start) for part in times.lanes[2]] == [(STARTING, 500_000)]
    parallel = run("zero,alive=500us,prepare=1ms", "parallel", "flat:3").times
    assert [(part.name, part.end - part.start) for part in parallel.lanes[1]] == [
        (STARTING, 500_000),
        (WAITS, 500_000),
    ]


def test_a_lock_over_cpu_on_makes_kicks_wait_for_those_on_their_way() -> None:
    free, held = (run(f"zero,alive=1ms,lock={ns}us", "parallel", "flat:4") for ns in (0, 100))
    assert free.times.total == 1_000_000
    # The second kick waits for one CPU and the third for two, and so do the CPUs that they start.
    assert held.counters["lock_waits"] == 2
    assert held.counters["lock_ns"] == 2 * 300_000
    assert held.times.total == 300_000 + 1_000_000 + 200_000
    serial = run("zero,alive=1ms,lock=100us", "serial", "flat:4")
    assert serial.counters["lock_waits"] == 0


def test_a_sleep_costs_where_the_kernel_sleeps() -> None:
    """Serial waits for three completions of a CPU, one of them with a time-out; split polls in its place."""
    alive = "zero,alive=500us"
    for mode, sleeps, timed_ones in (("serial", 3, 1), ("split", 3, 0)):
        found = run(f"{alive},sleep=1us,sleep_timed=10us", mode, "flat:3")
        assert found.counters["sleeps"] == sleeps * 2
        # The CPU's own thread is woken while the boot CPU waits for it.
        assert found.times.total == 2 * (500_000 + sleeps * 1000 + timed_ones * 10_000)


# -- the published tables ---------------------------------------------------------------------------

TABLES: dict[str, tuple[str, dict[str, float]]] = {
    "x86-skl-112": ("smt:112", {"serial": 785.960, "parallel": 84.274}),
    "kvm-128": ("flat:128", {"serial": 155.672, "split": 62.897, "parallel": 166.703}),
    "board-192": ("flat:192", {"serial": 14619.2, "split": 14619.1, "parallel": 8589.4}),
}


@pytest.mark.parametrize("profile", TABLES)
def test_a_fitted_profile_gives_the_table_that_it_was_fitted_to(profile: str) -> None:
    topology, published = TABLES[profile]
    for mode, ms in published.items():
        found = run(profile, mode, topology)
        assert found.times.total / 1e6 == pytest.approx(ms, rel=0.005)
        assert found.findings == 0


def test_without_the_lock_parallel_is_fastest_in_the_guest() -> None:
    totals = {mode: run("kvm-128,lock=0ns", mode, "flat:128").times.total for mode in MODES}
    assert totals["parallel"] < totals["split"] < totals["serial"]


# -- the command ------------------------------------------------------------------------------------


def emu(*arguments: str) -> str:
    done = run_emu(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_says_what_it_compares_and_what_a_subject_refuses() -> None:
    shown = emu("compare", "mainline", "--cpus", "4")
    assert "parallel: refused: bringup=parallel" in shown
    assert "case: mainline topology=flat:4 bringup=split scheduler=timed base=6.12" in shown
    assert "not in it: caches" in shown


def test_json_and_csv_have_the_same_figures(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    found = json.loads(
        emu("compare", "v3", "--cpus", "4", "--latency", "kvm-128", "--json", "--csv", str(path))
    )
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["bringup"] for row in rows] == list(MODES)
    for row, each in zip(rows, found["runs"], strict=True):
        assert int(row["total"]) == each["times"]["total"]
        assert sum(cpu["prepare"] for cpu in each["per_cpu"]) == each["times"]["prepare"]
        assert int(row["sleeps"]) == each["counters"]["sleeps"]


def test_each_row_names_its_run_in_80_columns() -> None:
    words = ("compare", "v3", "mainline", "--cpus", "4", "--latency", "kvm-128")
    shown = emu(*words, "--latency", "examples/slow-cluster.toml:7", "--bringup", "serial,split").splitlines()
    tables = shown[: next(number for number, line in enumerate(shown) if line.startswith("least:"))]
    assert max(map(len, tables)) <= 80
    rows = [line for line in tables if line.startswith("split mainline slow-cluster:7 ")]
    assert len(rows) == 3, "times, and counters in two pieces"
    assert len({line.partition("  ")[0] for line in tables if line.startswith(("serial", "split"))}) == 8


def test_results_do_not_depend_on_processes() -> None:
    arguments = ("compare", "v3", "v2", "--cpus", "6", "--latency", "kvm-128", "--json")
    assert emu(*arguments, "-j", "1") == emu(*arguments, "-j", "3")


def test_a_case_of_a_comparison_boots() -> None:
    shown = emu(
        "compare", "v3", "--cpus", "4", "--latency", "x86-skl-112,alive=1us..2us", "--bringup", "split"
    )
    case = next(line for line in shown.splitlines() if line.startswith("case: "))
    assert "4 of 4 CPUs online" in emu("boot", "--case", case)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--sweep", "cpus=2..8"), "2"),
        (("--sweep", "lock=0us..800us/3", "--cpus", "8"), "0 us"),
    ],
)
def test_a_sweep_tells_the_least_at_each_value(options: Sequence[str], says: str) -> None:
    lines = emu("compare", "v3", "--latency", "kvm-128", *options).splitlines()
    assert lines[2].split()[1:] == [*MODES, "least"]
    assert lines[3].startswith(says)
    assert lines[3].split()[-1] in MODES


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--sweep", "cpus"), "KEY=FIRST..LAST"),
        (("--sweep", "cpus=8..2"), "the smaller value first"),
        (("--sweep", "cpus=1..99999"), "cpus"),
        (("--sweep", "look=1us..2us"), "not one of"),
        (("--sweep", "lock=1us..2us", "--timeline"), "no timeline"),
        (("--bringup", "serial,paralel"), "did you mean parallel"),
        (("--latency", "nominel"), "did you mean nominal"),
        (("--html", "/nowhere/x.html"), "no such directory"),
        (("--csv", "-"), "--csv -: a file; that of standard output is /dev/stdout"),
    ],
)
def test_what_cannot_be_compared_is_refused(options: Sequence[str], why: str) -> None:
    done = run_emu("compare", "v3", *options)
    assert done.returncode == 2
    assert why in done.stderr


def test_a_picture_has_every_cpu_and_no_link(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    emu("compare", "v3", "--cpus", "9", "--latency", "kvm-128", "--html", str(page))
    text = page.read_text()
    for cpu in range(9):
        assert f">CPU{cpu}<" in text
    assert "serial: " in text
    assert "href" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


# -- kernels ----------------------------------------------------------------------------------------


def test_a_kernel_is_compared_as_it_was_built(real_kernel: Callable[[str], Path]) -> None:
    """It has no __cpu_up(): what the host would have to play is refused."""
    shown = emu("compare", str(real_kernel("EMU_KERNEL_RFC")), "--cpus", "4", "--latency", "kvm-128")
    assert "serial: refused: bringup=serial" in shown
    assert "least: split" in shown


@pytest.mark.deep
def test_a_kernel_that_boots_by_itself_has_times_of_its_own(real_kernel: Callable[[str], Path]) -> None:
    words = ("compare", str(real_kernel("EMU_KERNEL_RFC")), "--depth", "whole", "--cpus", "4", "--json")
    split, parallel = json.loads(emu(*words, "--bringup", "split,parallel"))["runs"]
    for found in (split, parallel):
        assert found["online"] == 4
        assert found["counters"]["cpu_on"] == 3
        assert not {"looks", "sleeps", "loads_mmu_off"} & set(found["counters"]), "nobody counts them"
        assert sum(each["prepare"] + each["online"] for each in found["per_cpu"]) == found["times"]["total"]
    assert "cpuhp.parallel=0" in split["case"]
    assert "cpuhp.parallel=1" in parallel["case"]


def test_at_depth_whole_no_parameter_asks_for_serial(real_kernel: Callable[[str], Path]) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    done = run_emu("compare", kernel, "--depth", "whole", "--bringup", "serial")
    assert done.returncode == 2
    assert "bringup=serial" in done.stderr
