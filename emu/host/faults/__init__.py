"""Faults: what goes wrong with a chosen CPU, with firmware when it starts that CPU, or with what the boot CPU
does for it.

A module of this folder is one kind (:class:`FaultKind`); its docstring says what it models and the source.
``--fault CPU:KIND[:ARGUMENT]`` and ``--fault FIRST-LAST:KIND`` choose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from emu.arch.sysreg import Encoding
from emu.errors import InvalidCase
from emu.host.built import Built
from emu.operation import Operation
from emu.registry import discover, not_one_of
from emu.topology import Cpu

Task = Generator[Operation, Any, None]


class CSide(Protocol):
    """What a fault may do in the C side of its CPU (:class:`emu.host.secondary.Secondary`)."""

    @property
    def hotplug_cpu(self) -> bool:
        """Whether the kernel has CONFIG_HOTPLUG_CPU."""
        ...

    @property
    def clears_present_early(self) -> bool:
        """Whether cpu_die_early() takes the CPU out of cpu_present_mask."""
        ...

    def say(self, me: int, line: str) -> Task:
        """printk() of a CPU that is not online."""
        ...

    def set_status(self, me: int, status: int) -> Task:
        """update_cpu_boot_status()."""
        ...

    def set_present(self, me: int, present: bool) -> Task:
        """set_cpu_present()."""
        ...

    def cpu_die(self, me: int) -> Task:
        """cpu_ops->cpu_die()."""
        ...


@dataclass(slots=True)
class CpuOn:
    """One CPU_ON as firmware will carry it out; a fault may change any field."""

    cpu: int
    context_id: int
    contexts: Mapping[int, int]  # what the kernel hands every CPU, by logical number
    el: int
    after_off: bool  # the CPU was on before
    call: int  # how many CPU_ON calls there have been for this CPU, from 0
    delay_ns: int = 0
    starts: int = 1
    result: int | None = None  # an error to return instead of starting the CPU


@dataclass(frozen=True, slots=True)
class FaultedSubject:
    """What decides whether a fault makes a difference.

    :ivar name: as given
    :ivar context_id: whether a secondary takes what CPU_ON hands it
    :ivar conduit: of firmware calls
    :ivar entry_el: of the boot CPU
    :ivar built: what it can do
    :ivar cpu: the CPU with the fault, a logical number
    :ivar method: its enable-method, and what the next three are of
    :ivar calls_firmware: CPU_ON starts the CPU
    :ivar sends_event: the boot CPU sends an event that wakes it
    :ivar cleans: the boot CPU cleans to the PoC what the CPU reads with its MMU off
    :ivar starts_again: the kernel calls CPU_ON for a CPU that it has switched off
    """

    name: str
    context_id: bool
    conduit: str
    entry_el: int
    built: Built
    cpu: int
    method: str
    calls_firmware: bool
    sends_event: bool
    cleans: bool
    starts_again: bool

    def without_event(self) -> str:
        """Why a fault of the event that wakes it changes nothing; "" when there is one."""
        if self.sends_event:
            return ""
        return f"enable-method {self.method} sends no event (--enable-method spin-table)"


@dataclass(frozen=True, slots=True)
class Fault:
    """The base of all faults, without effect. ``argument`` is the number after the kind, or 0."""

    argument: int = 0
    excuses: ClassVar[bool] = True  # the CPU need not come online; its outcome must be reported
    of_lines: ClassVar[bool] = False  # it shows where the memory model has lines, and nowhere else
    of_second_start: ClassVar[bool] = False  # it shows when the CPU is started again
    ends: ClassVar[bool] = False  # the CPU comes no further than to where it acts
    before_code: ClassVar[bool] = False  # likewise, and the CPU executes nothing

    @property
    def is_of_hardware(self) -> bool:
        """Whether it is in firmware or in the CPU, and not in what the host plays of a kernel."""
        own, base = type(self), Fault
        return (
            own.cpu_on is not base.cpu_on
            or own.id_registers is not base.id_registers
            or own.is_e2h_res1 is not base.is_e2h_res1
        )

    def cannot_be(self, cpus: int) -> str:
        """Why a machine with ``cpus`` CPUs cannot have the fault; "" when it can."""
        return ""

    def changes_nothing(self, subject: FaultedSubject) -> str:
        """Why the fault makes no difference with this subject; "" when it does."""
        return ""

    def of_boot_cpu(self, task: Generator[Operation, Any, Any]) -> Generator[Operation, Any, Any]:
        """Return the boot CPU's task for the CPU (table entry, release word, kick) with the fault."""
        return task

    def id_registers(self, cpu: Cpu) -> dict[Encoding, int]:
        """ID registers (u64 by encoding) that differ on the CPU."""
        return {}

    def is_e2h_res1(self, cpu: Cpu) -> bool:
        """Whether HCR_EL2.E2H of the CPU is always set."""
        return False

    def in_table(self) -> bool:
        """Whether the kernel's look-up table has an entry for the CPU."""
        return True

    def refused(self) -> bool:
        """Whether smp_cpu_setup() refuses the CPU."""
        return False

    def cpu_on(self, request: CpuOn) -> None:
        """Change ``request`` before firmware carries it out."""

    def check_capabilities(self, c_side: CSide, me: int) -> Task:
        """check_local_cpu_capabilities() on the CPU."""
        yield from ()


