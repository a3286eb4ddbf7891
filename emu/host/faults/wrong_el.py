"""Firmware starts the CPU at another exception level than the boot CPU's. Source: booting.rst, "same EL"."""

from __future__ import annotations

from emu.arch.sysreg import MIDR_EL1, MPIDR_EL1, Encoding
from emu.host.faults import CpuOn, Fault, FaultedSubject
from emu.topology import Cpu

NAME = "wrong-el"


class WrongEl(Fault):
    """EL1 instead of EL2, EL2 instead of EL1."""

    def id_registers(self, cpu: Cpu) -> dict[Encoding, int]:
        """At EL2 MPIDR_EL1 and MIDR_EL1 are the physical ones."""
        return {MPIDR_EL1: cpu.mpidr, MIDR_EL1: cpu.midr}

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """EL2 is the hypervisor's that answers HVC."""
        if subject.conduit == "hvc" and subject.entry_el == 1:
            return "a hypervisor answers HVC: no CPU can be entered at EL2 (--conduit smc)"
        return ""

    def cpu_on(self, request: CpuOn) -> None:
        """The other level."""
        request.el = 3 - request.el


FAULT = WrongEl
