"""What rules say: findings, and the verdict they add up to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What broke a rule: the name of the rule, one line, the CPUs, and the case to run again."""

    rule: str
    message: str
    cpus: tuple[int, ...]
    case: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """``pass`` when there are no findings."""

    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """``"pass"`` or ``"fail"``."""
        return "fail" if self.findings else "pass"
