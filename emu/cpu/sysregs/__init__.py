"""System registers as a table: one row each, from which engine, traps to come, debugger and gdb read.

:mod:`emu.cpu.sysregs.row` says what a row has, :mod:`emu.cpu.sysregs.rows` is the table, and
:mod:`emu.cpu.sysregs.access` is what MRS and MSR make of it.
"""
