"""What surrounds a program on both sides: where things lie, vectors that log exceptions, page tables.

VA is PA, at stage 1 and at stage 2. Pages from SPECIAL on are those that accesses are to fault on.
"""

from __future__ import annotations

import random
import shutil
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from programs import run_program
from reference import granules

RAM_BASE, RAM_SIZE = 0x4000_0000, 64 << 20
VECTORS_EL1, VECTORS_EL2 = 0x4100_0000, 0x4100_0800
HANDLERS, END = 0x4100_1000, 0x4100_2000
CODE, CODE_SIZE = 0x4101_0000, 0x4000
LOG, LOG_ENTRIES, ENTRY_SIZE = 0x4102_0000, 24, 48
DATA, DATA_SIZE = 0x4104_0000, 0x4000
SPECIAL = 0x4106_0000
UNMAPPED_VA, NO_WALK_VA, RESERVED_VA = 0x4200_0000, 0x4220_0000, 0x4240_0000
STAGE2_WALK_VAS = (0x4260_0000, 0x4280_0000, 0x42A0_0000)
TABLES, TABLES_STAGE2 = 0x4120_0000, 0x4130_0000
NOBODY_PA = 0x0B00_0000  # neither RAM nor a device of QEMU's "virt"
MAIR = 0x0000_0000_0000_04FF  # attribute 0: Normal write-back; 1: Device-nGnRE

_GNU_AS, _GNU_OBJCOPY = "aarch64-linux-gnu-as", "aarch64-linux-gnu-objcopy"
_PAGE, _TABLE, _BLOCK = 3, 3, 1
_AF, _SH, _XN = 1 << 10, 3 << 8, 3 << 53
_RW_ALL, _RO_EL1, _RO_ALL = 1 << 6, 2 << 6, 3 << 6
_NORMAL, _DEVICE = _AF | _SH, _AF | 1 << 2

# What a page at SPECIAL + 4096 * index is, at stage 1; XN: bits 54 and 53.
SPECIAL_PAGES: dict[str, int] = {
    "translation": 0,
    "read-only": SPECIAL + 0x1000 | _PAGE | _NORMAL | _RO_ALL | _XN,
    "read-only-el1": SPECIAL + 0x2000 | _PAGE | _NORMAL | _RO_EL1 | _XN,
    "el1-only": SPECIAL + 0x3000 | _PAGE | _NORMAL | _XN,
    "access-flag": SPECIAL + 0x4000 | _PAGE | _SH | _RW_ALL | _XN,
    "address-size": 0x12_3456_7000 | _PAGE | _NORMAL | _RW_ALL | _XN,
    "no-execute": SPECIAL + 0x6000 | _PAGE | _NORMAL | _RW_ALL | _XN,
    "nobody": NOBODY_PA | _PAGE | _NORMAL | _RW_ALL,
    "device": SPECIAL + 0x8000 | _PAGE | _DEVICE | _RW_ALL | _XN,
    "reserved": SPECIAL + 0x9000 | 1 | _NORMAL | _RW_ALL,
    "user-execute": SPECIAL + 0xA000 | _PAGE | _NORMAL | _RO_ALL | 1 << 53,
    "el1-execute": SPECIAL + 0xB000 | _PAGE | _NORMAL | _RO_EL1 | 1 << 54,
    "writable-execute": SPECIAL + 0xC000 | _PAGE | _NORMAL,
    "contiguous": SPECIAL + 0xD000 | _PAGE | _NORMAL | _RW_ALL | _XN | 1 << 52,
    "guarded": SPECIAL + 0xE000 | _PAGE | _NORMAL | _RO_ALL | 1 << 50,
}
# What branches land on in the guarded page, at 16 bytes each, and then return.
LANDINGS = ("bti c", "bti j", "bti jc", "bti", "nop", "paciasp", "pacibsp", "brk #7", "hint #0x50",
            "add x0, x0, #1", "mrs x0, currentel", "mrs x0, midr_el1", "ldr x0, [sp]", "fmov d0, x0",
            "b . + 4", "dmb ish", "dc civac, x29", "svc #1")  # fmt: skip
