"""From a case to a machine that is ready to run: the one way that every command uses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from emu.arch.dataflow import DataFlow
from emu.case import Case
from emu.designs import DESIGNS, check_exists
from emu.errors import InvalidCase, InvalidSubject
from emu.host.boot_cpu import BootCpu
from emu.host.bringup import STRATEGIES
from emu.host.choices import (
    NO_HOTPLUG,
    BootConfig,
    check_cpus,
    check_kexec,
    check_subject,
    needs_force,
    parse_case,
    resolve_case,
)
from emu.host.cpuhp import PATIENCE_NS, Core, SyncState, add_costs
from emu.host.effects import WHOLE, notes
from emu.host.enable_method import EnableMethod, WithFaults, make_enable_method
from emu.host.fragment import load_fragment
from emu.host.guest import Guest, note_expectations
from emu.host.identity import check_identity, identity_of
from emu.host.kernel_kick import make_kick
from emu.host.platform import LoadedSubject, install
from emu.host.psci import Psci
from emu.host.secondary import Secondary
from emu.host.smp import Smp
from emu.host.vcpu import plan as plan_hotplug
from emu.machine import Machine
from emu.machine.actor import HostTask, State
from emu.operation import Operation
from emu.registry import not_one_of
from emu.schedulers import make_scheduler
from emu.subject.fragment import is_source
from emu.topology import Topology

if TYPE_CHECKING:
    from emu.host.kexec import KexecPlan
    from emu.host.program import LoadedProgram
    from emu.host.properties import SubjectNames
    from emu.properties.resolve import Resolved

_TEXTS = (".S", ".s")  # assembly text, whose comments may say how it is run


@dataclass(slots=True)
class Boot:
    """A machine with its guest, ready for :meth:`Machine.run`; ``case`` has all defaults filled in.

    ``new_task`` makes the boot CPU's task, from its beginning, with a cpuhp core of its own; None: the boot
    CPU runs a program of the guest.

    After kexec ``guest``, ``topology`` and ``core`` are the second boot's,
    and ``earlier`` has the first guest.
    """

    case: Case
    topology: Topology
    guest: Guest
    machine: Machine
    firmware: Psci
    core: Core
    method: EnableMethod
    new_task: Callable[[], HostTask] | None
    earlier: list[Guest] = field(default_factory=list)
    properties: Sequence[Resolved] = ()  # that its runs are held to
    notes: list[str] = field(default_factory=list)  # what the case asks for and cannot change this run

    def use(self, scheduler: str) -> None:
        """Let another scheduler pick, before the machine has run.

        :raises InvalidCase: there is none of that name
        """
        self.case = replace(self.case, scheduler=scheduler)
        self.machine.scheduler = make_scheduler(scheduler)
        self.machine.trace.case = self.case.text()

    @property
    def names(self) -> SubjectNames:
        """What a property may name."""
        from emu.host.properties import SubjectNames

        guest = self.guest
        return SubjectNames(guest.subject, guest.hwids, guest.pa_of, self.machine.memory)

    def word(self, pc: int) -> int | None:
        """Return the instruction word (u32) that is at a VA or PA of code now, or None."""
        memory = self.machine.memory
        pa = self.guest.pa_of(pc) if pc >> 63 else pc
        return memory.read(pa, 4) if memory.contains(pa, 4) else None


def build(case: Case, *, record: bool = False) -> Boot:
    """Return the machine that ``case`` describes, its boot CPU about to bring the secondaries up.

    :param record: keep every operation in the trace, not events alone
    :raises EmuError: the case breaks a rule, or its subject cannot be loaded
    """
    return build_config(parse_case(case, record=record))


def build_to_judge(done: Boot) -> Boot | None:
    """Return the machine of a boot that has ended, about to record its operations.

    None: the trace has all that rules need. They need operations once a CPU has executed what was stored.
    """
    recorder, interconnect = done.machine.recorder, done.machine.interconnect
    needed = interconnect.executes_stored and not recorder.recording
    return build(done.case, record=True) if needed else None


def build_config(config: BootConfig) -> Boot:
    """Return the machine of a parsed case, its boot CPU about to bring the secondaries up.

    :raises EmuError: the subject cannot be loaded, or it cannot do what the case asks for
    """
    if config.case.depth == WHOLE:
        raise InvalidCase(f"depth={WHOLE}: emu boot, explore, trace, diff, replay, step and gdb run that")
    first = load(config)
    if not first.has_kernel:
        return _build_program(config, cast("LoadedProgram", first))
    check_cpus(config, first.logical)
    plan = _plan_kexec(config, first) if config.kexec else None
    machine, psci, guest = install(first, plan.loaded.memory_size if plan else 0)
    identity = identity_of(
        config.case,
        {"subject": guest.subject.identity} | ({"kexec": plan.loaded.subject.identity} if plan else {}),
    )
    check_identity(config.case, identity)
    method = make_enable_method(guest)
    case = replace(resolve_case(config, guest, method), identity=identity)
    machine.trace.case = case.text()
    check_subject(config, guest, method)
    if plan:
        check_kexec(config, guest, method, _wanted(config, guest, guest.logical.disabled))
    boot = _start(config, case, machine, psci, guest, method, plan)
    _hold_to_properties(boot)
    automatic = replace(config, case=replace(config.case, bringup="auto", base="auto"))
    boot.notes = notes(
        config,
        resolve_case(automatic, guest, method),
        guest,
        _wanted(config, guest, guest.logical.disabled),
        forced=needs_force(config, guest, method),
    )
    return boot


def _build_program(config: BootConfig, loaded: LoadedProgram) -> Boot:
    # CPUs that run their own programs: nobody plays a kernel.
    machine, psci, guest = install(loaded)
    identity = identity_of(config.case, {"subject": guest.subject.identity})
    check_identity(config.case, identity)
    case = replace(config.case, identity=identity)
    machine.trace.case = case.text()
    machine.power.event_register = bool(case.event_register)
    loaded.begin(machine)
    core, method = Core(guest.data, len(guest.hwids)), make_enable_method(guest)
    boot = Boot(case, config.topology, guest, machine, psci, core, method, None)
    machine.trace.flow = DataFlow(boot.word)
    _hold_to_properties(boot)
    return boot


def _hold_to_properties(boot: Boot) -> None:
    # To those of the case and of the comments of a `.S`.
    if not boot.case.asserts and boot.case.subject[-2:] not in _TEXTS:
        return
    from emu.host.properties import properties_of, watch_machine

    boot.properties = properties_of(boot.case, boot.names)
    watch_machine(boot.machine, boot.properties)


def load(config: BootConfig) -> LoadedSubject:
    """Return the subject of the case, in no memory yet.

    :raises EmuError: there is none of that name, or it cannot be loaded
    """
    name = config.case.subject
    if name not in DESIGNS and name[-2:] in _TEXTS:
        from emu.host.program import load_program
        from emu.host.program_header import read_header

        header = read_header(Path(name))
        return load_program(config, header) if header else load_fragment(config)
    if name in DESIGNS or is_source(name):
        return load_fragment(config)
    from emu.subject.kernel_files import (  # a tenth of the start-up, which fragments need not pay
        is_elf,
        is_kernel,
    )

    if is_kernel(Path(name)) or is_elf(Path(name)):
        from emu.host.kernel import load_kernel_of

        return load_kernel_of(config)
    check_exists(name)
    designs = not_one_of(name, DESIGNS)
    raise InvalidSubject(f"{name}: no .S or .o file, no arm64 kernel, and no design: {designs}")


def _start(
    config: BootConfig,
    case: Case,
    machine: Machine,
    firmware: Psci,
    guest: Guest,
    method: EnableMethod,
    kexec: KexecPlan | None = None,
    at_reset: Sequence[int] | None = None,
) -> Boot:
    # The host's part: tasks that play the boot CPU and the C side of the secondaries. `at_reset` are the CPUs
    # that have not left firmware yet: all, unless a boot came before.
    faults, logical = config.faults, guest.logical
    method = WithFaults(method, faults) if faults else method
    actions = plan_hotplug(
        config.hotplug,
        logical,
        firmware=config.topology.firmware,
        can_die=method.can_die,
        method=method.name,
        bringup=case.bringup,
    )
    if actions and not guest.built.hotplug_cpu:
        raise InvalidCase(f"hotplug={case.hotplug}: {guest.design.name} {NO_HOTPLUG}")
    core = Core(guest.data, len(guest.hwids))
    machine.costs = config.latency.costs(len(guest.hwids), logical.siblings)
    secondary = Secondary(
        machine,
        guest,
        core,
        method,
        faults,
        base=case.base,
        syncs_alive=STRATEGIES[case.bringup].syncs_alive,
    )
    firmware.contexts = {cpu: guest.context_id(cpu) for cpu in range(len(guest.hwids))}
    firmware.costs = machine.costs
    machine.landings.land_at(guest.landing_va, secondary.start_kernel)
    possible = sorted(logical.possible)
    secondaries = possible[1:]
    if at_reset is None:
        firmware.disabled = guest.logical.disabled
        at_reset = range(len(machine.actors))
    for cpu in possible:
        # v6.12 takes a CPU that firmware has not enabled for present, and is DENIED when it kicks it.
        present = cpu not in firmware.disabled or case.base == "6.12"
        machine.memory.write(guest.data.present(cpu), 1, int(present))
    machine.memory.write(guest.data.sync_state(0), 4, SyncState.SYNC_STATE_ONLINE)  # boot_cpu_hotplug_init()
    wanted = _wanted(config, guest, firmware.disabled)
    gone = {cpu for cpu in secondaries if machine.actors[cpu].state is State.ENDED}
    excused = {cpu for cpu, found in faults.items() if any(fault.excuses for fault in found)}
    excused |= {cpu for cpu, costs in machine.costs.items() if costs.alive > PATIENCE_NS}
    note_expectations(machine, guest, wanted, excused | gone)
    machine.power.event_register = bool(case.event_register)
    for cpu, actor in enumerate(machine.actors):
        if cpu in at_reset or actor.state is State.OFF:
            machine.interconnect.set_event(actor.pe, bool(case.event_register))
    method.power_on(machine, at_reset)

    def new_smp(core: Core) -> Smp:
        add_costs(core, machine.costs)
        kick = make_kick(machine, guest, core, method)
        return Smp(machine, guest, core, kick, STRATEGIES[case.bringup](kick), method, faults)

    def boot_cpu(smp: Smp, core: Core) -> HostTask:
        after = partial(_hotplug, config, case, machine, firmware, guest, core, actions) if actions else None
        return smp.boot_cpu(secondaries, _maxcpus(config, guest), case.cycle, after)

    def new_task() -> HostTask:
        core = Core(guest.data, len(guest.hwids))
        return boot_cpu(new_smp(core), core)

    smp = new_smp(core)
    boot = Boot(case, config.topology, guest, machine, firmware, core, method, new_task)
    machine.trace.flow = DataFlow(boot.word)
    if kexec:
        from emu.host.kexec import Kexec

        second = kexec.loaded.config

        def start(guest: Guest, at_reset: Sequence[int]) -> None:
            method = make_enable_method(guest)
            case = resolve_case(second, guest, method)
            made = _start(second, case, machine, firmware, guest, method, at_reset=at_reset)
            boot.earlier.append(boot.guest)
            boot.guest, boot.topology, boot.core = guest, made.topology, made.core

        smp.reboot = Kexec(
            kexec, machine, firmware, guest, core, method, secondary, force=bool(case.force), start=start
        ).reboot
    if guest.boot_cpu_ready:
        machine.start_task(0, boot_cpu(smp, core))
    else:
        BootCpu(machine, guest.subject).go_on()
    return boot


def _hotplug(
    config: BootConfig,
    case: Case,
    machine: Machine,
    firmware: Psci,
    guest: Guest,
    core: Core,
    actions: Sequence[tuple[int, str]],
) -> Generator[Operation, Any, None]:
    # What happens to vCPUs when the boot is over.
    from emu.host.vcpu.hotplug import Hotplug
    from emu.host.vcpu.vmm import Vmm

    acpi = config.topology.firmware == "acpi"
    enabled = {cpu: not acpi or guest.cpu(cpu).enabled for cpu in sorted(guest.logical.possible)}
    hotplug = Hotplug(
        machine,
        guest,
        core,
        Vmm(firmware, enabled),
        config.faults,
        acpi=acpi,
        present_follows=acpi and case.base != "6.12",
    )
    return hotplug.run(actions)


def _plan_kexec(config: BootConfig, first: LoadedSubject) -> KexecPlan:
    from emu.host.kexec import plan_kexec

    return plan_kexec(config, first.logical, load)


def _maxcpus(config: BootConfig, guest: Guest) -> int:
    # How many CPUs may be online, the boot CPU among them.
    maxcpus = config.parameters.maxcpus
    return len(guest.logical.possible) if maxcpus is None else maxcpus


def _wanted(config: BootConfig, guest: Guest, disabled: Collection[int]) -> list[int]:
    # The secondaries that the boot is to bring up; CPU 0 itself, where it has not come so far.
    if not guest.boot_cpu_ready:
        return [0]
    return config.to_bring_up(guest.logical, disabled)
