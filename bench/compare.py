"""``python -m bench --compare TREE``: the CPU time of another checkout's emu and of this one, in turn.

Both trees run the same commands, in this Python. A pair is one process of each tree; within it the two run
the command by turns, A B B A ..., so that a busy neighbour meets both. The first run of each process is cold
(it pays for imports and caches), the others are not; short commands are repeated until a sample is long
enough to time. What is reported is the median of our CPU time divided by theirs, sample by sample, and the
interval that holds that median in 95 of 100 cases. Wall time on a shared machine would say nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil, comb
from pathlib import Path
from statistics import median
from typing import IO, Any

from bench.compare_gdb import step_seconds
from bench.process import KERNEL_VARIABLE, ROOT, compile_modules, environment, kernel
from bench.result import Broken, Skipped, number

LIMIT = 1.05  # a figure may be so many times what it was
_SAMPLES_MIN = 6  # fewer have no interval of 95 %
_PAIRS, _PAIRS_QUICK = 6, 3  # processes of each tree
_TURNS, _TURNS_QUICK = 4, 2  # samples of each process behind the cold one
_SAMPLE_SECONDS, _REPEATS_MAX = 0.4, 100
_KERNEL, _TRACE = "KERNEL", "TRACE"  # stand for paths in WORKLOADS
_REPEATER = Path(__file__).with_name("repeater.py")

# Arguments of emu, and the exit status: 0.05 to 0.3 s each, so that many pairs fit.
WORKLOADS: dict[str, tuple[str, int]] = {
    "help": ("--help", 0),
    "info_v3": ("info v3", 0),
    "boot_v3_8": ("boot v3 --cpus 8", 0),
    "boot_rfc_128": ("boot rfc --cpus 128", 0),
    "boot_612_8": (f"boot {_KERNEL} --cpus 8", 0),
    "boot_612_128": (f"boot {_KERNEL} --cpus 128", 0),
    "operation_grain": ("boot v3 --cpus 80 --grain operation --scheduler random:1", 0),
    "instruction_grain": ("boot v3 --cpus 48 --grain instruction --scheduler random:1", 0),
    "caches": ("boot v3 --cpus 48 --memory caches", 0),
    "cycle_kexec": ("boot v3 --cpus 64 --cycle 2 --kexec v3 --scheduler timed", 0),
    "trace_operations": (f"boot v3 --cpus 16 --trace {_TRACE}", 0),
    "trace_registers": (f"trace v3 --cpus 64 -o {_TRACE}", 0),
    "lookup_v3_16": ("lookup v3 --nr-cpus 16 --cases 200000", 0),
    "lookup_v3_256": ("lookup v3 --nr-cpus 256 --cases 20000", 0),
    "lookup_rfc_256": ("lookup rfc --nr-cpus 256 --cases 20000", 1),
    "explore_racy_3": ("explore mainline --cpus 4 --bringup parallel --force", 1),
    "explore_v3_11": ("explore v3 --cpus 12", 0),
    "explore_caches": ("explore v3 --cpus 3 --memory caches", 0),
    "explore_spin_table": ("explore v3 --cpus 2 --enable-method spin-table --memory caches", 0),
    "explore_612_3": (f"explore {_KERNEL} --cpus 3", 0),
}
GDB_STEPS = "gdb_steps"  # a figure that is no command: see compare_gdb
HEADER = f"{'figure':<24} {'runs':>5} {'theirs':>10} {'ours':>10}  {'ratio':<7} {'interval':<12} {'least':<6}"


@dataclass(frozen=True, slots=True)
class Compared:
    """CPU seconds of one figure, run by run in the same order: the other tree's and ours."""

    name: str
    theirs: tuple[float, ...]
    ours: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours divided by theirs, run by run; above 1 we are slower."""
        return tuple(b / a for a, b in zip(self.theirs, self.ours, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true median of the ratios lies with 95 % confidence: two of the ratios, by rank."""
        ratios = sorted(self.ratios)
        rank = _rank(len(ratios))
        return ratios[rank], ratios[-1 - rank]

    @property
    def least(self) -> float:
        """Our least time divided by their least: what a busy neighbour disturbs last."""
        return min(self.ours) / min(self.theirs)

    @property
    def verdict(self) -> str:
        """``WORSE``, ``unclear`` when the spread does not let that be said, else nothing."""
        if self.ratio <= LIMIT:
            return ""
        sure = len(self.ratios) >= _SAMPLES_MIN and self.interval[0] > 1
        return "WORSE" if sure and self.least > 1 + (LIMIT - 1) / 2 else "unclear"

    def row(self) -> str:
        """Return the line of the table."""
        low, high = self.interval
        times = (f"{number(1000 * median(seconds))} ms" for seconds in (self.theirs, self.ours))
        left = " ".join(f"{text:>10}" for text in times)
        spread = f"{low:.3f}-{high:.3f}"
        return (
            f"{self.name:<24} {len(self.ours):>5} {left}  {self.ratio:<7.3f} {spread:<12} {self.least:<6.3f} "
            f"{self.verdict}".rstrip()
        )

    def as_json(self) -> dict[str, Any]:
        """Return the object of the JSON report."""
        return {
            "name": self.name,
            "theirs_seconds": list(self.theirs),
            "ours_seconds": list(self.ours),
            "ratio": self.ratio,
            "interval": list(self.interval),
            "ratio_of_least": self.least,
            "verdict": self.verdict or "not worse",
        }


