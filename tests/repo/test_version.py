"""The version stands in one place, and a checkout that is not installed knows it too."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from emu.version import VERSION

_ROOT = Path(__file__).parents[2]


def test_the_build_takes_the_version_of_the_package() -> None:
    rules = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    assert "version" in rules["project"]["dynamic"]
    assert rules["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "emu.version.VERSION"}


def test_nothing_of_an_installation_is_asked() -> None:
    """As under tools/arm64-host."""
    hide = (
        "import importlib.metadata as m\ndef none(*a): raise m.PackageNotFoundError\nm.distribution = none\n"
    )
    code = f"{hide}from emu.cli import main\nmain(['boot', 'v3', '--cpus', '1', '--ktap'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"# emu {VERSION}\n" in done.stdout
