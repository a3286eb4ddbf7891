"""Kinds of programs: calls, exception returns, branches that cannot be taken, aborts of both stages."""

from __future__ import annotations

from reference.drawn import Draw, kind, load
from reference.kinds_compute import level
from reference.setup import HCR_RW, TCR_EL1, TCR_EL2, Setup
from reference.world import (
    CODE,
    DATA,
    NO_WALK_VA,
    NOBODY_PA,
    RESERVED_VA,
    SPECIAL_PAGES,
    STAGE2_PAGES,
    STAGE2_WALK_VAS,
    UNMAPPED_VA,
    special,
)


@kind("calls")
def calls(draw: Draw) -> tuple[Setup, list[str]]:
    """SVC, HVC, BRK, UDF, HLT and words that are nothing, at each level."""
    setup, lines = level(draw), []
    for _ in range(draw.randint(1, 6)):
        number = draw.getrandbits(16)
        names = ["svc", "brk"] if setup.entry == 1 else ["svc", "brk", "hvc"]
        other = draw.choice(
            (f"udf #{number}", f".inst {0xD4400000 | number << 5:#x}", ".inst 0xd4a00001", "drps")
        )
        lines.append(
            draw.choice((f"{draw.choice(names)} #{number}", f"{draw.choice(names)} #{number}", other))
        )
        lines.append(f"add x0, x0, #{draw.randrange(16)}")
    return setup, lines


@kind("calls-routed")
def calls_routed(draw: Draw) -> tuple[Setup, list[str]]:
    """Calls that HCR_EL2.TGE and TSC and MDCR_EL2.TDE route. Not HCD: it is RES0 where there is an EL3."""
    hcr = HCR_RW | draw.bits(1 << 19)
    el = draw.randrange(2)
    if el == 0:
        hcr |= draw.bits(1 << 27)
    lines: list[str] = []
    for _ in range(draw.randint(1, 5)):
        names = ["svc", "brk", "hvc"] + (["smc"] if hcr >> 19 & 1 or el == 0 else [])
        lines += [
            f"{draw.choice(names)} #{draw.getrandbits(16)}",
            draw.choice(("nop", "udf #0", "fmov d0, x0")),
        ]
    registers = {"hcr_el2": hcr, "mdcr_el2": draw.bits(1 << 8) | 6, "cpacr_el1": draw.bits(3 << 20)}
    return Setup(2, el, False, registers), lines


@kind("eret")
def eret(draw: Draw) -> tuple[Setup, list[str]]:
    """Exception returns to every SPSR.M, legal or not, with IL and SS as drawn; never to AArch32 at EL0."""
    entry, el = draw.choice(((1, 1), (2, 1), (2, 2), (2, 2)))
    mode = draw.choice([each for each in range(32) if each != 16])
    hcr = HCR_RW | draw.bits(1 << 27) if el == 2 else HCR_RW
    spsr = mode | draw.bits(0x3C0) | draw.bits(1 << 20) | draw.bits(0xF << 28)
    a, b, c = draw.registers(3)
    lines = [
        load(a, spsr),
        f"msr spsr_el{el}, {a}",
        f"adr {b}, 1f",
        f"msr elr_el{el}, {b}",
        "adr x26, 2f",
        "eret",
    ]
    lines += ["1:", f"add {c}, {c}, #1", "nop", "2:", "mov x26, #0"]
    setup = Setup(entry, el, draw.random() < 0.5, {"hcr_el2": hcr} if entry == 2 else {})
    return setup, ["\n".join(lines), f"mov {a}, sp"]


@kind("eret-misaligned")
def eret_misaligned(draw: Draw) -> tuple[Setup, list[str]]:
    """Exception returns to addresses that are not aligned, tagged, or not mapped."""
    entry, el = draw.choice(((1, 1), (2, 1), (2, 2)))
    target = draw.randint(0, el)
    spsr = 0x3C0 | target << 2 | (1 if target else 0) | draw.bits(1 << 20)
    a, b = draw.registers(2)
    mmu = draw.random() < 0.5
    nowhere = 0 if mmu and el < 2 else NOBODY_PA + 4  # QEMU has flash at PA 0
    at = draw.choice(
        (CODE + draw.randint(1, 3), NOBODY_PA, nowhere, 1 << 63, 0xFFFF_0000_0000_0000, UNMAPPED_VA)
    )
    lines = [
        load(a, spsr),
        f"msr spsr_el{el}, {a}",
        load(b, at),
        f"msr elr_el{el}, {b}",
        "adr x26, 2f",
        "eret",
    ]
    return Setup(entry, el, mmu), ["\n".join([*lines, "2:", "mov x26, #0"])]


