"""Commands that show registers: general ones, and system registers with their fields."""

from __future__ import annotations

from emu.arch.fields import FieldValue
from emu.cpu.sysregs.row import Row
from emu.debug.commands.arguments import check_no_more, split_selected_cpu
from emu.debug.commands.context import CommandTable, Context
from emu.debug.target import NO_REGISTERS
from emu.debug.view import flags
from emu.report.words import wrap

_WIDTH = 80
_NAME_WIDTH = 18

TABLE = CommandTable()


@TABLE.command(
    "regs r", "[system [NAME|PATTERN]] [cpu N]", "registers, * is changed; or system registers, with fields"
)
def _regs(context: Context, text: str) -> list[str]:
    rest, cpu = split_selected_cpu(context, text)
    word, _, pattern = rest.partition(" ")
    if word == "system":
        return _system(context, cpu, pattern.strip() or "*")
    check_no_more(rest)
    if not context.session.has_registers(cpu):
        return [f"CPU{cpu} {NO_REGISTERS}"]
    return _general(context, cpu)


def _general(context: Context, cpu: int) -> list[str]:
    values, marked = context.view.registers(cpu), context.changed(cpu)
    cells = []
    for name, value in values.items():
        mark = "*" if name in marked else " "
        if name == "NZCV":
            cells.append(f"{mark}{name:<9} {flags(value):<18}")
        else:
            cells.append(f"{mark}{name:<9} {value:#018x}")
    third = -(-len(cells) // 2)
    pairs = [(cells[row], cells[row + third] if row + third < len(cells) else "") for row in range(third)]
    return ["  ".join(pair).rstrip() for pair in pairs]


def _system(context: Context, cpu: int, pattern: str) -> list[str]:
    found = context.session.system.matching(cpu, pattern)
    if len(found) == 1:
        return _in_full(context, cpu, found[0])
    rows: list[str] = []
    for row in found:
        head = f"{row.name:<{_NAME_WIDTH}} {context.session.system.value(cpu, row):#018x}"
        rows += _wrapped(head, summary(context, cpu, row))
    return rows


def _in_full(context: Context, cpu: int, row: Row) -> list[str]:
    # A register, and a line for each of its fields, the highest first.
    system = context.session.system
    value = system.value(cpu, row)
    meaning = system.meaning(row, value) or _place(context, row, value)
    rows = _wrapped(f"{row.name} {value:#018x}", [meaning] if meaning else [])
    decoded = list(reversed(system.decoded(cpu, row)))
    width = max((len(each.field.name) for each in decoded), default=0)
    for each in decoded:
        if not each.value and not each.words:
            continue
        bits = f"{each.field.high}" + (f":{each.field.low}" if each.field.width > 1 else "")
        number = f"{each.value:#x}" if each.field.width > 1 else f"{each.value}"
        rows.append(f"  {bits:<5} {each.field.name:<{width}} {number:<6} {each.words}".rstrip())
    clear = [each.field.name for each in decoded if not each.value and not each.words]
    if clear:
        rows += wrap(f"  clear: {' '.join(clear)}", "    ")
    reserved = system.reserved(cpu, row)
    return [*rows, f"  other bits that are set: {reserved:#x}"] if reserved else rows


def summary(context: Context, cpu: int, row: Row) -> list[str]:
    """Return what a register of a CPU holds, as words of a line: flags that are set, fields with values."""
    system = context.session.system
    value = system.value(cpu, row)
    meaning = system.meaning(row, value)
    if meaning and value:
        return [meaning]
    decoded = reversed(system.decoded(cpu, row))
    found = [_said(each) for each in decoded if each.value and not each.field.name.startswith("RES1")]
    place = _place(context, row, value)
    return [*found, place] if place else found


def _said(each: FieldValue) -> str:
    if each.field.width == 1:
        return each.field.name
    if each.words.startswith("0x"):  # an address
        return f"{each.field.name}={each.words}"
    return f"{each.field.name}={each.value:#x}" + (f" ({each.words})" if each.words else "")


def _place(context: Context, row: Row, value: int) -> str:
    # The symbol at an address that a register of exceptions holds.
    if not value or not row.name.startswith(("VBAR_", "ELR_")):
        return ""
    name = context.session.places.describe(value)
    return "" if name.startswith("0x") else name


def _wrapped(head: str, words: list[str]) -> list[str]:
    # Words behind a head, in lines of 80 columns.
    rows, line = [], head
    for at, word in enumerate(words):
        gap = "  " if not at else " "
        if len(line) + len(gap) + len(word) > _WIDTH and line.strip():
            rows.append(line.rstrip())
            line, gap = "   ", " "
        line += gap + word
    return [*rows, line.rstrip()]
