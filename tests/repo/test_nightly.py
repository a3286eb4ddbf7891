"""tools/nightly: its table of kernels is one that .ci/small-kernel takes, and a wrong name is refused."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from programs import run_program

_ROOT = Path(__file__).parents[2]


def test_each_kernel_has_a_name_a_status_and_options() -> None:
    rows = [line.split() for line in run_program("tools/nightly", "--list", cwd=_ROOT).stdout.splitlines()]
    assert len({name for name, *_ in rows}) == len(rows) >= 10
    for name, status, *options in rows:
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert status in ("0", "1", "2", "125")
        values = options[: options.index("--")] if "--" in options else options
        assert values
        assert all(re.fullmatch(r"[A-Z0-9_]+=(y|n|-?\d+)", value) for value in values)


def test_a_name_that_it_does_not_have_is_refused() -> None:
    command = ["tools/nightly", "nonsense"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nightly: nonsense: not one of nr-cpus-4096 ")
