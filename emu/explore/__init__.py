"""Exploration: every order of operations of a case, and everything that its memory model may do.

An actor does what it does because of what it has observed, and of nothing else. So its steps are run once, on
the machine (:mod:`emu.explore.rig`), and kept as a graph of places (:mod:`emu.explore.place`); from then on a
step is a look-up. The world (:mod:`emu.explore.world`) is where all actors stand and what they share; the
search (:mod:`emu.explore.search`) goes through its states. What it finds is replayed on the machine.
"""
