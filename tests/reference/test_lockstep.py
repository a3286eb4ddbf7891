"""Boot paths step by step on emu and QEMU: PC, SP, PSTATE and X0..X30 are the same after every instruction.

What reads differently and may is in UNLIKE (register_names.py): after such an MRS QEMU goes on with emu's
value.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from reference.lockstep import Lockstep, ram_mib
from reference.qemu import missing, started

from emu.arch.sysreg import ID_AA64PFR0_EL1
from emu.case import Case
from emu.host.build import build
from emu.host.choices import parse_case
from emu.host.firmware import hand_over
from emu.host.kernel import load_kernel_of
from emu.host.platform import make_machine
from emu.machine import Machine
from emu.machine.actor import State
from emu.memory import Memory

CPU = "cortex-a72"
LEVELS = ((1, 2), (2, 2), (2, 3))  # entry level, version of QEMU's interrupt controller
GICV3 = 0x0100_2222  # ID_AA64PFR0_EL1.GIC
KERNEL_INSTRUCTIONS = 3000
SECONDARY_MAX = 2000

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def _to_the_secondary(machine: Machine) -> None:
    # The boot CPU, which the host plays, up to where CPU 1 is on.
    actor = machine.actors[1]
    machine.observe()
    while actor.state is State.OFF:
        assert machine.step(), machine.stopped


@pytest.mark.parametrize(("el", "gic"), LEVELS)
@pytest.mark.parametrize("design", ["mainline", "v3"])
def test_secondary_path_of_a_fragment(design: str, el: int, gic: int, tmp_path: Path) -> None:
    # QEMU's CPU has hwid 0, so here the boot CPU has another one.
    topology = tmp_path / "two.json"
    topology.write_text(json.dumps({"boot_cpu": 1, "cpus": [{"hwid": 0}, {"hwid": 1}]}))
    boot = build(Case.parse(f"{design} el={el} grain=instruction topology={topology}"))
    _to_the_secondary(boot.machine)
    with started(cpu=CPU, el=el, gic=gic, ram_mib=ram_mib(boot.machine)) as qemu:
        both = Lockstep(boot.machine, 1, qemu)
        found = list(both.run(SECONDARY_MAX, boot.guest.landing_va))
    assert not found, "\n".join(found)
    assert 50 < both.instructions < SECONDARY_MAX


@pytest.mark.parametrize(("el", "gic"), LEVELS)
@pytest.mark.parametrize("kernel", ["EMU_KERNEL_612", "EMU_KERNEL_61"])
def test_primary_path_of_a_kernel(real_kernel: Callable[[str], Path], kernel: str, el: int, gic: int) -> None:
    config = parse_case(Case.parse(f"{real_kernel(kernel)} el={el} grain=instruction topology=flat:1"))
    loaded = load_kernel_of(config)
    memory = Memory(0x4000_0000, loaded.memory_size)
    for segment in loaded.subject.segments:
        memory.write_bytes(segment.pa, segment.data)
    hand_over(memory, config.topology, loaded.around, "nokaslr")
    machine, _ = make_machine(
        config, loaded.logical, memory, lambda core: {ID_AA64PFR0_EL1: GICV3} if gic == 3 else {}
    )
    machine.observe()
    machine.power_on(0, loaded.image.entry_pa, loaded.around.dtb_pa)
    with started(cpu=CPU, el=el, gic=gic, ram_mib=ram_mib(machine)) as qemu:
        both = Lockstep(machine, 0, qemu)
        found = list(both.run(KERNEL_INSTRUCTIONS))
    assert not found, "\n".join(found)
    assert both.instructions == KERNEL_INSTRUCTIONS
