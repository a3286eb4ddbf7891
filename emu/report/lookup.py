"""What a search of a lookup came to: text for people, and the object that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emu.fuzz.built_lookup import Checked, UnderTest
from emu.fuzz.left_out import LeftOut
from emu.fuzz.search import LookupSearch
from emu.fuzz.unit import cause_at, key_of
from emu.lookup.case import LEAST, LookupCase, format_map
from emu.report.disassembly import disassemble
from emu.report.words import WIDTH, wrap

_ENTRIES_MAX = 8  # of a map that is shown
_AROUND = 5  # instructions before and after the one where it ended
# Why cases were left out, in words; those of the skipped property "concurrent" are the same.
REASONS = {
    LeftOut.KNOWN: "they show only what is found",
    LeftOut.ENOUGH: "enough is found",
    LeftOut.MISFIT: "the tables cannot hold their maps",
    LeftOut.RULED_OUT: "the model has no answer",
    LeftOut.HANGS: "no exit, again and again",
    LeftOut.ALIKE: "wrong as others of their map are",
    LeftOut.NO_ENTRIES: "no table of which each CPU has one entry",
    LeftOut.ALONE: "one CPU alone: nobody changes the table",
    LeftOut.WRONG_AT_REST: "it is wrong while nothing changes",
}


def case_of(under_test: UnderTest, checked: Checked, contract: str, system_map: str) -> LookupCase:
    """Return the case that asks this question again."""
    question = checked.question
    others, race, begin = checked.others, checked.race, checked.begin
    return LookupCase(under_test.name, checked.nr_cpus, question, contract, system_map, others, race, begin)


def describe(under_test: UnderTest, checked: Checked, case: str) -> Iterator[str]:
    """Yield the lines that tell of one wrong answer."""
    assert checked.wrong is not None
    answer = checked.answer
    yield from wrap(f"finding ({checked.wrong.prop}): {checked.wrong.text}", "  ")
    yield from _question(checked)
    expected = "none" if checked.expected is None else f"CPU {checked.expected}"
    got = {"found": f"found, {under_test.contract.index} = {answer.index:#x}", "missing": "missing"}
    yield f"  expected {expected}; {got.get(answer.exit, 'no exit')} after {answer.instructions} instructions"
    yield from window(under_test, checked)
    yield f"  case: {case}"


def _question(checked: Checked) -> list[str]:
    # What was asked, in 80 columns: of a map that is longer, the first of its entries that are no holes.
    hwids = list(checked.question.logical_map)
    while len(hwids) > 1 and hwids[-1] is None:
        hwids.pop()
    least = "tables at their least alignment, " if LEAST in checked.others else ""
    begin, end = f"  NR_CPUS={checked.nr_cpus}, {least}", f", MPIDR_EL1 {checked.question.mpidr:#x}"
    if len(line := f"{begin}map {format_map(hwids)}{end}") <= WIDTH:
        return [line]
    entries = [f"CPU{cpu} {hwid:#x}" for cpu, hwid in enumerate(hwids) if hwid is not None]
    shown = entries[:_ENTRIES_MAX] + (["..."] if len(entries) > _ENTRIES_MAX else [])
    return wrap(f"{begin}a map with {len(entries)} of {len(hwids)} CPUs: {', '.join(shown)}{end}", "    ")


def window(under_test: UnderTest, checked: Checked) -> Iterator[str]:
    """Yield the instructions around the one at which it ended, that one marked."""
    target = under_test.at(checked.nr_cpus, checked.others).target
    subject, pc = target.subject, checked.answer.pc
    for segment in subject.segments:
        if not segment.pa <= pc <= segment.pa + len(segment.data):
            continue
        first = max(pc - 4 * _AROUND, segment.pa)
        for pa in range(first, min(pc + 4 * _AROUND, segment.pa + len(segment.data)), 4):
            va = (pa + subject.va_offset) % 2**64
            word = int.from_bytes(segment.data[pa - segment.pa : pa - segment.pa + 4], "little")
            mark = ">" if pa == pc else " "
            yield f"  {mark} {subject.symbols.describe(va):<24} {disassemble(word, va)}"


def left_out(search: LookupSearch) -> list[str]:
    """Return, in one line, how many cases of each phase were left out for each reason; none: no line."""
    phases: dict[LeftOut, list[str]] = {}
    for (phase, why), count in search.left_out.items():
        phases.setdefault(why, []).append(f"{count} {phase}")
    said = "; ".join(f"{', '.join(counts)} ({REASONS[why]})" for why, counts in phases.items())
    return [f"left out: {said}"] if said else []


def as_json(search: LookupSearch, cases: list[str], name: str) -> dict[str, Any]:
    """Return the object that ``emu lookup --json`` prints; ``cases`` belong to the findings."""
    findings = search.findings
    return {
        "case": name,
        "verdict": "fail" if findings else "pass",
        "findings": [
            finding_json(search.under_test, checked, case)
            for checked, case in zip(findings, cases, strict=True)
        ],
        "counters": {"cases": search.cases},
        "left_out": [
            {"phase": phase, "reason": why.value, "cases": count}
            for (phase, why), count in search.left_out.items()
        ],
        "not_assembled": {str(nr_cpus): why for nr_cpus, why in search.under_test.refused.items()},
        **_proved(search),
    }


def _proved(search: LookupSearch) -> dict[str, Any]:
    # Where there was a proof beside the search.
    if not search.proofs:
        return {}
    found: dict[str, list[int]] = {"proved": [], "proved_by_induction": []}
    for proof in search.proofs:
        row = [each.nr_cpus for each in proof.proved]
        found["proved_by_induction" if proof.by_induction else "proved"] += row
    return found


def finding_json(under_test: UnderTest, checked: Checked, case: str) -> dict[str, Any]:
    """Return one wrong answer as plain data; a hole of the map is null."""
    assert checked.wrong is not None
    answer = checked.answer
    return {
        "rule": "lookup",
        "key": key_of(cause_at(under_test, checked)),
        "property": checked.wrong.prop,
        "message": checked.wrong.text,
        "nr_cpus": checked.nr_cpus,
        "logical_map": list(checked.question.logical_map),
        "mpidr": checked.question.mpidr,
        "expected": checked.expected,
        "got": answer.index if answer.exit == "found" else None,
        "exit": answer.exit or None,
        "instructions": answer.instructions,
        "case": case,
    }
