"""System registers by what traps them, and those that rightly read differently on the two sides."""

from __future__ import annotations

from reference.cores import COMPARED

from emu.arch.sysreg import Encoding
from emu.cpu.sysregs import vhe


def _registers(names: str) -> list[Encoding]:
    # By the names that every assembler takes.
    found = []
    for name in names.split():
        op0, op1, crn, crm, op2 = (int(part.lstrip("sc")) for part in name.split("_"))
        found.append((op0, op1, crn, crm, op2))
    return found


IDENTIFICATION = [(3, 0, 0, crm, op2) for crm in range(8) for op2 in range(8)]
IDENTIFICATION += _registers("s3_1_c0_c0_0 s3_1_c0_c0_1 s3_1_c0_c0_7 s3_3_c0_c0_1 s3_3_c0_c0_7")
# What HCR_EL2.TVM and TRVM trap.
VIRTUAL_MEMORY = _registers("""
    s3_0_c1_c0_0 s3_0_c2_c0_0 s3_0_c2_c0_1 s3_0_c2_c0_2 s3_0_c5_c1_0 s3_0_c5_c1_1 s3_0_c5_c2_0
    s3_0_c6_c0_0 s3_0_c10_c2_0 s3_0_c10_c3_0 s3_0_c13_c0_1
""")
EL1 = _registers("""
    s3_0_c1_c0_1 s3_0_c1_c0_2 s3_0_c4_c0_0 s3_0_c4_c0_1 s3_0_c4_c1_0 s3_0_c4_c2_0 s3_0_c4_c2_2
    s3_0_c7_c4_0 s3_0_c12_c0_0 s3_0_c12_c1_0 s3_0_c13_c0_4 s3_0_c14_c1_0 s3_2_c0_c0_0
""")
EL2 = _registers("""
    s3_4_c0_c0_0 s3_4_c0_c0_5 s3_4_c1_c0_0 s3_4_c1_c0_1 s3_4_c1_c1_0 s3_4_c1_c1_1 s3_4_c1_c1_2
    s3_4_c1_c1_3 s3_4_c1_c1_7 s3_4_c2_c0_0 s3_4_c2_c0_2 s3_4_c2_c1_0 s3_4_c2_c1_2 s3_4_c3_c0_0
    s3_4_c4_c0_0 s3_4_c4_c0_1 s3_4_c4_c1_0 s3_4_c4_c3_0 s3_4_c4_c3_1 s3_4_c4_c3_2 s3_4_c4_c3_3
    s3_4_c5_c0_1 s3_4_c5_c1_0 s3_4_c5_c1_1 s3_4_c5_c2_0 s3_4_c5_c3_0 s3_4_c6_c0_0 s3_4_c6_c0_4
    s3_4_c10_c2_0 s3_4_c10_c3_0 s3_4_c12_c0_0 s3_4_c12_c0_1 s3_4_c13_c0_2 s3_4_c14_c0_3
    s3_4_c14_c1_0
""")
EL3 = _registers("""
    s3_6_c1_c0_0 s3_6_c1_c1_0 s3_6_c1_c1_2 s3_6_c12_c0_0 s3_6_c4_c0_1 s3_6_c13_c0_2
""")
USER = _registers("""
    s3_3_c13_c0_2 s3_3_c13_c0_3 s3_3_c4_c2_0 s3_3_c4_c2_1 s3_3_c4_c4_0 s3_3_c4_c4_1
""")
TIMER = _registers("""
    s3_3_c14_c0_0 s3_3_c14_c2_1 s3_3_c14_c3_1 s3_3_c14_c2_2 s3_3_c14_c3_2
""")
# They never read the same twice.
COUNTERS = _registers("""
    s3_3_c14_c0_1 s3_3_c14_c0_2 s3_3_c14_c2_0 s3_3_c14_c3_0
""")
PMU = _registers("""
    s3_3_c9_c12_0 s3_3_c9_c12_1 s3_3_c9_c12_2 s3_3_c9_c12_3 s3_3_c9_c12_4 s3_3_c9_c12_5
    s3_3_c9_c12_6 s3_3_c9_c12_7 s3_3_c9_c13_1 s3_3_c9_c13_2 s3_3_c9_c14_0 s3_3_c9_c14_3
    s3_0_c9_c14_1 s3_0_c9_c14_2 s3_3_c14_c15_7 s3_3_c14_c8_0 s3_3_c14_c12_1
""")
DEBUG = _registers("""
    s2_0_c0_c2_2 s2_0_c0_c0_2 s2_0_c0_c3_2 s2_0_c0_c6_2 s2_0_c1_c0_0 s2_0_c1_c1_4 s2_0_c1_c3_4
    s2_0_c1_c4_4 s2_0_c2_c0_0 s2_3_c0_c1_0 s2_3_c0_c4_0 s2_0_c0_c0_4 s2_0_c0_c0_5 s2_0_c0_c1_6
    s2_0_c7_c8_6 s2_0_c7_c9_6 s2_0_c7_c14_6
""")
# Of these, the debug communication channel, claim tags, power control and authentication status.
DEBUG_BEYOND = _registers("""
    s2_0_c0_c0_2 s2_0_c0_c3_2 s2_0_c0_c6_2 s2_0_c1_c4_4 s2_0_c7_c8_6 s2_0_c7_c9_6 s2_0_c7_c14_6
    s2_3_c0_c4_0 s2_3_c0_c5_0
""")
# IMPLEMENTATION DEFINED registers of the A72, and neighbours.
IMPLEMENTATION = _registers("""
    s3_0_c15_c0_0 s3_1_c15_c2_0 s3_1_c15_c2_1 s3_1_c11_c0_2 s3_1_c11_c0_3 s3_0_c15_c3_0
    s3_1_c15_c0_0 s3_3_c15_c1_2
""")
# The CPU interface of a GICv3.
GIC = _registers("""
    s3_0_c12_c12_5 s3_0_c4_c6_0 s3_4_c12_c9_5 s3_4_c12_c11_0 s3_0_c12_c12_0 s3_0_c12_c8_3
""")
# Of later architectures: UNDEFINED on an A72.
LATER = _registers("""
    s3_0_c4_c2_3 s3_0_c4_c2_4 s3_3_c4_c2_5 s3_3_c4_c2_6 s3_3_c2_c4_0 s3_0_c2_c1_0 s3_0_c5_c3_0
    s3_5_c1_c0_0 s3_5_c12_c0_0 s3_0_c10_c5_1 s3_0_c1_c2_0 s3_3_c4_c2_2
""")
# A write of these takes the ground from under a program.
GROUND = _registers("""
    s3_0_c1_c0_0 s3_0_c2_c0_0 s3_0_c2_c0_1 s3_0_c2_c0_2 s3_0_c10_c2_0 s3_0_c12_c0_0 s3_0_c12_c0_2
    s3_4_c1_c0_0 s3_4_c1_c1_0 s3_4_c2_c0_0 s3_4_c2_c0_2 s3_4_c2_c1_0 s3_4_c2_c1_2 s3_4_c10_c2_0
    s3_4_c12_c0_0 s3_4_c12_c0_2
""")
KNOWN = [*IDENTIFICATION, *VIRTUAL_MEMORY, *EL1, *EL2, *EL3, *USER, *TIMER, *PMU, *DEBUG]
KNOWN += [*IMPLEMENTATION, *GIC, *LATER]

