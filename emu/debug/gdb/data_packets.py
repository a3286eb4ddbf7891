"""The packets of gdb's remote protocol that read and write registers and memory of the selected CPU.

Source: Debugging with GDB, appendix E (GDB Remote Serial Protocol).
"""

from __future__ import annotations

from collections.abc import Callable

from emu.arch.sysreg import Encoding
from emu.cpu.sysregs.rows import TABLE
from emu.debug.edits import PC
from emu.debug.gdb import registers
from emu.debug.gdb.fields import parse_hex, parse_pair
from emu.debug.gdb.packets import PACKET_MAX
from emu.debug.session import Session
from emu.debug.system_registers import ROWS
from emu.debug.writing import write_memory

OK, ERROR = b"OK", b"E01"
_UNAVAILABLE = b"x" * 16


class DataPackets:
    """Answers g, G, p, P, m, M and X of one session.

    :param cpu: returns the CPU that gdb has selected
    :param pc: returns what gdb is told instead of the PC of a CPU, or None
    """

    def __init__(
        self, session: Session, cpu: Callable[[], int], pc: Callable[[int], int | None] = lambda _: None
    ) -> None:
        self.session = session
        self._cpu = cpu
        self._pc = pc

    def read_registers(self, _text: str) -> list[bytes]:
        """Return all core registers (g)."""
        session, cpu = self.session, self._cpu()
        core = registers.core(session.pe(cpu), self._pc(cpu))
        return [core.hex().encode() if session.has_registers(cpu) else registers.CORE_OF_NONE]

    def write_registers(self, text: str) -> list[bytes]:
        """Set all core registers (G)."""
        data = bytes.fromhex(text)
        for number in range(registers.CPSR):
            part = data[8 * number : 8 * number + 8]
            made = registers.edit(self._cpu(), number, part)
            if made is not None and part != self._read(number):
                self.session.edit(made)
        return [OK]

    def read_register(self, text: str) -> list[bytes]:
        """Return one register (p); of a system register that the CPU has not, that it is unavailable."""
        number, session = parse_hex(text), self.session
        if registers.FIRST_SYSTEM <= number < registers.COUNT:
            value = session.system.value_or_none(self._cpu(), ROWS[number - registers.FIRST_SYSTEM].name)
            return [_UNAVAILABLE if value is None else value.to_bytes(8, "little").hex().encode()]
        data = self._read(number)
        if data is None:
            return [ERROR]
        if session.has_registers(self._cpu()) or parse_hex(text) == PC:
            return [data.hex().encode()]
        return [b"xx" * len(data)]

    def _read(self, number: int) -> bytes | None:
        cpu = self._cpu()
        return registers.read(self.session.pe(cpu), number, self._pc(cpu))

    def write_register(self, text: str) -> list[bytes]:
        """Set one register (P)."""
        number, _, value = text.partition("=")
        made = registers.edit(self._cpu(), parse_hex(number), bytes.fromhex(value))
        if made is None or (made.system is not None and not self._has(made.system)):
            return [ERROR]
        self.session.edit(made)
        return [OK]

    def _has(self, encoding: Encoding) -> bool:
        return self.session.system.value_or_none(self._cpu(), TABLE[encoding].name) is not None

    def read_memory(self, text: str) -> list[bytes]:
        """Return memory as the CPU sees it (m)."""
        address, size = parse_pair(text)
        data = self.session.loads.load(self._cpu(), address, min(size, PACKET_MAX // 2 - 8))
        return [data.hex().encode() if data or not size else ERROR]

    def write_memory(self, text: str) -> list[bytes]:
        """Set memory (M)."""
        where, _, data = text.partition(":")
        address, size = parse_pair(where)
        return self._write(address, size, bytes.fromhex(data))

    def write_binary(self, packet: bytes) -> list[bytes]:
        """Set memory, from binary data (X)."""
        where, _, data = packet[1:].partition(b":")
        try:
            address, size = parse_pair(where.decode("latin-1"))
        except ValueError:
            return [ERROR]
        return self._write(address, size, data)

    def _write(self, address: int, size: int, data: bytes) -> list[bytes]:
        fits = len(data) == size and write_memory(self.session, self._cpu(), address, data)
        return [OK if fits else ERROR]
