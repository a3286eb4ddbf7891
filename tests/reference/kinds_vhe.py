"""Kinds of programs: EL2 with HCR_EL2.E2H, and EL0 under EL2 with HCR_EL2.TGE."""

from __future__ import annotations

from reference.drawn import Draw, kind, load
from reference.kinds_exceptions import accesses, branch
from reference.kinds_system import maintain
from reference.register_names import access, is_comparable, read, reads_alike
from reference.setup import HCR_RW, HCR_TGE, SCTLR_EL1, SCTLR_EL2, C, M, Setup
from reference.world import DATA, SPECIAL_PAGES, UNMAPPED_VA, special

from emu.cpu.sysregs import vhe

# What MSR may change without taking the ground from under the program.
_HARMLESS = {
    (4, 0, 0),
    (4, 0, 1),
    (5, 1, 0),
    (5, 1, 1),
    (5, 2, 0),
    (6, 0, 0),
    (10, 2, 0),
    (10, 3, 0),
    (13, 0, 1),
}
_REGIME_OF_EL1 = {(1, 0, 0), (2, 0, 0), (2, 0, 1), (2, 0, 2), (12, 0, 0), (1, 0, 2), (14, 1, 0)}
_BY_OTHER_NAME = sorted(
    each for each in vhe.ENCODINGS if reads_alike(each) and each[2:] not in ((14, 2, 0), (14, 3, 0))
)


def _has_vhe(draw: Draw) -> bool:
    return draw.core.core.has("FEAT_VHE")


def _setup(draw: Draw, el: int, *, mmu: bool, **registers: int) -> Setup:
    # With E2H where the core has it; at EL0 with TGE.
    hcr = HCR_RW | (HCR_TGE if el == 0 else draw.bits(HCR_TGE))
    if not _has_vhe(draw):
        return Setup(2, el, mmu and el == 2, {"hcr_el2": hcr if el == 0 else HCR_RW, **registers})
    sctlr = SCTLR_EL2 | SCTLR_EL1 | (M | C | 1 << 12 if mmu else 0)
    return Setup(2, el, mmu, {"hcr_el2": hcr, "sctlr_el2": sctlr, **registers}, vhe=True)


@kind("vhe-registers")
def vhe_registers(draw: Draw) -> tuple[Setup, list[str]]:
    """EL1's names at EL2 with E2H, and the names in _EL12 and _EL02: which register each is."""
    setup = _setup(draw, 2, mmu=draw.random() < 0.5)
    lines = []
    for _ in range(draw.randint(2, 10)):
        encoding = draw.choice([each for each in _BY_OTHER_NAME if setup.vhe or is_comparable(each)])
        place, a, b = encoding[2:], *draw.registers(2)
        is_el12 = encoding[1] == 5
        writable = place in _HARMLESS or (is_el12 and place in _REGIME_OF_EL1)
        if writable and draw.random() < 0.6:
            lines += [load(a, draw.getrandbits(32)), access(encoding, a, read=False)]
        lines.append(read(encoding, b))
        other = (3, 4 if not is_el12 else 0, *place)
        if reads_alike(other) and draw.random() < 0.5:
            lines.append(read(other, a))
    return setup, lines


@kind("vhe-aborts")
def vhe_aborts(draw: Draw) -> tuple[Setup, list[str]]:
    """What the regime EL2&0 has fault, at EL2 and EL0: low and high addresses."""
    setup = _setup(draw, draw.choice((0, 2, 2)) if _has_vhe(draw) else 2, mmu=True)
    pages = [special(each) for each in SPECIAL_PAGES if each not in ("nobody", "address-size", "device")]
    high = [0xFFFF_0000_0000_0000 | each for each in (DATA, special("read-only"), special("el1-only"))]
    lines = accesses(draw, [*pages, UNMAPPED_VA, 1 << 48, *high])
    for _ in range(draw.randrange(3)):
        target = draw.choice([*pages, *high, 0xFFFF_0000_0000_0000 | special("user-execute")]) + 0x20
        lines.append(branch("x5", target, draw.choice(("br x5", "blr x5"))))
    return setup, lines


@kind("vhe-traps")
def vhe_traps(draw: Draw) -> tuple[Setup, list[str]]:
    """What CPTR_EL2, CNTHCTL_EL2 and SCTLR_EL2 trap with E2H, of EL2 and of EL0 under it."""
    el = draw.choice((0, 0, 2))
    registers = {"cptr_el2": draw.bits(3 << 20), "cnthctl_el2": draw.bits(0xF03)} if _has_vhe(draw) else {}
    setup = _setup(draw, el, mmu=draw.random() < 0.5, **registers)
    if setup.vhe:
        setup.registers["sctlr_el2"] &= ~(1 << 26 | 7 << 14 | 1 << 9) | draw.bits(1 << 26 | 7 << 14 | 1 << 9)
    lines: list[str] = []
    for _ in range(draw.randint(2, 8)):
        a = draw.register()
        lines += draw.choice(
            (
                ["fmov d0, #1.0"],
                ["ldr q0, [sp]"],
                [f"mrs {a}, fpcr"],
                [read((3, 3, 14, 0, 1), a)],
                [read((3, 3, 14, 0, 2), a)],
                [f"mrs {a}, cntfrq_el0"],
                [f"mrs {a}, cntv_ctl_el0"],
                [f"mrs {a}, cntp_ctl_el0"],
                [read((3, 3, 0, 0, 1), a)],
                ["msr daifset, #3"],
                [load(a, DATA + 0x40), f"dc civac, {a}"],
                [load(a, DATA + 0x40), f"ic ivau, {a}"],
                [f"svc #{draw.randrange(9)}"],
                ["hvc #3"] if el else ["brk #2"],
                ["udf #0"],
                maintain(draw, DATA + 0x100, mmu=setup.mmu),
            )
        )
    return setup, lines


@kind("under-el2")
def under_el2(draw: Draw) -> tuple[Setup, list[str]]:
    """EL0 with HCR_EL2.TGE and no E2H: all goes to EL2.

    SCTLR_EL1.M counts as 0 then (Arm DDI 0487, HCR_EL2.TGE): QEMU 7.2 translates all the same, so it is 0.
    """
    registers = {
        "hcr_el2": HCR_RW | HCR_TGE,
        "sctlr_el1": SCTLR_EL1 | C | draw.bits(1 << 9 | 7 << 14),
    }
    registers["cpacr_el1"] = draw.bits(3 << 20)
    lines: list[str] = []
    for _ in range(draw.randint(2, 8)):
        a = draw.register()
        lines += draw.choice(
            (
                [f"svc #{draw.randrange(9)}"],
                ["brk #2"],
                ["udf #0"],
                ["hvc #1"],
                ["fmov d0, #1.0"],
                ["msr daifset, #3"],
                [f"mrs {a}, sctlr_el1"],
                [f"mrs {a}, tpidr_el0"],
                [read((3, 3, 0, 0, 1), a)],
                [
                    load(a, draw.choice((DATA, special("translation"), special("read-only"))) + 64),
                    f"ldr {a}, [{a}]",
                ],
                [load(a, draw.choice((DATA, special("read-only"))) + 64), f"str {a}, [{a}]"],
            )
        )
    return Setup(2, 0, False, registers), lines
