"""Where a CPU of a kernel gives up: panic(), and the functions that end in it after pages of text.

Source: Linux v6.12 kernel/panic.c, arch/arm64/kernel/traps.c, arch/arm64/mm/fault.c. Before it has come to
user space a CPU runs the idle task or init: die() ends in panic().
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from emu.cpu.pe import PE
from emu.host.guest import Guest
from emu.host.printk import printk_message, read_string, report_of, report_of_panic
from emu.machine import Machine
from emu.operation import Report, Reported
from emu.outcome import End, Outcome

_PT_REGS_PC = 8 * 32  # arch/arm64/include/asm/ptrace.h, struct pt_regs: regs[31], sp, pc


class _Fatal(NamedTuple):
    # A function that never returns: number of its argument `regs`, and what it logs first.
    regs: int
    line: Callable[[PE, Callable[[int], str]], str]


_FATAL = {
    "die": _Fatal(1, lambda pe, text: f"Internal error: {text(pe.x[0])}: {pe.x[2]:016x}"),
    "die_kernel_fault": _Fatal(
        3, lambda pe, text: f"Unable to handle kernel {text(pe.x[0])} at virtual address {pe.x[1]:016x}"
    ),
    "panic_bad_stack": _Fatal(0, lambda pe, text: "Insufficient stack space to handle exception!"),
    "__panic_unhandled": _Fatal(
        0,
        lambda pe, text: (
            f"Unhandled {text(pe.x[1])} exception on CPU{pe.index}, ESR 0x{pe.x[2] & 2**64 - 1:016x}"
        ),
    ),
}


def end_where_it_gives_up(machine: Machine, guest: Guest) -> None:
    """End a CPU that comes to panic() where that was called: what follows is a delay without end.

    One that comes to an oops, or to an exception that nothing handles, ends where it was when it took that
    exception. What such a function prints and looks at until panic() is some 100,000 operations, of which an
    exploration tries every order.

    MODEL: with a device the kernel prints all of it, for its text may be what a test reads.
    """
    symbols = guest.subject.symbols
    panic = symbols.address("panic")
    if not machine.landings.return_va or panic is None:
        return
    machine.landings.intercept(panic, partial(_panic, machine, guest))
    if machine.devices:
        return
    for name, fatal in _FATAL.items():
        va = symbols.address(name)
        if va is not None:
            machine.landings.intercept(va, partial(_give_up, machine, guest, fatal))


def _panic(machine: Machine, guest: Guest, cpu: int) -> None:
    message = printk_message(machine, guest, cpu)
    machine.log(f"Kernel panic - not syncing: {message}", report_of_panic(message))
    pe = machine.actors[cpu].pe
    pe.pc = pe.x[30]
    machine.end(cpu, Outcome(End.PANIC))


def _give_up(machine: Machine, guest: Guest, fatal: _Fatal, cpu: int) -> None:
    pe = machine.actors[cpu].pe
    line = fatal.line(pe, partial(read_string, machine, guest))
    pc_pa = pe.translate(pe.x[fatal.regs] + _PT_REGS_PC)
    machine.log(line, report_of(line) or Reported(Report.PANIC))
    pe.pc = pe.x[30] if pc_pa is None else machine.memory.read(pc_pa, 8)
    machine.end(cpu, Outcome(End.PANIC))
