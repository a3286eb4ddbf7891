"""Reports of a kernel that boots by itself, for people: the table of CPUs, the findings, how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emu.finding import Verdict
from emu.host.whole.boot import WholeBoot
from emu.host.whole.ending import How
from emu.report.whole import (
    exploration_summary,
    finding_lines,
    how_words,
    run_lines,
    story_lines,
    story_of,
    verdict_of,
    whole_cpus,
)
from emu.report.words import wrap

if TYPE_CHECKING:
    from emu.explore.whole import WholeExploration
    from emu.explore.whole_races import RacesFound

_WIDTH = 80


def print_whole(
    console: Console, boot: WholeBoot, how: How, verdict: Verdict, races: RacesFound | None = None
) -> None:
    """Print the table of CPUs, the findings and how the run has ended; the log was printed as it came."""
    cpus = whole_cpus(boot)
    console.print()
    table = Table(box=None, pad_edge=False, width=_WIDTH, header_style="bold")
    for name in ("CPU", "hwid", "state", "at", "instr", "WFI ms", "IPIs", "IRQs"):
        left = name in ("hwid", "state", "at")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "at", overflow="fold")
    for cpu in cpus:
        table.add_row(
            str(cpu.cpu),
            f"{cpu.hwid:#x}",
            cpu.state,
            cpu.at or "-",
            f"{cpu.instructions:,}",
            f"{cpu.asleep / 1e6:.3f}",
            str(cpu.sgis),
            str(cpu.irqs),
        )
    console.print(table)
    console.print()
    print_end(console, boot, how, verdict, races)


def print_replay(
    console: Console, boot: WholeBoot, how: How, verdict: Verdict, races: RacesFound | None
) -> None:
    """Print what became of the CPUs of the findings, the findings, and how the run has ended."""
    for line in story_lines(boot, verdict.findings):
        console.print(line)
    print_end(console, boot, how, verdict, races)


def print_end(
    console: Console, boot: WholeBoot, how: How, verdict: Verdict, races: RacesFound | None
) -> None:
    """Print the findings and how the run has ended."""
    cpus = whole_cpus(boot)
    for finding in verdict.findings:
        for line in finding_lines(finding, boot.name):
            console.print(Text(line, style="red"))
    if races is not None:
        from emu.report.races import race_lines

        for line in race_lines(boot, races):
            console.print(Text(line))
    word = verdict_of(how, verdict)
    total = sum(cpu.instructions for cpu in cpus)
    seconds = max(cpu.time for cpu in cpus) / 1e9
    said = f"{word}: {how_words(boot, how)}; {total:,} instructions, {seconds:.6f} s simulated"
    for line in wrap(said, "  "):
        console.print(Text(line, style="green" if word == "pass" else "bold red"))
    for number in boot.not_started:
        console.print(f"not covered: firmware was still to start CPU{number} (--until ends the run later)")
    console.print(f"case: {boot.case.text()}")


def print_exploration(console: Console, found: WholeExploration) -> None:
    """Print what schedules came to: each one that shows something with its case, and how many there were."""
    failing = found.failing
    for number, run in failing:
        console.print(
            f"schedule {number}: {run.how.value}, {run.instructions:,} instructions from {found.start}"
        )
        story = len(story_of(run))
        for at, line in enumerate(run_lines(run)):
            console.print(Text(line, style="red" if at >= story else ""))
        console.print(f"case: {run.case.text()}")
    if failing:
        console.print()
    said, covered = exploration_summary(found)
    for line in wrap(said, "  "):
        console.print(Text(line, style="green" if said.startswith("pass") else "bold red"))
    console.print(covered)
    console.print(f"case: {found.case.text()}")
