"""The option that CI gives: a skip, an expected failure or a passed one of those ends in status 1.

CI runs the tests in two processes, and there the reports reach the process that decides by another way.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CONFTEST = Path(__file__).parents[1] / "conftest.py"
_FILES = {
    "passes": "def test_it(): pass",
    "skipped": "import pytest\n\n@pytest.mark.skip(reason='no kernel')\ndef test_it(): pass",
    "skipped inside": "import pytest\n\ndef test_it(): pytest.skip('no kernel')",
    "skipped module": "import pytest\n\npytest.skip('no kernel', allow_module_level=True)",
    "xfailed": "import pytest\n\n@pytest.mark.xfail(reason='no kernel')\ndef test_it(): assert False",
    "xpassed": "import pytest\n\n@pytest.mark.xfail(reason='no kernel')\ndef test_it(): pass",
}
_PROCESSES = {"one process": (), "two processes": ("--numprocesses", "2", "--dist", "worksteal")}


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("processes", _PROCESSES)
@pytest.mark.parametrize("kind", _FILES)
def test_anything_but_a_pass_fails_the_run_and_is_named(kind: str, processes: str, tmp_path: Path) -> None:
    if processes != "one process":
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    shutil.copy(_CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_sample.py").write_text(_FILES[kind])
    (tmp_path / "test_other.py").write_text("def test_other(): pass")
    done = _run(tmp_path, "--skips-are-failures", *_PROCESSES[processes])
    named = [line for line in done.stdout.splitlines() if line.startswith("test_sample.py")]
    if kind == "passes":
        assert (done.returncode, named) == (0, [])
        return
    assert done.returncode == 1, done.stdout
    assert len(named) == 1, done.stdout
    assert named[0].endswith("no kernel"), done.stdout


def test_without_the_option_a_skip_is_a_skip(tmp_path: Path) -> None:
    shutil.copy(_CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_sample.py").write_text(_FILES["skipped"] + "\n\ndef test_two(): pass")
    assert _run(tmp_path).returncode == 0
