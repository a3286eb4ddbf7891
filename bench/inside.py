"""A fresh process that times a part of itself: ``python -m bench.inside WHAT ...`` prints one JSON object.

Times are CPU seconds.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from emu.case import Case
from emu.explore.explorer import explore_case
from emu.explore.finding_collector import FindingCollector
from emu.explore.forks import in_forks
from emu.explore.paths import count_paths
from emu.explore.search import Bounds, Search
from emu.explore.whole import START
from emu.host.build import build
from emu.host.choices import parse_case
from emu.host.fragment import load_fragment
from emu.host.platform import install
from emu.host.whole.boot import WholeBoot, build_whole
from emu.host.whole.ending import How
from emu.host.whole.kept import boot_at, bring_to
from emu.host.whole.recording import boot_from
from emu.host.whole.warm import warm
from emu.machine import Machine
from emu.machine.actor import Grain
from emu.operation import OPERATIONS
from emu.outcome import ONLINE

_COPIES = 20
_AFF3 = 1 << 32  # affinity level 3 of the CPUs that are in the table but not in the machine


def bring_up(subject: str, cpus: int) -> dict[str, Any]:
    """Time ``machine.run()``, from the boot CPU's first kick to the last CPU's arrival, at free speed."""
    boot = build(Case(subject, topology=f"flat:{cpus}"))
    start = time.process_time()
    boot.machine.run()
    seconds = time.process_time() - start
    boot.machine.finish()
    online = sum(actor.outcome == ONLINE for actor in boot.machine.actors)
    assert online == cpus, f"{online} of {cpus} CPUs online"
    return {"seconds": seconds}


def scan(grain: Grain, cpus: int, entries: int, record: bool) -> dict[str, Any]:
    """Time CPUs that all look for themselves at once, in v3's table, where they come last.

    All are switched on together at secondary_entry, without a boot CPU; round robin lets each do one grain.
    """
    case = Case("v3", topology=f"flat:{cpus}", nr_cpus=entries, grain=grain.value)
    machine, _, guest = install(load_fragment(parse_case(case, record=record)))
    trace = machine.trace
    table_pa = guest.subject.pa("__cpu_logical_map")
    for index in range(entries):
        mine = index - (entries - cpus)
        machine.memory.write(table_pa + 8 * index, 8, guest.hwids[mine] if mine >= 0 else _AFF3 | index)
    for cpu in range(cpus):
        machine.power_on(cpu, guest.entry_pa, 0)
    before = _instructions(machine)
    start = time.process_time()
    machine.run()
    seconds = time.process_time() - start
    instructions = _instructions(machine) - before
    operations = sum(row[0] in OPERATIONS for row in trace.rows())
    least = cpus * (entries - cpus)
    assert machine.picks > least, f"{machine.picks} picks: the CPUs did not take turns"
    if grain is Grain.INSTRUCTION:
        assert machine.picks >= instructions, "more than one instruction between two picks"
    if record:
        assert operations > least, f"{operations} operations: the CPUs did not look through the table"
    return {
        "seconds": seconds,
        "instructions": instructions,
        "operations": operations,
        "picks": machine.picks,
    }


def explore(text: str) -> dict[str, Any]:
    """Time a whole exploration, and by itself its last round, which runs nothing on the machine any more."""
    explorer, _ = explore_case(Case.parse(text))
    start = time.process_time()
    result = explorer.search(Bounds(), everything=True)
    seconds = time.process_time() - start
    assert result.complete, result.incomplete
    system = explorer.system(Bounds(), joins_alike=True)
    search = Search(system, Bounds(), FindingCollector("", everything=True))
    start = time.process_time()
    search.run()
    last = time.process_time() - start
    return {
        "seconds": seconds,
        "last_round": last,
        "operations": search.count.operations,
        "schedules": search.count.schedules,
        "ends": search.count.complete,
        "states": search.count.states,
        "findings": len(result.findings),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def reduction(text: str) -> dict[str, Any]:
    """Count schedules with reduction, and all that there are (paths through the graph of all states)."""
    explorer, _ = explore_case(Case.parse(text))
    explorer.search(Bounds(), everything=True)
    while True:
        explorer.stepper.grew = False
        count = count_paths(explorer.system())
        if not explorer.stepper.grew:
            break
    search = Search(explorer.system(), Bounds(remember=False), FindingCollector("", everything=True))
    search.run()
    return {
        "naive_digits": len(str(count)),
        "reduced": search.count.schedules,
        "orders": search.count.complete,
    }


def whole(subject: str, cpus: int) -> dict[str, Any]:
    """Time what goes on from a boot that is kept at smp_init(): its loading, and the run to "Brought up".

    Restoring is what a schedule of emu explore begins with: a copy of the process at the checkpoint.
    """
    case = Case(subject, topology=f"flat:{cpus}", depth="whole")
    boot_at(case, START)  # from here on it is kept
    boot = build_whole(case)
    found = {"load": _timed(lambda: bring_to(boot, START))}
    copies = range(_COPIES)
    found["restore"] = _timed(lambda: list(in_forks(lambda _: 0, copies, 1, changes=True))) / _COPIES
    return found | {"run": _run_to_end(boot)}


def schedule(subject: str, cpus: int, *, record: bool) -> dict[str, Any]:
    """Time the run of a schedule of emu explore: from smp_init() to "Brought up", translated before."""
    case = Case(subject, topology=f"flat:{cpus}", depth="whole", record_from=START if record else "")
    boot = boot_from(case, START)
    assert warm(boot)
    return {"observed" if record else "again": _run_to_end(boot)}


def _run_to_end(boot: WholeBoot) -> float:
    seconds = _timed(boot.run)
    assert boot.how is How.REACHED, boot.how
    return seconds


def _timed(function: Callable[[], Any]) -> float:
    # With the processes that it has started and waited for.
    def now() -> float:
        return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])

    start = now()
    function()
    return now() - start


def _instructions(machine: Machine) -> int:
    return sum(actor.pe.counters.instructions for actor in machine.actors)


def main(what: str, *arguments: str) -> None:
    """Run one measurement and print its result."""
    if what in ("hook", "entry"):
        from bench import bare  # here, because it needs the engine's own package

        found = bare.hooked_loads() if what == "hook" else bare.entries()
    elif what == "bring-up":
        found = bring_up(arguments[0], int(arguments[1]))
    elif what in ("explore", "reduction"):
        found = (explore if what == "explore" else reduction)(arguments[0])
    elif what == "whole":
        found = whole(arguments[0], int(arguments[1]))
    elif what in ("schedule", "recorded"):
        found = schedule(arguments[0], int(arguments[1]), record=what == "recorded")
    else:
        found = scan(Grain(arguments[0]), int(arguments[1]), int(arguments[2]), arguments[3] == "record")
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
