"""The registers that gdb sees: their description as XML, and their bytes.

Source: Debugging with GDB, appendix G (Target Descriptions), "AArch64 Features".
"""

from __future__ import annotations

from emu.cpu.pe import PE
from emu.cpu.sysregs.access import value
from emu.cpu.sysregs.rows import BY_NAME
from emu.debug.edits import NZCV, PC, SP, Edit

X29, CPSR = 29, NZCV
_CORE = 33  # X0..X30, SP and PC lie together
V0, FPSR, FPCR = 34, 66, 67
_FIRST_SYSTEM = 68

_EL1 = (
    "SCTLR TTBR0 TTBR1 TCR MAIR VBAR ESR FAR ELR SPSR CPACR CONTEXTIDR TPIDR PAR MPIDR MIDR "
    "ID_AA64PFR0 ID_AA64MMFR0 ID_AA64MMFR1 ID_AA64MMFR2"
)
_EL2 = "HCR SCTLR TTBR0 TCR MAIR VBAR ESR FAR ELR SPSR CPTR TPIDR VMPIDR VPIDR CNTVOFF"
SYSTEM: tuple[str, ...] = (
    *(f"{name}_EL1" for name in _EL1.split()),
    *("TPIDR_EL0", "TPIDRRO_EL0", "SP_EL0", "SP_EL1", "SP_EL2", "CURRENTEL", "DAIF", "CNTFRQ_EL0"),
    *(f"{name}_EL2" for name in _EL2.split()),
)
COUNT = _FIRST_SYSTEM + len(SYSTEM)

_FLAGS = [("SP", 0), ("EL", 2, 3), ("nRW", 4), ("F", 6), ("I", 7), ("A", 8), ("D", 9), ("IL", 20), ("SS", 21)]
_FLAGS += [("PAN", 22), ("UAO", 23), ("V", 28), ("C", 29), ("Z", 30), ("N", 31)]


def target_xml() -> bytes:
    """Return the target description: core, FPU and system registers, in the order of their numbers."""
    core = [f'<reg name="x{number}" bitsize="64"/>' for number in range(31)]
    core += ['<reg name="sp" bitsize="64" type="data_ptr"/>', '<reg name="pc" bitsize="64" type="code_ptr"/>']
    flags = "".join(f'<field name="{f[0]}" start="{f[1]}" end="{f[-1]}"/>' for f in _FLAGS)
    core.insert(0, f'<flags id="cpsr_flags" size="4">{flags}</flags>')
    core.append('<reg name="cpsr" bitsize="32" type="cpsr_flags"/>')
    parts = (("d", "ieee_double", 2), ("s", "ieee_single", 4), ("h", "uint16", 8), ("b", "uint8", 16))
    fpu = [f'<vector id="v{name}" type="{kind}" count="{count}"/>' for name, kind, count in parts]
    fields = "".join(f'<field name="{name}" type="v{name}"/>' for name, _, _ in parts)
    fpu.append(f'<union id="aarch64v">{fields}<field name="q" type="uint128"/></union>')
    fpu += [f'<reg name="v{number}" bitsize="128" type="aarch64v"/>' for number in range(32)]
    fpu += [f'<reg name="{name}" bitsize="32" type="int" group="float"/>' for name in ("fpsr", "fpcr")]
    system = [
        f'<reg name="{name}" bitsize="64" type="uint64" group="system" save-restore="no"/>' for name in SYSTEM
    ]
    features = (("gnu.gdb.aarch64.core", core), ("gnu.gdb.aarch64.fpu", fpu), ("emu.system", system))
    body = "".join(f'<feature name="org.{name}">\n{_lines(items)}</feature>\n' for name, items in features)
    head = '<?xml version="1.0"?>\n<!DOCTYPE target SYSTEM "gdb-target.dtd">\n'
    return f"{head}<target>\n<architecture>aarch64</architecture>\n{body}</target>\n".encode()


def _lines(items: list[str]) -> str:
    return "".join(f"{item}\n" for item in items)


def core(pe: PE) -> bytes:
    """Return X0..X30, SP, PC and CPSR, little-endian, in this order, as in a ``g`` packet."""
    return pe.general(0, _CORE) + pe.pstate.to_bytes(4, "little")


def expedited(pe: PE) -> bytes:
    """Return the expedited registers of a stop reply, so that gdb need not read them after each step."""
    x29, sp, pc = (pe.general(number, 1).hex() for number in (X29, SP, PC))
    return f"1d:{x29};1f:{sp};20:{pc};".encode()


def read(pe: PE, number: int) -> bytes | None:
    """Return the bytes of register ``number``, little-endian, or None for an unknown number."""
    if 0 <= number < CPSR:
        return pe.general(number, 1)
    if number == CPSR:
        return pe.pstate.to_bytes(4, "little")
    if V0 <= number < FPSR:
        return pe.vector_register(number - V0).to_bytes(16, "little")
    if number in (FPSR, FPCR):
        return (value(pe, BY_NAME["FPSR" if number == FPSR else "FPCR"]) & 0xFFFF_FFFF).to_bytes(4, "little")
    if _FIRST_SYSTEM <= number < COUNT:
        return system_register(pe, SYSTEM[number - _FIRST_SYSTEM]).to_bytes(8, "little")
    return None


def system_register(pe: PE, name: str) -> int:
    """Return one of :data:`SYSTEM` (u64), as code on that CPU reads it.

    :raises KeyError: ``name`` is not in :data:`SYSTEM`
    """
    return value(pe, BY_NAME[name])


def edit(cpu: int, number: int, data: bytes) -> Edit | None:
    """Return the edit that writes ``data`` to register ``number``; None when that is not possible.

    X0..X30, SP, PC and the flags in CPSR can be written.
    """
    fits = len(data) == (4 if number == CPSR else 8)
    return Edit(number, data, cpu) if 0 <= number <= CPSR and fits else None
