"""Instructions that the host takes part in although they do nothing here: what a batch runs as NOP.

A TLBI has nothing to drop where no instruction can turn the MMU on, and an event wakes nobody where nobody
waits for one. Each would cost a call of the host, in each round of a loop.

Source: Arm DDI 0487, C5.5 (TLBI), C6.2 (SEV, SEVL, WFE).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

NOP = 0xD503_201F
_WFE = re.compile(re.escape(0xD503_205F.to_bytes(4, "little")))
_SEV_OR_SEVL = re.compile(rb"[\x9f\xbf]\x20\x03\xd5")
_MSR_CONTROL = re.compile(rb"[\x00-\xff][\x10-\x1f][\x18-\x1f]\xd5", re.DOTALL)  # CRn 1: SCTLR, HCR, ...
# TLBI of the EL1&0 regime, which Armv8.0 has at EL1 and at EL2: CRm 3 and 7, op2 0, 1, 2, 3, 5 and 7.
_TLBI = re.compile(rb"[\x00-\x7f\xa0-\xbf\xe0-\xff][\x83\x87]\x08\xd5", re.DOTALL)


def without_effect(segments: Sequence[tuple[int, bytes]]) -> Iterator[int]:
    """Yield the PA of each such word.

    :param segments: PA and content of all code that can be executed, with the MMU off at its start
    """
    if not any(True for pa, data in segments for _ in _words(_WFE, pa, data)):
        for pa, data in segments:
            yield from _words(_SEV_OR_SEVL, pa, data)
    if not any(True for pa, data in segments for _ in _words(_MSR_CONTROL, pa, data)):
        for pa, data in segments:
            yield from _words(_TLBI, pa, data)


def _words(pattern: re.Pattern[bytes], pa: int, data: bytes) -> Iterator[int]:
    # PAs of the instruction words that are of this pattern.
    at = -pa % 4
    while (found := pattern.search(data, at)) is not None:
        at = found.start()
        if (pa + at) % 4 == 0:
            yield pa + at
        at += 1
