"""``emu explore`` and ``emu replay``: what they find, what they print, and that they end in order."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import run_emu

from emu.explore import search as search_module
from emu.explore.explorer import ExplorationResult, Explorer, Tell
from emu.explore.search import Bounds, Count

RACY = ["mainline", "--cpus", "3", "--bringup", "parallel", "--force"]
ERASED = ["v2", "--cpus", "4", "--fault", "2:no-52bit-va"]
PEN = ["v3", "--cpus", "3", "--enable-method", "spin-table"]


def emu(*arguments: str, status: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    done = run_emu(*arguments)
    assert status is None or done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


def explored(*arguments: str, status: int) -> dict:
    """The object that ``emu explore --json`` prints."""
    return json.loads(emu("explore", *arguments, "--json", status=status).stdout)


def test_mainline_in_parallel_has_one_task_on_two_cpus_and_the_story_of_it() -> None:
    done = emu("explore", *RACY, status=1)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("finding (arrival): CPU1, CPU2 took the task")
    story = lines[: next(index for index, line in enumerate(lines) if not line)]
    assert len(story) <= 40
    assert all(len(line) <= 80 for line in story if not line.startswith("case: "))
    text = "\n".join(story)
    assert "store secondary_data <- CPU2 task" in text
    assert re.search(r"load secondary_data = CPU2 task \(CPU1\) +secondary_load_task.S:\d+", text)
    assert any(line.startswith("fix: a slot for each CPU") for line in story)
    assert story[-1].startswith("case: mainline topology=flat:3 bringup=parallel scheduler=replay:")
    found = explored(*RACY, status=1)
    assert found["schedules"] <= 100
    assert not found["complete"]
    assert found["incomplete"] == ["stopped at the first finding"]


@pytest.mark.parametrize("design", ["rfc", "v2", "v3", "context-id"])
@pytest.mark.parametrize("cpus", ["3", "4"])
def test_designs_with_data_for_each_cpu_are_complete_without_a_finding(design: str, cpus: str) -> None:
    found = explored(design, "--cpus", cpus, "--bringup", "parallel", status=0)
    assert found["complete"]
    assert found["findings"] == []
    assert found["counters"]["complete"] >= 1


def test_early_status_is_erased_in_v2_and_not_in_v3() -> None:
    (finding,) = explored(*ERASED, status=1)["findings"]
    assert finding["rule"] == "telemetry"
    assert "CPU3 stored 0x0 over it" in finding["message"]
    assert explored("v3", *ERASED[1:], status=0)["complete"]


def test_table_writer_that_does_not_clean_gives_a_stale_scan() -> None:
    caches = ["v3", "--cpus", "3", "--memory", "caches"]
    found = explored(*caches, "--fault", "2:no-clean", status=1)
    assert "stale" in {finding["rule"] for finding in found["findings"]}
    clean = explored(*caches, status=0)
    assert (clean["complete"], clean["findings"]) == (True, [])


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--fault", "1:no-clean", "--memory", "caches"], "stale"),
        (["--fault", "1:no-sev"], "stuck"),
        (["--fault", "1:early-sev"], "stuck"),
    ],
)
def test_spin_table_without_clean_or_sev_is_found(options: list[str], rule: str) -> None:
    found = explored(*PEN, *options, status=1)
    assert rule in {finding["rule"] for finding in found["findings"]}


@pytest.mark.parametrize(
    ("event_register", "memory", "cpus"),
    [
        ("0", "coherent", "3"),
        ("1", "coherent", "3"),
        ("0", "caches", "2"),  # what a CPU in the pen may miss, it misses alone
        ("1", "caches", "3"),
    ],
)
def test_right_spin_table_is_complete(event_register: str, memory: str, cpus: str) -> None:
    options = ("--event-register", event_register, "--memory", memory)
    found = explored(*PEN, *options, "--cpus", cpus, status=0)
    assert (found["complete"], found["findings"]) == (True, [])


def test_finding_is_replayed_by_its_line() -> None:
    """By `emu replay`, and by `emu boot --case`: the machine comes to the same."""
    found = explored(*RACY, status=1)
    case = found["findings"][0]["case"]
    again = json.loads(emu("replay", case, "--json", status=1).stdout)
    assert [finding["message"] for finding in again["findings"]] == [
        finding["message"] for finding in found["findings"]
    ]
    booted = json.loads(emu("boot", "--case", case, "--json", status=1).stdout)
    messages = {finding["message"] for finding in booted["findings"]}
    assert found["findings"][0]["message"] in messages
    assert booted["case"] == case


def test_replay_tells_the_story_again(tmp_path: Path) -> None:
    story = emu("explore", *ERASED, status=1).stdout.splitlines()
    case = next(line for line in story if line.startswith("case: "))
    path = tmp_path / "finding"
    path.write_text(case + "\n")
    told = emu("replay", str(path), status=1).stdout.splitlines()
    assert told[: story.index(case)] == story[: story.index(case)]
    assert told[-1].startswith("fail: ")


def test_page_has_the_whole_story_and_fetches_nothing(tmp_path: Path) -> None:
    page = tmp_path / "finding.html"
    emu(
        "explore",
        "v3",
        "--cpus",
        "3",
        "--memory",
        "caches",
        "--fault",
        "2:no-clean",
        "--html",
        str(page),
        status=1,
    )
    text = page.read_text()
    assert text.count("<rect") > 5
    assert "dirty" in text
    assert "emu replay" in text
    assert not re.search(r"\bsrc=|\bhref=\"[^#]|https?://|@import|url\(", text)


def test_twice_the_same() -> None:
    """In two processes, which hash in different ways."""
    command = (sys.executable, "-m", "emu", "explore", *RACY, "--all", "--memory", "caches")
    first, second = (
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False
        )
        for seed in ("1", "2")
    )
    assert first.returncode == 1
    assert second.stdout == first.stdout


@pytest.mark.parametrize(
    ("form", "jobs"),
    [((), ("2", "7")), (("--json",), ("7",)), (("--ktap",), ("7",))],
    ids=["text", "json", "ktap"],
)
def test_the_same_with_any_number_of_processes(form: tuple[str, ...], jobs: tuple[str, ...]) -> None:
    """Counts, findings, stories, cases."""
    asked = ("explore", "mainline", "--cpus", "3", "--bringup", "parallel", "--force", "--all", *form)
    one = run_emu(*asked, "-j", "1")
    assert one.returncode == 1
    assert one.stdout
    for number in jobs:
        other = run_emu(*asked, "-j", number)
        assert (other.stdout, other.stderr) == (one.stdout, one.stderr)


def test_ktap_has_a_test_for_each_rule() -> None:
    text = emu("explore", *RACY, "--ktap", status=1).stdout
    assert re.search(r"not ok \d+ arrival", text)
    assert re.search(r"^ +ok \d+ race$", text, re.M)
    assert re.search(r"ok \d+ stale # SKIP needs --memory caches", text)


def test_random_schedules_are_a_thousand_unless_said() -> None:
    """All of them are taken when nothing is found, so as many as the search may try is hours."""
    done = emu("explore", "mainline", "--cpus", "2", "--scheduler", "random:1", status=0)
    assert "pass: incomplete: 1000 random schedules, 0 findings" in done.stdout


def test_random_schedules_and_pct_with_its_bound() -> None:
    found = explored(*RACY, "--scheduler", "random:1", "--max-schedules", "50", status=1)
    assert found["schedules"] <= 50
    done = emu(
        "explore", "v3", "--cpus", "3", "--scheduler", "pct:1:2:200", "--max-schedules", "20", status=0
    )
    assert "20 random schedules" in done.stdout
    # 3 actors, 200 steps, depth 2: 1 / (3 * 200)
    assert "with a probability of 0.0017 or more" in done.stdout


def test_bounds_that_cut_are_named() -> None:
    for option, value, named in (
        ("--max-schedules", "3", "3 schedules"),
        ("--preemptions", "0", "0 preemptions"),
        ("--steps-max", "50", "50 steps"),
    ):
        found = json.loads(emu("explore", *RACY, "--all", option, value, "--json").stdout)
        assert named in found["incomplete"], (option, found["incomplete"])


def test_a_bound_that_nobody_asked_for_leaves_it_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bound passes when it is asked for."""
    order = ["mainline", "--cpus", "3", "--enable-method", "spin-table", "--memory", "caches"]
    for name, option in (("schedules", "--max-schedules"), ("depth", "--steps-max")):
        passed = json.loads(emu("explore", *order, option, "20", "--json", status=0).stdout)
        assert (passed["verdict"], passed["complete"]) == ("pass", False)
        with monkeypatch.context() as patch:
            patch.setattr(f"emu.cli.explore.DEFAULT_{name.upper()}", 20)
            undecided = json.loads(emu("explore", *order, "--json", status=125).stdout)
            assert undecided["verdict"] == "undecided"
            assert undecided["incomplete"] == passed["incomplete"]
            assert "# SKIP undecided: 20 " in emu("explore", *order, "--ktap", status=125).stdout
            assert "--max-schedules and --steps-max raise" in emu("explore", *order, status=125).stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--early", "-1"], "early=-1: at least 0"),
        (["--spurious"], "--spurious: --early says how often"),
        (["--scheduler", "timed"], "explore takes pct, random, or none"),
        (["--kexec", "v3"], "kexec=v3: an exploration ends with the boot"),
        (["--memory", "weak"], "memory=weak: not one of "),
        (["--granule", "100"], "granule=100: memory=coherent has no lines (--memory caches)"),
        (["--granule", "100", "--memory", "caches"], "granule=100: not one of 64"),
        (["--resume", "nowhere.json"], "nowhere.json: No such file"),
        (["--scheduler", "pct:x"], "the seed after ':' is an integer"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], says: str) -> None:
    done = emu("explore", "v3", *arguments, status=2)
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("v3 topology=flat:2", "no recorded schedule"),
        ("v3 topology=flat:2 scheduler=replay:1 grain=operation", "cannot be taken"),
        ("v3 topology=flat:2 scheduler=replay:0x5,x grain=operation", "x: none of CPU"),
    ],
)
def test_schedule_that_does_not_fit_is_one_line(case: str, says: str) -> None:
    done = emu("replay", case, status=2)
    assert says in done.stderr


