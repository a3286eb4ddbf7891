"""Look-ups per second: ``emu lookup``, next to the bare loop in the guest and to one engine entry a case."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.process import run_emu, run_python
from bench.result import Absent, Broken, Figures, Result, benchmark

_NATIVE = Path(__file__).with_name("native_lookup.c")
# AFL++ 4.04c with unicornafl, persistent mode, a C harness that poisons nothing: look-ups/s of one core.
_AFL = {"256": 34_700, "16": 38_800}
_PEER = (
    "AFL++ 4.04c with unicornafl, persistent mode, C harness, on a machine of this kind: {:,}/s, "
    "published, not run here (.over_afl is against that)"
)
_LIMIT = ".bare: the least loop in the guest, no checks; .one_by_one: an engine entry for each case"
_COVERS = (
    "the random phase of emu lookup for a look-up without findings, {}: the case is made, every register "
    "poisoned, asked, compared, checked by the model, one case of each batch looked at closely; CPU time "
    "of one core, the three by turns in one process, ratios of one turn"
)


@benchmark(
    covers=_COVERS.format("v3 (.v2: v2), 256 entries, 75 % in the table (.all: 100 %)"),
    peer=_PEER.format(_AFL["256"]),
    limit=_LIMIT
    + "; .native: the loop in C on the host; .qemu_user: the same, built for arm64, in qemu-aarch64",
)
def lookup_256(rounds: int, _quick: bool) -> Figures:
    """Tables of 256 entries."""
    with tempfile.TemporaryDirectory() as folder:
        questions = Path(folder) / "questions"
        runs = [_rates("v3", 256, 75, questions) for _ in range(rounds)]
        yield from _figures(
            "lookup_256", runs, at_least=500_000, of_bare=0.5, over_one_by_one=5, afl=_AFL["256"]
        )
        for name, subject, matches in (("v2", "v2", 75), ("all", "v3", 100)):
            others = tuple(_rates(subject, 256, matches)["emu"] for _ in range(rounds))
            yield Result(f"lookup_256.{name}", "/s", others)
        yield _host("lookup_256.native", "gcc", [], questions, rounds)
        yield _host("lookup_256.qemu_user", "aarch64-linux-gnu-gcc", ["qemu-aarch64"], questions, rounds)


@benchmark(
    covers=_COVERS.format(
        "v3: 16 entries (75 %), 256 entries with nobody in the table, 4,096 entries (75 %)"
    ),
    peer=_PEER.format(_AFL["16"]) + " for 16 entries",
    limit=_LIMIT,
)
def lookup_shapes(rounds: int, _quick: bool) -> Figures:
    """Other tables, and nobody in the table."""
    for name, entries, matches, goal in (
        ("lookup_16", 16, 75, 1_250_000),
        ("lookup_256_absent", 256, 0, None),
        ("lookup_4096", 4096, 75, None),
    ):
        runs = [_rates("v3", entries, matches) for _ in range(rounds)]
        yield from _figures(name, runs, at_least=goal, afl=_AFL["16"] if entries == 16 else None)


@benchmark(
    covers="cases a second of CPU time of whole processes, as the user pays for them: emu lookup SUBJECT "
    "--nr-cpus 256 with its 200,000 random cases: Python's start, every small table and the regression "
    "corpus, the races; .findings: rfc, which is wrong for an empty table, so that the search takes "
    "batches of 256, looks at wrong answers one by one and stops when map after map shows only what is "
    "known",
    peer="AFL++ as in lookup_256; Hypothesis, a test of one look-up for each draw: 2,629/s, or 71/s when "
    "it draws the table too; published, not run here",
    limit="lookup_256, which is the random phase alone",
)
def lookup_command(rounds: int, _quick: bool) -> Figures:
    """The whole command."""
    for name, subject in (("lookup_command", "v3"), ("lookup_command.findings", "rfc")):
        samples, left = [], 0
        for _ in range(rounds):
            done = run_emu(1 if subject == "rfc" else 0, "lookup", subject, "--nr-cpus", "256", "--json")
            answer = json.loads(done.stdout)
            samples.append(answer["counters"]["cases"] / done.cpu_seconds)
            left = sum(row["cases"] for row in answer["left_out"])
        note = f"{answer['counters']['cases']:,} cases, {left:,} left out"
        yield Result(name, "/s", tuple(samples), note=note)


def _figures(
    name: str,
    runs: list[dict[str, float]],
    *,
    at_least: float | None = None,
    of_bare: float | None = None,
    over_one_by_one: float | None = None,
    afl: int | None = None,
) -> Figures:
    def all_of(key: str) -> tuple[float, ...]:
        return tuple(run[key] for run in runs)

    yield Result(name, "/s", all_of("emu"), at_least=at_least)
    yield Result(f"{name}.bare", "/s", all_of("bare"))
    yield Result(f"{name}.of_bare", "ratio", all_of("of_bare"), at_least=of_bare)
    yield Result(f"{name}.one_by_one", "/s", all_of("one_by_one"))
    yield Result(f"{name}.over_one_by_one", "times", all_of("over_one_by_one"), at_least=over_one_by_one)
    if afl is not None:
        yield Result(
            f"{name}.over_afl", "times", tuple(rate / afl for rate in all_of("emu")), note="published"
        )


def _rates(subject: str, entries: int, matches: int, questions: Path | None = None) -> dict[str, float]:
    arguments = ["-m", "bench.lookup_rates", subject, str(entries), str(matches)]
    found: dict[str, float] = json.loads(
        run_python(*arguments, *([str(questions)] if questions else [])).stdout
    )
    return found


def _host(name: str, compiler: str, runner: list[str], questions: Path, rounds: int) -> Result | Absent:
    # The loop in C, built by `compiler` and run under `runner`.
    for program in (compiler, *runner):
        if not shutil.which(program):
            return Absent(name, f"{program}: not found")
    built_at = questions.with_name(f"lookup-{compiler}")
    static = ["-static"] if runner else []
    command = [compiler, "-O2", *static, "-o", str(built_at), str(_NATIVE)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        if runner:
            return Absent(name, f"{compiler}: no arm64 C library (Debian: libc6-dev-arm64-cross)")
        raise Broken(f"{' '.join(command)}: {built.stderr.strip()[-300:]}")
    samples = []
    for _ in range(rounds):
        done = subprocess.run(
            [*runner, str(built_at), str(questions)], capture_output=True, text=True, check=False
        )
        if done.returncode or done.stderr:
            raise Broken(f"{built_at.name}: status {done.returncode}: {done.stderr.strip()[-300:]}")
        samples.append(float(done.stdout))
    return Result(name, "/s", tuple(samples))
