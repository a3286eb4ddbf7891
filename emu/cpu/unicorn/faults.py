"""What the engine raised, as a stop: the syndrome that it leaves, and the aborts that it does not know."""

from __future__ import annotations

from emu.arch import a64, sysreg
from emu.arch.a64 import Other
from emu.arch.operand import writes_back
from emu.constraints import UNALIGNED_EXCLUSIVE, UNALIGNED_ORDERED
from emu.cpu.cores import gicv3
from emu.cpu.exceptions import ALIGNMENT_FAULT, EXTERNAL_ABORT, abort_syndrome
from emu.cpu.faulting_address import va_of
from emu.cpu.pe import PE
from emu.cpu.stage2 import Stage2, is_on
from emu.cpu.stops import Call, ConstraintViolation, EngineStop, Raised, Unsupported
from emu.cpu.sysregs import access as sysregs
from emu.cpu.translation import Fault, FaultClass, walk
from emu.cpu.traps import default_target_el
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.pe import UnicornPE
from emu.cpu.unicorn.pending import EngineException
from emu.memory import Memory
from emu.operation import Kind

_EC_ABORT_OR_PC = (0x20, 0x21, 0x22, 0x24, 0x25)
_EC_PAUTH, _EC_BRANCH_TARGET = 0x09, 0x0D
_EC_ABORT = (0x20, 0x21, 0x24, 0x25)
_ON_WALK, _S1PTW = FaultClass.EXTERNAL_ABORT_ON_WALK, 1 << 7
_ISV_AND_ACCESS = 0x7FF << 14  # ISV, SAS, SSE, SRT, SF, AR
_EXCP_SWI, _EXCP_HVC, _EXCP_SMC = 2, 11, 13  # the PC is behind the instruction
_WRITES = (7, 12)  # UC_ERR_WRITE_UNMAPPED, UC_ERR_WRITE_PROT
FETCHES = (8, 14)  # UC_ERR_FETCH_UNMAPPED, UC_ERR_FETCH_PROT
_READS = (6, 13)  # UC_ERR_READ_UNMAPPED, UC_ERR_READ_PROT
ABORTS = frozenset({*_READS, *_WRITES, *FETCHES})


def misaligned(pe: PE, pc: int) -> EngineStop:
    """Return what ``pe`` stops with when its PC (VA) is not a multiple of 4."""
    return Raised(0x22 << 26 | 1 << 25, pc, default_target_el(pe), pc)


def raised(contexts: Contexts, pe: UnicornPE, exception: EngineException, memory: Memory) -> EngineStop:
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
        syndrome, target = _classified(pe, far, syndrome, target, memory)
    if ec in (0x24, 0x25):
        word = contexts.code.word(pc) or 0
        if _is_misaligned_exclusive(word, far):  # that comes before translation
            syndrome = syndrome & ~0x3F | ALIGNMENT_FAULT
        if ec == 0x25 or target == 1 or pe.sysreg(sysreg.HCR_EL2) & sysreg.HCR_TGE or writes_back(word):
            syndrome &= ~_ISV_AND_ACCESS  # it is for aborts of stage 2
    if ec == _EC_BRANCH_TARGET:
        syndrome |= 1 << 25  # IL
    if not ec and number == 1 and target > default_target_el(pe):  # HCR_EL2.API; QEMU leaves the EC 0
        syndrome = _EC_PAUTH << 26 | 1 << 25
    elif not syndrome:
        word = contexts.code.word(pc) or 0
        syndrome = _daif_trap(word) if pe.el == 0 and a64.is_msr_daif(word) else 1 << 25  # EC 0, IL
    found = Raised(syndrome, far if ec in _EC_ABORT_OR_PC else None, target, pc)
    if ec in (0x24, 0x25) and syndrome & 0x3F == ALIGNMENT_FAULT:
        word = contexts.code.word(pc) or 0
        pa = pe.translate(far, is_store=bool(syndrome >> 6 & 1))
        exclusive = a64.classify(word) is Kind.STORE_EXCLUSIVE or a64.needs_monitor(word)
        broken = UNALIGNED_EXCLUSIVE if exclusive else UNALIGNED_ORDERED
        return ConstraintViolation(broken.name, pc, pa or 0, found)
    return found


