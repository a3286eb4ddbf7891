"""Instructions as text, by Capstone."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _engine() -> Any:
    import capstone  # here, because it costs more than all else at start and is seldom needed

    return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)


def disassemble(word: int, va: int) -> str:
    """Return one A64 instruction (u32) at ``va`` as text; ``.inst`` for a word that is none."""
    for instruction in _engine().disasm(word.to_bytes(4, "little"), va):
        return f"{instruction.mnemonic} {instruction.op_str}".strip()
    return f".inst {word:#010x}"
