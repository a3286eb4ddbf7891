"""One question to a lookup: which CPUs there are, and which of them asks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from emu.arch.boot import NR_CPUS_MAX
from emu.case import check_text
from emu.errors import InvalidCase
from emu.lookup.tear import Changes, Happens, parse_changes, parse_tear
from emu.registry import not_one_of

HOLE = "-"
LEAST = ("tables=least", 1)  # beside values of defines: tables lie at the least alignment that is granted
EVERY = -1  # of a proof: by induction, for every number of CPUs
_EVERY_TEXT = "all"
_RUN_MIN = 4  # places in a row that are written as one


@dataclass(frozen=True, slots=True)
class Question:
    """A logical map and an MPIDR.

    :ivar logical_map: hwid (u64) of each logical CPU, None for a hole; CPUs beyond it are holes too
    :ivar mpidr: MPIDR_EL1 (u64) of the CPU that looks itself up, with whatever flags it has
    """

    logical_map: tuple[int | None, ...]
    mpidr: int


@dataclass(frozen=True, slots=True)
class LookupCase:
    """One question to one lookup, as a line of text: ``rfc nr-cpus=1 map=- mpidr=0x80000000``.

    :ivar subject: a design's name or a path
    :ivar contract: path of a TOML; empty: the contract of the subject
    :ivar system_map: path; symbols of a kernel
    :ivar others: values of other defines that differ from the defaults, and LEAST
    :ivar begin: what it finds at entry in what the contract leaves open, where that matters
        (:func:`emu.lookup.starts.start_from`)
    :ivar prove: a proof, for maps of so many CPUs, or EVERY: it has no question; 0: it is one
    :ivar race: a run in which the table changes; but of Changes the question follows from it
    """

    subject: str
    nr_cpus: int
    question: Question
    contract: str = ""
    system_map: str = ""
    others: tuple[tuple[str, int], ...] = ()
    race: Happens | None = None
    begin: tuple[tuple[str, int], ...] = ()
    prove: int = 0

    def text(self) -> str:
        """Return the line; trailing holes of the map are left out."""
        hwids = list(self.question.logical_map)
        while hwids and hwids[-1] is None:
            hwids.pop()
        parts = [shlex.quote(self.subject), f"nr-cpus={self.nr_cpus}"]
        if self.contract:
            parts.append(f"contract={shlex.quote(self.contract)}")
        if self.system_map:
            parts.append(f"system-map={shlex.quote(self.system_map)}")
        parts += [each[0] if each == LEAST else "define={}:{}".format(*each) for each in self.others]
        parts += [f"with={name}:{value:#x}" for name, value in self.begin]
        if self.prove:
            return " ".join([*parts, f"prove={_EVERY_TEXT if self.prove == EVERY else self.prove}"])
        if self.race is not None:
            parts.append(f"race={self.race}")
            if not isinstance(self.race, Changes):
                return " ".join(parts)
        parts += [f"map={format_map(hwids)}", f"mpidr={self.question.mpidr:#x}"]
        return " ".join(parts)

    @classmethod
    def parse(cls, text: str) -> LookupCase:
        """Return the case that ``text`` describes.

        :raises InvalidCase: an unknown key, or a value of the wrong type
        """
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise InvalidCase(f"case {text!r}: {error}") from None
        keys = (
            "nr-cpus",
            "contract",
            "system-map",
            "define",
            "tables",
            "with",
            "map",
            "mpidr",
            "race",
            "prove",
        )
        values: dict[str, str] = {}
        others: list[tuple[str, int]] = []
        begin: list[tuple[str, int]] = []
        several = {"define": others, "with": begin}
        for word in words[1:]:
            key, equals, value = word.partition("=")
            if not equals or key not in keys:
                raise InvalidCase(
                    f"case: {word}: {not_one_of(f'{key}=VALUE', [f'{name}=VALUE' for name in keys])}"
                )
            if key in values and key not in several:
                raise InvalidCase(f"case: {word}: {key} is there twice")
            if key in several:
                name, _, number = value.partition(":")
                if name in dict(several[key]):
                    raise InvalidCase(f"case: {word}: {name} is there twice")
                several[key].append((name, parse_u64(number, f"case: {name}")))
            elif key == "tables":
                if word != LEAST[0]:
                    raise InvalidCase(f"case: {word}: {LEAST[0]}, or nothing")
                others.append(LEAST)
            values[key] = value
        for key in ("nr-cpus", "mpidr"):
            is_whole = key == "mpidr" and ("prove" in values or "@" not in values.get("race", "@"))
            if not words or (key not in values and not is_whole):
                raise InvalidCase(f"case {text!r}: a subject, then {key}=...")
        for key, value in [("subject", words[0]), *values.items()]:
            check_text(value, f"case: {key}")
        return cls(
            words[0],
            parse_u64(values["nr-cpus"], "case: nr-cpus"),
            Question(
                parse_map(values.get("map", ""), "case: map"),
                parse_u64(values.get("mpidr", "0"), "case: mpidr"),
            ),
            values.get("contract", ""),
            values.get("system-map", ""),
            tuple(others),
            _parse_race(values["race"]) if "race" in values else None,
            tuple(begin),
            parse_proved(values.get("prove", "0"), "case: prove"),
        )


def _parse_race(text: str) -> Happens:
    planned = parse_tear(text, "case: race") or parse_changes(text, "case: race")
    return parse_u64(text, "case: race") if planned is None else planned


def parse_proved(text: str, where: str) -> int:
    """Return for how many CPUs a proof is: a number, or EVERY for ``all``.

    :raises InvalidCase: neither
    """
    if text == _EVERY_TEXT:
        return EVERY
    if not text.isascii() or not text.isdigit():
        raise InvalidCase(f"{where}={text}: 1..64 CPUs, or {_EVERY_TEXT}")
    return parse_u64(text, where)


def format_map(hwids: Sequence[int | None]) -> str:
    """Return a logical map as text: hwids in hexadecimal, ``-`` for a hole.

    Four holes and more in a row are ``-*4``, hwids that go up by one ``0x0..0x3``, by another step
    ``0x0..0x300+0x100``, down ``0x3..0x0-0x1``.
    """
    parts: list[str] = []
    at = 0
    while at < len(hwids):
        first, step = hwids[at], _step(hwids, at)
        end = at + 1
        while end < len(hwids) and hwids[end] == (None if first is None else first + (end - at) * step):
            end += 1
        count = end - at
        if count < _RUN_MIN:
            end, count = at + 1, 1
        if first is None:
            parts.append(HOLE if count == 1 else f"{HOLE}*{count}")
        elif count == 1:
            parts.append(f"{first:#x}")
        else:
            by = "" if step == 1 else f"{'-' if step < 0 else '+'}{abs(step):#x}"
            parts.append(f"{first:#x}..{first + (count - 1) * step:#x}{by}")
        at = end
    return ",".join(parts)


def _step(hwids: Sequence[int | None], at: int) -> int:
    # From this hwid to the next; of the same one again, which makes no run, 1.
    first, second = hwids[at], hwids[at + 1] if at + 1 < len(hwids) else None
    return (second - first if first is not None and second is not None else 0) or 1


def parse_map(text: str, where: str) -> tuple[int | None, ...]:
    """Return the logical map that :func:`format_map` wrote as ``text``.

    :raises InvalidCase: an entry that is no hole, u64 or run of them, or more than NR_CPUS_MAX CPUs
    """
    hwids: list[int | None] = []
    for index, word in enumerate(text.split(",") if text else []):
        at = f"{where}[{index}]"
        if word == HOLE:
            hwids.append(None)
        elif word.startswith(f"{HOLE}*"):
            hwids += [None] * _count(parse_u64(word[2:], at), at)
        elif ".." in word:
            hwids += _parse_run(word, at)
        else:
            hwids.append(parse_u64(word, at))
        _count(len(hwids), where)
    return tuple(hwids)


def _parse_run(word: str, at: str) -> range:
    first_text, _, rest = word.partition("..")
    sign = "-" if "-" in rest else "+"
    last_text, by, step_text = rest.partition(sign)
    first, last = parse_u64(first_text, at), parse_u64(last_text, at)
    step = parse_u64(step_text, at) if by else 1
    if not step:
        raise InvalidCase(f"{at}={word!r:.60}: a step of 0")
    step = -step if sign == "-" else step
    _count((last - first) // step + 1, at)
    return range(first, last + (1 if step > 0 else -1), step)


def _count(count: int, where: str) -> int:
    if not 1 <= count <= NR_CPUS_MAX:
        raise InvalidCase(f"{where}: {count} CPUs: 1..{NR_CPUS_MAX}")
    return count


def parse_u64(text: str, where: str) -> int:
    """Return the number that ``text`` is.

    :raises InvalidCase: not a number, or not a u64
    """
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 2**64:
        raise InvalidCase(f"{where}={text!r:.60}: an integer of at most 64 bits")
    return value
