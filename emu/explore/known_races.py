"""Races of Linux that are meant to be, by a symbol of their code or data, and why.

The kernel marks such accesses with READ_ONCE() and WRITE_ONCE(), which the code does not show.
"""

from __future__ import annotations

from collections.abc import Mapping

_JIFFIES = "jiffies are read at any time, as they are"
_TK_CORE = "read under the sequence counter of tk_core"
_ALTERNATIVES = "READ_ONCE() and WRITE_ONCE() under stop_machine()"
_STATE = "p->__state is read with READ_ONCE()"
_CAPABILITIES = "capabilities are found once, before what asks for them is patched"

# A kernel without symbols of data is told by its code.
KNOWN: Mapping[str, str] = {
    # Linux v6.12 kernel/sched/sched.h, task_on_rq_queued(): READ_ONCE(p->on_rq) without the lock of the run
    # queue, for whose holder __schedule() stores it.
    "__do_set_cpus_allowed": "p->on_rq is read without the lock of its run queue",
    # include/linux/jiffies.h: volatile; do_timer() is the one writer.
    "jiffies": _JIFFIES,
    "do_timer": _JIFFIES,
    # kernel/time/timekeeping.c: readers of the two try again when tk_core.seq has changed.
    "tk_core": _TK_CORE,
    # kernel/time/tick-common.c, tick_setup_periodic(): under jiffies_seq.
    "tick_next_period": "read under the sequence counter of jiffies",
    "ktime_get": _TK_CORE,
    "ktime_get_update_offsets_now": _TK_CORE,
    # kernel/rcu/tree.c: gp_seq, gp_state, gp_start and others with READ_ONCE() and WRITE_ONCE().
    "rcu_state": "READ_ONCE() and WRITE_ONCE(): RCU looks without its lock, and then with it",
    # kernel/time/hrtimer.c: base->running and timer->base under base->seq.
    "hrtimer_active": "base->running is read under base->seq",
    # kernel/sched/loadavg.c: READ_ONCE(calc_load_update) in calc_load_nohz_start() and others.
    "calc_load_update": "READ_ONCE() and WRITE_ONCE()",
    # kernel/sched/core.c, idle_cpu(): rq->nr_running and others, "a snapshot".
    "idle_cpu": "a look at a run queue without its lock",
    # kernel/sched/core.c, __ttwu_queue_wakelist(): WRITE_ONCE(rq->ttwu_pending, 1), which idle_cpu() and, in
    # kernel/sched/fair.c, sched_balance_newidle() read without the lock of the run queue.
    "ttwu_queue_wakelist": "rq->ttwu_pending says that a task may come, and is read without a lock",
    # kernel/sched/core.c, prepare_task_switch() and try_to_wake_up(): READ_ONCE(p->__state), WRITE_ONCE().
    "finish_task_switch": _STATE,
    "try_to_wake_up": _STATE,
    # kernel/sched/fair.c, cfs_rq_last_update_time(): u64_u32_load().
    "sync_entity_load_avg": "avg.last_update_time is read without the lock of its run queue",
    "set_task_rq_fair": "avg.last_update_time is read without the lock of its run queue",
    # kernel/sched/fair.c, update_sysctl(): a plain word that each CPU that comes online scales anew.
    "update_sysctl": "a word that is scaled by the number of CPUs, and read without a lock",
    # arch/arm64/kernel/alternative.c: while (!READ_ONCE(all_alternatives_applied)) cpu_relax().
    "all_alternatives_applied": _ALTERNATIVES,
    "__apply_alternatives_multi_stop": _ALTERNATIVES,
    # arch/arm64/kernel/cpufeature.c, update_cpu_capabilities(): __set_bit() on system_cpucaps.
    "update_cpu_capabilities": _CAPABILITIES,
    # arch/arm64/kernel/proton-pack.c, is_spectre_bhb_affected(): max_bhb_k, the largest of all CPUs.
    "is_spectre_bhb_affected": _CAPABILITIES,
}
