"""The CPU has no 52-bit virtual addresses: ID_AA64MMFR2_EL1.VARange is 0, and early boot finds it out.

Source: Arm DDI 0487, ID_AA64MMFR2_EL1; Linux v6.12 head.S, __cpu_secondary_check52bitva.
"""

from __future__ import annotations

from emu.arch.sysreg import ID_AA64MMFR2_EL1, Encoding
from emu.host.faults import Fault, FaultedSubject
from emu.topology import Cpu

NAME = "no-52bit-va"


class No52BitVa(Fault):
    """VARange = 0."""

    ends = True

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """Where the boot CPU has fewer bits as well, nobody is asked for more."""
        bits = subject.built.va_bits
        return "" if bits == 52 else f"it runs with {bits}-bit VAs, and asks no secondary for 52"

    def id_registers(self, cpu: Cpu) -> dict[Encoding, int]:
        """ID_AA64MMFR2_EL1 without VARange."""
        return {ID_AA64MMFR2_EL1: 0}


FAULT = No52BitVa
