"""A finding along its schedule: taken once more by the transition system, and by the machine itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emu.case import Case
from emu.explore.explorer import Explorer, case_of
from emu.explore.finding_collector import Found, make_trace
from emu.explore.follow import Followed, rewind
from emu.explore.global_state import GlobalState, Transition
from emu.explore.transition_system import TransitionSystem
from emu.host.build import Boot, build
from emu.machine.positions import Positions, numbered
from emu.rules import judge, rules_of_marks
from emu.schedulers import Pick
from emu.trace import Trace


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A finding and the run that shows it.

    :ivar found: with the records of ``trace``
    :ivar states: the state before each transition of ``path``, and the last
    :ivar positions: of what the transitions of ``path`` do, in a debug session of the case
    :ivar on_machine: the machine shows it too when it takes the schedule
    """

    found: Found
    system: TransitionSystem
    trace: Trace
    path: Sequence[Transition]
    states: Sequence[GlobalState]
    positions: Positions
    on_machine: bool


def shown_by(explorer: Explorer, case: Case, picks: tuple[Pick, ...]) -> tuple[Followed, list[Found]]:
    """Take the recorded schedule of ``case``, and return where it leads and what it shows.

    :raises ReplayDiverged: a pick cannot be taken
    """
    explorer.learn(picks)
    system = explorer.system()
    done, findings = explorer.replay(system, picks, strict=True)
    rewind(system, done)
    return done, [Found(each.finding, picks, case=case.text()) for each in findings.values()]


def confirm_shortest(explorer: Explorer, boot: Boot, found: Found) -> Confirmed:
    """Return the finding with the shortest schedule that shows it, confirmed."""
    short = explorer.shrink(found)
    return confirm(explorer, replace(short, case=case_of(boot, short.picks)))


def confirm(explorer: Explorer, found: Found) -> Confirmed:
    """Take the schedule of a finding, which has its case, in the transition system and on the machine.

    :raises ReplayDiverged: its schedule is not one of this case
    """
    system = explorer.system()
    key = found.finding.key
    done, findings = explorer.replay(system, found.picks, strict=True, until=key)
    shown_here = findings.get(key)
    marks = list(shown_here.marks) if shown_here else []
    if shown_here:
        found = replace(found, finding=shown_here.finding, marks=shown_here.marks, tail=shown_here.tail)
    trace = make_trace(system, done.states[-1], [*done.path, *found.tail], found.case, marks)
    rewind(system, done)
    live = build(Case.parse(found.case), record=True).machine
    positions = numbered(live, len(done.path))
    live.run()
    live.finish()
    shown = {finding.key for finding in judge(live.trace).findings}
    # What only the states of the system show leaves nothing on the machine but its schedule.
    of_states = any(kind in rules_of_marks() for kind, *_ in marks)
    return Confirmed(found, system, trace, done.path, done.states, positions, key in shown or of_states)
