"""The share of MRS and MSR that end a run as untestable: of registers that a core has and emu does not model.

The registers are drawn as those of the programs that are compared with QEMU, with the ones that QEMU lacks:
seven of ten are registers that some core has (register_names.KNOWN), the others any encoding. Each is read or
written at EL0, EL1 or EL2, from the reset state.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from reference.cores import COMPARED
from reference.drawn import Draw
from reference.kinds_system import any_encoding

from emu.arch import sysreg
from emu.cpu.cores import Core
from emu.cpu.engine import Engine
from emu.cpu.factory import make_engine
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, Unsupported
from emu.memory import Memory

_BASE = 0x4000_0000
_ERET = 0xD69F_03E0


@dataclass(frozen=True)
class Share:
    """What was drawn.

    :ivar accesses: how many
    :ivar untestable: those that end a run, by what it is said to end by
    """

    accesses: int
    untestable: Counter[str]

    @property
    def percent(self) -> float:
        """Untestable accesses of all, in percent."""
        return 100 * self.untestable.total() / self.accesses


def measure(cpu: str, count: int, seed: int = 0) -> Share:
    """Draw ``count`` accesses for a core."""
    draw = Draw(f"untestable {seed}")
    draw.core = COMPARED[cpu]
    memory = Memory(_BASE, 1 << 20)
    engine = make_engine(memory, LocalInterconnect(), cores=[draw.core.core])
    pe = engine.new_pe(0, 0x8000_0000, draw.core.core.midr, 2)
    states = [_at(engine, memory, pe, draw.core.core, el) for el in range(3)]
    found: Counter[str] = Counter()
    for _ in range(count):
        op0, op1, crn, crm, op2 = any_encoding(draw)
        register, is_read = draw.randrange(31), draw.random() < 0.5
        pe.set_state(states[draw.randrange(3)])
        pe.x[register] = draw.value()
        word = (
            0xD500_0000 | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | register | is_read << 21
        )
        memory.write(_BASE, 4, word)
        engine.forget_code()
        stop = engine.step(pe)
        if isinstance(stop, Unsupported):
            found[stop.what] += 1
    return Share(count, found)


def _at(engine: Engine, memory: Memory, pe: PE, core: Core, el: int) -> bytes:
    # The state of a PE that was entered at EL2, at this level.
    engine.reset(pe, 2, _BASE, 0)
    if el < 2:
        memory.write(_BASE, 4, _ERET)
        engine.forget_code()
        pe.set_system_register(sysreg.HCR_EL2, sysreg.HCR_RW)
        pe.set_system_register(sysreg.SPSR_EL2, 0x3C0 | (5 if el else 0))
        pe.set_system_register((3, 4, 4, 0, 1), _BASE)  # ELR_EL2
        assert engine.step(pe) is STEP_LIMIT, core.name
    assert pe.el == el
    return pe.state()
