"""CPUs that take turns do the same on QEMU's virt: interrupts they take, sleep, events, CPU_OFF and CPU_ON.

Left out, beside what :mod:`reference.drawn_interrupts` and ``test_firmware_calls`` leave out: QEMU 7.2
forgets what a GICv2 signals to a CPU that CPU_ON resets, and leaves the line of a reset timer as it was.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from reference.interrupt_script import ISR_EL1, REGIONS
from reference.qemu import missing
from reference.turns import (
    AFFINITY_INFO,
    CALL,
    CPU_OFF,
    CPU_ON,
    ON_AGAIN,
    POLL,
    READ,
    SEND_EVENT,
    SLEEP,
    SYSTEM,
    WAIT_FOR_EVENT,
    WINDOW,
    WRITE,
    Answer,
    Setting,
    Step,
    on_emu,
    on_qemu,
)
from reference.world import missing_assembler

from emu.arch.psci import Function
from emu.arch.sysreg import Encoding
from emu.devices.controllers import icc
from emu.machine.device_bus import DeviceBus

pytestmark = pytest.mark.skipif(
    bool(missing() or missing_assembler()), reason=missing() or missing_assembler()
)

SGIS, PPIS, SPIS = (1, 2, 9), (27, 30), (33, 40, 47)
ALL = 0xFFFF_FFFF
GICD, GICR, UART = 0x0800_0000, REGIONS["gicv3"]["redistributors"][0], 0x0900_0000
GICC = REGIONS["gicv2"]["cpu-interface"][0]
CONTROLS: tuple[Encoding, ...] = ((3, 3, 14, 3, 1), (3, 3, 14, 2, 1))  # CNTV_CTL_EL0 and CNTP_CTL_EL0
CVALS: tuple[Encoding, ...] = ((3, 3, 14, 3, 2), (3, 3, 14, 2, 2))


class Drawn:
    """A script that grows, drawn from a seed."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self.setting, self.random = setting, random.Random(seed)
        self.steps: list[Step] = []
        self.on = set(range(setting.cpus))
        groups = (ALL, self.random.getrandbits(32), 0 if setting.gic == 2 else ALL)
        self.group1 = self.random.choice(groups)
        for cpu in range(setting.cpus):
            self._start(cpu)
        self.write(0, GICD + 0x084, self.group1)
        self.write(0, GICD + 0x104, ALL)
        for intid in SPIS:
            target = self.random.randrange(setting.cpus)
            if setting.gic == 3:
                self.write(0, GICD + 0x6000 + 8 * intid, target, 8)
            else:
                self.write(0, GICD + 0x800 + intid, 1 << target, 1)
        self.write(0, GICD, 3)

    def _start(self, cpu: int) -> None:
        draw = self.random
        for register, value in ((CVALS[0], 0), (CVALS[1], 0), (CONTROLS[0], 3), (CONTROLS[1], 3)):
            self.set(cpu, register, value)
        if self.setting.gic == 3:
            self.write(0, GICR + (cpu << 17) + 0x14, 0)
        for array, value in ((0x080, self.group1), (0x100, ALL)):
            self.write(cpu, self.frame(cpu) + array, value)
        for intid in (*SGIS, *PPIS):
            self.write(cpu, self.frame(cpu) + 0x400 + intid, draw.choice((0, 0x40, 0x48, 0x80, 0xA0)), 1)
        if self.setting.gic == 3:
            for register, value in (
                (icc.ICC_CTLR_EL1, draw.randrange(2)),
                (icc.ICC_PMR_EL1, 0xF8),
                (icc.ICC_IGRPEN0_EL1, 1),
                (icc.ICC_IGRPEN1_EL1, 1),
                (icc.ICC_BPR1_EL1, draw.randrange(8)),
            ):
                self.set(cpu, register, value)
        else:
            self.write(cpu, GICC, 7 | draw.randrange(4) << 3)
            self.write(cpu, GICC + 0x04, 0xF8)
            self.write(cpu, GICC + 0x08, draw.randrange(7))

    def frame(self, cpu: int) -> int:
        """Return the PA of the frame that has the private interrupts of ``cpu``."""
        return GICR + (cpu << 17) + 0x1_0000 if self.setting.gic == 3 else GICD

    def write(self, cpu: int, pa: int, value: int, size: int = 4) -> None:
        """Store."""
        self.steps.append(Step(cpu, WRITE, pa, value, size))

    def set(self, cpu: int, register: Encoding, value: int) -> None:
        """MSR."""
        self.steps.append(Step(cpu, SYSTEM, register, value))

    def draw(self, length: int) -> list[Step]:
        """Return the script with ``length`` more of what CPUs do, and what they are left with."""
        kinds = [self.send, self.timer, self.window] * 3
        kinds += [self.send, self.uart, self.sleep, self.state, self.state, self.look, self.mask, self.call]
        kinds += [self.event, self.off] if self.setting.gic == 3 else [self.event]
        for _ in range(length):
            self.random.choice(kinds)(self.random.choice(sorted(self.on)))
        for cpu in sorted(self.on):
            self.window(cpu)
            self.look(cpu)
        return self.steps

    def send(self, cpu: int) -> None:
        """Send an SGI: to a list, to all others, of a GICv2 to itself."""
        sgi, targets = self.random.choice(SGIS), self.random.randrange(1 << self.setting.cpus)
        if self.setting.gic == 2:
            self.write(cpu, GICD + 0xF00, self.random.randrange(3) << 24 | targets << 16 | sgi)
        else:
            register = icc.ICC_SGI1R_EL1 if self.group1 >> sgi & 1 else icc.ICC_SGI0R_EL1
            self.set(cpu, register, self.random.randrange(2) << 40 | sgi << 24 | targets)

    def timer(self, cpu: int) -> None:
        """Let the line of a timer, whose condition is met, be high or low."""
        self.set(cpu, self.random.choice(CONTROLS), self.random.choice((1, 1, 3, 0)))

    def uart(self, cpu: int) -> None:
        """Let the line of the UART, which has sent, be high or low."""
        self.write(cpu, UART, 0x20)
        self.write(cpu, UART + 0x38, self.random.choice((0x20, 0)))

    def window(self, cpu: int) -> None:
        """Take what is signalled."""
        self.steps.append(Step(cpu, WINDOW))

    def sleep(self, cpu: int) -> None:
        """WFI, where something is signalled."""
        self.steps.append(Step(cpu, SLEEP))

    def event(self, cpu: int) -> None:
        """SEV, or WFE behind SEVL and behind SEV."""
        self.steps.append(Step(cpu, self.random.choice((WAIT_FOR_EVENT, SEND_EVENT))))

    def state(self, cpu: int) -> None:
        """Change the state of an interrupt by its masks."""
        intid = self.random.choice((*SGIS, *PPIS, *SPIS))
        arrays = [0x100, 0x180, 0x380]
        if self.setting.gic == 3 or intid >= 32:
            arrays += [0x200, 0x280]
        if self.setting.gic == 3 or intid < 32:
            arrays += [0x300]
        frame = self.frame(cpu) if intid < 32 else GICD
        self.write(cpu, frame + self.random.choice(arrays) + 4 * (intid // 32), 1 << intid % 32)

    def mask(self, cpu: int) -> None:
        """Change the priority mask."""
        value = self.random.choice((0, 0x50, 0x80, 0xF8, 0xF8))
        if self.setting.gic == 3:
            self.set(cpu, icc.ICC_PMR_EL1, value)
        else:
            self.write(cpu, GICC + 0x04, value)

    def look(self, cpu: int) -> None:
        """Read what is pending, active and running."""
        for array in (0x200, 0x300):
            self.steps += [Step(cpu, READ, self.frame(cpu) + array), Step(cpu, READ, GICD + array + 4)]
        registers = [ISR_EL1]
        if self.setting.gic == 3:
            registers += [icc.ICC_RPR_EL1, icc.ICC_HPPIR1_EL1, icc.ICC_PMR_EL1, icc.ICC_IGRPEN1_EL1]
        else:
            self.steps.append(Step(cpu, READ, GICC + 0x14))
        self.steps += [Step(cpu, SYSTEM, register, is_read=True) for register in registers]

    def call(self, cpu: int) -> None:
        """Call firmware, for what changes nothing."""
        function = self.random.choice((Function.PSCI_VERSION, AFFINITY_INFO, CPU_ON))
        target = cpu if function == CPU_ON else self.random.randrange(self.setting.cpus + 2)
        self.steps.append(Step(cpu, CALL, int(function), target, ON_AGAIN if function == CPU_ON else 0))

    def off(self, cpu: int) -> None:
        """Switch ``cpu`` off; most often another one switches it on again, where something waits for it."""
        others = sorted(self.on - {cpu})
        if not cpu or not others or self.random.random() < 0.5:
            return
        other = self.random.choice(others)
        for control in CONTROLS:
            self.set(cpu, control, 3)
        self.steps += [Step(cpu, CALL, CPU_OFF), Step(other, POLL, cpu, 1)]
        if self.random.random() < 0.2:
            self.on.discard(cpu)
            return
        self.send(other)
        self.steps += [Step(other, CALL, CPU_ON, cpu, ON_AGAIN, cpu), Step(other, POLL, cpu, 0)]
        self.look(cpu)


def unequal(steps: list[Step], theirs: list[Answer], ours: list[Answer]) -> str:
    """Return the first step whose answers differ, with what that CPU did before; empty: none does."""
    for number, (step, one, other) in enumerate(zip(steps, theirs, ours, strict=True)):
        if one != other:
            before = [str(each) for each in steps[:number] if each.cpu == step.cpu][-4:]
            both = (
                f"{name} {[hex(value) for value in each]}" for name, each in (("QEMU", one), ("emu", other))
            )
            return "\n".join((*before, f"step {number}: {step}", *both))
    return ""


SETTINGS = [
    Setting(cpus, gic, el) for gic, cpus in ((2, 1), (2, 3), (2, 8), (3, 1), (3, 4), (3, 10)) for el in (1, 2)
]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: f"gicv{each.gic}-{each.cpus}-el{each.el}")
def test_cpus_take_the_same_interrupts_in_their_turns(setting: Setting, tmp_path: Path) -> None:
    """About 500 steps of all CPUs."""
    for seed in range(2):
        steps = Drawn(setting, seed).draw(200)
        assert not unequal(steps, on_qemu(steps, setting), on_emu(steps, setting, tmp_path))


def test_a_cpu_that_keeps_its_cpu_interface_over_cpu_off_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Planted: CPU_ON resets no register that a device owns."""
    setting = Setting(4, 3, 1)
    steps = Drawn(setting, 0).draw(200)
    theirs = on_qemu(steps, setting)
    assert not unequal(steps, theirs, on_emu(steps, setting, tmp_path))
    monkeypatch.setattr(DeviceBus, "reset_registers", lambda *_: None)
    assert "emu [" in unequal(steps, theirs, on_emu(steps, setting, tmp_path))
