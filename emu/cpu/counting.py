"""Proof that a loop which counts goes on for so many rounds, from one round of it: which round that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import unpack
from typing import NamedTuple

from emu.cpu.round_proof import NoProof, Round, Step, reads_counter


class Wait(NamedTuple):
    """Where a loop is whose end the counter decides, in the last round that goes on.

    :ivar pc: VA
    :ivar registers: X0..X30 and SP there, u64 each
    :ivar ticks: of the counter, from where the steps begin
    :ivar ends: it does not go on further than was asked about
    """

    pc: int
    registers: tuple[int, ...]
    ticks: int
    ends: bool


def goes_on(steps: Sequence[Step], instructions: int) -> Sequence[Step]:
    """Return a round of a loop that ``steps`` end in and that goes on for so many instructions.

    :param steps: one after the other, the last rounds of the loop among them
    :return: () when there is no proof
    """
    for before, now, after in _last_rounds(steps):
        if _holds(before, now, after, instructions // len(now) + 1):
            return now
    return ()


def wait_for_counter(steps: Sequence[Step], ticks_max: int) -> Wait | None:
    """Return how far a loop goes on that ``steps`` end in and that reads the counter, once for each tick.

    :param steps: one after the other; what they load stays as it is
    :return: None: it is no such loop, or there is no proof
    """
    for before, now, after in _last_rounds(steps):
        reads = sum(map(reads_counter, now))
        if not reads or not _holds(before, now, after, 1):
            continue
        least, behind = 1, ticks_max // reads + 1
        ends = not _holds(before, now, after, behind)
        while behind - least > 1:
            middle = (least + behind) // 2
            if _holds(before, now, after, middle):
                least = middle
            else:
                behind = middle
        begin = unpack("<32Q", now[0].registers)
        slopes = (b - a for a, b in zip(unpack("<32Q", before[0].registers), begin, strict=True))
        registers = tuple(x + slope * least & 2**64 - 1 for x, slope in zip(begin, slopes, strict=True))
        first = next(number for number, step in enumerate(steps) if step is now[0])
        ticks = sum(map(reads_counter, steps[:first])) + reads * least
        return Wait(now[0].pc, registers, ticks, ends)
    return None


def _holds(before: Sequence[Step], now: Sequence[Step], after: Step, rounds: int) -> bool:
    try:
        Round(before, now, after, rounds).prove()
    except NoProof:
        return False
    return True


def _last_rounds(steps: Sequence[Step]) -> Iterator[tuple[Sequence[Step], Sequence[Step], Step]]:
    # Two rounds of a loop that `steps` end in, one after the other, and the instruction behind them.
    tried: set[int] = set()
    last: dict[int, int] = {}
    for end in range(len(steps) - 1, -1, -1):
        pc = steps[end].pc
        later = last.get(pc)
        last[pc] = end
        if later is None or later - end in tried or later - end > end:
            continue
        length = later - end
        before, now = steps[end - length : end], steps[end:later]
        if _reads_flags_first(now):
            continue  # another instruction of the loop is a better beginning
        tried.add(length)
        if _same_path(before, now):
            yield before, now, steps[later]


def _same_path(one: Sequence[Step], other: Sequence[Step]) -> bool:
    return all(
        (a.pc, a.word, a.raised, a.state) == (b.pc, b.word, b.raised, b.state)
        for a, b in zip(one, other, strict=True)
    )


def _reads_flags_first(steps: Sequence[Step]) -> bool:
    # Whether the flags that a branch of the round looks at may be those of the round before.
    for step in steps:
        if step.word >> 24 == 0x54:  # B.cond
            return True
        group, opc = step.word >> 24 & 31, step.word >> 29 & 3
        if group in (0b10001, 0b01011) and opc & 1:  # ADDS, SUBS
            return False
        if group in (0b10010, 0b01010) and opc == 3 and not (group == 0b10010 and step.word >> 23 & 1):
            return False  # ANDS, BICS
    return False
