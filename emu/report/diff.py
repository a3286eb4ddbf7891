"""Two runs side by side: per CPU where they part, and what each did in all; text for mail."""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import islice, zip_longest
from typing import Any

from emu.errors import InvalidCase
from emu.report.history import History, Item, Names, OperationHistories, histories
from emu.report.hunks import hunks, loose
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
    :ivar other: its number on the second side where that is another; else -1
    """

    cpu: int
    a: History
    b: History
    first: int | None
    skipped: int = 0
    other: int = -1

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
    """Both runs; ``instructions`` says whether every instruction was compared, or operations alone.

    :ivar everything: all places where CPUs part are told, not the first alone
    """

    a: str  # the case
    b: str
    instructions: bool
    cpus: list[CpuDiff] = field(default_factory=list)
    everything: bool = False

    @property
    def same(self) -> bool:
        """Whether no CPU differs."""
        return all(cpu.first is None for cpu in self.cpus)


def compare(
    a: Run, b: Run, *, instructions: bool, everything: bool = False, pair: tuple[int, int] | None = None
) -> Diff:
    """Align the runs CPU by CPU.

    :param instructions: compare each instruction and the registers it changed; else operations alone
    :param everything: tell all places where CPUs part
    :param pair: compare this CPU of ``a`` with that one of ``b``, and no others
    :raises InvalidSubject: a trace is damaged
    :raises InvalidCase: one has not the CPU of ``pair``
    """
    found = Diff(a.trace.case, b.trace.case, instructions, everything=everything)
    names = [Names(run.trace, run.symbols) for run in (a, b)]
    if not instructions:
        # Item by item, of which a few are kept: a kernel that boots by itself has millions.
        logs = [OperationHistories(run.trace, named) for run, named in zip((a, b), names, strict=True)]
        cpus = _pairs(pair, set(logs[0].cpus), set(logs[1].cpus))
        found.cpus = [_compare_cpu(cpu, logs[0], logs[1], None if everything else _WINDOW) for cpu in cpus]
        return _numbered(found, pair)
    sides = [histories(run.trace, each, instructions=True) for run, each in zip((a, b), names, strict=True)]
    for ours, theirs in _pairs(pair, sides[0], sides[1]):
        one, other = sides[0].get(ours) or History(), sides[1].get(theirs) or History()
        found.cpus.append(CpuDiff(ours, one, other, _first(one.items, other.items)))
    return _numbered(found, pair)


def _numbered(found: Diff, pair: tuple[int, int] | None) -> Diff:
    if pair is not None and pair[0] != pair[1]:
        for cpu in found.cpus:
            cpu.other = pair[1]
    return found


def _pairs(pair: tuple[int, int] | None, a: Collection[int], b: Collection[int]) -> Sequence[tuple[int, int]]:
    if pair is None:
        return [(cpu, cpu) for cpu in sorted({*a, *b})]
    for cpu, side, name in zip(pair, (a, b), "AB", strict=True):
        if cpu not in side:
            raise InvalidCase(f"CPU{cpu}: {name} has no such CPU, or it does nothing")
    return [pair]


def _compare_cpu(
    cpus: tuple[int, int], a: OperationHistories, b: OperationHistories, window: int | None
) -> CpuDiff:
    ours, theirs = a.items(cpus[0]), b.items(cpus[1])
    one, other = History(counts=a.counts(cpus[0])), History(counts=b.counts(cpus[1]))
    before: deque[Item] = deque(maxlen=_BEFORE)
    alike, first = 0, None
    for mine, yours in zip_longest(ours, theirs):
        if mine is not None and yours is not None and mine.same_as(yours):
            before.append(mine)
            alike += 1
            continue
        first = len(before)
        for side, item, rest in ((one, mine, ours), (other, yours, theirs)):
            side.items = [*before, *([] if item is None else [item]), *islice(rest, window and window - 1)]
        break
    return CpuDiff(cpus[0], one, other, first, alike - (first or 0))


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
        yield from _all_hunks(group) if diff.everything else _hunk(group)
    yield ""
    yield from _summary(diff)
    yield ""
    parted = [cpu for cpu in diff.cpus if cpu.first is not None]
    count = len(diff.cpus)
    if parted:
        alike = [cpu.cpu for cpu in diff.cpus if cpu.first is None]
        rest = f"; {cpu_ranges(alike)} alike" if alike else ""
        yield from _wrapped("", f"different: {_who(parted)}{rest}")
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
            found.setdefault(_all_places(cpu) if diff.everything else cpu.place, []).append(cpu)
    return list(found.values())


def _all_places(cpu: CpuDiff) -> tuple[object, ...]:
    # What CPUs have in common that part in the same way everywhere.
    items = cpu.a.items, cpu.b.items
    return tuple(
        tuple(
            (items[side][at].place, items[side][at].like) if at >= 0 else None for side, at in enumerate(row)
        )
        for hunk in hunks(*items, _BEFORE)
        for row, changed in zip(hunk.rows, hunk.changed, strict=True)
        if changed
    )


def _all_hunks(group: Sequence[CpuDiff]) -> Iterator[str]:
    # Every place where they part, each with the function that it is in.
    shown = group[0]
    a, b = shown.a.items, shown.b.items
    who = _who(group) + (f" (CPU{shown.cpu} is shown)" if len(group) > 1 else "")
    for number, hunk in enumerate(hunks(a, b, _BEFORE)):
        sides = [[row[side] for row in hunk.rows if row[side] >= 0] for side in (0, 1)]
        spans = [f"{at[0] + shown.skipped},{len(at)}" if at else "0,0" for at in sides]
        row = hunk.rows[hunk.changed.index(True)]
        place = (a[row[0]] if row[0] >= 0 else b[row[1]]).place
        if number:
            yield ""
        yield from _wrapped(
            "@@ ", f"{who}: -{spans[0]} +{spans[1]} {place.partition('+')[0].partition(':')[0]}"
        )
        width = _place_width([*(a[at] for at in sides[0]), *(b[at] for at in sides[1])])
        for here, there in hunk.rows:
            if here >= 0 and there >= 0:
                yield from _pair(a[here], b[there], width)
            else:
                yield from _full("-", a[here], width) if here >= 0 else _full("+", b[there], width)


def _who(cpus: Sequence[CpuDiff]) -> str:
    if len(cpus) == 1 and cpus[0].other >= 0:
        return f"CPU{cpus[0].cpu} and CPU{cpus[0].other}"
    return cpu_ranges([cpu.cpu for cpu in cpus])


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
    who = _who(group)
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
    matcher = SequenceMatcher(None, [loose(item) for item in a], [loose(item) for item in b], autojunk=False)
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
            cpus = [cpu.other if mark == "+" and cpu.other >= 0 else cpu.cpu for cpu in group]
            rows.append([f"{mark} {cpu_ranges(cpus)}", *numbers])
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
