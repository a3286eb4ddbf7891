"""``emu trace``, ``emu diff`` and ``emu replay`` of kernels that boot by themselves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from programs import run_emu

from emu.operation import Kind
from emu.trace import read_trace

Kernel = Callable[[str], Path]
WHOLE = ("--depth", "whole", "--cpus", "2")


def test_a_trace_is_the_same_twice_and_has_what_a_timeline_needs(real_kernel: Kernel, tmp_path: Path) -> None:
    """A timeline has no accesses: there are hundreds of thousands."""
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    paths = [tmp_path / "one", tmp_path / "other"]
    ftrace = tmp_path / "ftrace"
    for path in paths:
        done = run_emu("trace", kernel, *WHOLE, "-o", str(path), "--ftrace", str(ftrace))
        assert done.returncode == 0
        assert done.stdout.startswith(f"{path}: 2 CPUs, ")
        assert done.stdout.endswith(" record-from=smp_init\n")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size < 2_000_000
    kinds = {record.kind for record in read_trace(paths[0])}
    assert kinds >= {Kind.LOAD, Kind.STORE, Kind.LOAD_EXCLUSIVE, Kind.BARRIER, Kind.SEND_INTERRUPT, Kind.LOG}
    text = ftrace.read_text()
    assert "call CPU_ON64" in text
    assert "Brought up 1 node, 2 CPUs" in text
    assert text.count(": I|") < 1000
    assert "|set_cpu_online\n" in text, "functions are those in which an access is"
    first, last = (
        re.search(r" (\d+\.\d+): ", text[text.index(mark) - 90 :]) for mark in ("B|", "Brought up")
    )
    assert first is not None
    assert last is not None
    assert 0 < float(last[1]) - float(first[1]) < 0.001, "it begins where secondaries are brought up"
    assert run_emu("diff", str(paths[0]), str(paths[1])).returncode == 0


def test_two_kernels_part_where_one_does_something_else(real_kernel: Kernel) -> None:
    """split.diff lets a secondary say that it is alive before it stores its features."""
    kernels = [str(real_kernel(name)) for name in ("EMU_KERNEL_SMALL", "EMU_KERNEL_SPLIT")]
    done = run_emu("diff", *kernels, *WHOLE)
    assert done.returncode == 1
    assert "\n+ cpuhp_ap_sync_alive " in done.stdout
    assert "@@ CPU1: alike for 667 steps" in done.stdout
    assert "mmu-off" not in done.stdout  # nobody tells when an MMU goes on
    done = run_emu("diff", *kernels, *WHOLE, "--json")
    found = json.loads(done.stdout)
    assert (found["same"], found["cpus"][1]["alike"]) == (False, 667)
    assert found["cpus"][1]["a"]["loads_mmu_off"] == 0


def test_what_is_not_recorded_is_refused_in_one_line(real_kernel: Kernel, tmp_path: Path) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    why = "operations are recorded there; emu step goes by instructions"
    for words in (
        ("trace", kernel, *WHOLE, "-o", str(tmp_path / "out"), "--grain", "instruction"),
        ("diff", kernel, kernel, *WHOLE, "--grain", "instruction"),
    ):
        done = run_emu(*words)
        assert (done.returncode, done.stderr) == (2, f"emu: --grain instruction: not at depth whole: {why}\n")
    done = run_emu("replay", f"{kernel} depth=whole", "--html", str(tmp_path / "page"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = run_emu("replay", "v3", "--known-race", "x")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_case_is_replayed_with_the_story_of_what_it_shows(real_kernel: Kernel) -> None:
    """And one that shows nothing passes."""
    kernel = str(real_kernel("EMU_KERNEL_NAIVE"))
    case = f"{kernel} topology=flat:4 depth=whole record-from=smp_init"
    done = run_emu("replay", f"case: {case} fault=2:late:300000")
    assert done.returncode == 1
    text = done.stdout.replace("\n  ", " ")
    assert "CPU0   calls CPU_ON for CPU2, in __arm_smccc_smc+0x4" in text
    assert "finding (arrival): CPU2, CPU3 took the task 0x" in text
    assert "finding (race): data race at PA 0x4048d310 (secondary_data): write of 0x" in text
    assert "\nfail: two CPUs came to C on one stack" in text
    done = run_emu("replay", case)
    assert (done.returncode, "\npass: it came to 'smp: Brought up'" in done.stdout) == (0, True)


def test_races_are_found_among_schedules_and_what_is_told_can_be_replayed(real_kernel: Kernel) -> None:
    kernel = str(real_kernel("EMU_KERNEL_NAIVE"))
    words = ("explore", kernel, "--depth", "whole", "--cpus", "3", "--races", "--max-schedules", "10")
    done = run_emu(*words)
    assert done.returncode == 1
    assert "finding (race): data race at PA 0x4048d310 (secondary_data)" in done.stdout.replace("\n  ", " ")
    case = next(line for line in done.stdout.splitlines() if line.startswith("case: "))
    assert case.endswith(" record-from=smp_init")
    again = run_emu("replay", case)
    assert again.returncode == 1
    found = [line for line in done.stdout.splitlines() if line.startswith("finding")]
    assert found == [line for line in again.stdout.splitlines() if line.startswith("finding")]


def test_schedules_do_not_begin_behind_the_first_start(real_kernel: Kernel) -> None:
    kernel = str(real_kernel("EMU_KERNEL_SMALL"))
    done = run_emu("explore", kernel, *WHOLE, "--from", "secondary_start_kernel")
    why = "CPU1 has been started there, and schedules are told from power-on on"
    assert (done.returncode, done.stderr) == (
        2,
        f"emu: from=secondary_start_kernel: {why}; give smp_init, or what comes before that\n",
    )


def test_a_race_is_stepped_through_by_its_case_as_it_was_printed(real_kernel: Kernel, tmp_path: Path) -> None:
    """The boot CPU stores over what CPU2 has not taken yet."""
    kernel, script = str(real_kernel("EMU_KERNEL_NAIVE")), tmp_path / "script"
    script.write_text(
        "break __secondary_switched+0x34\n" + "continue\n" * 3 + "who-wrote secondary_data 4\nwhere\n"
    )
    case = f"case: {kernel} topology=flat:4 depth=whole fault=2:late:423717 record-from=smp_init"
    command = (sys.executable, "-m", "emu", "step", "--case", case, "--script", script)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("emu: record-from=smp_init: nothing is recorded while a debugger ")
    assert "breakpoint 1: __secondary_switched+0x34, CPU2" in done.stdout
    stored = [line for line in done.stdout.splitlines() if "CPU0 stored 0xffff00000089e000" in line]
    (line,) = stored
    assert line.endswith(" to secondary_data.task, before: 0xffff00000089cc00")
