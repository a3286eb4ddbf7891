"""Look-ups per second: ``emu lookup``, next to the bare loop in the guest and to one engine entry a case."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bench.process import run_python
from bench.result import Result

_PUBLISHED = 22_000  # AFL++ 4.04c with unicornafl's persistent mode, 256 entries, on such a machine


def lookup_256(rounds: int, _quick: bool) -> Iterator[Result]:
    """256 entries, everybody is in the table: made, asked, poisoned, compared, and checked by the model."""
    runs = [_rates(256, 100) for _ in range(rounds)]
    emu = tuple(run["emu"] for run in runs)
    note = f"of CPU time, one core; AFL++ with unicornafl: {_PUBLISHED:,}/s published"
    yield Result("lookup_256", "/s", emu, at_least=500_000, note=note)
    ones = tuple(run["emu"] / run["one_by_one"] for run in runs)
    yield Result(
        "lookup_256.over_one_by_one", "ratio", ones, at_least=5, note="one engine entry per case, Python"
    )
    bare = tuple(run["emu"] / run["bare"] for run in runs)
    yield Result("lookup_256.of_bare", "ratio", bare, at_least=0.5, note="the loop in the guest, no checks")
    afl = tuple(rate / _PUBLISHED for rate in emu)
    yield Result("lookup_256.over_published_afl", "ratio", afl, at_least=20)


def lookup_shapes(rounds: int, _quick: bool) -> Iterator[Result]:
    """Nobody is in the table; and tables of 16 and 4,096 entries."""
    for name, entries, matches in (("256_absent", 256, 0), ("16", 16, 100), ("4096", 4096, 100)):
        runs = [_rates(entries, matches) for _ in range(rounds)]
        yield Result(f"lookup_{name}", "/s", tuple(run["emu"] for run in runs))
        yield Result(f"lookup_{name}.of_bare", "ratio", tuple(run["emu"] / run["bare"] for run in runs))


def _rates(entries: int, matches: int) -> dict[str, float]:
    found: dict[str, float] = json.loads(
        run_python("-m", "bench.lookup_rates", str(entries), str(matches)).stdout
    )
    return found
