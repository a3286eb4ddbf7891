"""Rows of self-hosted debug: the communication channel, claim tags, and the locks that save and restore use.

The engine knows channel and tags not at all. What they hold is kept in the state of each PE
(:data:`emu.cpu.unicorn.layout.KEPT`).

MODEL: no external debugger is connected. DBGEN and its likes are low, which DBGAUTHSTATUS_EL1 tells, and
nobody takes what is sent: DBGDTRTX_EL0 stays full once it was written. What is UNKNOWN while the channel
is empty reads as what was there last.

:source: Arm DDI 0487, H4 (Debug communication channel), D24.3
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.interconnect import Interconnect
from emu.cpu.pe import PE, own_register
from emu.cpu.sysregs.row import Row, Trap, Writer

_SOURCE = "Arm DDI 0487, D24.3"
_MDCR, _MDSCR = sysreg.MDCR_EL2, sysreg.MDSCR_EL1
_TDOSA = (Trap(_MDCR, 8), Trap(_MDCR, 10))  # TDE, TDOSA
_TDA = (Trap(_MDCR, 8), Trap(_MDCR, 9))  # TDE, TDA
_TDCC = (Trap(_MDSCR, 12, below=1), *_TDA)
_U32 = 2**32 - 1
_RXFULL, _TXFULL = 1 << 30, 1 << 29  # of MDSCR_EL1
# Of MDSCR_EL1, what is EDSCR's: RXfull, TXfull, RXO, TXU, INTdis, TDA, HDE, ERR.
_EDSCR = _RXFULL | _TXFULL | 3 << 26 | 7 << 21 | 1 << 14 | 1 << 6
_OSLK = 1 << 1  # of OSLSR_EL1
_CLAIM_TAGS = 0xFF
_CATCH = 0x6A  # of EDECCR: NSE of EL2 and EL1, SE of EL3 and EL1; from Armv8.2 on NSR and SR above
_DEBUG_V8_2 = 8  # of ID_AA64DFR0_EL1.DebugVer
_ALL_DISABLED = 0xAA  # SNID, SID, NSNID, NSID: implemented and disabled


def _is_locked(pe: PE) -> bool:
    return bool(pe.system_register(sysreg.OSLSR_EL1) & _OSLK)


def _write_mdscr(pe: PE, _: Interconnect, value: int) -> None:
    if not _is_locked(pe):
        value = value & ~_EDSCR | pe.system_register(_MDSCR) & _EDSCR
    pe.set_system_register(_MDSCR, value & _U32)


def _receive(pe: PE, _: Interconnect) -> int:
    received = _received(pe)
    pe.set_system_register(_MDSCR, pe.system_register(_MDSCR) & ~_RXFULL)
    return received


def _send(pe: PE, _: Interconnect, value: int) -> None:
    pe.set_system_register(sysreg.OSDTRTX_EL1, value & _U32)
    pe.set_system_register(_MDSCR, pe.system_register(_MDSCR) | _TXFULL)


def _received(pe: PE) -> int:
    return pe.system_register(sysreg.OSDTRRX_EL1)


def _both(pe: PE) -> int:
    # In the other order than that in which they are written.
    return pe.system_register(sysreg.OSDTRTX_EL1) << 32 | _received(pe)


def _receive_both(pe: PE, interconnect: Interconnect) -> int:
    both = _both(pe)
    _receive(pe, interconnect)
    return both


def _send_both(pe: PE, interconnect: Interconnect, value: int) -> None:
    pe.set_system_register(sysreg.OSDTRRX_EL1, value >> 32)
    _send(pe, interconnect, value)


def _catch_control(pe: PE) -> int:
    return pe.system_register(sysreg.OSECCR_EL1) if _is_locked(pe) else 0


def _write_catch_control(pe: PE, _: Interconnect, value: int) -> None:
    version = (own_register(pe, sysreg.ID_AA64DFR0_EL1) or 0) & 15
    bits = _CATCH << 8 | _CATCH if version >= _DEBUG_V8_2 else _CATCH
    if _is_locked(pe):
        pe.set_system_register(sysreg.OSECCR_EL1, value & bits)


def _tags(pe: PE) -> int:
    return pe.system_register(sysreg.DBGCLAIMCLR_EL1)


def _set_tags(pe: PE, _: Interconnect, value: int) -> None:
    pe.set_system_register(sysreg.DBGCLAIMCLR_EL1, _tags(pe) | value & _CLAIM_TAGS)


def _clear_tags(pe: PE, _: Interconnect, value: int) -> None:
    pe.set_system_register(sysreg.DBGCLAIMCLR_EL1, _tags(pe) & ~value)


def _row(
    name: str,
    encoding: Encoding,
    value: Callable[[PE], int],
    write: Writer | None = None,
    *,
    traps: tuple[Trap, ...] = _TDA,
    level: int = 1,
) -> Row:
    # A register that the engine does not know; to read it has no effect.
    return Row(
        name,
        encoding,
        None,
        level,
        None if write is None else level,
        read=lambda pe, _: value(pe),
        write=write,
        value=value,
        traps=traps,
        by_host=True,
        source=_SOURCE,
    )


def _kept(name: str, encoding: Encoding, bits: int, traps: tuple[Trap, ...] = _TDA) -> Row:
    # One that does no more than to hold these bits.
    def write(pe: PE, _: Interconnect, value: int) -> None:
        pe.set_system_register(encoding, value & bits)

    return _row(name, encoding, lambda pe: pe.system_register(encoding), write, traps=traps)


ROWS = [
    Row("MDSCR_EL1", _MDSCR, write=_write_mdscr, traps=_TDA, source=_SOURCE),
    Row("OSLSR_EL1", sysreg.OSLSR_EL1, write_el=None, traps=_TDOSA, source=_SOURCE),
    _kept("OSDLR_EL1", sysreg.OSDLR_EL1, 1, _TDOSA),  # DLK: each of these cores has FEAT_DoubleLock
    _row(
        "MDCCSR_EL0",
        (2, 3, 0, 1, 0),
        lambda pe: pe.system_register(_MDSCR) & (_RXFULL | _TXFULL),
        traps=_TDCC,
        level=0,
    ),
    replace(_row("DBGDTR_EL0", (2, 3, 0, 4, 0), _both, _send_both, traps=_TDCC, level=0), read=_receive_both),
    # By a write DBGDTRTX_EL0.
    replace(_row("DBGDTRRX_EL0", (2, 3, 0, 5, 0), _received, _send, traps=_TDCC, level=0), read=_receive),
    _kept("OSDTRRX_EL1", sysreg.OSDTRRX_EL1, _U32),
    _kept("OSDTRTX_EL1", sysreg.OSDTRTX_EL1, _U32),
    _row("OSECCR_EL1", sysreg.OSECCR_EL1, _catch_control, _write_catch_control),
    _kept("DBGPRCR_EL1", sysreg.DBGPRCR_EL1, 1, _TDOSA),  # CORENPDRQ
    _row("DBGCLAIMSET_EL1", (2, 0, 7, 8, 6), lambda pe: _CLAIM_TAGS, _set_tags),
    _row("DBGCLAIMCLR_EL1", sysreg.DBGCLAIMCLR_EL1, _tags, _clear_tags),
    _row("DBGAUTHSTATUS_EL1", (2, 0, 7, 14, 6), lambda pe: _ALL_DISABLED),
]
