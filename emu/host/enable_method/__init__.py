"""Enable-methods: how the boot CPU gets a secondary out of firmware (the kernel's struct cpu_operations).

Each module of this folder defines one (:class:`MethodKind`), whose ``method`` creates an
:class:`EnableMethod`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from emu.host.faults import Fault
from emu.host.guest import Guest
from emu.machine import Machine
from emu.machine.actor import HostTask
from emu.operation import Operation
from emu.registry import discover, part_of


class EnableMethod(Protocol):
    """The kernel's struct cpu_operations, as host tasks of the boot CPU."""

    name: str
    why_serial: str  # why CPUs may not be kicked before earlier ones have left firmware; "": they may
    can_die: bool  # a CPU can be switched off again

    def power_on(self, machine: Machine, cpus: Collection[int]) -> None:
        """Put the secondaries of ``cpus`` where firmware leaves them at reset."""
        ...

    def firmware_task(self, cpu: int) -> HostTask | None:
        """Return firmware's task on a secondary from reset on; None: the CPU is off."""
        ...

    def cpu_init(self, cpu: int) -> Generator[Operation, Any, None]:
        """Before the first boot of ``cpu``: tell firmware the PA of the kernel's entry."""
        ...

    def cpu_boot(self, cpu: int) -> Generator[Operation, Any, int]:
        """Kick ``cpu``; return 0 or a negative errno."""
        ...

    def cpu_booted(self, cpu: int) -> Generator[Operation, Any, None]:
        """After ``cpu`` has come online, or the boot CPU has stopped waiting for it."""
        ...

    def cpu_postboot(self, cpu: int) -> Generator[Operation, Any, None]:
        """On ``cpu``, when it has reached secondary_start_kernel()."""
        ...

    def cpu_die(self, cpu: int) -> Generator[Operation, Any, None]:
        """On ``cpu``: switch it off; does not return when ``can_die``."""
        ...

    def cpu_kill(self, cpu: int) -> Generator[Operation, Any, int]:
        """Wait until ``cpu`` is off; return 0 or a negative errno."""
        ...


@dataclass(frozen=True, slots=True)
class MethodKind:
    """The definition of one enable-method.

    :ivar name: the word of ``--enable-method``, as in firmware's tables
    :ivar method: creates one for a guest
    :ivar firmwares: each kind of firmware that can describe it
    :ivar summary: how a CPU gets out of firmware, in one line
    :ivar release_addr: each CPU has its own word or mailbox, whose PA is in firmware's tables
    :ivar parking_version: version of the parking protocol in the MADT
    :ivar calls_firmware: the boot CPU starts a CPU by CPU_ON
    :ivar sends_event: the boot CPU sends an event behind the word that releases a CPU
    :ivar cleans: the boot CPU cleans what releases a CPU to the PoC
    """

    name: str
    method: Callable[[Guest], EnableMethod]
    firmwares: tuple[str, ...]
    summary: str
    release_addr: bool = False
    parking_version: int = 0
    calls_firmware: bool = False
    sends_event: bool = False
    cleans: bool = False


METHOD_KINDS = discover(__name__, MethodKind)
METHODS = part_of(METHOD_KINDS, lambda kind: kind.method)


class PerCpu:
    """get_cpu_ops(): each CPU with its own method, when firmware gives them different ones."""

    def __init__(self, methods: Mapping[int, EnableMethod]) -> None:
        self._methods = methods
        kinds = list({method.name: method for method in methods.values()}.values())
        self._kinds = kinds
        self.name = ", ".join(method.name for method in kinds)
        self.why_serial = next((method.why_serial for method in kinds if method.why_serial), "")
        self.can_die = all(method.can_die for method in kinds)

    def power_on(self, machine: Machine, cpus: Collection[int]) -> None:
        """Each kind for its own CPUs."""
        for method in self._kinds:
            method.power_on(machine, cpus)

    def firmware_task(self, cpu: int) -> HostTask | None:
        """The CPU's."""
        return self._methods[cpu].firmware_task(cpu)

    def cpu_init(self, cpu: int) -> Generator[Operation, Any, None]:
        """The CPU's."""
        return self._methods[cpu].cpu_init(cpu)

    def cpu_boot(self, cpu: int) -> Generator[Operation, Any, int]:
        """The CPU's."""
        return self._methods[cpu].cpu_boot(cpu)

    def cpu_booted(self, cpu: int) -> Generator[Operation, Any, None]:
        """The CPU's."""
        return self._methods[cpu].cpu_booted(cpu)

    def cpu_postboot(self, cpu: int) -> Generator[Operation, Any, None]:
        """The CPU's."""
        return self._methods[cpu].cpu_postboot(cpu)

    def cpu_die(self, cpu: int) -> Generator[Operation, Any, None]:
        """The CPU's."""
        return self._methods[cpu].cpu_die(cpu)

    def cpu_kill(self, cpu: int) -> Generator[Operation, Any, int]:
        """The CPU's."""
        return self._methods[cpu].cpu_kill(cpu)


class WithFaults(PerCpu):
    """An enable-method, with the CPUs' faults applied to the boot CPU's part of it."""

    def __init__(self, method: EnableMethod, faults: Mapping[int, Sequence[Fault]]) -> None:
        super().__init__(_AllCpus(method))
        self._faults = faults
        self._kinds = [method]
        self.name, self.why_serial, self.can_die = method.name, method.why_serial, method.can_die

    def cpu_init(self, cpu: int) -> Generator[Operation, Any, None]:
        """The method's, as the CPU's faults have it."""
        return self._faulty(cpu, super().cpu_init(cpu))

    def cpu_boot(self, cpu: int) -> Generator[Operation, Any, int]:
        """The method's, as the CPU's faults have it."""
        return self._faulty(cpu, super().cpu_boot(cpu))

    def _faulty(self, cpu: int, task: Generator[Operation, Any, Any]) -> Generator[Operation, Any, Any]:
        for fault in self._faults.get(cpu, ()):
            task = fault.of_boot_cpu(task)
        return task


class _AllCpus(dict[int, EnableMethod]):
    # The same method for every CPU.

    def __init__(self, method: EnableMethod) -> None:
        super().__init__({0: method})

    def __missing__(self, cpu: int) -> EnableMethod:
        return self[0]


def make_enable_method(guest: Guest) -> EnableMethod:
    """Return the enable-method of the possible secondaries; a :class:`PerCpu` when theirs differ."""
    names = {cpu: guest.method_of(cpu) for cpu in sorted(guest.logical.possible - {0})}
    made = {name: METHODS[name](guest) for name in sorted(set(names.values()))}
    if len(made) == 1:
        return next(iter(made.values()))
    if not made:
        return METHODS["psci"](guest)
    return PerCpu({cpu: made[name] for cpu, name in names.items()})
