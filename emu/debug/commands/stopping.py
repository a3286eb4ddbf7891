"""Commands that set, list and delete breakpoints, watchpoints and events."""

from __future__ import annotations

import re

from emu.debug.commands.arguments import check_given, parse_number, place_of_pc, split_cpu
from emu.debug.commands.context import CommandTable, Context
from emu.debug.commands.cpus import list_cpus
from emu.debug.reach import why_never
from emu.debug.stops import EVENTS
from emu.debug.view import stop_lines
from emu.errors import InvalidCase
from emu.registry import not_one_of

_LINE_AT_END = re.compile(r":(\d+)$")
_IF = re.compile(r"(?:^|\s)if\s")
_SIZE_AT_END = re.compile(r"\s+size\s+(\d+)$")

TABLE = CommandTable()


def _add_breakpoint(context: Context, text: str, temporary: bool) -> list[str]:
    if text == "if" or text.endswith(" if"):
        raise InvalidCase(f"{text}: a condition is missing behind if")
    text, cpu = split_cpu(context, text)
    place, condition = _IF.split(text, 1) if _IF.search(text) else (text, "")
    place, cpu = split_cpu(context, place.strip()) if cpu < 0 else (place.strip(), cpu)
    condition = condition.strip()
    if condition:
        _check_condition(context, condition)
    where = place or place_of_pc(context)
    made = context.session.add_breakpoint(where, cpu=cpu, condition=condition, temporary=temporary)
    if made.pa < 0:
        return [f"breakpoint {made.number} at {made.text}, which the host plays"]
    line = context.view.place_of(made.pa)
    return [f"breakpoint {made.number} at PA {made.pa:#x}: {line}", *notes_of(context, where, made.pa)]


def notes_of(context: Context, where: str, pa: int) -> list[str]:
    """Return what is to be said of a place to come to: it is from another line, or no CPU comes there."""
    if context.session.checker.knows(where):
        return []  # a host task comes there
    never = why_never(context.session, pa)
    line = context.session.boot.guest.subject.lines.at(pa)
    asked = _LINE_AT_END.search(where)
    slid = (
        [f"  no code is from line {asked[1]}: the next one is {line[1]}"]
        if asked and line and int(asked[1]) != line[1]
        else []
    )
    return [*slid, *([f"  {never}"] if never else [])]


def _check_condition(context: Context, condition: str) -> None:
    # Of now nothing is asked but that it is an expression: there may be no memory yet where it looks.
    try:
        context.session.evaluate(condition, context.cpu)
    except InvalidCase as error:
        if not str(error).endswith("no memory there"):
            raise


@TABLE.command("break b", "[PLACE] [if CONDITION] [cpu N]", "stop at an instruction, whatever the MMU does")
def _break(context: Context, text: str) -> list[str]:
    return _add_breakpoint(context, text, temporary=False)


@TABLE.command("tbreak tb", "[PLACE] [if CONDITION] [cpu N]", "stop there once")
def _tbreak(context: Context, text: str) -> list[str]:
    return _add_breakpoint(context, text, temporary=True)


@TABLE.command("toggle", "[PLACE]", "set a breakpoint there, or delete the one that is there")
def _toggle(context: Context, text: str) -> list[str]:
    pa = context.session.places.instruction(text or place_of_pc(context))
    for made in context.session.settings.breakpoints.values():
        if made.pa == pa:
            context.session.delete(made.number)
            return [f"breakpoint {made.number} deleted"]
    return _add_breakpoint(context, text, temporary=False)


@TABLE.command(
    "watch w", "DATA [write|read|access|change] [size N] [cpu N]", "stop when any CPU or host task touches it"
)
def _watch(context: Context, text: str) -> list[str]:
    text, cpu = split_cpu(context, text)
    found = _SIZE_AT_END.search(text)
    size = parse_number(found[1], "size") if found else 0
    if found and not 1 <= size <= 4096:
        raise InvalidCase(f"size {found[1]:.80}: 1..4096 bytes")
    text = text[: found.start()] if found else text
    place, _, access = text.strip().partition(" ")
    access = access.strip() or "write"
    if access not in ("write", "read", "access", "change"):
        raise InvalidCase(f"{access}: write, read, access or change")
    made = context.session.add_watchpoint(check_given(place, "DATA"), size, access=access, cpu=cpu)
    return [f"watchpoint {made.number} at PA {made.pa:#x}, {made.size} bytes: {made.text}"]


@TABLE.command("delete d", "[N]", "forget a breakpoint or watchpoint, or all")
def _delete(context: Context, text: str) -> list[str]:
    settings = context.session.settings
    if not text:
        settings.breakpoints.clear()
        settings.watchpoints.clear()
        return []
    if not context.session.delete(parse_number(text, "N")):
        raise InvalidCase(f"{text}: no breakpoint and no watchpoint has that number")
    return []


@TABLE.command("events", "[EVENT ...|all|none]", "stop at events; without arguments: which there are")
def _events(context: Context, text: str) -> list[str]:
    settings = context.session.settings
    words = text.split()
    if words == ["none"]:
        settings.events = set()
    elif words == ["all"]:
        settings.events = {kind for kind in EVENTS.values() if not context.session.unseen(kind)}
    elif words:
        for word in words:
            if word not in EVENTS:
                raise InvalidCase(f"{word}: {not_one_of(word, [*EVENTS, 'all', 'none'])}")
            if why := context.session.unseen(EVENTS[word]):
                raise InvalidCase(f"{word}: {why}")
        settings.events |= {EVENTS[word] for word in words}
    partly = {kind: f" ({why})" for kind, why in context.session.partly_seen.items()}
    return [
        f"{'*' if kind in settings.events else ' '} {word}{partly.get(kind, '')}"
        for word, kind in EVENTS.items()
    ]


@TABLE.command("info", "breakpoints|cpus|events", "list them")
def _info(context: Context, text: str) -> list[str]:
    if text in ("breakpoints", "break", "b"):
        return stop_lines(context.session.settings) or ["none"]
    if text in ("cpus", "threads"):
        return list_cpus(context)
    if text == "events":
        return _events(context, "")
    raise InvalidCase(f"{text or 'nothing'}: breakpoints, cpus or events")
