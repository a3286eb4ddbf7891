"""The functions that a CPU is in.

In the boot path the code says where the return address is (:mod:`emu.debug.unwind`), which gdb is told too.
Elsewhere there are frame records: two u64 that X29 points to, the caller's X29 and the return address
(AAPCS64, 6.4.6). The function at the PC need not have made one yet: then X30 says who has called it.
"""

from __future__ import annotations

from emu.debug.target import DebugTarget
from emu.debug.unwind import CALLEE_SAVED, LINK, SP, Row

_RECORD_BYTES, _WORD_BYTES = 16, 8
_U64 = 2**64 - 1

_Registers = dict[int, int]  # X19 to X30 and SP of a function, as far as they are known


def backtrace(target: DebugTarget, cpu: int, frames_max: int) -> list[int]:
    """Return the PC of ``cpu``, then the address behind the call of each function that it is in (VAs)."""
    pe = target.pe(cpu)
    found = [pe.pc]
    registers = {number: int(pe.x[number]) for number in range(SP + 1)}
    while len(found) < frames_max:
        row = target.unwindings().row(target.places.pa(found[-1]), called=len(found) > 1)
        if row is None:
            found += _by_records(target, cpu, found, registers, frames_max - len(found))
            break
        caller = _caller(target, cpu, row, registers)
        if LINK not in caller or target.pa_of(cpu, caller[LINK]) is None:
            break
        registers = caller
        found.append(caller[LINK])
    return found


def _caller(target: DebugTarget, cpu: int, row: Row, registers: _Registers) -> _Registers:
    # The registers of the function that has called, of which X30 is the return address.
    base, above = row.base
    if base not in registers:
        return {}
    cfa = registers[base] + above & _U64
    found = {SP: cfa}
    for register in (*CALLEE_SAVED, LINK):
        kind, value = row.where(register)
        holder = {"same": register, "register": value}.get(kind, -1)
        if holder in registers:
            found[register] = registers[holder]
        elif kind == "slot":
            word = _load(target, cpu, cfa + value & _U64, _WORD_BYTES)
            if word is not None:
                found[register] = word
    return found


def _by_records(
    target: DebugTarget, cpu: int, found: list[int], registers: _Registers, frames_max: int
) -> list[int]:
    # The callers of the last one in `found`; the first of all may not have made its record yet.
    returns: list[int] = []
    frame, seen = registers.get(29, 0), set[int]()
    while len(returns) < frames_max and frame and not frame & 7 and frame not in seen:
        seen.add(frame)
        record = _load(target, cpu, frame, _RECORD_BYTES)
        if record is None:
            break
        frame, link = record & _U64, _without_signature(record >> 64)
        if target.pa_of(cpu, link) is None:
            break
        returns.append(link)
    if len(found) == 1:
        link = _without_signature(registers[LINK])
        caller = target.places.describe_return(link).partition("+")[0]
        is_leaf = link not in returns[:1] and caller != target.places.describe(found[0]).partition("+")[0]
        if is_leaf and link and target.pa_of(cpu, link) is not None:
            returns.insert(0, link)
    return returns[:frames_max]


def _load(target: DebugTarget, cpu: int, va: int, size: int) -> int | None:
    data = target.loads.load(cpu, va, size) if target.pa_of(cpu, va) is not None else b""
    return int.from_bytes(data, "little") if len(data) == size else None


def _without_signature(link: int) -> int:
    # A return address may be signed (PAC) in the bits between the address and bit 55.
    return link | 0xFF << 56 | 0x7F << 48 if link >> 55 & 1 else link & _U64 >> 16
