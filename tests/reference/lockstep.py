"""One PE of emu and one of QEMU on the same memory, an instruction at a time, compared after each."""

from __future__ import annotations

from collections.abc import Iterator

import capstone
from reference.cores import Compared
from reference.qemu import RAM_BASE, General, Qemu
from reference.register_names import UNLIKE

from emu.arch import a64
from emu.arch.a64 import Other
from emu.arch.sysreg import Encoding
from emu.cpu.pe import PE, own_register
from emu.machine import Machine
from emu.machine.actor import State

_CHUNK = 1 << 16
_MIB = 1 << 20
# Registers that are equal at the start, by QEMU's names: what a reset leaves in them is UNKNOWN.
_EL1: dict[str, Encoding] = {
    "SCTLR": (3, 0, 1, 0, 0),
    "CPACR": (3, 0, 1, 0, 2),
    "TTBR0_EL1": (3, 0, 2, 0, 0),
    "TTBR1_EL1": (3, 0, 2, 0, 1),
    "TCR_EL1": (3, 0, 2, 0, 2),
    "SPSR_EL1": (3, 0, 4, 0, 0),
    "ELR_EL1": (3, 0, 4, 0, 1),
    "ESR_EL1": (3, 0, 5, 2, 0),
    "FAR_EL1": (3, 0, 6, 0, 0),
    "MAIR_EL1": (3, 0, 10, 2, 0),
    "VBAR": (3, 0, 12, 0, 0),
    "CONTEXTIDR_EL1": (3, 0, 13, 0, 1),
    "TPIDR_EL1": (3, 0, 13, 0, 4),
    "TPIDR_EL0": (3, 3, 13, 0, 2),
    "MDSCR_EL1": (2, 0, 0, 2, 2),
}
_EL2: dict[str, Encoding] = {
    "SCTLR_EL2": (3, 4, 1, 0, 0),
    "HCR_EL2": (3, 4, 1, 1, 0),
    "MDCR_EL2": (3, 4, 1, 1, 1),
    "CPTR_EL2": (3, 4, 1, 1, 2),
    "HSTR_EL2": (3, 4, 1, 1, 3),
    "TTBR0_EL2": (3, 4, 2, 0, 0),
    "TCR_EL2": (3, 4, 2, 0, 2),
    "VTTBR_EL2": (3, 4, 2, 1, 0),
    "VBAR_EL2": (3, 4, 12, 0, 0),
    "TPIDR_EL2": (3, 4, 13, 0, 2),
    "CNTHCTL_EL2": (3, 4, 14, 1, 0),
}
# Bits that QEMU 7.2 clears where it has no feature that they belong to; being RES0 they may be kept.
_RES0: dict[Encoding, int] = dict.fromkeys(((3, 0, 1, 0, 0), (3, 4, 1, 0, 0), (3, 5, 1, 0, 0)), 1 << 37)


def ram_mib(machine: Machine) -> int:
    """Return the size of RAM (MiB) that QEMU needs to hold the memory of ``machine``."""
    return -(-machine.memory.size // _MIB)


class Lockstep:
    """CPU ``cpu`` of ``machine``, which is about to run its first instruction, and ``qemu``'s.

    :ivar instructions: compared so far
    """

    def __init__(self, machine: Machine, cpu: int, qemu: Qemu, compared: Compared) -> None:
        self._machine = machine
        self._cpu = cpu
        self._pe: PE = machine.actors[cpu].pe
        self._qemu = qemu
        self._compared = compared
        self._disassembler = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
        self.instructions = 0
        self._begin()

    def _begin(self) -> None:
        memory, pe, qemu = self._machine.memory, self._pe, self._qemu
        assert memory.base == RAM_BASE
        # A reset of QEMU would write its own device tree; none has happened that could follow.
        zeros = bytes(_CHUNK)
        for start in range(0, memory.size, _CHUNK):
            chunk = memory.read_bytes(RAM_BASE + start, min(_CHUNK, memory.size - start))
            if chunk != zeros or start < 2 * _MIB:
                qemu.write(RAM_BASE + start, chunk)
        for name, encoding in (_EL1 | (_EL2 if self._machine.entry_el == 2 else {})).items():
            pe.set_system_register(encoding, qemu.system_register(name))
        pstate = qemu.general().pstate
        pe.nzcv = pstate & 0xF << 28
        qemu.set_general(General(tuple(pe.x[number] for number in range(31)), pe.sp, pe.pc, pstate))

    def differences(self) -> list[str]:
        """Return what differs now, as QEMU | emu."""
        pe, theirs = self._pe, self._qemu.general()
        found = [
            f"x{number}: {a:#x} | {b:#x}"
            for number, (a, b) in enumerate(zip(theirs.x, list(pe.x)[:31], strict=True))
            if a != b
        ]
        pstate = self._compared.pstate
        others = (
            ("sp", theirs.sp, pe.sp),
            ("pc", theirs.pc, pe.pc),
            ("pstate", theirs.pstate & pstate, pe.pstate & pstate),
        )
        return found + [f"{name}: {a:#x} | {b:#x}" for name, a, b in others if a != b]

    def run(self, instructions_max: int, until: int = -1) -> Iterator[str]:
        """Step both until they differ, to the VA ``until`` or so many instructions; yield what differs."""
        machine, pe = self._machine, self._pe
        while self.instructions < instructions_max and pe.pc != until:
            pc = pe.pc
            word = machine.engine.word(pc)
            exceptions = pe.counters.exceptions
            machine.step(self._cpu)
            self._qemu.step()
            self.instructions += 1
            if word is not None and a64.classify(word) is Other.MRS and word & 31 != 31:
                self._read(a64.system_register(word), word & 31)
            if pe.counters.exceptions > exceptions:
                self._keep_flags()
            found = self.differences()
            if machine.actors[self._cpu].state is State.ENDED:
                found.append(f"emu's CPU has ended: {machine.outcome(self._cpu)}")
            if found:
                yield f"instruction {self.instructions} at {pc:#x}: {self._text(pc, word)}"
                yield from found
                return

    def _read(self, encoding: Encoding, register: int) -> None:
        # QEMU goes on with what emu has read, where that may differ.
        general, ours = self._qemu.general(), self._pe.x[register]
        core = self._compared.core.identification
        of_the_case = (own_register(self._pe, encoding) or 0) != core.get(encoding, 0)
        fields, _ = self._compared.fields.get(encoding, (_RES0.get(encoding, 0), ""))
        differs = (general.x[register] ^ ours) & ~fields
        if encoding in UNLIKE or of_the_case or not differs:
            x = list(general.x)
            x[register] = ours
            self._qemu.set_general(general._replace(x=tuple(x)))

    def _keep_flags(self) -> None:
        # QEMU 7.2 clears the flags when it takes an exception. Arm DDI 0487, AArch64.TakeException() does not
        # change them.
        general = self._qemu.general()
        if not general.pstate >> 28:
            pstate = general.pstate | self._pe.pstate & 0xF << 28
            self._qemu.set_general(general._replace(pstate=pstate))

    def _text(self, pc: int, word: int | None) -> str:
        if word is None:
            return "not mapped"
        code = word.to_bytes(4, "little")
        texts = (f"{name} {operands}" for *_, name, operands in self._disassembler.disasm_lite(code, pc))
        return f"{word:08x} {next(texts, '?')}"
