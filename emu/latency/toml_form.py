"""A latency profile as TOML.

    summary = "one line"
    seed = 1                       # of what is drawn

    [ns]                           # of the machine, and of every CPU
    instruction = 1
    alive = "350us..3.5ms"         # each CPU draws its own

    [cpus.primary]                 # or sibling, or logical numbers: "8-15", "1,3"
    before_alive = "6.6ms"

    [source]                       # where a figure is from
    alive = "x86 cover letter v2"

A time is a number of ns, or text with a unit: ns, us, ms, s.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from emu.errors import InvalidCase
from emu.latency.profile import PRIMARY, SIBLING, CpuCosts, Latency, Rule, Span
from emu.registry import not_one_of

_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TIME = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?(ns|us|ms|s)")
_CPUS = re.compile(r"[0-9]{1,5}(?:-[0-9]{1,5})?(?:,[0-9]{1,5}(?:-[0-9]{1,5})?)*")
_NS_MAX = 1 << 50  # some days
_CPU_MAX = 1 << 16
PER_CPU = CpuCosts._fields
OF_MACHINE = tuple(
    field.name
    for field in fields(Latency)
    if field.name not in ("name", "summary", "rules", "seed", "sources")
)
_TABLES = ("summary", "seed", "ns", "cpus", "source")


def read_profile(path: Path) -> Latency:
    """Return the profile in a file.

    :raises InvalidCase: it cannot be read, or breaks a rule
    """
    where = f"latency={path}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidCase(f"{where}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidCase(f"{where}: {error or 'nested too deep'}") from None
    for key in document:
        if key not in _TABLES:
            raise InvalidCase(f"{where}: {key}: {not_one_of(key, _TABLES)}")
    summary, seed = document.get("summary", ""), document.get("seed", 0)
    if not isinstance(summary, str) or len(summary.splitlines()) > 1:
        raise InvalidCase(f"{where}: summary: one line of text")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise InvalidCase(f"{where}: seed={seed!r:.80}: a number below 2^64")
    of_machine, of_all = _split(f"{where}: ns", _table(where, document, "ns"))
    rules = [Rule("all", of_all)] if of_all else []
    for name, table in _table(where, document, "cpus").items():
        if not isinstance(table, dict):
            raise InvalidCase(f"{where}: cpus.{name}: a table")
        machine, spans = _split(f"{where}: cpus.{name}", table)
        if machine:
            key = next(iter(machine))
            raise InvalidCase(f"{where}: cpus.{name}: {key} is of the machine, not of a CPU: it goes to [ns]")
        rules.append(Rule(_which(f"{where}: cpus.{name}", name), spans))
    sources = _table(where, document, "source")
    for key, value in sources.items():
        if not isinstance(value, str):
            raise InvalidCase(f"{where}: source.{key}: text")
    return Latency(
        name=path.stem,
        summary=summary,
        rules=tuple(rules),
        seed=seed,
        sources=tuple(sources.items()),
        **dict.fromkeys(OF_MACHINE, 0) | of_machine,
    )


def changed(profile: Latency, text: str, changes: list[str]) -> Latency:
    """Return the profile with some figures changed, each ``KEY=TIME``, of every CPU, or ``KEY@CPUS=TIME``.

    :raises InvalidCase: a change breaks a rule
    """
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise InvalidCase(f"latency={text}: {change}: KEY=TIME, or KEY@CPUS=TIME")
        where, (key, at, cpus) = f"latency={text}", key.partition("@")
        of_machine, spans = _split(where, {key: int(value) if value.isdecimal() else value})
        if at and of_machine:
            raise InvalidCase(f"{where}: {change}: {key} is of the machine, not of a CPU")
        if spans:
            of = _which(f"{where}: {change}", cpus) if at else "all"
            profile = replace(profile, rules=(*profile.rules, Rule(of, spans)))
        else:
            figures: dict[str, Any] = dict(of_machine)
            profile = replace(profile, **figures)
    return profile


def parse_span(where: str, value: object) -> Span:
    """Return the span of a number of ns, of ``"3ms"`` or of ``"1us..2us"``.

    :raises InvalidCase: it is none of these
    """
    if isinstance(value, int) and not isinstance(value, bool):
        span = Span(value, value)
    elif isinstance(value, str):
        low, dots, high = value.partition("..")
        first = _ns(where, low)
        span = Span(first, _ns(where, high) if dots else first)
    else:
        raise InvalidCase(f'{where}: {value!r:.80}: ns, or text like "3.5ms" or "350us..3.5ms"')
    if not 0 <= span.low <= span.high <= _NS_MAX:
        raise InvalidCase(f"{where}: {value!r:.80}: 0 to {_NS_MAX} ns, the smaller one first")
    return span


def _ns(where: str, text: str) -> int:
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise InvalidCase(f"{where}: {text!r:.80}: a time is a number and ns, us, ms or s")
    ns = Fraction(found[1]) * _UNITS[found[2]]
    if ns.denominator != 1:
        raise InvalidCase(f"{where}: {text!r:.80}: no whole number of ns")
    return int(ns)


def _table(where: str, document: dict[str, Any], name: str) -> dict[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise InvalidCase(f"{where}: {name}: a table")
    return table


def _split(where: str, table: dict[str, Any]) -> tuple[dict[str, int], tuple[tuple[str, Span], ...]]:
    # What is of the machine, and what each CPU has its own of.
    of_machine: dict[str, int] = {}
    of_cpus: list[tuple[str, Span]] = []
    for key, value in table.items():
        if key not in (*OF_MACHINE, *PER_CPU):
            raise InvalidCase(f"{where}: {key}: {not_one_of(key, (*OF_MACHINE, *PER_CPU))}")
        span = parse_span(f"{where}: {key}", value)
        if key in PER_CPU:
            of_cpus.append((key, span))
        elif span.low != span.high:
            raise InvalidCase(f"{where}: {key}: one time: no CPU draws its own of it")
        else:
            of_machine[key] = span.low
    return of_machine, tuple(of_cpus)


def _which(where: str, text: str) -> str | frozenset[int]:
    if text in (PRIMARY, SIBLING):
        return text
    if not _CPUS.fullmatch(text):
        raise InvalidCase(f'{where}: {PRIMARY}, {SIBLING}, or logical numbers like "8-15" or "1,3"')
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not span or span.stop > _CPU_MAX:
            raise InvalidCase(f"{where}: {part}: the smaller number first, below {_CPU_MAX}")
        found.update(span)
    return frozenset(found)
