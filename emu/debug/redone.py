"""Steps that were made at full speed, told apart: a checkpoint before them makes them again one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from emu.debug.checkpoints import Checkpoints
from emu.debug.edits import Edit
from emu.debug.step_log import StepLog
from emu.debug.stops import DebugSettings

if TYPE_CHECKING:
    from emu.debug.session import Session


class Redo(NamedTuple):
    """What a checkpoint is asked: the PC and the records of each of these steps.

    :ivar edits: what the user has changed, by position
    :ivar forced: by position, the CPU that stepped there although the scheduler had not picked it
    """

    edits: dict[int, list[Edit]]
    forced: dict[int, int]
    steps: range


def tell_runs_apart(log: StepLog, checkpoints: Checkpoints, settings: DebugSettings) -> None:
    """Let the log have each step of what was run at full speed."""
    while (run := log.next_run()) is not None:
        start = checkpoints.before(run.start)
        log.resolve(run, *checkpoints.ask(start, Redo(settings.edits, log.forced(start), run)))


def make_again(session: Session, question: Redo) -> tuple[bytes, list[int]]:
    """Make the steps, in a copy of a checkpoint; return what :meth:`StepLog.steps_of` says of them."""
    session.settings = DebugSettings(edits=question.edits, forced=question.forced)
    session.run_to(question.steps.stop)
    return session.log.steps_of(question.steps)
