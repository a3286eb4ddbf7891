"""The cache lines that there are, where the memory model has lines."""

from __future__ import annotations

from emu.debug.commands.context import CommandTable, Context
from emu.errors import InvalidCase
from emu.models.protocol import MachineMemory

_SHOWN_MAX = 64

TABLE = CommandTable()


@TABLE.command("lines", "[TEXT]", "the cache lines, dirty ones first; only those with TEXT in name or state")
def _lines(context: Context, text: str) -> list[str]:
    model = context.session.machine.model
    if model is None:
        raise InvalidCase("lines: memory is coherent and has none; --memory caches has them")
    held = sorted(model.held(), key=lambda each: (not each[1].startswith("dirty"), each[0].start))
    inside = _inside(context, text, len(held[0][0])) if text and held else {}
    rows, count = [], 0
    for unit, state in context.heeding(held):
        if not text and count >= _SHOWN_MAX:
            count += 1
            continue
        line = f"{context.view.named(unit.start)}: {state}"
        has = inside.get(unit.start, "") if text not in line else ""
        if text in line or has:
            count += 1
            if count <= _SHOWN_MAX:
                rows += [f"{line}, has {has}" if has else line, *_differing(context, model, unit)]
    if count > _SHOWN_MAX:
        rows.append(f"and {count - _SHOWN_MAX} more")
    return rows or ["none"]


def _inside(context: Context, text: str, granule: int) -> dict[int, str]:
    # By the PA of a line, the first name in it that has the text: of a shared word, else of a symbol.
    session = context.session
    subject = session.boot.guest.subject
    words = [(word.pa, word.name) for word in session.places.words if text in word.name]
    symbols = [(va - subject.va_offset, name) for name, va in subject.symbols if text in name]
    found: dict[int, str] = {}
    for pa, name in sorted(words) + sorted(symbols):
        found.setdefault(pa & -granule, name)
    return found


def _differing(context: Context, model: MachineMemory, unit: range) -> list[str]:
    # The words of a line that a load past the caches finds otherwise.
    rows = []
    for at, size in context.session.places.units(unit.start, len(unit)):
        line, memory = (int.from_bytes(model.seen(0, at, size, cached), "little") for cached in (True, False))
        if line != memory:
            rows.append(f"  {context.view.named(at)}: {line:#x}, memory has {memory:#x}")
    return rows
