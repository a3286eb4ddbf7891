"""PL011: the UART of Arm's boards and of QEMU's virt; each line that it sends goes to the log.

What its board receives comes in while a receive interrupt is enabled: characters that come before a driver
has set the UART up would be lost, for a driver empties the FIFO first.

Source: Arm DDI 0183, PrimeCell UART (PL011), chapter 3.

MODEL: a character is sent at once, whatever the baud rate, and also while UARTCR.UARTEN is clear; the next
one is received when the one before has been read; there are no errors, and no break; DMA does nothing.
"""

from __future__ import annotations

from typing import Any

from emu.devices.protocol import NO_CPU, Board, Device

NAME = "pl011"
REGION_BYTES = 0x1000

_DR, _RSR, _FR, _CR, _IMSC, _RIS, _MIS, _ICR = 0x00, 0x04, 0x18, 0x30, 0x38, 0x3C, 0x40, 0x44
# Registers that keep what is stored to them: offset to the bits there are. ILPR, IBRD, FBRD, LCR_H, CR, IFLS,
# IMSC, DMACR.
_KEPT = {
    0x20: 0xFF,
    0x24: 0xFFFF,
    0x28: 0x3F,
    0x2C: 0xFF,
    _CR: 0xFFFF,
    0x34: 0x3F,
    _IMSC: 0x7FF,
    0x48: 0x7,
}
_RESET = {_CR: 0x300, 0x34: 0x12}  # TXE and RXE; both FIFO levels one half
_IDS = (0x11, 0x10, 0x34, 0x00, 0x0D, 0xF0, 0x05, 0xB1)  # UARTPeriphID0..3 (r1p5), UARTPCellID0..3
_IDS_AT = 0xFE0
_TXFE, _RXFE = 1 << 7, 1 << 4  # of UARTFR
_RXIS, _TXIS, _RTIS = 1 << 4, 1 << 5, 1 << 6
_RECEIVES = _RXIS | _RTIS
_UARTEN, _RXE = 1 << 0, 1 << 9
_LINE_MAX = 1024  # characters; a longer line comes out in pieces


class Pl011:
    """The UART; line 0 is UARTINTR."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._registers = {offset: _RESET.get(offset, 0) for offset in _KEPT}
        self._raw = 0  # UARTRIS, but for what is received
        self._line = bytearray()
        self._high = False
        self._read = 0  # characters that were received and read

    def load(self, cpu: int, offset: int, size: int, now: int) -> int:
        """Return a register; what is no register reads as 0."""
        word = self._word(offset & ~3)
        if offset == _DR and self._has_come:
            self._read += 1
            self._signal()
        return word >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def _word(self, offset: int) -> int:
        if offset in self._registers:
            return self._registers[offset]
        if offset >= _IDS_AT:
            return _IDS[(offset - _IDS_AT) // 4]
        if offset == _RIS:
            return self._pending
        if offset == _MIS:
            return self._pending & self._registers[_IMSC]
        if offset == _DR:
            return self._board.receives[self._read] if self._has_come else 0
        return _TXFE | _RXFE * (not self._has_come) if offset == _FR else 0

    @property
    def _listens(self) -> bool:
        on = self._registers[_CR] & (_UARTEN | _RXE) == _UARTEN | _RXE
        return bool(on and self._registers[_IMSC] & _RECEIVES)

    @property
    def _has_come(self) -> bool:
        # Whether a character can be read.
        return self._listens and self._read < len(self._board.receives)

    @property
    def waits(self) -> bool:
        """Whether a driver listens and has read all that has come."""
        return self._listens and self._read >= len(self._board.receives)

    def receive(self) -> None:
        """Take notice that more has come."""
        self._signal()

    @property
    def _pending(self) -> int:
        # UARTRIS.
        return self._raw | _RECEIVES * self._has_come

    def store(self, cpu: int, offset: int, size: int, value: int, now: int) -> None:
        """Store to a register; UARTDR sends a character."""
        if offset == _DR:
            self._send(value & 0xFF)
        elif offset == _ICR:
            self._raw &= ~value
        elif offset in _KEPT:
            self._registers[offset] = value & _KEPT[offset]
        self._signal()

    def _send(self, character: int) -> None:
        self._raw |= _TXIS  # the FIFO is empty again
        if character == ord("\n") or len(self._line) >= _LINE_MAX:
            self._board.console(self._line.decode(errors="backslashreplace").rstrip("\r"))
            self._line.clear()
        if character != ord("\n"):
            self._line.append(character)

    def tick(self, now: int) -> int | None:
        """Return None: nothing takes time."""
        return None

    def state(self) -> Any:
        """Return the registers, and the line that is not ended yet."""
        return dict(self._registers), self._raw, bytes(self._line), self._high, self._read

    def set_state(self, state: Any) -> None:
        """Restore what :meth:`state` returned."""
        registers, self._raw, line, self._high, self._read = state
        self._registers, self._line = dict(registers), bytearray(line)

    def _signal(self) -> None:
        # UARTINTR is high while an interrupt is pending that UARTIMSC lets through.
        high = bool(self._pending & self._registers[_IMSC])
        if high != self._high:
            self._high = high
            self._board.signal(0, NO_CPU, high)


def device(board: Board) -> Device:
    """Return a PL011 in its reset state."""
    return Pl011(board)
