"""Commands that change the machine: registers, system registers, memory. Going back keeps what they did."""

from __future__ import annotations

import re

from emu.arch.fields import fields_of
from emu.arch.sysreg import HCR_E2H, HCR_EL2
from emu.cpu.sysregs.row import Row
from emu.debug.commands.arguments import check_given, parse_word, split_selected_cpu
from emu.debug.commands.context import CommandTable, Context
from emu.debug.edits import NZCV, PC, SP, Edit
from emu.debug.writing import write_memory
from emu.errors import InvalidCase

_ASSIGNED = re.compile(r"(.+?)(?<![=!<>])=(?!=)(.+)")
_GENERAL = {**{f"x{number}": number for number in range(31)}, "sp": SP, "pc": PC, "nzcv": NZCV}

TABLE = CommandTable()


@TABLE.command("set", "REGISTER|u32[ADDRESS]|DATA = EXPRESSION [cpu N]", "change it; going back keeps that")
def _set(context: Context, text: str) -> list[str]:
    text, cpu = split_selected_cpu(context, text)
    match = _ASSIGNED.fullmatch(check_given(text, "REGISTER or DATA"))
    if match is None:
        raise InvalidCase(f"{text}: what is set, then = and a value")
    what, value = match[1].strip(), context.session.evaluate(match[2].strip(), cpu)
    word = parse_word(what)
    if word is not None:
        return _set_memory(context, cpu, what, context.session.evaluate(word[1], cpu), word[0], value)
    name, _, field = what.partition(".")
    if name.lower() in _GENERAL and not field:
        return _set_general(context, cpu, name.lower(), value)
    row = context.session.system.row(name)
    if row is not None:
        return _set_system(context, cpu, row, field, value)
    pa, size = context.session.places.data(what)
    if size not in (1, 2, 4, 8):
        raise InvalidCase(f"{what} has {size} bytes: name a word of it, such as u64[{name}]")
    return _set_memory(context, cpu, what, pa, size, value)


def _set_memory(context: Context, cpu: int, what: str, address: int, size: int, value: int) -> list[str]:
    if value >> 8 * size:
        raise InvalidCase(f"{value:#x}: {what} has {size} bytes")
    if not write_memory(context.session, cpu, address, value.to_bytes(size, "little")):
        raise InvalidCase(f"{address:#x}: no memory there")
    return [f"{what} is {value:#x}"]


def _check_runs(context: Context, cpu: int) -> None:
    # What a CPU that is off had in its registers is lost when it is switched on, and a host task has none.
    if context.session.state(cpu) == "off":
        raise InvalidCase(f"CPU{cpu} is off: it begins with what firmware gives it")
    if context.session.machine.actors[cpu].task is not None:
        raise InvalidCase(f"CPU{cpu} runs a host task, which has no registers")


def _set_general(context: Context, cpu: int, name: str, value: int) -> list[str]:
    _check_runs(context, cpu)
    session = context.session
    pe, number = session.pe(cpu), _GENERAL[name]
    if number == PC:
        if value & 3:
            raise InvalidCase(f"{value:#x}: an instruction is at a multiple of 4")
        value = value if pe.mmu_on else session.places.pa(value)
    if number == NZCV and value & ~0xF000_0000:
        raise InvalidCase(f"{value:#x}: nzcv has bits 31:28")
    session.edit(Edit(number, value.to_bytes(4 if number == NZCV else 8, "little"), cpu))
    return [context.where(cpu)] if number == PC else [f"{name} is {value:#x}"]


def _set_system(context: Context, cpu: int, row: Row, field: str, value: int) -> list[str]:
    _check_runs(context, cpu)
    session = context.session
    if row.write_el is None:
        raise InvalidCase(f"{row.name} is read-only")
    before = session.system.value_or_none(cpu, row.name)
    if before is None:
        raise InvalidCase(f"{row.name}: CPU{cpu} has no such register")
    if field:
        value = _with_field(context, cpu, row, before, field, value)
    session.edit(Edit(0, value.to_bytes(8, "little"), cpu, row.encoding))
    now = session.system.value(cpu, row)
    kept = "" if now == value else f", {value:#x} was written"
    return [f"{row.name} is {now:#x}{kept}"]


def _with_field(context: Context, cpu: int, row: Row, before: int, name: str, value: int) -> int:
    e2h = bool(context.session.pe(cpu).sysreg(HCR_EL2) & HCR_E2H)
    for each in fields_of(row.name, before, e2h=e2h):
        if each.name == name:
            if value >> each.width:
                raise InvalidCase(f"{value:#x}: {row.name}.{name} has {each.width} bits")
            return before & ~each.mask | value << each.low
    context.session.system.field(cpu, row.name, name)  # refuses it, or it is of the ISS
    raise InvalidCase(f"{row.name}.{name}: set the whole ISS")
