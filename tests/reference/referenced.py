"""A program on QEMU: many in one process."""

from __future__ import annotations

from reference.drawn import Program
from reference.outcome import END, Entry, Outcome, read_log
from reference.qemu import Qemu
from reference.world import (
    CODE,
    DATA,
    DATA_SIZE,
    ENTRY_SIZE,
    LOG,
    LOG_ENTRIES,
    VECTORS_EL1,
    data,
    tables,
    vectors,
)
from reference.world import END as END_VA

_ISV_AND_MORE = 0x7FF << 14
# PSTATE of Armv8.0: NZCV, SS, IL, DAIF, M. Later CPUs of QEMU have more (SSBS), which emu's has not.
_PSTATE = 0xF << 28 | 3 << 20 | 0xF << 6 | 0x1F
HANGS = "does not end"


def _architectural(entry: Entry) -> Entry:
    # QEMU 7.2 fills in ISV and what it makes valid for every data abort that EL2 takes. Arm DDI 0487, ISS of
    # a data abort in ESR_ELx: ISV is 0 for all faults but those of stage 2, which come from a lower level.
    esr = entry.esr
    if esr >> 26 == 0x25:
        esr &= ~_ISV_AND_MORE
    # It takes Op1 for Op2 in the syndrome of an MSR (immediate) to DAIF that traps: both are as in the word.
    if esr >> 26 == 0x18 and not esr >> 20 & 3:
        op2, op1 = esr >> 17 & 7, esr >> 14 & 7
        if (op2, op1) in ((3, 6), (3, 7)):
            esr = esr & ~(0x3F << 14) | op1 << 17 | op2 << 14
    # Where a handler's own accesses are trapped the words of two entries are mixed: that is no SPSR then.
    is_whole = bool(esr >> 25 & 1)
    return entry._replace(esr=esr, spsr=entry.spsr & _PSTATE if is_whole else entry.spsr)


class Reference:
    """Programs on one QEMU, each from the reset state."""

    def __init__(self, qemu: Qemu) -> None:
        self._qemu = qemu
        qemu.write(VECTORS_EL1, vectors())
        qemu.break_at(END_VA)

    def run(self, program: Program, code: bytes) -> Outcome:
        """Run ``program`` to its end; one that does not get there is interrupted."""
        qemu = self._qemu
        qemu.reset()
        for region in (*tables(), *data()):
            qemu.write(region.pa, region.data)
        qemu.write_code(CODE, code)
        registers = qemu.general()
        x = list(program.x)
        x[26], x[28] = 0, LOG
        qemu.set_general(registers._replace(x=tuple(x), pc=CODE))
        ending = END if qemu.go() else HANGS
        after = qemu.general()
        return Outcome(
            ending,
            (*after.x, after.sp, after.pc),
            after.pstate & _PSTATE,
            tuple(map(_architectural, read_log(qemu.read(LOG, LOG_ENTRIES * ENTRY_SIZE)))),
            qemu.read(DATA, DATA_SIZE),
        )
