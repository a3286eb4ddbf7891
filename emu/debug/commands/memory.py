"""Commands that show memory in other ways than word by word: the stack, and where bytes are."""

from __future__ import annotations

import re

from emu.debug.commands.arguments import check_given, parse_number, split_cpu
from emu.debug.commands.context import CommandTable, Context
from emu.errors import InvalidCase

_STACK_WORDS = 16
_FOUND_MAX = 20
_CHUNK = 1 << 20
_SOUGHT = re.compile(r'"(.*)"|(u8|u16|u32|u64)?\s*(.+)', re.DOTALL)
_WIDTHS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, None: 8}

TABLE = CommandTable()


@TABLE.command(
    "stack", "[N] [cpu N]", "N words from the CPU's SP on, with the symbols that they are addresses of"
)
def _stack(context: Context, text: str) -> list[str]:
    text, cpu = split_cpu(context, text)
    cpu = context.cpu if cpu < 0 else cpu
    count = parse_number(text, "N", _STACK_WORDS, 1)
    pe = context.session.pe(cpu)
    if context.view.cpu(cpu).el < 0:
        raise InvalidCase(f"CPU{cpu} is {context.session.state(cpu)}: it has no stack pointer")
    sp, frame = pe.sp, int(pe.x[29])
    rows = []
    for at in range(count):
        address = (sp + 8 * at) % 2**64
        data = context.load(cpu, address, 8)
        if len(data) < 8:
            break
        value = int.from_bytes(data, "little")
        marks = [context.pointed(value)] if context.pointed(value) else []
        marks += ["<- x29"] if address == frame else []
        rows.append("  ".join([f"sp+{8 * at:#05x} {address:#x}: {value:#018x}", *marks]))
    if not rows:
        raise InvalidCase(f"CPU{cpu}: SP is {sp:#x}, and no memory is there")
    return rows


@TABLE.command(
    "search", '[u8|u16|u32|u64] EXPRESSION | "TEXT"', "where memory holds it: PAs, with their names"
)
def _search(context: Context, text: str) -> list[str]:
    match = _SOUGHT.fullmatch(check_given(text, "EXPRESSION"))
    assert match is not None
    if match[1] is not None:
        sought, step = match[1].encode(), 1
    else:
        value = context.session.evaluate(match[3], context.cpu)
        step = _WIDTHS[match[2]]
        if value >> 8 * step:
            raise InvalidCase(f"{value:#x} has more than {step} bytes")
        sought = value.to_bytes(step, "little")
    if not sought:
        raise InvalidCase("nothing: a text or a value")
    found = _places(context, sought, step)
    rows = [f"{pa:#x} {context.view.data_name(pa)}" for pa in found[:_FOUND_MAX]]
    if len(found) > _FOUND_MAX:
        rows.append(f"and more: {_FOUND_MAX} are shown")
    return rows or ["nowhere in memory"]


def _places(context: Context, sought: bytes, step: int) -> list[int]:
    # PAs of the bytes, at multiples of `step`; one more than are shown at most.
    memory, found = context.session.machine.memory, []
    end = memory.base + memory.size
    for start in range(memory.base, end, _CHUNK):
        data = memory.read_bytes(start, min(_CHUNK + len(sought) - 1, end - start))
        at = data.find(sought)
        while at >= 0:
            if not (start + at) % step:
                found.append(start + at)
                if len(found) > _FOUND_MAX:
                    return found
            at = data.find(sought, at + 1)
    return found
