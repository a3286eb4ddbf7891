"""Whole runs of ``emu boot``, from the shell's point of view."""

from __future__ import annotations

from collections.abc import Iterator

from bench.process import kernel, run_boot
from bench.result import Result


def cold_boot_612_8(rounds: int, _quick: bool) -> Iterator[Result]:
    """Debian's 6.12 with 8 CPUs, symbols in the cache: start of the process to its end."""
    image = kernel()
    run_boot(image, 8)  # the first run rebuilds the symbols, which are kept
    samples = tuple(run_boot(image, 8).seconds for _ in range(rounds))
    yield Result("cold_boot_612_8", "s", samples, at_most=0.8, note="symbols cached")


def rfc_4096(rounds: int, _quick: bool) -> Iterator[Result]:
    """The rfc design with 4,096 CPUs: wall time and peak memory."""
    runs = [run_boot("rfc", 4096) for _ in range(rounds)]
    yield Result("rfc_4096", "s", tuple(run.seconds for run in runs), at_most=20)
    yield Result("rfc_4096.memory", "MB", tuple(run.peak_bytes / 1e6 for run in runs), at_most=500)
