"""What the engine raised, as a stop: the syndrome that it leaves, and the aborts that it does not know."""

from __future__ import annotations

from emu.arch import a64, sysreg
from emu.arch.a64 import Class
from emu.arch.operand import writes_back
from emu.cpu.cores import gicv3
from emu.cpu.faulting_address import va_of
from emu.cpu.pe import PE
from emu.cpu.stops import Call, Raised, Stop, Unsupported
from emu.cpu.sysregs import access as sysregs
from emu.cpu.translation import Fault, FaultClass, walk
from emu.cpu.traps import default_target_el
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.pending import EngineException
from emu.memory import Memory

_EC_ABORT_OR_PC = (0x20, 0x21, 0x22, 0x24, 0x25)
_EC_ABORT = (0x20, 0x21, 0x24, 0x25)
_EXTERNAL_ABORT, _ALIGNMENT_FAULT = 0x10, 0x21
_ISV_AND_ACCESS = 0x7FF << 14  # ISV, SAS, SSE, SRT, SF, AR
_EXCP_SWI, _EXCP_HVC, _EXCP_SMC = 2, 11, 13  # the PC is behind the instruction
_WRITES = (7, 12)  # UC_ERR_WRITE_UNMAPPED, UC_ERR_WRITE_PROT
FETCHES = (8, 14)  # UC_ERR_FETCH_UNMAPPED, UC_ERR_FETCH_PROT
# UC_ERR_*_UNMAPPED and UC_ERR_*_PROT to EC of the external abort.
ABORTS = {6: 0x25, 7: 0x25, 8: 0x21, 12: 0x25, 13: 0x25, 14: 0x21}


def misaligned(pe: PE, pc: int) -> Stop:
    """Return what ``pe`` stops with when its PC (VA) is not a multiple of 4."""
    return Raised(0x22 << 26 | 1 << 25, pc, default_target_el(pe), pc)


def raised(contexts: Contexts, pe: UnicornPE, exception: EngineException, memory: Memory) -> Stop:
    """Return what the engine's exception is to ``pe``, which is loaded; it is not counted as retired."""
    number, syndrome, far, target = exception
    target = max(target, 1)
    pc, ec = pe.pc, syndrome >> 26
    if ec in (0x20, 0x21) and pc & 3:
        return misaligned(pe, pc)
    if number == _EXCP_SMC:
        return Call("smc", syndrome & 0xFFFF)
    if number == _EXCP_HVC:
        return Call("hvc", syndrome & 0xFFFF)
    if number != _EXCP_SWI and ec not in (0x20, 0x21):  # a failed fetch was never begun
        pe.counters.instructions -= 1  # it did not retire
    if ec == 0 and number == 1:
        unmodelled = _unmodelled_register(pe, contexts.code.word(pc) or 0)
        if unmodelled:
            return Unsupported(unmodelled, pc)
    if ec in _EC_ABORT and 0x04 <= syndrome & 0x3F < 0x10:
        syndrome = syndrome & ~0x3F | _status(pe, far, syndrome & 0x3F, memory)
    if ec in (0x24, 0x25):
        word = contexts.code.word(pc) or 0
        if _is_misaligned_exclusive(word, far):  # that comes before translation
            syndrome = syndrome & ~0x3F | _ALIGNMENT_FAULT
        if ec == 0x25 or target == 1 or pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_TGE or writes_back(word):
            syndrome &= ~_ISV_AND_ACCESS  # it is for aborts of stage 2
    if not syndrome:  # QEMU leaves it 0 for a few traps
        word = contexts.code.word(pc) or 0
        syndrome = _daif_trap(word) if pe.el == 0 and a64.is_msr_daif(word) else 1 << 25  # EC 0, IL
    return Raised(syndrome, far if ec in _EC_ABORT_OR_PC else None, target, pc)


def _is_misaligned_exclusive(word: int, va: int) -> bool:
    # Whether the address of an exclusive, LDAR or STLR is not a multiple of all that it accesses.
    if word & 0x3F00_0000 != 0x0800_0000:
        return False
    pair = not word >> 23 & 1 and word >> 21 & 1
    return bool(va & ((1 << (word >> 30)) * (2 if pair else 1) - 1))


def _daif_trap(word: int) -> int:
    # The syndrome of an MSR DAIFSet or DAIFClr that SCTLR_EL1.UMA does not allow: EC 0x18, Rt 31.
    op2, op1, crn, crm = word >> 5 & 7, word >> 16 & 7, word >> 12 & 15, word >> 8 & 15
    return 0x18 << 26 | 1 << 25 | op2 << 17 | op1 << 14 | crn << 10 | 31 << 5 | crm << 1


def _unmodelled_register(pe: UnicornPE, word: int) -> str | None:
    # What an MRS or MSR that the engine calls UNDEFINED accesses, if the core has that register all the same.
    if a64.classify(word) not in (Class.MRS, Class.MSR):
        return None
    encoding = a64.system_register(word)
    name = pe.core.unmodelled.get(encoding)
    if name is None and sysregs.has_gicv3(pe):
        name = gicv3.UNMODELLED.get(encoding)
    if name is None or pe.el < sysreg.lowest_el(encoding):
        return None
    verb = "read of" if word >> 21 & 1 else "write to"
    return f"{verb} {name} ({sysreg.generic_name(encoding)}), which {pe.core.name} has"


def external_abort(contexts: Contexts, pe: UnicornPE, error: int, fault_pa: int, memory: Memory) -> Stop:
    """Return the abort of an access to ``fault_pa``, that nothing answers; ``error``: UC_ERR_*."""
    is_store, far = error in _WRITES, pe.pc
    if error in FETCHES and far & 3:
        return misaligned(pe, far)
    if error not in FETCHES:
        word = contexts.code.word(pe.pc)
        assert word is not None, "it was executed"
        far = va_of(pe, word, pe.pc, fault_pa, is_store=is_store)
    status = _status(pe, far, _EXTERNAL_ABORT, memory)
    contexts.handle.flush_tlb()
    return Raised(ABORTS[error] << 26 | 1 << 25 | is_store << 6 | status, far, default_target_el(pe), pe.pc)


def _status(pe: UnicornPE, va: int, status: int, memory: Memory) -> int:
    # The fault status code of an abort that the engine says is `status`: it does not know two kinds.
    found = walk(pe, va, memory.u64)
    if isinstance(found, Fault) and found.kind is not FaultClass.TRANSLATION:
        return found.status
    return status