def test_schedule_that_does_not_fit_ends_a_boot_with_one_line() -> None:
    case = "v3 topology=flat:2 scheduler=replay:0x3,1"
    done = emu("boot", "--case", f"{case} grain=operation", status=2)
    assert done.stderr == "emu: schedule: pick 3: CPU1 is off, not runnable\n"
    assert "grain=operation" in emu("boot", "--case", case, status=2).stderr


def test_interrupted_exploration_tells_what_it_has_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first Ctrl-C ends it in order; the file it leaves is where the next one begins."""
    long = ("mainline", "--cpus", "5", "--bringup", "parallel", "--force", "--all", "--json")
    search, told = Explorer.search, list[int]()

    def interrupted(explorer: Explorer, bounds: Bounds, *, tell: Tell, **options: Any) -> ExplorationResult:
        def signalled(count: Count, depth: int) -> bool:
            if count.schedules >= 200 and not told:
                told.append(count.schedules)
                signal.raise_signal(signal.SIGINT)
            return tell(count, depth)

        return search(explorer, bounds, tell=signalled, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Explorer, "search", interrupted)
        done = run_emu("explore", *long, cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    first = json.loads(done.stdout)
    assert first["schedules"] >= told[0] >= 200
    assert "interrupted" in first["incomplete"]
    assert "emu explore --resume emu-explore.json" in done.stderr
    saved = tmp_path / "emu-explore.json"
    more = first["schedules"] + 50
    again = emu("explore", "--resume", str(saved), "--max-schedules", str(more), "--all", "--json")
    second = json.loads(again.stdout)
    assert second["case"] == first["case"]
    assert second["schedules"] >= more
    saved.write_text(saved.read_text()[:-20])
    assert "no interrupted exploration" in emu("explore", "--resume", str(saved), status=2).stderr


KILLED = """
import os, signal, sys
from emu.cli import explore, main
from emu.explore import search
search.KEEP_EVERY = 10
write = explore.write_resume
def killed(path, saved):
    write(path, saved)
    if saved.count.schedules >= int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
