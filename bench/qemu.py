"""The same Image to the same number of CPUs: emu against QEMU's system emulation."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

from bench.process import kernel, run_boot
from bench.result import Broken, Figures, Result, Skipped, benchmark

PROGRAM = "qemu-system-aarch64"
_ACCELERATORS = ("tcg,thread=single", "tcg,thread=multi")
_WALL_SECONDS_MAX = 900.0
_COVERS = (
    "start of the process until CPUs are up, in CPU time of the process, by turns. The two do not do the "
    "same work: QEMU boots the kernel to 'Brought up' at the end of smp_init(), console and all; emu "
    "runs the real primary to the take-over and every real secondary to secondary_start_kernel(), plays "
    "the rest of both in Python, and checks every CPU"
)
WHOLE = ("--depth", "whole", "--append", "earlycon keep_bootcon")
PEER = "QEMU's TCG, the better of one thread and one for each CPU"


@benchmark(covers="8 CPUs: " + _COVERS, peer=PEER)
def qemu_612_8(rounds: int, quick: bool) -> Figures:
    """Debian's 6.12 with 8 CPUs, against QEMU."""
    yield from against_qemu("qemu_612_8", 8, 1 if quick else rounds, None)


@benchmark(covers="128 CPUs: " + _COVERS, peer=PEER)
def qemu_612_128(rounds: int, quick: bool) -> Figures:
    """Debian's 6.12 with 128 CPUs, against QEMU."""
    yield from against_qemu("qemu_612_128", 128, 1 if quick else min(rounds, 3), 50)


COVERS_WHOLE = (
    "start of the process until the kernel's own 'Brought up', console and all: the same work on both "
    "sides, GICv3, CPU time of the process, by turns"
)


@benchmark(covers="8 CPUs: " + COVERS_WHOLE, peer=PEER)
def whole_612_8(rounds: int, quick: bool) -> Figures:
    """Debian's 6.12 boots by itself with 8 CPUs, against QEMU."""
    yield from against_qemu("whole_612_8", 8, 1 if quick else rounds, 1 / 1.3, WHOLE)


def version() -> str:
    """Return what QEMU says of itself.

    :raises Skipped: there is none
    """
    if not shutil.which(PROGRAM):
        raise Skipped(f"{PROGRAM}: not found (Debian: qemu-system-arm)")
    return subprocess.run(
        [PROGRAM, "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]


def against_qemu(
    name: str, cpus: int, rounds: int, at_least: float | None, options: Sequence[str] = ()
) -> Figures:
    """Yield how many times QEMU's CPU time is ours, to boot the 6.12 Image with so many CPUs, and both.

    :param options: of ``emu boot``
    """
    image = kernel()
    program = version()
    run_boot(image, cpus, *options)
    trials: dict[str, float] = {}
    wall_seconds_max = _WALL_SECONDS_MAX
    for accelerator in _ACCELERATORS:  # the second is cut off when it takes longer
        start = time.perf_counter()
        seconds = _boot(image, cpus, accelerator, wall_seconds_max)
        wall_seconds_max = time.perf_counter() - start
        if seconds is not None:
            trials[accelerator] = seconds
    if not trials:
        raise Broken(f"{PROGRAM}: {cpus} CPUs were not up after {_WALL_SECONDS_MAX:.0f} s")
    best = min(trials, key=lambda accelerator: trials[accelerator])
    theirs, ours = [trials[best]], [run_boot(image, cpus, *options).cpu_seconds]
    for _ in range(rounds - 1):
        seconds = _boot(image, cpus, best, _WALL_SECONDS_MAX)
        if seconds is None:
            raise Broken(f"{PROGRAM} -accel {best}: {cpus} CPUs were not up after {_WALL_SECONDS_MAX:.0f} s")
        theirs.append(seconds)
        ours.append(run_boot(image, cpus, *options).cpu_seconds)
    ratios = tuple(qemu / emu for emu, qemu in zip(ours, theirs, strict=True))
    facts = {"qemu": program, "accelerator": best, "trials": trials}
    yield Result(name, "times", ratios, at_least=at_least, note="QEMU's time divided by ours", facts=facts)
    yield Result(f"{name}.qemu", "s", tuple(theirs), note=f"{program}, -accel {best}", facts=facts)
    yield Result(f"{name}.emu", "s", tuple(ours))


def _boot(image: str, cpus: int, accelerator: str, wall_seconds_max: float) -> float | None:
    # CPU seconds until QEMU's guest says that all are up, or None when that takes too long.
    command = [PROGRAM, "-machine", "virt,gic-version=3", "-cpu", "cortex-a72", "-smp", str(cpus), "-m", "2G"]
    command += ["-accel", accelerator, "-kernel", image, "-append", "earlycon=pl011,0x9000000 nokaslr"]
    command += ["-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none"]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    late, up, last = threading.Event(), False, b"no output"

    def expire() -> None:
        late.set()
        os.kill(child.pid, signal.SIGKILL)

    timer = threading.Timer(wall_seconds_max, expire)
    timer.start()
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if f"Brought up 1 node, {cpus} CPUs".encode() in line:
                up = True
                break
            last = line.strip() or last
    finally:
        timer.cancel()
        os.kill(child.pid, signal.SIGKILL)  # not child.kill(), which reaps one that has ended
        _, wait_status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(wait_status)
        if child.stdout is not None:
            child.stdout.close()
    if up:
        return usage.ru_utime + usage.ru_stime
    if late.is_set():
        return None
    raise Broken(f"{PROGRAM} -accel {accelerator}: ended before all CPUs were up: {last.decode()[:200]}")