def too_high(draw: Draw) -> list[int]:
    """Return addresses that are none with translation off, or for a core of more bits just nobody's."""
    limit = draw.core.pa_bits
    return [at for at in (1 << 44, 0x4000_0000_0000, 1 << 47, 1 << 52, 1 << 63) if limit == 48 or at >> limit]


def branch(register: str, target: int, how: str) -> str:
    """Return a branch to ``target`` that comes back, or whose exception does: one line to who shortens."""
    return "\n".join([load(register, target), "adr x30, 1f", "adr x26, 1f", how, "1:", "mov x26, #0"])


@kind("branches")
def branches(draw: Draw) -> tuple[Setup, list[str]]:
    """Branches to addresses that are misaligned, 0, not mapped, not executable, or nobody's.

    Not both misaligned and not mapped: QEMU 7.2 walks first. Arm DDI 0487, D1.3.5: a PC alignment fault comes
    before an Instruction Abort.
    """
    setup, lines = level(draw), []
    targets = [
        CODE + draw.randint(1, 3),
        0,
        NOBODY_PA,
        UNMAPPED_VA,
        NO_WALK_VA,
        RESERVED_VA + 8,
        1 << 56 | UNMAPPED_VA,
    ]
    targets += [0xFFFF_8000_0000_0000, 1 << 63, 1 << 48, *(special(each) for each in SPECIAL_PAGES)]
    if not setup.mmu:
        targets = [
            CODE + draw.randint(1, 3),
            NOBODY_PA,
            NOBODY_PA + 2,
            *too_high(draw),
        ]
    for _ in range(draw.randint(1, 4)):
        a = draw.register()
        how = draw.choice(("br {0}", "blr {0}", "ret {0}"))
        lines.append(branch(a, draw.choice(targets), how.format(a)))
    return setup, lines


ACCESSES = ("ldr {1}, [{0}]", "str {1}, [{0}]", "ldrb {2}, [{0}]", "strh {2}, [{0}]", "ldp {1}, {3}, [{0}]",
             "stp {1}, {3}, [{0}]", "ldr {1}, [{0}], #8", "str {1}, [{0}, #8]!", "ldxr {1}, [{0}]",
             "ldar {2}, [{0}]", "stlr {1}, [{0}]", "ldtr {1}, [{0}]", "sttr {2}, [{0}]", "ldrsw {1}, [{0}]",
             "ldrsh {2}, [{0}]", "dc zva, {0}", "dc civac, {0}", "ic ivau, {0}", "ldr q1, [{0}]",
             "prfm pldl1keep, [{0}]", "ldxp {1}, {3}, [{0}]")  # fmt: skip


def accesses(draw: Draw, targets: list[int], forms: tuple[str, ...] = ACCESSES) -> list[str]:
    """Return accesses of these forms, any without, to addresses in the pages at ``targets``."""
    lines = []
    for _ in range(draw.randint(1, 5)):
        base, t, u = draw.registers(3)
        how = draw.choice(forms)
        at = draw.choice(targets) + 16 * draw.randrange(1, 250)
        lines += [load(base, at), how.format(base, t, t.replace("x", "w"), u)]
    return lines


@kind("aborts")
def aborts(draw: Draw) -> tuple[Setup, list[str]]:
    """Accesses that stage 1 has fault: translation, access flag, permission, address size."""
    setup = level(draw, mmu=True)
    pages = [special(each) for each in SPECIAL_PAGES if each not in ("nobody", "address-size", "device")]
    targets = [*pages, UNMAPPED_VA, 1 << 48, 0xFFFF_8000_0000_0000, 0x8000_0000_0000, 0xFF00_0000_0000_0000]
    return setup, accesses(draw, targets)


