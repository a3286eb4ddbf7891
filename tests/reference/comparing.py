"""The same programs on QEMU and on emu, what differs, and the shortest program that still shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import capstone
from reference import (
    emulated,
    kinds_compute,
    kinds_exceptions,
    kinds_later,
    kinds_regimes,
    kinds_system,
    kinds_tables,
    kinds_traps,
    kinds_vhe,
)
from reference.cores import COMPARED
from reference.drawn import Program, draw, encode
from reference.outcome import END, Outcome, differences
from reference.qemu import started
from reference.referenced import Reference
from reference.world import CODE

MODULES = (
    kinds_compute,
    kinds_system,
    kinds_traps,
    kinds_exceptions,
    kinds_regimes,
    kinds_later,
    kinds_tables,
    kinds_vhe,
)  # what registers the kinds


@dataclass(frozen=True)
class Difference:
    """A program whose outcomes are not the same."""

    program: Program
    code: bytes
    qemu: Outcome
    emu: Outcome

    @property
    def is_untestable(self) -> bool:
        """Whether emu says that it does not model what the program does: no silent difference."""
        return "not modelled" in self.emu.ending

    @property
    def signature(self) -> str:
        """What differs first, without the addresses of this program: the same for what has one cause."""
        if self.emu.ending != self.qemu.ending:
            return re.sub(
                r"0x[0-9a-f]{8,}|(?<=register )\w+", "...", f"{self.qemu.ending} | {self.emu.ending}"
            )
        for theirs, ours in zip(self.qemu.log, self.emu.log, strict=False):
            if theirs != ours:
                fields = [name for name in theirs._fields if getattr(theirs, name) != getattr(ours, name)]
                return f"{_kind(theirs.esr)} | {_kind(ours.esr)}, differs in {' '.join(fields)}"
        if len(self.qemu.log) != len(self.emu.log):
            log = self.qemu.log if len(self.qemu.log) > len(self.emu.log) else self.emu.log
            more = log[min(len(self.qemu.log), len(self.emu.log))]
            return f"{_kind(more.esr)} by {'QEMU' if log is self.qemu.log else 'emu'} alone"
        return "registers or memory"

    def lines(self) -> Iterator[str]:
        """Yield the program from its first word on, and each thing that differs (QEMU | emu)."""
        setup = self.program.setup
        special = " ".join(f"{name}={value:#x}" for name, value in setup.registers.items())
        yield (
            f"{self.program.kind} seed {self.program.seed}: EL{setup.el}, entered at EL{setup.entry}, "
            f"MMU {'on' if setup.mmu else 'off'} {special}"
        )
        yield from (f"    {line}" for line in _disassembly(self.program, self.code))
        yield from (f"  {line}" for line in differences(self.qemu, self.emu))


def _kind(esr: int) -> str:
    # An exception without the registers that it names.
    ec = esr >> 26
    if ec not in (0x20, 0x21, 0x24, 0x25):
        return f"EC {ec:#x}"
    return f"EC {ec:#x} status {esr & 0x3F:#x} ISV {esr >> 24 & 1} FnV {esr >> 10 & 1} S1PTW {esr >> 7 & 1}"


def _disassembly(program: Program, code: bytes) -> Iterator[str]:
    (empty,) = encode([program.with_body([])])
    # The code ends with two moves to X27 and BR X27, which the body's length moves.
    start = empty.index((0xD61F_0360).to_bytes(4, "little")) - 8
    end = code.rindex((0xD61F_0360).to_bytes(4, "little")) - 8
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    for at in range(start, end, 4):
        word = int.from_bytes(code[at : at + 4], "little")
        text = next(
            (
                f"{mnemonic} {operands}"
                for *_, mnemonic, operands in engine.disasm_lite(code[at : at + 4], CODE + at)
            ),
            "?",
        )
        yield f"{CODE + at:#x}: {word:08x}  {text}"


class Comparison:
    """Both sides, ready for programs; one QEMU for each entry level."""

    def __init__(self, cpu: str) -> None:
        self.core = COMPARED[cpu]
        self._stack = ExitStack()
        self._references: dict[int, Reference] = {}

    def __enter__(self) -> Comparison:
        for entry in (1, 2):
            qemu = self._stack.enter_context(started(cpu=self.core.option, el=entry))
            self._references[entry] = Reference(qemu, self.core)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def draw(self, kind: str, seeds: Iterable[int]) -> list[Program]:
        """Return programs of a kind for this core."""
        return [draw(kind, seed, self.core) for seed in seeds]

    def compare(self, programs: Sequence[Program]) -> Iterator[Difference | None]:
        """Yield for each program how it differs, or None."""
        for program, code in zip(programs, encode(programs), strict=True):
            yield self._compare(program, code)

    def outcomes(self, program: Program, code: bytes = b"") -> tuple[Outcome, Outcome]:
        """Return how the program ends on QEMU, and on emu."""
        code = code or encode([program])[0]
        theirs = self._references[program.setup.entry].run(program, code)
        return theirs, emulated.run(program, code, self.core)

    def _compare(self, program: Program, code: bytes) -> Difference | None:
        theirs, ours = self.outcomes(program, code)
        if next(differences(theirs, ours), None) is None and theirs.ending == END:
            return None
        return Difference(program, code, theirs, ours)

    def minimised(self, difference: Difference) -> Difference:
        """Return the difference with as few lines of the body as show it."""
        size = max(len(difference.program.body) // 2, 1)
        while True:
            shorter = self._first(difference, _without(difference.program, size))
            if shorter is not None:
                difference = shorter
            elif size == 1:
                return difference
            else:
                size //= 2

    def _first(self, like: Difference, candidates: Iterable[Program]) -> Difference | None:
        programs = list(candidates)
        found = self.compare(programs) if programs else iter(())
        return next((each for each in found if each is not None and each.signature == like.signature), None)


def _without(program: Program, size: int) -> Iterator[Program]:
    body = program.body
    for start in range(0, len(body), size):
        yield program.with_body((*body[:start], *body[start + size :]))
