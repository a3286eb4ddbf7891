"""What the primary of a kernel leaves in the caches: the lines that it has stored to and not cleaned.

The primary runs at full speed, where no access is told. So memory is kept as it is when the caches go on,
each line that is cleaned after that is recorded again, and what differs at the take-over is dirty.

MODEL: the primary's caches hold every line, and write none back by themselves; DC IVAC cleans as well; stores
that go past the caches while they are on, and maintenance by set and way, are not looked at. Of a boot behind
a kexec they hold nothing at the beginning: all that the boot before has stored is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from emu.machine import Machine
from emu.memory import LINE_SIZE, Memory

_CHUNK = 1 << 16  # bytes: most of memory is zero and is kept as that


@contextmanager
def primary_lines(machine: Machine) -> Iterator[None]:
    """Watch the primary while it runs; at the end put what it has left dirty into ``memory.behind``."""
    if not machine.has_lines:
        yield
        return
    if machine.model is not None:  # it boots behind a kexec
        machine.model.empty()
    kept = _AtPoC(machine.memory)
    machine.interconnect.primary = kept
    machine.engine.unobserve(maintenance=True)
    try:
        yield
    finally:
        machine.engine.unobserve()
        machine.interconnect.primary = None
    machine.memory.behind = kept.behind()


class _AtPoC:
    """Memory as those see it whose caches are off (:class:`emu.machine.interconnect.Primary`)."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._kept: dict[int, bytearray] | None = None  # by PA; None: the caches have been off; others zero

    def caches_on(self) -> None:
        """All that was stored so far went past the caches."""
        if self._kept is None:
            self._kept = {pa: bytearray(data) for pa, data in self._chunks() if data.count(0) < len(data)}

    def maintained(self, pa: int) -> None:
        """The line at ``pa`` is clean."""
        if self._kept is None:
            return
        first, chunk = pa & -LINE_SIZE, pa & -_CHUNK
        at = first - chunk
        kept = self._kept.setdefault(chunk, bytearray(_CHUNK))
        kept[at : at + LINE_SIZE] = self._memory.read_bytes(first, LINE_SIZE)

    def behind(self) -> dict[int, bytes]:
        """Return the lines that differ, by PA, with what memory has of them at the PoC."""
        if self._kept is None:
            return {}
        zero, found = bytearray(_CHUNK), {}
        for pa, data in self._chunks():
            kept = self._kept.get(pa, zero)
            if kept[: len(data)] != data:
                for at in range(0, len(data), LINE_SIZE):
                    if kept[at : at + LINE_SIZE] != data[at : at + LINE_SIZE]:
                        found[pa + at] = bytes(kept[at : at + LINE_SIZE])
        return found

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        memory = self._memory
        for pa in range(memory.base & -_CHUNK, memory.base + memory.size, _CHUNK):
            first, last = max(pa, memory.base), min(pa + _CHUNK, memory.base + memory.size)
            yield first, memory.read_bytes(first, last - first)
