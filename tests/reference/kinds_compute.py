"""Kinds of programs: data processing, loads and stores, exclusives, words drawn at random."""

from __future__ import annotations

from reference.drawn import Draw, kind, load
from reference.setup import SCTLR_EL1, A, C, M, Setup
from reference.world import DATA, DATA_SIZE

LEVELS = ((1, 0), (1, 1), (2, 0), (2, 1), (2, 2))
CONDITIONS = ["eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al"]


def level(draw: Draw, *, mmu: bool | None = None) -> Setup:
    """Draw where a program runs, with the usual configuration."""
    entry, el = draw.choice(LEVELS)
    return Setup(entry, el, draw.random() < 0.5 if mmu is None else mmu)


def _sized(draw: Draw, *names: str) -> list[str]:
    return list(names) if draw.random() < 0.5 else [name.replace("x", "w") for name in names]


def _data_processing(draw: Draw) -> str:
    d, n, m, a = _sized(draw, *(draw.register() for _ in range(4)))
    bits = 64 if d[0] == "x" else 32
    shift, place, cond = draw.randrange(bits), draw.randrange(bits), draw.choice(CONDITIONS)
    width = draw.randint(1, bits - place)
    nzcv = draw.randrange(16)
    add = draw.choice(("add", "adds", "sub", "subs"))
    extend = draw.choice(("uxtb", "uxth", "uxtw", "uxtx", "sxtb", "sxth", "sxtw", "sxtx"))
    w = m if extend[3] == "x" and d[0] == "x" else m.replace("x", "w")
    size = "x" if d[0] == "x" else draw.choice("bhw")
    return draw.choice(
        (
            f"{add} {d}, {n}, #{draw.randrange(4096)}{draw.choice(('', ', lsl #12'))}",
            f"{add} {d}, {n}, {m}, {draw.choice(('lsl', 'lsr', 'asr'))} #{shift}",
            f"{add} {d}, {n}, {w}, {extend} #{draw.randrange(5)}",
            f"{draw.choice(('adc', 'adcs', 'sbc', 'sbcs'))} {d}, {n}, {m}",
            f"{draw.choice(('and', 'ands', 'bic', 'bics', 'orr', 'orn', 'eor', 'eon'))} {d}, {n}, {m}, "
            f"{draw.choice(('lsl', 'lsr', 'asr', 'ror'))} #{shift}",
            f"{draw.choice(('and', 'ands', 'orr', 'eor'))} {d}, {n}, #{((1 << draw.randint(1, 31)) - 1):#x}",
            f"{draw.choice(('lsl', 'lsr', 'asr', 'ror'))} {d}, {n}, {m}",
            f"{draw.choice(('ubfx', 'sbfx', 'bfxil'))} {d}, {n}, #{place}, #{width}",
            f"{draw.choice(('ubfiz', 'sbfiz', 'bfi'))} {d}, {n}, #{place}, #{width}",
            f"extr {d}, {n}, {m}, #{shift}",
            f"{draw.choice(('madd', 'msub'))} {d}, {n}, {m}, {a}",
            f"{draw.choice(('udiv', 'sdiv'))} {d}, {n}, {m}",
            f"{draw.choice(('umulh', 'smulh'))} {d.replace('w', 'x')}, {n.replace('w', 'x')}, "
            f"{m.replace('w', 'x')}",
            f"{draw.choice(('umaddl', 'smaddl', 'umsubl'))} {d.replace('w', 'x')}, {n.replace('x', 'w')}, "
            f"{m.replace('x', 'w')}, {a.replace('w', 'x')}",
            f"{draw.choice(('csel', 'csinc', 'csinv', 'csneg'))} {d}, {n}, {m}, {cond}",
            f"{draw.choice(('ccmp', 'ccmn'))} {n}, {m}, #{nzcv}, {cond}",
            f"{draw.choice(('ccmp', 'ccmn'))} {n}, #{draw.randrange(32)}, #{nzcv}, {cond}",
            f"{draw.choice(('rbit', 'rev', 'rev16', 'clz', 'cls'))} {d}, {n}",
            f"rev32 {d.replace('w', 'x')}, {n.replace('w', 'x')}",
            f"{draw.choice(('movz', 'movn', 'movk'))} {d}, #{draw.getrandbits(16)}, "
            f"lsl #{16 * draw.randrange(bits // 16)}",
            f"{draw.choice(('crc32', 'crc32c'))}{size} {d.replace('x', 'w')}, {n.replace('x', 'w')}, {m}",
            f"adr {d.replace('w', 'x')}, . + {4 * draw.randint(-100, 100)}",
            f"b.{cond} 9f\n eor {d}, {n}, {m}\n9:",
            f"{draw.choice(('cbz', 'cbnz'))} {n}, 9f\n eor {d}, {n}, {m}\n9:",
            f"{draw.choice(('tbz', 'tbnz'))} {n}, #{shift}, 9f\n eor {d}, {n}, {m}\n9:",
        )
    )


