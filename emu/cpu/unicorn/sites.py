"""What is known about the code that PEs run: where it lies, which words need a hook, how far one can run.

The engine shows memory accesses to a hook, but neither WFE nor SEV, barriers, maintenance by VA, counters or
feature traps. The words that do these are *sites*. They are looked for in each block once, when the engine
first translates it, so that all other code runs at full speed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from emu.arch import a64
from emu.arch.a64 import Class, Other
from emu.arch.sysreg import Encoding
from emu.cpu.engine import LINE_SHIFT
from emu.cpu.sysregs.access import has_reader, is_watched
from emu.cpu.unicorn.misrun_words import is_misrun
from emu.memory import Memory
from emu.operation import Kind

BREAKPOINT = -1  # class of a site, beside a64.Class
_PAGE = 4096
_SPACES_MAX = 256

# Sites even while nothing is observed: what the engine would run wrongly, and what changes a translation.
_MISRUN: frozenset[Class] = frozenset({Kind.WFE, Kind.WFI, Kind.SEV, Kind.SEVL, Kind.PARK, Other.FP})
_TRANSLATION: frozenset[Class] = frozenset({Kind.TLB, Other.ERET})
_LOCAL: frozenset[Class] = frozenset(
    {Kind.LOAD_EXCLUSIVE, Kind.STORE_EXCLUSIVE, Other.CLREX, Other.ZERO, Kind.CACHE}
)
_TOLD: frozenset[Class] = frozenset({Kind.BARRIER, Kind.YIELD})  # of interest to a recorder alone
_UNOBSERVED = _MISRUN | _TRANSLATION
_COUNTED = _UNOBSERVED | _LOCAL
_RECORDED = _COUNTED | _TOLD


def _may_be_site(top: int) -> bool:
    # By the top byte of a word: system, branch register, B, data processing of one source, atomics,
    # exclusives, SIMD and floating point.
    return (
        top in (0xD5, 0xD6, 0x14, 0xDA)
        or top & 0x3F == 0x38
        or top & 0x3F == 0x08
        or top & 0x0E in (0x0C, 0x0E)
    )


_INTERESTING = bytes(_may_be_site(top) for top in range(256))


class _Space:
    # What is known of the code by VA while one set of translation registers holds.

    __slots__ = ("blocks", "pages", "plans", "sure")

    def __init__(self) -> None:
        self.blocks: set[int] = set()
        self.pages: dict[int, int] = {}  # VA >> 12 to PA >> 12
        self.plans: dict[int, tuple[int, bool]] = {}
        self.sure = True  # no translation has changed since the pages were looked up


class CodeMap:
    """Code by VA. ``translate`` gives the PA that the running PE fetches a VA from, or None.

    What is known is kept apart by translation regime: :meth:`enter` says which one holds. Sites are by VA
    alone, since a hook looks at the word that it meets.
    """

    def __init__(self, memory: Memory, translate: Callable[[int], int | None]) -> None:
        self.wanted = _UNOBSERVED  # classes of words that are sites
        self.maintenance = False  # is a site even while nothing is observed
        self.watched_mrs: set[Encoding] = set()  # beside those with a read handler
        self.gated: frozenset[Encoding] = (
            frozenset()
        )  # registers that some PEs lack, though the engine has them
        self.features: frozenset[str] = frozenset()  # beyond Armv8.0, that some PE has
        self.sites: dict[int, int] = {}  # VA to class
        self.lines: set[int] = set()  # PA >> LINE_SHIFT of the code that was looked at
        self.stored: set[int] = set()  # PA >> 2 of what was stored to while accesses were observed
        self.executed: set[int] = set()  # PA >> 2 of the words in blocks that were begun then
        self.stored_sites: set[int] = set()  # VAs of sites that may be such words
        self.stale = True  # the regime may be another than the one that was entered
        self._spaces: dict[tuple[bytes, int], _Space] = {}
        self._use(_Space())
        self._translate = translate
        self._words = memory.view.cast("I")
        self._base = memory.base
        self._memory = memory

    def _use(self, space: _Space) -> None:
        self.blocks = space.blocks  # VAs that a run began at, with what follows looked at
        self.plans = space.plans
        self._pages = space.pages

    def enter(self, regime: bytes, el: int) -> None:
        """Use what is known under these translation registers (none: MMU off) at this exception level."""
        space = self._spaces.get((regime, el))
        if space is not None and not space.sure:
            if regime and any(self._frame(page << 12) != frame for page, frame in space.pages.items()):
                space = None
            else:
                space.sure = True
        if space is None:
            if len(self._spaces) >= _SPACES_MAX:
                self._spaces.clear()
            space = self._spaces[regime, el] = _Space()
        self._use(space)
        self.stale = False

    def observe(self, recording: bool) -> bool:
        """Make sites of what is counted, or recorded too; False when it is so already."""
        wanted = _RECORDED if recording else _COUNTED
        if self.wanted >= wanted:
            return False
        self.wanted = wanted
        return True

    def unobserve(self) -> None:
        """Make sites only of what must be one always."""
        self.wanted = _UNOBSERVED

    @property
    def observing(self) -> bool:
        """Whether anything is counted."""
        return self.wanted != _UNOBSERVED

    def forget(self) -> None:
        """Know nothing; the sites stay, since each looks at its word when it is met."""
        self._spaces.clear()
        self._use(_Space())
        self.stale = True
        self.lines.clear()

    def remapped(self) -> None:
        """Translations may have changed: each space looks its pages up again when it is entered."""
        for (regime, _), space in self._spaces.items():
            if regime:  # with the MMU off a VA is a PA
                space.sure = False
                self.stale = True

    def written(self) -> None:
        """Code was stored to: what was derived from its words must go."""
        self.blocks.clear()
        self.plans.clear()
        for space in self._spaces.values():
            space.blocks.clear()
            space.plans.clear()

    def replan(self) -> None:
        """There is a new site: plans end at sites."""
        self.plans.clear()
        for space in self._spaces.values():
            space.plans.clear()

    def holds(self, pa: int, size: int) -> bool:
        """Tell whether any of these bytes lies in a line of code that was looked at."""
        first, last = pa >> LINE_SHIFT, (pa + size - 1) >> LINE_SHIFT
        if first == last:
            return first in self.lines
        if last - first > len(self.lines):
            return any(first <= line <= last for line in self.lines)
        return any(line in self.lines for line in range(first, last + 1))

    def word(self, va: int) -> int | None:
        """Return the instruction word (u32) at ``va``, or None when it cannot be fetched."""
        page = self._pages.get(va >> 12)
        if page is None:
            page = self._frame(va)
            if page is None:
                return None
            self._pages[va >> 12] = page
        return self._words[((page << 12 | va & 0xFFF) - self._base) >> 2]

    def _frame(self, va: int) -> int | None:
        # PA >> 12 of the page of code at `va`, or None.
        pa = self._translate(va)
        return pa >> 12 if pa is not None and self._memory.contains(pa, 4) else None

    def block(self, va: int, size: int) -> list[tuple[int, int]]:
        """Look at a block of ``size`` bytes in one page; give its sites that are new, as (VA, class)."""
        if not size or self.word(va) is None:
            return []
        pa = self._pages[va >> 12] << 12 | va & 0xFFF
        self.lines.update(range(pa >> LINE_SHIFT, (pa + size - 1 >> LINE_SHIFT) + 1))
        found = []
        addresses, first = range(va, va + size, 4), pa - self._base >> 2
        for at, word in zip(addresses, self._words[first : first + len(addresses)], strict=True):
            if _INTERESTING[word >> 24] and at not in self.sites and self._is_site(word):
                found.append((at, int(Other.FP if a64.uses_fp(word) else a64.classify(word))))
        if not self.observing:
            return found
        cells = range(pa >> 2, pa + size >> 2)
        self.executed.update(cells)
        if not self.stored.isdisjoint(cells):
            found += self._stored_in(zip(addresses, cells, strict=True), {at for at, _ in found})
        return found

    def _stored_in(self, code: Iterable[tuple[int, int]], found: Collection[int]) -> list[tuple[int, int]]:
        # Sites for the words of `code`, VA and PA >> 2, that were stored to.
        stored = [at for at, cell in code if cell in self.stored]
        self.stored_sites.update(stored)
        return [(at, int(Other.INVISIBLE)) for at in stored if at not in self.sites and at not in found]

    def pa_if_stored(self, va: int) -> int | None:
        """Return the PA of the instruction at ``va`` if it was stored to, else None."""
        if va not in self.stored_sites or self.word(va) is None:
            return None
        pa = self._pages[va >> 12] << 12 | va & 0xFFF
        return pa if pa >> 2 in self.stored else None

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
        pa = self._pages[pc >> 12] << 12 | pc & 0xFFF
        self.lines.update(range(pa >> LINE_SHIFT, (pa + 4 * count - 1 >> LINE_SHIFT) + 1))
        plan = self.plans[pc] = (count, first)
        return plan

    def _is_site(self, word: int) -> bool:
        kind = a64.classify(word)
        if kind in self.wanted or a64.uses_fp(word) or (self.maintenance and kind is Kind.CACHE):
            return True
        if kind not in (Other.MRS, Other.MSR):
            if self.gated and a64.is_at(word):
                return True
            atomic = self.observing and "FEAT_LSE" in self.features and a64.is_atomic(word)
            return atomic or is_misrun(word, self.features)
        encoding = a64.system_register(word)
        if encoding in self.gated:
            return True
        if kind is Other.MRS:
            return encoding in self.watched_mrs or has_reader(encoding)
        return is_watched(encoding)
