"""Kinds of programs: system registers, PSTATE, maintenance, address translation by instruction."""

from __future__ import annotations

from collections.abc import Sequence

from reference.drawn import Draw, kind, load
from reference.kinds_compute import LEVELS, level
from reference.register_names import GROUND, KNOWN, access, is_comparable, is_dangerous, read, write
from reference.setup import HCR_RW, SCTLR_EL1, C, M, Setup
from reference.world import DATA, SPECIAL_PAGES, STAGE2_PAGES, special

from emu.arch.sysreg import Encoding


def any_encoding(draw: Draw, known: Sequence[Encoding] = KNOWN) -> Encoding:
    """Return the encoding of a ``known`` register, or, less often, any at all."""
    if draw.random() < 0.7:
        return draw.choice(known)
    crn = draw.choice((0, 1, 2, 4, 5, 9, 10, 11, 12, 13, 15, draw.randrange(16)))
    return draw.choice((2, 3, 3)), draw.randrange(8), crn, draw.randrange(16), draw.randrange(8)


def _comparable(draw: Draw) -> Encoding:
    found = any_encoding(draw, [each for each in KNOWN if is_comparable(each)])
    return found if is_comparable(found) and not _is_of_timer(found) else (3, 0, 0, 0, 0)


def _is_of_timer(encoding: Encoding) -> bool:
    return encoding[0] == 3 and encoding[2] == 14 and encoding not in KNOWN


@kind("sysreg-read")
def sysreg_read(draw: Draw) -> tuple[Setup, list[str]]:
    """MRS of known and unknown registers at each level."""
    setup = level(draw)
    return setup, [read(_comparable(draw), draw.register()) for _ in range(draw.randint(1, 10))]


@kind("sysreg-write")
def sysreg_write(draw: Draw) -> tuple[Setup, list[str]]:
    """MSR of a drawn value, then MRS: which bits can be written."""
    setup, lines = level(draw), []
    for _ in range(draw.randint(1, 8)):
        encoding = _comparable(draw)
        if not is_dangerous(encoding):
            a, b = draw.registers(2)
            lines += [load(a, draw.value()), write(encoding, a), read(encoding, b)]
    return setup, lines


@kind("sysreg-ground")
def sysreg_ground(draw: Draw) -> tuple[Setup, list[str]]:
    """Which bits of the registers that translation and traps are configured by can be written, MMU off."""
    entry, el = draw.choice(((1, 1), (2, 2)))
    a, b, old = draw.registers(3)
    encoding = draw.choice(
        [each for each in sorted(GROUND) if each[1] <= 4 * (el - 1) and each[2:] != (12, 0, 2)]
    )
    keep = {(3, 0, 1, 0, 0): M | 1 << 25 | 1 << 24 | 1 << 19, (3, 4, 1, 0, 0): M | 1 << 25 | 1 << 19}.get(
        encoding, 0
    )
    value = draw.value() & ~keep
    if encoding in ((3, 0, 1, 0, 0), (3, 4, 1, 0, 0)):
        value &= (
            2**32 - 1
        )  # RES0 above; QEMU 7.2 clears bits of features that there are not, and keeps others
    if encoding == (3, 4, 1, 1, 0):
        value &= ~(1 << 27 | 1 << 29 | 1 << 34)  # TGE, HCD (RES0 with an EL3), E2H
        if draw.core.core.features:
            value &= 3 << 40 | 2**34 - 1  # QEMU's has more features
    lines = [access(encoding, old, read=True), load(a, value), access(encoding, a, read=False)]
    return Setup(entry, el), [
        *lines,
        access(encoding, b, read=True),
        access(encoding, old, read=False),
        "isb",
    ]


def _msr_immediate(draw: Draw) -> int:
    # Any of its encodings: most name no field of PSTATE. Not SSBS, DIT, TCO, SME: QEMU's cores have them.
    op1, op2 = draw.choice([(op1, op2) for op1 in range(8) for op2 in range(8) if op1 != 3 or op2 > 4])
    return 0xD500_401F | op1 << 16 | draw.randrange(16) << 8 | op2 << 5


