"""Latency profiles by name, and those of a user's file.

``nominal`` and ``zero`` are those of :mod:`emu.latency.profile`; each TOML file in ``profiles/`` is another.
A user's file has the same form (:mod:`emu.latency.toml_form`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from emu.errors import InvalidCase
from emu.latency.profile import NOMINAL, ZERO, CpuCosts, Latency
from emu.registry import not_one_of

__all__ = ["PROFILES", "CpuCosts", "Latency", "check_changes", "file_of", "latency_profile"]

_FOLDER = Path(__file__).with_name("profiles")
_SEED_MAX = 2**64


_BUILT_IN = {profile.name: profile for profile in (NOMINAL, ZERO)}


class _Profiles(Mapping[str, Latency]):
    # A file is read when its profile is asked for, and the folder when another than the built-in ones is.

    def __contains__(self, name: object) -> bool:
        return name in _BUILT_IN or name in tuple(self)

    def __iter__(self) -> Iterator[str]:
        yield from _BUILT_IN
        yield from sorted(path.stem for path in _FOLDER.glob("*.toml"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> Latency:
        if name in _BUILT_IN:
            return _BUILT_IN[name]
        if name not in self:
            raise KeyError(name)
        from emu.latency.toml_form import read_profile

        return read_profile(_FOLDER / f"{name}.toml")


PROFILES: Mapping[str, Latency] = _Profiles()


def latency_profile(text: str) -> Latency:
    """Return the profile of ``NAME[:SEED][,KEY[@CPUS]=TIME...]``, or of a FILE in the place of NAME.

    :raises InvalidCase: there is none, the file breaks a rule, or a change does
    """
    name, seed, changes = _parts(text)
    found = _named(text, name)
    if changes:
        from emu.latency.toml_form import changed

        found = changed(found, text, changes)
    if not seed:
        return found
    if len(seed) > 20 or int(seed) >= _SEED_MAX:
        raise InvalidCase(f"latency={text}: a seed is below 2^64")
    if not found.draws:
        raise InvalidCase(f"latency={text}: {name} draws nothing, so that its seed changes nothing")
    return replace(found, seed=int(seed))


def check_changes(text: str, cpus: int) -> None:
    """Check that each ``KEY@CPUS`` of a profile's text is about one of CPUs 0 to ``cpus`` - 1.

    :raises InvalidCase: one is not
    """
    changes = [change for change in _parts(text)[2] if "@" in change]
    if changes:
        from emu.latency.toml_form import changed

        for change in changes:
            (rule,) = changed(Latency(), text, [change]).rules
            if isinstance(rule.of, frozenset) and min(rule.of) >= cpus:
                raise InvalidCase(f"latency={text}: {change}: there are CPU0..CPU{cpus - 1}")


def file_of(text: str) -> str:
    """Return the path of the file that a latency profile is in; empty: it comes with emu."""
    name = _parts(text)[0]
    return "" if name in PROFILES else name


def _parts(text: str) -> tuple[str, str, list[str]]:
    # Name, seed and changes.
    first, *changes = text.split(",")
    name, colon, seed = first.rpartition(":")
    return (name, seed, changes) if colon and seed.isdecimal() else (first, "", changes)


def _named(text: str, name: str) -> Latency:
    if name in PROFILES:
        return PROFILES[name]
    if not set("/.") & set(name):
        raise InvalidCase(f"latency={text}: {not_one_of(name, PROFILES)}, and no file")
    from emu.latency.toml_form import read_profile

    return read_profile(Path(name))
