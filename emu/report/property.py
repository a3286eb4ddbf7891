"""What a test came to, property by property: the form that KTAP and JUnit XML are made from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from emu.finding import Finding, Verdict
from emu.host.build import Boot
from emu.models import MODELS, models_with_records
from emu.report.outcome import CpuOutcome, cpu_outcomes, dmesg
from emu.report.words import finding_words, outcome_words
from emu.rules import RULES, SEES
from emu.version import VERSION

_SHORT_MAX = 200  # characters of a finding where it is not told in full
# What text formats have no place for: control characters, other line ends, surrogates, non-characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


class Result(StrEnum):
    """What a property came to."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Property:
    """One property: ``message`` says in one line what is wrong or why it was skipped."""

    name: str
    result: Result = Result.PASS
    message: str = ""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Properties that belong together: all of one CPU, or of one subject."""

    name: str
    members: Sequence[Group | Property]

    @property
    def result(self) -> Result:
        """Fail when one of them fails, skip when all were skipped."""
        results = {member.result for member in self.members}
        if Result.FAIL in results:
            return Result.FAIL
        return Result.SKIP if results == {Result.SKIP} else Result.PASS

    @property
    def message(self) -> str:
        """How many fail, or why all were skipped."""
        if self.result is Result.SKIP:
            return self.members[0].message
        failed = sum(member.result is Result.FAIL for member in self.members)
        return f"{failed} of {len(self.members)} fail" if failed else ""


@dataclass(frozen=True, slots=True)
class Suite:
    """All of one subject: ``case`` runs it again, ``notes`` and ``log`` are lines to read."""

    group: Group
    case: str
    notes: tuple[str, ...] = ()
    log: tuple[str, ...] = ()


def version() -> str:
    """Return the version of emu."""
    return VERSION


def printable(text: str) -> str:
    """Return ``text`` with what is neither printable, a tab nor a newline as ``\\x07`` or ``\\u2028``."""
    return _UNPRINTABLE.sub(lambda found: ascii(found.group())[1:-1], text)


def boot_suite(boot: Boot, verdict: Verdict) -> Suite:
    """Return what every rule says of every CPU, and last of what concerns no CPU by itself."""
    stopped = boot.machine.stopped
    cut_off = f"cut off: {stopped}" if stopped else ""
    cpus = cpu_outcomes(boot)
    of_cpu: dict[int | None, list[Finding]] = {}
    for finding in verdict.findings:
        for number in finding.cpus or (None,):
            of_cpu.setdefault(number, []).append(finding)
    groups = []
    unseen = unseen_by(boot)
    for cpu in cpus:
        why = "no CPU has this number" if cpu.hwid is None else cut_off
        groups.append(_judged(cpu.cpu, of_cpu.get(cpu.cpu, ()), why, (_where(cpu),), unseen))
    groups.append(_judged(None, of_cpu.get(None, ()), cut_off, (), unseen))
    case = boot.case.text()
    log = tuple(line for _ns, line in dmesg(boot))
    return Suite(Group(f"boot {boot.case.subject}", groups), case, (cut_off,) if cut_off else (), log)


def unseen_by(boot: Boot) -> dict[str, str]:
    """Return why a rule has nothing to look at in this run, for those that have not."""
    missing = {"states": "emu explore looks at that"}
    if not boot.properties:
        missing["properties"] = "no property is said"
    if not MODELS[boot.case.memory].records:
        missing["model"] = f"needs {models_with_records()}"
    if not boot.machine.recorder.recording:
        missing["operations"] = "needs the operations: --trace, or emu explore"
    return {rule: missing[sees] for rule, sees in SEES.items() if sees in missing}


def untestable_suite(command: str, case: str, why: str) -> Suite:
    """Return the one skipped property of a case (or subject) that cannot be tested."""
    return Suite(Group(f"{command} {case.split()[0]}", [Property("testable", Result.SKIP, why)]), case)


def _where(cpu: CpuOutcome) -> str:
    return f"CPU{cpu.cpu}: {outcome_words(cpu.outcome)}" + (f", at {cpu.at}" if cpu.at else "")


def _judged(
    cpu: int | None,
    findings: Sequence[Finding],
    why_not: str,
    where: tuple[str, ...],
    unseen: Mapping[str, str],
) -> Group:
    members = []
    for rule in RULES:
        own = [finding for finding in findings if finding.rule == rule]
        if own:
            # What names many CPUs is told in full at the first of them.
            words = [(finding, finding_words(finding)) for finding in own]
            texts = [text if finding.cpus[:1] == (cpu,) else _short(text) for finding, text in words]
            lines = tuple(f"finding ({rule}): {text}" for text in texts)
            more = f" (and {len(own) - 1} more)" if len(own) > 1 else ""
            members.append(Property(rule, Result.FAIL, _short(words[0][1]) + more, lines + where))
        else:
            why = why_not or unseen.get(rule, "")
            members.append(Property(rule, Result.SKIP, why) if why else Property(rule))
    return Group("machine" if cpu is None else f"CPU{cpu}", members)


def _short(message: str) -> str:
    return message if len(message) <= _SHORT_MAX else f"{message[:_SHORT_MAX]}..."
