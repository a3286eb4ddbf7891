"""Devices: registers at physical addresses. Each module of this folder defines one :class:`DeviceKind`."""

from __future__ import annotations

import re
from typing import NamedTuple

from emu.devices.protocol import DeviceKind
from emu.errors import InvalidCase
from emu.registry import discover, not_one_of

BESIDES = ("protocol", "controllers", "timer")
DEVICES = discover(__name__, DeviceKind)
_PLACE = re.compile(r"([^@,]+)@(0x[0-9a-fA-F]{1,20}|\d{1,20})")
_PA_MAX = 1 << 40
_PAGE = 4096


class PlacedDevice(NamedTuple):
    """A device of a case: its kind, and the PA of its first register."""

    kind: DeviceKind
    base_pa: int

    @property
    def pas(self) -> range:
        """The PAs of its registers."""
        return range(self.base_pa, self.base_pa + self.kind.region_bytes)


def parse_devices(text: str) -> list[PlacedDevice]:
    """Return the devices of ``NAME@PA,...``, by PA.

    :raises InvalidCase: the text is not that, there is no such device, a PA is not the start of a page, or
        two devices overlap
    """
    found: list[PlacedDevice] = []
    for word in filter(None, text.split(",")):
        match = _PLACE.fullmatch(word)
        if not match:
            raise InvalidCase(f"device={word}: not NAME@PA")
        if match[1] not in DEVICES:
            raise InvalidCase(f"device={word}: {not_one_of(match[1], DEVICES)}")
        placed = PlacedDevice(DEVICES[match[1]], int(match[2], 0))
        if placed.base_pa % _PAGE or placed.pas.stop > _PA_MAX:
            raise InvalidCase(f"device={word}: its PA is a multiple of {_PAGE:#x} below {_PA_MAX:#x}")
        found.append(placed)
    found.sort(key=lambda placed: placed.base_pa)
    for one, other in zip(found, found[1:], strict=False):
        if other.base_pa < one.pas.stop:
            raise InvalidCase(f"device={text}: {one.kind.name} and {other.kind.name} overlap")
    return found
