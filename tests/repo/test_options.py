"""docs/options.md, which lists every option, is what the commands say of themselves."""

from __future__ import annotations

import sys
from pathlib import Path

from programs import run_program

_ROOT = Path(__file__).parents[2]


def test_the_page_of_options_is_up_to_date() -> None:
    """To fix it: tools/options."""
    run_program(sys.executable, "tools/options", "--check", cwd=_ROOT)


def test_it_has_every_command() -> None:
    lines = (_ROOT / "docs" / "options.md").read_text().splitlines()
    described = [line.removeprefix("## emu ") for line in lines if line.startswith("## emu ")]
    files = {path.stem for path in (_ROOT / "emu" / "cli").glob("*.py")}
    shared = {"__init__", "asked", "options", "outputs", "progress", "recording", "status", "streams"}
    assert described == sorted(files - shared - {"campaign_kept", "lookup_coverage", "lookup_proof", "whole"})
