"""Which pages of memory may be other than zero."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu import touched as module
from emu.memory import PAGE_SIZE, Memory

_PAGES = 256
_NEEDS_PAGEMAP = pytest.mark.skipif(
    mmap.PAGESIZE != PAGE_SIZE or not Path("/proc/self/pagemap").exists(), reason="a host without pagemap"
)


def _memory(*pages: int) -> Memory:
    memory = Memory(0x4000_0000, _PAGES * PAGE_SIZE)
    for page in pages:
        memory.write(memory.base + page * PAGE_SIZE + 8 * page, 8, 1)
    return memory


def _touched(memory: Memory) -> set[int]:
    runs = list(module.touched(memory.host_address, memory.size))
    assert all(a.stop < b.start for a, b in zip(runs, runs[1:], strict=False)), "upwards, and no two in touch"
    pages = dict(memory.pages())
    assert list(pages) == sorted(pages)
    assert all(page == memory.read_bytes(memory.base + at, PAGE_SIZE) for at, page in pages.items())
    return {at // PAGE_SIZE for at in pages}


@given(st.sets(st.integers(0, _PAGES - 1)))
def test_every_page_that_was_written_is_told(pages: set[int]) -> None:
    assert pages <= _touched(_memory(*pages))


@_NEEDS_PAGEMAP
def test_pages_that_were_not_touched_are_left_out_until_they_are_read() -> None:
    memory = _memory(0, 7, 8, _PAGES - 1)
    assert _touched(memory) == {0, 7, 8, _PAGES - 1}
    assert memory.read(memory.base + 100 * PAGE_SIZE, 8) == 0
    assert _touched(memory) == {0, 7, 8, 100, _PAGES - 1}


@_NEEDS_PAGEMAP
def test_a_copy_of_the_process_has_touched_the_same() -> None:
    memory = _memory(3, 5)
    child = os.fork()
    if child == 0:
        memory.write(memory.base + 9 * PAGE_SIZE, 8, 1)
        os._exit(int(_touched(memory) != {3, 5, 9}))
    assert os.waitpid(child, 0)[1] == 0
    assert _touched(memory) == {3, 5}


@pytest.mark.parametrize("tops", [None, b"", bytes(16), b"\x80" * 16])
def test_where_the_kernel_does_not_know_all_pages_are_told(
    tops: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of an emulated host, whose file is about other addresses: what is known of a probe is not there."""
    monkeypatch.setattr(module, "_tops", lambda *_: tops)
    assert _touched(_memory(3)) == set(range(_PAGES))
