"""Findings: what a rule has found in a trace, as data, and the verdict that they add up to.

report/ makes the words of a finding from the templates of its rule; nothing reads words back.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from emu.outcome import Outcome


class PA(int):
    """A physical address."""


class VA(int):
    """A virtual address."""


class PC(VA):
    """The VA of an instruction, which is its PA while the MMU is off."""


class NoPC(PC):
    """In the place of a PC: its CPU has run no code."""


def end_place(pc: int) -> PC:
    """Return the PC of the record of an outcome: 0 stands for a CPU that has run no code."""
    return PC(pc) if pc else NoPC()


class Word(int):
    """A value that a CPU reads, writes or has in a register: at most 64 bits, told in hexadecimal."""


class Source(str):
    """``file:line`` of an operation that a host task does."""

    @property
    def file(self) -> str:
        """The file."""
        return self.rpartition(":")[0]

    @property
    def line(self) -> int:
        """The line, from 1."""
        return int(self.rpartition(":")[2])


# A plain int is a count or a number, and told in decimal.
Value = int | str | Outcome | IntEnum


@dataclass(frozen=True, slots=True)
class Finding:
    """What broke a rule.

    :ivar what: which of the faults that the rule knows; it has a template of words for each
    :ivar cpus: logical numbers; the CPU that is worst off comes first
    :ivar data: names and values, as the template needs them
    :ivar records: indices of the trace records that prove it
    :ivar boot: 0, and 1 in the boot after kexec
    """

    rule: str
    what: str
    cpus: tuple[int, ...]
    data: tuple[tuple[str, Value], ...]
    records: tuple[int, ...] = ()
    boot: int = 0

    @classmethod
    def of(
        cls,
        rule: str,
        what: str,
        cpus: tuple[int, ...],
        data: Mapping[str, Value],
        records: tuple[int, ...] = (),
        boot: int = 0,
    ) -> Finding:
        """Return the finding with this data; the arguments are the fields."""
        return cls(rule, what, cpus, tuple(data.items()), records, boot)

    def __getitem__(self, name: str) -> Value:
        return dict(self.data)[name]

    @property
    def addresses(self) -> tuple[PA | VA, ...]:
        """The addresses in the data."""
        return tuple(value for _, value in self.data if isinstance(value, PA | VA))

    @property
    def key(self) -> Hashable:
        """Equal for findings that are the same, whatever the schedule that has led to them.

        The records are left out: in another schedule they have other indices.
        """
        return (self.rule, self.what, self.boot, self.cpus, self.data)


def each_once(findings: Iterable[Finding]) -> list[Finding]:
    """Return the first of the findings that have one key, in order."""
    first: dict[Hashable, Finding] = {}
    for finding in findings:
        first.setdefault(finding.key, finding)
    return list(first.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """``pass`` when there are no findings."""

    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """``"pass"`` or ``"fail"``."""
        return "fail" if self.findings else "pass"
