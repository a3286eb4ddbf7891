"""Kinds of programs: what EL2 and EL1 have trapped."""

from __future__ import annotations

from reference.drawn import Draw, kind, load
from reference.kinds_system import maintain
from reference.register_names import (
    COUNTERS,
    DEBUG,
    EL1,
    IDENTIFICATION,
    IMPLEMENTATION,
    NOT_COMPARED,
    PMU,
    TIMER,
    USER,
    VIRTUAL_MEMORY,
    access,
    is_dangerous,
    read,
    write,
)
from reference.setup import HCR_RW, SCTLR_EL1, C, M, Setup
from reference.world import DATA

_TRAPPED = {
    "virtual-memory": VIRTUAL_MEMORY,
    "identification": IDENTIFICATION,
    "el1": EL1,
    "pmu": PMU,
    "debug": DEBUG,
    "timer": TIMER,
    "user": USER,
    "implementation": IMPLEMENTATION,
}


def _trapped(draw: Draw, groups: list[str]) -> str:
    group = _TRAPPED[draw.choice(groups)]
    encoding = draw.choice([each for each in group if each not in NOT_COMPARED])
    if draw.random() < 0.6 or is_dangerous(encoding):
        return read(encoding, draw.register())
    return write(encoding, draw.register())


def _el2_traps(draw: Draw, which: str) -> dict[str, int]:
    bits = {
        "hcr": (
            "hcr_el2",
            HCR_RW,
            1 << 26 | 1 << 30 | 0xF << 15 | 1 << 21 | 1 << 20 | 0xF << 22 | 1 << 28 | 1 << 19,
        ),
        "cptr": ("cptr_el2", 0x33FF, 1 << 31 | 1 << 20 | 1 << 10),
        "mdcr": ("mdcr_el2", 6, 0xF << 8 | 3 << 5 | 1 << 14 | 1 << 17),
        "hstr": ("hstr_el2", 0, 0xFFFF),
        "cnthctl": ("cnthctl_el2", 0, 3),
    }
    name_, base, mask = bits[which]
    return {name_: base | draw.bits(mask)}


def _trap_kind(which: str, groups: list[str]) -> None:
    @kind(f"trap-{which}")
    def trap(draw: Draw) -> tuple[Setup, list[str]]:
        """Bits that have EL2 trap accesses of EL1 and EL0."""
        registers = _el2_traps(draw, which)
        mmu = draw.random() < 0.5
        lines: list[str] = []
        for _ in range(draw.randint(2, 10)):
            a = draw.register()
            others = [[_trapped(draw, groups)]]
            if which == "hcr":
                others += [maintain(draw, DATA + 0x100, mmu=mmu) for _ in range(2)]
            if which == "cptr":
                others += [["fmov d0, #1.0"], [f"fmov {a}, d1"], ["ldr q0, [sp]"], [f"mrs {a}, fpcr"]]
            if which == "cnthctl":
                others.append([read(draw.choice(COUNTERS), a)])
            lines += draw.choice(others)
        return Setup(2, draw.choice((0, 1, 1, 1)), mmu, registers), lines


_trap_kind("hcr", ["virtual-memory", "identification", "el1", "implementation"])
_trap_kind("cptr", ["el1", "user"])
_trap_kind("mdcr", ["pmu", "debug"])
_trap_kind("hstr", ["el1", "user", "pmu"])
_trap_kind("cnthctl", ["timer"])


@kind("trap-el0")
def trap_el0(draw: Draw) -> tuple[Setup, list[str]]:
    """What SCTLR_EL1, CPACR_EL1 and CNTKCTL_EL1 trap from EL0 (and CPACR_EL1 from EL1)."""
    registers = {
        "sctlr_el1": SCTLR_EL1 & ~(1 << 26 | 7 << 14) | draw.bits(1 << 26 | 7 << 14 | 1 << 9),
        "cpacr_el1": draw.bits(3 << 20) | draw.bits(1 << 28),
        "cntkctl_el1": draw.bits(0x303),
    }
    entry, el = draw.choice(((1, 0), (1, 0), (2, 0), (1, 1), (2, 1)))
    mmu = draw.random() < 0.5
    registers["sctlr_el1"] |= M | C if mmu else 0
    zero = ("dc zva, {}",) if mmu else ()
    lines: list[str] = []
    for _ in range(draw.randint(2, 8)):
        a = draw.register()
        lines += draw.choice(
            (
                [_trapped(draw, ["user", "timer", "pmu"])],
                [access((3, 3, 0, 0, 1), a, read=True)],
                [access((3, 3, 0, 0, 7), a, read=True)],
                [read(draw.choice(COUNTERS), a)],
                [access((2, 3, 0, 1, 0), a, read=True)],
                [
                    load(a, DATA + 0x40),
                    draw.choice((*zero, "dc cvau, {}", "dc civac, {}", "ic ivau, {}")).format(a),
                ],
                ["msr daifset, #15"],
                [f"mrs {a}, daif"],
                ["fmov d0, #1.0"],
                [f"mrs {a}, fpsr"],
                ["ldr q0, [sp]"],
            )
        )
    return Setup(entry, el, mmu, registers), lines


@kind("trap-wfi")
def trap_wfi(draw: Draw) -> tuple[Setup, list[str]]:
    """WFI where HCR_EL2.TWI or SCTLR_EL1.nTWI has it trapped."""
    if draw.random() < 0.5:
        return Setup(2, draw.randrange(2), False, {"hcr_el2": HCR_RW | 1 << 13}), ["wfi", "mov x0, #1"]
    entry = draw.choice((1, 2))
    return Setup(entry, 0, False, {"sctlr_el1": SCTLR_EL1 & ~(1 << 16)}), ["wfi", "mov x0, #1"]
