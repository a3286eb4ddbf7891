"""``git bisect run emu lookup FILE`` finds the commit that broke a look-up, and skips what does not build."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

FIRST = """/* SPDX-License-Identifier: GPL-2.0-or-later
 * find_cpu - logical CPU number of this PE
 *
 * in:       none; reads MPIDR_EL1
 * out:      x19 = logical CPU number
 * clobbers: x0-x3, NZCV
 * memory:   reads __cpu_logical_map, u64[NR_CPUS] of hwid; writes none
 * state:    EL1 or EL2, MMU off, no stack
 * exits:    to cpu_found, within 8*NR_CPUS + 16 instructions; else at cpu_missing
 * model:    the logical id of hwid(MPIDR_EL1)
 * source:   original
 */
#include "macros.inc"

find_cpu:
        mrs     x0, mpidr_el1
        mov_q   x1, MPIDR_HWID_BITMASK
        and     x0, x0, x1
        adr_l   x1, __cpu_logical_map
        mov     x19, #0
scan:   ldr     x3, [x1, x19, lsl #3]
        cmp     x3, x0
        b.eq    hit
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.ne    scan
cpu_missing:
        b       cpu_missing
hit:    b       cpu_found
cpu_found:
        ret
"""
# Subject, and what the commit changes. The fifth breaks it; the third and the sixth do not assemble.
STEPS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("head: name the loop", (("scan:   ldr", "entry:  ldr"), ("b.ne    scan", "b.ne    entry"))),
    ("head: load a table entry with a macro", (("ldr     x3, [x1, x19, lsl #3]", "load_entry x3, x1, x19"),)),
    (
        "head: add the macro that was missing",
        (
            (
                "find_cpu:\n",
                ".macro load_entry to, table, index\n"
                "        ldr     \\to, [\\table, \\index, lsl #3]\n.endm\nfind_cpu:\n",
            ),
        ),
    ),
    ("head: a shorter mask", (("mov_q   x1, MPIDR_HWID_BITMASK", "mov     x1, #0xffffff"),)),
    ("head: prefetch", (("        adr_l   x1", "        prefetch\n        adr_l   x1"),)),
    ("head: no prefetch after all", (("        prefetch\n", ""),)),
    ("head: one branch less", (("b.eq    hit", "b.eq    cpu_found"), ("hit:    b       cpu_found\n", ""))),
    ("head: say where it is from", (("source:   original", "source:   arch/arm64/kernel/head.S"),)),
    ("head: another register", (("x3", "x2"), ("x0-x2", "x0-x3"))),
)
BROKEN = "head: a shorter mask"
NOT_ASSEMBLED = ("head: load a table entry with a macro", "head: prefetch")
LOOKUP = (sys.executable, "-m", "emu", "lookup", "head_fragment.S", "--cases", "1000", "--max-cpus", "3")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # git as it is without anybody's settings.
    who = {
        f"GIT_{role}_{what}": "emu@localhost"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    who |= {f"GIT_{role}_DATE": "2026-06-18T12:00:00Z" for role in ("AUTHOR", "COMMITTER")}
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        command, cwd=folder, env={**kept, **alone, **who}, capture_output=True, text=True, check=False
    )


def git(folder: Path, *arguments: str) -> str:
    done = run(folder, "git", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Ten commits, the first of them good."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    text = FIRST
    for subject, changes in (("head: look a CPU up by its hwid", ()), *STEPS):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "head_fragment.S").write_text(text)
        git(tmp_path, "add", "head_fragment.S")
        git(tmp_path, "commit", "--quiet", "--message", subject)
    assert git(tmp_path, "rev-list", "--count", "HEAD") == "10\n"
    return tmp_path


def test_every_commit_has_the_status_that_git_expects(history: Path) -> None:
    """0 good, 1 bad, 125 cannot be tested (git-bisect(1), "Bisect run")."""
    broken, wanted, got = False, [], []
    for commit in git(history, "rev-list", "--reverse", "HEAD").split():
        git(history, "checkout", "--quiet", commit)
        subject = git(history, "log", "-1", "--format=%s").strip()
        broken = broken or subject == BROKEN
        wanted.append((subject, 125 if subject in NOT_ASSEMBLED else int(broken)))
        got.append((subject, run(history, *LOOKUP).returncode))
    assert got == wanted


@pytest.mark.parametrize("good", [10, 9])
def test_git_bisect_run_names_the_commit_that_broke_it(history: Path, good: int) -> None:
    git(history, "bisect", "start", "HEAD", f"HEAD~{good - 1}")
    done = run(history, "git", "bisect", "run", *LOOKUP)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is the first bad commit" in done.stdout
    assert git(history, "log", "-1", "--format=%s", "refs/bisect/bad").strip() == BROKEN
    skips = [line for line in git(history, "bisect", "log").splitlines() if line.startswith("# skip:")]
    assert all(line.endswith(NOT_ASSEMBLED) for line in skips)
    assert skips
    # What a report of it says: the finding, the smallest question, and the case that asks it again.
    assert "finding (answer): finds CPU 0; no CPU of the map has this hwid" in done.stdout
    assert "case: head_fragment.S nr-cpus=1 map=0x0 mpidr=0x180000000" in done.stdout


def test_a_commit_without_a_contract_stops_the_search_when_told_so(history: Path) -> None:
    """Status 2 is "bad" to git, 128 and more ends the search (git-bisect(1), "Bisect run")."""
    git(history, "checkout", "--quiet", "-b", "other", "HEAD~9")
    bare = '#include "macros.inc"\nfind_cpu: nop\n'
    for text in (bare, f"{bare}nop\n", FIRST.replace("x0, x0, x1", "x0, x0, x0")):
        (history / "head_fragment.S").write_text(text)
        git(history, "commit", "--quiet", "--all", "--message", "head: next")
    git(history, "bisect", "start", "HEAD", "HEAD~3")
    lookup = shlex.join(LOOKUP)
    done = run(
        history, "git", "bisect", "run", "sh", "-c", f"{lookup}; s=$?; [ $s -ne 2 ] || exit 128; exit $s"
    )
    assert done.returncode != 0
    assert "no contract" in done.stderr
    assert "first bad commit" not in done.stdout
