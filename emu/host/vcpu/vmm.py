"""The VMM's part of vCPU hotplug: what ``_STA`` says of each vCPU, and whether CPU_ON is allowed.

Source: Linux v6.12 Documentation/arch/arm64/cpu-hotplug.rst; ACPI 6.5, 6.3.7 _STA; Arm DEN0022, DENIED.
"""

from __future__ import annotations

from collections.abc import Mapping

from emu.host.psci import Psci

STA_PRESENT = 1 << 0
STA_ENABLED = 1 << 1


class Vmm:
    """One VMM: ``sta`` is ``_STA`` by logical CPU. What it does is no operation of the guest's."""

    def __init__(self, firmware: Psci, enabled: Mapping[int, bool]) -> None:
        self._firmware = firmware
        self.sta = {cpu: STA_PRESENT | (STA_ENABLED if is_on else 0) for cpu, is_on in enabled.items()}

    def plug(self, cpu: int) -> None:
        """Give the guest a vCPU: enabled, and CPU_ON is allowed."""
        self.sta[cpu] = STA_PRESENT | STA_ENABLED
        self.allow(cpu)

    def eject(self, cpu: int, *, present: bool) -> None:
        """_EJ0: take the vCPU away.

        MODEL: a vCPU that runs all the same runs on; removal is policy, as the kernel's documentation has it.

        :param present: keep bit 0 of _STA, as a VMM must
        """
        self.sta[cpu] = STA_PRESENT if present else 0
        self.deny(cpu)

    def allow(self, cpu: int) -> None:
        """Let CPU_ON start the vCPU."""
        self._firmware.disabled.discard(cpu)

    def deny(self, cpu: int) -> None:
        """Answer CPU_ON with DENIED."""
        self._firmware.disabled.add(cpu)

    def denies(self, cpu: int) -> bool:
        """Tell whether CPU_ON would be DENIED."""
        return cpu in self._firmware.disabled
