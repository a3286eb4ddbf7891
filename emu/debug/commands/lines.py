"""The cache lines that there are, where the memory model has lines."""

from __future__ import annotations

from emu.debug.commands.context import CommandTable, Context
from emu.errors import InvalidCase
from emu.models.protocol import MachineMemory

_SHOWN_MAX = 64
_WORD = 8

TABLE = CommandTable()


@TABLE.command("lines", "[TEXT]", "the cache lines, dirty ones first; only those with TEXT in name or state")
def _lines(context: Context, text: str) -> list[str]:
    model = context.session.machine.model
    if model is None:
        raise InvalidCase("lines: memory is coherent and has none; --memory caches has them")
    found = []
    for unit in model.held():
        state = model.describe(unit.start)
        line = f"{unit.start:#x} {context.view.data_name(unit.start)}: {state}"
        if text in line:
            found.append((not state.startswith("dirty"), unit, line))
    rows = []
    for _, unit, line in sorted(found, key=lambda each: (each[0], each[1].start))[:_SHOWN_MAX]:
        rows += [line, *_differing(context, model, unit)]
    if len(found) > _SHOWN_MAX:
        rows.append(f"and {len(found) - _SHOWN_MAX} more")
    return rows or ["none"]


def _differing(context: Context, model: MachineMemory, unit: range) -> list[str]:
    # The words of a line that a load past the caches finds otherwise.
    rows = []
    for at in unit[::_WORD]:
        line, memory = (
            int.from_bytes(model.seen(0, at, _WORD, cached), "little") for cached in (True, False)
        )
        if line != memory:
            rows.append(f"  {at:#x} {context.view.data_name(at)}: {line:#x}, memory has {memory:#x}")
    return rows
