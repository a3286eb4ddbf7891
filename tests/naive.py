"""Programs of PEs as lists of operations, and a naive enumeration of all that they can come to.

It shares no code with emu: words, cache lines, monitors and event registers are dicts and tuples here, and
every order of every step is tried. :func:`text_of` gives a program as A64 text, for the exploration that is
compared.

What it follows is docs/model.md: one coherent domain of caches with at most one copy of each line of 64
bytes, accesses with the MMU off past it; maintenance by VA that takes effect in the order of its line, at the
latest with the next DSB or DMB of its PE or before its next cacheable access to the line; monitors of
granules of 64 bytes; store-exclusives that fail by themselves at most once in a row; LDP and STP in one step.
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
#   wait r w   SEVL; WFE, load-exclusive until it is not 0
#   wfe, sev, sevl, clrex, dsb            dc k w     k: ivac, cvac, civac
#   on r t     CPU_ON of thread t; r: what firmware says
Operation = tuple[Any, ...]
WORDS = 3  # words 0 and 1 share a line, and a granule; word 2 has one of its own
PA_OF = (0, 8, 256)  # offset of each word from the base in x0
LOADS = ("ld", "ldp", "await", "add", "lx", "sx", "wait", "on")
_ALREADY_ON = 2**64 - 4  # PSCI ALREADY_ON, i64


@dataclass(frozen=True, slots=True)
class Thread:
    """A program, and where it begins: with its MMU and caches on or off, running or switched off."""

    operations: tuple[Operation, ...]
    mapped: bool = False
    is_on: bool = True


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
        """Return what there is at the ends: by thread its results, or None when it has not come to its end.

        Without caches the words too.
        """
        count = len(self.threads)
        first = State(
            ((0, 0),) * count,
            ((),) * count,
            (Line((0, 0)), Line((0,))),
            (-1,) * count,
            (False,) * count,
            (False,) * count,
            tuple(thread.is_on for thread in self.threads),
            (0,) * count,
        )
        seen, work, found = {first}, [first], set()
        while work:
            state = work.pop()
            steps = [after for number in range(count) for after in self._steps(state, number)]
            if not steps:
                found.add(self._end(state))
            for after in [*steps, *self._moves(state)]:
                if after not in seen:
                    seen.add(after)
                    work.append(after)
        self.states = len(seen)
        return found

    def _end(self, state: State) -> tuple[Any, ...]:
        results = tuple(
            results if place[0] == len(thread.operations) and not asleep else None
            for thread, place, results, asleep in zip(
                self.threads, state.places, state.results, state.asleep, strict=True
            )
        )
        return results if self.caches else (results, *(line.memory for line in state.lines))

    # -- what lines do by themselves ----------------------------------------------------------------

    def _moves(self, state: State) -> Iterator[State]:
        if not self.caches:
            return
        for number, line in enumerate(state.lines):
            if line.queue:
                yield replace(state, lines=_put(state.lines, number, self._effect(line)))
            if line.copy is None:
                after = replace(line, copy=line.memory)
            elif line.dirty:
                after = replace(line, memory=line.copy, dirty=False)
            else:
                after = replace(line, copy=None)
            yield replace(state, lines=_put(state.lines, number, after))

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
        index, at = _line_of(word)
        line = state.lines[index]
        if not self.caches or not self.threads[number].mapped:
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
        value, state = self._load(state, number, word)
        other, state = self._load(state, number, word + 1)
        yield self._next(state, number, value, other)

    def _st(self, state: State, number: int, part: int, word: int, value: int) -> Iterator[State]:
        yield self._next(self._store(state, number, word, value), number)

    def _stp(self, state: State, number: int, part: int, word: int, value: int) -> Iterator[State]:
        state = self._store(state, number, word, value)
        yield self._next(self._store(state, number, word + 1, value + 1), number)

    def _await(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        value, state = self._load(state, number, word)
        if value:
            yield self._next(state, number, value)

    def _lx(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        value, state = self._load(state, number, word)
        yield self._next(replace(state, armed=_put(state.armed, number, word)), number, value)

    def _exclusive(self, state: State, number: int, word: int, value: int) -> Iterator[tuple[bool, State]]:
        # Whether the store-exclusive passes, and the state then.
        passes = state.armed[number] == word
        cleared = replace(state, armed=_put(state.armed, number, -1))
        if passes:
            passed = replace(cleared, failed=_put(state.failed, number, 0))
            yield True, self._store(passed, number, word, value)
            if state.failed[number] < 1:
                yield False, replace(cleared, failed=_put(state.failed, number, state.failed[number] + 1))
        else:
            yield False, cleared

    def _sx(
        self, state: State, number: int, part: int, _register: int, word: int, value: int
    ) -> Iterator[State]:
        for passes, after in self._exclusive(state, number, word, value):
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

    def _wait(self, state: State, number: int, part: int, _register: int, word: int) -> Iterator[State]:
        if part == 0:
            yield self._part(self._event(state, number), number, 1)
        elif part == 1:
            yield self._part(self._slept(state, number), number, 2)
        else:
            value, state = self._load(state, number, word)
            state = replace(state, armed=_put(state.armed, number, word))
            yield self._next(state, number, value) if value else self._part(state, number, 1)

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


# -- as text ----------------------------------------------------------------------------------------


def text_of(thread: Thread, entries: list[int]) -> str:
    """Return a thread as A64 text; x20 is the base of the words, and results come into x21, x22 ...

    :param entries: PA of each thread's program
    """
    lines = ["mov x20, x0"]
    register = 21
    for number, operation in enumerate(thread.operations):
        lines += _lines(operation, number, register, entries)
        register += results_of(operation)
    return "\n".join([*lines, "b ."])


def results_of(operation: Operation) -> int:
    """Return how many results an operation has."""
    return {"ldp": 2}.get(operation[0], int(operation[0] in LOADS))


def _lines(operation: Operation, number: int, register: int, entries: list[int]) -> Iterator[str]:
    name, *rest = operation
    if name in ("wfe", "sev", "sevl", "clrex"):
        yield name
        return
    if name == "dsb":
        yield "dsb sy"
        return
    if name == "on":
        target = rest[1]
        yield "movz x0, #3"
        yield "movk x0, #0xc400, lsl #16"
        yield f"mov x1, #{target}"
        yield f"movz x2, #{entries[target] & 0xFFFF}"
        yield f"movk x2, #{entries[target] >> 16}, lsl #16"
        yield "mov x3, x20"
        yield "smc #0"
        yield f"mov x{register}, x0"
        return
    word = rest[0] if name in ("st", "stp") else rest[1]
    yield f"add x9, x20, #{PA_OF[word]}"
    match name:
        case "ld":
            yield f"ldr x{register}, [x9]"
        case "ldp":
            yield f"ldp x{register}, x{register + 1}, [x9]"
        case "st":
            yield f"mov x10, #{rest[1]}"
            yield "str x10, [x9]"
        case "stp":
            yield f"mov x10, #{rest[1]}"
            yield f"mov x11, #{rest[1] + 1}"
            yield "stp x10, x11, [x9]"
        case "await":
            yield f"l{number}: ldr x{register}, [x9]"
            yield f"cbz x{register}, l{number}"
        case "lx":
            yield f"ldxr x{register}, [x9]"
        case "sx":
            yield f"mov x10, #{rest[2]}"
            yield f"stxr w{register}, x10, [x9]"
        case "add":
            yield f"l{number}: ldxr x{register}, [x9]"
            yield f"add x10, x{register}, #{rest[2]}"
            yield "stxr w11, x10, [x9]"
            yield f"cbnz w11, l{number}"
        case "wait":
            yield "sevl"
            yield f"l{number}: wfe"
            yield f"ldaxr x{register}, [x9]"
            yield f"cbz x{register}, l{number}"
        case "dc":
            yield f"dc {rest[0]}, x9"


def draw(seed: int, *, caches: bool) -> list[Thread]:
    """Return two to four short threads, the same ones for the same seed."""
    choice = random.Random(seed)
    count = choice.choice([2, 2, 2, 3, 3, 4])
    longest = {2: 5, 3: 3, 4: 2}[count] - caches * (count < 4)
    threads = []
    for number in range(count):
        off = number > 0 and choice.random() < 0.15
        names = ["ld", "ld", "ldp", "st", "st", "stp", "lx", "sx", "sx", "add", "await", "wait"]
        names += ["wfe", "sev", "sev", "sevl", "clrex", "dsb"]
        if caches:
            names += ["dc", "dc", "dsb"]
        operations = [_draw(choice, choice.choice(names)) for _ in range(choice.randint(1, longest))]
        if number == 0:
            operations += [("on", 0, target) for target in range(1, count) if choice.random() < 0.2]
        mapped = caches and not off and choice.random() < 0.6  # firmware starts a PE with its MMU off
        threads.append(Thread(tuple(operations), mapped, not off))
    return threads


def _draw(choice: random.Random, name: str) -> Operation:
    word, value = choice.randrange(WORDS), choice.randint(1, 3)
    match name:
        case "ldp" | "stp":
            return (name, 0, 0) if name == "ldp" else (name, 0, value)
        case "ld" | "lx" | "await" | "wait":
            return (name, 0, word)
        case "st":
            return (name, word, value)
        case "sx" | "add":
            return (name, 0, word, value)
        case "dc":
            return (name, choice.choice(["ivac", "cvac", "civac"]), word)
    return (name,)
