"""The functions that a CPU is in, by its frame records.

A frame record is two u64 that X29 points to: the caller's X29, and the return address (AAPCS64, 6.4.6). The
function at the PC need not have made one yet: then X30 says who has called it.
"""

from __future__ import annotations

from emu.debug.target import DebugTarget

_RECORD_BYTES = 16
_U64 = 2**64 - 1


def backtrace(target: DebugTarget, cpu: int, frames_max: int) -> list[int]:
    """Return the PC of ``cpu``, then the address behind the call of each function that it is in (VAs)."""
    pe = target.pe(cpu)
    returns: list[int] = []
    frame, seen = int(pe.x[29]), set[int]()
    while len(returns) < frames_max and frame and not frame & 7 and frame not in seen:
        seen.add(frame)
        mapped = target.pa_of(cpu, frame) is not None
        data = target.loads.load(cpu, frame, _RECORD_BYTES) if mapped else b""
        if len(data) < _RECORD_BYTES:
            break
        frame, link = (int.from_bytes(data[at : at + 8], "little") for at in (0, 8))
        link = _without_signature(link)
        if target.pa_of(cpu, link) is None:
            break
        returns.append(link)
    link = _without_signature(int(pe.x[30]))
    is_leaf = link not in returns[:1] and _function(target, link) != _function(target, pe.pc)
    if is_leaf and link and target.pa_of(cpu, link) is not None:
        returns.insert(0, link)
    return [pe.pc, *returns][:frames_max]


def _function(target: DebugTarget, va: int) -> str:
    return target.places.describe(va).partition("+")[0]


def _without_signature(link: int) -> int:
    # A return address may be signed (PAC) in the bits between the address and bit 55.
    return link | 0xFF << 56 | 0x7F << 48 if link >> 55 & 1 else link & _U64 >> 16
