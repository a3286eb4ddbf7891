"""A boot that is run ahead once and brought back: what schedules run from there is translated.

A schedule runs in a copy of the process, which has the translations that the process had. Most of the time of
one that translates all of it by itself is that.
"""

from __future__ import annotations

import mmap
import pickle

from emu.host.whole.boot import WholeBoot
from emu.host.whole.kept import graph_of
from emu.memory import PAGE_SIZE


def warm(boot: WholeBoot) -> bool:
    """Run ``boot`` to its end and bring it back; tell whether it could be, else nothing has been done."""
    graph, memory = graph_of(boot), boot.machine.memory
    try:
        state = graph.dump()
    except (pickle.PicklingError, TypeError, AttributeError):
        return False
    changed = []
    with mmap.mmap(-1, memory.size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as before:
        for at, page in memory.pages():
            before[at : at + PAGE_SIZE] = page
        boot.on_line = None
        boot.run()
        for at, page in memory.pages():
            was = before[at : at + PAGE_SIZE]
            if page != was:
                memory.octets[at : at + PAGE_SIZE] = was
                changed.append(memory.base + at)
    graph.load(state)
    boot.machine.engine.free.rewind(changed)
    return True
