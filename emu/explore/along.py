"""The enabled sets of the states of one path, each made of the one before.

Whether an actor can step depends on its local state and, when it waits, on the words that it reads. So from
one state to the next only those are asked again that have moved, and those whose word has been stored to.
Asked in each state are CPUs where a loop may be, which look at whatever the loop looks at, and those that
wait for a word in a unit of the memory model.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import compress
from operator import is_not

from emu.explore.cells import Undo
from emu.explore.global_state import GlobalState, Transition
from emu.explore.local_state import LocalState
from emu.explore.reduction import EnabledSet, WhoCan
from emu.explore.transition_system import TransitionSystem
from emu.machine.actor import State
from emu.semantics.state import members


class Along:
    """Follows one path of ``system``. ``early_max`` and ``spurious`` are those of :class:`EnabledSet`.

    :ivar movable: the actors that can move in the state of the last :meth:`moves`, ascending
    """

    def __init__(self, system: TransitionSystem, early_max: int = 0, spurious: bool = False) -> None:
        self._system = system
        self._early_max, self._spurious = early_max, spurious
        self.movable: list[int] = []
        self._who = WhoCan()
        self._locals: tuple[LocalState, ...] = ()
        self._again = 0  # CPUs to ask in the next state, as bits
        self._always = 0  # and in every state
        self._waiting: dict[int, int] = {}  # by cell, the CPUs that wait for a word there
        self._cells: dict[int, tuple[int, ...]] = {}  # by CPU, the cells of the word that it waits for
        self._can_move = 0  # of the last state, as bits

    def took(self, transition: Transition, undo: Undo) -> None:
        """Take notice of a step."""
        for cpu, _ in transition.edges:
            self._again |= 1 << cpu
        for number, _ in undo:
            self._again |= self._waiting.get(number, 0)

    def moves(self, state: GlobalState) -> EnabledSet:
        """Return what can be done in ``state``, to which the steps led since the last call."""
        again = self._again | self._always
        if self._locals:
            changed = map(is_not, self._locals, state.locals)
            for cpu in compress(range(len(state.locals)), changed):  # by what another CPU has done
                again |= 1 << cpu
        else:
            again = self._system.all_cpus
        self._locals, self._again = state.locals, 0
        asked = members(again)
        self._who.forget(again)
        self._who.ask(state, self._system.can_step, asked)
        for cpu in asked:
            self._note(state.locals[cpu])
        moves = EnabledSet(self._system, state, self._early_max, self._spurious, who=self._who)
        can_move = moves.everybody & ~moves.turning
        for actor in members(can_move ^ self._can_move):
            if can_move >> actor & 1:
                insort(self.movable, actor)
            else:
                del self.movable[bisect_left(self.movable, actor)]
        self._can_move = can_move
        return moves

    def _note(self, local: LocalState) -> None:
        # What the answer about an actor depends on.
        cpu, action = local.cpu, local.action
        bit = 1 << cpu
        for number in self._cells.pop(cpu, ()):
            self._waiting[number] &= ~bit
        self._always &= ~bit
        if local.state is not State.RUNNABLE:
            return
        if action.waits and not action.followed:
            numbers = self._cells[cpu] = tuple(number for number, *_ in action.cells)
            for number in numbers:
                self._waiting[number] = self._waiting.get(number, 0) | bit
        elif action.waits or local.is_target:
            self._always |= bit
