"""The kernel's part of vCPU hotplug, on the boot CPU: registration, ejection, and writes to sysfs.

Linux v6.12 drivers/acpi/scan.c and acpi_processor.c, arch/arm64/kernel/smp.c (arch_register_cpu,
arch_unregister_cpu), drivers/base/core.c (device_online, device_offline), kernel/cpu.c (target_store).
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from emu.host.cpuhp import Core, Cpuhp
from emu.host.data import PER_CPU
from emu.host.faults import Fault
from emu.host.guest import Guest
from emu.host.lookup_table import entry_pa, write_entry
from emu.host.vcpu.vmm import STA_ENABLED, STA_PRESENT, Vmm
from emu.machine import Machine
from emu.operation import Load, Log, Mask, Operation, Report, Reported, Store, Wanted

Task = Generator[Operation, Any, None]
Step = Generator[Operation, Any, int]


class Hotplug:
    """What happens to the vCPUs of one guest once all that may are up.

    ``present_follows`` says that a CPU is present from add to remove, as KERNEL's designs of base v3 have it;
    Linux v6.12 takes every possible CPU for present, and only ``enabled`` changes.
    """

    def __init__(
        self,
        machine: Machine,
        guest: Guest,
        core: Core,
        vmm: Vmm,
        faults: Mapping[int, Sequence[Fault]],
        *,
        acpi: bool,
        present_follows: bool,
    ) -> None:
        self._machine = machine
        self._guest = guest
        self._core = core
        self._vmm = vmm
        self._faults = faults
        self._acpi = acpi
        self._present_follows = present_follows
        self._mapped = set(guest.logical.possible)
        self._offline: dict[int, bool] = {}  # struct device: offline
        self._warned = False  # pr_err_once()
        self._noted: dict[int, tuple[int, int, int, int, int, bool]] = {}
        self._actions: dict[str, Callable[[int], Step]] = {
            "add": self._add,
            "remove": lambda cpu: self._eject(cpu, present=True),
            "vanish": lambda cpu: self._eject(cpu, present=False),
            "notify": self._device_check,
            "online": self._online,
            "offline": self._offline_store,
            "kick": self._kick,
            "allow": self._allow,
            "deny": self._deny,
        }

    def run(self, actions: Sequence[tuple[int, str]]) -> Task:
        """Carry ``actions`` out, (logical CPU, name) each; what fails is told as a shell would tell it."""
        yield from self._register_all()
        self._note_masks()
        for cpu, action in actions:
            error = yield from self._actions[action](cpu)
            if error:
                line = f"emu: {cpu}:{action} failed: {error} ({errno.errorcode[-error]})"
                yield Log(line, Reported(Report.ACTION_FAILED, cpu))
            self._note_masks()

    # -- registration -----------------------------------------------------------------------------

    def _register_all(self) -> Task:
        """cpu_dev_register_generic(), or with ACPI the first scan of the namespace."""
        # MODEL: v6.12 says "has been hot-added" of every CPU that this scan finds; here none is.
        for cpu in sorted(self._guest.logical.possible):
            present = yield Load(self._guest.data.present(cpu), 1)
            if self._acpi and self._vmm.sta[cpu] & STA_ENABLED or not self._acpi and present:
                yield from self._arch_register_cpu(cpu)

    def _arch_register_cpu(self, cpu: int) -> Step:
        data = self._guest.data
        present = yield Load(data.present(cpu), 1)
        if not present:
            yield from self._present_bit_is_not_to_change()
            return -errno.ENODEV
        online = yield Load(data.online(cpu), 1)
        self._offline[cpu] = not online
        yield Store(data.enabled(cpu), 1, 1)
        return 0

    def _arch_unregister_cpu(self, cpu: int) -> Task:
        data = self._guest.data
        present = yield Load(data.present(cpu), 1)
        if present and not self._vmm.sta[cpu] & STA_PRESENT:
            yield from self._present_bit_is_not_to_change()
        yield Store(data.enabled(cpu), 0, 1)

    def _present_bit_is_not_to_change(self) -> Task:
        if not self._warned:
            self._warned = True
            yield Log("Changing CPU present bit is not supported")

    def map_cpu(self, cpu: int) -> Task:
        """acpi_map_cpu(): the number that the hwid has had since smp_init_cpus() is in use."""
        self._mapped.add(cpu)
        listed = all(fault.in_table() for fault in self._faults.get(cpu, ()))
        if self._guest.design.lookup_table is not None and listed:
            yield from write_entry(self._guest, cpu, self._guest.hwids[cpu])
        if self._present_follows:
            yield Store(self._guest.data.present(cpu), 1, 1)

    def unmap_cpu(self, cpu: int) -> Task:
        """acpi_unmap_cpu(): nobody may find the number; it stays reserved for its hwid."""
        self._mapped.discard(cpu)
        if self._present_follows:
            yield Store(self._guest.data.present(cpu), 0, 1)
        if self._guest.design.lookup_table is not None:
            yield from write_entry(self._guest, cpu, self._guest.design.lookup_table_unused)

    # -- ACPI -------------------------------------------------------------------------------------

    def _add(self, cpu: int) -> Step:
        self._vmm.plug(cpu)
        return (yield from self._device_check(cpu))

    def _device_check(self, cpu: int) -> Step:
        """acpi_scan_device_check(), acpi_processor_add(), acpi_processor_hotadd_init()."""
        enumerated = yield Load(self._guest.data.enabled(cpu), 1)
        if enumerated or not self._vmm.sta[cpu] & STA_PRESENT:
            return 0
        if not self._vmm.sta[cpu] & STA_ENABLED:
            return -errno.ENODEV
        yield from self.map_cpu(cpu)
        error = yield from self._arch_register_cpu(cpu)
        if error:
            yield from self.unmap_cpu(cpu)
            return error
        yield Log(f"ACPI: CPU{cpu} has been hot-added")
        return 0

    def _eject(self, cpu: int, *, present: bool) -> Step:
        """acpi_scan_hot_remove(), acpi_processor_post_eject()."""
        registered = yield Load(self._guest.data.enabled(cpu), 1)
        if registered and not self._offline[cpu]:
            error = yield from self._core.cpu_down(cpu)
            if error:
                yield Log(f"cpu cpu{cpu}: Offline failed.")
                return -errno.EBUSY
            self._offline[cpu] = True
        self._vmm.eject(cpu, present=present)
        if registered:
            self._want(cpu, Wanted(0))
            yield from self._arch_unregister_cpu(cpu)
            yield from self.unmap_cpu(cpu)
        return 0

    # -- sysfs ------------------------------------------------------------------------------------

    def _online(self, cpu: int) -> Step:
        """device_online(): a device that is not offline is left alone, without an error."""
        registered = yield Load(self._guest.data.enabled(cpu), 1)
        if not registered:
            return -errno.ENOENT
        if not self._offline[cpu]:
            return 0
        error = yield from self._cpu_up(cpu, Cpuhp.CPUHP_ONLINE)
        self._offline[cpu] = bool(error)
        return error

    def _offline_store(self, cpu: int) -> Step:
        """device_offline(), likewise."""
        registered = yield Load(self._guest.data.enabled(cpu), 1)
        if not registered:
            return -errno.ENOENT
        if self._offline[cpu]:
            return 0
        error: int = yield from self._core.cpu_down(cpu)
        self._offline[cpu] = not error
        return error

    def _kick(self, cpu: int) -> Step:
        """target_store() of cpu:kick_ap; struct device does not hear of it."""
        # MODEL: v6.12 has hotplug/target only for CPUs that were registered when it booted.
        registered = yield Load(self._guest.data.enabled(cpu), 1)
        if not registered:
            return -errno.ENOENT
        if self._core.state[cpu] > Cpuhp.CPUHP_BP_KICK_AP:
            return (yield from self._core.cpu_down(cpu, Cpuhp.CPUHP_BP_KICK_AP))
        return (yield from self._cpu_up(cpu, Cpuhp.CPUHP_BP_KICK_AP))

    def _cpu_up(self, cpu: int, target: Cpuhp) -> Step:
        present = yield Load(self._guest.data.present(cpu), 1)
        wanted = Wanted.ONLINE if target > Cpuhp.CPUHP_BP_KICK_AP else Wanted(0)
        if self._core.state[cpu] < Cpuhp.CPUHP_BP_KICK_AP:
            wanted |= Wanted.ARRIVE
        denied = Wanted.ARRIVE in wanted and self._vmm.denies(cpu)
        if present and wanted and not denied:
            self._want(cpu, wanted)
        return (yield from self._core.cpu_up(cpu, target))

    # -- firmware's policy ------------------------------------------------------------------------

    def _allow(self, cpu: int) -> Step:
        yield from ()
        self._vmm.allow(cpu)
        return 0

    def _deny(self, cpu: int) -> Step:
        yield from ()
        self._vmm.deny(cpu)
        return 0

    # -- the trace --------------------------------------------------------------------------------

    def _want(self, cpu: int, wanted: Wanted) -> None:
        # From here on the rules expect this of the CPU.
        self._machine.recorder.want(cpu, wanted)

    def _note_masks(self) -> None:
        # Every CPU whose masks or table entry are not as last noted. A look from outside: no operation.
        guest, design, recorder = self._guest, self._guest.design, self._machine.recorder
        rows = self._rows()
        for cpu in sorted(guest.logical.possible):
            row = rows[cpu]
            if self._noted.get(cpu) == row:
                continue
            self._noted[cpu] = row
            online, present, enabled, entry, sta, mapped = row
            mask = Mask.POSSIBLE
            for is_set, bit in (
                (present, Mask.PRESENT),
                (enabled, Mask.ENABLED),
                (online, Mask.ONLINE),
                (sta & STA_PRESENT, Mask.STA_PRESENT),
                (sta & STA_ENABLED, Mask.STA_ENABLED),
                (mapped, Mask.MAPPED),
                (design.lookup_table is not None and design.table_clean_to_poc, Mask.CLEAN),
            ):
                mask |= bit if is_set else Mask(0)
            recorder.masks(cpu, mask, guest.hwids[cpu], (entry_pa(guest, cpu), entry))

    def _rows(self) -> list[tuple[int, int, int, int, int, bool]]:
        # Of each CPU: online, present, enabled, table entry, _STA, mapped. In bulk: there may be 4096.
        guest, data, memory = self._guest, self._guest.data, self._machine.memory
        cpus, first = len(guest.hwids), data.online(0)
        words = memory.read_bytes(first, PER_CPU * cpus - 8)
        bits = [words[pa(0) - first :: PER_CPU] for pa in (data.online, data.present, data.enabled)]
        table_pa = entry_pa(guest, 0)
        entries = memory.read_bytes(table_pa, 8 * cpus) if table_pa else bytes(8 * cpus)
        sta = [self._vmm.sta.get(cpu, 0) for cpu in range(cpus)]
        mapped = [cpu in self._mapped for cpu in range(cpus)]
        return list(zip(*bits, struct.unpack(f"<{cpus}Q", entries), sta, mapped, strict=True))
