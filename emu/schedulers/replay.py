"""Replay: the picks of a recorded schedule, one after the other; then the lowest runnable CPU.

``replay:`` is followed by comma-separated picks: ``2`` or ``2x35`` (CPU 2 does 35 operations), ``t0`` (the
poll of CPU 0 times out), ``s1`` (the WFE of CPU 1 ends without an event), ``n1`` (the store-exclusive of CPU
1 fails by itself), ``q1`` (the cache maintenance that CPU 1 issues takes effect later), ``h1.0`` (CPU 1 makes
part 0 of its pair alone), ``p1`` (a delayed start of CPU 1 takes effect), ``w40203000``, ``d...``, ``f...``,
``m...`` (the caches write back, drop or fill the line at that PA, or maintenance of it takes effect). Behind
``loop`` are the picks of a livelock, once round.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from emu.schedulers import LOOP, PART, Pick, part_of

NAME = "replay"
SEEDED = FAIR = False
OF_OPERATIONS = True
_LETTERS = {"t": "timeout", "s": "wake", "n": "fail", "q": "delay", "p": "start"}
_KINDS = {kind: letter for letter, kind in _LETTERS.items()}
_RUN = re.compile(r"(\d{1,20})(?:x(\d{1,20}))?")
_PART = re.compile(r"h(\d{1,20})\.(\d{1,2})")
_OTHER = re.compile(r"([tsnqp])(\d{1,20})|([wdfm])([0-9a-f]{1,20})")
_REPEAT_MAX = 1 << 24


def parse_picks(text: str) -> list[Pick]:
    """Return the picks that ``text`` lists.

    :raises ValueError: malformed
    """
    picks: list[Pick] = []
    total = 0
    for word in filter(None, text.split(",")):
        if match := _RUN.fullmatch(word):
            count = int(match[2] or 1)
            total += count
            if not 1 <= count <= total <= _REPEAT_MAX:
                raise ValueError(f"{word:.40}: a CPU runs 1..{_REPEAT_MAX} operations, all of them together")
            picks += [Pick("run", int(match[1]))] * count
        elif match := _OTHER.fullmatch(word):
            kind = _LETTERS[match[1]] if match[1] else match[3]
            picks.append(Pick(kind, int(match[2]) if match[1] else int(match[4], 16)))
        elif match := _PART.fullmatch(word):
            picks.append(Pick(f"{PART}{int(match[2])}", int(match[1])))
        elif word == LOOP.kind and LOOP not in picks:
            picks.append(LOOP)
        else:
            raise ValueError(
                f"{word}: none of CPU, CPUxCOUNT, tCPU, sCPU, nCPU, qCPU, hCPU.PART, pCPU, wPA, dPA, fPA, mPA"
                ", loop (once)"
            )
    if picks and picks[-1] == LOOP:
        raise ValueError("loop: no picks behind it lead back to where it stands")
    return picks


def picks_text(picks: Iterable[Pick]) -> str:
    """Return the text that :func:`parse_picks` reads as ``picks``."""
    words = []
    for (kind, number), group in groupby(picks):
        count = sum(1 for _ in group)
        if kind == "run":
            words.append(f"{number}x{count}" if count > 1 else f"{number}")
        elif (part := part_of(kind)) >= 0:
            words += [f"h{number}.{part}"] * count
        elif kind == LOOP.kind:
            words.append(kind)
        else:
            letter = _KINDS.get(kind)
            words += [f"{letter}{number}" if letter else f"{kind}{number:x}"] * count
    return ",".join(words)


class Replay:
    """Follows a recorded schedule."""

    def __init__(self, text: str = "") -> None:
        self._picks = [pick for pick in parse_picks(text) if pick != LOOP]
        self._at = 0

    @property
    def coming(self) -> Pick | None:
        """The next recorded pick, which :meth:`next_pick` will return."""
        return self._picks[self._at] if self._at < len(self._picks) else None

    def next_pick(self) -> Pick | None:
        """Return the next recorded pick."""
        if self._at == len(self._picks):
            return None
        self._at += 1
        return self._picks[self._at - 1]

    def pick(self, runnable: Sequence[int], current: int) -> int:
        """Return the lowest runnable actor: the recorded schedule has ended."""
        return runnable[0]


SCHEDULER = Replay
