"""What a boot came to, CPU by CPU and rule by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emu.finding import Finding, Verdict
from emu.host.build import Boot
from emu.models import MODELS, models_with_records
from emu.report.outcome import CpuOutcome, cpu_outcomes, dmesg
from emu.report.property import Group, Property, Result, Suite
from emu.report.words import Namer, finding_words, outcome_words
from emu.rules import RULES, SEES

_SHORT_MAX = 200  # characters of a finding where it is not told in full


def boot_suite(boot: Boot, verdict: Verdict) -> Suite:
    """Return what every rule says of every CPU, and last of what concerns no CPU by itself."""
    stopped = boot.machine.stopped
    cut_off = f"cut off: {stopped}" if stopped else ""
    cpus = cpu_outcomes(boot)
    of_cpu = findings_by_cpu(verdict)
    groups = []
    unseen = unseen_by(boot)
    for cpu in cpus:
        why = "no CPU has this number" if cpu.hwid is None else cut_off
        groups.append(judged(cpu.cpu, of_cpu.get(cpu.cpu, ()), why, (_where(cpu),), unseen))
    groups.append(judged(None, of_cpu.get(None, ()), cut_off, (), unseen))
    case = boot.case.text()
    log = tuple(line for _ns, line in dmesg(boot))
    return Suite(Group(f"boot {boot.case.subject}", groups), case, (cut_off,) if cut_off else (), log)


def findings_by_cpu(verdict: Verdict) -> dict[int | None, list[Finding]]:
    """Return the findings of each CPU, and by None those that concern no CPU by itself."""
    found: dict[int | None, list[Finding]] = {}
    for finding in verdict.findings:
        for number in finding.cpus or (None,):
            found.setdefault(number, []).append(finding)
    return found


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


def _where(cpu: CpuOutcome) -> str:
    return f"CPU{cpu.cpu}: {outcome_words(cpu.outcome)}" + (f", at {cpu.at}" if cpu.at else "")


def judged(
    cpu: int | None,
    findings: Sequence[Finding],
    why_not: str,
    where: tuple[str, ...],
    unseen: Mapping[str, str],
    name: Namer | None = None,
) -> Group:
    """Return what every rule says of a CPU; None: of what concerns no CPU by itself.

    :param why_not: why no rule can tell that there is nothing, "": they can
    :param where: lines behind those of a finding
    :param unseen: by rule, why it has nothing to look at
    :param name: names addresses
    """
    members = []
    for rule in RULES:
        own = [finding for finding in findings if finding.rule == rule]
        if own:
            # What names many CPUs is told in full at the first of them.
            words = [(finding, finding_words(finding, name)) for finding in own]
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
