"""What the boot code itself says about the kernel's layout: a few instructions of arch/arm64/kernel/head.S.

``init_cpu_task`` (Linux v6.12 head.S) loads TSK_STACK, adds THREAD_SIZE and loads TSK_TI_CPU; the code
before it forms the address of ``secondary_data`` or ``init_task``. Encodings: Arm DDI 0487, C6.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_INSTRUCTIONS_MAX = 64
_SP_EL0_WRITE = 0xD518_4100  # msr sp_el0, x0
_BRK = 0xD420_0000


@dataclass(frozen=True, slots=True)
class TaskSetup:
    """Facts from one ``init_cpu_task``; VAs are u64, offsets and sizes bytes, None what the code hides.

    ``task_from`` is where the task pointer came from: the VA of an object that holds it (``loaded`` is true
    and ``task_field`` the offset in that object) or the VA of the task itself.
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

    :return: what was found; every field None when there is no write of SP_EL0
    """
    known: dict[int, int] = {}  # register -> VA formed by adrp/adr and add
    held: dict[int, tuple[int, int]] = {}  # register -> (VA of object, offset) it was loaded from
    task = stack = -1
    found: dict[str, int] = {}
    for number, (word,) in enumerate(struct.iter_unpack("<I", code[: _INSTRUCTIONS_MAX * 4])):
        pc, rd, rn = va + 4 * number, word & 31, word >> 5 & 31
        if word & 0xFFE0_001F == _BRK:
            break
        if word & 0x1F00_0000 == 0x1000_0000:  # adr, adrp
            known[rd] = _pc_relative(word, pc)
        elif word & 0xFF80_0000 == 0x9100_0000:  # add (immediate), 64-bit
            value = (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)
            if rd == 31 and rn == stack:
                found.setdefault("thread_size", value)
            elif rn in known:
                known[rd] = known[rn] + value
        elif word & 0xFFC0_0000 == 0xF940_0000:  # ldr x, [x, #imm]
            offset = (word >> 10 & 0xFFF) * 8
            if rn == task and "task_stack" not in found:
                found["task_stack"], stack = offset, rd
            elif rn in known:
                held[rd] = known[rn], offset
            known.pop(rd, None)
        elif word & 0xFFC0_0000 == 0xB940_0000 and rn == task:  # ldr w, [task, #imm]
            found.setdefault("task_cpu", (word >> 10 & 0xFFF) * 4)
        elif (
            word & 0xFFE0_FC00 == 0xF860_7800 and rn in known and "task_cpu" in found
        ):  # ldr x, [x, x, lsl #3]
            found.setdefault("per_cpu_offset", known[rn])
        elif word & ~31 == _SP_EL0_WRITE and task < 0:
            task = rd
    if task < 0:
        return TaskSetup()
    if task in held:
        return TaskSetup(held[task][0], held[task][1], True, **found)
    return TaskSetup(known.get(task), 0, False, **found)


def _pc_relative(word: int, pc: int) -> int:
    # adr, adrp: a signed 21-bit immediate, in bytes or 4 KiB pages.
    value = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
    value -= (value & 1 << 20) << 1
    base = (pc & ~0xFFF) + (value << 12) if word >> 31 else pc + value
    return base & (2**64 - 1)
