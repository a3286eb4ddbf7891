"""The CPU finds a configuration that the kernel cannot run with: cpu_panic_kernel().

Source: Linux v6.12 arch/arm64/include/asm/smp.h, cpu_panic_kernel().
"""

from __future__ import annotations

from emu.arch.boot import CPU_PANIC_KERNEL
from emu.host.faults import CSide, Fault, Task
from emu.operation import Park
from emu.outcome import End, Outcome

NAME = "panic"


class Panic(Fault):
    """CPU_PANIC_KERNEL at the capability check; the boot CPU panics when it reads it."""

    ends = True

    def check_capabilities(self, c_side: CSide, me: int) -> Task:
        """Leave the status and park."""
        yield from c_side.set_status(me, CPU_PANIC_KERNEL)
        yield Park(Outcome(End.CPU_PANIC_KERNEL))


FAULT = Panic
