"""Commands that show registers, memory, code and source as they are at this position."""

from __future__ import annotations

from emu.debug.commands.arguments import (
    SHOWN_MAX,
    check_given,
    check_no_more,
    parse_number,
    place_of_pc,
)
from emu.debug.commands.context import CommandTable, Context
from emu.debug.commands.registers import summary
from emu.debug.frames import backtrace
from emu.debug.host_locals import host_locals
from emu.debug.sources import read_source
from emu.errors import InvalidCase
from emu.host.played import frames

_LIST_LINES = 5
_FRAMES_MAX = 64

TABLE = CommandTable()


@TABLE.command("where position", "", "the position, the CPU, and where it stands")
def _where(context: Context, text: str) -> list[str]:
    check_no_more(text)
    return [*context.why(context.stop), context.where(context.cpu)]


@TABLE.command("backtrace bt", "[N]", "the functions that the CPU is in; N at most")
def _backtrace(context: Context, text: str) -> list[str]:
    places, count = context.session.places, parse_number(text, "N", _FRAMES_MAX, 1)
    actor = context.session.machine.actors[context.cpu]
    rows = []
    if actor.task is None:
        context.session.check_registers(context.cpu)
        found = backtrace(context.session, context.cpu, count)
        words = [places.describe(found[0]), *map(places.describe_return, found[1:])]
        rows = [f"{va:#018x} {where}" for va, where in zip(found, words, strict=True)]
    host = frames(actor.task or actor.suspended)
    width = max((len(frame.shown) for frame in host), default=0)
    rows += [f"{frame.kernel or '-':<{width}} {frame.name} ({frame.file}:{frame.line})" for frame in host]
    return [f"{at:<3} {row}" for at, row in enumerate(rows[:count])]


@TABLE.command("locals", "", "the variables of the functions that the host plays on this CPU")
def _locals(context: Context, text: str) -> list[str]:
    check_no_more(text)
    actor = context.session.machine.actors[context.cpu]
    found = host_locals(actor.task or actor.suspended)
    if not found:
        raise InvalidCase(f"CPU{context.cpu} runs no host task: regs")
    width = max(len(each.function) for each in found)
    return [f"{each.function:<{width}} {each.name} = {each.value}" for each in found]


@TABLE.command("print p", "EXPRESSION", "its value on the CPU: x0, sp, symbol, [address], u32[address] ...")
def _print(context: Context, text: str) -> list[str]:
    session = context.session
    value = session.evaluate(check_given(text, "EXPRESSION"), context.cpu)
    row = session.system.row(text)
    said = " ".join(summary(context, context.cpu, row)) if row is not None else ""
    return [f"{value:#x} ({value})" + (f"  {said}" if said else "")]


@TABLE.command("disas", "[PLACE] [N]", "instructions around the PC, or N from a place on")
def _disas(context: Context, text: str) -> list[str]:
    place, _, count = text.partition(" ")
    if place:
        pa = context.session.places.instruction(place)
        found = context.view.code(pa, 0, parse_number(count.strip(), "N", 10, 1, SHOWN_MAX) - 1)
    else:
        place_of_pc(context)
        found = context.view.code(context.session.pe(context.cpu).pc, _LIST_LINES, _LIST_LINES)
    if not found:
        raise InvalidCase(f"{place or place_of_pc(context)}: no memory there")
    width = max(len(line.name) for line in found)
    here = context.session.places.pa(context.session.pe(context.cpu).pc)
    rows = []
    for line in found:
        mark = ">" if context.session.places.pa(line.address) == here else " "
        stop = "b" if line.breakpoint else " "
        refers = context.refers(context.cpu, line.address)
        rows.append(f"{mark}{stop} {line.address:016x} {line.name:<{width}} {line.text}{refers}")
    return rows


@TABLE.command("list l", "[PLACE]", "source around a place; by itself where the CPU stands")
def _list(context: Context, text: str) -> list[str]:
    if text:
        place = context.view.place_of(context.session.places.instruction(text))
    else:
        place = context.view.place(context.cpu)
    lines = read_source(context.view.path(place))
    if not lines:
        raise InvalidCase(f"{place.source or place.name or 'off'}: no source; try disas")
    first = max(1, place.line - _LIST_LINES)
    last = min(len(lines), place.line + _LIST_LINES)
    return [
        f"{'>' if n == place.line else ' '} {n:4} {lines[n - 1]}".rstrip() for n in range(first, last + 1)
    ]
