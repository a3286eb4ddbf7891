"""Kinds of programs: instructions of later architectures. A core without them has them UNDEFINED, or NOPs."""

from __future__ import annotations

from reference.drawn import Draw, kind, load
from reference.kinds_compute import LEVELS
from reference.kinds_exceptions import branch
from reference.setup import HCR_PAUTH, HCR_RW, SCTLR_EL1, SCTLR_EL2, C, M, Setup
from reference.world import DATA, DATA_SIZE, LANDINGS, LOG, special


def _at(draw: Draw) -> int:
    at = DATA + 16 * draw.randrange(16, DATA_SIZE // 16 - 16)
    return at + draw.randrange(1, 16) if draw.random() < 0.1 else at


def _order(draw: Draw) -> str:
    return draw.choice(("", "a", "l", "al"))


@kind("atomics")
def atomics(draw: Draw) -> tuple[Setup, list[str]]:
    """FEAT_LSE: LD<op>, ST<op>, SWP, CAS, CASP of every size and order, aligned or not."""
    lines: list[str] = []
    for _ in range(draw.randint(1, 8)):
        base, s, t = draw.registers(3)
        wide = draw.random() < 0.5
        size = "" if wide else draw.choice(("", "b", "h"))
        if not wide:
            s, t = s.replace("x", "w"), t.replace("x", "w")
        which = draw.randrange(5)
        op = draw.choice(("add", "clr", "eor", "set", "smax", "smin", "umax", "umin"))
        if which == 0:
            low, low2 = 2 * draw.randrange(6), 2 * draw.randrange(6, 12)
            r = "x" if wide else "w"
            lines += [
                load("x25", _at(draw)),
                f"casp{_order(draw)} {r}{low}, {r}{low + 1}, {r}{low2}, {r}{low2 + 1}, [x25]",
            ]
            continue
        how = {1: f"cas{_order(draw)}{size} {s}, {t}, [{base}]",
               2: f"swp{_order(draw)}{size} {s}, {t}, [{base}]",
               3: f"st{op}{draw.choice(('', 'l'))}{size} {s}, [{base}]",
               4: f"ld{op}{_order(draw)}{size} {s}, {t}, [{base}]"}[which]  # fmt: skip
        lines += [load(base, _at(draw)), how]
        if draw.random() < 0.3:  # a compare that holds
            first = how.split()[1]
            lines += [f"ldr {first} [{base}]".replace(",", ","), how]
    entry, el = draw.choice(LEVELS)
    return Setup(entry, el, True), lines


@kind("acquire-pc")
def acquire_pc(draw: Draw) -> tuple[Setup, list[str]]:
    """FEAT_LRCPC and FEAT_LRCPC2: LDAPR, and LDAPUR and STLUR, aligned or not.

    QEMU 7.2 lets an unaligned LDAPR pass. Arm DDI 0487, B2.5: one that acquires is to be aligned.
    """
    lines: list[str] = []
    for _ in range(draw.randint(1, 8)):
        base, t = draw.registers(2)
        w, by = t.replace("x", "w"), 16 * draw.randrange(-8, 8)
        at = _at(draw)
        if draw.random() < 0.5:
            lines += [
                load(base, at & -16),
                draw.choice(
                    (
                        f"ldapr {t}, [{base}]",
                        f"ldapr {w}, [{base}]",
                        f"ldaprb {w}, [{base}]",
                        f"ldaprh {w}, [{base}]",
                    )
                ),
            ]
            continue
        lines += [
            load(base, at),
            draw.choice(
                (f"ldapur {t}, [{base}, #{by}]", f"stlur {t}, [{base}, #{by}]",
                 f"ldapursw {t}, [{base}, #{by}]",
                 f"ldapurb {w}, [{base}, #{by}]", f"stlurh {w}, [{base}, #{by}]")
            ),
        ]  # fmt: skip
    entry, el = draw.choice(LEVELS)
    return Setup(entry, el, True), lines


_KEYS = [(3, 0, 2, crm, op2) for crm, last in ((1, 4), (2, 4), (3, 2)) for op2 in range(last)]
_HINTS = ("paciaz", "paciasp", "pacibz", "pacibsp", "autiaz", "autiasp", "autibz", "autibsp", "xpaclri",
          "pacia1716", "pacib1716", "autia1716", "autib1716")  # fmt: skip


@kind("pointer-authentication")
def pointer_authentication(draw: Draw) -> tuple[Setup, list[str]]:
    """Signing and authenticating, with any key, enabled or not, trapped or not; NOPs on a core without it.

    Not LDRAA and LDRAB, nor signing what is no canonical address: the engine has both wrong, so emu says that
    it does not model them.
    """
    entry, el = draw.choice(LEVELS)
    enabled = draw.bits(1 << 31 | 1 << 30 | 1 << 27 | 1 << 13)
    registers = {"sctlr_el1": SCTLR_EL1 | enabled | M | C, "sctlr_el2": SCTLR_EL2 | enabled | M | C}
    registers["tcr_el1"] = 16 | 16 << 16 | 2 << 30 | 5 << 32 | 3 << 12 | 1 << 10 | 1 << 8 | draw.bits(3 << 37)
    if entry == 1:
        del registers["sctlr_el2"]
    else:
        registers["hcr_el2"] = HCR_RW | (HCR_PAUTH if draw.random() < 0.7 else draw.bits(HCR_PAUTH))
    lines = []
    for _ in range(draw.randint(0, 3)):
        _, op1, crn, crm, op2 = draw.choice(_KEYS)
        a = draw.register()
        lines += [load(a, draw.getrandbits(64)), f"msr s3_{op1}_c{crn}_c{crm}_{op2}, {a}"]
    for _ in range(draw.randint(2, 10)):
        a, b, c = draw.registers(3)
        key = draw.choice(("ia", "ib", "da", "db"))
        address = draw.choice((DATA + 0x100, special("user-execute") + 0x20, draw.getrandbits(48)))
        other = draw.choice((address, draw.getrandbits(64)))  # what is authenticated may be anything
        how = draw.choice(
            (
                [load("x17", address), load("x30", address), draw.choice(_HINTS)],
                [f"pac{key} {a}, {b}", f"mov {c}, {a}", f"aut{key} {a}, {b}"],
                [load(a, other), f"aut{key} {a}, {draw.choice((b, 'sp'))}"],
                [f"pac{draw.choice(('iza', 'izb', 'dza', 'dzb'))} {a}"],
                [f"pacga {a}, {b}, {c}"],
                [f"{draw.choice(('xpaci', 'xpacd'))} {a}"],
                [load("x30", special("user-execute")), "paciasp", "mov x29, x30", "autiasp"],
            )
        )
        lines += [load(a, address), load(b, DATA + 0x200), *how]
        if draw.random() < 0.3:
            sign, go = draw.choice((("pacia x5, x6", "braa x5, x6"), ("pacizb x5", "blrabz x5"),
                                    ("nop", "braaz x5"), ("pacib x5, x6", "braa x5, x6")))  # fmt: skip
            lines.append(branch("x5", special("user-execute") + 0x20, f"{sign}\n{go}"))
    return Setup(entry, el, True, registers), lines


@kind("branch-targets")
def branch_targets(draw: Draw) -> tuple[Setup, list[str]]:
    """Indirect branches into a guarded page: what may be landed on, and what PSTATE.BTYPE is in SPSR."""
    entry, el = draw.choice(LEVELS)
    bt = draw.bits(3 << 35)
    registers = {"sctlr_el1": SCTLR_EL1 | bt | M | C}
    if entry == 2:
        registers |= {"sctlr_el2": SCTLR_EL2 | bt | M | C, "hcr_el2": HCR_RW | HCR_PAUTH}
    lines = []
    for _ in range(draw.randint(1, 6)):
        register = draw.choice(("x5", "x16", "x17"))
        how = draw.choice(("br", "blr", "ret", "br"))
        landing = special("guarded") + 16 * draw.randrange(len(LANDINGS))
        lines.append(branch(register, landing, f"{how} {register}"))
        if draw.random() < 0.3:
            lines.append(
                "\n".join(
                    [
                        "adr x5, 1f",
                        "br x5",
                        f"1: {draw.choice(('svc #2', 'mrs x1, currentel', 'udf #0', 'nop'))}",
                    ]
                )
            )
    return Setup(entry, el, True, registers), lines


@kind("privileged-access")
def privileged_access(draw: Draw) -> tuple[Setup, list[str]]:
    """FEAT_PAN and FEAT_UAO: accesses by what each lets through, and what exceptions make of PSTATE."""
    entry, el = draw.choice(((1, 1), (2, 1), (2, 2), (1, 0)))
    registers = {"sctlr_el1": SCTLR_EL1 & ~(1 << 23) | draw.bits(1 << 23) | M | C}
    pages = [DATA + 0x200, LOG + 0x480, special("read-only"), special("read-only-el1"), special("el1-only"),
             special("no-execute"), special("contiguous"), special("user-execute")]  # fmt: skip
    lines = []
    for _ in range(draw.randint(2, 8)):
        a, t = draw.registers(2)
        lines += draw.choice(
            (
                [f".inst {0xD500_409F | draw.randrange(2) << 8:#x} // msr pan"],
                [f".inst {0xD500_407F | draw.randrange(2) << 8:#x} // msr uao"],
                [f"mrs {a}, s3_0_c4_c2_3", f"mrs {t}, s3_0_c4_c2_4"],
                [f"svc #{draw.randrange(9)}"],
                *(
                    [load(a, draw.choice(pages)), f"{how} {t}, [{a}, #8]"]
                    for how in ("ldr", "str", "ldtr", "sttr")
                ),
                [load(a, draw.choice(pages)), f"at s1e1rp, {a}", f"mrs {t}, par_el1"],
            )
        )
    return Setup(entry, el, True, registers), lines
