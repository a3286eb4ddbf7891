"""The cases that a search left out, by reason: counted, so that a verdict tells what it rests on."""

from __future__ import annotations

from enum import StrEnum


class LeftOut(StrEnum):
    """Why a case was not asked, or its wrong answer not judged; the value is the word of ``--json``."""

    KNOWN = "known"
    """The maps before it, so many in a row, showed only findings that were known."""
    ENOUGH = "enough"
    """The search had found as many causes as it looks for."""
    MISFIT = "misfit"
    """The tables of the contract cannot hold its map."""
    RULED_OUT = "ruled-out"
    """The model of the contract has no answer to it: the table is one that it does not take at its word."""
    HANGS = "hangs"
    """The code came to no exit for several questions of its batch; the rest of that batch was not asked."""
    ALIKE = "alike"
    """It was asked and its answer is wrong; enough wrong answers of the same batch were judged."""
    NO_ENTRIES = "no-entries"
    """A table in which each CPU has an entry of its own is needed, and there is none."""
    ALONE = "alone"
    """More than one CPU is needed."""
    WRONG_AT_REST = "wrong-at-rest"
    """The answer is wrong while nothing changes, so changes are not tried."""


Key = tuple[str, LeftOut]  # phase of the search, reason