# Later registers that QEMU's models of some cores have, and emu's cores have not: RAS, SSBS, DIT, RNDR,
# memory tagging, fine-grained traps, SCXTNUM, activity monitors, ECV, HCRX.
BEYOND = _registers("""
    s3_0_c5_c3_0 s3_0_c5_c3_1 s3_0_c12_c1_1 s3_4_c12_c1_1 s3_4_c5_c2_3
    s3_3_c4_c2_5 s3_3_c4_c2_6 s3_3_c4_c2_7 s3_3_c2_c4_0 s3_3_c2_c4_1
    s3_0_c1_c0_5 s3_0_c1_c0_6 s3_0_c5_c6_0 s3_0_c5_c6_1 s3_4_c5_c6_0 s3_1_c0_c0_4
    s3_4_c1_c1_4 s3_4_c1_c1_5 s3_4_c1_c1_6 s3_4_c3_c1_4 s3_4_c3_c1_5 s3_4_c3_c1_6 s3_4_c1_c2_2
    s3_0_c13_c0_7 s3_3_c13_c0_7 s3_4_c13_c0_7 s3_3_c14_c0_5 s3_3_c14_c0_6 s3_4_c14_c0_6
""")
BEYOND += [(3, 0, 5, crm, op2) for crm in (4, 5) for op2 in range(8)]  # ERX*_EL1

