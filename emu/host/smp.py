"""The boot CPU from smp_init_cpus() to the end of smp_init(), as a host task (kernel/smp.c, arch/arm64
smp.c).

Every access to what it shares with the secondaries is an operation on guest memory, so that schedules and
memory models apply to it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from emu.arch.mpidr import INVALID_HWID
from emu.host.bringup import Strategy
from emu.host.cpuhp import Core
from emu.host.enable_method import EnableMethod
from emu.host.faults import Fault
from emu.host.guest import Guest, note_table
from emu.host.kick import Kick
from emu.host.lookup_table import write_entry
from emu.host.played import plays
from emu.machine import Machine
from emu.machine.actor import HostTask
from emu.operation import FlushDeferred, Load, Log, Operation, Park, Store
from emu.outcome import ONLINE


class Smp:
    """Brings the secondaries of one guest up, and if asked down and up again."""

    def __init__(
        self,
        machine: Machine,
        guest: Guest,
        core: Core,
        kick: Kick,
        strategy: Strategy,
        method: EnableMethod,
        faults: Mapping[int, Sequence[Fault]],
    ) -> None:
        self._machine = machine
        self._guest = guest
        self._core = core
        self._kick = kick
        self._strategy = strategy
        self._method = method
        self._faults = faults
        self.reboot: Callable[[], Generator[Operation, Any, None]] | None = None  # what comes after all that

    def boot_cpu(
        self,
        secondaries: Sequence[int],
        maxcpus: int,
        cycles: int,
        after: Callable[[], Generator[Operation, Any, None]] | None = None,
    ) -> HostTask:
        """Bring up at most ``maxcpus`` CPUs, the boot CPU among them, then take all down and up ``cycles``
        times, then do what comes ``after``.
        """
        yield Store(self._guest.data.online(0), 1, 1)
        yield from self._fill_table()
        note_table(self._machine, self._guest)
        for line in self._guest.logical.messages:
            yield Log(line)
        for cpu in secondaries:
            yield from self._method.cpu_init(cpu)
        yield from self._smp_init(secondaries, maxcpus)
        if self._guest.design.data_read_only_after_init:
            self._kick.data_read_only = True  # mark_rodata_ro()
        for _ in range(cycles):
            yield from self._cycle(secondaries)
        if after:
            yield from after()
        if self.reboot:
            yield from self.reboot()
        yield Park(ONLINE)
        return None

    @plays("smp_init", "kernel/smp.c")
    def _smp_init(self, secondaries: Sequence[int], maxcpus: int) -> Generator[Operation, Any, None]:
        yield Log("smp: Bringing up secondary CPUs ...")
        yield from self._strategy.bring_up(secondaries, maxcpus - 1)
        yield FlushDeferred(-1)
        online = 0
        for cpu in range(len(self._guest.hwids)):
            online += yield Load(self._guest.data.online(cpu), 1)
        yield Log(f"smp: Brought up 1 node, {online} CPU{'s' if online != 1 else ''}")
        yield from self._hyp_mode_check()

    @plays("smp_init_cpus", "arch/arm64/kernel/smp.c")
    def _fill_table(self) -> Generator[Operation, Any, None]:
        """smp_init_cpus(): the logical map, or the table that this design scans instead."""
        guest, design = self._guest, self._guest.design
        if design.lookup_table is None:
            return
        for cpu, hwid in enumerate(guest.hwids):
            if hwid == INVALID_HWID or (cpu == 0 and design.table_skips_boot_cpu):
                continue
            if not all(fault.in_table() for fault in self._faults.get(cpu, ())):
                continue
            entry = write_entry(guest, cpu, hwid)
            for fault in self._faults.get(cpu, ()):
                entry = fault.of_boot_cpu(entry)
            yield from entry
        if not design.forgets_refused:
            return
        for cpu, (hwid, final) in enumerate(zip(guest.hwids, guest.logical.cpu_logical_map, strict=True)):
            if hwid != final:  # smp_cpu_setup() has failed
                yield from write_entry(guest, cpu, design.lookup_table_unused)

    @plays("smp_cpus_done hyp_mode_check", "arch/arm64/kernel/smp.c")
    def _hyp_mode_check(self) -> Generator[Operation, Any, None]:
        pa = self._guest.pa_of(self._guest.subject.va("__boot_cpu_mode"))
        modes = []
        for index in (0, 1):
            modes.append((yield Load(pa + 4 * index, 4)))
        if modes[0] != modes[1]:
            yield Log("CPU: CPUs started in inconsistent modes")
        else:
            yield Log(f"CPU: All CPU(s) started at EL{modes[0] & 0xF}")
        self._machine.recorder.boot_modes(modes)

    def _cycle(self, secondaries: Sequence[int]) -> Generator[Operation, Any, None]:
        # Every secondary that is online goes down; then all are brought up again, one after the other.
        for cpu in secondaries:
            yield from self._core.cpu_down(cpu)
        for cpu in secondaries:
            error = yield from self._core.cpu_up(cpu)
            if error:
                yield Log(f"emu: cpu_up({cpu}) failed: {error}")
