"""A kernel that boots by itself: what goes on from a boot that is kept, and many CPUs."""

from __future__ import annotations

from bench.process import kernel, run_boot, run_inside
from bench.qemu import COVERS_WHOLE, PEER, WHOLE, against_qemu
from bench.result import Figures, Result, benchmark

_PROCESSES = ("whole", "schedule", "recorded")
_FIGURES = (
    ("load", "ms", None, "its file is in memory: found, read, checked"),
    ("run", "ms", None, "from there to 'Brought up', all of it translated"),
    ("restore", "ms", 15, "of a schedule: a copy of the process that stands there begins, and ends"),
    ("again", "ms", 100, "the run of a schedule, which has all of it translated"),
    ("observed", "ms", 1200, "the same with each access and barrier recorded"),
)


@benchmark(
    covers="8 CPUs, from smp_init() to 'Brought up'. The first figure is that boot loaded and run on; the "
    "process is all of emu boot --depth whole --from smp_init --json: Python's start, the kernel and its "
    "symbols from the cache, devices, these two, the log; the others are parts; CPU time"
)
def whole_kept_612_8(rounds: int, _quick: bool) -> Figures:
    """A boot that is kept at smp_init() goes on."""
    image = kernel()
    options = ("--depth", "whole", "--from", "smp_init")
    run_boot(image, 8, *options)
    runs = [run_boot(image, 8, *options) for _ in range(rounds)]
    parts = [
        {name: seconds for what in _PROCESSES for name, seconds in run_inside(what, image, "8").items()}
        for _ in range(rounds)
    ]
    yield Result("whole_kept_612_8", "s", tuple(part["load"] + part["run"] for part in parts), at_most=0.3)
    yield Result("whole_kept_612_8.process", "s", tuple(run.cpu_seconds for run in runs))
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
