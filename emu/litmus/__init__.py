"""Litmus tests in herd's AArch64 format, run by the explorer: the final states that a memory model allows.

:mod:`emu.litmus.parser` reads a test (:mod:`emu.litmus.test`, :mod:`emu.litmus.condition`),
:mod:`emu.litmus.layout` places its variables and assembles its threads, :mod:`emu.litmus.run` explores it,
:mod:`emu.litmus.text` prints the result as herd does, and :mod:`emu.litmus.batch` runs
many.

:source: herdtools7, doc/litmus.tex and the tests that come with it
"""