def _is_misaligned_exclusive(word: int, va: int) -> bool:
    # Whether the address of an exclusive, an atomic, or an access that acquires or releases is not a multiple
    # of all that it accesses.
    size = 1 << (word >> 30)
    if word & 0x3F00_0000 == 0x0800_0000:
        if not word >> 23 & 1 and word >> 21 & 1:  # a pair: LDXP, STXP, and CASP, whose size has one bit
            size = 2 * size if word >> 31 else 8 << (word >> 30 & 1)
    elif word & 0x3F20_0C00 not in (0x3820_0000, 0x1900_0000):  # LSE and LDAPR; LDAPUR and STLUR
        return False
    return bool(va & size - 1)


def _daif_trap(word: int) -> int:
    # The syndrome of an MSR DAIFSet or DAIFClr that SCTLR_EL1.UMA does not allow: EC 0x18, Rt 31.
    op2, op1, crn, crm = word >> 5 & 7, word >> 16 & 7, word >> 12 & 15, word >> 8 & 15
    return 0x18 << 26 | 1 << 25 | op2 << 17 | op1 << 14 | crn << 10 | 31 << 5 | crm << 1


def _unmodelled_register(pe: UnicornPE, word: int) -> str | None:
    # What an MRS or MSR that the engine calls UNDEFINED accesses, if the core has that register all the same.
    if a64.classify(word) not in (Other.MRS, Other.MSR):
        return None
    encoding = a64.system_register(word)
    name = pe.core.unmodelled.get(encoding)
    if name is None and sysregs.has_gicv3(pe):
        name = gicv3.UNMODELLED.get(encoding)
    if name is None or pe.el < sysreg.lowest_el(encoding):
        return None
    verb = "read of" if word >> 21 & 1 else "write to"
    return f"{verb} {name} ({sysreg.generic_name(encoding)}), which {pe.core.name} has"


def external_abort(
    contexts: Contexts, pe: UnicornPE, error: int, fault_pa: int, memory: Memory
) -> EngineStop:
    """Return the abort of an access to ``fault_pa``, that nothing answers; ``error``: UC_ERR_*."""
    is_store, far = error in _WRITES, pe.pc
    if error in FETCHES and far & 3:
        return misaligned(pe, far)
    if error not in FETCHES:
        word = contexts.code.word(pe.pc)
        assert word is not None, "it was executed"
        far = va_of(pe, word, pe.pc, fault_pa, is_store=is_store)
    contexts.handle.flush_tlb()
    return abort_behind(pe, far, memory, is_store=is_store, is_fetch=error in FETCHES)


def abort_behind(pe: PE, va: int, memory: Memory, *, is_store: bool, is_fetch: bool = False) -> Raised:
    """Return the abort of an access to ``va``, which the engine translates, but not to memory.

    :return: an external abort, or what our own walk of the tables finds before it
    """
    syndrome = abort_syndrome(EXTERNAL_ABORT, is_store=is_store, is_fetch=is_fetch)
    syndrome, target = _classified(pe, va, syndrome, default_target_el(pe), memory)
    return Raised(syndrome, va, target, pe.pc)


def _classified(pe: PE, va: int, syndrome: int, target: int, memory: Memory) -> tuple[int, int]:
    # The syndrome of an abort, and the level that takes it: the engine knows neither address size faults nor
    # external aborts on a walk, nor why stage 2 kept it from walking stage 1.
    second = Stage2(pe, memory.u64) if is_on(pe) else None
    found = walk(pe, va, memory.u64 if second is None else second.read)
    if second is not None and second.fault is not None:
        return syndrome & ~0x3F | _S1PTW | second.fault.status, 2
    if isinstance(found, Fault):
        if found.kind is FaultClass.TRANSLATION:
            return syndrome, target
        return syndrome & ~(0x3F | _S1PTW) | found.status, default_target_el(pe)
    if second is not None:
        behind = second.translate(found.pa)
        if isinstance(behind, Fault) and behind.kind in (FaultClass.ADDRESS_SIZE, _ON_WALK):
            return syndrome & ~0x3F | behind.status, 2
    return syndrome, target
