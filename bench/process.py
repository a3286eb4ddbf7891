"""Fresh processes: how long one took, and how much memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.result import Broken, Skipped

ROOT = Path(__file__).resolve().parent.parent
KERNEL_VARIABLE = "EMU_KERNEL_612"


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that ended as it should, and what it printed.

    :ivar seconds: wall time
    :ivar cpu_seconds: user and system time, of its children too
    :ivar peak_bytes: peak resident set
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    stdout: str


def environment() -> dict[str, str]:
    """Return the environment of a measured process: compiled modules are kept, as on a user's machine."""
    mine = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    mine.pop("PYTHONPATH", None)
    return mine | {"PYTHONHASHSEED": "0"}


@cache
def compile_modules(tree: Path) -> None:
    """Compile the modules of a checkout, so that no sample pays for that, nor only one side's."""
    command = [sys.executable, "-m", "compileall", "-qq", "emu", "bench"]
    quiet = subprocess.DEVNULL
    subprocess.run(command, cwd=tree, env=environment(), stdin=quiet, stdout=quiet, check=False)


def run_python(*arguments: str, status: int = 0) -> Finished:
    """Run this Python with ``arguments`` in the project's folder.

    :raises Broken: it ended with another status
    """
    command = [sys.executable, *arguments]
    compile_modules(ROOT)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        quiet = subprocess.DEVNULL
        child = subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=quiet, stdout=out, stderr=err)
        try:
            _, wait_status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            child.wait()
            raise
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(wait_status)
        out.seek(0)
        err.seek(0)
        stdout, stderr = out.read().decode(), err.read().decode()
    if child.returncode != status:
        last = (stderr.strip().splitlines() or stdout.strip().splitlines() or ["no message"])[-1]
        raise Broken(f"{' '.join(arguments)}: status {child.returncode}: {last[:300]}")
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB, on macOS in bytes
    return Finished(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale, stdout)


def run_emu(status: int, *arguments: str) -> Finished:
    """Run ``emu`` with ``arguments``.

    :raises Broken: it ended with another status
    """
    return run_python("-m", "emu", *arguments, status=status)


def run_boot(subject: str, cpus: int, *options: str) -> Finished:
    """Run ``emu boot SUBJECT --cpus CPUS --json`` with more options; check that every CPU came online.

    :raises Broken: it did not, or the verdict is another than pass
    """
    done = run_emu(0, "boot", subject, "--cpus", str(cpus), *options, "--json")
    answer = json.loads(done.stdout)
    online = sum(cpu["outcome"] == "online" for cpu in answer["cpus"])
    if online != cpus or answer["verdict"] != "pass":
        raise Broken(f"emu boot {subject} --cpus {cpus}: verdict {answer['verdict']}, {online} CPUs online")
    return done


def run_inside(*arguments: str) -> Any:
    """Run ``python -m bench.inside`` and return the object that it printed."""
    return json.loads(run_python("-m", "bench.inside", *arguments).stdout)


def kernel() -> str:
    """Return the path of the 6.12 Image.

    :raises Skipped: the variable that names it is not set, or names no file
    """
    path = os.environ.get(KERNEL_VARIABLE, "")
    if not path:
        raise Skipped(f'{KERNEL_VARIABLE} is not set; eval "$(tools/fetch-kernels 612)"')
    if not Path(path).is_file():
        raise Skipped(f"{KERNEL_VARIABLE}={path}: no such file")
    return str(Path(path).resolve())
