"""What a kernel that boots by itself came to, CPU by CPU and rule by rule."""

from __future__ import annotations

from emu.explore.whole_races import not_judged
from emu.finding import Verdict
from emu.host.whole.boot import WholeBoot
from emu.host.whole.ending import How
from emu.report.boot_property import findings_by_cpu, judged
from emu.report.property import Group, Property, Result, Suite
from emu.report.whole import how_words, verdict_of, whole_cpus

_RESULTS = {"pass": Result.PASS, "fail": Result.FAIL}


def whole_suite(boot: WholeBoot, how: How, verdict: Verdict) -> Suite:
    """Return what every rule says of every CPU, of what concerns no CPU by itself, and how the run ended."""
    end = _RESULTS.get(verdict_of(how, Verdict(())), Result.SKIP)
    words = how_words(boot, how)
    cut_off = f"cut off: {words}" if end is Result.SKIP else ""
    of_cpu, unseen = findings_by_cpu(verdict), not_judged(boot)
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
