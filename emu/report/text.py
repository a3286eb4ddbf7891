"""Reports for people: dmesg lines, the table of CPUs, findings. Plain but on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emu.arch.boot import NR_CPUS_MAX
from emu.arch.psci import Function, Return
from emu.case import Case
from emu.constraints import constraint_words
from emu.finding import Verdict
from emu.host.build import Boot
from emu.host.firmware import resolve_defaults
from emu.host.smp_init_cpus import smp_init_cpus
from emu.operation import Kind, Record
from emu.outcome import ONLINE
from emu.report.outcome import cpu_outcomes, dmesg, masks, reentry, verdict_name
from emu.report.words import finding_words, outcome_words, runs_of, wrap
from emu.topology import Cpu, Topology
from emu.trace import Trace

_WIDTH = 80


def make_console() -> Console:
    """Return a console on standard output: 80 columns and no markup unless it is a terminal."""
    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}
    console = Console(**plain)
    return console if console.is_terminal else Console(**plain, width=_WIDTH, color_system=None)


def print_boot(console: Console, boot: Boot, verdict: Verdict, verbose: bool) -> None:
    """Print the log (with ``verbose`` every firmware call and landing too), the CPUs and the findings."""
    for line in _events(boot) if verbose else (stamp(ns) + line for ns, line in dmesg(boot)):
        console.print(line)
    console.print()
    cpus, again = cpu_outcomes(boot), reentry(boot)
    if again:
        console.print(f"after kexec: {again.subject} on CPU0, hwid {again.hwid:#x}, which was CPU{again.cpu}")
        console.print()
    table = Table(box=None, pad_edge=False, width=_WIDTH, header_style="bold")
    for name in ("CPU", "hwid", "outcome", "task", "instr", "ld mmu-off", "stores", "wfe"):
        right = name not in ("hwid", "outcome", "task")
        # An outcome that is longer than its column goes on in the next row.
        whole = name != "outcome"
        table.add_column(name, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    for cpu in cpus:
        counters = cpu.counters
        table.add_row(
            str(cpu.cpu),
            f"{cpu.hwid:#x}" if cpu.hwid is not None else "-",
            Text(outcome_words(cpu.outcome), style="red" if boot.new_task and cpu.outcome != ONLINE else ""),
            f"{cpu.task:016x}" if cpu.task is not None else "-",
            *(str(counters[name]) for name in ("instructions", "loads_mmu_off", "stores", "wfe_sleeps")),
        )
    console.print(table)
    console.print()
    for place, group in groupby((cpu for cpu in cpus if cpu.at), lambda cpu: (cpu.outcome, cpu.at)):
        numbers = [cpu.cpu for cpu in group]
        who = f"CPU{numbers[0]}" if len(numbers) == 1 else f"CPU{numbers[0]}..CPU{numbers[-1]}"
        console.print(f"{who}: {outcome_words(place[0])}, at {place[1]}")
    for name, listed in masks(boot).items():
        console.print(f"{name + ':':<10}{cpu_list(listed)}")
    for finding in verdict.findings:
        for line in wrap(f"finding ({finding.rule}): {finding_words(finding)}", "  "):
            console.print(Text(line, style="red"))
    if boot.machine.stopped:
        console.print(f"stopped: {boot.machine.stopped}")
    name = verdict_name(boot, verdict)
    online = sum(cpu.outcome == ONLINE for cpu in cpus)
    count = len(verdict.findings)
    total = sum(cpu.hwid is not None for cpu in cpus)
    arrived = f"{online} of {total} CPUs online" if boot.new_task else f"{total} CPUs"
    summary = f"{name}: {arrived}, {count} finding{'' if count == 1 else 's'}"
    console.print(Text(summary, style="green" if name == "pass" else "bold red"))
    console.print(f"case: {boot.case.text()}")


def print_topology(console: Console, topology: Topology) -> None:
    """Print what firmware lists, in its order, and which logical CPU the kernel makes of each entry."""
    logical = smp_init_cpus(resolve_defaults(Case("v3"), topology), NR_CPUS_MAX, NR_CPUS_MAX)
    number = {hwid: cpu for cpu, hwid in enumerate(logical.hwids)}
    boots = (
        "firmware does not list it" if isinstance(topology.boot_cpu, Cpu) else f"entry {topology.boot_cpu}"
    )
    console.print(f"topology:  {topology.name} ({topology.firmware}), {len(topology.cpus)} entries")
    console.print(f"boots:     {topology.boot.hwid:#x} ({boots})")
    if topology.conduit:
        console.print(f"conduit:   {topology.conduit}")
    console.print()
    table = Table(box=None, pad_edge=False, width=_WIDTH, header_style="bold")
    for name in ("entry", "CPU", "hwid", "MPIDR_EL1", "MIDR_EL1", "place", "firmware says"):
        table.add_column(name, justify="right" if name in ("entry", "CPU") else "left", no_wrap=True)
    for index, cpu in enumerate(topology.cpus):
        came = number.pop(cpu.hwid, None)
        place = f"{cpu.socket}/{cpu.cluster}/{cpu.core}/{cpu.thread}" if cpu.core >= 0 else "-"
        says = [] if cpu.enabled else ["online-capable" if cpu.online_capable else "disabled"]
        says += [cpu.enable_method] if cpu.enable_method else []
        table.add_row(
            str(index),
            str(came) if came is not None else "-",
            f"{cpu.hwid:#x}",
            f"{cpu.mpidr:#x}",
            f"{cpu.midr:#x}",
            place,
            ", ".join(says) or "-",
        )
    console.print(table)
    for line in logical.messages:
        console.print(line)


def cpu_list(cpus: Sequence[int]) -> str:
    """Return sorted numbers as the kernel prints a mask in sysfs: ``0-3,6``."""
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs_of(cpus))


def stamp(ns: int) -> str:
    """Return a time (ns) as printk stamps a line."""
    return f"[{ns // 1_000_000_000:5}.{ns % 1_000_000_000 // 1000:06}] "


def _events(boot: Boot) -> Iterator[str]:
    # One line per event, in the order of the trace.
    subjects = [guest.subject for guest in (*boot.earlier, boot.guest)]
    subject = subjects.pop(0)
    trace = boot.machine.trace

    def where(pc: int) -> str:
        location = trace.location(pc)
        if location is not None:
            return location
        return subject.symbols.describe_pc(pc, subject.va_offset)

    for record in trace:
        if record.kind is Kind.LOG:
            yield stamp(record.pa) + trace.text_of(record)
        if record.kind is Kind.REENTRY and record.actor == 0 and subjects:
            subject = subjects.pop(0)
        words = event_words(trace, record, where)
        if words is not None:
            yield f"  {words}"


def event_words(trace: Trace, record: Record, where: Callable[[int], str]) -> str | None:
    """Return what a CPU does, of a record of an event; None: it is none, or is a line of the log.

    :param where: names the place of a PC
    """
    cpu, value = record.actor, record.value
    match record.kind:
        case Kind.CALL:
            return f"CPU{cpu} calls {_name(value)}(x1={record.pa:#x}) at {where(record.pc)}"
        case Kind.RETURN:
            signed = value - (1 << 64 if value >> 63 else 0)
            known = signed in set(Return)
            return f"CPU{cpu} gets {Return(signed).name if known and signed < 0 else signed}"
        case Kind.POWER_ON:
            return f"CPU{cpu} starts at {where(record.pc)}, x0={value:#x}"
        case Kind.POWER_OFF:
            return f"CPU{cpu} is off"
        case Kind.EL:
            return f"CPU{cpu} enters EL{value} at {where(record.pc)}"
        case Kind.MMU:
            mmu = "on" if value & 1 else "off"
            return f"CPU{cpu} writes SCTLR {value:#x} (MMU {mmu}) at {where(record.pc)}"
        case Kind.EXCEPTION:
            syndrome = f"ESR {value:#x}, FAR {record.pa:#x}"
            return f"CPU{cpu} takes an exception to EL{record.size}, {syndrome}, at {where(record.pc)}"
        case Kind.COPY:
            return f"CPU{cpu} copies {value:#x} bytes to {record.pa:#x} at {where(record.pc)}"
        case Kind.REENTRY:
            return f"CPU{value} is CPU{cpu} now, and {'on' if record.size else 'off'}"
        case Kind.LAND:
            return f"CPU{cpu} lands at {where(record.pc)}"
        case Kind.WAKE:
            return f"CPU{cpu} wakes" + (f" at {where(record.pc)}" if record.pc else "")
        case Kind.MISUSE | Kind.UNSUPPORTED:
            return f"CPU{cpu}: {constraint_words(trace.text_of(record))}, at {where(record.pc)}"
    return None


def _name(function_id: int) -> str:
    try:
        return Function(function_id & 0xFFFF_FFFF).name
    except ValueError:
        return f"function {function_id:#x}"
