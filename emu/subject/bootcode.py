"""Struct offsets and symbols read from a few boot instructions of arch/arm64/kernel/head.S.

``init_cpu_task`` (Linux v6.12 head.S) loads TSK_STACK, adds THREAD_SIZE and loads TSK_TI_CPU; the code
before it forms the address of ``secondary_data`` or ``init_task``. Encodings: Arm DDI 0487, C6.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from emu.arch.a64 import pc_relative

CODE_MAX = 256  # bytes looked at from the start of a function
_SP_EL0_WRITE = 0xD518_4100  # msr sp_el0, x0
_BRK = 0xD420_0000


@dataclass(frozen=True, slots=True)
class TaskSetup:
    """Facts from one ``init_cpu_task``: VAs (u64), offsets and sizes (bytes); None where the code shows none.

    ``task_from`` is the source of the task pointer: the VA of an object that holds it (``loaded`` is true and
    ``task_field`` is the offset in that object), or the VA of the task itself.
    """

    task_from: int | None = None
    task_field: int = 0
    loaded: bool = False
    task_stack: int | None = None
    task_cpu: int | None = None
    thread_size: int | None = None
    per_cpu_offset: int | None = None


def task_setup(code: bytes, va: int) -> TaskSetup:
    """Decode the ``init_cpu_task`` in ``code``, the first bytes of a function at ``va``.

    :return: the facts; every field None when the code does not write SP_EL0
    """
    held: dict[int, tuple[int, int]] = {}  # register -> (VA of object, offset) it was loaded from
    task = stack = -1
    origin = TaskSetup()
    found: dict[str, int] = {}
    for word, known in _walk(code, va):
        rd, rn, imm12 = word & 31, word >> 5 & 31, word >> 10 & 0xFFF
        if task < 0:
            if _is_ldr_x(word) and rn in known:
                held[rd] = known[rn], imm12 * 8
            elif word & ~31 == _SP_EL0_WRITE:
                task = rd
                origin = TaskSetup(*held[rd], True) if rd in held else TaskSetup(known.get(rd))
        elif _is_ldr_x(word) and rn == task:  # the first is TSK_STACK, the next may be TSK_TI_SCS_SP
            if "task_stack" not in found:
                found["task_stack"], stack = imm12 * 8, rd
        elif word & 0xFF80_001F == 0x9100_001F and rn == stack:  # add sp, x, #imm{, lsl #12}
            found.setdefault("thread_size", imm12 << (12 if word >> 22 & 1 else 0))
        elif word & 0xFFC0_0000 == 0xB940_0000 and rn == task:  # ldr w, [x, #imm]
            found.setdefault("task_cpu", imm12 * 4)
        elif (
            word & 0xFFE0_FC00 == 0xF860_7800 and rn in known and "task_cpu" in found
        ):  # ldr x, [x, x, lsl #3]
            found["per_cpu_offset"] = known[rn]
            break
    return replace(
        origin,
        task_stack=found.get("task_stack"),
        task_cpu=found.get("task_cpu"),
        thread_size=found.get("thread_size"),
        per_cpu_offset=found.get("per_cpu_offset"),
    )


def formed_addresses(code: bytes, va: int) -> dict[int, int]:
    """Return register number -> VA for the first addresses that ``code`` (a function at ``va``) forms.

    They are those of the first run of adr, adrp and add instructions.
    """
    for word, known in _walk(code, va):
        if known and not _is_forming(word):
            return known
    return {}


def cleared_address(code: bytes, va: int) -> int | None:
    """Return the VA that the first ``str xzr, [x, #imm]`` with a known base writes, or None."""
    for word, known in _walk(code, va):
        if word & 0xFFC0_001F == 0xF900_001F and word >> 5 & 31 in known:
            return known[word >> 5 & 31] + (word >> 10 & 0xFFF) * 8
    return None


def _walk(code: bytes, va: int) -> Iterator[tuple[int, dict[int, int]]]:
    # Each instruction up to a brk, with the addresses that registers hold after (a load: before) it.
    known: dict[int, int] = {}
    size = min(len(code), CODE_MAX) & ~3
    for number, (word,) in enumerate(struct.iter_unpack("<I", code[:size])):
        rd, rn = word & 31, word >> 5 & 31
        if word & 0xFFE0_001F == _BRK:
            return
        made = pc_relative(word, va + 4 * number)
        if made is not None:
            known[rd] = made
        elif word & 0xFF80_0000 == 0x9100_0000 and rd != 31:
            value = known.get(rn)
            if value is None:
                known.pop(rd, None)
            else:
                known[rd] = value + ((word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0))
        yield word, known
        if _is_ldr_x(word):
            known.pop(rd, None)


def _is_ldr_x(word: int) -> bool:
    return word & 0xFFC0_0000 == 0xF940_0000  # ldr x, [x, #imm]


def _is_forming(word: int) -> bool:
    return pc_relative(word, 0) is not None or word & 0xFF80_0000 == 0x9100_0000
