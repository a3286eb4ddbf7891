"""Words of instructions that Keystone 0.9.2 refuses: FEAT_LSE, FEAT_LOR, FEAT_LRCPC, FEAT_LRCPC2.

:source: Arm DDI 0487, C4.1.88 "Loads and stores"; C6.2 CAS, CASP, SWP, LDADD, LDAPR, LDAPUR, LDLAR, STLLR
"""

from __future__ import annotations

import re

_UPDATES = ("add", "clr", "eor", "set", "smax", "smin", "umax", "umin")
_MNEMONIC = re.compile(
    rf"(?:(?P<update>swp|ld(?:{'|'.join(_UPDATES)})|cas)(?P<acquire>a?)(?P<release>l?)(?P<size>[bh]?)"
    r"|casp(?P<pair>a?)(?P<pair_release>l?)"
    rf"|st(?P<store>{'|'.join(_UPDATES)})(?P<store_release>l?)(?P<store_size>[bh]?)"
    r"|(?P<ordered>ldapr|ldlar|stllr|ldapur|stlur)(?P<ordered_size>[bh]?))\s+",
    re.IGNORECASE,
)
_ORDERED = {"ldapr": 0x38BF_C000, "ldlar": 0x08DF_7C00, "stllr": 0x089F_7C00}
_ORDERED |= {"ldapur": 0x1940_0000, "stlur": 0x1900_0000}
_BASE = re.compile(r"\[\s*(x\d+|sp)\s*(?:,\s*#?(-?\w+)\s*)?\]$", re.IGNORECASE)
_REGISTER = re.compile(r"([wx])(\d+|zr)$", re.IGNORECASE)
_SIZES = {"b": 0, "h": 1, "w": 2, "x": 3}


def later_word(text: str) -> int | None:
    """Return the word (u32) of an instruction; None: it is none of these, or its operands are wrong."""
    match = _MNEMONIC.match(text)
    if match is None:
        return None
    operands = [operand.strip() for operand in text[match.end() :].split(",")]
    if len(operands) > 1 and operands[-1].endswith("]") and "[" not in operands[-1]:
        operands[-2:] = [", ".join(operands[-2:])]
    base = _BASE.match(operands.pop())
    registers = [_REGISTER.match(operand) for operand in operands]
    if base is None or not all(registers):
        return None
    kinds = {found[1].lower() for found in registers if found}
    numbers = [31 if found[2].lower() == "zr" else int(found[2]) for found in registers if found]
    address = 31 if base[1].lower() == "sp" else int(base[1][1:])
    try:
        offset = int(base[2] or "0", 0)
    except ValueError:
        return None
    if len(kinds) != 1 or any(number > 31 for number in (*numbers, address)) or address > 31:
        return None
    return _word(
        {name: value.lower() for name, value in match.groupdict().items() if value is not None},
        kinds.pop(),
        numbers,
        address,
        offset,
    )


def _word(parts: dict[str, str], kind: str, numbers: list[int], base: int, offset: int) -> int | None:
    narrow = parts.get("size") or parts.get("store_size") or parts.get("ordered_size") or ""
    if narrow and kind == "x":
        return None
    size = _SIZES[narrow or kind] << 30
    if "ordered" in parts:
        name = parts["ordered"]
        scaled = name in ("ldapur", "stlur")
        if len(numbers) != 1 or (offset and not scaled) or not -256 <= offset < 256:
            return None
        return _ORDERED[name] | size | (offset & 0x1FF) << 12 | base << 5 | numbers[0]
    if offset:
        return None
    if "store" in parts:
        if len(numbers) != 1:
            return None
        release = bool(parts["store_release"]) << 22
        return _update(parts["store"]) | size | release | numbers[0] << 16 | base << 5 | 31
    if "pair" in parts:
        first, second = numbers[:2], numbers[2:]
        if len(numbers) != 4 or any(low % 2 or high != low + 1 for low, high in (first, second)):
            return None
        order = bool(parts["pair"]) << 22 | bool(parts["pair_release"]) << 15
        return 0x0820_7C00 | (kind == "x") << 30 | order | first[0] << 16 | base << 5 | second[0]
    if len(numbers) != 2:
        return None
    acquire, release = bool(parts["acquire"]), bool(parts["release"])
    if parts["update"] == "cas":
        return 0x08A0_7C00 | size | acquire << 22 | release << 15 | numbers[0] << 16 | base << 5 | numbers[1]
    order = acquire << 23 | release << 22
    return (
        _update(parts["update"].removeprefix("ld")) | size | order | numbers[0] << 16 | base << 5 | numbers[1]
    )


def _update(name: str) -> int:
    return 0x3820_8000 if name == "swp" else 0x3820_0000 | _UPDATES.index(name) << 12
