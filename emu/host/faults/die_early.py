"""The CPU lacks a capability the system has: cpu_die_early().

Linux v6.12 takes it out of cpu_present_mask first, so that a parallel bring-up's second pass never looks at
it. Source: Linux v6.12 arch/arm64/kernel/smp.c, cpu_die_early().
"""

from __future__ import annotations

from emu.arch.boot import CPU_KILL_ME, CPU_STUCK_IN_KERNEL
from emu.host.faults import CSide, Fault, Task
from emu.operation import Park
from emu.outcome import End, Outcome

NAME = "die-early"


class DieEarly(Fault):
    """cpu_die_early() at the capability check."""

    ends = True

    def check_capabilities(self, c_side: CSide, me: int) -> Task:
        """Say so, leave the status and die; without CONFIG_HOTPLUG_CPU, park."""
        yield from c_side.say(me, f"CPU{me}: will not boot")
        if c_side.clears_present_early:
            yield from c_side.set_present(me, False)
        if not c_side.hotplug_cpu:
            yield from c_side.set_status(me, CPU_STUCK_IN_KERNEL)
            yield Park(Outcome(End.CPU_PARK_LOOP))
        yield from c_side.set_status(me, CPU_KILL_ME)
        yield from c_side.cpu_die(me)


FAULT = DieEarly
