"""PSCI firmware, as EL3 or a hypervisor implements it (Arm DEN0022; KVM and TF-A agree on the codes)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from emu.arch.mpidr import INVALID_HWID, hwid
from emu.arch.psci import MIGRATE_NOT_REQUIRED, VERSION_1_1, Affinity, Function, Return
from emu.host.faults import CpuOn, Fault
from emu.latency import CpuCosts
from emu.machine.firmware import Answer, Effect, Platform, PowerOff, PowerOn, Shutdown, StartLater, Suspend

_POWER_STATE = 0x0001_FFFF  # of CPU_SUSPEND: StateType and StateID; there are no levels above the CPU
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
_SUSPENDS = {Function.CPU_SUSPEND32, Function.CPU_SUSPEND64}


class PsciState(NamedTuple):
    """What answers depend on: CPU_ON calls by CPU, who was on, whose start is delayed, who is denied."""

    calls: tuple[tuple[int, int], ...]
    was_on: frozenset[int]
    pending: frozenset[int]
    disabled: frozenset[int]


class StartRequest(NamedTuple):
    """Start number ``start`` of one CPU_ON of the CPU with hwid ``target``; its number may change."""

    target: int
    entry_pa: int
    x0: int
    el: int
    start: int


class Psci:
    """Answers the calls of ``conduit``; every CPU is known by its hwid.

    :param mpidrs: raw MPIDR_EL1 by logical CPU; INVALID_HWID of a number without a CPU
    :ivar suspends: there is CPU_SUSPEND: interrupts can wake CPUs
    """

    def __init__(
        self,
        mpidrs: Sequence[int],
        conduit: str = "smc",
        faults: Mapping[int, Sequence[Fault]] = MappingProxyType({}),
    ) -> None:
        self.conduit = conduit
        self.contexts: Mapping[int, int] = {}  # context ID by logical CPU, for faults that mix them up
        self.faults = faults  # by logical CPU
        self.costs: Mapping[int, CpuCosts] = {}  # likewise
        self.suspends = False
        self.disabled: set[int] = set()  # logical CPUs whose _STA says "not enabled": policy denies them
        self._calls: dict[int, int] = {}
        self._was_on: set[int] = set()
        self._pending: set[int] = set()
        self._cpu_of = _cpu_of(mpidrs)

    def renumber(
        self, mpidrs: Sequence[int], order: Sequence[int], faults: Mapping[int, Sequence[Fault]]
    ) -> None:
        """Follow :meth:`emu.machine.power.Power.begin_boot`: CPU ``order[i]`` is CPU i now."""
        new = {old: number for number, old in enumerate(order)}
        self.faults = faults
        self.disabled = {new[cpu] for cpu in self.disabled}
        self._calls = {new[cpu]: calls for cpu, calls in self._calls.items()}
        self._was_on = {new[cpu] for cpu in self._was_on}
        self._pending = {new[cpu] for cpu in self._pending}
        self._cpu_of = _cpu_of(mpidrs)

    def call(self, platform: Platform, cpu: int, function_id: int, x1: int, x2: int, x3: int) -> Answer:
        """Answer one call."""
        match function_id:
            case Function.PSCI_VERSION:
                return Answer(VERSION_1_1)
            case Function.PSCI_FEATURES:
                has = x1 & 0xFFFF_FFFF in (_FEATURES | _SUSPENDS if self.suspends else _FEATURES)
                return Answer(0 if has else Return.PSCI_RET_NOT_SUPPORTED)
            case Function.SMCCC_VERSION:
                return Answer(VERSION_1_1)
            case Function.MIGRATE_INFO_TYPE:
                return Answer(MIGRATE_NOT_REQUIRED)
            case Function.CPU_ON64:
                return self._cpu_on(platform, x1, x2, x3)
            case Function.CPU_ON32:
                return self._cpu_on(platform, x1 & 0xFFFF_FFFF, x2 & 0xFFFF_FFFF, x3 & 0xFFFF_FFFF)
            case Function.CPU_OFF:
                return Answer(None, (PowerOff(cpu),))
            case Function.CPU_SUSPEND32 | Function.CPU_SUSPEND64 if self.suspends:
                return _suspend(cpu, x1 & 0xFFFF_FFFF)
            case Function.AFFINITY_INFO64:
                return Answer(self._affinity_info(platform, x1, x2 & 0xFFFF_FFFF))
            case Function.AFFINITY_INFO32:
                return Answer(self._affinity_info(platform, x1 & 0xFFFF_FFFF, x2 & 0xFFFF_FFFF))
            case Function.SYSTEM_OFF | Function.SYSTEM_RESET:
                return Answer(None, (Shutdown(Function(function_id).name),))
            case _:
                return Answer(Return.PSCI_RET_NOT_SUPPORTED)

    def _cpu_on(self, platform: Platform, target: int, entry_pa: int, context_id: int) -> Answer:
        cpu = self._cpu_of.get(target)
        if cpu is None:
            return Answer(Return.PSCI_RET_INVALID_PARAMS)
        if platform.is_on(cpu):
            return Answer(Return.PSCI_RET_ALREADY_ON)
        if cpu in self._pending:
            return Answer(Return.PSCI_RET_ON_PENDING)
        if cpu in self.disabled:
            return Answer(Return.PSCI_RET_DENIED)
        if entry_pa & 3 or entry_pa not in platform.ram:
            return Answer(Return.PSCI_RET_INVALID_ADDRESS)
        request = CpuOn(
            cpu,
            context_id,
            self.contexts,
            platform.entry_el,
            after_off=cpu in self._was_on,
            call=self._calls.get(cpu, 0),
            delay_ns=self.costs[cpu].alive if cpu in self.costs else 0,
        )
        self._calls[cpu] = request.call + 1
        for fault in self.faults.get(cpu, ()):
            fault.cpu_on(request)
        if request.result is not None:
            return Answer(request.result)
        effects: list[Effect] = []
        for start in range(request.starts):
            delay = request.delay_ns + start * _SECOND_START_NS
            wanted = StartRequest(target, entry_pa, request.context_id, request.el, start)
            if delay:
                if start == 0:
                    self._pending.add(cpu)
                effects.append(StartLater(delay, cpu, wanted))
            else:
                effects += self.start(platform, wanted)
        self._was_on.add(cpu)
        return Answer(Return.PSCI_RET_SUCCESS, tuple(effects))

    def start(self, platform: Platform, request: Hashable) -> tuple[Effect, ...]:
        """Carry out one start of a CPU_ON."""
        assert isinstance(request, StartRequest), "nobody else makes requests"
        number = self._cpu_of[request.target]  # another boot may have begun
        self._pending.discard(number)
        return (PowerOn(number, request.entry_pa, request.x0, request.el),)

    def state(self) -> PsciState:
        """Return what it remembers, for :meth:`set_state`."""
        return PsciState(
            tuple(sorted(self._calls.items())),
            frozenset(self._was_on),
            frozenset(self._pending),
            frozenset(self.disabled),
        )

    def set_state(self, state: Hashable) -> None:
        """Restore what :meth:`state` returned."""
        assert isinstance(state, PsciState), "it is another firmware's"
        self._calls = dict(state.calls)
        self._was_on, self._pending = set(state.was_on), set(state.pending)
        self.disabled = set(state.disabled)

    def _affinity_info(self, platform: Platform, target: int, lowest_level: int) -> int:
        cpu = self._cpu_of.get(target)
        if cpu is None or lowest_level != 0:  # levels above 0 need not be supported since PSCI 1.0
            return Return.PSCI_RET_INVALID_PARAMS
        if cpu in self._pending:
            return Affinity.ON_PENDING
        return Affinity.ON if platform.is_on(cpu) else Affinity.OFF


def _suspend(cpu: int, power_state: int) -> Answer:
    # MODEL: a power-down state is left as a standby state is, behind the call, as KVM and QEMU do it.
    if power_state & ~_POWER_STATE:
        return Answer(Return.PSCI_RET_INVALID_PARAMS)
    return Answer(Return.PSCI_RET_SUCCESS, (Suspend(cpu),))


def _cpu_of(mpidrs: Sequence[int]) -> dict[int, int]:
    # The CPUs by hwid; not the logical numbers without a CPU.
    return {hwid(mpidr): cpu for cpu, mpidr in enumerate(mpidrs) if mpidr != INVALID_HWID}
