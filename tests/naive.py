"""Programs of PEs and host tasks as lists of operations, and a naive enumeration of what they can come to.

It shares no code with emu: words, cache lines, monitors and event registers are dicts and tuples here, and
every order of every step is tried. tests/naive_text.py gives a program as A64 text, for the exploration
that is compared; tests/naive_compare.py makes host tasks.

What it follows is docs/model.md: one coherent domain of caches with at most one copy of each line of 64
bytes, accesses with the MMU off past it; maintenance by VA that takes effect in the order of its line, at the
latest with the next DSB or DMB of its PE or before its next cacheable access to the line; monitors of
granules of 64 bytes; store-exclusives that fail by themselves at most once in a row; LDP, STP and LDXP in two
steps, either word first; STXP in one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

# (name, register, word, value or other register). Registers: each operation that loads has one of its own.
#   ld r w     load                       st w n     store a constant
#   ldp r w    load the words w and w+1   stp w n    store n and n + 1 there
#   await r w  load until it is not 0     add r w n  load-exclusive, add n, store-exclusive, until it passes
#   lx r w     load-exclusive             sx r w n   store-exclusive; r: whether it failed
#   lxp r w    load-exclusive of both     sxp r w n  store-exclusive of n and n + 1
#   wait r w   SEVL; WFE, load-exclusive until it is not 0
#   pen r w    WFE, load until it is not 0
#   inc r w n  load, add n, store
#   doze r w   load until it is not 0, WFE in between
#   wfe, sev, sevl, clrex, dsb            dc k w     k: ivac, cvac, civac
#   on r t     CPU_ON of thread t; r: what firmware says
# Of host tasks alone:
#   poll r w   wait until it is not 0, or time passes: TIMED_OUT
#   swap r w n exchange                   cas r w n  store n if it is 0; r: what it was
#   ldu r w    load past the caches       stu w n    store past them
Operation = tuple[Any, ...]
Pick = tuple[str, int]
WORDS = 3  # words 0 and 1 share a line, and a granule; word 2 has one of its own
PA_OF = (0, 8, 256)  # offset of each word from the base in x0
LOADS = (
    "ld",
    "ldp",
    "await",
    "add",
    "lx",
    "lxp",
    "sx",
    "sxp",
    "wait",
    "pen",
    "doze",
    "inc",
    "on",
    "poll",
    "swap",
    "cas",
    "ldu",
)
TIMED_OUT = -1
LINE_PAS = (0, 256)  # offset of each line from the base
_ALREADY_ON = 2**64 - 4  # PSCI ALREADY_ON, i64


@dataclass(frozen=True, slots=True)
class Thread:
    """A program, and where it begins: with its MMU and caches on or off, running or switched off.

    :ivar is_task: a host task does it, which is always on and mapped
    """

    operations: tuple[Operation, ...]
    mapped: bool = False
    is_on: bool = True
    is_task: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Words in memory and, if there is a copy, in the domain; maintenance on its way: (thread, kind)."""

    memory: tuple[int, ...]
    copy: tuple[int, ...] | None = None
    dirty: bool = False
    queue: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """One state of all; ``places`` are numbers of operations, with a part for those of several steps."""

    places: tuple[tuple[int, int], ...]
    results: tuple[tuple[int, ...], ...]
    lines: tuple[Line, Line]
    armed: tuple[int, ...]  # by thread the word of its load-exclusive, -1: none
    events: tuple[bool, ...]
    asleep: tuple[bool, ...]
    on: tuple[bool, ...]
    failed: tuple[int, ...]  # store-exclusives that failed by themselves since one passed


