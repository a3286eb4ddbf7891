"""The locals of the functions that a host task is in, as text: shown in place of registers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from emu.host.played import played_by
from emu.machine.actor import HostTask, generators

_HEX_FROM = 4096  # integers below are counts and numbers of CPUs, those above addresses and masks
_ITEMS_MAX = 8


@dataclass(frozen=True, slots=True)
class HostLocal:
    """One local of a function that a host task is in.

    :ivar function: the kernel's name of the function, else the host's own
    :ivar value: as text; of an object without a value of its own the name of its class
    """

    function: str
    name: str
    value: str


def host_locals(task: HostTask | None) -> list[HostLocal]:
    """Return the locals of all functions that ``task`` is in, the innermost function first."""
    found: list[HostLocal] = []
    for generator in reversed(generators(task)):
        if generator.gi_frame is None:
            continue
        function = (*played_by(generator.gi_code), generator.gi_code.co_name)[0]
        values = generator.gi_frame.f_locals
        found += (HostLocal(function, name, _text(values[name])) for name in values if name != "self")
    return found


def _text(value: object) -> str:
    # The same in every process: never an address of the host's, and sets in order.
    if value is None or isinstance(value, (bool, str)):
        return repr(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, int):
        return hex(value) if abs(value) >= _HEX_FROM else str(value)
    if isinstance(value, (set, frozenset)):
        return f"{{{_items(sorted(_text(each) for each in value))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{_items([_text(each) for each in value[: _ITEMS_MAX + 1]], len(value))}]"
    return str(getattr(value, "__name__", type(value).__name__))


def _items(texts: list[str], count: int = 0) -> str:
    shown = ", ".join(texts[:_ITEMS_MAX])
    return f"{shown}, ..." if max(count, len(texts)) > _ITEMS_MAX else shown
