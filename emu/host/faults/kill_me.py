"""The CPU asks to be killed: status CPU_KILL_ME, then cpu_die, without a word in the log.

Source: Linux v6.12 arch/arm64/include/asm/smp.h, CPU_KILL_ME; the fault-injection log of the v3 series.
"""

from __future__ import annotations

from emu.arch.boot import CPU_KILL_ME
from emu.host.faults import CSide, Fault, FaultedSubject, Task

NAME = "kill-me"


class KillMe(Fault):
    """CPU_KILL_ME at the capability check."""

    ends = True

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """A kernel without CPU hotplug has nobody who asks for it."""
        built = subject.built
        return "" if built.hotplug_cpu else "built without CONFIG_HOTPLUG_CPU, nobody writes CPU_KILL_ME"

    def check_capabilities(self, c_side: CSide, me: int) -> Task:
        """Leave the status and die."""
        yield from c_side.set_status(me, CPU_KILL_ME)
        yield from c_side.cpu_die(me)


FAULT = KillMe
