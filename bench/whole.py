"""A kernel that boots by itself: what goes on from a boot that is kept, and many CPUs."""

from __future__ import annotations

from bench.process import kernel, run_boot, run_inside
from bench.qemu import COVERS_WHOLE, PEER, WHOLE, against_qemu
from bench.result import Figures, Result, benchmark

_FIGURES = (
    ("restore", "ms", 15, "the boot is brought to smp_init(), its file is in memory"),
    ("run", "ms", None, "from there to 'Brought up', all of it translated"),
    ("again", "ms", 100, "the same once more, as schedules of emu explore run"),
    ("observed", "ms", 1200, "the same with each access and barrier recorded"),
)


@benchmark(
    covers="8 CPUs, from smp_init() to 'Brought up'. The first figure is the process of emu boot --depth "
    "whole --from smp_init --json, which finds that boot kept: Python's start, symbols from the cache, "
    "devices, the file read and checked, the run, the log; the others are parts, without the start of a "
    "process; CPU time"
)
def whole_kept_612_8(rounds: int, _quick: bool) -> Figures:
    """A boot that is kept at smp_init() goes on."""
    image = kernel()
    options = ("--depth", "whole", "--from", "smp_init")
    run_boot(image, 8, *options)
    runs = [run_boot(image, 8, *options) for _ in range(rounds)]
    yield Result("whole_kept_612_8", "s", tuple(run.cpu_seconds for run in runs), at_most=0.3)
    parts = [run_inside("whole", image, "8") for _ in range(rounds)]
    for name, unit, goal, note in _FIGURES:
        samples = tuple(1000 * part[name] for part in parts)
        yield Result(f"whole_kept_612_8.{name}", unit, samples, at_most=goal, note=note)


@benchmark(
    covers="128 CPUs: " + COVERS_WHOLE,
    peer=PEER,
)
def whole_612_128(rounds: int, quick: bool) -> Figures:
    """Debian's 6.12 boots by itself with 128 CPUs, against QEMU."""
    yield from against_qemu("whole_612_128", 128, 1 if quick else min(rounds, 3), 8, WHOLE)


@benchmark(covers="256 CPUs: start of the process until the kernel's own 'Brought up'; CPU time")
def whole_612_256(rounds: int, quick: bool) -> Figures:
    """Debian's 6.12 boots by itself with 256 CPUs."""
    image = kernel()
    runs = [run_boot(image, 256, "--depth", "whole") for _ in range(1 if quick else min(rounds, 3))]
    yield Result("whole_612_256", "s", tuple(run.cpu_seconds for run in runs), at_most=25)
    yield Result("whole_612_256.memory", "MB", tuple(run.peak_bytes / 1e6 for run in runs), at_most=400)
