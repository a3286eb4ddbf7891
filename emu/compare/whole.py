"""A kernel that boots by itself, as a bring-up of a comparison: times are between its own trace points."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from emu.case import Case
from emu.compare.times import Bringup, bringup
from emu.errors import InvalidCase
from emu.host.whole.boot import WholeBoot
from emu.host.whole.ending import How
from emu.host.whole.recording import boot_from
from emu.host.whole.trace_points import TURNS_TO, TracePoints

OWN = "auto"  # the bring-up that the kernel chooses
_PARAMETERS = {"split": "cpuhp.parallel=0", "parallel": "cpuhp.parallel=1"}


class WholeRun(NamedTuple):
    """A boot that is over; ``instructions`` are those of secondaries up to C."""

    boot: WholeBoot
    times: Bringup
    instructions: int


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


def run_whole(case: Case) -> WholeRun:
    """Boot the kernel of ``case`` to the end of its bring-up.

    :raises EmuError: it cannot be loaded, or tells no symbol that times begin with
    """
    boot = boot_from(as_whole(case))
    boot.image.subject.symbols.require(TURNS_TO, case.subject)
    points = TracePoints(boot)
    how = boot.run()
    points.finish()
    boot.finish()
    boot.read_log()
    if how is not How.REACHED:
        boot.machine.stopped = boot.machine.stopped or "it has not brought its CPUs up"
    return WholeRun(boot, bringup(boot.machine.trace), points.instructions)
