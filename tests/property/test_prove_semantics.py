"""What proofs hold of each instruction is what the engine does, on random words and random states.

Two ways: with numbers for registers, which is the semantics alone; and with symbols that then get these
numbers, which is what a proof computes with.
"""

from __future__ import annotations

from random import Random

import pytest

from emu.arch.boot import DRAM_BASE, IMAGE_PA
from emu.cpu.factory import make_engine
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.stops import EngineStop, StepLimit
from emu.memory import Memory

z3 = pytest.importorskip("z3")
from emu.lookup.prove import bits  # noqa: E402
from emu.lookup.prove.flags import Plain, of_number  # noqa: E402
from emu.lookup.prove.semantics import INSTRUCTIONS, branch, decode, memory, system  # noqa: E402
from emu.lookup.prove.semantics.instruction import Instruction, rd, rn  # noqa: E402
from emu.lookup.prove.state import Access, Goes, State, Waits  # noqa: E402

FEW, MANY = 30, 400  # words of each instruction; the many are among the deep tests
DATA, DATA_SIZE = DRAM_BASE + (1 << 20), 1 << 12
MPIDR = 0x8100_0A0B
CODE = IMAGE_PA + 0x100
NOP = 0xD503_201F
INTERESTING = (0, 1, 2**64 - 1, 2**63, 2**31, 2**32 - 1, 2**32, 0x7FFF_FFFF_FFFF_FFFF, 63, 64, 31, 32)


