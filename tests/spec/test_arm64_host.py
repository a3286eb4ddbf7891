"""An arm64 host, emulated: commands print there what they print here.

Keystone has no wheel for it, so fragments are assembled by GNU as, and Unicorn is another build with other
offsets. All commands in one process of each host: Python starts in seconds there.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from programs import run_program

ROOT = Path(__file__).resolve().parents[2]
HOST = os.environ.get("EMU_ARM64_HOST", "")

pytestmark = pytest.mark.skipif(
    not HOST, reason="EMU_ARM64_HOST is not set: tools/arm64-host, once tools/arm64-host has fetched it"
)

# Each command in turn; what it printed and its status.
RUNNER = """
import contextlib, io, json, platform, sys
from emu.cli import main
said = []
for words in json.loads(sys.argv[1]):
    out, err, status = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            status = end.code
    said.append([words, status, out.getvalue(), err.getvalue()])
print(json.dumps([platform.machine(), said]))
"""


def test_commands_print_the_same_on_an_arm64_host(tmp_path: Path) -> None:
    commands = [
        ["info", "v3"],
        ["boot", "v3", "--cpus", "4"],
        ["boot", "examples/my_boot.S", "--cpus", "3", "--json"],
        ["boot", "v3", "--cpus", "3", "--memory", "caches", "--grain", "operation", "--fault", "2:no-clean"],
        ["boot", os.environ.get("EMU_KERNEL_SMALL", "mainline"), "--cpus", "4"],
        ["lookup", "v3", "--cases", "2000", "--nr-cpus", "8"],
        ["explore", "v3", "--cpus", "3"],
        ["explore", "mainline", "--cpus", "3", "--bringup", "parallel", "--force"],
    ]
    # A cache of its own: what is kept there was assembled there.
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "COLUMNS": "80"}
    environment["EMU_CI_CACHE"] = os.environ.get(
        "EMU_CI_CACHE", str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emu-ci")
    )
    words = ("-c", RUNNER, json.dumps(commands))
    there = run_program(HOST, "python", *words, cwd=ROOT, env=environment).stdout
    here = run_program(sys.executable, *words, cwd=ROOT).stdout
    (machine, said), (_, expected) = json.loads(there), json.loads(here)
    assert machine == "aarch64"
    rate = re.compile(r"\([\d,]+ cases/s\)")
    for ours, theirs in zip(expected, said, strict=True):
        assert rate.sub("", json.dumps(theirs)) == rate.sub("", json.dumps(ours))
