"""Commands that step: forwards, and back to an earlier position."""

from __future__ import annotations

from dataclasses import replace

from emu.debug.commands.arguments import check_given, check_no_more, parse_number, split_cpu
from emu.debug.commands.context import CommandTable, Context
from emu.debug.commands.stopping import notes_of
from emu.debug.returning import step_out, step_over
from emu.debug.stops import SessionStop
from emu.errors import InvalidCase
from emu.operation import OPERATIONS

TABLE = CommandTable()


@TABLE.command("step s stepi si", "[N]", "let the CPU do N instructions (of a host task, operations)")
def _step(context: Context, text: str) -> list[str]:
    return context.forward(lambda: context.session.step(context.cpu), parse_number(text, "N", 1, 1))


@TABLE.command("next nexti ni", "[N]", "the same, a call and all that it leads to being one")
def _next(context: Context, text: str) -> list[str]:
    return context.forward(lambda: step_over(context.session, context.cpu), parse_number(text, "N", 1, 1))


@TABLE.command("op o", "[N]", "run until the CPU has done an operation that others can see")
def _op(context: Context, text: str) -> list[str]:
    return context.forward(lambda: context.session.step_operation(context.cpu), parse_number(text, "N", 1, 1))


@TABLE.command("finish fin", "", "run until the CPU's function returns")
def _finish(context: Context, text: str) -> list[str]:
    check_no_more(text)
    return context.forward(lambda: step_out(context.session, context.cpu))


@TABLE.command("leave", "", "run the CPU alone until it is out of the loop around its PC")
def _leave(context: Context, text: str) -> list[str]:
    check_no_more(text)
    return context.forward(lambda: context.session.leave_loop(context.cpu))


@TABLE.command("other", "", "run until another CPU acts, and select that one")
def _other(context: Context, text: str) -> list[str]:
    check_no_more(text)
    context.remember()
    stop = context.session.until_other()
    if stop.reason == "step":
        context.session.settings.cpu = stop.cpu
    return context.stopped(stop)


@TABLE.command("continue c", "", "run until something stops it")
def _continue(context: Context, text: str) -> list[str]:
    check_no_more(text)
    return context.forward(context.session.go_on)


@TABLE.command("until", "PLACE [cpu N]", "run until a CPU gets to a place")
def _until(context: Context, text: str) -> list[str]:
    place, cpu = split_cpu(context, text)
    made = context.session.add_breakpoint(check_given(place, "PLACE"), cpu=cpu, temporary=True)
    notes = notes_of(context, place, made.pa)
    context.remember()
    try:
        stop = context.session.go_on_for(cpu)
    finally:
        context.session.delete(made.number)
    if stop.reason == "breakpoint" and stop.number == made.number:
        context.session.settings.cpu = stop.cpu
        stop = SessionStop("step", stop.cpu)
    if stop.reason == "end":
        who = "no CPU comes" if cpu < 0 else f"CPU{cpu} does not come"
        stop = replace(stop, text=f"{who} to {place} from here on; {stop.text}")
    return [*notes, *context.stopped(stop)]


@TABLE.command("goto", "POSITION", "go to a position, earlier or later; #N is a position too")
def _goto(context: Context, text: str) -> list[str]:
    return context.go_to(parse_number(text, "a position"), SessionStop("goal", context.cpu))


@TABLE.command("back b-", "[N]", "undo the CPU's last N steps, and all that came after them")
def _back(context: Context, text: str) -> list[str]:
    position, count = context.session.log.back(context.cpu, parse_number(text, "N", 1, 1))
    if position < 0:
        raise InvalidCase(f"CPU{context.cpu} has done nothing that could be undone")
    why = "as far back as it goes" if count else ""
    return context.go_to(position, SessionStop("step", context.cpu, why))


@TABLE.command("back-op", "", "go back to before the CPU's last operation that others can see")
def _back_op(context: Context, text: str) -> list[str]:
    check_no_more(text)
    context.session.check_operations()
    log = context.session.log
    for position, cpu, _pc in log.steps_back():
        if cpu == context.cpu and any(log.row(i).kind in OPERATIONS for i in log.rows_of(position)):
            return context.go_to(position, SessionStop("step", context.cpu))
    raise InvalidCase(f"CPU{context.cpu} has done no operation")


@TABLE.command("rcontinue rc", "", "go back to the last breakpoint or watchpoint")
def _rcontinue(context: Context, text: str) -> list[str]:
    check_no_more(text)
    position, stop = context.session.find_stop_back()
    return context.go_to(position, stop)
