"""The random part of a search, in several processes."""

from __future__ import annotations

from emu.fuzz.search import BATCH, LookupSearch
from emu.fuzz.spec import Spec
from emu.fuzz.unit import Unit
from emu.fuzz.workers import run_units

_UNIT_CASES = 16 * BATCH  # of one unit: its run time is long compared with the cost of sending it


def random_in_processes(search: LookupSearch, spec: Spec, cases: int, seed: int, jobs: int) -> None:
    """Ask ``cases`` random questions in ``jobs`` processes, and add their findings to ``search``.

    The questions, the findings and their order do not depend on ``jobs``.

    :raises EmuError: another process cannot build the lookup
    """
    units = [
        Unit(number, "random", seed=seed, cases=min(_UNIT_CASES, cases - start))
        for number, start in enumerate(range(0, cases, _UNIT_CASES))
    ]
    if not units:
        return
    results = sorted(run_units(spec, units, min(jobs, len(units))), key=lambda result: result.number)
    for result in results:
        search.cases += result.cases
        for why, count in result.left_out:
            search.left_out[result.kind, why] += count
        for hit in result.hits:
            if hit.case is not None:
                lookup = search.under_test.at(hit.case.nr_cpus, hit.case.others)
                search.add(lookup.check(hit.case.question))
