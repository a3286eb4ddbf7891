"""Presets: topologies by the shape in which machines number their CPUs, for any count of CPUs.

A module here with ``NAME``, ``CPUS`` (how many unless said) and ``make(cpus)`` is one preset; its docstring
states the shape and its source, the first line in short. Nothing else has to name it. ``NAME`` or ``NAME:N``
chooses. Presets called ``bad-...`` say what firmware must not say, and a kernel has to cope.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from emu.arch.boot import NR_CPUS_MAX
from emu.errors import InvalidCase
from emu.registry import discover, not_one_of
from emu.topology import Topology, check_count


@dataclass(frozen=True, slots=True)
class Preset:
    """A shape that can be asked for by name.

    :ivar name: as on the command line
    :ivar cpus: how many entries it has unless said, 1..4096
    :ivar make: the topology with that many entries, called ``NAME:N``; InvalidCase where the shape ends
    :ivar summary: the shape in one line
    """

    name: str
    cpus: int
    make: Callable[[int], Topology]
    summary: str


_SPEC = re.compile(r"([a-z0-9-]+)(?::([0-9]{1,9}))?")


def check_shape(cpus: int, name: str, why: str, most: int = NR_CPUS_MAX, least: int = 1) -> str:
    """Return ``NAME:N`` when preset ``name`` can have ``cpus`` entries; ``why`` tells where it ends.

    :raises InvalidCase: it is not ``least``..``most``
    """
    if 1 <= cpus <= NR_CPUS_MAX and not least <= cpus <= most:
        raise InvalidCase(f"topology {name}:{cpus}: {name} has {least}..{most} CPUs: {why}")
    return f"{name}:{check_count(cpus, f'topology {name}: cpus')}"


def is_preset(text: str) -> bool:
    """Tell whether ``text`` asks for a preset, with or without a count, be the count right or wrong."""
    return text.partition(":")[0] in PRESETS


def get_preset(text: str) -> Topology:
    """Return the topology that ``text``, ``NAME`` or ``NAME:N``, asks for; it is called ``NAME:N``.

    :raises InvalidCase: no such preset, N is no number of CPUs, or the shape ends before N
    """
    match = _SPEC.fullmatch(text)
    name = match[1] if match else text.partition(":")[0]
    if name not in PRESETS:
        raise InvalidCase(f"topology={text}: no preset: {not_one_of(name, PRESETS)}")
    if not match:
        raise InvalidCase(f"topology={text}: {name} or {name}:N, N a number of CPUs")
    preset = PRESETS[name]
    return preset.make(int(match[2]) if match[2] else preset.cpus)


def _broken_last(name: str) -> bool:
    return name.startswith("bad-")


PRESETS = discover(__name__, Preset, order=_broken_last)
