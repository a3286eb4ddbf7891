"""``emu trace`` and ``emu diff`` from the shell: files, cases, kernels, exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from programs import run_emu

KERNELS = ("EMU_KERNEL_61", "EMU_KERNEL_612")
have_kernels = pytest.mark.skipif(
    not all(os.environ.get(name) for name in KERNELS), reason=f"{' and '.join(KERNELS)} name no Images"
)


def emu(*arguments: str | Path, status: int = 0) -> str:
    """Run a command and return what it prints; on stderr when it fails."""
    done = run_emu(*arguments)
    assert done.returncode == status, done.stderr + done.stdout
    assert status != 2 or not done.stdout
    return done.stderr if status in (2, 125) else done.stdout


def test_a_trace_and_its_case_are_the_same_run(tmp_path: Path) -> None:
    path = tmp_path / "t"
    said = emu("trace", "v3", "--cpus", "4", "-o", path)
    assert said.startswith(f"{path}: 4 CPUs, ")
    case = said.splitlines()[1].removeprefix("case: ")
    assert emu("diff", path, case).splitlines()[-1] == "same: 4 CPUs"
    assert emu("diff", path, path).splitlines()[-1] == "same: 4 CPUs"


@pytest.mark.parametrize("grains", [("instruction", "operation"), ("operation", "operation")])
def test_traces_of_operations_compare_by_operation(tmp_path: Path, grains: tuple[str, str]) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, grain in zip(paths, grains, strict=True):
        emu("trace", "mainline", "--cpus", "3", "--grain", grain, "-o", path)
    found = json.loads(emu("diff", *paths, "--json"))
    assert (found["same"], found["grain"]) == (True, "operation")
    assert "no instructions" in emu("diff", *paths, "--grain", "instruction", status=2)


def test_before_and_after_a_change_of_a_file(tmp_path: Path) -> None:
    """The traces hold what names their addresses: the file that was traced first is gone."""
    source = tmp_path / "boot.S"
    text = (Path(__file__).parents[2] / "examples" / "my_boot.S").read_text()
    source.write_text(text)
    before, after = tmp_path / "before", tmp_path / "after"
    emu("trace", source, "--cpus", "4", "-o", before)
    lines = text.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if "mpidr_el1" in line and "mrs" in line)
    source.write_text("".join([*lines[:at], "\tnop\n", *lines[at:]]))
    emu("trace", source, "--cpus", "4", "-o", after)
    shown = emu("diff", before, after, status=1).splitlines()
    assert any(line.startswith("+ ") and line.endswith(" nop") for line in shown)
    assert "@@ CPU1..CPU3: alike for" in "\n".join(shown)
    assert shown[-1] == "different: CPU1..CPU3; CPU0 alike"


def test_a_run_that_hits_its_limit_is_recorded_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "t"
    done = subprocess.run(
        [sys.executable, "-m", "emu", "trace", "v3", "--instructions-max", "200", "-o", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 125
    assert "stopped: limit of 200 instructions" in done.stdout
    assert emu("diff", path, path).splitlines()[-1].startswith("same: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("trace", "v3"), "where is the trace to go?"),
        (("trace", "nowhere", "-o", "/dev/null"), "no such file"),
        (("trace", "v3", "-o", "/nowhere/t"), "/nowhere/t: no such directory"),
        (("diff", "v3"), "Missing argument"),
        (("diff", "v3", "v9"), "v9: no such file"),
        (("diff", "v3", "v3 nonsense=1"), "nonsense=1"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], says: str) -> None:
    message = emu(*arguments, status=2)
    assert says in message
    assert message.count("\n") <= 4


def test_boot_writes_timelines_too(tmp_path: Path) -> None:
    text, events = tmp_path / "t.txt", tmp_path / "t.json"
    emu("boot", "rfc", "--cpus", "4", "--ftrace", text, "--perfetto", events)
    assert text.read_text().startswith("# tracer: nop\n")
    assert json.loads(events.read_text())["traceEvents"]
    traced = tmp_path / "u.txt"
    emu("trace", "rfc", "--cpus", "4", "--ftrace", traced)
    assert traced.read_text() == text.read_text()


def test_mainline_against_v3() -> None:
    shown = emu("diff", "mainline", "v3", "--cpus", "4", status=1).splitlines()
    assert max(map(len, shown)) <= 75
    hunks = [line for line in shown if line.startswith("@@ ")]
    assert hunks[1].startswith("@@ CPU1..CPU3: alike for ")
    assert any(line.startswith("+ find ") and "mrs x0, mpidr_el1" in line for line in shown)


@have_kernels
def test_debians_6_1_against_6_12() -> None:
    """v6.12 head.S records whether the MMU was on: "mov x0, xzr" before the call of init_kernel_el."""
    shown = emu("diff", *(os.environ[name] for name in KERNELS), "--cpus", "4", status=1).splitlines()
    assert max(map(len, shown)) <= 75
    at = next(number for number, line in enumerate(shown) if line.startswith("@@ CPU1..CPU3: "))
    window = shown[at : at + 6]
    assert "+ secondary_entry+0x4    mov x0, xzr" in window
    assert "  secondary_entry+0x4    bl init_kernel_el" in window
    assert shown[-1] == "different: CPU1..CPU3; CPU0 alike"


@have_kernels
def test_a_kernels_trace_needs_at_most_20_bytes_an_instruction(tmp_path: Path) -> None:
    path = tmp_path / "t"
    said = emu("trace", os.environ["EMU_KERNEL_612"], "--cpus", "64", "-o", path)
    _, _, instructions, _, size, _ = said.splitlines()[0].removeprefix(f"{path}: ").replace(",", "").split()
    assert int(instructions) == 63 * 140
    assert int(size) == path.stat().st_size <= 20 * int(instructions)


@pytest.mark.parametrize("bytes_off", [1, 300, 2000])
def test_a_trace_that_is_cut_off_is_neither_same_nor_different(bytes_off: int, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.trace", tmp_path / "cut.trace"
    run_emu("trace", "v3", "--cpus", "2", "-o", str(whole))
    assert run_emu("diff", str(whole), str(whole)).returncode == 0
    cut.write_bytes(whole.read_bytes()[:-bytes_off])
    done = run_emu("diff", str(whole), str(cut))
    assert done.returncode == 125
    assert done.stdout.endswith(f"undecided: {cut} is cut off; what came behind its end is not compared\n")
    object_ = json.loads(run_emu("diff", str(whole), str(cut), "--json").stdout)
    assert object_["cut_off"] == [str(cut)]
