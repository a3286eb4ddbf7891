"""Whether a symbol table is that of an image: symbols of another build would silently have wrong addresses.

What the table says is held against the image's header and against its code: the branch at its entry, the
calls of its functions, the addresses that its boot code forms, its pointers.
"""

from __future__ import annotations

from emu.errors import InvalidSubject, Untestable
from emu.subject.image import ImageHeader
from emu.subject.link_address import is_kernel_va, pointers
from emu.subject.recover import BootFunctions
from emu.subject.symbols import Symbols

_ALIGNMENT = 2 << 20  # of KIMAGE_VADDR
_CURE = "another build; give --system-map FILE"
_ENTRIES = ("primary_entry", "stext")  # Linux v5.7 renamed it
_LOOKED_AT = 8192  # instructions; one of twenty is a call
# In Debian's kernels 9,991 or more of 10,000 calls go to a symbol; with every symbol moved, 724 or fewer.
_CALLS_ASTRAY = 0.02
_CALLS_MIN = 50
_POINTERS_MIN = 50
_VA, _NAME = 16, 19  # of a row: digits of the VA; where the name begins


def link_address(symbols: Symbols, header: ImageHeader, source: str) -> int:
    """Return the VA (u64) of the image's first byte.

    :param source: where the table is from, in messages
    :raises Untestable: the table does not say
    """
    base = symbols.address("_text")
    if base is not None:
        return base
    # kallsyms without data symbols begins at _stext, less than 2 MiB above _text.
    stext = symbols.address("_stext")
    if stext is None:
        raise Untestable(f"{source}: no symbol _text or _stext: not the symbols of a Linux kernel")
    return (stext - header.text_offset & -_ALIGNMENT) + header.text_offset


def check_agreement(
    symbols: Symbols, image: bytes, base_va: int, header: ImageHeader, source: str, name: str
) -> None:
    """Refuse a table that is not the image's.

    :param base_va: VA of the image's first byte, by the table
    :param source: where the table is from, in messages
    :param name: the image's name in messages
    :raises InvalidSubject: it is of another build, its addresses are no kernel's, or the image is cut off
    """
    if not is_kernel_va(base_va) or (base_va - header.text_offset) % _ALIGNMENT:
        rule = f"must be a kernel VA, {header.text_offset:#x} above a multiple of 2 MiB"
        raise InvalidSubject(f"{source}: _text={base_va:#x}: {rule}; give --system-map FILE")
    _check_bounds(symbols, image, base_va, header, source, name)
    _check_entry(symbols, image, base_va, source, name)
    _check_formed(symbols, image, base_va, source, name)
    _check_calls(symbols, image, base_va, source, name)
    _check_pointers(image, base_va, header, source, name)


def check_names(symbols: Symbols, own: Symbols, source: str, name: str) -> None:
    """Refuse a table that has a symbol elsewhere than the kernel's own kallsyms, ``own``, which are believed.

    :param source: where the table is from, in messages
    :param name: the image's name in messages
    :raises InvalidSubject: it has
    """
    rows = set(symbols.text.split(b"\n"))
    astray = {row[_NAME:]: row for row in own.text.split(b"\n") if row not in rows}
    if not astray:
        return
    # The letter of a symbol may differ, and a name may be that of several.
    theirs: dict[bytes, set[bytes]] = {}
    for row in rows:
        if row[_NAME:] in astray:
            theirs.setdefault(row[_NAME:], set()).add(row[:_VA])
    for row in own.text.split(b"\n"):
        found = theirs.get(row[_NAME:])
        if row and found and row[:_VA] not in found:
            symbol, va = row[_NAME:].decode(errors="backslashreplace"), int(min(found), 16)
            where = f"kallsyms in {name} have it at {int(row[:_VA], 16):#x}"
            raise InvalidSubject(f"{source}: {symbol}={va:#x}: {where}; {_CURE}")


def _check_bounds(
    symbols: Symbols, image: bytes, base_va: int, header: ImageHeader, source: str, name: str
) -> None:
    end, edata, banner = (symbols.address(symbol) for symbol in ("_end", "_edata", "linux_banner"))
    if end is not None and end - base_va != header.image_size:
        rule = f"{name} has image_size {header.image_size:#x}"
        raise InvalidSubject(f"{source}: _end - _text = {end - base_va:#x}: {rule}; {_CURE}")
    if banner is not None and not image.startswith(b"Linux version ", max(banner - base_va, 0)):
        raise InvalidSubject(f"{source}: linux_banner={banner:#x}: {name} has no banner there; {_CURE}")
    if edata is not None and len(image) < edata - base_va:
        raise InvalidSubject(
            f"{name}: {len(image):#x} bytes: _edata is at {edata - base_va:#x}; it is truncated"
        )


def _check_entry(symbols: Symbols, image: bytes, base_va: int, source: str, name: str) -> None:
    # code0 or code1 of the header branches to it (booting.rst); with an EFI stub, code0 is "MZ".
    for at in (0, 4):
        word = int.from_bytes(image[at : at + 4], "little")
        if word >> 26 != 0b000101:  # b
            continue
        for entry in _ENTRIES:
            va = symbols.address(entry)
            if va is not None and va != _branch_target(word, base_va + at):
                target = f"the header of {name} branches to {_branch_target(word, base_va + at):#x}"
                raise InvalidSubject(f"{source}: {entry}={va:#x}: {target}; {_CURE}")


def _check_formed(symbols: Symbols, image: bytes, base_va: int, source: str, name: str) -> None:
    for symbol, formed in BootFunctions(image, base_va, symbols).formed().items():
        va, found = symbols.address(symbol), symbols.at(formed)
        # A kernel with a boot path of its own may use another symbol there, but it is one.
        if va is not None and (found is None or found[1]):
            used = f"the boot code of {name} uses {formed:#x}, which is no symbol"
            raise InvalidSubject(f"{source}: {symbol}={va:#x}: {used}; {_CURE}")


def _check_calls(symbols: Symbols, image: bytes, base_va: int, source: str, name: str) -> None:
    start, end = symbols.address("_stext"), symbols.address("_etext")
    if start is None or end is None or not base_va <= start < end:
        return
    text = image[start - base_va : end - base_va & ~3]
    words = memoryview(text[: len(text) & ~3]).cast("I")
    numbers = range(0, len(words), len(words) // _LOOKED_AT + 1)
    calls = [number for number in numbers if words[number] >> 26 == 0b100101]  # bl
    if len(calls) < _CALLS_MIN:
        return
    astray = 0
    for number in calls:
        found = symbols.at(_branch_target(words[number], start + 4 * number))
        astray += found is None or found[1] != 0
    if astray > _CALLS_ASTRAY * len(calls):
        raise InvalidSubject(
            f"{source}: {astray} of {len(calls)} calls in the text of {name} go to no symbol; {_CURE}"
        )


def _check_pointers(image: bytes, base_va: int, header: ImageHeader, source: str, name: str) -> None:
    found = pointers(image)
    inside = sum(base_va <= pointer < base_va + header.image_size for pointer in found)
    if len(found) >= _POINTERS_MIN and 2 * inside < len(found):
        raise InvalidSubject(
            f"{source}: _text={base_va:#x}: {len(found) - inside} of {len(found)} pointers in {name} are to "
            f"no address from there on; {_CURE}"
        )


def _branch_target(word: int, pc: int) -> int:
    # b, bl: a signed 26-bit immediate, in words.
    offset = word & 0x3FF_FFFF
    offset -= (offset & 1 << 25) << 1
    return (pc + 4 * offset) & (2**64 - 1)
