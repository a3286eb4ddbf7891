"""The kernel's printk ring buffer, for a kernel that has no console here.

:source: Linux v6.12 kernel/printk/printk_ringbuffer.h: struct printk_ringbuffer, prb_desc, printk_info, and
    the data block that begins with the ID of its descriptor
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emu.cpu.pe import PE
from emu.host.whole.kernel_memory import KernelMemory
from emu.memory import Memory
from emu.subject.kernel import KernelImage

_DESC_BYTES = 24
# Of struct printk_info: CONFIG_PRINTK_EXECUTION_CTX (in 7.3, not in 6.18) puts caller_id2 and comm into it.
_INFO_LEAST, _INFO_MOST = 88, 256
_FLAGS_SHIFT = 62  # of state_var: desc_state
_RESERVED, _COMMITTED, _FINALIZED = 0, 1, 2
_HEAD = 24  # of struct printk_ringbuffer: desc_ring.head_id
_ID_MASK = (1 << _FLAGS_SHIFT) - 1
_CALLER_CPU = 1 << 31  # of caller_id: a CPU's number follows, else a task's
_COUNT_BITS_MAX = 24


@dataclass(frozen=True, slots=True)
class RingLine:
    """A line of the ring: its number, the CPU (0 where a task has printed), the time stamp (ns), the text.

    :ivar id: of its descriptor in the ring that it was read from
    """

    number: int
    id: int
    cpu: int
    time: int
    text: str

    @property
    def stamped(self) -> str:
        """The text as a console prints it."""
        return f"[{self.time // 10**9:5d}.{self.time % 10**9 // 1000:06d}] {self.text}"


def ring_lines(
    memory: Memory,
    image: KernelImage,
    pe: PE,
    first: int = 0,
    behind: int | None = None,
    *,
    final: bool = False,
) -> Iterator[RingLine]:
    """Yield the lines of the ring in order, from number ``first`` on, up to one that is being written.

    :param behind: the ID of a line, if it is known that what is wanted comes behind that
    :param final: up to one that the kernel may still add to as well (pr_cont())

    Nothing where the kernel has no ring of this layout.
    """
    kernel, address = KernelMemory(memory, pe), image.subject.symbols.address("prb")
    base = kernel.u64(address) if address is not None else None
    if base is not None:
        yield from _Ring(kernel, final).lines(base, first, behind)


class RingHead:
    """Where the ring of a kernel tells its newest line, to be looked at often."""

    def __init__(self, memory: Memory, image: KernelImage) -> None:
        subject = image.subject
        self._memory, self._va_offset = memory, subject.va_offset
        self.is_known = subject.symbols.address("prb") is not None
        self._pa = subject.pa("prb") if self.is_known else 0

    def read(self) -> tuple[int, int]:
        """Return the ring in use and its newest line, as numbers that change with each line."""
        ring = self._memory.read(self._pa, 8)
        pa = ring - self._va_offset & 2**64 - 1
        return ring, self._memory.read(pa + _HEAD, 8) if self._memory.contains(pa, _HEAD + 8) else 0


class _Ring:
    # What is not mapped reads as None.

    def __init__(self, memory: KernelMemory, final: bool) -> None:
        self._read = memory.read
        self._ends_at = (_RESERVED, _COMMITTED) if final else (_RESERVED,)

    def lines(self, base: int, first: int, behind: int | None) -> Iterator[RingLine]:
        head = self._read(base, 96)
        if head is None:
            return
        words = [int.from_bytes(head[at : at + 8], "little") for at in range(0, 96, 8)]
        count_bits, descs, infos, head_id, tail_id = words[0] & 0xFFFF_FFFF, *words[1:5]
        # v6.9 put last_finalized_seq before the data ring.
        at = 5 if words[5] & 0xFFFF_FFFF <= _COUNT_BITS_MAX + 8 and words[6] >> 48 == 0xFFFF else 6
        size_bits, data = words[at] & 0xFFFF_FFFF, words[at + 1]
        if not 0 < count_bits <= _COUNT_BITS_MAX or not 0 < size_bits <= _COUNT_BITS_MAX + 8:
            return
        count = head_id - tail_id & _ID_MASK
        info_bytes = self._info_bytes(infos, tail_id, count, 1 << count_bits)
        begin = 0 if behind is None else (behind - tail_id & _ID_MASK) + 1
        for number in range(begin if begin <= count + 1 else 0, count + 1):
            index = (tail_id + number) % (1 << count_bits)
            desc = self._read(descs + index * _DESC_BYTES, _DESC_BYTES)
            info = self._read(infos + index * info_bytes, _INFO_LEAST)
            if (
                desc is None
                or info is None
                or int.from_bytes(desc[:8], "little") >> _FLAGS_SHIFT in self._ends_at
            ):
                return
            if int.from_bytes(info[:8], "little") >= first:
                found = self._record(desc, info, data, size_bits, tail_id + number & _ID_MASK)
                if found is not None:
                    yield found

    def _info_bytes(self, infos: int, tail_id: int, count: int, size: int) -> int:
        # How far two infos are apart: so far that neighbours in the ring have numbers that follow each other.
        # Of one line it does not matter: a ring begins at its first info.
        for number in range(1, min(count, 3)):
            index = (tail_id + number) % size
            for apart in range(_INFO_LEAST, _INFO_MOST + 1, 8) if index + 1 < size else ():
                first, next_ = (self._read(infos + each * apart, 8) for each in (index, index + 1))
                if first is None or next_ is None:
                    continue
                if int.from_bytes(next_, "little") - int.from_bytes(first, "little") == 1:
                    return apart
        return _INFO_LEAST

    def _record(self, desc: bytes, info: bytes, data: int, size_bits: int, id_: int) -> RingLine | None:
        state, begin, end = (int.from_bytes(desc[at : at + 8], "little") for at in (0, 8, 16))
        if state >> _FLAGS_SHIFT not in (_COMMITTED, _FINALIZED) or begin & 1:
            return None
        number, time = (int.from_bytes(info[at : at + 8], "little") for at in (0, 8))
        length = int.from_bytes(info[16:18], "little")
        caller = int.from_bytes(info[20:24], "little")
        size = 1 << size_bits
        wraps = begin >> size_bits != end - 1 >> size_bits
        text = self._read(data + (0 if wraps else begin % size) + 8, length)
        if text is None:
            return None
        cpu = caller & ~_CALLER_CPU if caller & _CALLER_CPU else 0
        return RingLine(number, id_, cpu, time, text.decode(errors="backslashreplace"))
