"""A boot that is run ahead once and brought back: what schedules run from there is translated.

A schedule runs in a copy of the process, which has the translations that the process had. Most of the time of
one that translates all of it by itself is that.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator

from emu.host.whole.boot import WholeBoot
from emu.host.whole.kept import graph_of
from emu.memory import PAGE_SIZE, Memory


def warm(boot: WholeBoot) -> bool:
    """Run ``boot`` to its end and bring it back; tell whether it could be, else nothing has been done."""
    graph, memory = graph_of(boot), boot.machine.memory
    try:
        state = graph.dump()
    except (pickle.PicklingError, TypeError, AttributeError):
        return False
    pages = {number: page for number, page in _pages(memory) if page != _EMPTY}
    boot.on_line = None
    boot.run()
    changed = []
    for number, page in _pages(memory):
        was = pages.get(number, _EMPTY)
        if page != was:
            memory.view[number * PAGE_SIZE : (number + 1) * PAGE_SIZE] = was
            changed.append(memory.base + number * PAGE_SIZE)
    graph.load(state)
    boot.machine.engine.free.rewind(changed)
    return True


_EMPTY = bytes(PAGE_SIZE)


def _pages(memory: Memory) -> Iterator[tuple[int, bytes]]:
    for number in range(memory.size // PAGE_SIZE):
        yield number, bytes(memory.view[number * PAGE_SIZE : (number + 1) * PAGE_SIZE])
