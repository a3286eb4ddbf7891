"""A program on QEMU: many in one process."""

from __future__ import annotations

from reference.cores import Compared
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
HANGS = "does not end"


def _architectural(entry: Entry, core: Compared) -> Entry:
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
    if core.lacks_idst and _is_of_idst(entry):
        esr = 1 << 25
    # Where a handler's own accesses are trapped the words of two entries are mixed: that is no SPSR then.
    is_whole = bool(esr >> 25 & 1)
    return entry._replace(esr=esr, spsr=entry.spsr & core.pstate if is_whole else entry.spsr)


def _is_of_idst(entry: Entry) -> bool:
    # FEAT_IDST: an access to the ID space that is UNDEFINED has the syndrome of one that is trapped.
    esr = entry.esr
    op0, op2, op1, crn, crm = esr >> 20 & 3, esr >> 17 & 7, esr >> 14 & 7, esr >> 10 & 15, esr >> 1 & 15
    if esr >> 26 != 0x18 or (op0, crn) != (3, 0) or op1 not in (0, 1, 3) or crm > 7:
        return False
    from_el = entry.spsr >> 2 & 3
    if from_el == 0:
        return (op1, crm, op2) != (3, 0, 1)  # CTR_EL0, that SCTLR_EL1.UCT has trapped
    return entry.vector >> 12 == from_el


class Reference:
    """Programs on one QEMU, each from the reset state."""

    def __init__(self, qemu: Qemu, compared: Compared) -> None:
        self._qemu = qemu
        self._core = compared
        qemu.write(VECTORS_EL1, vectors())
        qemu.break_at(END_VA)

    def run(self, program: Program, code: bytes) -> Outcome:
        """Run ``program`` to its end; one that does not get there is interrupted."""
        qemu = self._qemu
        qemu.reset()
        for region in (*tables(), *data(), *program.setup.regions):
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
            after.pstate & self._core.pstate,
            tuple(
                _architectural(entry, self._core)
                for entry in read_log(qemu.read(LOG, LOG_ENTRIES * ENTRY_SIZE))
            ),
            qemu.read(DATA, DATA_SIZE),
        )