# The same of the pages behind them at stage 2, where stage 1 lets everything pass.
SPECIAL_STAGE2 = SPECIAL + 0x10_000
STAGE2_PAGES: dict[str, int] = {
    "s2-translation": 0,
    "s2-read-only": SPECIAL_STAGE2 + 0x1000 | _PAGE | _AF | _SH | 0xF << 2 | 1 << 6,
    "s2-write-only": SPECIAL_STAGE2 + 0x2000 | _PAGE | _AF | _SH | 0xF << 2 | 2 << 6,
    "s2-none": SPECIAL_STAGE2 + 0x3000 | _PAGE | _AF | _SH | 0xF << 2,
    "s2-access-flag": SPECIAL_STAGE2 + 0x4000 | _PAGE | _SH | 0xF << 2 | 3 << 6,
    "s2-nobody": NOBODY_PA | _PAGE | _AF | _SH | 0xF << 2 | 3 << 6,
    "s2-no-execute": SPECIAL_STAGE2 + 0x6000 | _PAGE | _AF | _SH | 0xF << 2 | 3 << 6 | 2 << 53,
    "s2-address-size": 0x12_3456_7000 | _PAGE | _AF | _SH | 0xF << 2 | 3 << 6,
}


def special(name: str) -> int:
    """Return the VA of a page by its name."""
    if name in STAGE2_PAGES:
        return SPECIAL_STAGE2 + 0x1000 * list(STAGE2_PAGES).index(name)
    return SPECIAL + 0x1000 * list(SPECIAL_PAGES).index(name)


def _handler(el: int) -> str:
    stage2 = "mrs x27, hpfar_el2" if el == 2 else "mov x27, #0"
    return f"""
handler{el}:
    str x27, [x28], #8
    mrs x27, esr_el{el}
    str x27, [x28], #8
    mrs x27, far_el{el}
    str x27, [x28], #8
    mrs x27, elr_el{el}
    str x27, [x28], #8
    mrs x27, spsr_el{el}
    str x27, [x28], #8
    {stage2}
    str x27, [x28], #8
    ldr x27, ={LOG + LOG_ENTRIES * ENTRY_SIZE:#x}
    cmp x28, x27
    b.hs end
    mrs x27, spsr_el{el}
    bic x27, x27, #0x300000             // SS and IL
    msr spsr_el{el}, x27
    cbz x26, 1f
    msr elr_el{el}, x26
    mov x26, #0
    eret
1:  mrs x27, esr_el{el}
    lsr x27, x27, #26
    cmp x27, #0x15                      // SVC and HVC return behind the instruction
    ccmp x27, #0x16, #4, ne
    b.eq 2f
    mrs x27, elr_el{el}
    add x27, x27, #4
    msr elr_el{el}, x27
2:  eret
"""


def _vectors_text() -> str:
    lines = []
    for el, base in ((1, VECTORS_EL1), (2, VECTORS_EL2)):
        for index in range(16):
            lines.append(f".org {base - VECTORS_EL1 + 0x80 * index:#x}")
            lines.append(f"mov x27, #{el << 12 | index << 7:#x}\nb handler{el}")
    lines.append(f".org {HANDLERS - VECTORS_EL1:#x}{_handler(1)}{_handler(2)}.ltorg")
    lines.append(f".org {END - VECTORS_EL1:#x}\nend: b .")
    return "\n".join(lines)


def missing_assembler() -> str:
    """Return why nothing can be assembled on this machine; empty: it can."""
    for name in (_GNU_AS, _GNU_OBJCOPY):
        if not shutil.which(name):
            return f"{name} is missing: apt-get install binutils-aarch64-linux-gnu"
    return ""


def assemble(text: str) -> bytes:
    """Return the bytes of ``text``, which names no address of itself."""
    with tempfile.TemporaryDirectory() as folder:
        source, thing, raw = (Path(folder) / f"text.{suffix}" for suffix in ("s", "o", "bin"))
        source.write_text(text + "\n")
        run_program(_GNU_AS, "-march=armv8.5-a+crypto", "-o", thing, source)
        run_program(_GNU_OBJCOPY, "-O", "binary", "-j", ".text", thing, raw)
        return raw.read_bytes()


def assemble_each(texts: Iterable[str]) -> list[bytes]:
    """Return the bytes of each text, of at most CODE_SIZE, with one run of the assembler."""
    parts = [f".org {index * CODE_SIZE:#x}\n{text}\n.ltorg" for index, text in enumerate(texts)]
    data = assemble("\n".join(parts))
    return [data[index * CODE_SIZE :][:CODE_SIZE].rstrip(b"\0") + b"\0" * 8 for index in range(len(parts))]