# Reads that rightly differ, and why; fields of ID registers are in cores.py.
UNLIKE: dict[Encoding, str] = {
    (3, 1, 15, 3, 0): "CBAR_EL1: the address of the interrupt controller's registers",
    (2, 0, 0, 2, 0): "MDCCINT_EL1: QEMU's is no operation, an MRS leaves Xt alone",
    (2, 4, 0, 7, 0): "DBGVCR32_EL2: likewise",
    (3, 3, 14, 0, 1): "CNTPCT_EL0: a clock",
    (3, 3, 14, 0, 2): "CNTVCT_EL0: a clock",
    (3, 3, 14, 2, 0): "CNTP_TVAL_EL0: counts down by a clock",
    (3, 3, 14, 3, 0): "CNTV_TVAL_EL0: likewise",
    (3, 4, 14, 2, 0): "CNTHP_TVAL_EL2: likewise",
    (3, 4, 14, 3, 0): "CNTHV_TVAL_EL2: likewise",
    (3, 3, 9, 13, 0): "PMCCNTR_EL0: a clock",
}
_OF_SOME_CORE = frozenset(encoding for each in COMPARED.values() for encoding in each.fields)

# Bits of registers that programs leave 0, and why.
UNWRITTEN: dict[Encoding, tuple[int, str]] = {
    (3, 3, 4, 4, 0): (1 << 19, "FPCR.FZ16: of half precision, which QEMU's later cores have"),
    **dict.fromkeys(
        ((3, 3, 9, 13, 2), *((3, 3, 14, 8, number) for number in range(6))),
        (2**64 - 2**32, "event counters above 32 bits: of FEAT_PMUv3p5, which QEMU's max has"),
    ),
    (3, 3, 9, 12, 0): (1 << 7, "PMCR_EL0.LP: of FEAT_PMUv3p5, which QEMU 7.2 keeps on every core"),
}

# Registers that one of the two does not have, so that neither can be asked about them.
NOT_COMPARED: frozenset[Encoding] = frozenset(
    [
        # A core has them, and emu does not model it: what is IMPLEMENTATION DEFINED. To QEMU 7.2 they are
        # UNDEFINED, or read as 0.
        *(encoding for each in COMPARED.values() for encoding in each.core.unmodelled),
        # To QEMU 7.2 these are UNDEFINED, MDCCSR_EL0 is always 0 and MDSCR_EL1 written whole.
        *DEBUG_BEYOND,
        *BEYOND,
        # RVBAR_EL1 and RVBAR_EL2 are there where theirs is the highest level: on QEMU's side.
        (3, 0, 12, 0, 1),
        (3, 4, 12, 0, 1),
        # QEMU 7.2 lets EL2 use these names without HCR_EL2.E2H. Arm DDI 0487: they are UNDEFINED then.
        *(encoding for encoding in vhe.ENCODINGS if encoding[1] == 5),
    ]
)


def is_comparable(encoding: Encoding) -> bool:
    """Tell whether both sides have the register, or neither."""
    return encoding not in NOT_COMPARED


def reads_alike(encoding: Encoding) -> bool:
    """Tell whether the register reads the same on both sides, of each core."""
    return encoding not in UNLIKE and encoding not in _OF_SOME_CORE


def is_dangerous(encoding: Encoding) -> bool:
    """Tell whether writing the register may start a timer, arm a debug exception, or end the program."""
    op0, _, crn, _, op2 = encoding
    timer = op0 == 3 and crn == 14
    armed = op0 == 2 and ((crn == 0 and op2 in (4, 5, 6, 7)) or encoding == (2, 0, 0, 2, 2))
    return encoding in GROUND or timer or armed


def name(encoding: Encoding) -> str:
    """Return the name by numbers that every assembler takes."""
    op0, op1, crn, crm, op2 = encoding
    return f"s{op0}_{op1}_c{crn}_c{crm}_{op2}"


def access(encoding: Encoding, register: str, *, read: bool) -> str:
    """Return the line of an MRS or MSR of the register, as a word."""
    op0, op1, crn, crm, op2 = encoding
    value = 0xD500_0000 | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | int(register[1:])
    return f".inst {value | read << 21:#010x}  // {'mrs' if read else 'msr'} {name(encoding)}, {register}"


def read(encoding: Encoding, register: str) -> str:
    """Return the lines of an MRS: what may read differently is dropped, what it traps to may not."""
    line = access(encoding, register, read=True)
    return line if reads_alike(encoding) else f"{line}\nmov {register}, #0"


def write(encoding: Encoding, register: str) -> str:
    """Return the lines of an MSR, of no bits that one side alone keeps."""
    line = access(encoding, register, read=False)
    unwritten, _ = UNWRITTEN.get(encoding, (0, ""))
    return f"bic {register}, {register}, #{unwritten:#x}\n{line}" if unwritten else line
