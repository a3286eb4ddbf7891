"""Exploration: every order of operations of a case, and everything that its memory model may do.

What an actor does next depends on what it has observed, and on nothing else. So each of its steps runs once,
on the machine (:mod:`emu.explore.thread_stepper`), and is kept as an edge of a graph of local states
(:mod:`emu.explore.local_state`); from then on the step is a look-up. The transition system
(:mod:`emu.explore.transition_system`) takes steps on global states: the local states of all actors, and what
they share. The search (:mod:`emu.explore.search`) visits the global states. A finding is replayed on the
machine.
"""

from emu.explore.api import Exploration, explore

__all__ = ["Exploration", "explore"]