@kind("data-processing")
def data_processing(draw: Draw) -> tuple[Setup, list[str]]:
    """Integer arithmetic, logic, bit fields, conditions and forward branches."""
    return level(draw), [_data_processing(draw) for _ in range(draw.randint(10, 40))]


def _access(draw: Draw, *, aligned: bool) -> list[str]:
    base, t, u = draw.registers(3)
    index = draw.choice([name for name in draw.registers(4) if name not in (base, t, u)])
    w, v = t.replace("x", "w"), u.replace("x", "w")
    at = DATA + draw.randrange(256, DATA_SIZE - 768)
    at = at & ~15 if aligned else at
    simd = draw.randrange(32)
    forms: tuple[tuple[str, str, int], ...] = (
        ("ldr", t, 8), ("str", t, 8), ("ldr", w, 4), ("str", w, 4), ("ldrb", w, 1), ("strb", w, 1),
        ("ldrh", w, 2), ("strh", w, 2), ("ldrsb", t, 1), ("ldrsb", w, 1), ("ldrsh", t, 2), ("ldrsh", w, 2),
        ("ldrsw", t, 4), ("ldr", f"q{simd}", 16), ("str", f"q{simd}", 16), ("ldr", f"d{simd}", 8),
        ("str", f"d{simd}", 8), ("ldr", f"s{simd}", 4), ("str", f"h{simd}", 2), ("ldr", f"b{simd}", 1),
    )  # fmt: skip
    pairs: tuple[tuple[str, str, int], ...] = (
        ("ldp", f"{t}, {u}", 8), ("stp", f"{t}, {u}", 8), ("ldp", f"{w}, {v}", 4), ("stp", f"{w}, {v}", 4),
        ("ldpsw", f"{t}, {u}", 4), ("ldp", f"q{simd}, q{31 - simd}", 16),
        ("stp", f"q{simd}, q{31 - simd}", 16),
    )  # fmt: skip
    lines = [load(base, at)]
    which = draw.randrange(8)
    if which == 0:
        name, registers, size = draw.choice(pairs)
        by = size * draw.randint(-8, 8)
        place = draw.choice((f"[{base}, #{by}]", f"[{base}, #{by}]!", f"[{base}], #{by}"))
        return [*lines, f"{name} {registers}, {place}"]
    if which == 1:
        name, registers, size = draw.choice((*forms[:4], ("ldrb", w, 1), ("ldrh", w, 2)))
        ordered = {"ldr": "ldar", "str": "stlr", "ldrb": "ldarb", "ldrh": "ldarh"}[name]
        return [load(base, at & ~15), f"{ordered} {registers}, [{base}]"]
    if which == 2:
        name, registers, _ = draw.choice(forms[:13])
        plain = name.replace("ld", "ldt", 1).replace("st", "stt", 1).replace("ldtr", "ldtr")
        by = draw.randrange(-16, 16) * (16 if aligned else 1)
        return [*lines, f"{plain} {registers}, [{base}, #{by}]"]
    name, registers, size = draw.choice(forms)
    by = draw.randrange(-16, 16) * (16 if aligned else 1)
    if which == 3:
        return [*lines, f"{name} {registers}, [{base}, #{draw.randrange(16) * size}]"]
    if which == 4:
        place = draw.choice((f"[{base}, #{by}]!", f"[{base}], #{by}"))
        return [*lines, f"{name} {registers}, {place}"]
    if which == 5:
        scale = draw.choice(("", f" #{size.bit_length() - 1}"))
        extend = draw.choice(("lsl", "uxtw", "sxtw", "sxtx"))
        half = index.replace("x", "w") if extend[3:] == "w" else index
        if extend == "lsl" and not scale:
            place = f"[{base}, {index}]"
        else:
            place = f"[{base}, {half}, {extend}{scale}]"
        return [
            *lines,
            load(index, draw.randrange(16) * (16 if aligned else 1)),
            f"{name} {registers}, {place}",
        ]
    if which == 6:
        sp = draw.randrange(16) * (16 if aligned else size)
        return [f"{name} {registers}, [sp, #{sp - sp % size}]"]
    return [*lines, f"{name.replace('ldr', 'ldur').replace('str', 'stur')} {registers}, [{base}, #{by}]"]


@kind("memory-mmu-off")
def memory_mmu_off(draw: Draw) -> tuple[Setup, list[str]]:
    """Aligned loads and stores of every form with translation off."""
    lines = [_access(draw, aligned=True) for _ in range(draw.randint(6, 20))]
    return level(draw, mmu=False), [line for group in lines for line in group]


