"""The steps of a debug session: which CPU made each, at which PC, and the trace records that it added.

"Who wrote this last" and "when was this PC reached before" are answered from this log, without going back.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator

from emu.machine import Machine
from emu.operation import STORES, Kind, Record

WRITES = (*STORES, Kind.COPY)  # records of what writes memory

_FORCED = 0x8000  # beside the CPU: the scheduler had not picked it
_CPU_MASK = 0x7FFF
_NOBODY = 0x7FFF  # in the place of a CPU


class StepLog:
    """The steps that a machine has made. A position is the number of steps before it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._copied: dict[int, bytes] = {}  # by row, the bytes of a COPY record
        machine.recorder.copied = self._copied
        self._cpus = array("H")  # by position: the CPU, with _FORCED
        self._pcs = array("Q")  # its PC before the step (VA, or PA with the MMU off); 0: of a host task
        self._rows = array("I")  # rows of the trace before the step
        self._runs: list[range] = []  # steps that were made at once: their PCs and records are not told apart

    @property
    def position(self) -> int:
        """The number of steps made."""
        return len(self._cpus)

    def add(self, cpu: int, pc: int, row: int, *, forced: bool) -> int:
        """Log a step and return the position behind it.

        :param cpu: -1: no CPU did it, such as caches that write a line back by themselves
        :param pc: PC before the step; 0: of a host task
        :param row: rows that the trace had before the step
        :param forced: the scheduler had not picked this CPU
        """
        cpu = _NOBODY if cpu < 0 else cpu
        self._cpus.append(cpu | _FORCED if forced else cpu)
        self._pcs.append(pc)
        self._rows.append(row)
        return len(self._rows)

    def add_run(self, cpu: int, steps: int, row: int) -> None:
        """Log ``steps`` forced steps of ``cpu`` that were made at once: the first gets all their records.

        :meth:`resolve` tells them apart later.

        :param row: rows that the trace had before them
        """
        if steps:
            self._runs.append(range(self.position, self.position + steps))
        self._cpus.extend([cpu | _FORCED] * steps)
        self._pcs.extend([0] * steps)
        self._rows.extend([row, *[len(self._machine.trace)] * (steps - 1)][:steps])

    def next_run(self) -> range | None:
        """Return steps that were made at once and are not told apart, or None."""
        return self._runs[0] if self._runs else None

    def steps_of(self, steps: range) -> tuple[bytes, list[int]]:
        """Return the PCs (u64 each) of these steps, and how many records came before each."""
        first = self._rows[steps.start]
        return self._pcs[steps.start : steps.stop].tobytes(), [
            row - first for row in self._rows[steps.start : steps.stop]
        ]

    def resolve(self, run: range, pcs: bytes, rows: list[int]) -> None:
        """Tell the steps of a run apart, by what :meth:`steps_of` has said of the same steps."""
        first = self._rows[run.start]
        self._pcs[run.start : run.stop] = array("Q", pcs)
        self._rows[run.start : run.stop] = array("I", [first + row for row in rows])
        self._runs.remove(run)

    def forced(self, first: int) -> dict[int, int]:
        """Return the CPU of each forced step from position ``first`` on, by position."""
        return {
            at: self._cpus[at] & _CPU_MASK for at in range(first, self.position) if self._cpus[at] & _FORCED
        }

    def last_rows(self) -> range:
        """Return the indices of the trace records that the last step added."""
        return range(self._rows[-1], len(self._machine.trace))

    def renumbered(self) -> dict[int, int]:
        """Return the numbers of CPUs by those before, if the last step has begun another boot."""
        rows = map(self._machine.trace.row, self.last_rows())
        return {value: cpu for kind, _size, cpu, _pc, _pa, value in rows if kind == Kind.REENTRY}

    def row(self, index: int) -> Record:
        """Return record ``index`` of the trace."""
        kind, size, actor, pc, pa, value = self._machine.trace.row(index)
        return Record(Kind(kind), actor, size, pc, pa, value)

    def rows_of(self, position: int) -> range:
        """Return the indices of the trace records that step ``position`` added."""
        end = self._rows[position + 1] if position + 1 < len(self._rows) else len(self._machine.trace)
        return range(self._rows[position], end)

    def records_of(self, position: int) -> list[Record]:
        """Return the trace records that step ``position`` added."""
        return [self.row(index) for index in self.rows_of(position)]

    def records_back(self) -> Iterator[tuple[int, Record]]:
        """Yield (position, record) of each trace record, the last first."""
        for position in range(self.position - 1, -1, -1):
            for index in reversed(self.rows_of(position)):
                yield position, self.row(index)

    def stepped(self, position: int) -> tuple[int, int]:
        """Return (CPU, PC) of step ``position``, which is below :attr:`position`.

        CPU -1: no CPU did it; PC 0: of a host task
        """
        cpu = self._cpus[position] & _CPU_MASK
        return -1 if cpu == _NOBODY else cpu, self._pcs[position]

    def last_write(self, pa: int, size: int, before: int | None = None) -> tuple[int, Record] | None:
        """Return (position, record) of the last store to any of these bytes (PA), or None.

        Of a copy the record has the part that lies in these bytes: its PA, size, and value. One that
        :meth:`is_unrecorded` stands for all that this boot has stored.

        :param before: only steps before this position
        """
        trace = self._machine.trace
        last = self._rows[before] if before is not None and before < len(self._rows) else len(trace)
        first = self._rows[0] if self._rows else len(trace)
        for index in range(last - 1, first - 1, -1):
            kind, width, actor, pc, at, value = trace.row(index)
            if self.is_unrecorded(kind):
                return self._position_of(index), self.row(index)
            if kind not in WRITES:
                continue
            width = value if kind == Kind.COPY else width
            if at < pa + size and pa < at + width:
                if kind != Kind.COPY:
                    return self._position_of(index), self.row(index)
                begin, end = max(pa, at), min(pa + size, at + width)
                part = int.from_bytes(self._copied[index][begin - at : end - at], "little")
                return self._position_of(index), Record(Kind.COPY, actor, end - begin, pc, begin, part)
        return None

    def is_unrecorded(self, kind: int) -> bool:
        """Tell whether a record ends a boot that a kernel's own CPU has made, which has no records."""
        return kind == Kind.TAKE_OVER and bool(self._machine.landings.return_va)

    def _position_of(self, index: int) -> int:
        # The step that has added record `index`.
        return bisect_right(self._rows, index) - 1

    def back(self, cpu: int, count: int) -> tuple[int, int]:
        """Return the position before the last ``count`` steps of ``cpu`` (-1: none), and how many lack."""
        found = -1
        for position, other, _pc in self.steps_back():
            if other == cpu:
                found, count = position, count - 1
                if not count:
                    break
        return found, count

    def steps_back(self) -> Iterator[tuple[int, int, int]]:
        """Yield (position, CPU, PC) of each step, the last first; PC 0: of a host task."""
        for position in range(self.position - 1, -1, -1):
            yield (position, *self.stepped(position))
