"""The option that CI gives: a skip, an expected failure or a passed one of those ends in status 1.

CI runs the tests in two processes, and there the reports reach the process that decides by another way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = "pytester"

_TESTS = Path(__file__).parents[1]
_NEEDED = ("conftest.py", "deep.py")
_FILES = {
    "passes": "def test_it(): pass",
    "skipped": "import pytest\n\n@pytest.mark.skip(reason='no kernel')\ndef test_it(): pass",
    "skipped inside": "import pytest\n\ndef test_it(): pytest.skip('no kernel')",
    "skipped module": "import pytest\n\npytest.skip('no kernel', allow_module_level=True)",
    "xfailed": "import pytest\n\n@pytest.mark.xfail(reason='no kernel')\ndef test_it(): assert False",
    "xpassed": "import pytest\n\n@pytest.mark.xfail(reason='no kernel')\ndef test_it(): pass",
}
_OPTIONS = ("-q", "-p", "no:cacheprovider")
_TWO_PROCESSES = ("--numprocesses", "2", "--dist", "worksteal")


def _copy(folder: Path) -> None:
    for name in _NEEDED:
        shutil.copy(_TESTS / name, folder / name)


def _named(lines: list[str]) -> list[str]:
    # The lines of the report that name tests of ours.
    return [line for line in lines if line.startswith("test_sample")]


@pytest.mark.parametrize("kind", _FILES)
def test_anything_but_a_pass_fails_the_run_and_is_named(kind: str, pytester: pytest.Pytester) -> None:
    _copy(pytester.path)
    pytester.makepyfile(test_sample=_FILES[kind], test_other="def test_other(): pass")
    done = pytester.runpytest_inprocess(*_OPTIONS, "--skips-are-failures")
    named = _named(done.outlines)
    if kind == "passes":
        assert (done.ret, named) == (0, [])
        return
    assert done.ret == 1
    assert len(named) == 1
    assert named[0].endswith("no kernel")


def test_reports_of_two_processes_are_told_alike(tmp_path: Path) -> None:
    """What is named decides on the status, so one run has all kinds."""
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    _copy(tmp_path)
    (tmp_path / "test_other.py").write_text("def test_other(): pass")
    (tmp_path / "test_sample_passes.py").write_text(_FILES["passes"])
    passed = _run(tmp_path, "--skips-are-failures", *_TWO_PROCESSES)
    assert (passed.returncode, _named(passed.stdout.splitlines())) == (0, []), passed.stdout
    names = {f"test_sample_{kind.replace(' ', '_')}.py": kind for kind in _FILES}
    for name, kind in names.items():
        (tmp_path / name).write_text(_FILES[kind])
    done = _run(tmp_path, "--skips-are-failures", *_TWO_PROCESSES)
    assert done.returncode == 1, done.stdout
    named = _named(done.stdout.splitlines())
    assert sorted(line.partition(":")[0] for line in named) == sorted(
        name for name, kind in names.items() if kind != "passes"
    ), done.stdout
    assert all(line.endswith("no kernel") for line in named), done.stdout


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *_OPTIONS, "-p", "xdist", *options]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # no others: they take long to start
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_without_the_option_a_skip_is_a_skip(pytester: pytest.Pytester) -> None:
    _copy(pytester.path)
    pytester.makepyfile(test_sample=_FILES["skipped"] + "\n\ndef test_two(): pass")
    assert pytester.runpytest_inprocess(*_OPTIONS).ret == 0
