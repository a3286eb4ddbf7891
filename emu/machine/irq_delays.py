"""How late interrupts reach the CPUs of a free run: drawn for each from a seed, up to a bound.

The architecture says only that an interrupt is taken in finite time (Arm DDI 0487, D1.3). Nothing is late
before a second CPU is on: what one CPU does alone is the same in all runs that differ in this.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from emu.errors import InvalidCase
from emu.seed import seed_of

NS_MAX = 1_000_000  # of one interrupt: a tick of the kernel is 4 ms


@dataclass(slots=True)
class IrqDelays:
    """The delays of one run.

    :ivar most: ns, of each; 0: none is late
    :ivar drawn: how many have been drawn
    """

    seed: int = 0
    most: int = 0
    drawn: int = 0

    def draw(self) -> int:
        """Return the delay (ns) of the next interrupt that is asserted."""
        if not self.most:
            return 0
        self.drawn += 1
        return int(random.Random(f"{self.seed}:{self.drawn}").random() * (self.most + 1))


def parse_irq_delays(text: str) -> IrqDelays:
    """Return what ``SEED:NS`` says, nothing is late where it is empty.

    :raises InvalidCase: it is of another form, or a delay is too long
    """
    if not text:
        return IrqDelays()
    seed, colon, most = text.partition(":")
    try:
        found = IrqDelays(seed_of(seed), int(most, 0))
    except ValueError:
        found = IrqDelays()
    if not colon or not seed or not 1 <= found.most <= NS_MAX:
        raise InvalidCase(f"irq-late={text}: SEED:NS, a seed and 1 to {NS_MAX:,} ns")
    return found
