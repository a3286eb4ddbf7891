"""The jobs of docs/ci.md: every command in them runs, and leaves the files that the job keeps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
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
# A host's own ARCH has no Image, and a .config that lacks an answer has make ask on the terminal.
MAKEFILE = """ifneq ($(ARCH)-$(CROSS_COMPILE),arm64-aarch64-linux-gnu-)
$(error the Image is not that of arm64)
endif
Image: olddefconfig
\t@test ! -e broken
olddefconfig:
\t@touch .config
ifeq ($(filter olddefconfig,$(MAKECMDGOALS)),)
$(error make would ask)
endif
.PHONY: Image olddefconfig
"""
GIT = ("git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "core.hooksPath=")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A kernel tree with a look-up, an Image, a make as that of a kernel, and emu on the PATH."""
    image = os.environ.get("EMU_KERNEL_SMALL")
    if image is None:
        pytest.skip("EMU_KERNEL_SMALL is not set: tools/fetch-kernels small")
    folder = tmp_path / "linux"
    (folder / "arch/arm64/boot").mkdir(parents=True)
    shutil.copy(Path(image, "arch/arm64/boot/Image"), folder / "arch/arm64/boot")
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "my_lookup.S").write_text(CORRECT)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/emu"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m emu "$@"\n')
    command.chmod(0o755)
    return folder


def run(
    command: str, tree: Path, *arguments: str, variables: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        **variables,
        "PATH": f"{tree.parent / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    words = ["sh", "-ec", command, "sh", *arguments]
    return subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def commit(tree: Path, subject: str) -> None:
    for words in (("add", "-A"), ("commit", "-q", "--allow-empty", "-m", subject)):
        subprocess.run([*GIT, *words], cwd=tree, check=True)


def commands(job: Any) -> Iterator[str]:
    # What a job of GitHub or of GitLab runs. The commands that install are for their own machines.
    steps = [step.get("run", "") for step in job.get("steps", ())]
    for command in (*steps, *job.get("script", ())):
        if command and not re.match(r"pip install |sudo apt-get ", command):
            yield command


def offset(symbol: str) -> int:
    # Where the bytes of a symbol lie in the Image.
    table = Path(os.environ["EMU_KERNEL_SMALL"], "System.map").read_text().split()
    addresses = dict(zip(table[2::3], table[::3], strict=True))
    return int(addresses[symbol], 16) - int(addresses["_text"], 16)


def variables(job: Any) -> dict[str, str]:
    # What a job of GitHub or of GitLab sets.
    found: dict[str, str] = job.get("env") or job["variables"]
    return found


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
        done = run(command, tree, variables=variables(job))
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
    entry = offset("secondary_entry")
    for number in range(5):
        if number == 2:
            (tree / "my_lookup.S").write_text(WRONG)
            # The first instruction of each secondary branches to itself.
            image.write_bytes(image.read_bytes()[:entry] + b"\0\0\0\x14" + image.read_bytes()[entry + 4 :])
        else:
            (tree / "my_lookup.S").write_text((tree / "my_lookup.S").read_text() + f"/* {number} */\n")
        commit(tree, f"commit {number}")
    done = run(script, tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is the first bad commit" in done.stdout
    assert "commit 2" in done.stdout.partition("is the first bad commit")[2]


@pytest.mark.parametrize("what", ["my_lookup.S", "make"])
def test_a_bisection_stops_where_emu_says_that_its_input_is_wrong(what: str, tree: Path) -> None:
    """For git status 2 would be a bad commit, and any commit would do."""
    (script,) = (script for script in SCRIPTS if "git bisect" in script and what in script)
    subprocess.run([*GIT, "init", "-q", "-b", "main"], cwd=tree, check=True)
    for number in range(5):
        commit(tree, f"commit {number}")
        (tree / "my_lookup.S").write_text(f"/* no contract: {number} */\n")
        (tree / "arch/arm64/boot/Image").write_text(f"no kernel {number}")
    commit(tree, "commit 5")
    done = run(script, tree)
    assert "is the first bad commit" not in done.stdout
    assert "bisect run failed" in done.stdout + done.stderr


def test_what_a_job_reads_from_its_environment_it_sets() -> None:
    for job, _ in jobs().values():
        assert set(variables(job)) == {"EMU", "ARCH", "CROSS_COMPILE"}
    for name in re.findall(r"matrix\.(\w+)", str(JOBS[0])):
        hosts = JOBS[0]["jobs"]["secondary-boot"]["strategy"]["matrix"]["include"]
        assert all(name in each for each in hosts)


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
