"""Rows of the performance monitors: counters that there are, enabled or not, and none that counts events.

The engine keeps the registers. It takes the number of counters from PMCR_EL0.N, and forgets that masks of
counters have 32 bits.

:source: Arm DDI 0487, D13 (PMU), D24.5
"""

from __future__ import annotations

from emu.arch import sysreg
from emu.arch.sysreg import Encoding
from emu.cpu.interconnect import Interconnect
from emu.cpu.pe import PE
from emu.cpu.sysregs.row import Row, Trap

_CR, _ER = 4, 8  # of PMUSERENR_EL0
_N, _N_SHIFT = 0x1F << 11, 11  # of PMCR_EL0
_HPMN = 0x1F  # of MDCR_EL2
_U32 = 2**32 - 1
_TPM = (Trap(sysreg.MDCR_EL2, 6),)
_OF_EL0 = (Trap(sysreg.PMUSERENR_EL0, 0, below=1, when=0), *_TPM)
# Of EL0's, PMUSERENR_EL0.ER lets event counters be read and selected, and CR the cycle counter.
_COUNTER_OF_EL0 = (
    Trap(sysreg.PMUSERENR_EL0, 0, writes=False, below=1, when=0, unless=_ER),
    Trap(sysreg.PMUSERENR_EL0, 0, reads=False, below=1, when=0),
    *_TPM,
)
_SELECTION_OF_EL0 = (Trap(sysreg.PMUSERENR_EL0, 0, below=1, when=0, unless=_ER), *_TPM)
_CYCLES_OF_EL0 = (
    Trap(sysreg.PMUSERENR_EL0, 0, writes=False, below=1, when=0, unless=_CR),
    Trap(sysreg.PMUSERENR_EL0, 0, reads=False, below=1, when=0),
    *_TPM,
)
_PMXEVTYPER, _PMXEVCNTR = (3, 3, 9, 13, 1), (3, 3, 9, 13, 2)
_SOURCE = "Arm DDI 0487, D13 (PMU)"


def counters(pmcr: int) -> int:
    """Return the number of event counters that PMCR_EL0 says."""
    return (pmcr & _N) >> _N_SHIFT


def _control(pe: PE, _: Interconnect) -> int:
    # Below EL2 there are as many counters as EL2 leaves: MDCR_EL2.HPMN.
    pmcr = pe.system_register(sysreg.PMCR_EL0)
    if pe.el < 2:
        pmcr = pmcr & ~_N | (pe.system_register(sysreg.MDCR_EL2) & _HPMN) << _N_SHIFT
    return pmcr


def _cycles(pe: PE, interconnect: Interconnect) -> int:
    # MODEL: the cycle counter goes on with simulated time, as the generic counter does, enabled or not.
    return interconnect.counter(pe)


def _cycles_now(pe: PE, interconnect: Interconnect) -> int:
    return interconnect.counter_now(pe)


def _of_32_bits(name: str, encoding: Encoding, level: int = 0) -> Row:
    # A mask of counters; to write it sets or clears bits.
    def read(pe: PE, _: Interconnect) -> int:
        return pe.system_register(encoding) & _U32

    return Row(
        name, encoding, None, level, level, read=read, traps=_TPM if level else _OF_EL0, source=_SOURCE
    )


def _counter(name: str, encoding: Encoding) -> Row:
    # An event counter, of 32 bits before FEAT_PMUv3p5.
    def read(pe: PE, _: Interconnect) -> int:
        return pe.system_register(encoding) & _U32

    return Row(name, encoding, None, 0, 0, read=read, traps=_COUNTER_OF_EL0, source=_SOURCE)


def _selected(name: str, encoding: Encoding, number: int, through: Encoding, traps: tuple[Trap, ...]) -> Row:
    # A register of a counter whose number the engine has no name for: it has it when PMSELR_EL0 says so.
    def get(pe: PE) -> int:
        selected = pe.system_register(sysreg.PMSELR_EL0)
        pe.set_system_register(sysreg.PMSELR_EL0, number)
        value = pe.system_register(through) & _U32
        pe.set_system_register(sysreg.PMSELR_EL0, selected)
        return value

    def write(pe: PE, _: Interconnect, value: int) -> None:
        selected = pe.system_register(sysreg.PMSELR_EL0)
        pe.set_system_register(sysreg.PMSELR_EL0, number)
        pe.set_system_register(through, value)
        pe.set_system_register(sysreg.PMSELR_EL0, selected)

    return Row(
        name,
        encoding,
        None,
        0,
        0,
        read=lambda pe, _: get(pe),
        write=write,
        value=get,
        traps=traps,
        by_host=True,
        source=_SOURCE,
    )


ROWS = [
    Row("PMUSERENR_EL0", sysreg.PMUSERENR_EL0, None, 0, 1, traps=_TPM, source=_SOURCE),
    Row("PMCR_EL0", sysreg.PMCR_EL0, None, 0, 0, read=_control, traps=_OF_EL0, source=_SOURCE),
    _of_32_bits("PMCNTENSET_EL0", (3, 3, 9, 12, 1)),
    _of_32_bits("PMCNTENCLR_EL0", (3, 3, 9, 12, 2)),
    _of_32_bits("PMOVSCLR_EL0", (3, 3, 9, 12, 3)),
    _of_32_bits("PMOVSSET_EL0", (3, 3, 9, 14, 3)),
    _of_32_bits("PMINTENSET_EL1", (3, 0, 9, 14, 1), 1),
    _of_32_bits("PMINTENCLR_EL1", (3, 0, 9, 14, 2), 1),
    Row("PMSELR_EL0", sysreg.PMSELR_EL0, None, 0, 0, traps=_SELECTION_OF_EL0, source=_SOURCE),
    Row("PMCEID0_EL0", (3, 3, 9, 12, 6), None, 0, None, traps=_OF_EL0, source=_SOURCE),
    Row("PMCEID1_EL0", (3, 3, 9, 12, 7), None, 0, None, traps=_OF_EL0, source=_SOURCE),
    Row(
        "PMCCNTR_EL0",
        (3, 3, 9, 13, 0),
        None,
        0,
        0,
        read=_cycles,
        look=_cycles_now,
        traps=_CYCLES_OF_EL0,
        source=_SOURCE,
    ),
    _counter("PMXEVCNTR_EL0", _PMXEVCNTR),
    *(_counter(f"PMEVCNTR{number}_EL0", (3, 3, 14, 8, number)) for number in range(4)),
    *(
        _selected(f"PMEVCNTR{number}_EL0", (3, 3, 14, 8, number), number, _PMXEVCNTR, _COUNTER_OF_EL0)
        for number in (4, 5)
    ),
    *(
        _selected(f"PMEVTYPER{number}_EL0", (3, 3, 14, 12, number), number, _PMXEVTYPER, _OF_EL0)
        for number in (4, 5)
    ),
]
