"""docs/choices.md, which lists every name, is what the registries say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def test_the_page_of_choices_is_up_to_date() -> None:
    command = [sys.executable, "tools/choices", "--check"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run tools/choices\n{done.stderr}"
