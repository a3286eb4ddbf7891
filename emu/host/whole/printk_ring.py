"""The kernel's printk ring buffer, for a kernel that has no console here.

:source: Linux v6.12 kernel/printk/printk_ringbuffer.h: struct printk_ringbuffer, prb_desc, printk_info, and
    the data block that begins with the ID of its descriptor
"""

from __future__ import annotations

from collections.abc import Iterator

from emu.cpu.pe import PE
from emu.host.whole.kernel_memory import KernelMemory
from emu.memory import Memory
from emu.subject.kernel import KernelImage

_DESC_BYTES, _INFO_BYTES = 24, 88
_FLAGS_SHIFT = 62  # of state_var: desc_state
_COMMITTED, _FINALIZED = 1, 2
_ID_MASK = (1 << _FLAGS_SHIFT) - 1
_CALLER_CPU = 1 << 31  # of caller_id: a CPU's number follows, else a task's
_COUNT_BITS_MAX = 24


def printk_lines(memory: Memory, image: KernelImage, pe: PE) -> Iterator[tuple[int, int, str]]:
    """Yield the CPU (0 where a task has printed), the time stamp (ns) and the text of each line in order.

    Nothing where the kernel has no ring of this layout.
    """
    kernel, address = KernelMemory(memory, pe), image.subject.symbols.address("prb")
    base = kernel.u64(address) if address is not None else None
    if base is not None:
        yield from _Ring(kernel).lines(base)


class _Ring:
    # What is not mapped reads as None.

    def __init__(self, memory: KernelMemory) -> None:
        self._read = memory.read

    def lines(self, base: int) -> Iterator[tuple[int, int, str]]:
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
        for number in range((head_id - tail_id & _ID_MASK) + 1):
            index = (tail_id + number) % (1 << count_bits)
            found = self._record(descs + index * _DESC_BYTES, infos + index * _INFO_BYTES, data, size_bits)
            if found is not None:
                yield found

    def _record(self, desc_va: int, info_va: int, data: int, size_bits: int) -> tuple[int, int, str] | None:
        desc, info = self._read(desc_va, _DESC_BYTES), self._read(info_va, _INFO_BYTES)
        if desc is None or info is None:
            return None
        state, begin, end = (int.from_bytes(desc[at : at + 8], "little") for at in (0, 8, 16))
        if state >> _FLAGS_SHIFT not in (_COMMITTED, _FINALIZED) or begin & 1:
            return None
        time, length = int.from_bytes(info[8:16], "little"), int.from_bytes(info[16:18], "little")
        caller = int.from_bytes(info[20:24], "little")
        size = 1 << size_bits
        wraps = begin >> size_bits != end - 1 >> size_bits
        text = self._read(data + (0 if wraps else begin % size) + 8, length)
        if text is None:
            return None
        cpu = caller & ~_CALLER_CPU if caller & _CALLER_CPU else 0
        stamp = f"[{time // 10**9:5d}.{time % 10**9 // 1000:06d}] "
        return cpu, time, stamp + text.decode(errors="backslashreplace")
