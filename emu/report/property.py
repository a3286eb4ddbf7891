"""What a test came to, property by property: the form that KTAP and JUnit XML are made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from emu.version import VERSION

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


def untestable_suite(command: str, case: str, why: str) -> Suite:
    """Return the one skipped property of a case (or subject) that cannot be tested."""
    return Suite(Group(f"{command} {case.split()[0]}", [Property("testable", Result.SKIP, why)]), case)
