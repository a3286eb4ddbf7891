"""PSCI firmware, as EL3 or a hypervisor implements it (Arm DEN0022; KVM and TF-A agree on the codes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from emu.actor import State
from emu.arch.mpidr import INVALID_HWID, hwid
from emu.arch.psci import MIGRATE_NOT_REQUIRED, VERSION_1_1, Affinity, Function, Return
from emu.host.faults import CpuOn, Fault
from emu.machine import Machine

_SECOND_START_NS = 1_000_000  # after the first, so that the CPU has got to C
_FEATURES = {
    Function.PSCI_VERSION,
    Function.PSCI_FEATURES,
    Function.CPU_ON32,
    Function.CPU_ON64,
    Function.CPU_OFF,
    Function.AFFINITY_INFO32,
    Function.AFFINITY_INFO64,
    Function.MIGRATE_INFO_TYPE,
    Function.SYSTEM_OFF,
    Function.SYSTEM_RESET,
    Function.SMCCC_VERSION,
}


class PsciState(NamedTuple):
    """What firmware remembers of its calls: CPU_ON calls by CPU, who was on, whose start is delayed."""

    calls: tuple[tuple[int, int], ...]
    was_on: frozenset[int]
    pending: frozenset[int]


class Psci:
    """Answers the calls of ``conduit``; every CPU of the machine is known by its hwid."""

    def __init__(
        self,
        machine: Machine,
        conduit: str = "smc",
        faults: Mapping[int, Sequence[Fault]] = MappingProxyType({}),
    ) -> None:
        self.conduit = conduit
        self.contexts: Mapping[int, int] = {}  # context ID by logical CPU, for faults that mix them up
        self.faults = faults  # by logical CPU
        self.disabled: set[int] = set()  # logical CPUs whose _STA says "not enabled": policy denies them
        self._calls: dict[int, int] = {}
        self._was_on: set[int] = set()
        self._pending: set[int] = set()
        self._cpu_of = _cpu_of(machine)

    def renumber(self, machine: Machine, order: Sequence[int], faults: Mapping[int, Sequence[Fault]]) -> None:
        """Follow :meth:`Machine.begin_boot`: CPU ``order[i]`` is CPU i now."""
        new = {old: number for number, old in enumerate(order)}
        self.faults = faults
        self.disabled = {new[cpu] for cpu in self.disabled}
        self._calls = {new[cpu]: calls for cpu, calls in self._calls.items()}
        self._was_on = {new[cpu] for cpu in self._was_on}
        self._pending = {new[cpu] for cpu in self._pending}
        self._cpu_of = _cpu_of(machine)

    def call(self, machine: Machine, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> int | None:
        """Return x0; None for calls that do not return."""
        match function_id:
            case Function.PSCI_VERSION:
                return VERSION_1_1
            case Function.PSCI_FEATURES:
                return 0 if x1 in _FEATURES else Return.PSCI_RET_NOT_SUPPORTED
            case Function.SMCCC_VERSION:
                return VERSION_1_1
            case Function.MIGRATE_INFO_TYPE:
                return MIGRATE_NOT_REQUIRED
            case Function.CPU_ON64:
                return self._cpu_on(machine, x1, x2, x3)
            case Function.CPU_ON32:
                return self._cpu_on(machine, x1 & 0xFFFF_FFFF, x2 & 0xFFFF_FFFF, x3 & 0xFFFF_FFFF)
            case Function.CPU_OFF:
                machine.power_off(cpu)
                return None
            case Function.AFFINITY_INFO64 | Function.AFFINITY_INFO32:
                return self._affinity_info(machine, x1, x2)
            case Function.SYSTEM_OFF | Function.SYSTEM_RESET:
                machine.stopped = Function(function_id).name
                return None
            case _:
                return Return.PSCI_RET_NOT_SUPPORTED

    def _cpu_on(self, machine: Machine, target: int, entry_pa: int, context_id: int) -> int:
        cpu = self._cpu_of.get(target)
        if cpu is None:
            return Return.PSCI_RET_INVALID_PARAMS
        if machine.actors[cpu].state is not State.OFF:
            return Return.PSCI_RET_ALREADY_ON
        if cpu in self._pending:
            return Return.PSCI_RET_ON_PENDING
        if cpu in self.disabled:
            return Return.PSCI_RET_DENIED
        if entry_pa & 3 or not machine.memory.contains(entry_pa, 4):
            return Return.PSCI_RET_INVALID_ADDRESS
        request = CpuOn(
            cpu,
            context_id,
            self.contexts,
            machine.entry_el,
            after_off=cpu in self._was_on,
            call=self._calls.get(cpu, 0),
        )
        self._calls[cpu] = request.call + 1
        for fault in self.faults.get(cpu, ()):
            fault.cpu_on(request)
        if request.result is not None:
            return request.result
        for start in range(request.starts):
            delay = request.delay_ns + start * _SECOND_START_NS

            switch_on = partial(
                self.switch_on, machine, target, entry_pa, request.context_id, request.el, start
            )
            if delay:
                if start == 0:
                    self._pending.add(cpu)
                machine.call_later(delay, cpu, switch_on)
            else:
                switch_on()
        self._was_on.add(cpu)
        return Return.PSCI_RET_SUCCESS

    def switch_on(self, machine: Machine, target: int, entry_pa: int, x0: int, el: int, start: int) -> None:
        """Carry out start number ``start`` of one CPU_ON."""
        number = self._cpu_of[target]  # another boot may have begun
        self._pending.discard(number)
        machine.power_on(number, entry_pa, x0, el)

    def state(self) -> PsciState:
        """Return what it remembers, for :meth:`set_state`."""
        return PsciState(
            tuple(sorted(self._calls.items())), frozenset(self._was_on), frozenset(self._pending)
        )

    def set_state(self, state: PsciState) -> None:
        """Be as it was when :meth:`state` gave this."""
        self._calls = dict(state.calls)
        self._was_on, self._pending = set(state.was_on), set(state.pending)

    def _affinity_info(self, machine: Machine, target: int, lowest_level: int) -> int:
        cpu = self._cpu_of.get(target)
        if cpu is None or lowest_level != 0:  # levels above 0 need not be supported since PSCI 1.0
            return Return.PSCI_RET_INVALID_PARAMS
        if cpu in self._pending:
            return Affinity.ON_PENDING
        return Affinity.OFF if machine.actors[cpu].state is State.OFF else Affinity.ON


def _cpu_of(machine: Machine) -> dict[int, int]:
    # The CPUs by hwid; not the logical numbers without a CPU.
    return {
        hwid(actor.pe.mpidr): cpu
        for cpu, actor in enumerate(machine.actors)
        if actor.pe.mpidr != INVALID_HWID
    }
