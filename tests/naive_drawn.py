"""Programs for tests/naive.py, drawn from a seed: the same ones for the same seed."""

from __future__ import annotations

import random
from dataclasses import replace

from naive import WORDS, Operation, Thread


def draw(seed: int, *, caches: bool, tasks: bool = False) -> list[Thread]:
    """Return two to four short threads, the same ones for the same seed.

    :param tasks: the first is a host task, and others may be
    """
    choice = random.Random(seed)
    count = choice.choice([2, 2, 2, 3, 3, 4])
    longest = {2: 5, 3: 3, 4: 2}[count] - caches * (count < 4)
    threads = []
    for number in range(count):
        is_task = tasks and (number == 0 or choice.random() < 0.3)
        off = number > 0 and choice.random() < 0.15 and not is_task
        names = _NAMES_OF_TASKS if is_task else [*_NAMES, *(["inc", "inc", "pen", "doze"] if tasks else [])]
        if caches:
            names = [*names, *(["dc", "dc", "dsb"]), *(["ldu", "stu"] if is_task else [])]
        operations = [_draw(choice, choice.choice(names)) for _ in range(choice.randint(1, longest))]
        if number == 0:
            operations += [("on", 0, target) for target in range(1, count) if choice.random() < 0.2]
        mapped = caches and not off and choice.random() < 0.6  # firmware starts a PE with its MMU off
        threads.append(Thread(tuple(operations), mapped or is_task, not off, is_task))
    return [_without_spins(thread, threads) for thread in threads]


def draw_waits(seed: int, *, caches: bool = False) -> list[Thread]:
    """Return two to four threads that wait in WFE for words, or store and send events, or forget to."""
    choice = random.Random(f"waits {seed}")
    count = choice.choice([2, 2, 2, 3] if caches else [2, 2, 3, 3, 4])
    longest = 4 - count if caches else 2 + (count < 4)
    threads = []
    for number in range(count):
        is_task, pieces = choice.random() < 0.2, choice.randint(1, longest)
        drawn = [_piece(choice, number == 0, caches, is_task) for _ in range(pieces)]
        operations = tuple(operation for piece in drawn for operation in piece)
        mapped = caches and choice.random() < 0.5
        threads.append(Thread(operations, mapped or is_task, is_task=is_task))
    return [_without_spins(thread, threads) for thread in threads]


def _piece(choice: random.Random, tells: bool, caches: bool, is_task: bool) -> list[Operation]:
    word, value = choice.randrange(WORDS), choice.randint(0, 2)
    clean: list[Operation] = [("dc", choice.choice(["cvac", "civac"]), word), ("dsb",)] if caches else []
    tell: list[Operation] = [("st", word, value), *clean, ("sev",)]
    if choice.random() < 0.15:
        tell.remove(choice.choice(tell))
    waits = "await" if is_task else "doze"
    if choice.random() < (0.2 if tells else 0.6):
        return [(waits, 0, word)]
    drawn = choice.random()
    if drawn < 0.7 or is_task:
        return tell
    return [_draw(choice, choice.choice(["ld", "st", "wfe", "sev", "sevl", "pen", "wait", "add"]))]


_NAMES = ["ld", "ld", "ldp", "st", "st", "stp", "lx", "sx", "sx", "add", "await", "wait"]
_NAMES += ["ldp", "stp", "lxp", "sxp", "sxp"]
_NAMES += ["wfe", "sev", "sev", "sevl", "clrex", "dsb"]
_NAMES_OF_TASKS = ["ld", "ld", "st", "st", "st", "await", "poll", "poll", "swap", "cas", "wfe", "sev", "dsb"]


def _without_spins(thread: Thread, threads: list[Thread]) -> Thread:
    # A host task spins only on words that no PE stores to; it polls others.
    if not thread.is_task:
        return thread
    stored = {
        word + at
        for other in threads
        if not other.is_task
        for name, *rest in other.operations
        if name in ("st", "stp", "sx", "sxp", "add", "inc")
        for word in [rest[0] if name in ("st", "stp") else rest[1]]
        for at in range(2 if name in ("stp", "sxp") else 1)
    }
    operations = tuple(
        ("poll", *rest) if name == "await" and rest[1] in stored else (name, *rest)
        for name, *rest in thread.operations
    )
    return replace(thread, operations=operations)


def _draw(choice: random.Random, name: str) -> Operation:
    word, value = choice.randrange(WORDS), choice.randint(1, 3)
    match name:
        case "ldp" | "lxp":
            return (name, 0, 0)
        case "stp":
            return (name, 0, value)
        case "sxp":
            return (name, 0, 0, value)
        case "ld" | "lx" | "await" | "wait" | "pen" | "doze" | "poll" | "ldu":
            return (name, 0, word)
        case "st" | "stu":
            return (name, word, value)
        case "sx" | "add" | "inc" | "swap" | "cas":
            return (name, 0, word, value)
        case "dc":
            return (name, choice.choice(["ivac", "cvac", "civac"]), word)
    return (name,)
