"""A comparison at several values of one thing: CPUs, or a figure of the latency profile."""

from __future__ import annotations

from dataclasses import dataclass, replace

from emu.case import Case
from emu.errors import InvalidCase
from emu.latency.toml_form import OF_MACHINE, PER_CPU, parse_span
from emu.registry import not_one_of
from emu.topology import check_count

CPUS = "cpus"
POINTS = 8


@dataclass(frozen=True, slots=True)
class Sweep:
    """``key`` from the first to the last of ``values``: CPUs, or ns."""

    key: str
    values: tuple[int, ...]

    def apply(self, case: Case, value: int) -> Case:
        """Return the case with this value.

        :raises InvalidCase: its topology has a count of CPUs of its own
        """
        if self.key != CPUS:
            return replace(case, latency=f"{case.latency},{self.key}={value}ns")
        if "/" in case.topology or "." in case.topology:
            raise InvalidCase(f"--sweep {CPUS}: topology={case.topology} says how many CPUs")
        return replace(case, topology=f"{case.topology.partition(':')[0]}:{value}")


def parse_sweep(text: str) -> Sweep:
    """Return the sweep of ``KEY=FIRST..LAST[/POINTS]``.

    :raises InvalidCase: it is none
    """
    key, equals, rest = text.partition("=")
    span, slash, count = rest.partition("/")
    first, dots, last = span.partition("..")
    where = f"--sweep {text:.80}"
    if not equals or not dots:
        raise InvalidCase(f"{where}: KEY=FIRST..LAST[/POINTS]")
    if slash and not (count.isdecimal() and len(count) < 4 and int(count) > 1):
        raise InvalidCase(f"{where}: {count:.80} is no number of points, 2..999")
    if key == CPUS:
        if not (first.isdecimal() and last.isdecimal() and len(first) < 6 and len(last) < 6):
            raise InvalidCase(f"{where}: two numbers of CPUs")
        low, high = int(first), int(last)
        for cpus in (low, high):
            check_count(cpus, "sweep cpus")
    else:
        keys = (CPUS, *OF_MACHINE, *PER_CPU)
        if key.partition("@")[0] not in keys:
            raise InvalidCase(f"{where}: {key:.80}: {not_one_of(key, keys)}")
        (low, _), (_, high) = (parse_span(where, _time(each)) for each in (first, last))
    if low >= high:
        raise InvalidCase(f"{where}: the smaller value first")
    points = min(int(count) if slash else POINTS, high - low + 1)
    return Sweep(key, tuple(low + (high - low) * at // (points - 1) for at in range(points)))


def _time(text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) < 16 else text
