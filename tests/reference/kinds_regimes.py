"""Kinds of programs: a granule of 64 KiB, software step, SIMD and floating point."""

from __future__ import annotations

from reference.drawn import Draw, kind, load
from reference.granules import BLOCKS, FIRST_FAULT, SHIFT, T0SZ, TABLE_PA, TG0
from reference.kinds_compute import level
from reference.kinds_exceptions import ACCESSES, accesses
from reference.setup import SCTLR_EL1, TCR_EL1, C, M, Setup
from reference.world import DATA, DATA_SIZE, RAM_BASE

_FORMS = tuple(form for form in ACCESSES if not form.startswith("dc zva"))


@kind("granule-64k")
def granule_64k(draw: Draw) -> tuple[Setup, list[str]]:
    """Accesses at EL1 with a granule of 64 KiB: which level faults, and how.

    No DC ZVA, for one of the blocks is where nobody answers: FAR_EL1 of its external abort is the address as
    the register has it (DDI 0487, D24.2, FAR_EL1), and in QEMU 7.2 that of the first byte of the block.
    """
    tcr = TCR_EL1 & ~(0x3F | 7 << 32) | T0SZ | TG0 << 14 | 1 << 23 | draw.choice((0, 2, 5)) << 32  # EPD1, IPS
    registers = {"tcr_el1": tcr, "ttbr0_el1": TABLE_PA, "sctlr_el1": SCTLR_EL1 | M | C}
    offset = DATA - RAM_BASE  # QEMU's device tree lies at the start of RAM
    targets = [FIRST_FAULT + (index << SHIFT) + offset for index in range(len(BLOCKS) + 1)]
    targets += [DATA + 0x100, 1 << 36, 1 << 42, 1 << 47]
    return Setup(draw.choice((1, 2)), 1, True, registers), accesses(draw, targets, _FORMS)


@kind("software-step")
def software_step(draw: Draw) -> tuple[Setup, list[str]]:
    """MDSCR_EL1.SS at EL0: one instruction, or none, before the exception. QEMU 7.2 ignores the OS lock."""
    registers = {"mdscr_el1": 1 | draw.bits(1 << 13), "oslar_el1": 0}
    lines = [f"add {a}, {a}, #1" for a in draw.registers(draw.randint(1, 5))]
    spsr = 1 << 21 if draw.random() < 0.7 else 0
    return Setup(draw.choice((1, 2)), 0, draw.random() < 0.5, registers, spsr), lines


_SCALAR = ("fadd {0}, {1}, {2}", "fsub {0}, {1}, {2}", "fmul {0}, {1}, {2}", "fdiv {0}, {1}, {2}",
           "fsqrt {0}, {1}", "fmadd {0}, {1}, {2}, {1}", "fmax {0}, {1}, {2}", "fminnm {0}, {1}, {2}",
           "fcmp {1}, {2}", "frinta {0}, {1}", "fabs {0}, {1}", "fcsel {0}, {1}, {2}, ge")  # fmt: skip
_VECTOR = ("add v{0}.4s, v{1}.4s, v{2}.4s", "mul v{0}.8h, v{1}.8h, v{2}.8h", "fadd v{0}.2d, v{1}.2d, v{2}.2d",
           "tbl v{0}.16b, {{v{1}.16b}}, v{2}.16b", "zip1 v{0}.16b, v{1}.16b, v{2}.16b",
           "cnt v{0}.16b, v{1}.16b",
           "sqadd v{0}.8h, v{1}.8h, v{2}.8h", "pmull v{0}.8h, v{1}.8b, v{2}.8b",
           "ext v{0}.16b, v{1}.16b, v{2}.16b, #5",
           "addv b{0}, v{1}.16b", "ushl v{0}.2d, v{1}.2d, v{2}.2d", "cmhi v{0}.4s, v{1}.4s, v{2}.4s",
           "fcvtzs v{0}.4s, v{1}.4s", "scvtf v{0}.2d, v{1}.2d", "aese v{0}.16b, v{1}.16b", "sha1h s{0}, s{1}",
           "bsl v{0}.16b, v{1}.16b, v{2}.16b", "dup v{0}.4s, v{1}.s[1]")  # fmt: skip


@kind("simd")
def simd(draw: Draw) -> tuple[Setup, list[str]]:
    """SIMD and floating point on noise, with the results, FPSR and flags in registers or memory."""
    setup = level(draw)
    lines = []
    for _ in range(draw.randint(2, 10)):
        a, x = draw.registers(2)
        vs = [draw.randrange(32) for _ in range(3)]
        at = DATA + 16 * draw.randrange(16, DATA_SIZE // 16 - 16)
        scalar = draw.choice("sd")
        how = draw.choice(
            (
                draw.choice(_SCALAR).format(*(f"{scalar}{v}" for v in vs)),
                draw.choice(_VECTOR).format(*vs),
                f"ld2 {{v{vs[0]}.4s, v{(vs[0] + 1) % 32}.4s}}, [{a}]",
                f"st1 {{v{vs[1]}.h}}[3], [{a}]",
                f"fcvtzu {x}, d{vs[1]}",
                f"mrs {x}, fpsr",
                f"umov {x.replace('x', 'w')}, v{vs[2]}.b[7]",
            )
        )
        lines += [
            load(a, at),
            f"ldr q{vs[1]}, [{a}]",
            f"ldr q{vs[2]}, [{a}, #16]",
            how,
            f"str q{vs[0]}, [{a}]",
        ]
    return setup, [*lines, "mrs x0, fpsr"]
