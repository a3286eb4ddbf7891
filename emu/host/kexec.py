"""kexec: the end of one boot, and the next one on the CPU that is left.

Linux v6.12 kernel/kexec_core.c (kernel_kexec), kernel/cpu.c (smp_shutdown_nonboot_cpus) and
arch/arm64/kernel: machine_kexec.c, relocate_kernel.S, smp.c (cpus_are_stuck_in_kernel, smp_send_stop).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emu.arch.mpidr import INVALID_HWID, hwid
from emu.case import Case
from emu.errors import Untestable
from emu.host.choices import KEXEC_STUCK, BootConfig
from emu.host.cpuhp import Core, SyncState
from emu.host.enable_method import EnableMethod
from emu.host.guest import Guest
from emu.host.logical_map import LogicalMap
from emu.host.parameters import FIRST_BOOT_ONLY
from emu.host.platform import LoadedSubject, id_registers_of
from emu.host.played import plays
from emu.host.psci import Psci
from emu.host.secondary import MIGRATE, STOP, Secondary
from emu.machine import Machine
from emu.operation import Copy, Load, LoadUntil, Log, Operation, Reboot, Store
from emu.outcome import ONLINE, End, Outcome

Task = Generator[Operation, Any, None]


@dataclass(frozen=True, slots=True)
class KexecPlan:
    """The second boot, loaded; ``cpu``, a logical number of the first boot, is its boot CPU."""

    loaded: LoadedSubject
    cpu: int

    @property
    def name(self) -> str:
        """The second subject, as the case names it."""
        return self.loaded.config.case.subject


def plan_kexec(
    config: BootConfig, first: LogicalMap, load: Callable[[BootConfig], LoadedSubject]
) -> KexecPlan:
    """Load the second subject of ``config``; ``first`` are the CPUs of the first boot.

    The second boot has its own bring-up and no ``--cycle`` or ``--hotplug``, and of the kernel parameters not
    those that bound the number of CPUs. A fault stays with its CPU.

    :raises EmuError: no such subject, or it cannot be loaded
    """
    assert config.kexec is not None
    cpu = config.kexec.cpu
    case = _second_case(config.case, config.kexec.subject)
    topology = config.topology
    if cpu:
        listed = [entry.hwid for entry in topology.cpus]
        topology = replace(topology, boot_cpu=listed.index(first.hwids[cpu]))
    parameters = replace(config.parameters, maxcpus=None, nr_cpus=None)
    second = replace(
        config, case=case, topology=topology, parameters=parameters, faults={}, hotplug=(), kexec=None
    )
    loaded = load(second)
    if config.faults:
        number_of = {number: cpu for cpu, number in enumerate(loaded.logical.hwids)}
        faults = {
            number_of[first.hwids[old]]: found
            for old, found in config.faults.items()
            if first.hwids[old] in number_of
        }
        loaded = load(replace(second, faults=faults))
    return KexecPlan(loaded, cpu)


def _second_case(case: Case, subject: str) -> Case:
    append = " ".join(word for word in case.append.split() if word.partition("=")[0] not in FIRST_BOOT_ONLY)
    return replace(
        case,
        subject=subject,
        append=append,
        system_map=case.system_map if subject == case.subject else "",
        bringup="auto",
        base="auto",
        cycle=0,
        hotplug="",
        kexec="",
    )


class Kexec:
    """The end of the first boot, as host tasks; ``start`` makes the host's part of the second one."""

    def __init__(
        self,
        plan: KexecPlan,
        machine: Machine,
        firmware: Psci,
        guest: Guest,
        core: Core,
        method: EnableMethod,
        secondary: Secondary,
        *,
        force: bool,
        start: Callable[[Guest, Sequence[int]], None],
    ) -> None:
        self._plan = plan
        self._machine = machine
        self._firmware = firmware
        self._guest = guest
        self._core = core
        self._method = method
        self._secondary = secondary
        self._force = force
        self._start = start
        secondary.migrated = self._kernel_kexec

    def reboot(self) -> Task:
        """On CPU 0, after the first boot: let the chosen CPU do the rest. Returns when the kernel refuses."""
        machine, data, cpu = self._machine, self._guest.data, self._plan.cpu
        stuck = yield Load(data.stuck, 4)
        if stuck and not self._force:  # machine_kexec_prepare()
            yield Log(KEXEC_STUCK)
            return
        machine.actors[0].outcome = ONLINE
        online = yield Load(data.online(cpu), 1)
        if not online:
            machine.power.end_boot(0, self._plan.name)
            machine.stopped = f"kexec: CPU{cpu} is not online after the first boot"
            return
        if not cpu:
            yield from self._kernel_kexec()
        yield Store(data.sync_state(0), SyncState.SYNC_STATE_ONLINE, 4)  # boot_cpu_hotplug_init()
        yield Store(data.request(cpu), MIGRATE, 4)  # migrate_to_reboot_cpu()
        yield from self._secondary.hotplug_thread(0, 0)

    def _kernel_kexec(self) -> Task:
        # On the chosen CPU.
        cpu = self._plan.cpu
        self._machine.power.end_boot(cpu, self._plan.name)
        yield Log("kexec_core: Starting new kernel")
        yield from self._take_others_down(cpu)
        yield Log("Bye!")
        for segment in self._plan.loaded.subject.segments:  # arm64_relocate_new_kernel
            yield Copy(segment.pa, segment.data + bytes(segment.size - len(segment.data)))
        hwid_now = self._guest.hwids[cpu]
        name = Path(self._plan.name).name
        yield Log(f"emu: kexec: {name} boots on CPU{cpu}, hwid {hwid_now:#x}: CPU0 from now on")
        yield Reboot(self._begin)

    @plays("smp_shutdown_nonboot_cpus", "kernel/cpu.c")
    def _take_others_down(self, cpu: int) -> Task:
        """smp_shutdown_nonboot_cpus(); with --force, CPUs that cannot be switched off are stopped as before a
        crash kernel: smp_send_stop().
        """
        data = self._guest.data
        can_die = self._method.can_die and self._guest.built.hotplug_cpu
        if not can_die:
            yield Log("SMP: stopping secondary CPUs")
        for other in range(len(self._guest.hwids)):
            online = yield Load(data.online(other), 1)
            if other == cpu or not online:
                continue
            if can_die:
                error = yield from self._core.cpu_down(other)
                if error:
                    yield Log(f"Failed to offline CPU{other} - error={error}")
            else:
                yield Store(data.request(other), STOP, 4)
                yield LoadUntil(data.online(other), 1, 0)

    def _begin(self) -> None:
        # Between two picks: the machine as the second subject finds it, and its primary's boot.
        machine, loaded = self._machine, self._plan.loaded
        order = machine.power.begin_boot(self._order(loaded.logical))
        mpidrs = [actor.pe.mpidr for actor in machine.actors]
        self._firmware.renumber(mpidrs, order, loaded.config.faults)
        for number, entry in enumerate(loaded.logical.cpus):
            if entry is not None:
                registers = id_registers_of(loaded.config, number, entry, loaded.id_registers)
                machine.actors[number].pe.set_overrides(machine.entry_el, registers)
        at_reset = [number for number in range(1, len(order)) if not machine.power.has_run(number)]
        with machine.host_memory.set_up(0):
            try:
                with machine.unobserved():
                    guest = loaded.place(machine, counted=True)  # it cannot be begun again
            except Untestable as error:
                machine.end(0, Outcome(End.PRIMARY_DID_NOT_BOOT))
                machine.stopped = f"kexec: {error}"
                return
            self._start(guest, at_reset)

    def _order(self, logical: LogicalMap) -> list[int]:
        # The machine's CPU of each new logical number; one that the first kernel had no number for is added.
        machine = self._machine
        mpidrs = [actor.pe.mpidr for actor in machine.actors]
        holes = [cpu for cpu, mpidr in enumerate(mpidrs) if mpidr == INVALID_HWID]
        found = {hwid(mpidr): cpu for cpu, mpidr in enumerate(mpidrs) if mpidr != INVALID_HWID}
        order = []
        for entry in logical.cpus:
            if entry is None:
                mine = holes.pop(0) if holes else None
            else:
                mine = found.get(hwid(entry.mpidr))
            if mine is None:
                mine = len(machine.actors)
                if entry is None:
                    machine.add_cpu(INVALID_HWID, 0, {})
                else:
                    machine.add_cpu(entry.mpidr, entry.midr, {})
            order.append(mine)
        return order
