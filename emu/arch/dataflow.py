"""Which registers a loaded value may have come to, along the code between two operations of a CPU.

The operations are known by their PCs; between two of them lie instructions that access no memory, on one path
or on several. Uses and definitions of registers are Capstone's. What a register holds because of a branch
(a control dependency) does not count; what it holds because of flags (CSEL) does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from emu.arch import a64

_INSTRUCTIONS_MAX = 512  # between two operations
_NZCV = 32
_VECTORS = 64  # the bit of V0; X0 has bit 0, SP bit 31


class Flow(NamedTuple):
    """What one instruction does with registers, as sets of bits.

    :ivar is_memory: it loads or stores
    :ivar reads, writes: all registers
    :ivar data: of a store: those whose values it stores
    """

    is_memory: bool
    reads: int
    writes: int
    data: int


class DataFlow:
    """Follows values through code; ``fetch`` returns the instruction word (u32) at a VA, or None."""

    def __init__(self, fetch: Callable[[int], int | None]) -> None:
        self.fetch = fetch
        self._across: dict[tuple[int, int, int], int] = {}

    def depends(self, pcs: Iterable[int]) -> bool:
        """Tell whether what the store at the last PC stores may be made of what the load at the first loaded.

        :param pcs: VAs of the CPU's operations from the load to the store; once nothing holds the value, no
            more of them are taken
        """
        places = (pc for pc, _ in groupby(pcs))  # the halves of a pair have one
        first = here = next(places)
        held = self.loaded(first)
        for there in places:
            held = self.across(here, there, held if here == first else self.after(here, held))
            if not held:
                return False
            here = there
        return bool(held & self.stored(here))

    def loaded(self, pc: int) -> int:
        """Return the registers that the load at ``pc`` writes the value to."""
        found = self._flow(pc)
        return found.writes if found and found.is_memory else 0

    def stored(self, pc: int) -> int:
        """Return the registers whose values the store at ``pc`` stores."""
        found = self._flow(pc)
        return found.data if found else 0

    def after(self, pc: int, held: int) -> int:
        """Return the registers that hold the value after the instruction at ``pc``."""
        found = self._flow(pc)
        if found is None:
            return held
        comes = found.reads & held and not found.is_memory
        return held | found.writes if comes else held & ~found.writes

    def across(self, here: int, there: int, held: int) -> int:
        """Return the registers that may hold the value right before ``there``.

        :param held: those that hold it right after ``here``
        """
        key = (here, there, held)
        found = self._across.get(key)
        if found is None:
            found = self._across[key] = self._walk(here, there, held)
        return found

    def _walk(self, here: int, there: int, held: int) -> int:
        before: dict[int, int] = {}  # what may be held right before an instruction
        work = [(pc, held) for pc in self._successors(here)]
        result, reached = 0, False
        while work and len(before) < _INSTRUCTIONS_MAX:
            pc, held_here = work.pop()
            if pc == there or pc < 0:  # a path that leaves by an indirect branch is taken to come there
                result, reached = result | held_here, True
                continue
            known = before.get(pc)
            if known is not None and not held_here & ~known:
                continue
            held_here |= known or 0
            before[pc] = held_here
            flow = self._flow(pc)
            if flow is None or flow.is_memory:
                continue  # the operation would have come first
            after = self.after(pc, held_here)
            work += [(successor, after) for successor in self._successors(pc)]
        return result if reached else held

    def _successors(self, pc: int) -> list[int]:
        # VAs of what may be executed next; -1 for an unknown one.
        word = self.fetch(pc)
        if word is None:
            return []
        target = a64.branch_target(word, pc)
        if target is None:
            return [-1] if _leaves(word) else [pc + 4]
        always = word >> 26 == 0b000101  # B
        return [target] if always or word >> 26 == 0b100101 else [pc + 4, target]

    def _flow(self, pc: int) -> Flow | None:
        word = self.fetch(pc)
        return None if word is None else flow_of(word)


def _leaves(word: int) -> bool:
    # BR, BLR, RET, ERET and their authenticating forms; SVC, HVC, SMC, BRK, HLT.
    return word >> 25 == 0b1101011 or word >> 24 == 0b11010100


@cache
def _engine() -> Any:
    import capstone  # here, because it costs more than all else at start and is seldom needed

    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    engine.detail = True
    return engine


@cache
def flow_of(word: int) -> Flow:
    """Return what an instruction word does with registers; nothing for a word that is none."""
    is_memory = word >> 25 & 0b0101 == 0b0100  # Arm DDI 0487, C4.1: op0 = x1x0
    for instruction in _engine().disasm(word.to_bytes(4, "little"), 0):
        read, written = instruction.regs_access()
        reads = _bits(instruction, read)
        writes = _bits(instruction, written)
        if instruction.mnemonic in ("cmp", "cmn", "tst"):  # Capstone takes the first register for a result
            reads, writes = reads | writes & ~(1 << _NZCV), 1 << _NZCV
        vector = bool(word >> 26 & 1)
        if is_memory and instruction.writeback:
            writes &= ~(1 << (word >> 5 & 31))
        data = 0
        if is_memory:
            numbers = [word & 31]
            if word >> 27 & 7 == 0b101 or (word >> 24 & 0x3F == 0b001000 and word >> 21 & 1):
                numbers.append(word >> 10 & 31)  # pairs: LDP/STP, LDXP/STXP
            for number in numbers:
                if vector:
                    data |= 1 << _VECTORS + number
                elif number != 31:
                    data |= 1 << number
        return Flow(is_memory, reads, writes, data)
    return Flow(is_memory, 0, 0, 0)


def _bits(instruction: Any, registers: Sequence[int]) -> int:
    bits = 0
    for register in registers:
        name = instruction.reg_name(register)
        if name in ("sp", "wsp"):
            bits |= 1 << 31
        elif name == "nzcv":
            bits |= 1 << _NZCV
        elif name in ("fp", "lr"):
            bits |= 1 << (29 if name == "fp" else 30)
        elif name[1:].isdigit():
            number = int(name[1:])
            bits |= 1 << (number if name[0] in "xw" else _VECTORS + number)
    return bits