@kind("pstate")
def pstate(draw: Draw) -> tuple[Setup, list[str]]:
    """PSTATE through its instructions and registers, also from EL0 with and without SCTLR_EL1.UMA."""
    setup = level(draw)
    registers = {"sctlr_el1": SCTLR_EL1 | draw.bits(1 << 9) | (M | C if setup.mmu and setup.el < 2 else 0)}
    lines = []
    for _ in range(draw.randint(2, 10)):
        a = draw.register()
        lines += draw.choice(
            (
                [f"msr daifset, #{draw.randrange(16)}"],
                [f"msr daifclr, #{draw.randrange(16)}"],
                [f"msr spsel, #{draw.randrange(2)}", f"mov {a}, sp", "msr spsel, #1"],
                [load(a, draw.bits(0x3C0)), f"msr daif, {a}"],
                [f"mrs {a}, daif"],
                [load(a, draw.value()), f"msr nzcv, {a}"],
                [f"mrs {a}, nzcv"],
                [f"mrs {a}, spsel"],
                [load(a, draw.randrange(2)), f"msr spsel, {a}", f"mov {a}, sp"],
                [f"mrs {a}, currentel"],
                [f".inst {_msr_immediate(draw):#x}"],
            )
        )
    return Setup(setup.entry, setup.el, setup.mmu, registers), lines


_MAINTENANCE = ("dc civac, {}", "dc cvac, {}", "dc ivac, {}", "dc cvau, {}", "dc isw, {}", "dc csw, {}",
                "dc cisw, {}", "ic ialluis", "ic iallu", "ic ivau, {}", "tlbi vmalle1", "tlbi vmalle1is",
                "tlbi vae1, {}", "tlbi vale1is, {}", "tlbi aside1, {}", "tlbi vaae1is, {}", "tlbi alle1",
                "tlbi alle2", "tlbi vae2, {}", "tlbi vmalls12e1", "tlbi ipas2e1, {}", "dc zva, {}",
                "tlbi alle3", "tlbi vae3, {}")  # fmt: skip


def maintain(draw: Draw, address: int, *, mmu: bool) -> list[str]:
    a = draw.register()
    # DC ZVA on Device memory is an alignment fault that QEMU 7.2 does not have.
    zeroes = mmu and address & -0x1000 != special("device")
    text = draw.choice([each for each in _MAINTENANCE if zeroes or "zva" not in each])
    if "tlbi" in text and "v" in text:
        address >>= 12
    return [load(a, 2 if "sw" in text else address), text.format(a)]


@kind("maintenance")
def maintenance(draw: Draw) -> tuple[Setup, list[str]]:
    """Cache and TLB maintenance at each level, on memory that is there and that is not."""
    pages = [special(each) for each in SPECIAL_PAGES if each != "nobody"]
    setup, lines = level(draw), []
    for _ in range(draw.randint(2, 8)):
        address = draw.choice((DATA + 0x100, DATA + 0x104, draw.choice(pages) + 0x80))
        lines += maintain(draw, address, mmu=setup.mmu)
    return setup, lines


@kind("address-translation")
def address_translation(draw: Draw) -> tuple[Setup, list[str]]:
    """AT instructions and what they leave in PAR_EL1."""
    entry, el = draw.choice(LEVELS)
    stage2 = entry == 2 and draw.random() < 0.4
    pages = [special(each) for each in [*SPECIAL_PAGES, *(STAGE2_PAGES if stage2 else ())]] + [
        DATA,
        0x4250_0000,
    ]
    lines = []
    for _ in range(draw.randint(1, 5)):
        a, b = draw.registers(2)
        how = draw.choice(
            ("s1e1r", "s1e1w", "s1e0r", "s1e0w", "s1e2r", "s1e2w", "s12e1r", "s12e1w", "s12e0r")
        )
        lines += [
            load(a, draw.choice(pages) + draw.randrange(4096)),
            f"at {how}, {a}",
            "isb",
            f"mrs {b}, par_el1",
        ]
    registers = {"hcr_el2": HCR_RW | stage2} if entry == 2 else {}
    return Setup(entry, el, draw.random() < 0.8, registers), lines
