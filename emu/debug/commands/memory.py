"""Commands that show memory as the selected CPU sees it: words, texts, the stack, and where bytes are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from emu.debug.commands.arguments import (
    SHOWN_MAX,
    WIDTHS,
    check_given,
    check_no_more,
    parse_number,
    parse_word,
    split_selected_cpu,
)
from emu.debug.commands.context import CommandTable, Context
from emu.debug.target import NoRegisters
from emu.errors import InvalidCase
from emu.report.diff import cpu_ranges

_STACK_WORDS = 16
_FOUND_MAX = 20
_CHUNK, _PAGE = 1 << 18, 4096
_TEXT_MAX = 256
_UNFINISHED = re.compile(r"[-+*/&|^<>=(\[,]\s*$|\b(and|or|not)$")  # an expression that a number goes on
_OPERATOR = re.compile(r"[-+*/&|^<>=]|(and|or)$")
_PLAIN = re.compile(r"[\w.$+*\[\]]+")  # what names data, where it is no expression
_SOUGHT = re.compile(r'"(.*)"|(u8|u16|u32|u64)?\s*(.+)', re.DOTALL)
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")
_U64 = 2**64 - 1

TABLE = CommandTable()


@dataclass(frozen=True, slots=True)
class _Shown:
    # What an x shows: units by address and bytes; PAs of data, or addresses that an expression gives.
    units: list[tuple[int, int]]
    by_pa: bool


@TABLE.command(
    "x",
    "[u8|u16|u32|u64] [dec|text] DATA|EXPRESSION [N] [--all]",
    "memory as the CPU sees it; --all: as memory, line and all CPUs have it",
)
def _x(context: Context, text: str) -> list[str]:
    words = text.split()
    shows_all = "--all" in words
    words = [word for word in words if word != "--all"]
    width, form = 0, ""
    while len(words) > 1 and words[0] in (*WIDTHS, "hex", "dec", "text"):
        first = words.pop(0)
        width, form = (WIDTHS[first], form) if first in WIDTHS else (width, first)
    what, count = _split_count(words)
    if form == "text":
        return _text(context, what, count or _TEXT_MAX)
    shown = _shown(context, what, width, count)
    rows = []
    for at, wide in shown.units:
        raw = _load(context, at, wide, shown.by_pa)
        pa = _pa(context, at, shown.by_pa)
        rows.append(f"{context.named(at)}: {_spelled(raw, form)}{_meaning(context, pa, raw)}")
        if shows_all:
            rows += [f"  {row}" for row in _views(context, pa, raw)]
    return rows


@TABLE.command("display", "[DATA as x has it]", "show memory at each stop, as x does; without DATA: now")
def _display(context: Context, text: str) -> list[str]:
    settings = context.session.settings
    if text:
        _x(context, text)  # refused now, or never
        settings.displayed[max(settings.displayed, default=0) + 1] = text
    return displayed(context) or ["nothing: name what x shows"]


def displayed(context: Context) -> list[str]:
    """Return what is displayed, each with its number."""
    rows = []
    for number, text in context.session.settings.displayed.items():
        try:
            shown = _x(context, text)
        except InvalidCase as error:
            shown = [str(error)]
        rows += [f"{number}: x {text}", *(f"  {row}" for row in shown)]
    return rows


@TABLE.command("undisplay", "[N]", "display number N no more, or nothing")
def _undisplay(context: Context, text: str) -> list[str]:
    settings = context.session.settings
    if not text:
        settings.displayed.clear()
    elif settings.displayed.pop(parse_number(text, "N"), None) is None:
        raise InvalidCase(f"{text}: no display has that number")
    return []


def _split_count(words: list[str]) -> tuple[str, int]:
    # DATA or an expression, and N behind it; 0: none is given.
    what = " ".join(words)
    before = " ".join(words[:-1])
    if before and _NUMBER.fullmatch(words[-1]) and not _UNFINISHED.search(before):
        return before, parse_number(words[-1], "N", least=1, most=SHOWN_MAX)
    return check_given(what, "DATA"), 0


def _shown(context: Context, what: str, width: int, count: int) -> _Shown:
    session = context.session
    try:
        pa, size = session.places.data(what)
    except InvalidCase as no_data:
        try:
            word = parse_word(what)
            address = session.evaluate(what if word is None else word[1], context.cpu)
        except NoRegisters:
            raise
        except InvalidCase as no_expression:
            _check_behind_data(context, what, count)
            raise (no_data if _PLAIN.fullmatch(what) else no_expression) from None
        width = width or (8 if word is None else word[0])
        return _Shown([(address + width * at & _U64, width) for at in range(count or 1)], False)
    units = session.places.units(pa, size)
    if width or count:
        wide = width or units[0][1]
        units = [(pa + wide * at, wide) for at in range(count or max(size // wide, 1))]
    return _Shown(units, True)


def locate(context: Context, what: str, size: int) -> tuple[int, bytes]:
    """Return the address of data, or that an expression gives, and ``size`` bytes there as the CPU sees them.

    :raises InvalidCase: it is neither, or no memory is there
    """
    shown, loads = _shown(context, what, 1, 1), context.session.loads
    at = shown.units[0][0]
    data = loads.load_data(context.cpu, at, size) if shown.by_pa else loads.load(context.cpu, at, size)
    if not data:
        raise InvalidCase(f"{at:#x}: no memory there")
    return at, data


def _check_behind_data(context: Context, what: str, count: int) -> None:
    # Refuse what stands behind the name of data and is neither N nor the rest of an expression.
    name, *rest = what.split()
    if not rest or _OPERATOR.match(rest[0]):
        return
    try:
        context.session.places.data(name)
    except InvalidCase:
        return
    parse_number(rest[0], "N", least=1)
    check_no_more(" ".join([*rest[1:], *([f"{count}"] if count else [])]))


def _load(context: Context, at: int, size: int, by_pa: bool) -> bytes:
    loads = context.session.loads
    raw = loads.load_data(context.cpu, at, size) if by_pa else loads.load(context.cpu, at, size)
    if len(raw) < size:
        raise InvalidCase(f"{at:#x}: no memory there")
    return raw


def _pa(context: Context, at: int, by_pa: bool) -> int:
    located = None if by_pa else context.session.loads.locate(context.cpu, at)
    return at if located is None else located.pa


def _text(context: Context, what: str, length: int) -> list[str]:
    # A text of so many bytes at most, up to its NUL.
    shown = _shown(context, what, 1, 1)
    at = shown.units[0][0]
    found = b""
    while len(found) < length and (byte := _load(context, at + len(found), 1, shown.by_pa)) != b"\0":
        found += byte
    spelled = "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in found)
    return [f'{context.named(at)}: "{spelled}"' + ("..." if len(found) == length else "")]


def _spelled(raw: bytes, form: str) -> str:
    return f"{int.from_bytes(raw, 'little')}" if form == "dec" else _hex(raw)


def _hex(raw: bytes) -> str:
    return f"{int.from_bytes(raw, 'little'):#0{2 + 2 * len(raw)}x}"


def _meaning(context: Context, pa: int, raw: bytes) -> str:
    value = int.from_bytes(raw, "little")
    meaning = next((word.meaning(value) for word in context.session.places.words if word.pa == pa), "")
    if not meaning and len(raw) == 8:
        meaning = context.pointed(value)
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


@TABLE.command(
    "stack", "[N] [cpu N]", "N words from the CPU's SP on, with the symbols that they are addresses of"
)
def _stack(context: Context, text: str) -> list[str]:
    text, cpu = split_selected_cpu(context, text)
    count = parse_number(text, "N", _STACK_WORDS, 1, SHOWN_MAX)
    pe = context.session.pe(cpu)
    if context.view.cpu(cpu).el < 0:
        what = "is off" if context.session.state(cpu) == "off" else "runs a host task"
        raise InvalidCase(f"CPU{cpu} {what}: it has no stack pointer")
    sp, frame = pe.sp, int(pe.x[29])
    rows = []
    for at in range(count):
        address = (sp + 8 * at) % 2**64
        data = context.load(cpu, address, 8)
        if len(data) < 8:
            break
        value = int.from_bytes(data, "little")
        name = context.pointed(value)
        marks = [name] if name else []
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
        step = WIDTHS[match[2] or "u64"]
        if value >> 8 * step:
            raise InvalidCase(f"{value:#x} has more than {step} bytes")
        sought = value.to_bytes(step, "little")
    if not sought:
        raise InvalidCase("nothing: a text or a value")
    found = _places(context, sought, step)
    rows = [context.view.named(pa) for pa in found[:_FOUND_MAX]]
    if len(found) > _FOUND_MAX:
        rows.append(f"and more: {_FOUND_MAX} are shown")
    return rows or ["nowhere in memory"]


def _places(context: Context, sought: bytes, step: int) -> list[int]:
    # PAs of the bytes, at multiples of `step`, as the CPU sees them; one more than are shown at most.
    session, found = context.session, []
    memory, loads = session.machine.memory, session.loads
    end = memory.base + memory.size
    for part in context.heeding(_parts(context, is_zero=not sought.strip(b"\0"))):
        data = loads.load_data(context.cpu, part.start, min(len(part) + len(sought) - 1, end - part.start))
        at = data.find(sought)
        while 0 <= at < len(part):
            if not (part.start + at) % step:
                found.append(part.start + at)
                if len(found) > _FOUND_MAX:
                    return found
            at = data.find(sought, at + 1)
    return found


def _parts(context: Context, *, is_zero: bool) -> Iterator[range]:
    # The parts of memory in which bytes that are zero, or such as are not, can be, as PAs. An access to one
    # looks into the caches as a whole or not at all; where memory is zero a line may not be.
    machine = context.session.machine
    memory, model = machine.memory, machine.model
    if is_zero or model is None:
        size = _CHUNK if model is None else _PAGE
        starts: Iterable[int] = range(memory.base, memory.base + memory.size, size)
    else:
        size, held = _PAGE, (unit.start & -_PAGE for unit, _ in model.held())
        starts = sorted({*(memory.base + at for at, _ in memory.pages()), *held})
    for start in starts:
        yield range(start, start + size)
