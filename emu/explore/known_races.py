"""Races of Linux that are meant to be, by a symbol of their code or data, and why.

The kernel marks such accesses with READ_ONCE() and WRITE_ONCE(), which the code does not show.
"""

from __future__ import annotations

from collections.abc import Mapping

KNOWN: Mapping[str, str] = {
    # Linux v6.12 kernel/sched/sched.h, task_on_rq_queued(): READ_ONCE(p->on_rq) without the lock of the run
    # queue, for whose holder __schedule() stores it.
    "__do_set_cpus_allowed": "p->on_rq is read without the lock of its run queue",
}
