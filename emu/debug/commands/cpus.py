"""Commands about CPUs: which is selected, which there are, what the others do."""

from __future__ import annotations

from emu.debug.commands.arguments import check_cpu, check_no_more, parse_number
from emu.debug.commands.context import CommandTable, Context
from emu.debug.stops import Others
from emu.debug.view import CodeLocation
from emu.errors import InvalidCase
from emu.report.words import WIDTH

TABLE = CommandTable()


@TABLE.command("cpu thread", "[N]", "select a CPU; without N: which is")
def _cpu(context: Context, text: str) -> list[str]:
    context.session.settings.cpu = check_cpu(context, parse_number(text, "N", context.cpu))
    return [context.where(context.cpu)]


@TABLE.command("cpus", "", "list the CPUs")
def _cpus(context: Context, text: str) -> list[str]:
    check_no_more(text)
    return list_cpus(context)


def list_cpus(context: Context) -> list[str]:
    """Return a table of the CPUs; ``*`` marks the selected one."""
    rows = ["  CPU hwid         state    EL MMU  at"]
    for number in context.session.cpus:
        cpu = context.view.cpu(number)
        name = "-" if cpu.hwid < 0 else f"{cpu.hwid:#x}"
        mode = f"{cpu.el:<2} {'on' if cpu.mmu else 'off':<3}" if cpu.el >= 0 else "-  -  "
        mark = "*" if number == context.cpu else " "
        row = f"{mark} {number:<3} {name:<12} {cpu.state:<8} {mode}  "
        rows.append(f"{row}{_short(cpu.place, WIDTH - len(row))}".rstrip())
    return rows


def _short(place: CodeLocation, room: int) -> str:
    # The place in so many columns: without its folders where it has to be, or without the file.
    if not place.name:
        return ""
    without_folders = f"{place.name} ({place.source.rpartition('/')[2]})" if place.file else place.name
    return next((text for text in (f"{place}", without_folders) if len(text) <= room), place.name)


@TABLE.command("others", "[schedule|stand|free]", "what the other CPUs do while one is stepped")
def _others(context: Context, text: str) -> list[str]:
    settings, names = context.session.settings, {others.value: others for others in Others}
    if text and text not in names:
        raise InvalidCase(f"{text}: {', '.join(names)}")
    settings.others = names.get(text, settings.others)
    return [f"the others: {settings.others.value}"]