@cache
def vectors() -> bytes:
    """Return the code at VECTORS_EL1: both vector tables, both handlers and the end of programs."""
    return assemble(_vectors_text())


@dataclass(frozen=True)
class Region:
    """Bytes at a PA."""

    pa: int
    data: bytes


def _table(entries: dict[int, int]) -> bytes:
    return struct.pack("<512Q", *(entries.get(index, 0) for index in range(512)))


def _level3() -> bytes:
    # Of the 2 MiB at 0x4100_0000.
    entries = {}
    for page in range(512):
        pa = 0x4100_0000 + 0x1000 * page
        if pa < END:  # with EL1's rights, which PSTATE.PAN leaves alone
            entries[page] = pa | _PAGE | _NORMAL | _RO_EL1
        elif pa < CODE + CODE_SIZE:
            entries[page] = pa | _PAGE | _NORMAL | _RO_ALL
        elif DATA <= pa < DATA + DATA_SIZE or pa >= SPECIAL_STAGE2:
            entries[page] = pa | _PAGE | _NORMAL | _RW_ALL | _XN
        else:
            entries[page] = pa | _PAGE | _NORMAL | _XN
    first = (SPECIAL - 0x4100_0000) >> 12
    entries |= {first + index: value for index, value in enumerate(SPECIAL_PAGES.values())}
    return _table(entries)


@cache
def tables() -> list[Region]:
    """Return the page tables: levels 0 to 3 of stage 1 at TABLES, 1 to 3 of stage 2 at TABLES_STAGE2."""
    level2 = {index: 0x4000_0000 + (index << 21) | _BLOCK | _NORMAL for index in range(16)}
    level2[8] = TABLES + 0x3000 | _TABLE
    level2[17] = NOBODY_PA | _TABLE  # NO_WALK_VA: a table that nobody answers for
    level2[18] = 0x12_3440_0000 | _BLOCK | _NORMAL  # RESERVED_VA: its PA is over the limit of TCR.IPS 0
    for index, name in enumerate(("s2-translation", "s2-none", "s2-access-flag")):
        level2[19 + index] = special(name) | _TABLE  # STAGE2_WALK_VAS: stage 2 keeps it from being read
    stage1 = _table({0: TABLES + 0x1000 | _TABLE}) + _table({1: TABLES + 0x2000 | _TABLE}) + _table(level2)
    block = _BLOCK | _AF | _SH | 0xF << 2 | 3 << 6
    second2 = {index: 0x4000_0000 + (index << 21) | block for index in range(32)}
    second2[8] = TABLES_STAGE2 + 0x2000 | _TABLE
    second3 = {page: 0x4100_0000 + 0x1000 * page | block | _PAGE for page in range(512)}
    first = (SPECIAL_STAGE2 - 0x4100_0000) >> 12
    second3 |= {first + index: value for index, value in enumerate(STAGE2_PAGES.values())}
    stage2 = _table({1: TABLES_STAGE2 + 0x1000 | _TABLE, 0: block}) + _table(second2) + _table(second3)
    with_64k = Region(granules.TABLE_PA, granules.table())
    return [Region(TABLES, stage1 + _level3()), Region(TABLES_STAGE2, stage2), with_64k]


@cache
def data() -> list[Region]:
    """Return what programs load at first: noise in DATA and in the pages that accesses fault on."""
    noise = random.Random(1)
    returns = (0xD65F_03C0).to_bytes(4, "little") * 1024  # pages to branch to
    landings = assemble("\n".join(f".org {16 * at:#x}\n{text}\nret" for at, text in enumerate(LANDINGS)))
    contents = dict.fromkeys(("user-execute", "no-execute", "el1-execute", "writable-execute"), returns)
    contents["guarded"] = landings.ljust(4096, b"\0")
    pages = b"".join(contents.get(name) or noise.randbytes(4096) for name in SPECIAL_PAGES)
    log = Region(LOG, bytes(LOG_ENTRIES * ENTRY_SIZE + 64))
    return [
        Region(DATA, noise.randbytes(DATA_SIZE)),
        Region(SPECIAL, pages),
        Region(SPECIAL_STAGE2, returns * len(STAGE2_PAGES)),
        log,
    ]
