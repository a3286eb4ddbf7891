"""``leave`` makes the steps that single ones of its CPU alone are: as many, with the same records.

Whatever its run at full speed ends with: behind the loop, asleep, an exception, code that the host plays.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from assembly_texts import TEMPLATE
from travelling import watch

from emu.case import Case
from emu.debug.checkpoints import Checkpoints
from emu.debug.redone import tell_runs_apart
from emu.debug.session import Session
from emu.debug.stops import Others
from emu.host.build import build

COUNT = " mov x1, #3\nl_1: sub x1, x1, #1\n"
AGAIN = "\n cbnz x1, l_1"
# With the MMU off, at EL1.
CODE = {
    "behind it": f"{COUNT}{AGAIN}",
    "asleep in WFE": "l_1: wfe\n b l_1",
    "waits in WFI": "l_1: wfi\n b l_1",
    "a branch to itself": "l_1: nop\n b .\n b l_1",
    "SVC": f"{COUNT} svc #0{AGAIN}",
    "UNDEFINED": f"{COUNT} .word 0{AGAIN}",
    "HVC without EL2": f"{COUNT} hvc #0{AGAIN}",
    "a call": " mov x9, #3\nl_1: sub x9, x9, #1\n mov x0, #0x84000000\n smc #0\n cbnz x9, l_1",
    "an abort": f"{COUNT} mov x2, #0xffff000000000\n ldr x3, [x2]{AGAIN}",
    "a store that aborts": f"{COUNT} mov x2, #0xffff000000000\n str x3, [x2]{AGAIN}",
    "a fetch that aborts": f"{COUNT} mov x2, #0xffff000000000\n br x2{AGAIN}",
    "a PC that is not aligned": f"{COUNT} adr x2, l_1\n add x2, x2, #2\n br x2{AGAIN}",
    "an access that is not aligned": f"{COUNT} adr_l x2, my_words\n ldr x3, [x2, #1]{AGAIN}",
    "not modelled": " mov x2, #4\n msr cntkctl_el1, x2\nl_1: nop\n wfe\n b l_1",
    "a landing": "",
}


def seen(session: Session) -> list[Any]:
    """Everything that a step of CPU1 changes, and what was told of it."""
    pe, trace = session.pe(1), session.machine.trace
    kept = [*pe.x, pe.pc, pe.pstate, session.state(1), pe.counters.instructions]
    return [session.position, *kept, [list(row) for row in trace.rows()]]


def start(path: Path, checkpoints: Checkpoints | None = None) -> Session:
    """Return a session in which CPU1 is at the loop."""
    session = Session(build(Case.parse(f"{path} topology=flat:2")), checkpoints)
    session.begin()
    place = "l_1" if "l_1" in path.read_text() else "secondary_start_kernel"
    session.add_breakpoint(place, cpu=1, temporary=True)
    assert session.go_on().reason == "breakpoint"
    return session


def alone(session: Session) -> None:
    """Step CPU1 alone until it is out of the loop, or cannot go on."""
    session.settings.others = Others.STAND
    pe, actor = session.pe(1), session.machine.actors[1]
    loop = session.places.loop(pe.pc)
    assert loop is not None
    while actor.task is None and session.machine.is_runnable(1) and not session.machine.stopped:
        session.step(1)
        if pe.pc in loop[2]:
            return


@pytest.mark.parametrize("name", CODE)
def test_a_run_at_full_speed_is_the_steps_that_single_ones_are(name: str, tmp_path: Path) -> None:
    path = tmp_path / "loop.S"
    path.write_text(TEMPLATE.format(off=CODE[name], on=""))
    straight = start(path)
    alone(straight)
    steps = range(start(path).position, straight.position)
    pcs, rows = straight.log.steps_of(steps)

    def debugger(checkpoints: Checkpoints, tell: Callable[[Any], None]) -> None:
        debugged = start(path, checkpoints)
        debugged.leave_loop(1)
        tell(seen(debugged))
        tell_runs_apart(debugged.log, checkpoints, debugged.settings)
        told, before = debugged.log.steps_of(steps)
        tell([told.hex(), before])

    assert watch(debugger) == [seen(straight), [pcs.hex(), rows]]