@kind("memory-mmu-on")
def memory_mmu_on(draw: Draw) -> tuple[Setup, list[str]]:
    """Loads and stores of every form to Normal memory, aligned or not."""
    lines = [_access(draw, aligned=draw.random() < 0.3) for _ in range(draw.randint(6, 20))]
    return level(draw, mmu=True), [line for group in lines for line in group]


@kind("alignment")
def alignment(draw: Draw) -> tuple[Setup, list[str]]:
    """Unaligned accesses with SCTLR_ELx.A set, and of those that must always be aligned."""
    lines: list[str] = []
    base, t, u, s = draw.registers(4)
    w = t.replace("x", "w")
    always = (f"ldxr {t}, [{base}]", f"ldaxrh {w}, [{base}]", f"ldxp {t}, {u}, [{base}]",
              f"ldar {t}, [{base}]",
              f"stlr {w}, [{base}]", f"stxr {s.replace('x', 'w')}, {t}, [{base}]", f"ldar {w}, [{base}]",
              f"stlrh {w}, [{base}]")  # fmt: skip
    plain = (f"ldr {t}, [{base}]", f"str {t}, [{base}]", f"ldp {t}, {u}, [{base}]", f"ldrh {w}, [{base}, #2]",
             f"str {w}, [{base}], #4", f"ldtr {t}, [{base}]", f"ldr q3, [{base}]",
             f"stp {w}, {w}, [{base}, #8]!")  # fmt: skip
    checked = draw.random() < 0.6
    for _ in range(draw.randint(1, 6)):
        at = DATA + draw.randrange(256, DATA_SIZE - 256)
        lines += [load(base, at), draw.choice(always if draw.random() < 0.4 or not checked else plain)]
    entry, el = draw.choice(((1, 0), (1, 1), (2, 0), (2, 1)))
    registers = {"sctlr_el1": SCTLR_EL1 | M | C | (A if checked else 0)}
    return Setup(entry, el, True, registers), lines


@kind("exclusive")
def exclusive(draw: Draw) -> tuple[Setup, list[str]]:
    """Load-exclusive, perhaps something between, store-exclusive: matched and not."""
    lines: list[str] = []
    for _ in range(draw.randint(2, 8)):
        base, t, u, s, p, q = draw.registers(6)
        at = DATA + 16 * draw.randrange(16, DATA_SIZE // 16 - 16)
        names = {"b": "w", "h": "w", "w": "w", "": "x"}
        size = draw.choice(list(names))
        suffix = size if size in "bh" else ""
        wide = names[size]
        a, r = draw.choice(("", "a")), draw.choice(("", "l"))
        status = s.replace("x", "w")
        one = f"ld{a}xr{suffix} {t.replace('x', wide)}, [{base}]"
        two = f"st{r}xr{suffix} {status}, {u.replace('x', wide)}, [{base}]"
        if draw.random() < 0.3:
            one = f"ld{a}xp {t.replace('x', wide)}, {p.replace('x', wide)}, [{base}]"
            two = f"st{r}xp {status}, {u.replace('x', wide)}, {q.replace('x', wide)}, [{base}]"
        between = draw.choice(
            ("nop", "clrex", "dmb ish", f"add {u}, {t}, #1", "ldr xzr, [sp]", "svc #1", f"mov {u}, {t}")
        )
        again = draw.choice(("nop", two, f"ldr {p}, [{base}]"))
        lines += [load(base, at), one, between, two, again]
    return level(draw), lines


_BRANCHES = ((0x14, 0x7C), (0x34, 0x7E), (0x36, 0x7E), (0x54, 0xFE), (0xD6, 0xFE))  # top byte: value, mask


def _is_safe(word: int, *, mmu: bool, later: bool) -> bool:
    # No branch, no system instruction, no access to the handlers' registers, no semihosting. With the MMU off
    # no load or store: devices of the two sides differ, and QEMU 7.2 lets unaligned accesses pass.
    top = word >> 24
    if later and top & 0xE == 0xE:
        return False  # QEMU's later cores have half precision and more of SIMD
    if not mmu and top >> 1 & 5 == 4:
        return False
    if any(top & mask == value for value, mask in _BRANCHES) or top in (0xD4, 0xD5):
        return False
    return not any(word >> at & 31 in (26, 27, 28) for at in (0, 5, 10, 16))


@kind("random-words")
def random_words(draw: Draw) -> tuple[Setup, list[str]]:
    """Words of no special form: most are UNDEFINED, or fault, or compute something."""
    setup = level(draw)
    words: list[str] = []
    while len(words) < 12:
        word = draw.getrandbits(32)
        if draw.random() < 0.5:  # more of loads and stores, and of data processing
            word = word & ~(0xE << 24 | 0) | draw.choice((0x8, 0x8, 0xA, 0xB, 0xC, 0x9)) << 24
        if _is_safe(word, mmu=setup.mmu, later=bool(draw.core.core.features)):
            words.append(f".inst {word:#010x}")
    return setup, words
