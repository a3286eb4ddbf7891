"""PSCI as an enable-method: the kernel's cpu_psci_ops.

Source: Linux v6.12 arch/arm64/kernel/psci.c, drivers/firmware/psci/psci.c.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any

from emu.arch.psci import Affinity, Function, Return
from emu.host.guest import Guest
from emu.host.played import plays
from emu.machine import Machine
from emu.machine.actor import HostTask
from emu.operation import Delay, FirmwareCall, Log, Operation, Report, Reported

NAME = "psci"
FIRMWARES = ("devicetree", "acpi")
CALLS_FIRMWARE = True

_KILL_SLEEP_NS = 500_000  # usleep_range(100, 1000)
_KILL_LOOKS = 200
_EPERM = -1
_ERRNO = {
    Return.PSCI_RET_NOT_SUPPORTED: -95,  # -EOPNOTSUPP
    Return.PSCI_RET_INVALID_PARAMS: -22,  # -EINVAL
    Return.PSCI_RET_INVALID_ADDRESS: -22,
    Return.PSCI_RET_DENIED: _EPERM,
}


class PsciOperations:
    """CPU_ON, CPU_OFF and AFFINITY_INFO."""

    name = NAME
    why_serial = ""
    can_die = True

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def power_on(self, machine: Machine, cpus: Collection[int]) -> None:
        """PSCI firmware keeps the secondaries off."""

    def firmware_task(self, cpu: int) -> HostTask | None:
        """Nothing: the CPU is off."""
        return None

    def cpu_init(self, cpu: int) -> Generator[Operation, Any, None]:
        """Nothing to do for PSCI."""
        yield from ()

    @plays("cpu_psci_cpu_boot psci_0_2_cpu_on __psci_cpu_on", "arch/arm64/kernel/psci.c")
    def cpu_boot(self, cpu: int) -> Generator[Operation, Any, int]:
        """cpu_psci_cpu_boot(): CPU_ON; give 0 or the errno of psci_to_linux_errno()."""
        guest = self._guest
        result = yield FirmwareCall(
            Function.CPU_ON64, guest.hwids[cpu], guest.entry_pa, guest.context_id(cpu)
        )
        error = _ERRNO.get(result, -22) if result else 0
        if error not in (0, _EPERM):
            yield Log(f"psci: failed to boot CPU{cpu} ({error})")
        return error

    def cpu_booted(self, cpu: int) -> Generator[Operation, Any, None]:
        """Nothing to do for PSCI."""
        yield from ()

    def cpu_postboot(self, cpu: int) -> Generator[Operation, Any, None]:
        """Nothing to do for PSCI."""
        yield from ()

    @plays("cpu_psci_cpu_die psci_0_2_cpu_off", "arch/arm64/kernel/psci.c")
    def cpu_die(self, cpu: int) -> Generator[Operation, Any, None]:
        """cpu_psci_cpu_die(): CPU_OFF, which does not return."""
        yield FirmwareCall(Function.CPU_OFF)

    @plays("op_cpu_kill cpu_psci_cpu_kill", "arch/arm64/kernel/psci.c")
    def cpu_kill(self, cpu: int) -> Generator[Operation, Any, int]:
        """cpu_psci_cpu_kill(): poll AFFINITY_INFO for at most 100 ms."""
        for look in range(_KILL_LOOKS):
            state = yield FirmwareCall(Function.AFFINITY_INFO64, self._guest.hwids[cpu], 0)
            if state == Affinity.OFF:
                polled = look * _KILL_SLEEP_NS // 1_000_000
                yield Log(f"psci: CPU{cpu} killed (polled {polled} ms)", Reported(Report.KILLED, cpu))
                return 0
            yield Delay(_KILL_SLEEP_NS)
        line = f"psci: CPU{cpu} may not have shut down cleanly (AFFINITY_INFO reports {state})"
        yield Log(line, Reported(Report.UNCLEAN, cpu))
        return -110  # -ETIMEDOUT


METHOD = PsciOperations