@kind("aborts-small-space")
def aborts_small_space(draw: Draw) -> tuple[Setup, list[str]]:
    """Addresses beyond T0SZ and T1SZ, EPD, TBI, and walks from level 1."""
    entry, el = draw.choice(((1, 0), (1, 1), (2, 0), (2, 1)))
    tcr = TCR_EL1 & ~(0x3F | 0x3F << 16) | draw.choice((16, 25)) | draw.choice((16, 25, 30)) << 16
    tcr |= draw.bits(1 << 37) | draw.bits(1 << 38) | draw.bits(1 << 23)
    tables = {"ttbr0_el1": 0x4120_0000 + (0x1000 if tcr & 0x3F == 25 else 0)}
    targets = [UNMAPPED_VA, 1 << 39, 1 << 40, 1 << 47, 1 << 56 | DATA, 1 << 55 | DATA, 0xFFFF_FFFF_0000_0000]
    targets += [
        0xFFFF_8000_0000_0000 | DATA,
        0xFF80_0000_0000_0000,
        0xA5FF_FF80_4104_0000,
        0xFFFF_FF80_4104_0000,
    ]
    return Setup(entry, el, True, {**tables, "tcr_el1": tcr}), accesses(draw, targets)


@kind("aborts-address-size")
def aborts_address_size(draw: Draw) -> tuple[Setup, list[str]]:
    """Descriptors whose address TCR.IPS (or PS) does not allow; addresses over it with the MMU off."""
    setup = level(draw)
    small = TCR_EL1 & ~(7 << 32) | draw.randrange(6) << 32
    registers = {
        "tcr_el1": small,
        **({"tcr_el2": TCR_EL2 & ~(7 << 16) | draw.randrange(6) << 16} if setup.entry == 2 else {}),
    }
    targets = [special("address-size"), RESERVED_VA, special("address-size")] if setup.mmu else too_high(draw)
    return Setup(setup.entry, setup.el, setup.mmu, registers), accesses(draw, targets, ACCESSES[:9])


@kind("aborts-external")
def aborts_external(draw: Draw) -> tuple[Setup, list[str]]:
    """Accesses to a PA that is neither memory nor a device."""
    setup = level(draw)
    targets = [special("nobody")] if setup.mmu else [NOBODY_PA, NOBODY_PA + 0x1000]
    return setup, accesses(draw, targets, ACCESSES[:15])


@kind("aborts-walk")
def aborts_walk(draw: Draw) -> tuple[Setup, list[str]]:
    """Table walks into a PA that is neither memory nor a device."""
    return level(draw, mmu=True), accesses(draw, [NO_WALK_VA], ACCESSES[:15])


@kind("aborts-stage2")
def aborts_stage2(draw: Draw) -> tuple[Setup, list[str]]:
    """Accesses that stage 2 has fault, with and without stage 1."""
    pages = [special(each) for each in STAGE2_PAGES if each not in ("s2-nobody",)]
    forms = ACCESSES[:15]
    setup = Setup(2, draw.randrange(2), draw.random() < 0.6, {"hcr_el2": HCR_RW | 1})
    return setup, accesses(draw, [*pages, 0x8000_0000, 1 << 38, 1 << 39] if not setup.mmu else pages, forms)


@kind("aborts-stage2-walk")
def aborts_stage2_walk(draw: Draw) -> tuple[Setup, list[str]]:
    """Accesses and branches whose stage 1 tables stage 2 does not let be read."""
    setup = Setup(2, draw.randrange(2), True, {"hcr_el2": HCR_RW | 1})
    lines = accesses(draw, list(STAGE2_WALK_VAS), ACCESSES[:15])
    return setup, [*lines, branch("x5", draw.choice(STAGE2_WALK_VAS) + 64, "br x5")]


@kind("fetch-stage2")
def fetch_stage2(draw: Draw) -> tuple[Setup, list[str]]:
    """Branches to what stage 2 does not let be fetched."""
    setup = Setup(2, draw.randrange(2), False, {"hcr_el2": HCR_RW | 1})
    lines: list[str] = []
    for _ in range(draw.randint(1, 3)):
        a = draw.register()
        target = special(draw.choice([each for each in STAGE2_PAGES if each != "s2-read-only"])) + 8
        lines.append(branch(a, target, f"br {a}"))
    return setup, lines
