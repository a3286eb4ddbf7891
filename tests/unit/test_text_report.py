"""What people read of a boot: whole outcomes, findings in 80 columns, the masks after hotplug."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from programs import run_emu

from emu.report.text import cpu_list
from emu.report.words import WIDTH, wrap
from emu.subject.fragment import asm_dir


def test_an_outcome_is_not_cut() -> None:
    """One that is longer than its column goes on in the next row."""
    printed = run_emu("boot", "v3", "--cpus", "3", "--fault", "1:panic").stdout
    table = printed[printed.index("CPU  hwid") :].split("\n\n", 1)[0].splitlines()
    assert table[2].split()[:4] == ["1", "0x1", "parked", "in"]
    assert table[3].split() == ["cpu_panic_kernel"]
    assert max(map(len, table)) <= WIDTH


def test_findings_have_80_columns() -> None:
    done = run_emu("boot", "mainline", "--cpus", "4", "--bringup", "parallel", "--force")
    found = done.stdout[done.stdout.index("finding (") : done.stdout.index("fail:")]
    assert max(map(len, found.splitlines())) <= WIDTH
    whole = " ".join(line.strip() for line in found.splitlines())
    assert "CPU1, CPU2, CPU3 took the task" in whole
    for line in found.splitlines():
        assert line.startswith(("finding (", "  "))


def test_a_word_that_is_longer_than_a_line_stays_whole() -> None:
    long = "x" * 100
    assert wrap(f"a {long} b", "  ") == ["a", f"  {long}", "  b"]
    assert wrap("short", "  ") == ["short"]
    assert wrap(f"  a {long}", "    ") == ["  a", f"    {long}"]


def test_a_wrong_look_up_has_80_columns_but_for_its_case(tmp_path: Path) -> None:
    """A map of holes is short, too."""
    right = (asm_dir() / "lookup" / "v3.S").read_text()
    (tmp_path / "wrong.S").write_text(right.replace("#NR_CPUS", "#(NR_CPUS - NR_CPUS / 256)", 1))
    done = run_emu("lookup", "wrong.S", "--nr-cpus", "256", "--cases", "1000", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("  case: ")]
    assert max(map(len, lines)) <= WIDTH
    assert "  NR_CPUS=256, map -*255,0x0, MPIDR_EL1 0x80000000" in lines


@pytest.mark.parametrize(
    ("cpus", "text"), [((), ""), ((3,), "3"), ((0, 1, 2), "0-2"), ((0, 2, 3, 7), "0,2-3,7")]
)
def test_a_mask_is_as_in_sysfs(cpus: tuple[int, ...], text: str) -> None:
    assert cpu_list(cpus) == text


HOTPLUG = ("boot", "v3", "--topology", "vcpus:6", "--hotplug", "4:add,4:online,1:offline")


def test_masks_after_hotplug_are_shown() -> None:
    printed = run_emu(*HOTPLUG).stdout
    for line in ("possible: 0-5", "present:  0-2,4", "enabled:  0-2,4", "online:   0,2,4"):
        assert f"\n{line}\n" in printed
    whole: dict[str, Any] = json.loads(run_emu(*HOTPLUG, "--json").stdout)
    assert whole["masks"] == {
        "possible": [0, 1, 2, 3, 4, 5],
        "present": [0, 1, 2, 4],
        "enabled": [0, 1, 2, 4],
        "online": [0, 2, 4],
    }


def test_without_hotplug_there_is_nothing_of_masks() -> None:
    assert "possible:" not in run_emu("boot", "v3", "--cpus", "2").stdout
    assert "masks" not in json.loads(run_emu("boot", "v3", "--cpus", "2", "--json").stdout)


@pytest.mark.parametrize("command", ["boot", "info", "lookup", "explore", "trace", "diff"])
def test_a_file_that_cannot_be_read_says_so(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that it is no kernel: root can read all, so opening it is refused here."""
    path = tmp_path / "vmlinux"
    path.write_bytes(b"\x7fELF")
    opened = Path.open

    def refuse(self: Path, *arguments: Any, **options: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    more = {"trace": ("--output", str(tmp_path / "t")), "diff": ("v3",)}.get(command, ())
    done = run_emu(command, str(path), *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"emu: {path}: Permission denied\n"
