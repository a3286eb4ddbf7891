"""Two runs side by side: per CPU where they part, and what each did in all; text for mail."""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import islice, zip_longest
from typing import Any

from emu.report.history import History, Item, Names, OperationHistories, histories
from emu.report.words import runs_of
from emu.trace import SymbolTable, Trace

WIDTH = 75
_BEFORE, _AFTER = 3, 3  # items of context
_WINDOW = 40  # items of each side that are aligned behind the place where they part
_LINES_MAX = 24  # of one hunk
_INDENT = 16  # of effects on lines of their own
_PLACE_MAX = 32
_GUEST = ("instructions", "loads", "stores")  # counted of guest code alone
_COLUMNS = (
    ("instructions", "instr"),
    ("loads", "loads"),
    ("loads_mmu_off", "mmu-off"),
    ("stores", "stores"),
    ("wfe", "wfe"),
    ("calls", "calls"),
    ("exceptions", "exc"),
    ("host", "host ops"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One side: its trace and what names its addresses."""

    trace: Trace
    symbols: SymbolTable


@dataclass(slots=True)
class CpuDiff:
    """One CPU on both sides; ``first`` is the number of the item at which they part, or None.

    :ivar skipped: how many items, alike on both sides, come before those that the histories have
    """

    cpu: int
    a: History
    b: History
    first: int | None
    skipped: int = 0

    @property
    def alike(self) -> int:
        """How many items both sides have in common."""
        return self.skipped + (len(self.a.items) if self.first is None else self.first)

    def item(self, side: History) -> Item | None:
        """Return what ``side`` does where they part, None when it is over."""
        return side.items[self.first] if self.first is not None and self.first < len(side.items) else None

    @property
    def place(self) -> tuple[object, ...]:
        """What CPUs have in common that part in the same way."""
        if self.first is None:
            return ()
        here, there = self.item(self.a), self.item(self.b)
        return tuple((item.place, item.like) if item else None for item in (here, there))


@dataclass(slots=True)
class Diff:
    """Both runs; ``instructions`` says whether every instruction was compared, or operations alone."""

    a: str  # the case
    b: str
    instructions: bool
    cpus: list[CpuDiff] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether no CPU differs."""
        return all(cpu.first is None for cpu in self.cpus)


def compare(a: Run, b: Run, *, instructions: bool) -> Diff:
    """Align the runs CPU by CPU.

    :param instructions: compare each instruction and the registers it changed; else operations alone
    :raises InvalidSubject: a trace is damaged
    """
    found = Diff(a.trace.case, b.trace.case, instructions)
    if not instructions:
        found.cpus = _compare_operations(a, b)
        return found
    sides = [histories(run.trace, Names(run.trace, run.symbols), instructions=True) for run in (a, b)]
    for cpu in sorted(sides[0].keys() | sides[1].keys()):
        one, other = (side.get(cpu) or History() for side in sides)
        found.cpus.append(CpuDiff(cpu, one, other, _first(one.items, other.items)))
    return found


def _compare_operations(a: Run, b: Run) -> list[CpuDiff]:
    # Item by item, of which a few are kept: a kernel that boots by itself has millions.
    sides = [OperationHistories(run.trace, Names(run.trace, run.symbols)) for run in (a, b)]
    cpus = sorted({*sides[0].cpus, *sides[1].cpus})
    return [_compare_cpu(cpu, *sides) for cpu in cpus]


def _compare_cpu(cpu: int, a: OperationHistories, b: OperationHistories) -> CpuDiff:
    ours, theirs = a.items(cpu), b.items(cpu)
    one, other = History(counts=a.counts(cpu)), History(counts=b.counts(cpu))
    before: deque[Item] = deque(maxlen=_BEFORE)
    alike, first = 0, None
    for mine, yours in zip_longest(ours, theirs):
        if mine is not None and yours is not None and mine.same_as(yours):
            before.append(mine)
            alike += 1
            continue
        first = len(before)
        for side, item, rest in ((one, mine, ours), (other, yours, theirs)):
            side.items = [*before, *([] if item is None else [item]), *islice(rest, _WINDOW - 1)]
        break
    return CpuDiff(cpu, one, other, first, alike - (first or 0))


def _first(a: Sequence[Item], b: Sequence[Item]) -> int | None:
    for number, (one, other) in enumerate(zip(a, b, strict=False)):
        if not one.same_as(other):
            return number
    return None if len(a) == len(b) else min(len(a), len(b))


# -- text -----------------------------------------------------------------------------------------


def diff_text(diff: Diff) -> Iterator[str]:
    """Yield the lines of the report, none wider than :data:`WIDTH`."""
    yield from _wrapped("--- ", _short(diff.a, diff.b))
    yield from _wrapped("+++ ", _short(diff.b, diff.a))
    for group in _groups(diff):
        yield ""
        yield from _hunk(group)
    yield ""
    yield from _summary(diff)
    yield ""
    parted = [cpu.cpu for cpu in diff.cpus if cpu.first is not None]
    count = len(diff.cpus)
    if parted:
        alike = [cpu.cpu for cpu in diff.cpus if cpu.first is None]
        rest = f"; {cpu_ranges(alike)} alike" if alike else ""
        yield from _wrapped("", f"different: {cpu_ranges(parted)}{rest}")
    else:
        yield f"same: {count} CPU{'' if count == 1 else 's'}"


def _short(case: str, other: str) -> str:
    # The case without the folder of its subject, unless the subjects have one name in two folders.
    names = [text.partition(" ")[0] for text in (case, other)]
    last = [name.rpartition("/")[2] for name in names]
    return case.removeprefix(names[0].removesuffix(last[0])) if len(set(last)) == len(set(names)) else case


def _wrapped(mark: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=mark,
        subsequent_indent=" " * len(mark),
        break_on_hyphens=False,
    )


def _groups(diff: Diff) -> list[list[CpuDiff]]:
    # CPUs that part in the same way, those that do not last.
    found: dict[tuple[object, ...], list[CpuDiff]] = {}
    for cpu in diff.cpus:
        if cpu.first is not None:
            found.setdefault(cpu.place, []).append(cpu)
    return list(found.values())


def cpu_ranges(cpus: Sequence[int]) -> str:
    """Return ``CPU0, CPU2..CPU7`` for sorted numbers."""
    runs = runs_of(cpus)
    return ", ".join(f"CPU{run[0]}" if len(run) == 1 else f"CPU{run[0]}..CPU{run[-1]}" for run in runs)


def _spread(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}..{high}"


def _hunk(group: Sequence[CpuDiff]) -> Iterator[str]:
    shown = group[0]
    first = shown.first
    assert first is not None
    who = cpu_ranges([cpu.cpu for cpu in group])
    after = _spread([cpu.alike for cpu in group])
    alike = f"alike for {after} step{'' if after == '1' else 's'}" if after != "0" else "nothing alike"
    yield from _wrapped("@@ ", f"{who}: {alike}" + (f"; CPU{shown.cpu} is shown" if len(group) > 1 else ""))
    a, b = shown.a.items, shown.b.items
    start = max(first - _BEFORE, 0)
    width = _place_width([*a[start : first + _WINDOW // 2], *b[start : first + _WINDOW // 2]])
    for item in a[start:first]:
        yield _line(" ", item, width)
    yield from _aligned(a[first : first + _WINDOW], b[first : first + _WINDOW], width)


def _aligned(a: Sequence[Item], b: Sequence[Item], width: int) -> Iterator[str]:
    # What is behind the first difference, up to where both do the same for a while.
    matcher = SequenceMatcher(
        None, [_loose(item) for item in a], [_loose(item) for item in b], autojunk=False
    )
    lines: list[str] = []
    for what, a_from, a_to, b_from, b_to in matcher.get_opcodes():
        if what != "equal":
            lines += _limited([line for item in a[a_from:a_to] for line in _full("-", item, width)])
            lines += _limited([line for item in b[b_from:b_to] for line in _full("+", item, width)])
            continue
        quiet = 0
        for one, other in zip(a[a_from:a_to], b[b_from:b_to], strict=True):
            if one.like == other.like and not (one.only(other) or other.only(one)):
                quiet += 1
                if quiet > _AFTER:
                    yield from lines
                    return
            else:
                quiet = 0
            lines += _pair(one, other, width)
        if len(lines) >= _LINES_MAX:
            break
    yield from lines
    if not a:
        yield "- (nothing more)"
    if not b:
        yield "+ (nothing more)"


def _loose(item: Item) -> object:
    # Equal for items that belong together although what they did differs.
    return item.place.partition("+")[0].partition(":")[0], item.like


def _limited(lines: list[str]) -> list[str]:
    if len(lines) <= _LINES_MAX // 2:
        return lines
    kept = _LINES_MAX // 2 - 1
    return [*lines[:kept], f"{lines[0][0]} ... ({len(lines) - kept} more lines)"]


def _pair(one: Item, other: Item, width: int) -> Iterator[str]:
    # An item that both sides have; what differs of its effects below.
    if one.like != other.like:
        yield from _full("-", one, width)
        yield from _full("+", other, width)
        return
    yield _line(" ", one, width)
    for mark, item, there in (("-", one, other), ("+", other, one)):
        for effect in item.only(there):
            yield _cut(f"{mark} {'':<{_INDENT}}; {_effect(effect)}")


def _full(mark: str, item: Item, width: int) -> Iterator[str]:
    line = _line(mark, item, width)
    for effect in item.effects:
        text = _effect(effect)
        longer = line + (" " if effect[0] in ("=", "<-") else ", " if "  ; " in line else "  ; ") + text
        if len(longer) > WIDTH:
            yield line
            longer = f"{mark} {'':<{_INDENT}}; {text}"
        line = longer
    yield _cut(line)


def _place_width(items: Sequence[Item]) -> int:
    return min(max((len(item.place) for item in items), default=0), _PLACE_MAX)


def _line(mark: str, item: Item, width: int) -> str:
    place = item.place
    if len(place) > width:
        name, plus, offset = place.partition("+")
        place = name[: width - len(plus + offset) - 2] + ".." + plus + offset
    return _cut(f"{mark} {place:<{width}}  {item.text}")


def _effect(effect: tuple[str, str]) -> str:
    name, value = effect
    return f"{name} {'' if name in ('from', '=', '<-') else '= '}{value}"


def _cut(line: str) -> str:
    return line.rstrip() if len(line.rstrip()) <= WIDTH else line[: WIDTH - 2] + ".."


def _summary(diff: Diff) -> Iterator[str]:
    # CPUs that did as much of everything on both sides belong together, whatever the numbers.
    groups: dict[object, list[CpuDiff]] = {}
    for cpu in diff.cpus:
        runs_code = tuple(any(side.counts[key] for key in _GUEST) for side in (cpu.a, cpu.b))
        groups.setdefault((cpu.place, runs_code), []).append(cpu)
    columns = [
        (key, title)
        for key, title in _COLUMNS
        if any(side.counts[key] for cpu in diff.cpus for side in (cpu.a, cpu.b))
    ]
    rows: list[list[str]] = [["", *(title for _, title in columns)]]
    for group in groups.values():
        for mark in "-+":
            counts = [(cpu.a if mark == "-" else cpu.b).counts for cpu in group]
            numbers = [_spread([count[key] for count in counts]) for key, _ in columns]
            rows.append([f"{mark} {cpu_ranges([cpu.cpu for cpu in group])}", *numbers])
        if rows[-1][1:] == rows[-2][1:]:
            rows.pop()
            rows[-1][0] = " " + rows[-1][0][1:]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    widths[0] = min(widths[0], 24)
    for row in rows:
        name = row[0] if len(row[0]) <= widths[0] else row[0][: widths[0] - 2] + ".."
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield _cut("  ".join([f"{name:<{widths[0]}}", *cells]))


# -- JSON -----------------------------------------------------------------------------------------


def diff_json(diff: Diff) -> dict[str, Any]:
    """Return the object that ``emu diff --json`` prints."""
    return {
        "same": diff.same,
        "a": diff.a,
        "b": diff.b,
        "grain": "instruction" if diff.instructions else "operation",
        "cpus": [
            {
                "cpu": cpu.cpu,
                "alike": cpu.alike,
                "first": None
                if cpu.first is None
                else {"a": _as_json(cpu.item(cpu.a)), "b": _as_json(cpu.item(cpu.b))},
                "a": cpu.a.counts,
                "b": cpu.b.counts,
            }
            for cpu in diff.cpus
        ],
    }


def _as_json(item: Item | None) -> dict[str, Any] | None:
    return None if item is None else {"at": item.place, "does": item.text, "effects": dict(item.effects)}
