"""Memory in rows: an address, words of one size, and the bytes as text."""

from __future__ import annotations

_ROW_BYTES = (32, 16, 8)  # a row has as many as there is room for; the last, if there is none
_DIGITS = {1: 3, 2: 5, 4: 10, 8: 20}  # of the highest decimal number, by bytes


def dump(address: int, data: bytes, width: int, form: str, columns: int) -> list[str]:
    """Return the rows of ``data``, which lies at ``address``.

    :param width: bytes of a word: 1, 2, 4 or 8
    :param form: "hex" or "dec"
    :param columns: of a row, at most, as long as it has 8 bytes
    """
    digits = _DIGITS[width] if form == "dec" else 2 * width
    figures = 16 if address + len(data) > 1 << 32 else 8
    size = next((each for each in _ROW_BYTES if _columns(each, width, digits, figures) <= columns), 8)
    rows = []
    for at in range(0, len(data), size):
        part = data[at : at + size]
        words = [
            int.from_bytes(part[first : first + width], "little") for first in range(0, len(part), width)
        ]
        shown = " ".join(f"{word:{digits}}" if form == "dec" else f"{word:0{digits}x}" for word in words)
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{address + at:0{figures}x} {shown:<{_shown(size, width, digits)}} {text}")
    return rows


def _shown(size: int, width: int, digits: int) -> int:
    return size // width * (digits + 1) - 1


def _columns(size: int, width: int, digits: int, figures: int) -> int:
    return figures + 1 + _shown(size, width, digits) + 1 + size