explore.write_resume = killed
main(sys.argv[2:])
"""
WITH_CACHES = ("v2", "--cpus", "2", "--memory", "caches", "--enable-method", "spin-table", "--all")
WITH_CACHES = (*WITH_CACHES, "--fault", "1:no-clean")
FORCED = ("mainline", "--cpus", "3", "--bringup", "parallel", "--force", "--all")


PENS = ("mainline", "--cpus", "4", "--memory", "caches", "--enable-method", "spin-table")


@pytest.mark.parametrize(
    ("words", "kill_at"),
    [(WITH_CACHES, 40), (FORCED, 20), (FORCED, 40), (PENS, 100), (PENS, 200)],
    ids=["caches", "all-early", "all-late", "pens-early", "pens-late"],
)
def test_a_killed_exploration_goes_on_and_finds_what_a_whole_one_finds(
    words: tuple[str, ...], kill_at: int, tmp_path: Path
) -> None:
    """The file is written at every so many schedules; what was found before is told again."""
    command = [sys.executable, "-c", KILLED, str(kill_at), "explore", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["emu-explore.json"]
    again = run_emu("explore", "--resume", "emu-explore.json", "--json", "-j", "1", cwd=tmp_path)
    whole = run_emu("explore", *words, "--json", "-j", "1", cwd=tmp_path)
    assert json.loads(whole.stdout)["schedules"] > kill_at, "it was killed on the way"
    second, first = json.loads(again.stdout), json.loads(whole.stdout)
    assert (again.returncode, second["verdict"]) == (whole.returncode, first["verdict"])
    assert _kinds(second) == _kinds(first)
    assert second["complete"] == first["complete"] is True


def _kinds(result: dict[str, Any]) -> list[tuple[str, str, int]]:
    # Who has lost an update is one thing; whose store it was may be told otherwise.
    return sorted((found["rule"], found["what"], found["cpus"][0]) for found in result["findings"])


def test_the_file_to_go_on_from_is_gone_when_the_search_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "KEEP_EVERY", 20)
    done = run_emu("explore", *FORCED, cwd=tmp_path)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_where_it_stands_cannot_be_written_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "KEEP_EVERY", 20)
    (tmp_path / "emu-explore.json").mkdir()
    done = run_emu("explore", *FORCED, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("a kill would lose where the search stands") == 1


def test_real_kernel_is_explored_and_its_finding_replayed() -> None:
    image = os.environ.get("EMU_KERNEL_612")
    if not image:
        pytest.skip("EMU_KERNEL_612 is not set")
    serial = explored(image, "--cpus", "3", "--bringup", "serial", "--max-schedules", "2000", status=0)
    assert serial["complete"]
    parallel = explored(
        image, "--cpus", "3", "--bringup", "parallel", "--force", "--max-schedules", "2000", status=1
    )
    assert "took the task" in parallel["findings"][0]["message"]
    again = json.loads(emu("replay", parallel["findings"][0]["case"], "--json", status=1).stdout)
    assert again["findings"][0]["message"] == parallel["findings"][0]["message"]


def test_kernel_with_its_own_kick_is_explored() -> None:
    """Its C code runs on the boot CPU's PE, step by step, between the host's."""
    image = os.environ.get("EMU_KERNEL_SPLIT")
    if not image:
        pytest.skip("EMU_KERNEL_SPLIT is not set")
    found = explored(image, "--cpus", "3", status=0)
    assert found["complete"]


def test_finding_is_stepped_through_by_instructions(tmp_path: Path) -> None:
    """A pick is an operation, with the instructions before the next one, at whatever grain."""
    case = explored(*RACY, status=1)["findings"][0]["case"]
    script = tmp_path / "steps.emu"
    script.write_text("continue\nwho-wrote secondary_data 3\n")
    command = [sys.executable, "-m", "emu", "step", "--case", case, "--script", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "CPU1, CPU2 took the task" in done.stdout
    assert re.search(r"#\d+ CPU0 stored 0x0 to secondary_data.task, before: 0x\w+", done.stdout)


def test_many_cpus_that_do_not_meet_are_one_schedule() -> None:
    found = explored("v3", "--cpus", "32", status=0)
    assert (found["complete"], found["schedules"]) == (True, 1)


def test_own_text_is_explored() -> None:
    boot = Path(__file__).parents[2] / "examples" / "my_boot.S"
    assert explored(str(boot), "--cpus", "3", status=0)["complete"]


def test_a_number_for_depth_is_sent_to_the_option_that_takes_one() -> None:
    done = run_emu("explore", "v3", "--depth", "3000")
    assert (done.returncode, done.stderr) == (
        2,
        "emu: depth=3000: not whole; the bound of a path is --steps-max 3000\n",
    )
    boot = run_emu("boot", "v3", "--depth", "3000")
    assert (boot.returncode, boot.stderr) == (2, "emu: depth=3000: not whole, which is the only one\n")
