"""Commands that show what has happened: stores, operations, the log, what the rules say."""

from __future__ import annotations

from functools import partial

from emu.debug.commands.arguments import check_given, check_no_more, parse_number
from emu.debug.commands.context import CommandTable, Context
from emu.errors import InvalidCase
from emu.operation import Kind, Record
from emu.report.words import finding_words, wrap

TABLE = CommandTable()


@TABLE.command("who-wrote who", "DATA [N]", "the last N stores to it, the last first")
def _who_wrote(context: Context, text: str) -> list[str]:
    session, (place, _, count) = context.session, text.partition(" ")
    pa, size = session.places.data(check_given(place, "DATA"))
    raw = session.loads.load_data(context.cpu, pa, size)
    if not raw:
        raise InvalidCase(f"{place}: no memory there")
    now = int.from_bytes(raw, "little")
    rows = [f"{place} (PA {pa:#x}, {size} bytes) is {_values(context, pa, size, now)}"]
    before = None
    for _ in range(parse_number(count.strip(), "N", 1, 1)):
        found = session.log.last_write(pa, size, before)
        if found is None:
            rows.append("  nobody has, since the start" if before is None else "  nobody before that")
            break
        before, record = found
        if record.kind is Kind.TAKE_OVER:
            rows.append(f"  #{before} CPU{record.actor} has booted a kernel: what it stored is not recorded")
            continue
        to = "" if (record.pa, record.size) == (pa, size) else f" to {context.view.data_name(record.pa)}"
        was, what = _was(context, before, record), _values(context, record.pa, record.size, record.value)
        verb = "copied" if record.kind is Kind.COPY else "stored"
        rows.append(f"  #{before} CPU{record.actor} {verb} {what}{to}, before: {was}")
        rows.append(f"    at {_place(context, record)}")
    return rows


def _values(context: Context, pa: int, size: int, value: int) -> str:
    # The words of a value that lies at a PA, apart: 64 bits each, or less where words are narrower.
    units = context.session.places.units(pa, size)
    return " ".join(f"{value >> 8 * (at - pa) & (1 << 8 * wide) - 1:#x}" for at, wide in units)


def _was(context: Context, position: int, record: Record) -> str:
    # What the bytes held that a store has written.
    found = context.session.log.last_write(record.pa, record.size, position)
    if found is None:
        return "as at the start"
    earlier = found[1]
    if earlier.kind is Kind.TAKE_OVER:
        return "not recorded"
    if earlier.pa > record.pa or earlier.pa + earlier.size < record.pa + record.size:
        return f"partly {_values(context, earlier.pa, earlier.size, earlier.value)}"
    value = earlier.value >> 8 * (record.pa - earlier.pa) & (1 << 8 * record.size) - 1
    return _values(context, record.pa, record.size, value)


def _place(context: Context, record: Record) -> str:
    if not record.pc:
        return "the set-up of the next boot, by the host"
    return f"{context.view.place_of(record.pc)}, PC {_pc(context, record.pc)}"


def _pc(context: Context, pc: int) -> str:
    host = context.session.machine.trace.location(pc)
    return "of a host task" if host is not None else f"{pc:#x}"


@TABLE.command("log", "[N]", "the last N operations and events")
def _log(context: Context, text: str) -> list[str]:
    return context.view.operations(parse_number(text, "N", 10, 1)) or ["nothing yet"]


@TABLE.command("dmesg", "", "the kernel's log")
def _dmesg(context: Context, text: str) -> list[str]:
    check_no_more(text)
    return context.view.dmesg() or ["nothing yet"]


@TABLE.command("data", "[TEXT]", "the boot path's shared words, decoded; only those with TEXT in their name")
def _data(context: Context, text: str) -> list[str]:
    found = [datum for datum in context.view.data() if text in datum.name]
    if not found:
        what = f"{text}: no shared word has that in its name" if text else "nothing: the host shares no words"
        raise InvalidCase(what)
    width = max(len(datum.name) for datum in found)
    return [f"{datum.name:<{width}} {datum.value:#x}  {datum.meaning}".rstrip() for datum in found]


@TABLE.command("findings", "", "let the rules judge the run so far, as if it ended here")
def _findings(context: Context, text: str) -> list[str]:
    check_no_more(text)
    found = context.view.findings(partial(context.heeding, every=1)).findings
    rows = [row for each in found for row in wrap(f"({each.rule}) {finding_words(each)}", "  ")]
    return rows or ["none"]