@dataclass(frozen=True, slots=True)
class FaultKind:
    """The definition of one kind of fault.

    :ivar name: the word of ``--fault CPU:NAME``
    :ivar fault: the class
    :ivar summary: what goes wrong, in one line
    :ivar argument: meaning of the number in ``CPU:NAME:NUMBER``; "": the fault takes none
    """

    name: str
    fault: type[Fault]
    summary: str
    argument: str = ""


FAULTS = discover(__name__, FaultKind)
_SPEC = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?:([a-z0-9-]+)(?::(\d{1,20}))?")


def _spelt(cpu: int, fault: Fault) -> str:
    # The beginning of a refusal.
    name = next(name for name, kind in FAULTS.items() if kind.fault is type(fault))
    return f"fault={cpu}:{name}"


def parse_faults(text: str, cpus: int) -> dict[int, list[Fault]]:
    """Return the faults by logical CPU from a comma-separated list of specifications.

    :raises InvalidCase: malformed; an unknown kind or CPU; an argument missing or not allowed
    """
    found: dict[int, list[Fault]] = {}
    for spec in filter(None, text.split(",")):
        match = _SPEC.fullmatch(spec)
        if not match:
            raise InvalidCase(f"fault={spec}: CPU:KIND, FIRST-LAST:KIND or CPU:KIND:NUMBER")
        first, kind = int(match[1]), match[3]
        last = int(match[2]) if match[2] else first
        if kind not in FAULTS:
            raise InvalidCase(f"fault={spec}: {kind} is {not_one_of(kind, FAULTS)}")
        if not 1 <= first <= last < cpus:
            raise InvalidCase(f"fault={spec}: the secondaries are CPU1..CPU{cpus - 1}")
        if (match[4] is None) == bool(FAULTS[kind].argument):
            raise InvalidCase(f"fault={spec}: {kind} takes {FAULTS[kind].argument or 'no argument'}")
        argument = int(match[4] or 0)
        if argument >= 1 << 62:
            raise InvalidCase(f"fault={spec}: a number below 2**62")
        fault = FAULTS[kind].fault(argument)
        if why := fault.cannot_be(cpus):
            raise InvalidCase(f"fault={spec}: {why}")
        for cpu in range(first, last + 1):
            found.setdefault(cpu, []).append(fault)
    for cpu, of_cpu in found.items():
        for number, fault in enumerate(of_cpu):
            for other in of_cpu[:number]:
                if why := _not_together(other, fault):
                    raise InvalidCase(f"{_spelt(cpu, fault)}: beside {_spelt(cpu, other)}: {why}")
    return found


def _not_together(one: Fault, other: Fault) -> str:
    # Why one of two faults of a CPU changes nothing; "" when both do.
    if type(one) is type(other):
        return "one of a kind is enough"
    if one.before_code or other.before_code:
        return "a CPU that is never started shows no other fault"
    return "each of them ends the CPU, and the later one is not reached" if one.ends and other.ends else ""


def faults_before_load(faults: Mapping[int, Sequence[Fault]], *, lines: bool, again: bool) -> None:
    """Refuse a fault that no subject shows in such a run.

    :param lines: the memory model has cache lines
    :param again: a CPU may be started a second time
    :raises InvalidCase: there is one; the message says why
    """
    for cpu, found in sorted(faults.items()):
        for fault in found:
            if fault.of_lines and not lines:
                raise InvalidCase(
                    f"{_spelt(cpu, fault)}: no caches, so that nothing is cleaned (--memory caches)"
                )
            if fault.of_second_start and not again:
                raise InvalidCase(f"{_spelt(cpu, fault)}: no CPU is started a second time (--cycle 1)")


def check_setup(faults: Mapping[int, Sequence[Fault]], name: str) -> None:
    """Refuse a fault of smp_cpu_setup() on a kernel, whose primary runs its own.

    :param name: of the kernel
    :raises InvalidCase: there is one
    """
    for cpu, found in sorted(faults.items()):
        for fault in found:
            if fault.refused():
                raise InvalidCase(
                    f"{_spelt(cpu, fault)}: {name}: its primary runs its own smp_cpu_setup(), which "
                    "no firmware here makes fail"
                )


def check_faults(faults: Mapping[int, Sequence[Fault]], subject_of: Callable[[int], FaultedSubject]) -> None:
    """Refuse a fault that makes no difference.

    :param subject_of: by logical CPU
    :raises InvalidCase: there is one; the message says why
    """
    for cpu, found in sorted(faults.items()):
        subject = subject_of(cpu)
        for fault in found:
            why = fault.changes_nothing(subject)
            of_call = type(fault).cpu_on is not Fault.cpu_on
            if not why and of_call and not subject.calls_firmware:
                why = f"enable-method {subject.method} does not call CPU_ON (--enable-method psci)"
            if why:
                raise InvalidCase(f"{_spelt(cpu, fault)}: {subject.name}: {why}")
