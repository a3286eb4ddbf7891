"""What an exception syndrome says: the class, and the fields of the ISS that the class gives it.

:source: Arm DDI 0487, D24.2.40 (ESR_EL1): exception classes, ISS encodings, fault status codes
"""

from __future__ import annotations

from collections.abc import Callable

from emu.arch import sysreg
from emu.arch.fields.field import Fields, fields
from emu.arch.sysreg import Encoding

CLASSES = {
    0x00: "unknown reason (undefined instruction)",
    0x01: "trapped WFI or WFE",
    0x03: "trapped MCR or MRC, coprocessor 15",
    0x04: "trapped MCRR or MRRC, coprocessor 15",
    0x05: "trapped MCR or MRC, coprocessor 14",
    0x06: "trapped LDC or STC",
    0x07: "trapped FP or SIMD",
    0x08: "trapped VMRS",
    0x09: "trapped pointer authentication",
    0x0A: "trapped LD64B or ST64B",
    0x0C: "trapped MRRC, coprocessor 14",
    0x0D: "Branch Target exception",
    0x0E: "Illegal Execution state",
    0x11: "SVC, AArch32",
    0x12: "HVC, AArch32",
    0x13: "SMC, AArch32",
    0x14: "trapped MSRR, MRRS or 128-bit system instruction",
    0x15: "SVC",
    0x16: "HVC",
    0x17: "SMC",
    0x18: "trapped MSR, MRS or system instruction",
    0x19: "trapped SVE",
    0x1A: "trapped ERET",
    0x1B: "trapped TSTART",
    0x1C: "pointer authentication failed",
    0x1D: "trapped SME",
    0x20: "Instruction Abort from a lower level",
    0x21: "Instruction Abort at the same level",
    0x22: "PC alignment fault",
    0x24: "Data Abort from a lower level",
    0x25: "Data Abort at the same level",
    0x26: "SP alignment fault",
    0x27: "memory copy or set exception",
    0x28: "FP exception, AArch32",
    0x2C: "FP exception",
    0x2D: "GCS exception",
    0x2F: "SError",
    0x30: "Breakpoint exception from a lower level",
    0x31: "Breakpoint exception at the same level",
    0x32: "Software Step exception from a lower level",
    0x33: "Software Step exception at the same level",
    0x34: "Watchpoint exception from a lower level",
    0x35: "Watchpoint exception at the same level",
    0x38: "BKPT, AArch32",
    0x3A: "Vector Catch, AArch32",
    0x3C: "BRK",
    0x3D: "PMU exception",
}
_LEVELED = {
    0x00: "address size fault",
    0x04: "translation fault",
    0x08: "access flag fault",
    0x0C: "permission fault",
    0x14: "external abort on a walk",
    0x1C: "parity or ECC error on a walk",
    0x24: "granule protection fault on a walk",
}
_OTHERS = {
    0x10: "external abort",
    0x11: "tag check fault",
    0x13: "external abort on a walk, level -1",
    0x18: "parity or ECC error",
    0x1B: "parity or ECC error on a walk, level -1",
    0x21: "alignment fault",
    0x22: "debug exception",
    0x28: "granule protection fault",
    0x29: "address size fault, level -1",
    0x2B: "translation fault, level -1",
    0x30: "TLB conflict abort",
    0x31: "unsupported atomic hardware update",
    0x34: "IMPLEMENTATION DEFINED (lockdown)",
    0x35: "IMPLEMENTATION DEFINED (unsupported exclusive or atomic)",
}


def fault_status(code: int) -> str:
    """Return in words what DFSC or IFSC (6 bits) says."""
    found = _OTHERS.get(code)
    if found is not None:
        return found
    kind = _LEVELED.get(code & ~3)
    return f"{kind}, level {code & 3}" if kind else "reserved"


