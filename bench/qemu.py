"""128 CPUs of the same Image: emu against QEMU's system emulation."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator

from bench.process import kernel, run_boot
from bench.result import Broken, Result, Skipped

PROGRAM = "qemu-system-aarch64"
CPUS = 128
_ACCELERATORS = ("tcg,thread=multi", "tcg,thread=single")
_SECONDS_MAX = 300.0
_LINE = f"Brought up 1 node, {CPUS} CPUs".encode()
_NOTE = (
    "the two do not do the same work: QEMU boots the kernel to the end of smp_init(), console and all; emu "
    "runs the real primary to the take-over and every real secondary to secondary_start_kernel(), and plays "
    "the rest of both in Python"
)


def cold_boot_612_128(rounds: int, quick: bool) -> Iterator[Result]:
    """Start of the process until 128 CPUs are up: how many times longer QEMU takes than emu."""
    image = kernel()
    if not shutil.which(PROGRAM):
        raise Skipped(f"{PROGRAM}: not found (Debian: qemu-system-arm)")
    version = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    run_boot(image, CPUS)
    trials: dict[str, float] = {}
    for accelerator in _ACCELERATORS:  # one that takes longer than the best so far is cut off
        seconds = _boot(image, accelerator, min(trials.values(), default=_SECONDS_MAX))
        if seconds is not None:
            trials[accelerator] = seconds
    if not trials:
        raise Broken(f"{PROGRAM}: {CPUS} CPUs were not up after {_SECONDS_MAX:.0f} s")
    best = min(trials, key=lambda accelerator: trials[accelerator])
    theirs, ours = [trials[best]], [run_boot(image, CPUS).seconds]
    for _ in range(0 if quick else rounds - 1):  # in turn, so that a slow minute of the machine slows both
        seconds = _boot(image, best, _SECONDS_MAX)
        if seconds is None:
            raise Broken(f"{PROGRAM} -accel {best}: {CPUS} CPUs were not up after {_SECONDS_MAX:.0f} s")
        theirs.append(seconds)
        ours.append(run_boot(image, CPUS).seconds)
    ratios = tuple(qemu / emu for qemu, emu in zip(theirs, ours, strict=True))
    facts = {"qemu": version.splitlines()[0], "accelerator": best, "accelerators_tried": list(_ACCELERATORS)}
    yield Result("cold_boot_612_128", "times", ratios, at_least=50, note=_NOTE, facts=facts)
    yield Result("cold_boot_612_128.qemu", "s", tuple(theirs), note=f"-accel {best}", facts=facts)
    yield Result("cold_boot_612_128.emu", "s", tuple(ours))


def _boot(image: str, accelerator: str, seconds_max: float) -> float | None:
    # Seconds until QEMU's guest says that all are up, or None when that takes longer than `seconds_max`.
    command = [PROGRAM, "-machine", "virt,gic-version=3", "-cpu", "cortex-a72", "-smp", str(CPUS), "-m", "2G"]
    command += ["-accel", accelerator, "-kernel", image, "-append", "earlycon=pl011,0x9000000 nokaslr"]
    command += ["-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none"]
    start = time.perf_counter()
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    late = threading.Event()

    def expire() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(seconds_max, expire)
    timer.start()
    last = b"no output"
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if _LINE in line:
                return time.perf_counter() - start
            last = line.strip() or last
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    if late.is_set():
        return None
    raise Broken(f"{PROGRAM} -accel {accelerator}: ended before all CPUs were up: {last.decode()[:200]}")
