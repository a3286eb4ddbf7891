"""How a program gets to its exception level: the registers that are set on the way there, as assembly."""

from __future__ import annotations

from dataclasses import dataclass, field

from reference.world import (
    DATA,
    DATA_SIZE,
    END,
    MAIR,
    TABLES,
    TABLES_STAGE2,
    VECTORS_EL1,
    VECTORS_EL2,
    Region,
)

SCTLR_EL1 = 0x30D0_0800 | 1 << 26 | 1 << 18 | 1 << 16 | 1 << 15 | 1 << 14  # UCI, nTWE, nTWI, UCT, DZE
SCTLR_EL2 = 0x30C5_0830
HCR_RW, HCR_E2H, HCR_TGE = 1 << 31, 1 << 34, 1 << 27
HCR_PAUTH = 3 << 40  # API, APK
M, A, C, I = 1, 2, 4, 1 << 12  # noqa: E741 - names of the manual
TCR_EL1 = 16 | 16 << 16 | 2 << 30 | 5 << 32 | 3 << 12 | 1 << 10 | 1 << 8  # 48 bits, TG1: 4K, IPS: 48 bits
TCR_EL2 = 1 << 31 | 1 << 23 | 16 | 5 << 16 | 3 << 12 | 1 << 10 | 1 << 8
VTCR_EL2 = 1 << 31 | 25 | 1 << 6 | 3 << 12 | 1 << 10 | 1 << 8 | 2 << 16  # 39 bits from level 1, PS: 40 bits
COUNTERS = 6  # PMCR_EL0.N of all cores; MDCR_EL2.HPMN
MIDR = 0x410F_D083


# With HCR_EL2.E2H: what reads otherwise then, and what is written only after it.
VHE = {
    "cptr_el2": 3 << 20,  # FPEN
    "cnthctl_el2": 0xC03,
    "tcr_el2": TCR_EL1,
    "ttbr1_el2": TABLES,
}
LAST = ("hcr_el2", "cptr_el2", "cnthctl_el2", "tcr_el2", "ttbr0_el2", "ttbr1_el2", "sctlr_el2")
# No literal: PSTATE.PAN may keep code from being read.
END_LINES = [f"movz x27, #{END >> 16:#x}, lsl #16", f"movk x27, #{END & 0xFFFF:#x}", "br x27"]


@dataclass(frozen=True)
class Setup:
    """Where a program starts and what is configured then.

    :ivar entry: the highest exception level, which the PE is switched on at: 1 or 2
    :ivar el: the level that the program begins at: 0 to ``entry``
    :ivar mmu: stage 1 translation is on at EL1 and EL0, or at EL2 when the program runs there
    :ivar registers: values of system registers other than the usual ones, by name
    :ivar vhe: HCR_EL2 has E2H, and registers of EL2 are as they are then
    :ivar regions: more bytes in memory
    :ivar spsr: more bits of the SPSR that the program is entered with, below ``entry``
    """

    entry: int
    el: int
    mmu: bool = False
    registers: dict[str, int] = field(default_factory=dict)
    spsr: int = 0
    vhe: bool = False
    regions: tuple[Region, ...] = ()

    def values(self) -> dict[str, int]:
        """Return what each register is set to, by name, in order."""
        hcr = self.registers.get("hcr_el2", 0)
        low = self.el == 1 or (self.el == 0 and not (self.vhe and hcr & HCR_TGE))
        values = {}
        if self.entry == 2:
            values = {
                "vbar_el2": VECTORS_EL2,
                "hcr_el2": HCR_RW,
                "cptr_el2": 0x33FF,
                "mdcr_el2": COUNTERS,
                "hstr_el2": 0,
                "cnthctl_el2": 3,
                "cntvoff_el2": 0,
                "elr_el2": 0,
                "spsr_el2": 0,
                "vpidr_el2": MIDR,
                "vmpidr_el2": 0x8000_0000,
                "vtcr_el2": VTCR_EL2,
                "vttbr_el2": TABLES_STAGE2,
                "mair_el2": MAIR,
                "tcr_el2": TCR_EL2,
                "ttbr0_el2": TABLES,
                "sctlr_el2": SCTLR_EL2 | (M | C | I if self.mmu and not low else 0),
                "sp_el1": DATA + DATA_SIZE // 2 + 0x400,
            }
        values |= {
            "vbar_el1": VECTORS_EL1,
            "cpacr_el1": 3 << 20,
            "cntkctl_el1": 0,
            "mdscr_el1": 0,
            "contextidr_el1": 0,
            "tpidr_el0": 0,
            "tpidr_el1": 0,
            "tpidrro_el0": 0,
            "csselr_el1": 0,
            "elr_el1": 0,
            "spsr_el1": 0,
            "mair_el1": MAIR,
            "tcr_el1": TCR_EL1,
            "ttbr0_el1": TABLES,
            "ttbr1_el1": TABLES,
            "sp_el0": DATA + DATA_SIZE // 2,
            "sctlr_el1": SCTLR_EL1 | (M | C | I if self.mmu and low else 0),
        }
        # Those of the program take the usual one's place: translation is switched on last.
        if not self.vhe:
            return values | self.registers
        values |= VHE | self.registers
        values["hcr_el2"] |= HCR_E2H
        last = {name: values.pop(name) for name in LAST}
        return values | last

    def text(self, body: list[str]) -> str:
        """Return the assembly of a program: the setup, ``body``, and the way to the end."""
        lines = []
        for name, value in self.values().items():
            lines += [f"ldr x27, ={value:#x}", f"msr {name}, x27"]
        lines += ["isb", "tlbi " + ("alle1" if self.entry == 2 else "vmalle1"), "dsb sy", "isb"]
        lines += ["msr spsel, #1", f"ldr x27, ={DATA + DATA_SIZE // 2 + 0x800:#x}", "mov sp, x27"]
        if self.el < self.entry:
            spsr = {0: 0, 1: 5}[self.el] | 0x3C0 | self.spsr
            lines += ["adr x27, 0f", f"msr elr_el{self.entry}, x27", f"ldr x27, ={spsr:#x}"]
            lines += [f"msr spsr_el{self.entry}, x27", "mov x27, #0", "eret"]
        return "\n".join([*lines, "0:", *body, *END_LINES])
