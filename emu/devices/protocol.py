"""What a device is: registers at physical addresses, state that changes with time, interrupt lines.

A device raises its interrupts by the ``signal`` of its :class:`Board`; an interrupt controller takes them
and says which CPU has an IRQ. A device may own system registers too, one set for each CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from emu.arch.sysreg import Encoding

NO_CPU = -1  # a line that is no CPU's own: an SPI
# Lines of a controller to each CPU, and of a GICv3 to what can switch a CPU on: there is an interrupt for it,
# and its interface sleeps (WakeRequest).
IRQ, FIQ, WAKE = 0, 1, 2

# Takes one line of text that a device prints.
Console = Callable[[str], None]
# Takes the level of an interrupt line: its number, the device's own from 0; the CPU that it is private to, or
# NO_CPU; whether it is high.
Signal = Callable[[int, int, bool], None]


def _no_signal(line: int, cpu: int, high: bool) -> None:
    pass


def _print_nothing(line: str) -> None:
    pass


def _no_offset(cpu: int) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Board:
    """What a device is connected to.

    :ivar console: prints
    :ivar receives: what comes in, for a device that receives bytes; a bytearray may get more
    :ivar signal: the interrupt lines that come out of the device; told of changes alone
    :ivar hwids: the CPUs' affinities (MPIDR_EL1 & MPIDR_HWID_BITMASK), u64, by number
    :ivar counter_offset: gives CNTVOFF_EL2 of a CPU (u64)
    :ivar redistributors: of a GICv3, how many CPUs have theirs in each region, in order; none: all in one
    """

    console: Console = _print_nothing
    signal: Signal = _no_signal
    hwids: tuple[int, ...] = (0,)
    counter_offset: Callable[[int], int] = _no_offset
    receives: bytes | bytearray = b""
    redistributors: tuple[int, ...] = ()


class Device(Protocol):
    """Registers in memory. Offsets are bytes from its base; ``now`` is simulated time in ns.

    An access of 8 bytes comes as two of 4, the lower first, as on a 32-bit bus.
    """

    def load(self, cpu: int, offset: int, size: int, now: int) -> int:
        """Return what a load of ``size`` bytes (1, 2 or 4) by ``cpu`` reads, unsigned."""
        ...

    def store(self, cpu: int, offset: int, size: int, value: int, now: int) -> None:
        """Take a store of ``size`` bytes (1, 2 or 4) by ``cpu``."""
        ...

    def tick(self, now: int) -> int | None:
        """Let time come to ``now``; return when to be called next at the latest (ns), None: never."""
        ...

    def state(self) -> Any:
        """Return all that the device remembers, as a value that can be pickled and compared."""
        ...

    def set_state(self, state: Any) -> None:
        """Restore what :meth:`state` returned; signals nothing."""
        ...


@runtime_checkable
class SystemRegisters(Protocol):
    """A device that CPUs reach by MRS and MSR. Traps and exception levels are checked before."""

    @property
    def encodings(self) -> frozenset[Encoding]:
        """The registers that it owns."""
        ...

    def read(self, cpu: int, encoding: Encoding, now: int) -> int:
        """Return what an MRS of ``cpu`` reads, u64; it may have an effect."""
        ...

    def write(self, cpu: int, encoding: Encoding, value: int, now: int) -> None:
        """Take an MSR of ``cpu``; ``value`` is u64."""
        ...

    def reset(self, cpu: int, now: int) -> None:
        """``cpu`` is reset, and these registers with it: they are in its power domain."""
        ...


@runtime_checkable
class ShownRegisters(SystemRegisters, Protocol):
    """A device whose system registers can be looked at."""

    def look(self, cpu: int, encoding: Encoding) -> int | None:
        """Return what an MRS of ``cpu`` would read, u64, and change nothing; None: it is write-only."""
        ...


class CpuTimer(SystemRegisters, Protocol):
    """Timers of each CPU, in the time of that CPU."""

    def tick(self, cpu: int, now: int) -> int | None:
        """Let the time of ``cpu`` come to ``now`` (ns); return when its next line changes, or None."""
        ...


class InterruptController(Protocol):
    """Takes interrupt lines and says which CPU has an interrupt: IRQ, or FIQ for group 0.

    One whose CPU interfaces are system registers is a :class:`SystemRegisters` too.
    """

    def regions(self) -> Mapping[str, Device]:
        """Return its registers in memory by the name of the region."""
        ...

    def set_line(self, intid: int, cpu: int, high: bool) -> None:
        """Take the level of an input: an SPI (``cpu`` is NO_CPU) or a PPI of ``cpu``."""
        ...

    def has_irq(self, cpu: int) -> bool:
        """Tell whether IRQ of ``cpu`` is asserted; PSTATE.I is the CPU's own affair."""
        ...

    def wakes(self, cpu: int) -> bool:
        """Tell whether the interface of ``cpu`` sleeps and there is an interrupt for it."""
        ...

    def acknowledged(self, cpu: int) -> tuple[int, int]:
        """Return how many SGIs ``cpu`` has acknowledged so far, and how many other interrupts."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """What a file of this folder defines.

    :ivar name: the word of ``--device``
    :ivar device: makes one on a board
    :ivar region_bytes: of its registers; a multiple of 4,096
    :ivar summary: what it is, in one line
    """

    name: str
    device: Callable[[Board], Device]
    region_bytes: int
    summary: str


@dataclass(frozen=True, slots=True)
class ControllerKind:
    """What a file of ``emu/devices/controllers`` defines.

    :ivar name: as the case has it
    :ivar controller: makes one on a board, which it signals changes of lines to: IRQ and FIQ of each CPU
    :ivar cpus_max: CPUs that it can have
    :ivar summary: what it is, in one line
    """

    name: str
    controller: Callable[[Board], InterruptController]
    cpus_max: int
    summary: str
