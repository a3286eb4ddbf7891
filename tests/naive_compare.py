"""An exploration of the programs of tests/naive.py, in the terms of the naive enumeration."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from bare_pe import assemble
from exploring import Code, Program, X, code_of, explorer_of, machine_of, task
from naive import LINE_PAS, LOADS, PA_OF, TIMED_OUT, Naive, Thread
from naive_drawn import draw, draw_waits
from naive_text import results_of, text_of

from emu.explore.ends import EndState, find_ends
from emu.explore.local_state import LocalState
from emu.explore.registers import Registers
from emu.explore.search import Bounds
from emu.machine.actor import HostTask
from emu.operation import (
    DSB_SY,
    AtomicUpdate,
    Barrier,
    CacheOp,
    FirmwareCall,
    Load,
    LoadUntil,
    Operation,
    Poll,
    SendEvent,
    Store,
    WaitForEvent,
)
from emu.rules import identity, judge
from emu.schedulers import Pick
from emu.schedulers.replay import picks_text

Outcomes = set[tuple[Any, ...]]
_CPU_ON = 0xC400_0003
_DC = {"ivac": 0xD508_763F, "cvac": 0xD50B_7A3F, "civac": 0xD50B_7E3F}
# What a machine's trace shows; what an exploration's states show besides is compared elsewhere.
RULES = ("lost-update", "lost-write", "stale")


def programs_of(threads: list[Thread]) -> list[Program]:
    """Return what the explorer and the machine are given."""
    entries = [code_of(cpu) for cpu in range(len(threads))]
    return [
        _task(thread, entries)
        if thread.is_task
        else Code(text_of(thread, entries), thread.mapped, thread.is_on)
        for thread in threads
    ]


def _task(thread: Thread, entries: list[int]) -> Callable[[], HostTask]:
    return task(*(_operation(operation, entries) for operation in thread.operations))


def _operation(operation: tuple[Any, ...], entries: list[int]) -> Operation:
    name, *rest = operation
    match name, *rest:
        case "ld" | "ldu", _, word:
            return Load(X + PA_OF[word], 8, name == "ld")
        case "st" | "stu", word, value:
            return Store(X + PA_OF[word], value, 8, name == "st")
        case "await", _, word:
            return LoadUntil(X + PA_OF[word])
        case "poll", _, word:
            return Poll(X + PA_OF[word], 8, None, 1000, ((0, 10),))
        case "swap" | "cas", _, word, value:
            return AtomicUpdate(X + PA_OF[word], None if name == "swap" else 0, value)
        case "dc", kind, word:
            return CacheOp(_DC[kind], X + PA_OF[word])
        case "on", _, target:
            return FirmwareCall(_CPU_ON, target, entries[target], X)
    return {"wfe": WaitForEvent(), "sev": SendEvent(), "dsb": Barrier(DSB_SY)}[name]


def explored(threads: list[Thread], *, caches: bool, **bounds: Any) -> Outcomes:
    """Return what the exploration says, as :meth:`naive.Naive.outcomes` has it."""
    programs = programs_of(threads)
    ends_at = [
        code_of(cpu) + len(assemble(code.text, code_of(cpu))) - 4 if isinstance(code, Code) else 0
        for cpu, code in enumerate(programs)
    ]
    explorer = explorer_of(programs, cached=caches, conduit="smc")
    registers = Registers(explorer.stepper.machine)
    found: Outcomes = set()

    def begin() -> Any:
        found.clear()
        return see

    def results(thread: Thread, local: LocalState) -> tuple[int, ...] | None:
        if thread.is_task:
            return _given(thread, local)
        if local.at != ends_at[local.cpu]:
            return None
        return registers.of(local)[21 : 21 + sum(map(results_of, thread.operations))]

    def see(end: EndState) -> None:
        ended = tuple(map(results, threads, end.locals))
        if caches:
            found.add(ended)
        else:
            words = [end.memory(X + at, 8) for at in PA_OF]
            found.add((ended, tuple(words[:2]), tuple(words[2:])))

    ends = find_ends(explorer, Bounds(failures=1, **bounds), begin)
    assert not ends.incomplete
    return found


def _given(thread: Thread, local: LocalState) -> tuple[int, ...] | None:
    # What a host task was given for its loads, when it has come to its end.
    if local.said is None:
        return None
    assert local.history is not None
    pairs = zip(local.history.values(), thread.operations, strict=True)
    given = [value for value, (name, *_) in pairs if name in LOADS]
    return tuple(TIMED_OUT if value is None else value & 2**64 - 1 for value in given)


def difference(seed: int, *, caches: bool, tasks: bool = False) -> str:
    """Compare both for the programs of a seed; "" where they agree, else the programs and what differs."""
    return difference_of(seed, draw(seed, caches=caches, tasks=tasks), caches=caches)


def difference_of_waits(seed: int, *, caches: bool) -> str:
    """As :func:`difference`, for programs that wait in WFE and send events."""
    return difference_of(seed, draw_waits(seed, caches=caches), caches=caches)


def difference_of(seed: int, threads: list[Thread], *, caches: bool) -> str:
    """Compare both for these programs, which are called by ``seed``."""
    naive, found = Naive(threads, caches=caches).outcomes(), explored(threads, caches=caches)
    assert naive, "programs without an end"
    return _told(
        seed,
        threads,
        [f"not explored: {each}" for each in sorted(naive - found, key=str)]
        + [f"impossible: {each}" for each in sorted(found - naive, key=str)],
    )


def _told(seed: int, threads: list[Thread], found: list[str]) -> str:
    lines = [f"seed {seed}:", *map(str, threads), *found]
    return "\n  ".join(lines) if found else ""


# -- findings ---------------------------------------------------------------------------------------


def missed_findings(seed: int, *, caches: bool, schedules: int = 40, waits: bool = False) -> str:
    """Let the machine take drawn schedules of a seed's programs; "" when all that rules find was explored.

    What is found is told apart as an exploration tells its findings apart.
    """
    drawn = draw_waits(seed, caches=caches) if waits else draw(seed, caches=caches, tasks=True)
    threads, choice = drawn, random.Random(seed)
    if caches:
        threads = [_looking_once(thread) for thread in threads]
    naive, programs = Naive(threads, caches=caches), programs_of(threads)
    explorer = explorer_of(programs, cached=caches, conduit="smc")
    result = explorer.search(Bounds(failures=1), everything=True)
    assert result.complete, result.incomplete
    known = {identity(found.finding) for found in result.findings}
    missed: dict[Hashable, str] = {}
    for _ in range(schedules):
        text = picks_text(_picks(threads, naive.walk(choice)))
        machine = machine_of(programs, scheduler=f"replay:{text}", conduit="smc", granule=64 if caches else 0)
        machine.run()
        machine.finish()
        for finding in judge(machine.trace).findings:
            if finding.rule in RULES and identity(finding) not in known:
                missed.setdefault(identity(finding), text)
    return _told(seed, threads, [f"not found: {key}: {text}" for key, text in missed.items()])


def _looking_once(thread: Thread) -> Thread:
    # On the machine a host task that waits fills the line that it looks at, when it may: any schedule has it.
    if not thread.is_task:
        return thread
    waits = ("await", "poll")
    looks = tuple(("ld", *rest) if name in waits else (name, *rest) for name, *rest in thread.operations)
    return replace(thread, operations=looks)


def _picks(threads: list[Thread], walk: Iterable[tuple[str, int]]) -> Iterator[Pick]:
    # A PE's first step comes to its first operation and does none, and so may the one behind a WFE.
    to_come = {number for number, thread in enumerate(threads) if not thread.is_task}
    for kind, at in walk:
        if kind == "woken":
            to_come.add(at)
        elif kind in "fwdm":
            yield Pick(kind, X + LINE_PAS[at])
        else:
            if at in to_come:
                to_come.discard(at)
                yield Pick("run", at)
            yield Pick(kind, at)