class Surroundings:
    """Memory of the engine's, as bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.is_possible = True

    def _at(self, access: Access) -> int:
        assert isinstance(access.address, int)
        # Not aligned, or out of memory: an exception.
        self.is_possible &= access.address % access.size == 0
        self.is_possible &= access.base != 31 or access.base_value % 16 == 0
        self.is_possible &= DATA <= access.address <= DATA + DATA_SIZE - access.size
        return access.address - DATA if self.is_possible else 0

    def load(self, state: State, access: Access) -> int:
        at = self._at(access)
        return int.from_bytes(self.data[at : at + access.size], "little")

    def store(self, state: State, access: Access, value: int) -> None:
        at = self._at(access)
        self.data[at : at + access.size] = value.to_bytes(access.size, "little")

    def register(self, encoding: tuple[int, int, int, int, int]) -> int:
        assert encoding == system.MPIDR_EL1
        return MPIDR


class Bench:
    """The engine with one PE. All words lie in memory before the first runs: the engine translates ahead."""

    def __init__(self, words: list[int]) -> None:
        self.memory = Memory(DRAM_BASE, 4 << 20)
        for number, word in enumerate([*words, NOP]):
            self.memory.write(CODE + 4 * number, 4, word)
        self.engine = make_engine(self.memory, LocalInterconnect())
        self.pe = self.engine.new_pe(0, MPIDR, 0x410F_D083, 1)

    def run(self, pc: int, x: list[int], nzcv: int, data: bytes) -> EngineStop:
        """Run the instruction at ``pc``."""
        pe = self.pe
        self.memory.write_bytes(DATA, data)
        self.engine.reset(pe, 1, pc, 0)
        for number, value in enumerate(x):
            pe.x[number] = value
        pe.nzcv = nzcv << 28
        return self.engine.step(pe)


def drawn(rng: Random, instruction: Instruction, pc: int = CODE) -> tuple[int, list[int]]:
    """Return a word of the instruction, and registers."""
    while True:
        word = instruction.value | rng.getrandbits(32) & ~instruction.mask
        if instruction in branch.INSTRUCTIONS and rng.random() < 0.8:
            word &= ~0x03FF_0000 | instruction.mask  # not too far
        if decode(word) is instruction:
            break
    x = [rng.choice(INTERESTING) if rng.random() < 0.4 else rng.getrandbits(64) for _ in range(32)]
    if rng.random() < 0.3:
        x[rng.randrange(31)] = x[rng.randrange(31)]
    x[31] = DATA + 0x800
    if instruction in memory.INSTRUCTIONS:
        for number in range(31):
            if number == rn(word) or rng.random() < 0.2:
                x[number] = DATA + 0x800 + rng.choice((0, 16, 64))
            elif rng.random() < 0.8:
                x[number] = rng.choice((0, 8, 2**32 - 8, 2**64 - 16, 16))
        if word & 0x3F00_0000 == 0x1800_0000:  # a literal: of the data
            word = word & ~0xFF_FFE0 | (rng.randrange(DATA_SIZE // 8) * 2 + (DATA - pc) // 4) << 5 & 0xFF_FFE0
    elif instruction in branch.INSTRUCTIONS:
        x = [IMAGE_PA + 4 * rng.randrange(1000) if rng.random() < 0.8 else 0 for _ in x]
        x[31] = DATA + 0x800
    return word, x


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda each: each.name.replace(" ", "_"))
@pytest.mark.parametrize("words", [FEW, MANY])
def test_the_engine_does_the_same(instruction: Instruction, words: int) -> None:
    """Registers, SP, flags, PC and memory, after one step of each."""
    rng = Random(f"semantics:{instruction.name}")
    tried = [(CODE + 4 * number, *drawn(rng, instruction, CODE + 4 * number)) for number in range(words)]
    bench = Bench([word for _pc, word, _x in tried])
    compared = 0
    for pc, word, x in tried:
        nzcv, data = (
            rng.getrandbits(4),
            rng.randbytes(DATA_SIZE if instruction in memory.INSTRUCTIONS else 16),
        )
        around = Surroundings(data)
        state = State(list(x), of_number(nzcv), pc, 0x3C0, around, stored={})
        step = instruction.execute(word, state)
        if isinstance(step, Waits) or not around.is_possible:
            continue
        to = pc + 4
        if isinstance(step, Goes) and step.condition:
            assert isinstance(step.to, int)
            to = step.to
        if to == pc or to & 3 or not IMAGE_PA <= to < DRAM_BASE + (4 << 20):
            continue  # a branch to itself, or out of memory
        where = f"{word:#010x} ({instruction.name})"
        assert isinstance(bench.run(pc, x, nzcv, data), StepLimit), where
        compared += 1
        assert bench.pe.pc == to, where
        assert [bench.pe.x[number] for number in range(32)] == state.x, where
        flags = sum(bool(each) << 3 - place for place, each in enumerate(state.flags.nzcv))
        assert bench.pe.nzcv >> 28 == flags, where
        assert [state.flags.holds(pair) for pair in range(7)] == [
            of_number(flags).holds(pair) for pair in range(7)
        ], where
        assert bench.pe.daif == state.daif, where
        assert bench.memory.read_bytes(DATA, len(data)) == bytes(around.data), where
    assert compared >= words // 8, f"{compared} of {words} compared"


PURE = [
    each
    for each in INSTRUCTIONS
    if each not in (*memory.INSTRUCTIONS, *branch.INSTRUCTIONS, *system.INSTRUCTIONS)
]


@pytest.mark.parametrize("instruction", PURE, ids=lambda each: each.name.replace(" ", "_"))
@pytest.mark.parametrize("words", [FEW // 6, MANY // 10])
def test_symbols_are_computed_with_as_numbers_are(instruction: Instruction, words: int) -> None:
    """A result in symbols is, for these numbers, the result of the numbers."""
    rng = Random(f"symbols:{instruction.name}")
    names = [z3.BitVec(f"x{number}", 64) for number in range(32)]
    flags = [z3.Bool(name) for name in "nzcv"]
    for _ in range(words):
        word, x = drawn(rng, instruction)
        nzcv = rng.getrandbits(4)
        numbers = State(list(x), of_number(nzcv), CODE, 0x3C0, Surroundings(b""), stored={})
        instruction.execute(word, numbers)
        symbols = State(list(names), Plain(tuple(flags)), CODE, 0x3C0, Surroundings(b""), stored={})
        instruction.execute(word, symbols)
        known = [(name, z3.BitVecVal(value, 64)) for name, value in zip(names, x, strict=True)]
        known += [(flag, z3.BoolVal(bool(nzcv >> 3 - place & 1))) for place, flag in enumerate(flags)]
        number = rd(word)
        got = bits.simple(z3.substitute(bits.bv(symbols.x[number], 64), *known))
        assert got == numbers.x[number], f"{word:#010x} ({instruction.name})"
        for code in range(7):
            one = bits.truth(z3.substitute(bits.boolean(symbols.flags.holds(code)), *known))
            assert one == numbers.flags.holds(code), (
                f"{word:#010x} ({instruction.name}): condition {2 * code}"
            )
