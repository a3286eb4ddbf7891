"""Which function each CPU is in along simulated time: slices, which lie within the phases of a timeline.

Where instructions are recorded each function is seen: a symbol that a CPU comes to by B, BL, BR, RET, ERET,
an exception or a start; a label that it comes to otherwise begins none. Where they are not, those symbols are
seen at which an operation is. An operation of a host task takes the time since the one before, an instruction
its share of the time since the last record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from emu.arch.a64 import leads_to_function
from emu.instructions import InstructionRow
from emu.operation import Kind, Record
from emu.report.history import NOTES, Names

_ENDS = (Kind.POWER_OFF, Kind.PARK)
_ELSEWHERE = (Kind.POWER_ON, Kind.OUTCOME)  # their pc is not where the CPU is


@dataclass(frozen=True, slots=True)
class Phase:
    """What a CPU was about, or the function that it was in, from ``start`` to ``end``, in simulated ns."""

    cpu: int
    name: str
    start: int
    end: int


@dataclass(slots=True)
class _Cpu:
    # The function that a CPU is in, since when (ns), and when its last record was; whether its next
    # instruction may be in another one, and whether its instructions are recorded.
    name: str = ""
    since: int = 0
    last: int = -1
    leads: bool = True
    has_steps: bool = False


class Functions:
    """Follows the function of each of ``cpus`` CPUs.

    :param word: returns the instruction (u32) at a PC of the steps that are taken
    """

    def __init__(self, cpus: int, names: Names, word: Callable[[int], int | None]) -> None:
        self._names, self._word = names, word
        self._cpus = [_Cpu() for _ in range(cpus)]
        self.found: list[Phase] = []

    def record(self, record: Record, steps: Sequence[InstructionRow], ns: int) -> None:
        """Take a record at ``ns``, with the instructions that it stands for."""
        number, kind, pc = record.actor, record.kind, record.pc
        cpu = self._cpus[number]
        begun = cpu.last if cpu.last >= 0 else ns
        cpu.last = ns
        if steps and not record.size:
            self._take(number, [row.pc for row in steps], begun, ns)
        elif kind in _ENDS or (kind is Kind.OUTCOME and number):
            self._enter(number, "", ns)
        elif pc and kind not in NOTES and kind not in _ELSEWHERE:
            if self._names.is_host(pc):
                self._enter(number, self._names.function(pc), begun)
                cpu.leads = True
            elif not cpu.has_steps or kind is Kind.LAND:
                self._enter(number, self._names.function(pc), ns)
        cpu.leads |= kind in (Kind.EXCEPTION, Kind.POWER_ON)

    def close(self, end: int) -> None:
        """End all that is under way."""
        for number in range(len(self._cpus)):
            self._enter(number, "", end)

    def _take(self, number: int, pcs: Sequence[int], begun: int, ns: int) -> None:
        cpu = self._cpus[number]
        cpu.has_steps = True
        for step, pc in enumerate(pcs):
            if cpu.leads:
                self._enter(number, self._names.function(pc), begun + (ns - begun) * step // len(pcs))
            word = self._word(pc)
            cpu.leads = word is None or leads_to_function(word)

    def _enter(self, number: int, name: str, ns: int) -> None:
        # An empty name: none.
        cpu = self._cpus[number]
        if name != cpu.name:
            if cpu.name and ns > cpu.since:
                self.found.append(Phase(number, cpu.name, cpu.since, ns))
            cpu.name, cpu.since = name, ns


def within(functions: Sequence[Phase], phases: Sequence[Phase]) -> Iterator[Phase]:
    """Yield the functions, cut where a phase of their CPU begins or ends; both in order of CPU and time."""
    edges: dict[int, list[int]] = {}
    for phase in phases:
        edges.setdefault(phase.cpu, []).extend((phase.start, phase.end))
    at = dict.fromkeys(edges, 0)
    for function in functions:
        cuts, number, start = edges.get(function.cpu, []), at.get(function.cpu, 0), function.start
        while number < len(cuts) and cuts[number] < function.end:
            if cuts[number] > start:
                yield Phase(function.cpu, function.name, start, cuts[number])
                start = cuts[number]
            number += 1
        at[function.cpu] = number
        yield Phase(function.cpu, function.name, start, function.end)
