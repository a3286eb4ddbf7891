"""Commands that show what a CPU is in beside its registers: power, sleep, events, monitor, interrupts."""

from __future__ import annotations

from emu.arch.psci import Affinity, Function
from emu.debug.commands.arguments import check_no_more, split_selected_cpu
from emu.debug.commands.context import CommandTable, Context
from emu.report.words import outcome_words
from emu.semantics import events, monitors

_MASKED_I, _MASKED_F = 1 << 7, 1 << 6  # of DAIF
_STATES = {
    "off": "off",
    "runs": "runs guest code",
    "host": "runs a host task",
    "wfe": "asleep in WFE",
    "wfi": "asleep in WFI",
    "delayed": "waits for a time",
    "spins": "spins",
    "ended": "ended",
}

TABLE = CommandTable()


@TABLE.command("state", "[cpu N]", "power, sleep, event register, exclusive monitor, interrupts of a CPU")
def _state(context: Context, text: str) -> list[str]:
    text, cpu = split_selected_cpu(context, text)
    check_no_more(text)
    session = context.session
    machine, actor = session.machine, session.machine.actors[cpu]
    system, pe = machine.interconnect.system, actor.pe
    state = _STATES[session.state(cpu)]
    ended = f": {outcome_words(actor.outcome)}" if actor.outcome is not None else ""
    rows = [("CPU", f"CPU{cpu}, {state}{ended}"), ("power", _power(context, cpu))]
    if actor.task is None and session.state(cpu) not in ("off", "ended"):
        rows.append(("mode", f"EL{pe.el}, MMU {'on' if pe.mmu_on else 'off'}, masked: {_masked(pe.daif)}"))
    rows.append(("event register", "set" if events.has_event(system, cpu) else "clear"))
    armed = monitors.armed(system, cpu)
    rows.append(("monitor", "open" if armed is None else _monitor(context, armed)))
    rows.append(("interrupts", _interrupts(context, cpu)))
    if machine.free is not None or actor.time:
        rows.append(("time", f"{session.machine.time_of(cpu) / 1000:.3f} us"))
    return [f"{name:<15} {said}" for name, said in rows]


def _power(context: Context, cpu: int) -> str:
    machine = context.session.machine
    said = "on" if machine.interconnect.system.on >> cpu & 1 else "off"
    firmware = machine.power.firmware
    if firmware is None:
        return said
    hwid = context.view.cpu(cpu).hwid
    answer = machine.power.ask_in_vain(context.cpu, Function.AFFINITY_INFO64, hwid, 0, 0)
    known = {int(each): each.name for each in Affinity}
    return f"{said}; AFFINITY_INFO says {known[answer]}" if answer in known else said


def _masked(daif: int) -> str:
    found = [
        name for name, bit in (("D", 1 << 9), ("A", 1 << 8), ("I", _MASKED_I), ("F", _MASKED_F)) if daif & bit
    ]
    return " ".join(found) or "none"


def _monitor(context: Context, pa: int) -> str:
    granule = monitors.granule_of(pa)
    name = context.view.data_name(pa)
    end = granule + monitors.GRANULE - 1
    return f"armed by a load-exclusive of {pa:#x} {name}, granule {granule:#x}..{end:#x}"


def _interrupts(context: Context, cpu: int) -> str:
    machine = context.session.machine
    pe = machine.actors[cpu].pe
    found = ["one of another CPU is pending"] if machine.interconnect.system.interrupts >> cpu & 1 else []
    for line, name, mask in ((1, "IRQ", _MASKED_I), (2, "FIQ", _MASKED_F)):
        if pe.lines & line:
            found.append(f"{name} is asserted" + (", and masked" if pe.daif & mask else ""))
    return "; ".join(found) or "none"
