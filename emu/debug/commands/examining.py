"""Commands that show registers, memory, code and source as they are at this position."""

from __future__ import annotations

from emu.debug.commands.arguments import check_given, check_no_more, parse_number, place_of_pc
from emu.debug.commands.context import CommandTable, Context
from emu.debug.commands.registers import summary
from emu.debug.frames import backtrace
from emu.debug.sources import read_source
from emu.errors import InvalidCase
from emu.report.diff import cpu_ranges

_LIST_LINES = 5
_FRAMES_MAX = 64

TABLE = CommandTable()


@TABLE.command("where position", "", "the position, the CPU, and where it stands")
def _where(context: Context, text: str) -> list[str]:
    check_no_more(text)
    return [*context.why(context.stop), context.where(context.cpu)]


@TABLE.command("backtrace bt", "[N]", "the functions that the CPU is in, by its frame records; N at most")
def _backtrace(context: Context, text: str) -> list[str]:
    places = context.session.places
    found = backtrace(context.session, context.cpu, parse_number(text, "N", _FRAMES_MAX, 1))
    return [f"{at:<3} {va:#018x} {places.describe(va)}" for at, va in enumerate(found)]


@TABLE.command(
    "x", "DATA [N] [--all]", "memory as the CPU sees it; --all: as memory, line and all CPUs have it"
)
def _x(context: Context, text: str) -> list[str]:
    session = context.session
    words = [word for word in text.split() if word != "--all"]
    place, count = [*words, "", ""][:2]
    check_no_more(" ".join(words[2:]))
    pa, size = session.places.data(check_given(place, "DATA"))
    units = session.places.units(pa, size)
    if count:
        wide = units[0][1]
        units = [(pa + wide * at, wide) for at in range(parse_number(count, "N", 1, 1))]
    rows = []
    for at, wide in units:
        raw = session.loads.load_data(context.cpu, at, wide)
        if len(raw) < wide:
            raise InvalidCase(f"{at:#x}: no memory there")
        meaning = _meaning(context, at, raw)
        rows.append(f"{at:#x} {context.view.data_name(at)}: {_hex(raw)}{meaning}")
        if "--all" in text.split():
            rows += [f"  {row}" for row in _views(context, at, raw)]
    return rows


def _hex(raw: bytes) -> str:
    return f"{int.from_bytes(raw, 'little'):#0{2 + 2 * len(raw)}x}"


def _meaning(context: Context, pa: int, raw: bytes) -> str:
    value = int.from_bytes(raw, "little")
    meaning = next((word.meaning(value) for word in context.session.places.words if word.pa == pa), "")
    return f"  {meaning}" if meaning else ""


def _views(context: Context, pa: int, raw: bytes) -> list[str]:
    # Memory, the line, and what each CPU would load; ``raw``: what the selected one would.
    loads = context.session.loads
    memory, line = loads.memory(pa, len(raw)), loads.line(pa)
    rows = [f"memory has {_hex(memory)}{_meaning(context, pa, memory)}"]
    rows += [f"its line: {line}"] if line else ["memory is coherent: no lines"]
    for view in loads.views(pa, len(raw)):
        who = cpu_ranges(view.cpus)
        if len(view.cpus) == len(context.session.cpus):
            rows.append("all CPUs load this")
        else:
            rows.append(f"{who} would load {_hex(view.data)}{_meaning(context, pa, view.data)}")
    return rows


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
        found = context.view.code(pa, 0, parse_number(count.strip(), "N", 10, 1) - 1)
    else:
        place_of_pc(context)
        found = context.view.code(context.session.pe(context.cpu).pc, _LIST_LINES, _LIST_LINES)
    width = max((len(line.name) for line in found), default=0)
    here = context.session.places.pa(context.session.pe(context.cpu).pc)
    rows = []
    for line in found:
        mark = ">" if context.session.places.pa(line.address) == here else " "
        stop = "b" if line.breakpoint else " "
        refers = context.refers(context.cpu, line.address)
        rows.append(f"{mark}{stop} {line.address:016x} {line.name:<{width}} {line.text}{refers}")
    return rows


@TABLE.command("list l", "", "source around the place where the CPU stands")
def _list(context: Context, text: str) -> list[str]:
    check_no_more(text)
    place = context.view.place(context.cpu)
    lines = read_source(context.view.path(place))
    if not lines:
        raise InvalidCase(f"{place.source or place.name or 'off'}: no source; try disas")
    first = max(1, place.line - _LIST_LINES)
    last = min(len(lines), place.line + _LIST_LINES)
    return [
        f"{'>' if n == place.line else ' '} {n:4} {lines[n - 1]}".rstrip() for n in range(first, last + 1)
    ]
