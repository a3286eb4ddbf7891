"""Kinds of programs: translation by tables that are drawn, tagged addresses."""

from __future__ import annotations

from reference.drawn import Draw, kind, load
from reference.drawn_tables import (
    BLOCK_LEVELS,
    PAGE_SHIFTS,
    TABLES_PA,
    TABLES_SIZE,
    TG1,
    Tables,
    descriptor,
    hierarchy,
)
from reference.kinds_exceptions import branch
from reference.setup import HCR_RW, HCR_TGE, SCTLR_EL1, SCTLR_EL2, TCR_EL1, TCR_EL2, C, M, Setup
from reference.world import CODE, DATA, DATA_SIZE, special

from emu.arch import sysreg

_WIDTH_MIN = 32  # bits of a VA that code at CODE needs
_WALKS = 3 << 12 | 1 << 10 | 1 << 8
_ACCESSES = ("ldr {1}, [{0}]", "str {1}, [{0}]", "ldrb {2}, [{0}]", "strh {2}, [{0}]", "ldp {1}, {3}, [{0}]",
             "stp {1}, {3}, [{0}]", "ldr {1}, [{0}], #8", "str {1}, [{0}, #8]!", "ldtr {1}, [{0}]",
             "sttr {2}, [{0}]", "ldxr {1}, [{0}]", "stlr {1}, [{0}]", "ldr q1, [{0}]", "dc civac, {0}",
             "ldtrb {2}, [{0}]", "sttrh {2}, [{0}]")  # fmt: skip


def _where(draw: Draw) -> tuple[int, int, bool, bool]:
    # Entry level, level, VHE, and whether the regime is EL2's.
    places = [(1, 0, False, False), (1, 1, False, False), (2, 0, False, False), (2, 1, False, False)]
    places.append((2, 2, False, True))
    if draw.core.core.has("FEAT_VHE"):
        places += [(2, 2, True, True), (2, 0, True, True), (2, 2, True, True)]
    return draw.choice(places)


def _granules(draw: Draw) -> list[int]:
    mmfr0 = draw.core.core.id_register_or_default(sysreg.ID_AA64MMFR0_EL1)
    return [12, 12, 16, *([14, 14] if mmfr0 >> 20 & 15 == 1 else [])]


