"""Whole runs of ``emu boot``, from the shell's point of view."""

from __future__ import annotations

import json

from bench.process import kernel, run_boot, run_emu, run_inside
from bench.result import Broken, Figures, Result, benchmark

_SIZES = (8, 128, 512)


@benchmark(
    covers="emu boot IMAGE --cpus 8 --json, start of the process to its end: Python's start, symbols "
    "from the cache, the real primary to the take-over, 7 real secondaries, every rule; CPU time",
    peer="QEMU, which boots on to the end of smp_init(): qemu_612_8",
)
def cold_boot_612_8(rounds: int, _quick: bool) -> Figures:
    """Debian's 6.12 with 8 CPUs, a cold process."""
    image = kernel()
    run_boot(image, 8)  # the first run rebuilds the symbols, which are kept
    runs = [run_boot(image, 8) for _ in range(rounds)]
    yield Result("cold_boot_612_8", "s", tuple(run.cpu_seconds for run in runs), at_most=0.8)
    yield Result(
        "cold_boot_612_8.wall", "s", tuple(run.seconds for run in runs), note="wall time of the same runs"
    )
    yield Result("cold_boot_612_8.memory", "MB", tuple(run.peak_bytes / 1e6 for run in runs))


@benchmark(
    covers="what one more secondary of Debian's 6.12 costs. as_paid: whole processes of emu boot --json, "
    "(t(128) - t(8)) / 120: its context, its lines in log and table, every rule. run: machine.run() "
    "alone, kick to arrival, from 8 to 512 CPUs, cpuhp core included. CPU time",
    peer="QEMU, one more of 128: (qemu_612_128.qemu - qemu_612_8.qemu) / 120",
)
def per_secondary_612(rounds: int, _quick: bool) -> Figures:
    """Each further secondary, as the user pays for it and as the machine runs it."""
    image = kernel()
    run_boot(image, 8)
    paid: list[float] = []
    times: list[dict[int, float]] = []
    few, many, most = _SIZES
    for _ in range(rounds):
        whole = {cpus: run_boot(image, cpus).cpu_seconds for cpus in (few, many)}
        paid.append(1000 * (whole[many] - whole[few]) / (many - few))
        times.append({cpus: 1000 * run_inside("bring-up", image, str(cpus))["seconds"] for cpus in _SIZES})
    slopes = tuple((t[most] - t[few]) / (most - few) for t in times)
    begin = [(t[many] - t[few]) / (many - few) for t in times]
    end = [(t[most] - t[many]) / (most - many) for t in times]
    flat = tuple(later / early for early, later in zip(begin, end, strict=True))
    yield Result("per_secondary_612.as_paid", "ms", tuple(paid), note="process and all, 8 to 128 CPUs")
    yield Result(
        "per_secondary_612.run", "ms", slopes, at_most=0.15, note="machine.run() alone, 8 to 512 CPUs"
    )
    yield Result(
        "per_secondary_612.flat", "ratio", flat, at_most=1.5, note="run: slope 128..512 / slope 8..128"
    )


@benchmark(
    covers="emu boot rfc --cpus 4096 --json, start of the process to its end: our own fragments, every "
    "rule; CPU time"
)
def rfc_4096(rounds: int, _quick: bool) -> Figures:
    """The rfc design with 4,096 CPUs."""
    runs = [run_boot("rfc", 4096) for _ in range(rounds)]
    yield Result("rfc_4096", "s", tuple(run.cpu_seconds for run in runs), at_most=20)
    yield Result("rfc_4096.memory", "MB", tuple(run.peak_bytes / 1e6 for run in runs), at_most=500)


@benchmark(
    covers="emu compare v3 --cpus 4096 --latency kvm-128 --json, start of the process to its end: serial, "
    "split and parallel, every rule, as many processes as cores; wall time, and CPU time of all of them"
)
def compare_4096(rounds: int, quick: bool) -> Figures:
    """Three bring-ups of v3 with 4,096 CPUs, compared."""
    words = ("compare", "v3", "--cpus", "4096", "--latency", "kvm-128", "--json")
    runs = [run_emu(0, *words) for _ in range(1 if quick else min(rounds, 3))]
    for run in runs:
        if [each["online"] for each in json.loads(run.stdout)["runs"]] != [4096] * 3:
            raise Broken("emu compare: not every CPU came online")
    yield Result("compare_4096", "s", tuple(run.seconds for run in runs), at_most=30, note="wall time")
    yield Result("compare_4096.cpu", "s", tuple(run.cpu_seconds for run in runs))
