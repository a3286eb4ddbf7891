"""Helpers of tests that boot a case: run it, judge it, look at what each CPU did."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass

from emu.case import Case
from emu.finding import Verdict
from emu.host.build import Boot, build
from emu.operation import OPERATIONS
from emu.report.outcome import dmesg
from emu.report.words import finding_words, outcome_words
from emu.rules import judge


@dataclass(frozen=True)
class Run:
    """One finished run."""

    boot: Boot
    verdict: Verdict

    @property
    def outcomes(self) -> list[str]:
        """The outcome of each CPU."""
        machine = self.boot.machine
        return [outcome_words(machine.outcome(cpu)) for cpu in range(len(machine.actors))]

    @property
    def messages(self) -> list[str]:
        """The messages of all findings."""
        return [finding_words(finding) for finding in self.verdict.findings]

    @property
    def lines(self) -> list[str]:
        """The lines of dmesg."""
        return [line for _ns, line in dmesg(self.boot)]

    @property
    def trace_bytes(self) -> bytes:
        """The trace as it stands in a file."""
        sink = io.BytesIO()
        self.boot.machine.trace.attach(sink)
        return sink.getvalue()

    def operations(self) -> dict[int, list[tuple[object, ...]]]:
        """The operations of each secondary, in its own order; a host task's PC as its file:line."""
        trace = self.boot.machine.trace
        found: dict[int, list[tuple[object, ...]]] = defaultdict(list)
        for kind, size, cpu, pc, pa, value in trace.rows():
            if kind in OPERATIONS and cpu:
                found[cpu].append((kind, size, trace.location(pc) or pc, pa, value))
        return dict(found)


def run(text: str, *, record: bool = False) -> Run:
    """Build, run and judge the case that ``text`` describes."""
    return finish(build(Case.parse(text), record=record))


def finish(boot: Boot) -> Run:
    """Run a machine that is built."""
    boot.machine.run()
    boot.machine.finish()
    return Run(boot, judge(boot.machine.trace))
