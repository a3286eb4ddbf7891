"""The jobs of docs/ci.md: every command in them runs, and leaves the files that the job keeps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/ci.md").read_text()
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
BLOCKS = re.findall(r"^```(sh|yaml)\n(.*?)^```$", PAGE, re.M | re.S)
JOBS = [yaml.safe_load(text) for kind, text in BLOCKS if kind == "yaml"]
SCRIPTS = [text for kind, text in BLOCKS if kind == "sh"]
CORRECT = (ROOT / "tests/lookup/correct/forward.S").read_text()
WRONG = (ROOT / "tests/lookup/mutants/low_24_bits.S").read_text()
GIT = ("git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "core.hooksPath=")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A kernel tree with a look-up, an Image, a make that has nothing to do, and emu on the PATH."""
    image = os.environ.get("EMU_KERNEL_SMALL")
    if image is None:
        pytest.skip("EMU_KERNEL_SMALL is not set: tools/fetch-kernels small")
    folder = tmp_path / "linux"
    (folder / "arch/arm64/boot").mkdir(parents=True)
    shutil.copy(Path(image, "arch/arm64/boot/Image"), folder / "arch/arm64/boot")
    (folder / "Makefile").write_text("Image:\n\t@:\n.PHONY: Image\n")
    (folder / "my_lookup.S").write_text(CORRECT)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/emu"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m emu "$@"\n')
    command.chmod(0o755)
    return folder


def run(command: str, tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{tree.parent / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    words = ["sh", "-ec", command, "sh", *arguments]
    return subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def commit(tree: Path, subject: str) -> None:
    for words in (("add", "-A"), ("commit", "-q", "--allow-empty", "-m", subject)):
        subprocess.run([*GIT, *words], cwd=tree, check=True)


def commands(job: Any) -> Iterator[str]:
    # What a job of GitHub or of GitLab runs. The commands that install emu are for their own machines.
    steps = [step.get("run", "") for step in job.get("steps", ())]
    for command in (*steps, *job.get("script", ())):
        if command and not command.startswith("pip install "):
            yield command


def jobs() -> dict[str, tuple[Any, list[str]]]:
    # By where it runs: a job and the files that it keeps.
    github = JOBS[0]["jobs"]["secondary-boot"]
    kept = github["steps"][-1]["with"]["path"].split()
    gitlab = JOBS[1]["secondary-boot"]
    assert gitlab["artifacts"]["paths"] == gitlab["artifacts"]["reports"]["junit"]
    return {"github": (github, kept), "gitlab": (gitlab, gitlab["artifacts"]["paths"])}


@pytest.mark.parametrize("where", ["github", "gitlab"])
def test_a_job_runs_and_leaves_its_artifacts(where: str, tree: Path) -> None:
    job, kept = jobs()[where]
    for command in commands(job):
        done = run(command, tree)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert kept
    for name in kept:
        assert (tree / name).read_text().startswith("<?xml")


def test_a_job_fails_on_a_wrong_look_up(tree: Path) -> None:
    (tree / "my_lookup.S").write_text(WRONG)
    job, _ = jobs()["gitlab"]
    assert run(next(commands(job)), tree).returncode == 1


def test_kernelci_gets_ktap(tree: Path) -> None:
    (script,) = (script for script in SCRIPTS if "--ktap" in script)
    done = run(script, tree)
    assert done.returncode == 0, done.stderr
    for name in re.findall(r"> (\S+)", script):
        assert (tree / name).read_text().startswith("KTAP version 1\n1..1\n")


@pytest.mark.parametrize("what", ["my_lookup.S", "make"])
def test_a_bisection_ends_at_the_commit(what: str, tree: Path) -> None:
    """Of a look-up that got wrong, and of a kernel that the third commit broke."""
    (script,) = (script for script in SCRIPTS if "git bisect" in script and what in script)
    subprocess.run([*GIT, "init", "-q", "-b", "main"], cwd=tree, check=True)
    image = tree / "arch/arm64/boot/Image"
    for number in range(5):
        if number == 2:
            (tree / "my_lookup.S").write_text(WRONG)
            # The first instruction of the Image branches to itself, behind "MZ".
            image.write_bytes(image.read_bytes()[:4] + b"\0\0\0\x14" + image.read_bytes()[8:])
        else:
            (tree / "my_lookup.S").write_text((tree / "my_lookup.S").read_text() + f"/* {number} */\n")
        commit(tree, f"commit {number}")
    done = run(script, tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is the first bad commit" in done.stdout
    assert "commit 2" in done.stdout.partition("is the first bad commit")[2]


def test_the_hook_holds_each_file_to_its_contract(tree: Path) -> None:
    (hook,) = (hook for hook in HOOKS if hook["id"] == JOBS[2]["repos"][0]["hooks"][0]["id"])
    (tree / "wrong.S").write_text(WRONG)
    assert run(hook["entry"] + ' "$@"', tree, "my_lookup.S").returncode == 0
    assert run(hook["entry"] + ' "$@"', tree, "my_lookup.S", "wrong.S").returncode == 1
    assert re.search(hook["files"], "my_lookup.S")
    assert not re.search(hook["files"], "my_lookup.c")


def test_every_block_of_the_page_is_run() -> None:
    assert len(JOBS) == 3
    assert len(SCRIPTS) == 3