def compare(name: str, tree: Path, pairs: int, turns: int) -> tuple[Compared, Compared]:
    """Return the cold runs of a workload, and its other samples.

    :param tree: root of the other checkout
    :param pairs: processes of each tree
    :param turns: samples of each behind the cold one
    :raises Skipped: it needs a kernel and there is none
    :raises Broken: a run did not end as it should
    """
    text, status = WORKLOADS[name]
    image = kernel() if _KERNEL in text.split() else ""
    cold: tuple[list[float], list[float]] = [], []
    warm: tuple[list[float], list[float]] = [], []
    with tempfile.TemporaryDirectory() as folder:
        words = {_KERNEL: image, _TRACE: str(Path(folder) / "trace")}
        arguments = [words.get(word, word) for word in text.split()]
        for pair in range(pairs):
            with ExitStack() as stack:
                repeats = 1
                sides = [stack.enter_context(_Repeater.start(root)) for root in (tree, ROOT)]
                for turn in range(1 + turns):
                    if turn == 1:
                        once = max(side.run(arguments, status) for side in sides)
                        repeats = min(ceil(_SAMPLE_SECONDS / max(once, 1e-3)), _REPEATS_MAX)
                    seconds = [0.0, 0.0]
                    for number in range(repeats if turn else 1):
                        for side in (0, 1) if (pair + turn + number) % 2 == 0 else (1, 0):
                            seconds[side] += sides[side].run(arguments, status) / repeats
                    for side in (0, 1):
                        (warm if turn else cold)[side].append(seconds[side])
    return (
        Compared(name, tuple(cold[0]), tuple(cold[1])),
        Compared(f"{name}.again", tuple(warm[0]), tuple(warm[1])),
    )


def figures(
    names: list[str], tree: Path, quick: bool, rounds: int | None
) -> Iterator[Compared | tuple[str, Exception]]:
    """Compare every workload of ``names``, or all; one that cannot be run comes as name and reason."""
    pairs, turns = (_PAIRS_QUICK, _TURNS_QUICK) if quick else (_PAIRS, _TURNS)
    pairs = rounds or pairs
    for name in names or [*WORKLOADS, GDB_STEPS]:
        try:
            if name == GDB_STEPS:
                theirs, ours = step_seconds(tree, pairs, turns)
                yield Compared(name, tuple(theirs), tuple(ours))
                continue
            yield from compare(name, tree, pairs, turns)
        except (Skipped, Broken) as reason:
            yield name, reason


def _rank(count: int) -> int:
    # How many of the sorted samples may be cut off at each end so that the rest holds the median with 95 %
    # confidence (the binomial distribution; with fewer than 6 samples none, and then it is less than 95 %).
    below, rank = 0.0, -1
    while below <= 0.025:
        rank += 1
        below += comb(count, rank) / 2**count
    return max(rank - 1, 0)


class _Repeater:
    # A process of one tree that runs commands.

    def __init__(self, tree: Path, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._tree = tree
        self._process = process
        self._errors = errors

    @classmethod
    @contextmanager
    def start(cls, tree: Path) -> Iterator[_Repeater]:
        compile_modules(tree)
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [sys.executable, str(_REPEATER), str(tree)],
                cwd=tree,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                bufsize=1,
            )
            try:
                yield cls(tree, process, errors)
            finally:
                process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        pipe.close()

    def run(self, arguments: list[str], status: int) -> float:
        # CPU seconds of one run.
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(arguments) + "\n")
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"status": "none"}
        if answer["status"] != status:
            self._process.kill()
            self._process.wait()
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
            command = f"{self._tree}: emu {' '.join(arguments)}"
            raise Broken(f"{command}: status {answer['status']}, not {status}: {last[:300]}")
        return float(answer["seconds"])


def check_names(names: list[str]) -> str:
    """Return what is wrong with these names of figures, or nothing."""
    known = [*WORKLOADS, GDB_STEPS]
    wrong = [name for name in names if name not in known]
    return f"{wrong[0]}: not one of {', '.join(known)}" if wrong else ""


def note() -> str:
    """Return what the table means."""
    return (
        "CPU time of the process and its children. ratio: ours divided by theirs, median of the samples; "
        "below 1 is faster. interval: of that median, 95 %. least: our least time by theirs. NAME is the "
        "first run of a fresh process, NAME.again a later one. "
        f"WORSE: over {LIMIT}, all of the interval over 1, at least {_SAMPLES_MIN} samples. "
        f"unclear: over {LIMIT}, more --rounds must decide. {KERNEL_VARIABLE} names the 6.12 Image."
    )
