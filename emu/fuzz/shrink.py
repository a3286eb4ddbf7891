"""Shrinking a wrong answer: fewer CPUs, lower hwids, fewer bits, while the same property stays broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from emu.arch.mpidr import MPIDR_HWID_BITMASK, RES1
from emu.errors import EmuError
from emu.fuzz.built_lookup import Checked, UnderTest
from emu.lookup.case import Question
from emu.lookup.tables import DoesNotFit

_TRIES_MAX = 4000
# NR_CPUS at which a smaller counterexample may be: small ones, and both sides of powers of two.
_SIZES = (
    *range(1, 9),
    *(size + 1 for size in (8, 16, 32, 64, 128, 256, 512, 1024, 2048)),
    16,
    32,
    64,
    128,
    512,
    1024,
)


def shrink(under_test: UnderTest, found: Checked) -> Checked:
    """Return the smallest question found in _TRIES_MAX tries that breaks the same property."""
    tries = _TRIES_MAX
    assert found.wrong is not None
    broken = found.wrong.prop
    best = found

    def try_one(nr_cpus: int, question: Question) -> bool:
        nonlocal best, tries
        if tries <= 0 or (nr_cpus, question) == (best.nr_cpus, best.question):
            return False
        tries -= 1
        try:
            checked = under_test.at(nr_cpus, best.others).check(question)
        except (DoesNotFit, EmuError):
            return False
        if checked.wrong is None or checked.wrong.prop != broken:
            return False
        best = checked
        return True

    while _pass(under_test, lambda: best, try_one):
        pass
    return best


def _pass(
    under_test: UnderTest, best: Callable[[], Checked], try_one: Callable[[int, Question], bool]
) -> bool:
    improved = False
    for step in (_fewer_places, _fewer_cpus, _moved_down, _simpler_hwids, _simpler_mpidr):
        again = True
        while again:
            again = False
            for nr_cpus, question in step(under_test, best()):
                if try_one(nr_cpus, question):
                    improved = again = True
                    break
    return improved


Steps = Iterator[tuple[int, Question]]


def _fewer_places(under_test: UnderTest, best: Checked) -> Steps:
    logical_map = best.question.logical_map
    for nr_cpus in _smaller_sizes(under_test, best.nr_cpus):
        kept = [hwid for hwid in logical_map if hwid is not None]
        ours = best.question.mpidr & MPIDR_HWID_BITMASK
        yield nr_cpus, replace(best.question, logical_map=logical_map[:nr_cpus])
        yield nr_cpus, replace(best.question, logical_map=logical_map[-nr_cpus:])
        yield nr_cpus, replace(best.question, logical_map=tuple(kept[:nr_cpus]))
        mine = tuple(hwid for hwid in kept if hwid == ours)
        yield nr_cpus, replace(best.question, logical_map=mine)
        yield nr_cpus, replace(best.question, logical_map=(*[None] * (nr_cpus - len(mine)), *mine))


def _smaller_sizes(under_test: UnderTest, below: int) -> list[int]:
    # NR_CPUS to try, ascending: of a contract that goes through several, also those between.
    define = under_test.contract.defines.get("NR_CPUS")
    goes_through = under_test.sizes
    if define is not None and define.sweep and len(goes_through) > 1:
        goes_through = sorted({*goes_through, *_SIZES})
    return [size for size in goes_through if size < below]


def _fewer_cpus(_under_test: UnderTest, best: Checked) -> Steps:
    # Drop halves first, then smaller parts, then single CPUs.
    logical_map = best.question.logical_map
    present = [cpu for cpu, hwid in enumerate(logical_map) if hwid is not None]
    size = len(present)
    while size:
        for start in range(0, len(present), size):
            dropped = set(present[start : start + size])
            kept = tuple(None if cpu in dropped else hwid for cpu, hwid in enumerate(logical_map))
            yield best.nr_cpus, replace(best.question, logical_map=kept)
        size //= 2


def _moved_down(_under_test: UnderTest, best: Checked) -> Steps:
    logical_map = best.question.logical_map
    hwids = [hwid for hwid in logical_map if hwid is not None]
    holes: list[int | None] = [None] * (len(logical_map) - len(hwids))
    if list(logical_map) != [*hwids, *holes]:
        yield best.nr_cpus, replace(best.question, logical_map=(*hwids, *holes))
    for cpu, hwid in enumerate(logical_map):
        if hwid is not None and cpu and logical_map[cpu - 1] is None:
            moved = list(logical_map)
            moved[cpu - 1], moved[cpu] = hwid, None
            yield best.nr_cpus, replace(best.question, logical_map=tuple(moved))


def _simpler_hwids(_under_test: UnderTest, best: Checked) -> Steps:
    # A CPU that is the asking one stays that; another one stays another.
    question = best.question
    ours = question.mpidr & MPIDR_HWID_BITMASK
    for hwid in sorted({h for h in question.logical_map if h is not None} | {ours}):
        for simpler in _simpler(hwid):
            if simpler in question.logical_map or (simpler == ours and hwid != ours):
                continue
            changed = tuple(simpler if entry == hwid else entry for entry in question.logical_map)
            mpidr = question.mpidr & ~MPIDR_HWID_BITMASK | (simpler if hwid == ours else ours)
            yield best.nr_cpus, Question(changed, mpidr)


def _simpler(hwid: int) -> Iterator[int]:
    for value in (0, 1, 0x100, 0x1_0000, 0x1_0000_0000):
        if value < hwid:
            yield value
    for bit in range(39, -1, -1):
        if hwid >> bit & 1 and hwid != 1 << bit:
            yield hwid & ~(1 << bit)


def _simpler_mpidr(_under_test: UnderTest, best: Checked) -> Steps:
    question = best.question
    flags = question.mpidr & ~MPIDR_HWID_BITMASK
    if flags == RES1:
        return
    for simpler in (RES1, *(flags & ~(1 << bit) for bit in (24, 30, 31) if flags >> bit & 1)):
        yield best.nr_cpus, replace(question, mpidr=question.mpidr & MPIDR_HWID_BITMASK | simpler)
