"""Programs that are compared: each is drawn from a seed, by a kind that says what is tried."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from reference.cores import Compared
from reference.setup import Setup
from reference.world import DATA, DATA_SIZE, assemble_each

# X26..X28 belong to the handlers (world.py): where to go on, a scratch register, the next log entry.
REGISTERS = tuple(number for number in range(31) if number not in (26, 27, 28))


@dataclass(frozen=True)
class Program:
    """One program.

    :ivar kind: its name in KINDS
    :ivar seed: that it was drawn from
    :ivar x: X0..X30 at first
    :ivar body: lines of assembly, each on its own
    """

    kind: str
    seed: int
    setup: Setup
    x: tuple[int, ...]
    body: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole program as assembly."""
        return self.setup.text(list(self.body))

    def with_body(self, body: Iterable[str]) -> Program:
        """Return the same program with another body."""
        return replace(self, body=tuple(body))


class Draw(random.Random):
    """Choices of a kind, all from one seed.

    :ivar core: that the program is for
    """

    core: Compared

    def register(self) -> str:
        """Return X0..X25, X29 or X30."""
        return f"x{self.choice(REGISTERS)}"

    def registers(self, count: int) -> list[str]:
        """Return so many, all different."""
        return [f"x{number}" for number in self.sample(REGISTERS, count)]

    def value(self) -> int:
        """Return a u64, often one at an edge."""
        edge = (0, 1, 2**63, 2**64 - 1, 2**31, 2**32 - 1, 2**32, 0x5555_5555_5555_5555, DATA)
        if self.random() < 0.3:
            return self.choice(edge)
        return self.getrandbits(self.choice((8, 16, 32, 48, 64, 64)))

    def bits(self, mask: int) -> int:
        """Return some of the bits of ``mask``: none, all, one, or each with an even chance."""
        which = self.randrange(4)
        if which < 2:
            return mask * which
        if which == 2:
            return 1 << self.choice([bit for bit in range(64) if mask >> bit & 1])
        return mask & self.getrandbits(64)


def load(register: str, value: int) -> str:
    """Return the line that sets ``register``."""
    return f"ldr {register}, ={value:#x}"


Body = Callable[[Draw], tuple[Setup, list[str]]]
KINDS: dict[str, Body] = {}


def kind(name: str) -> Callable[[Body], Body]:
    """Register a kind of programs."""

    def register(body: Body) -> Body:
        assert name not in KINDS, name
        KINDS[name] = body
        return body

    return register


def draw(name: str, seed: int, core: Compared) -> Program:
    """Return the program of this kind that ``seed`` gives for a core."""
    drawn = Draw(f"{name} {seed}")
    drawn.core = core
    setup, body = KINDS[name](drawn)
    x = [drawn.value() for _ in range(31)]
    x[29] = DATA + DATA_SIZE // 4
    return Program(name, seed, setup, tuple(x), tuple(body))


def encode(programs: Sequence[Program]) -> list[bytes]:
    """Return the code of each program."""
    return assemble_each(program.text for program in programs)
