"""What the engine raised, as a stop: the syndrome that it leaves, and the aborts that it does not know."""

from __future__ import annotations

from emu.arch import a64, sysreg
from emu.arch.a64 import Class
from emu.cpu.stops import Call, Raised, Stop, Unsupported
from emu.cpu.unicorn import layout
from emu.cpu.unicorn.contexts import Contexts
from emu.cpu.unicorn.pe import UnicornPE

_EC_ABORT_OR_PC = (0x20, 0x21, 0x22, 0x24, 0x25)
_EXCP_SWI, _EXCP_HVC, _EXCP_SMC = 2, 11, 13  # the PC is behind the instruction
_WRITES = (7, 12)  # UC_ERR_WRITE_UNMAPPED, UC_ERR_WRITE_PROT
FETCHES = (8, 14)  # UC_ERR_FETCH_UNMAPPED, UC_ERR_FETCH_PROT
# UC_ERR_*_UNMAPPED and UC_ERR_*_PROT to EC of the external abort.
ABORTS = {6: 0x25, 7: 0x25, 8: 0x21, 12: 0x25, 13: 0x25, 14: 0x21}


def raised(contexts: Contexts, pe: UnicornPE, number: int) -> Stop:
    """Return what QEMU's exception ``number`` is to ``pe``, which is loaded; it is not counted as retired."""
    live = contexts.live
    syndrome = live.u32(layout.SYNDROME).value
    far = live.u64(layout.FAULT_VA).value
    target = max(live.u32(layout.TARGET_EL).value, 1)
    pc, ec = live.pc.value, syndrome >> 26
    if number == _EXCP_SMC:
        return Call("smc", syndrome & 0xFFFF)
    if number == _EXCP_HVC:
        return Call("hvc", syndrome & 0xFFFF)
    if number != _EXCP_SWI and ec not in (0x20, 0x21):  # a failed fetch was never begun
        pe.counters.instructions -= 1  # it did not retire
    if ec == 0 and number == 1:
        unknown = _unknown_register(contexts, pc)
        if unknown:
            return Unsupported(unknown, pc)
    if not syndrome:
        syndrome = 1 << 25  # EC 0, IL: QEMU leaves it 0 for a few traps
    return Raised(syndrome, far if ec in _EC_ABORT_OR_PC else None, target, pc)


def _unknown_register(contexts: Contexts, pc: int) -> str | None:
    # An undefined MRS/MSR/SYS names a register that QEMU 5.0 or the Cortex-A72 lacks: never guess.
    word = contexts.code.word(pc)
    if word is not None and a64.classify(word) in (Class.MRS, Class.MSR):
        verb = "read of" if word >> 21 & 1 else "write to"
        return f"{verb} system register {sysreg.name(a64.system_register(word))}"
    return None


def external_abort(contexts: Contexts, pe: UnicornPE, error: int, fault_pa: int) -> Stop:
    """Return the external abort of an access to ``fault_pa``, that nothing answers; ``error``: UC_ERR_*."""
    # MODEL: QEMU tells the PA, not the VA; with the MMU on FAR is marked not valid (FnV, ISS bit 10).
    ec, far = ABORTS[error], fault_pa
    iss = 0x10 | (1 << 6 if error in _WRITES else 0)
    if error in FETCHES:
        far = pe.pc
    elif pe.mmu_on:
        iss |= 1 << 10
    contexts.handle.flush_tlb()
    return Raised(ec << 26 | 1 << 25 | iss, far, 1, pe.pc)
