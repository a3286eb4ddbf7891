"""What is known about the code that PEs run: where it lies, which words need a hook, how far one can run.

The engine shows memory accesses to a hook, but neither WFE nor SEV, barriers, maintenance by VA, counters or
feature traps. The words that do these are *sites*. They are looked for in each block once, when the engine
first translates it, so that all other code runs at full speed.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.arch import a64, sysreg
from emu.arch.a64 import Class
from emu.memory import Memory

COUNTERS = (sysreg.CNTPCT_EL0, sysreg.CNTVCT_EL0)
BREAKPOINT = -1  # class of a site, beside a64.Class
_SCTLRS = (sysreg.SCTLR_EL1, sysreg.SCTLR_EL2)
_PAGE = 4096

# Sites even while nothing is observed: what the engine would run wrongly.
_MISRUN = frozenset({Class.WFE, Class.WFI, Class.SEV, Class.SPIN, Class.FP})
_MAINTENANCE = frozenset({Class.BARRIER, Class.CACHE, Class.TLB, Class.ZERO})
_LOCAL = frozenset(
    {Class.LOAD_EXCLUSIVE, Class.STORE_EXCLUSIVE, Class.CLREX, Class.SEVL, Class.YIELD, Class.ERET}
)
_OBSERVED = _MISRUN | _MAINTENANCE | _LOCAL


def _may_be_site(top: int) -> bool:
    # By the top byte of a word: system, branch register, B, exclusives, SIMD and floating point.
    return top in (0xD5, 0xD6, 0x14) or top & 0x3F == 0x08 or top & 0x0E in (0x0C, 0x0E)


_INTERESTING = bytes(_may_be_site(top) for top in range(256))


class CodeMap:
    """Code by VA. ``translate`` gives the PA that the running PE fetches a VA from, or None.

    A VA of code maps to one PA for as long as nothing is forgotten.
    """

    def __init__(self, memory: Memory, translate: Callable[[int], int | None]) -> None:
        self.observing = False
        self.watched_mrs: set[sysreg.Encoding] = set(COUNTERS)
        self.sites: dict[int, int] = {}  # VA to class
        self.blocks: set[int] = set()  # VAs of blocks that were looked at
        self.code_pages: set[int] = set()  # PA >> 12 that code was fetched from
        self.plans: dict[int, tuple[int, bool]] = {}
        self._pages: dict[int, int] = {}  # VA >> 12 to PA >> 12
        self._translate = translate
        self._words = memory.view.cast("I")
        self._base = memory.base
        self._memory = memory

    def forget(self) -> None:
        """Know nothing; the sites stay, since each looks at its word when it is met."""
        self.blocks.clear()
        self.plans.clear()
        self.code_pages.clear()
        self._pages.clear()

    def written(self) -> None:
        """Code was stored to: what was derived from its words must go."""
        self.blocks.clear()
        self.plans.clear()

    def word(self, va: int) -> int | None:
        """Return the instruction word (u32) at ``va``, or None when it cannot be fetched."""
        page = self._pages.get(va >> 12)
        if page is None:
            pa = self._translate(va)
            if pa is None or not self._memory.contains(pa, 4):
                return None
            page = self._pages[va >> 12] = pa >> 12
            self.code_pages.add(page)
        return self._words[((page << 12 | va & 0xFFF) - self._base) >> 2]

    def block(self, va: int, size: int) -> list[tuple[int, int]]:
        """Look at a block of ``size`` bytes; give its sites that are new, as (VA, class)."""
        self.blocks.add(va)
        found = []
        for at in range(va, va + size, 4):
            word = self.word(at)
            if word is not None and _INTERESTING[word >> 24] and at not in self.sites and self._is_site(word):
                found.append((at, int(Class.FP if a64.uses_fp(word) else a64.classify(word))))
        return found

    def entry_size(self, pc: int) -> int:
        """Return the bytes from ``pc`` to the end of its straight line: a branch or the end of the page."""
        size = 0
        while True:
            word = self.word(pc + size)
            if word is None:
                return size
            size += 4
            if a64.is_branch(word) or (pc + size) % _PAGE == 0:
                return size

    def plan(self, pc: int) -> tuple[int, bool]:
        """Return (instructions that can run at once from ``pc``, whether the first is an operation)."""
        plan = self.plans.get(pc)
        if plan is not None:
            return plan
        word = self.word(pc)
        if word is None:
            return (1, False)
        first = a64.classify(word) in a64.OBSERVABLE
        count = 1
        while not a64.is_branch(word) and (pc + 4 * count) % _PAGE:
            word = self.word(pc + 4 * count)
            if word is None or a64.classify(word) in a64.OBSERVABLE or pc + 4 * count in self.sites:
                break
            count += 1
        plan = self.plans[pc] = (count, first)
        return plan

    def _is_site(self, word: int) -> bool:
        kind = a64.classify(word)
        if kind in (_OBSERVED if self.observing else _MISRUN) or a64.uses_fp(word):
            return True
        if kind is Class.MRS:
            return a64.system_register(word) in self.watched_mrs
        return self.observing and kind is Class.MSR and a64.system_register(word) in _SCTLRS