def _mapped(draw: Draw, tables: Tables, root: int, width: int, base: int) -> list[tuple[int, bool]]:
    # Map something; VAs, and whether there is code behind them.
    found = []
    for _ in range(draw.randint(1, 3)):
        level = draw.choice(BLOCK_LEVELS[tables.shift])
        size = tables.shift + (tables.shift - 3) * (3 - level)
        if size >= width:
            continue
        is_code = draw.random() < 0.3
        pa = (
            special("user-execute") + 0x40
            if is_code
            else DATA + 16 * draw.randrange(16, DATA_SIZE // 16 - 16)
        )
        offset = pa & (1 << size) - 1
        va = (draw.getrandbits(width - 1) | 1 << width - 1) & -(1 << size) | offset
        tables.put(root, width, va, level, descriptor(draw, tables.shift, level, pa), hierarchy(draw))
        found.append((base + va, is_code))
    return found


@kind("translation")
def translation(draw: Draw) -> tuple[Setup, list[str]]:
    """Accesses and branches by any granule, level and attributes, in every regime of the core."""
    entry, el, vhe, is_el2 = _where(draw)
    two_ranges = not is_el2 or vhe
    shift, width = draw.choice(_granules(draw)), 64 - draw.randint(16, 64 - _WIDTH_MIN)
    low = Tables(shift, TABLES_PA)
    root = low.root()
    low.put_needed(root, width)
    targets = _mapped(draw, low, root, width, 0)
    regions = [low.region()]
    granule = {value: number for number, value in PAGE_SHIFTS.items()}[shift]
    name = "2" if is_el2 else "1"
    registers = {f"ttbr0_el{name}": root}
    size, tbi = draw.choice((0, 1, 2, 3, 5, 5, 5)), draw.bits(1)
    if two_ranges:
        shift1, width1 = draw.choice(_granules(draw)), 64 - draw.randint(16, 39)
        high = Tables(shift1, TABLES_PA + TABLES_SIZE)
        root1 = high.root()
        if width1 > shift1 + 1:
            targets += _mapped(draw, high, root1, width1, 2**64 - (1 << width1))
        regions.append(high.region())
        tcr = 64 - width | 64 - width1 << 16 | granule << 14 | TG1[shift1] << 30 | size << 32 | _WALKS
        tcr |= 3 << 28 | 1 << 26 | 1 << 24 | tbi << 37 | draw.bits(1 << 38) | (draw.random() < 0.1) << 23
        registers |= {f"ttbr1_el{name}": root1, f"tcr_el{name}": tcr}
    else:
        registers[f"tcr_el{name}"] = (
            1 << 31 | 1 << 23 | 64 - width | granule << 14 | size << 16 | tbi << 20 | _WALKS
        )
    wxn = (draw.random() < 0.2) << 19
    if is_el2:
        registers["sctlr_el2"] = SCTLR_EL2 | M | C | 1 << 12 | wxn
        if vhe:
            registers["sctlr_el2"] |= SCTLR_EL1 & ~SCTLR_EL2
        registers["hcr_el2"] = HCR_RW | (HCR_TGE if el == 0 or draw.random() < 0.5 else 0)
        if not vhe:
            registers["hcr_el2"] = HCR_RW
    else:
        registers["sctlr_el1"] = SCTLR_EL1 | M | C | 1 << 12 | wxn
        if entry == 2:
            registers["hcr_el2"] = HCR_RW | (draw.random() < 0.25)
    lines = []
    nowhere = draw.choice((1 << width, 1 << 55, 1 << 63, 2**64 - 4096, draw.getrandbits(64) & -16))
    targets.append((nowhere, False))
    for _ in range(draw.randint(1, 5)):
        va, is_code = draw.choice(targets)
        a, t, u = draw.registers(3)
        if draw.random() < 0.15:
            va ^= draw.getrandbits(8) << 56
        if is_code or (va == nowhere and draw.random() < 0.3):
            lines.append(branch("x5", va, "br x5"))
        else:
            lines += [load(a, va), draw.choice(_ACCESSES).format(a, t, t.replace("x", "w"), u)]
    return Setup(entry, el, True, registers, vhe=vhe, regions=tuple(regions)), lines


@kind("tagged")
def tagged(draw: Draw) -> tuple[Setup, list[str]]:
    """Top bytes of addresses that TCR_ELx.TBI has ignored or not: data, branches, exception returns."""
    entry, el = draw.choice(((1, 0), (1, 1), (2, 0), (2, 1), (2, 2)))
    mmu = draw.random() < 0.7
    registers = {"tcr_el1": TCR_EL1 | draw.bits(3 << 37)}
    if entry == 2:
        registers["tcr_el2"] = TCR_EL2 | draw.bits(1 << 20)
    lines = []
    for _ in range(draw.randint(1, 5)):
        a, t = draw.registers(2)
        tag = draw.choice((0, 1, 0x7F, 0x80, 0xFF, 0x55)) << 56
        low = draw.choice((DATA + 0x100, DATA + 0x100, 0xFF_0000_0000_0000 | DATA, 1 << 55 | DATA))
        if draw.random() < 0.4:
            low = draw.choice((CODE - CODE, 0xFF_0000_0000_0000)) | special("user-execute") + 0x20
            how = draw.choice(("br {0}", "blr {0}", "ret {0}"))
            lines.append(branch(a, tag | low, how.format(a)))
        else:
            how = draw.choice(
                ("ldr {1}, [{0}]", "str {1}, [{0}]", "ldp {1}, xzr, [{0}, #16]!", "prfm pldl1keep, [{0}]")
            )
            lines += [load(a, tag | low), how.format(a, t)]
    return Setup(entry, el, mmu, registers), lines
