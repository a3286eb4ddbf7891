"""The CPU's enable-method refuses it: smp_cpu_setup() fails, and the CPU is neither possible nor present.

Source: Linux v6.12 arch/arm64/kernel/smp.c, smp_cpu_setup() and smp_init_cpus().
"""

from __future__ import annotations

from emu.host.faults import Fault

NAME = "setup-refused"


class SetupRefused(Fault):
    """cpu_init() or cpu_prepare() failed."""

    ends = before_code = True

    def refused(self) -> bool:
        """It is."""
        return True


FAULT = SetupRefused