_DATA = fields(
    """
    DFSC 5:0
    WnR 6 a write
    S1PTW 7 on a stage 1 walk
    CM 8 cache maintenance
    EA 9
    FnV 10 FAR is not valid
    SET 12:11
    VNCR 13
    AR 14 acquire or release
    SF 15
    SRT 20:16
    SSE 21
    SAS 23:22
    ISV 24
    """,
    DFSC=fault_status,
    SAS={0: "byte", 1: "halfword", 2: "word", 3: "doubleword"},
)
_INSTRUCTION = fields(
    """
    IFSC 5:0
    S1PTW 7 on a stage 1 walk
    EA 9
    FnV 10 FAR is not valid
    SET 12:11
    """,
    IFSC=fault_status,
)
_SYSTEM = fields(
    """
    Direction 0
    CRm 4:1
    Rt 9:5
    CRn 13:10
    Op1 16:14
    Op2 19:17
    Op0 21:20
    """,
    Direction={0: "a write", 1: "a read"},
)
_WAIT = fields("TI 1:0\nRV 2\nRN 9:5\nCOND 23:20\nCV 24", TI={0: "WFI", 1: "WFE", 2: "WFIT", 3: "WFET"})
_CALL = fields("imm16 15:0")
_CONDITIONAL = fields("COND 23:20\nCV 24")
_BREAK = fields("Comment 15:0")
_SERROR = fields(
    "DFSC 5:0\nEA 9\nAET 12:10\nIESB 13\nIDS 24", DFSC={0: "uncategorized", 0x11: "asynchronous"}
)
_STEP = fields("IFSC 5:0\nEX 6\nISV 24", IFSC=fault_status)
_WATCHPOINT = fields("DFSC 5:0\nWnR 6 a write\nCM 8", DFSC=fault_status)
_KEY = {0: "the A key", 1: "the B key"}
_AUTHENTICATION = fields("Key 0\nData 1 a data key", Key=_KEY)

# Fields of the ISS, by exception class.
ISS: dict[int, Fields] = {
    0x01: _WAIT,
    0x07: _CONDITIONAL,
    **dict.fromkeys((0x12, 0x13, 0x15, 0x16, 0x17), _CALL),
    0x18: _SYSTEM,
    0x1A: fields("ERETA 0\nERET 1"),
    0x1C: _AUTHENTICATION,
    **dict.fromkeys((0x20, 0x21), _INSTRUCTION),
    **dict.fromkeys((0x24, 0x25), _DATA),
    0x2F: _SERROR,
    **dict.fromkeys((0x30, 0x31), fields("IFSC 5:0", IFSC=fault_status)),
    **dict.fromkeys((0x32, 0x33), _STEP),
    **dict.fromkeys((0x34, 0x35), _WATCHPOINT),
    0x3C: _BREAK,
}
_XZR = 31


def class_words(exception_class: int) -> str:
    """Return in words what EC (6 bits) says."""
    return CLASSES.get(exception_class, "reserved")


def accessed(syndrome: int, name_of: Callable[[Encoding], str] = sysreg.name) -> str:
    """Return the access that a trapped MSR or MRS (EC 0x18) would have made: ``read of SCTLR_EL1 to x3``."""
    part = {each.name: each.of(syndrome) for each in _SYSTEM}
    name = name_of((part["Op0"], part["Op1"], part["CRn"], part["CRm"], part["Op2"]))
    register = "xzr" if part["Rt"] == _XZR else f"x{part['Rt']}"
    return f"read of {name} to {register}" if part["Direction"] else f"write of {register} to {name}"


def words(syndrome: int, name_of: Callable[[Encoding], str] = sysreg.name) -> str:
    """Return in words what a syndrome (ESR_ELx, u64) says: its class, and what the ISS adds to it.

    ``Data Abort at the same level: translation fault, level 2, a write``

    :param name_of: names system registers
    """
    exception_class = syndrome >> 26 & 0x3F
    if exception_class == 0x18:
        return f"{class_words(exception_class)}: {accessed(syndrome, name_of)}"
    more = [each.words(each.of(syndrome)) for each in ISS.get(exception_class, ())]
    if exception_class in (0x24, 0x25) and not syndrome >> 24 & 1:  # no ISV: SAS says nothing
        more = [each.words(each.of(syndrome)) for each in _DATA if each.low < 14]
    if exception_class in (0x15, 0x16, 0x17, 0x3C):
        more = [f"#{syndrome & 0xFFFF:#x}"]
    told = ", ".join(filter(None, more))
    return f"{class_words(exception_class)}: {told}" if told else class_words(exception_class)
