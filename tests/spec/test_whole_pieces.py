"""A kernel that boots by itself, run in pieces: what may look at it between them changes nothing."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.case import Case
from emu.cpu.engine import SeenAccess
from emu.host.whole.boot import WholeBoot, build_whole
from emu.machine.free_turns import FreeTurns
from emu.operation import Kind

Kernel = Callable[[str], Path]


def build(kernel: Path, cpus: int = 3, irq_late: str = "") -> tuple[WholeBoot, FreeTurns]:
    """Return a boot of ``kernel``, and what gives its CPUs their turns."""
    boot = build_whole(Case(str(kernel), topology=f"flat:{cpus}", depth="whole", irq_late=irq_late))
    assert boot.machine.free is not None
    return boot, boot.machine.free


def state(boot: WholeBoot) -> tuple[object, ...]:
    """Return what a run has come to: memory, the time, instructions and PC of each CPU, the trace."""
    machine, trace = boot.machine, boot.machine.trace
    cpus = [(actor.time, actor.pe.counters.instructions, actor.pe.pc) for actor in machine.actors]
    told = tuple(zip(trace.times, trace.rows(), strict=True))
    return hashlib.sha256(machine.memory.view).hexdigest(), machine.clock.begun, *cpus, told


@pytest.mark.parametrize("irq_late", ["", "5:30000"])
def test_pieces_of_any_length_come_to_the_same(irq_late: str, real_kernel: Kernel) -> None:
    kernel = real_kernel("EMU_KERNEL_SMALL")
    whole, _ = build(kernel, irq_late=irq_late)
    whole.run()
    boot, free = build(kernel, irq_late=irq_late)
    lengths = random.Random(1)
    while boot.machine.step():
        single = 5_990_000 < boot.machine.clock.begun < 6_040_000  # as secondaries come up
        free.piece = 1 if single else lengths.randint(1, 4000)
    assert state(boot) == state(whole)
    if irq_late:
        at_once, _ = build(kernel)
        at_once.run()
        assert whole.reached
        assert state(whole) != state(at_once)


@pytest.mark.parametrize("choices", [{}, {"scheduler": "random:4", "irq_late": "3:5000"}])
def test_short_turns_cost_nothing_while_one_cpu_can_run(
    choices: dict[str, str], real_kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turns are long then, and all comes to the same."""
    kernel = real_kernel("EMU_KERNEL_SMALL")
    picks, ends = [], []
    for alone in (1_000_000, 20_000, 0):  # 0: each turn is as short as it is said to be
        monkeypatch.setattr("emu.host.whole.boot.ALONE", alone)
        monkeypatch.setattr("emu.host.whole.boot.TURN", min(alone, 20_000))
        boot = build_whole(Case(str(kernel), topology="flat:3", depth="whole", turn=400, **choices))
        boot.run()
        assert boot.reached
        picks.append(boot.machine.picks)
        ends.append(state(boot)[:-1])  # lines of the log are seen between turns
    assert ends[0] == ends[1] == ends[2]
    assert 10_000 < picks[2] > 5 * picks[1] > 5 * picks[0]


def test_halts_and_watches_see_each_pass_and_change_nothing(real_kernel: Kernel) -> None:
    """In the middle of a block as at its beginning; a halt is seen once for each time a CPU gets there."""
    kernel = real_kernel("EMU_KERNEL_SMALL")
    whole, _ = build(kernel)
    whole.run()
    boot, free = build(kernel)
    subject, machine = boot.image.subject, boot.machine
    names = [("secondary_start_kernel", 0), ("secondary_start_kernel", 8), ("smp_init", 12)]
    places = {subject.pa(name) + offset: (name, offset) for name, offset in names}
    online = subject.pa("__cpu_online_mask")
    stored: list[SeenAccess] = []

    def seen(access: SeenAccess) -> None:
        assert machine.memory.read(online, 8) != access.value  # it is not made yet
        stored.append(access)
        machine.engine.free.pause_behind()

    machine.engine.free.halt_at(places)
    machine.engine.free.watch([range(online, online + 8)], loads=False, seen=seen)
    halts: Counter[tuple[tuple[str, int], int]] = Counter()
    while machine.step():
        cpu, known = machine.current, len(stored)
        pa = machine.actors[cpu].pe.translate(machine.actors[cpu].pe.pc)
        if pa in places:
            halts[places[pa], cpu] += 1
        if known and stored[-1].pe.index == cpu and known == len(stored):
            assert machine.memory.read(online, 8) >= stored[-1].value  # it is made when the piece ends
    each = [(name, cpu) for name in names[:2] for cpu in (1, 2)]
    assert halts == Counter([(names[2], 0), *each])
    assert [(access.kind, access.pe.index, access.value) for access in stored] == [
        (Kind.STORE, 0, 1),
        (Kind.STORE, 1, 3),
        (Kind.STORE, 2, 7),
    ]
    assert state(boot) == state(whole)
