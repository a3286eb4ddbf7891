"""Run another program in a test: what it says on stderr is shown when it fails."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest


def run_program(*command: str | Path, text: bool = True, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end and return what it printed; fail the test when its status is not 0.

    :param command: program and arguments
    :param text: stdout and stderr as str, else as bytes
    :param options: more of subprocess.run(): cwd, env, input, timeout in seconds
    """
    __tracebackhide__ = True
    done = subprocess.run(command, capture_output=True, check=False, text=text, **options)
    if done.returncode != 0:
        words = " ".join(map(str, command))
        said = done.stderr if text else done.stderr.decode(errors="replace")
        pytest.fail(f"{words}: status {done.returncode}\n{said}")
    return done
