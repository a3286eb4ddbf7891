"""The kick by the kernel's own functions, run on the boot CPU's PE, with its printk() in our log."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from emu.host.cpuhp import Core
from emu.host.enable_method import EnableMethod
from emu.host.guest import Guest
from emu.host.kick import KICK, Kick
from emu.host.oops import end_where_it_gives_up
from emu.host.printk import printk_message, report_of
from emu.machine import Machine
from emu.operation import GuestCall, Operation, Store

CLEANUP = "arch_cpuhp_cleanup_kick_cpu"


class KernelKick(Kick):
    """arch_cpuhp_kick_ap_alive() and arch_cpuhp_cleanup_kick_cpu() as the kernel has them."""

    def __init__(self, machine: Machine, guest: Guest, core: Core, method: EnableMethod) -> None:
        super().__init__(guest, core, method)
        symbols = guest.subject.symbols
        self._kick_va = guest.subject.va(KICK)
        self._cleanup_va = symbols.address(CLEANUP)
        printk = symbols.address("_printk")
        if printk is not None:
            machine.landings.intercept(printk, lambda cpu: self._printk(machine, cpu))

    def kick_ap_alive(self, cpu: int) -> Generator[Operation, Any, int]:
        """The function is the kernel's own."""
        return self.kick(cpu)

    def cleanup_kick_cpu(self, cpu: int, is_alive: bool) -> Generator[Operation, Any, None]:
        """The function is the kernel's own."""
        return self.cleanup(cpu, is_alive)

    def kick(self, cpu: int) -> Generator[Operation, Any, int]:
        """Let the kernel write its boot data and start the CPU."""
        yield Store(self.guest.data.done(cpu), 0, 4)
        result = yield GuestCall(self._kick_va, (cpu, self.guest.idle[cpu].task))
        value: int = result & 0xFFFF_FFFF
        return value - (1 << 32) if value >> 31 else value

    def cleanup(self, cpu: int, is_alive: bool) -> Generator[Operation, Any, None]:
        """Let the kernel read what the CPU has left behind."""
        yield from self.method.cpu_booted(cpu)
        if self._cleanup_va is not None:
            yield GuestCall(self._cleanup_va, (cpu, int(is_alive)))

    def _printk(self, machine: Machine, cpu: int) -> None:
        line = printk_message(machine, self.guest, cpu)
        machine.log(line, report_of(line))


def make_kick(machine: Machine, guest: Guest, core: Core, method: EnableMethod) -> Kick:
    """Return the kick of this guest: the kernel's own functions where it has them, else the host's."""
    end_where_it_gives_up(machine, guest)
    if machine.landings.return_va and guest.subject.symbols.address(KICK) is not None:
        return KernelKick(machine, guest, core, method)
    return Kick(guest, core, method)
