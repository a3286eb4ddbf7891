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
    found, named = [], _named(context, text) if text else []
    inside: dict[int, str] = {}  # by the beginning of a line
    for unit in model.held():
        for pa, name in named if not inside else ():
            inside.setdefault(pa & -len(unit), name)
        state = model.describe(unit.start)
        line = f"{unit.start:#x} {context.view.data_name(unit.start)}: {state}"
        name = inside.get(unit.start, "") if text not in line else ""
        if text in line or name:
            found.append((not state.startswith("dirty"), unit, f"{line}, has {name}" if name else line))
    rows = []
    for _, unit, line in sorted(found, key=lambda each: (each[0], each[1].start))[:_SHOWN_MAX]:
        rows += [line, *_differing(context, model, unit)]
    if len(found) > _SHOWN_MAX:
        rows.append(f"and {len(found) - _SHOWN_MAX} more")
    return rows or ["none"]


def _named(context: Context, text: str) -> list[tuple[int, str]]:
    # PA and name of what has the text in its name, ascending.
    session = context.session
    subject = session.boot.guest.subject
    words = [(word.pa, word.name) for word in session.places.words if text in word.name]
    symbols = [(va - subject.va_offset, name) for name, va in subject.symbols if text in name]
    return sorted(words) + sorted(symbols)


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
