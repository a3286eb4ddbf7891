"""What a look-up came to, property by property."""

from __future__ import annotations

from collections.abc import Sequence

from emu.fuzz.built_lookup import Checked, UnderTest
from emu.fuzz.left_out import LeftOut
from emu.fuzz.phases import RACES
from emu.fuzz.search import LookupSearch
from emu.lookup.single import PROPERTIES
from emu.report.lookup import REASONS, describe, left_out
from emu.report.property import Group, Property, Result, Suite

# The order in which one answer is judged.
_JUDGED = ("exit", "answer", "memory", "registers", "bound")


def lookup_suite(search: LookupSearch, cases: Sequence[str], sizes: Sequence[int]) -> Suite:
    """Return the properties of a lookup that was searched; ``cases`` belong to the findings."""
    under_test = search.under_test
    wrong: dict[str, list[tuple[Checked, str]]] = {name: [] for name in PROPERTIES}
    for checked, case in zip(search.findings, cases, strict=True):
        assert checked.wrong is not None
        wrong[checked.wrong.prop].append((checked, case))
    skipped = {"bound": _why_no_bound(under_test), "concurrent": _why_not_concurrent(search)}
    members = [_of_lookup(under_test, name, wrong[name], skipped.get(name, "")) for name in PROPERTIES]
    kept = ", ".join(str(size) for size in sizes if size not in under_test.refused)
    notes = [f"{search.cases} cases at NR_CPUS {kept}"]
    notes += [f"NR_CPUS={size} left out: {why}" for size, why in under_test.refused.items()]
    notes += left_out(search)
    return Suite(Group(f"lookup {under_test.name}", members), under_test.name, tuple(notes))


def question_suite(under_test: UnderTest, checked: Checked, case: str) -> Suite:
    """Return the properties of a lookup that was asked one question, or raced once."""
    if checked.race is not None:
        looked_at: Sequence[str] = ("concurrent",)
    else:  # the worst comes first, and what comes after it is not looked at
        last = checked.wrong.prop if checked.wrong is not None else _JUDGED[-1]
        looked_at = _JUDGED[: _JUDGED.index(last) + 1]
    members = []
    for name in PROPERTIES:
        wrong = [(checked, case)] if checked.wrong is not None and checked.wrong.prop == name else []
        why = _why_no_bound(under_test) if name == "bound" else ""
        if not why and name not in looked_at:
            why = "not looked at by this case"
        members.append(_of_lookup(under_test, name, wrong, why))
    return Suite(Group(f"lookup {under_test.name}", members), case)


def _of_lookup(
    under_test: UnderTest, name: str, wrong: Sequence[tuple[Checked, str]], why_not: str
) -> Property:
    if wrong:
        details = [line for checked, case in wrong for line in describe(under_test, checked, case)]
        first = wrong[0][0].wrong
        assert first is not None
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return Property(name, Result.FAIL, first.text + more, tuple(details))
    return Property(name, Result.SKIP, why_not) if why_not else Property(name)


def _why_no_bound(under_test: UnderTest) -> str:
    return "" if under_test.contract.instructions_max else "the contract promises no bound"


def _why_not_concurrent(search: LookupSearch) -> str:
    # As the search decided it.
    for why in (LeftOut.NO_ENTRIES, LeftOut.ALONE, LeftOut.WRONG_AT_REST):
        if ("concurrent", why) in search.left_out:
            return REASONS[why]
    raced = search.phase == "concurrent" and search.left_out["concurrent", LeftOut.ENOUGH] < RACES
    return "" if raced else "the search ended before"
