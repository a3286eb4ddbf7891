"""Log lines of CPUs that are not online: kept until the boot CPU gets to that CPU.

MODEL: such a CPU has no console. As in the log that the v3 series published, its lines come out when the
boot CPU gets to that CPU; a real ring buffer would have them earlier.
"""

from __future__ import annotations

from typing import NamedTuple

EVERY_CPU = -1


class DeferredLog(NamedTuple):
    """Lines that have not come out yet: (CPU that they are about, number of the string), in order."""

    lines: tuple[tuple[int, int], ...] = ()


def defer(log: DeferredLog, owner: int, line: int) -> DeferredLog:
    """Keep string number ``line``, which is about CPU ``owner``."""
    return DeferredLog((*log.lines, (owner, line)))


def flush(log: DeferredLog, owner: int) -> tuple[DeferredLog, list[int]]:
    """Return the log without the lines about ``owner``, and these; of EVERY_CPU in the order of the CPUs."""
    out = [each for each in log.lines if owner in (EVERY_CPU, each[0])]
    kept = tuple(each for each in log.lines if owner not in (EVERY_CPU, each[0]))
    return DeferredLog(kept), [line for _, line in sorted(out, key=lambda each: each[0])]
