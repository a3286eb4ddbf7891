"""A kernel that boots by itself, as a bring-up of a comparison.

Its boot CPU goes from one thing that can be seen to the next: a CPU is switched on, or has said that it has
booted. The time since the thing before is spent on that CPU: up to its kick in the first case, on bringing it
online in the second. It begins where the kernel says that it brings up secondary CPUs.
"""

from __future__ import annotations

import re
from dataclasses import replace

from emu.case import Case
from emu.compare.times import Bringup, CpuTime
from emu.errors import InvalidCase
from emu.host.whole.boot import WholeBoot
from emu.host.whole.ending import How
from emu.host.whole.recording import boot_from
from emu.operation import Kind

BEGINS = "smp: Bringing up secondary CPUs"
_BOOTED = re.compile(r"CPU(\d+): Booted secondary processor")
OWN = "auto"  # the bring-up that the kernel chooses
_PARAMETERS = {"split": "cpuhp.parallel=0", "parallel": "cpuhp.parallel=1"}


def as_whole(case: Case) -> Case:
    """Return the case with the bring-up that it asks for as a parameter of the kernel.

    :raises InvalidCase: no parameter asks for it
    """
    if case.bringup == OWN:
        return case
    if case.bringup not in _PARAMETERS:
        raise InvalidCase(
            f"bringup={case.bringup}: no parameter of a kernel that boots by itself asks for it"
        )
    return replace(case, bringup=OWN, append=f"{case.append} {_PARAMETERS[case.bringup]}".strip())


def run_whole(case: Case) -> tuple[WholeBoot, Bringup]:
    """Boot the kernel of ``case`` to the end of its bring-up, and return it with its times.

    :raises EmuError: it cannot be loaded
    """
    boot = boot_from(as_whole(case))
    boot.machine.record_times()
    how = boot.run()
    boot.finish()
    boot.read_log()
    if how is not How.REACHED:
        boot.machine.stopped = boot.machine.stopped or "it has not brought its CPUs up"
    return boot, _times(boot)


def _times(boot: WholeBoot) -> Bringup:
    begin = next((line.time for line in boot.lines if BEGINS in line.text), -1)
    if begin < 0:
        return Bringup()
    events: list[tuple[int, int, bool]] = []  # ns, CPU, whether it is its kick
    trace = boot.machine.trace
    for number, (_kind, _size, cpu, _pc, _pa, _value) in trace.numbered(frozenset((Kind.POWER_ON,))):
        if trace.times[number] >= begin and cpu:
            events.append((trace.times[number], cpu, True))
    for line in boot.lines:
        if (found := _BOOTED.search(line.text)) is not None:
            events.append((line.time, int(found[1]), False))
    prepare: dict[int, int] = {}
    online: dict[int, int] = {}
    at = begin
    for ns, cpu, is_kick in sorted(events):
        of = prepare if is_kick else online
        of[cpu] = of.get(cpu, 0) + ns - at
        at = ns
    cpus = [CpuTime(cpu, prepare.get(cpu, 0), online.get(cpu, 0)) for cpu in sorted({*prepare, *online})]
    return Bringup(total=at - begin, begin=begin, cpus=cpus)
