"""Boot paths in lockstep: which machine of emu, and which QEMU beside it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reference.cores import Compared
from reference.lockstep import Lockstep, ram_mib
from reference.qemu import started

from emu.arch import sysreg
from emu.case import Case
from emu.cpu.cores import Core
from emu.host.build import build
from emu.host.choices import parse_case
from emu.host.firmware_tables import hand_over
from emu.host.kernel import load_kernel_of
from emu.host.platform import make_machine
from emu.machine import Machine
from emu.machine.actor import State
from emu.memory import Memory

# Entry level, version of QEMU's interrupt controller; a kernel's secondaries at EL2 have a GICv3.
LEVELS = ((1, 2), (1, 3), (2, 2), (2, 3))
SECONDARY_MAX = 2000  # instructions; none gets there


@dataclass(frozen=True)
class Walked:
    """How far both went, and what differed then: nothing, mostly."""

    instructions: int
    found: list[str]


@contextmanager
def _topology(count: int) -> Iterator[Path]:
    # QEMU's CPU has hwid 0: it is the one that is compared, so another one boots.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "topology.json"
        cpus = [{"hwid": number} for number in range(count)]
        path.write_text(json.dumps({"boot_cpu": count - 1, "cpus": cpus}))
        yield path


def _walk(
    machine: Machine, cpu: int, core: Compared, el: int, gic: int, limit: int, until: int = -1
) -> Walked:
    with started(cpu=core.option, el=el, gic=gic, ram_mib=ram_mib(machine)) as qemu:
        both = Lockstep(machine, cpu, qemu, core)
        found = list(both.run(limit, until))
    return Walked(both.instructions, found)


def secondary(subject: Path | str, core: Compared, el: int, gic: int) -> Walked:
    """Walk a secondary CPU from its entry to the kernel's C code.

    :param subject: a design, or a kernel's path
    """
    with _topology(2) as topology:
        boot = build(Case.parse(f"{subject} el={el} cpu={core.name} grain=instruction topology={topology}"))
        machine = boot.machine
        actor = machine.actors[1]
        machine.observe()
        while actor.state is State.OFF:  # the boot CPU, which the host plays
            assert machine.step(), machine.stopped
        return _walk(machine, 1, core, el, gic, SECONDARY_MAX, boot.guest.landing_va)


def primary(kernel: Path | str, core: Compared, el: int, gic: int, instructions: int) -> Walked:
    """Walk the boot CPU of a kernel from its first instruction on."""
    config = parse_case(Case.parse(f"{kernel} el={el} cpu={core.name} grain=instruction topology=flat:1"))
    loaded = load_kernel_of(config)
    memory = Memory(0x4000_0000, loaded.memory_size)
    for segment in loaded.subject.segments:
        memory.write_bytes(segment.pa, segment.data)
    hand_over(memory, config.topology, loaded.around, "nokaslr")

    def otherwise(of: Core) -> Mapping[sysreg.Encoding, int]:
        own = of.id_register_or_default(sysreg.ID_AA64PFR0_EL1)
        with_gic = sysreg.set_field(own, sysreg.PFR0_GIC, int(gic == 3))
        return {**loaded.id_registers(of), sysreg.ID_AA64PFR0_EL1: with_gic}

    machine, _ = make_machine(config, loaded.logical, memory, otherwise)
    machine.observe()
    machine.power_on(0, loaded.image.entry_pa, loaded.around.dtb_pa)
    return _walk(machine, 0, core, el, gic, instructions)
