"""What a kernel that boots by itself came to, CPU by CPU and rule by rule, and what its schedules did."""

from __future__ import annotations

from emu.explore.whole import WholeExploration, WholeRun
from emu.explore.whole_races import not_judged
from emu.finding import Verdict
from emu.host.whole.boot import WholeBoot
from emu.host.whole.ending import How
from emu.report.boot_property import findings_by_cpu, judged
from emu.report.property import Group, Property, Result, Suite
from emu.report.whole import exploration_summary, how_words, run_lines, verdict_of, whole_cpus
from emu.report.words import finding_words
from emu.rules import RULES

_RESULTS = {"pass": Result.PASS, "fail": Result.FAIL}


def whole_suite(boot: WholeBoot, how: How, verdict: Verdict) -> Suite:
    """Return what every rule says of every CPU, of what concerns no CPU by itself, and how the run ended."""
    end = _RESULTS.get(verdict_of(how, Verdict(())), Result.SKIP)
    words = how_words(boot, how)
    cut_off = f"cut off: {words}" if end is Result.SKIP else ""
    of_cpu, unseen = findings_by_cpu(verdict), not_judged(boot.case, is_flat=boot.image.is_flat)
    groups = [
        judged(
            cpu.cpu,
            of_cpu.get(cpu.cpu, ()),
            cut_off,
            (f"CPU{cpu.cpu}: {cpu.state}" + (f", at {cpu.at}" if cpu.at else ""),),
            unseen,
            boot.name,
        )
        for cpu in whole_cpus(boot)
    ]
    machine = judged(None, of_cpu.get(None, ()), cut_off, (), unseen, boot.name)
    details = (words,) if end is Result.FAIL else ()
    ended = Property("end", end, "" if end is Result.PASS else words, details)
    groups.append(Group(machine.name, [*machine.members, ended]))
    log = tuple(line.text for line in boot.lines)
    name = f"boot {boot.case.subject}"
    return Suite(Group(name, groups), boot.case.text(), (cut_off,) if cut_off else (), log)


def exploration_suite(found: WholeExploration) -> Suite:
    """Return what every rule says of all schedules, and whether one has ended as no boot should.

    What fails has the first schedule that shows it, with its story and its case.
    """
    unseen = not_judged(found.case)
    why_not = f"undecided: {found.undecided} schedules came to a bound, or to what is not modelled"
    members = []
    for rule in RULES:
        run = next((run for _, run in found.failing if any(each.rule == rule for each in run.findings)), None)
        why = unseen.get(rule, why_not if found.undecided else "")
        if run is not None:
            words = next(finding_words(each) for each in run.findings if each.rule == rule)
            members.append(Property(rule, Result.FAIL, words, _details(run)))
        else:
            members.append(Property(rule, Result.SKIP, why) if why else Property(rule))
    members.append(_end(found, why_not if found.undecided else ""))
    case = found.case.text()
    return Suite(Group(f"explore {case.split()[0]}", members), case, tuple(exploration_summary(found)))


def _end(found: WholeExploration, why_not: str) -> Property:
    # A schedule that no rule says anything of fails by how it has ended.
    run = next((run for _, run in found.failing if not run.findings), None)
    if run is None:
        return Property("end", Result.SKIP, why_not) if why_not else Property("end")
    assert run.boot is not None, "a schedule that shows something was run from the beginning"
    return Property("end", Result.FAIL, how_words(run.boot, run.how), _details(run))


def _details(run: WholeRun) -> tuple[str, ...]:
    return (*run_lines(run), f"case: {run.case.text()}")
