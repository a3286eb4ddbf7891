"""PEs on bare memory for tests: programs assembled by Keystone, page tables, what was recorded."""

from __future__ import annotations

from functools import cache

import keystone

from emu.arch import descriptors
from emu.cpu.factory import make_engine
from emu.cpu.interconnect import LocalInterconnect
from emu.cpu.pe import PE
from emu.cpu.stops import STEP_LIMIT, Call, EngineStop, Raised, Reached, SelfBranch, Waiting
from emu.memory import Memory
from emu.operation import Kind

BASE = 0x4000_0000
SIZE = 0x100_0000
SETUP = BASE + 0x1000  # code that switches the MMU on, in the first 2 MiB, which maps to itself
VECTORS = BASE + 0x8000
CODE = BASE + 0x1_0000
DATA = BASE + 0x20_0000
TABLES = BASE + 0x80_0000
MIDR = 0x410F_D083
TCR = 16 | 16 << 16 | 2 << 30 | 5 << 32  # T0SZ, T1SZ: 48 bits; TG1: 4K; IPS: 48 bits
MAIR = 0xFF  # attribute 0: Normal write-back
M = 1  # SCTLR_ELx.M
SCTLR_RES1 = 0x30D0_0800

Seen = tuple[Kind, int, int, int, int]  # kind, size, pc, pa, value

_MMU_ON = f"""
    ldr x1, ={TCR:#x}
    msr tcr_el1, x1
    mov x1, #{MAIR:#x}
    msr mair_el1, x1
    msr ttbr0_el1, x0
    msr ttbr1_el1, x0
    isb
    ldr x1, ={SCTLR_RES1 | M:#x}
    msr sctlr_el1, x1
    isb
    br x2
"""


@cache
def assemble(text: str, at: int = CODE) -> bytes:
    """Return the bytes of ``text`` placed at ``at``; one line has one instruction, label or directive."""
    code, _ = keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN).asm(text, at)
    assert code is not None, text
    return bytes(code)


class Outside(LocalInterconnect):
    """What is outside of the PEs of ``bare``: its records, and a counter that ticks at each look.

    :ivar sent: PCs of the SEVs
    """

    def __init__(self, bare: Bare) -> None:
        super().__init__()
        self.sent: list[int] = []
        self._bare = bare

    def record(self, pe: PE, kind: Kind, size: int, va: int, pa: int, value: int) -> None:
        """Keep the operation."""
        self._bare.records.append((Kind(kind), size, va, pa, value))

    def send_event(self, pe: PE) -> None:
        """Keep the PC."""
        self.sent.append(pe.pc)

    def counter(self, pe: PE) -> int:
        """Tick."""
        self._bare.clock += 1
        return self._bare.clock


class Bare:
    """One engine with its memory. ``records`` holds what every PE has done, in order.

    :param size: bytes of memory; translation tables begin at ``tables``
    """

    def __init__(self, *, observe: bool = True, size: int = SIZE, tables: int = TABLES) -> None:
        self.memory = Memory(BASE, size)
        self.clock = 0
        self.outside = Outside(self)
        self.engine = make_engine(self.memory, self.outside)
        self.records: list[Seen] = []
        self.pes: list[PE] = []
        self._tables = tables
        if observe:
            self.engine.observe(record=True)

    def load(self, text: str, at: int = CODE) -> int:
        """Assemble ``text`` into memory at ``at`` and return the address behind it."""
        code = assemble(text, at)
        self.memory.write_bytes(at, code)
        return at + len(code)

    def words(self, *words: int, at: int = CODE) -> None:
        """Put instruction words at ``at``."""
        self.memory.write_bytes(at, b"".join(word.to_bytes(4, "little") for word in words))

    def put(self, pa: int, *values: int) -> None:
        """Put u64s at ``pa``."""
        for index, value in enumerate(values):
            self.memory.write(pa + 8 * index, 8, value)

    def pe(self, at: int = CODE, *, el: int = 1, x0: int = 0) -> PE:
        """Add a PE, switched on at ``at``."""
        index = len(self.pes)
        pe = self.engine.new_pe(index, 0x8000_0000 | index, MIDR, el)
        self.engine.reset(pe, el, at, x0)
        self.pes.append(pe)
        return pe

    # -- page tables ------------------------------------------------------------------------------

    def new_table(self) -> int:
        """Return the PA of an empty table."""
        self._tables += 0x1000
        return self._tables - 0x1000

    def new_root(self) -> int:
        """Return the PA of a level 0 table that maps the first 2 MiB of memory to itself."""
        root = self.new_table()
        self.map(root, BASE, BASE, 0x20_0000)
        return root

    def map(self, root: int, va: int, pa: int, size: int) -> None:
        """Map 2 MiB blocks."""
        descriptors.map_blocks(
            lambda at: self.memory.read(at, 8),
            lambda at, value: self.memory.write(at, 8, value),
            self.new_table,
            root,
            va & (1 << 48) - 1,
            pa,
            size,
            0,
        )

    def map_page(self, root: int, va: int, descriptor: int) -> None:
        """Put a level 3 descriptor for ``va``."""
        table = root
        for shift in (39, 30, 21):
            entry = table + 8 * (va >> shift & 0x1FF)
            below = self.memory.read(entry, 8)
            if not below & 1:
                below = self.new_table() | descriptors.TABLE
                self.memory.write(entry, 8, below)
            table = below & 0x0000_FFFF_FFFF_F000
        self.memory.write(table + 8 * (va >> 12 & 0x1FF), 8, descriptor)

    def mmu_on(self, pe: PE, root: int, va: int = CODE) -> None:
        """Let ``pe`` switch its MMU on with ``root`` in both TTBRs and branch to ``va``; EL1 only."""
        if not self.memory.read(SETUP, 4):
            self.load(_MMU_ON, SETUP)
        pc, x = pe.pc, list(pe.x)[:3]
        del pc
        pe.x[0], pe.x[2], pe.pc = root, va, SETUP
        self.engine.break_at(va)
        stop = self.engine.run(pe, 100)
        assert stop == Reached(va), stop
        self.engine.unbreak(va)
        pe.x[0], pe.x[1], pe.x[2] = x
        pe.reset_counters()
        self.records.clear()

    # -- running ----------------------------------------------------------------------------------

    def go(self, pe: PE, grain: str = "run", limit: int = 100_000) -> EngineStop:
        """Run ``pe`` at a grain until it stops for another reason than the grain, or ``limit`` picks."""
        engine = self.engine
        if grain == "run":
            return engine.run(pe, limit)
        one = engine.step if grain == "step" else engine.run_operation
        for _ in range(limit):
            stop = one(pe)
            if stop is not STEP_LIMIT:
                return stop
        return STEP_LIMIT

    def finish(self, pe: PE, grain: str = "run", events_max: int = 1000) -> list[EngineStop]:
        """Run ``pe`` until it parks, delivering exceptions, answering calls with 0, ending each sleep."""
        stops: list[EngineStop] = []
        while len(stops) < events_max:
            stop = self.go(pe, grain)
            stops.append(stop)
            match stop:
                case SelfBranch() | Reached():
                    return stops
                case Raised():
                    pe.take(stop)
                case Call():
                    pe.x[0] = 0
                case Waiting():
                    self.outside.set_event(pe, False)
                case _:
                    return stops
        raise AssertionError(f"no end after {stops[-3:]}")

    def kinds(self) -> list[Kind]:
        """Return the kinds of what was recorded."""
        return [record[0] for record in self.records]


GRAINS = ("run", "step", "operation")
