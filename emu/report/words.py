"""Words for what a run came to: outcomes of CPUs, and findings by the templates of their rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from string import Formatter
from typing import Any

from emu.finding import PA, PC, VA, Finding, NoPC, Word
from emu.operation import Report
from emu.outcome import End, Outcome
from emu.rules import FIXES, WORDS

WIDTH = 80
_OUTCOMES = {
    End.OTHER: "{name}",
    End.RUNNING: "still running",
    End.OFF: "off",
    End.ASLEEP_WFE: "asleep in WFE",
    End.ASLEEP_WFI: "asleep in WFI",
    End.IN_HOST_TASK: "in {name}",
    End.ONLINE: "online",
    End.RUNS_AS: "runs as CPU{number}",
    End.SELF_BRANCH: "branches to itself",
    End.WAITS_FOR_INTERRUPT: "waits for an interrupt (WFI)",
    End.VECTOR_WITHOUT_CODE: "no code at its exception vector, ESR {number:#x}",
    End.VECTOR_RAISES: "an exception at its exception vector, ESR {number:#x}",
    End.CONSTRAINT_VIOLATION: "misuse: {name}",
    End.UNMODELLED: "unsupported: {name}",
    End.PANIC: "panic",
    End.STOPPED: "stopped",
    End.CPU_PANIC_KERNEL: "parked in cpu_panic_kernel",
    End.CPU_DIE: "parked in cpu_die",
    End.CPU_PARK_LOOP: "parked in cpu_park_loop",
    End.PRIMARY_DID_NOT_BOOT: "its primary did not boot",
    End.HOST_TASK_ENDED: "{name}",
    End.SPINS: "spins for ever, reading {number:#x}",
    End.EXCEPTION_LOOP: "takes an exception for ever, ESR {number:#x}",
    End.HOLE: "hole",
}
# Why a CPU is stuck in the kernel, as the kernel's log has it.
_REASONS = {Report.NO_52_BIT_VA: "does not support 52-bit VAs", Report.NO_GRANULE: "the granule"}
_AFTER_KEXEC = "after kexec: "
Namer = Callable[[PA | PC], str]  # gives the name of what is at an address, or nothing


def outcome_words(outcome: Outcome) -> str:
    """Return an outcome in words: "online" is the good one."""
    if outcome.end is End.SPINS and not outcome.number:
        return "spins for ever"
    return _OUTCOMES[outcome.end].format(name=outcome.name, number=outcome.number)


def finding_words(finding: Finding, name: Namer | None = None) -> str:
    """Return the line that tells of a finding.

    :param name: names of addresses, which stand behind them in parentheses
    """
    template = WORDS.get(finding.rule, {}).get(finding.what)
    if template is None:
        template = " ".join([finding.what, *(f"{key}={{{key}}}" for key, _ in finding.data)])
    before = _AFTER_KEXEC if finding.boot else ""
    return before + _Words(name).vformat(template, (), _fields(finding))


def wrap(text: str, indent: str) -> list[str]:
    """Return a text in lines of 80 columns; those behind the first begin with ``indent``.

    A word that is longer is a line of its own, whole: addresses and names of files can be copied.
    """
    line, *words = text.split(" ")
    found = []
    for word in words:
        if line.strip() and len(line) + 1 + len(word) > WIDTH:
            found.append(line)
            line = indent + word
        else:
            line = f"{line} {word}"
    return [*found, line]


def fix_words(finding: Finding) -> str:
    """Return what would keep a finding from happening, where its rule says it; else nothing."""
    template = FIXES.get(finding.rule, {}).get(finding.what, "")
    return _Words(None).vformat(template, (), _fields(finding))


def _fields(finding: Finding) -> dict[str, Any]:
    return {"cpus": ", ".join(f"CPU{cpu}" for cpu in finding.cpus), **dict(finding.data)}


@dataclass(frozen=True, slots=True)
class Told:
    """A finding with its words, and the text of the case that shows it."""

    finding: Finding
    message: str
    case: str

    @property
    def rule(self) -> str:
        """The name of the rule that it breaks."""
        return self.finding.rule

    @property
    def what(self) -> str:
        """Which of the faults that the rule knows."""
        return self.finding.what

    @property
    def cpus(self) -> tuple[int, ...]:
        """The CPUs that it is about."""
        return self.finding.cpus


def told(finding: Finding, case: str) -> Told:
    """Return a finding with its words."""
    return Told(finding, finding_words(finding), case)


class _Words(Formatter):
    # A field without a format is told as its type asks for.

    def __init__(self, name: Namer | None) -> None:
        self._name = name

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec:
            return format(value, format_spec)
        match value:
            case NoPC():
                return "no PC"
            case PA() | PC():
                known = self._name(value) if self._name is not None else ""
                space = "PA" if isinstance(value, PA) else "PC"
                return f"{space} {value:#x}" + (f" ({known})" if known else "")
            case VA() | Word():
                return f"{value:#x}"
            case Outcome():
                return outcome_words(value)
            case Report():
                return _REASONS.get(value, value.name)
            case Enum():
                return value.name
        return str(value)


def runs_of(numbers: Sequence[int]) -> list[list[int]]:
    """Return sorted numbers, those that follow each other together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
