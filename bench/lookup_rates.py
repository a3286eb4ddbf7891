"""Look-ups per second in one process: emu's search, the bare loop inside the guest, one engine entry each.

``python -m bench.lookup_rates SUBJECT ENTRIES MATCHES [FILE]`` prints one object. The three take turns, so
that what else the machine does meets all of them; ratios are of one turn. FILE gets the questions of the bare
loop for :file:`bench/native_lookup.c`: u64 entries, u64 questions, then the table and the MPIDRs.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from bench.bare import BareLookup
from emu.fuzz.built_lookup import UnderTest
from emu.fuzz.phases import BATCH, Phases

_TURNS = 7


def measure(name: str, entries: int, matches: int, questions: Path | None) -> dict[str, Any]:
    """Return cases per second of CPU time of each of the three, and their ratios: medians of the turns.

    :raises AssertionError: a wrong answer, after which a search does other work than it does for right ones
    """
    under_test = UnderTest(name)
    lookup = under_test.at(entries)
    bare = BareLookup(entries, matches)
    if questions is not None:
        data = [entries, len(bare.mpidrs), *bare.table, *bare.mpidrs]
        questions.write_bytes(struct.pack(f"<{len(data)}Q", *data))
    cases = max(10 * BATCH * 256 // entries, BATCH)
    turns: list[dict[str, float]] = []
    lookup.wrong_of([None] * entries, [1 << 31])  # translated, placed, warm
    for turn in range(_TURNS):
        search = Phases(under_test)
        rates: dict[str, float] = {}
        start = time.process_time()
        for _ in search.random([lookup], cases, Random(turn + 1), matches):
            pass
        rates["emu"] = search.cases / (time.process_time() - start)
        assert not search.met, f"{name}: {search.met[0].wrong}"
        assert search.cases >= cases, f"{search.cases} of {cases} cases"
        start = time.process_time()
        rates["bare"] = sum(bare.batch() for _ in range(cases // BATCH)) / (time.process_time() - start)
        start = time.process_time()
        rates["one_by_one"] = bare.one_by_one() / (time.process_time() - start)
        rates["of_bare"] = rates["emu"] / rates["bare"]
        rates["over_one_by_one"] = rates["emu"] / rates["one_by_one"]
        turns.append(rates)
    return {key: median(rates[key] for rates in turns) for key in turns[0]}


if __name__ == "__main__":
    file = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), file)))
