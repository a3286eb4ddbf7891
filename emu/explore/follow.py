"""A recorded schedule in the transition system, and the shortest one that still shows the same.

Shortest: the fewest changes of CPU while the one that ran could go on, then the fewest steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from emu.errors import ReplayDiverged
from emu.explore import variants
from emu.explore.cells import Undo
from emu.explore.global_state import GlobalState, Stepped, Transition
from emu.explore.reduction import EnabledSet
from emu.explore.transition_system import LOOK_EVERY, TransitionSystem
from emu.machine.actor import State
from emu.operation import Delay, Poll
from emu.schedulers import LOOP, Pick, part_of

_OF_CPUS = ("run", "timeout", "wake", "fail", "delay")
_TRIALS_MAX = 400
_STEPS_MAX = 200_000


def is_of_cpu(pick: Pick) -> bool:
    """Tell whether a pick is a move of a CPU."""
    return pick.kind in _OF_CPUS or part_of(pick.kind) >= 0


@dataclass(slots=True)
class Followed:
    """A schedule that was taken: its steps, and the state after each; the first state comes before them.

    :ivar loop_at: how many steps come before its loop; -1: it has none
    """

    path: list[Transition]
    states: list[GlobalState]
    undo: list[Undo]
    loop_at: int = -1

    def picks(self) -> tuple[Pick, ...]:
        """Return the picks that were taken."""
        taken = [transition.pick for transition in self.path]
        if self.loop_at >= 0:
            taken.insert(self.loop_at, LOOP)
        return tuple(taken)


def step_of(system: TransitionSystem, state: GlobalState, pick: Pick) -> Callable[[], Stepped] | None:
    """Return how to take ``pick`` in this state, or None when it cannot be taken."""
    kind, number = pick
    if is_of_cpu(pick):
        if number >= len(state.locals):
            return None
        local = state.locals[number]
        if kind == "run":
            delayed = local.state is State.RUNNABLE and isinstance(local.action.operation, Delay)
            can = delayed or system.can_step(state, number) or system.spins(state, number)
            return (lambda: system.step(state, number)) if can else None
        if (part := part_of(kind)) >= 0:
            can = variants.has_part(state, number, part)
            return (lambda: variants.make_part(system, state, number, part)) if can else None
        if kind == "fail":
            can = variants.passes(system, state, number)
            return (lambda: variants.fail(system, state, number)) if can else None
        if kind == "delay":
            can = variants.maintains(state, number)
            return (lambda: variants.delay(system, state, number)) if can else None
        if kind == "wake":
            return (lambda: system.wake(state, number)) if local.state is State.WAITING else None
        polls = local.state is State.RUNNABLE and isinstance(local.action.operation, Poll)
        expires = polls and not system.can_step(state, number)
        return (lambda: system.time_out(state, number)) if expires else None
    if kind == "start":
        for index, later in enumerate(state.later):
            if later.cpu == number:
                return lambda: system.start(state, index)
        return None
    unit = system.footprints.unit_index.get(number)
    if unit is None or kind not in system.choices(state, unit):
        return None
    return lambda: system.choose(state, unit, kind)


# Called with every state and the path to it; True: that is enough.
See = Callable[[GlobalState, list[Transition]], bool]


def follow(
    system: TransitionSystem,
    picks: Iterable[Pick],
    *,
    strict: bool = False,
    to_the_end: bool = False,
    see: See = lambda _state, _path: False,
) -> Followed:
    """Take ``picks`` from the beginning; memory is left as they leave it: :func:`rewind` puts it back.

    :param strict: a pick that cannot be taken is an error; else it is left out
    :param to_the_end: after them the CPU that ran last goes on, then the lowest one, until none can; or all
        go round. A schedule with a loop has its end with it
    :raises ReplayDiverged: a pick cannot be taken
    """
    state = system.first()
    done = Followed([], [state], [])

    def take(step: Callable[[], Stepped]) -> bool:
        nonlocal state
        state, undo, transition = step()
        done.path.append(transition)
        done.states.append(state)
        done.undo.append(undo)
        return see(state, done.path)

    for number, pick in enumerate(picks):
        if pick == LOOP:
            done.loop_at = len(done.path)
            continue
        step = step_of(system, state, pick)
        if step is None:
            if strict:
                rewind(system, done)
                raise ReplayDiverged(
                    f"schedule: pick {number}, {pick.kind} {pick.number:#x}: cannot be taken"
                )
        elif take(step):
            return done
    last = done.path[-1].pick.number if done.path and done.path[-1].pick.kind == "run" else 0
    tried: dict[GlobalState, int] = {}  # the CPUs that have gone on from there, as bits
    counting = since = 0  # CPUs that count further than this goes, as bits, until others have moved; when
    while to_the_end and done.loop_at < 0 and len(done.path) < _STEPS_MAX:
        moves = EnabledSet(system, state, 0, False)
        if not moves.enabled:
            break
        taken = tried.setdefault(state, 0)
        can = moves.enabled & ~taken  # who has gone on from here before goes round
        if can and not can & ~counting and len(done.path) > since:
            counting = 0
        can &= ~counting
        if not can:
            break
        if last >= moves.actors or not can >> last & 1:
            last = (can & -can).bit_length() - 1
        tried[state] = taken | 1 << last
        if take(moves.options(last)[-1]):
            break
        counts = not len(done.path) % LOOK_EVERY and last < len(state.locals)
        if counts and system.counts_on(state, last, _STEPS_MAX):
            counting, since = counting | 1 << last, len(done.path)
    return done


def rewind(system: TransitionSystem, done: Followed) -> None:
    """Put memory back to the start."""
    for undo in reversed(done.undo):
        system.undo(undo)


def preemptions(system: TransitionSystem, done: Followed) -> int:
    """Return how often a CPU was left although it could go on."""
    count, last = 0, -1
    for state, transition in zip(done.states, done.path, strict=False):
        kind, cpu = transition.pick
        if kind != "run":
            continue
        if last not in (-1, cpu) and system.can_step(state, last):
            count += 1
        last = cpu
    return count


# Takes picks, then goes on to the end; when that shows what it is to show, gives (preemptions, steps) and the
# picks that were taken.
Attempt = Callable[[Sequence[Pick]], "tuple[tuple[int, int], tuple[Pick, ...]] | None"]


def minimise(picks: Sequence[Pick], attempt: Attempt) -> tuple[Pick, ...]:
    """Return the shortest schedule that could be made of ``picks`` and that still shows the same.

    Runs of one CPU are joined, and picks that change nothing are left out, as long as that makes it shorter.
    """
    first = attempt(picks)
    if first is None:
        return tuple(picks)
    cost, best = first
    trials, improved = 0, True
    while improved and trials < _TRIALS_MAX:
        improved = False
        for candidate in _candidates(best):
            trials += 1
            made = attempt(candidate) if trials <= _TRIALS_MAX else None
            if made is not None and made[0] < cost:
                cost, best = made
                improved = True
                break
    return best


def _candidates(picks: Sequence[Pick]) -> Iterable[list[Pick]]:
    blocks = [list(group) for _, group in groupby(picks)]
    for index in range(len(blocks)):  # the rest follows by itself
        yield [pick for block in blocks[:index] for pick in block]
    for index, block in enumerate(blocks):  # left out
        if block[0].kind != "run":
            yield [pick for other in blocks[:index] + blocks[index + 1 :] for pick in other]
    for index, block in enumerate(blocks):  # done together with the next ones of that CPU, or with the last
        for other in range(index + 1, len(blocks)):
            if blocks[other][0] == block[0]:
                middle = blocks[index + 1 : other]
                ahead = [*blocks[:index], block, blocks[other], *middle, *blocks[other + 1 :]]
                behind = [*blocks[:index], *middle, block, blocks[other], *blocks[other + 1 :]]
                yield [pick for each in ahead for pick in each]
                yield [pick for each in behind for pick in each]
                break
