"""A processing element (Arm ARM: PE) as the rest of the emulator sees it: registers by name, and counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from emu.arch.sysreg import Encoding
from emu.cpu.cores import Core
from emu.cpu.exceptions import CpuException


class Counters:
    """What a PE has done, exact at every speed. All are counts of retired instructions or accesses."""

    __slots__ = ("calls", "exceptions", "instructions", "loads", "loads_mmu_off", "stores", "wfe_sleeps")

    def __init__(self) -> None:
        self.instructions = 0
        self.loads = 0
        self.loads_mmu_off = 0
        self.stores = 0
        self.wfe_sleeps = 0
        self.calls = 0
        self.exceptions = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class Registers(Protocol):
    """X0..X30 and the current SP at index 31, u64 each."""

    def __getitem__(self, number: int, /) -> int:
        """Return Xn."""

    def __setitem__(self, number: int, value: int, /) -> None:
        """Set Xn."""

    def __iter__(self) -> Iterator[int]:
        """Yield X0..X30, then SP."""

    def __len__(self) -> int:
        """Return 32."""


def own_register(pe: PE, encoding: Encoding) -> int | None:
    """Return what a system register (u64) reads that ``pe``, or its core, has otherwise than the engine.

    None: it is the engine's.
    """
    value = pe.overrides.get(encoding)
    return pe.core.id_register(encoding) if value is None else value


def operand(registers: Registers, number: int) -> int:
    """Return what an instruction reads from register ``number`` (u64): 31 is XZR, not SP."""
    return registers[number] if number != 31 else 0


class PE(Protocol):
    """One core: registers and counters.

    :ivar index: logical CPU number
    :ivar mpidr: raw MPIDR_EL1 (u64)
    :ivar midr: raw MIDR_EL1 (u64)
    :ivar core: what it is by its MIDR_EL1
    :ivar entry_el: the EL that it was last entered at, 1 or 2: with 1 firmware or a hypervisor has EL2
    :ivar e2h_res1: whether HCR_EL2.E2H is always set (FEAT_E2H0 is not there)
    :ivar overrides: system registers that read differently on this PE than on others of its core
    :ivar lines: bit 0: IRQ is asserted, bit 1: FIQ is (:meth:`emu.cpu.engine.FreeRunning.set_line`)
    :ivar reached: VA of the breakpoint that the PE stands at: going on passes it
    """

    index: int
    mpidr: int
    midr: int
    core: Core
    entry_el: int
    e2h_res1: bool
    overrides: dict[Encoding, int]
    lines: int
    reached: int
    counters: Counters

    @property
    def x(self) -> Registers:
        """X0..X30, and the current stack pointer at index 31."""

    @property
    def pc(self) -> int:
        """VA of the next instruction."""

    @pc.setter
    def pc(self, va: int) -> None: ...

    @property
    def el(self) -> int:
        """Current exception level, 0..3."""

    @property
    def sp(self) -> int:
        """The current stack pointer (VA)."""

    @property
    def daif(self) -> int:
        """PSTATE.D, A, I and F as the DAIF register has them: bits 9:6."""

    @property
    def mmu_on(self) -> bool:
        """Whether stage 1 translation of the current EL is enabled (SCTLR_ELx.M)."""

    @property
    def nzcv(self) -> int:
        """The flags as NZCV has them: bits 31:28."""

    @nzcv.setter
    def nzcv(self, value: int) -> None: ...

    @property
    def pstate(self) -> int:
        """PSTATE as SPSR_ELx has it: flags, masks, EL and SPSel."""

    def stack_pointer(self, el: int) -> int:
        """Return SP_ELx (VA), whether it is in use or banked."""

    def general(self, first: int, count: int) -> bytes:
        """Return ``count`` registers from ``first`` on, 8 bytes each, little-endian: X0..X30, SP, PC."""

    def sysreg(self, encoding: Encoding) -> int:
        """Return a system register (u64) at little cost; only those that a switched-out PE keeps at hand."""

    def system_register(self, encoding: Encoding) -> int:
        """Return any system register (u64) as the engine has it, whatever the overrides say."""

    def set_system_register(self, encoding: Encoding, value: int) -> None:
        """Set a system register (u64) as if the PE had written it, without its traps."""

    def vector_register(self, number: int) -> int:
        """Return V0..V31 (u128)."""

    def translate(self, va: int, *, is_store: bool = False) -> int | None:
        """Return the PA that the PE reads, or writes, at ``va`` in its current regime; None: it faults."""

    def override(self, encoding: Encoding, value: int) -> None:
        """Make a system register read as ``value`` (u64) on this PE."""

    def set_overrides(self, el: int, values: Mapping[Encoding, int]) -> None:
        """Make these system registers (u64), no others, read so on this PE, which is entered at ``el``."""

    def state(self) -> bytes:
        """Return everything that the engine keeps of the PE, for :meth:`set_state`."""

    def set_state(self, state: bytes) -> None:
        """Restore what :meth:`state` returned; monitor and event register are not in it."""

    def vector(self, exception: CpuException) -> int:
        """Return the VA of the vector that the exception would be taken to now."""

    def take(self, exception: CpuException) -> int:
        """Take the exception as the architecture says and return the EL it was taken to."""

    def reset_counters(self) -> None:
        """Set the counters to 0: what was done so far was preparation."""

    def open_monitor(self) -> None:
        """Make the next store-exclusive fail: the interconnect has cleared the monitor."""