def _put(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    return (*items[:index], item, *items[index + 1 :])


def _line_of(word: int) -> tuple[int, int]:
    # Number of the line, and the place in it.
    return (0, word) if word < 2 else (1, 0)


class Naive:
    """All orders of the threads."""

    def __init__(self, threads: list[Thread], *, caches: bool) -> None:
        self.threads = threads
        self.caches = caches
        self.states = 0

    def outcomes(self) -> set[tuple[Any, ...]]:
        """Return what the ends show: by thread its results, or None when it has not come to its end.

        Without caches the words too.
        """
        first = self._first()
        seen, work, found = {first}, [first], set()
        while work:
            state = work.pop()
            steps = self._everybody(state)
            if not steps:
                found.add(self._end(state))
            for _, after in [*steps, *self._moves(state)]:
                if after not in seen:
                    seen.add(after)
                    work.append(after)
        self.states = len(seen)
        return found

    def walk(self, choice: random.Random) -> list[Pick]:
        """Return a schedule to an end, drawn step by step, as pairs of a kind and a thread or a line.

        Behind a step that wakes a PE whose next operation has its address to compute first there is
        ("woken", thread).
        """
        state, picks = self._first(), []
        while steps := self._everybody(state):
            moves = list(self._moves(state)) if choice.random() < 0.3 else []
            pick, after = choice.choice(moves or steps)
            picks.append(pick)
            for number, (before, now) in enumerate(zip(state.asleep, after.asleep, strict=True)):
                if before and not now and self._computes(after, number):
                    picks.append(("woken", number))
            state = after
        return picks

    def _computes(self, state: State, number: int) -> bool:
        thread, (index, _) = self.threads[number], state.places[number]
        at_once = ("wait", "pen", "wfe", "sev", "sevl", "clrex", "dsb")
        return (
            index < len(thread.operations)
            and not thread.is_task
            and thread.operations[index][0] not in at_once
        )

    def _everybody(self, state: State) -> list[tuple[Pick, State]]:
        # The steps of all threads; time passes when there is none.
        numbers = range(len(self.threads))
        steps = [each for number in numbers for each in self._labelled(state, number)]
        return steps or [each for number in numbers for each in self._time_outs(state, number)]

    def _labelled(self, state: State, number: int) -> Iterator[tuple[Pick, State]]:
        for after in self._steps(state, number):
            delays = any(
                len(new.queue) > len(old.queue) for new, old in zip(after.lines, state.lines, strict=True)
            )
            fails = after.failed[number] > state.failed[number]
            kind = "fail" if fails else "delay" if delays else self._part_of_pair(after, number)
            yield (kind, number), after

    def _part_of_pair(self, after: State, number: int) -> str:
        # Which word of a pair the step has accessed alone; "run": it was no such step.
        operations, (index, part) = self.threads[number].operations, after.places[number]
        is_first = part and operations[index][0] in ("ldp", "stp", "lxp")
        return f"part{(part - 1) % 2}" if is_first else "run"

    def _time_outs(self, state: State, number: int) -> Iterator[tuple[Pick, State]]:
        operations, (index, _) = self.threads[number].operations, state.places[number]
        if index < len(operations) and operations[index][0] == "poll" and not state.asleep[number]:
            late = tuple(self._elapsed(line) for line in state.lines)
            yield ("timeout", number), self._next(replace(state, lines=late), number, TIMED_OUT)

    def _elapsed(self, line: Line) -> Line:
        while line.queue:
            line = self._effect(line)
        return line

    def _first(self) -> State:
        count = len(self.threads)
        return State(
            ((0, 0),) * count,
            ((),) * count,
            (Line((0, 0)), Line((0,))),
            (-1,) * count,
            (False,) * count,
            (False,) * count,
            tuple(thread.is_on for thread in self.threads),
            (0,) * count,
        )

    def _end(self, state: State) -> tuple[Any, ...]:
        results = tuple(
            results if place[0] == len(thread.operations) and not asleep else None
            for thread, place, results, asleep in zip(
                self.threads, state.places, state.results, state.asleep, strict=True
            )
        )
        return results if self.caches else (results, *(line.memory for line in state.lines))

    # -- what lines do by themselves ----------------------------------------------------------------

    def _moves(self, state: State) -> Iterator[tuple[Pick, State]]:
        if not self.caches:
            return
        for number, line in enumerate(state.lines):
            if line.queue:
                yield ("m", number), replace(state, lines=_put(state.lines, number, self._effect(line)))
            if line.copy is None:
                kind, after = "f", replace(line, copy=line.memory)
            elif line.dirty:
                kind, after = "w", replace(line, memory=line.copy, dirty=False)
            else:
                kind, after = "d", replace(line, copy=None)
            yield (kind, number), replace(state, lines=_put(state.lines, number, after))

    @staticmethod
    def _effect(line: Line) -> Line:
        (_, kind), *rest = line.queue
        if kind in ("cvac", "civac") and line.dirty:
            assert line.copy is not None
            line = replace(line, memory=line.copy, dirty=False)
        if kind in ("ivac", "civac"):
            line = replace(line, copy=None, dirty=False)
        return replace(line, queue=tuple(rest))

    def _done(self, line: Line, number: int) -> Line:
        # With all that the thread has issued on the line, and what others had before.
        while any(issuer == number for issuer, _ in line.queue):
            line = self._effect(line)
        return line

    # -- accesses -----------------------------------------------------------------------------------

    def _load(self, state: State, number: int, word: int) -> tuple[int, State]:
        index, at = _line_of(word)
        line = state.lines[index]
        if not self.caches or not self.threads[number].mapped:
            return line.memory[at], state
        line = self._done(line, number)
        if line.copy is None:
            line = replace(line, copy=line.memory)
        assert line.copy is not None
        return line.copy[at], replace(state, lines=_put(state.lines, index, line))

    def _store(self, state: State, number: int, word: int, value: int) -> State:
        cached = self.caches and self.threads[number].mapped
        return self._stored(state, number, word, value, cached=cached)

    def _stored(self, state: State, number: int, word: int, value: int, *, cached: bool) -> State:
        index, at = _line_of(word)
        line = state.lines[index]
        if not cached:
            line = replace(line, memory=_put(line.memory, at, value))
        else:
            line = self._done(line, number)
            line = replace(line, copy=_put(line.copy or line.memory, at, value), dirty=True)
        state = replace(state, lines=_put(state.lines, index, line))
        for other, held in enumerate(state.armed):
            if other != number and held >= 0 and _line_of(held)[0] == index:
                state = replace(state, armed=_put(state.armed, other, -1))
                state = self._event(state, other)
        return state

    @staticmethod
    def _event(state: State, number: int) -> State:
        if state.asleep[number]:  # it wakes, which spends the event
            return replace(state, asleep=_put(state.asleep, number, False))
        return replace(state, events=_put(state.events, number, True))

    # -- steps --------------------------------------------------------------------------------------

    def _steps(self, state: State, number: int) -> Iterator[State]:
        operations = self.threads[number].operations
        index, part = state.places[number]
        if index == len(operations) or state.asleep[number] or not state.on[number]:
            return
        operation = operations[index]
        yield from getattr(self, f"_{operation[0]}")(state, number, part, *operation[1:])

    @staticmethod
    def _next(state: State, number: int, *results: int) -> State:
        index, _ = state.places[number]
        state = replace(state, places=_put(state.places, number, (index + 1, 0)))
        return replace(state, results=_put(state.results, number, (*state.results[number], *results)))

    @staticmethod
    def _part(state: State, number: int, part: int) -> State:
        return replace(state, places=_put(state.places, number, (state.places[number][0], part)))

    def _ld(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        value, state = self._load(state, number, word)
        yield self._next(state, number, value)

    def _ldp(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        yield from self._both(state, number, part, word)

    def _both(self, state: State, number: int, part: int, word: int) -> Iterator[State]:
        # Two words in either order. Part 2 n + 1: the first has come to n; 2 n + 2: the second.
        if part:
            known, is_second = divmod(part - 1, 2)
            value, state = self._load(state, number, word + 1 - is_second)
            yield self._next(state, number, *((value, known) if is_second else (known, value)))
            return
        for at in (0, 1):
            value, after = self._load(state, number, word + at)
            yield self._part(after, number, 2 * value + at + 1)

    def _lxp(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        if not part:
            state = replace(state, armed=_put(state.armed, number, word))
        yield from self._both(state, number, part, word)

    def _st(self, state: State, number: int, part: int, word: int, value: int) -> Iterator[State]:
        yield self._next(self._store(state, number, word, value), number)

    def _stp(self, state: State, number: int, part: int, word: int, value: int) -> Iterator[State]:
        if part:
            at = 2 - part
            yield self._next(self._store(state, number, word + at, value + at), number)
            return
        for at in (0, 1):
            yield self._part(self._store(state, number, word + at, value + at), number, 1 + at)

    def _await(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        value, state = self._load(state, number, word)
        if value:
            yield self._next(state, number, value)

    def _lx(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        value, state = self._load(state, number, word)
        yield self._next(replace(state, armed=_put(state.armed, number, word)), number, value)

    def _exclusive(self, state: State, number: int, word: int, *values: int) -> Iterator[tuple[bool, State]]:
        # Whether the store-exclusive of one word or more passes, and the state then.
        passes = state.armed[number] == word
        cleared = replace(state, armed=_put(state.armed, number, -1))
        if passes:
            passed = replace(cleared, failed=_put(state.failed, number, 0))
            for at, value in enumerate(values):
                passed = self._store(passed, number, word + at, value)
            yield True, passed
            if state.failed[number] < 1:
                yield False, replace(cleared, failed=_put(state.failed, number, state.failed[number] + 1))
        else:
            yield False, cleared

    def _sx(
        self, state: State, number: int, part: int, _register: int, word: int, value: int
    ) -> Iterator[State]:
        for passes, after in self._exclusive(state, number, word, value):
            yield self._next(after, number, int(not passes))

    def _sxp(
        self, state: State, number: int, part: int, _register: int, word: int, value: int
    ) -> Iterator[State]:
        for passes, after in self._exclusive(state, number, word, value, value + 1):
            yield self._next(after, number, int(not passes))

    def _add(
        self, state: State, number: int, part: int, _register: int, word: int, value: int
    ) -> Iterator[State]:
        if not part:
            old, state = self._load(state, number, word)
            yield self._part(replace(state, armed=_put(state.armed, number, word)), number, 1 + old)
            return
        for passes, after in self._exclusive(state, number, word, part - 1 + value):
            yield self._next(after, number, part - 1) if passes else self._part(after, number, 0)

    def _inc(
        self, state: State, number: int, part: int, _register: int, word: int, value: int
    ) -> Iterator[State]:
        if not part:
            old, state = self._load(state, number, word)
            yield self._part(state, number, 1 + old)
        else:
            state = self._store(state, number, word, part - 1 + value)
            yield self._next(state, number, part - 1)

    def _wait(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        if part == 0:
            yield self._part(self._event(state, number), number, 1)
        elif part == 1:
            yield self._part(self._slept(state, number), number, 2)
        else:
            value, state = self._load(state, number, word)
            state = replace(state, armed=_put(state.armed, number, word))
            yield self._next(state, number, value) if value else self._part(state, number, 1)

    def _pen(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        if not part:
            yield self._part(self._slept(state, number), number, 1)
            return
        value, state = self._load(state, number, word)
        yield self._next(state, number, value) if value else self._part(state, number, 0)

    def _doze(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        if part:
            yield self._part(self._slept(state, number), number, 0)
            return
        value, state = self._load(state, number, word)
        yield self._next(state, number, value) if value else self._part(state, number, 1)

    _poll = _await

    def _swap(
        self, state: State, number: int, part: int, _register: int, word: int, value: int
    ) -> Iterator[State]:
        old, state = self._load(state, number, word)
        yield self._next(self._store(state, number, word, value), number, old)

    def _cas(
        self, state: State, number: int, part: int, _register: int, word: int, value: int
    ) -> Iterator[State]:
        old, state = self._load(state, number, word)
        yield self._next(state if old else self._store(state, number, word, value), number, old)

    def _ldu(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        index, at = _line_of(word)
        yield self._next(state, number, state.lines[index].memory[at])

    def _stu(self, state: State, number: int, part: int, word: int, value: int) -> Iterator[State]:
        yield self._next(self._stored(state, number, word, value, cached=False), number)

    @staticmethod
    def _slept(state: State, number: int) -> State:
        if state.events[number]:
            return replace(state, events=_put(state.events, number, False))
        return replace(state, asleep=_put(state.asleep, number, True))

    def _wfe(self, state: State, number: int, part: int) -> Iterator[State]:
        yield self._next(self._slept(state, number), number)

    def _sev(self, state: State, number: int, part: int) -> Iterator[State]:
        for other, is_on in enumerate(state.on):
            if is_on:
                state = self._event(state, other)
        yield self._next(state, number)

    def _sevl(self, state: State, number: int, part: int) -> Iterator[State]:
        yield self._next(self._event(state, number), number)

    def _clrex(self, state: State, number: int, part: int) -> Iterator[State]:
        yield self._next(replace(state, armed=_put(state.armed, number, -1)), number)

    def _dsb(self, state: State, number: int, part: int) -> Iterator[State]:
        done = tuple(self._done(line, number) for line in state.lines)
        yield self._next(replace(state, lines=done), number)

    def _dc(self, state: State, number: int, part: int, kind: str, word: int) -> Iterator[State]:
        if not self.caches:
            yield self._next(state, number)
            return
        index, _ = _line_of(word)
        line = state.lines[index]
        issued = replace(line, queue=(*line.queue, (number, kind)))
        yield self._next(replace(state, lines=_put(state.lines, index, issued)), number)

    def _on(self, state: State, number: int, part: int, _register: int, target: int) -> Iterator[State]:
        if state.on[target]:
            yield self._next(state, number, _ALREADY_ON)
        else:
            state = replace(state, on=_put(state.on, target, True), events=_put(state.events, target, False))
            yield self._next(state, number, 0)
