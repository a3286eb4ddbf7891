"""Litmus tests made of abstract operations, and a naive enumeration of what sequential consistency allows.

It shares no code with emu: threads are lists of operations on a dict, and every order is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# An operation is a tuple: its name, then a variable, then what it stores. What each does, and its text:
#   R x       load                           W x n     store
#   SWP x n   swap                           ADD x n   LDADD
#   CAS x n   compare with 0 and swap        LX x      load-exclusive
#   SX x n    store-exclusive, which may fail by itself
#   FENCE t   a barrier, which changes nothing here
Operation = tuple[Any, ...]
Thread = Sequence[Operation]
RESULTS = ("R", "SWP", "ADD", "CAS", "LX", "SX")


@dataclass(frozen=True, slots=True)
class Spelling:
    """How loads and stores are written: a suffix of order, and what stands between two operations."""

    load: str = "LDR"
    store: str = "STR"
    order: str = ""


def litmus_text(name: str, threads: Sequence[Thread], spelling: Spelling | None = None) -> str:
    """Return the test in herd's format; operation i of a thread gives its result in register i."""
    spelling = spelling or Spelling()
    variables = sorted(
        {operation[1] for thread in threads for operation in thread if operation[0] != "FENCE"}
    )
    columns, registers, shown = [], [], []
    for number, thread in enumerate(threads):
        lines = []
        for index, operation in enumerate(thread):
            lines += list(_lines(operation, index, variables, spelling))
            if operation[0] in RESULTS:
                shown.append(f"{number}:X{index};")
        columns.append(lines)
        registers += [f"{number}:X{20 + index}={name};" for index, name in enumerate(variables)]
    height = max(len(lines) for lines in columns)
    rows = [" | ".join(f"P{number}" for number in range(len(columns))) + " ;"]
    for row in range(height):
        rows.append(" | ".join(lines[row] if row < len(lines) else "" for lines in columns) + " ;")
    places = " ".join([*shown, *(f"{variable};" for variable in variables)])
    head = f"AArch64 {name}\n{{\n{' '.join(registers)}\n}}\n"
    return head + "\n".join(rows) + f"\nlocations [{places}]\nforall (true)\n"


def _lines(operation: Operation, index: int, variables: list[str], spelling: Spelling) -> Iterator[str]:
    if operation[0] == "FENCE":
        yield operation[1]
        return
    at = f"[X{20 + variables.index(operation[1])}]"
    if len(operation) > 2:
        yield f"MOV W10,#{operation[2]}"
    match operation[0]:
        case "R":
            yield f"{spelling.load} W{index},{at}"
        case "W":
            yield f"{spelling.store} W10,{at}"
        case "SWP":
            yield f"SWP{spelling.order} W10,W{index},{at}"
        case "ADD":
            yield f"LDADD{spelling.order} W10,W{index},{at}"
        case "CAS":
            yield f"MOV W{index},#0"
            yield f"CAS{spelling.order} W{index},W10,{at}"
        case "LX":
            yield f"LDXR W{index},{at}"
        case "SX":
            yield f"STXR W{index},W10,{at}"


def sc_states(threads: Sequence[Thread]) -> set[str]:
    """Return the final states of all orders, as lines that herd prints."""
    states: set[str] = set()
    seen = set()
    variables = sorted(
        {operation[1] for thread in threads for operation in thread if operation[0] != "FENCE"}
    )
    # places, memory, results, and by thread the variable that its monitor is armed for
    work = [((0,) * len(threads), tuple((name, 0) for name in variables), (), ("",) * len(threads))]
    while work:
        here = work.pop()
        if here in seen:
            continue
        seen.add(here)
        places, memory, results, armed = here
        running = [number for number, at in enumerate(places) if at < len(threads[number])]
        if not running:
            found = [f"{number}:X{index}={value};" for number, index, value in sorted(results)]
            states.add(" ".join([*found, *(f"[{name}]={value};" for name, value in memory)]))
        for number in running:
            index = places[number]
            after = (*places[:number], index + 1, *places[number + 1 :])
            for new, result, monitors in _outcomes(threads[number][index], dict(memory), number, armed):
                found = results if result is None else (*results, (number, index, result))
                work.append((after, tuple(sorted(new.items())), tuple(sorted(found)), monitors))
    return states


def _outcomes(
    operation: Operation, memory: dict[str, int], number: int, armed: tuple[str, ...]
) -> Iterator[tuple[dict[str, int], int | None, tuple[str, ...]]]:
    name, *rest = operation
    if name == "FENCE":
        yield memory, None, armed
        return
    variable = rest[0]
    old, mine = memory[variable], armed[number]

    def others_cleared(own: str) -> tuple[str, ...]:
        # A store clears the monitors of others that are armed for the variable.
        return tuple(
            own if other == number else "" if held == variable else held for other, held in enumerate(armed)
        )

    match name:
        case "R":
            yield memory, old, armed
        case "W":
            yield {**memory, variable: rest[1]}, None, others_cleared(mine)
        case "SWP":
            yield {**memory, variable: rest[1]}, old, others_cleared(mine)
        case "ADD":
            yield {**memory, variable: old + rest[1]}, old, others_cleared(mine)
        case "CAS":
            new = {**memory, variable: rest[1]} if old == 0 else memory
            yield new, old, others_cleared(mine) if old == 0 else armed
        case "LX":
            yield memory, old, (*armed[:number], variable, *armed[number + 1 :])
        case "SX":
            if mine == variable:
                yield {**memory, variable: rest[1]}, 0, others_cleared("")
            yield memory, 1, (*armed[:number], "", *armed[number + 1 :])


# The classical shapes, by the names that the literature gives them.
SHAPES: dict[str, tuple[Thread, ...]] = {
    "SB": ((("W", "x", 1), ("R", "y")), (("W", "y", 1), ("R", "x"))),
    "MP": ((("W", "x", 1), ("W", "y", 1)), (("R", "y"), ("R", "x"))),
    "LB": ((("R", "x"), ("W", "y", 1)), (("R", "y"), ("W", "x", 1))),
    "S": ((("W", "x", 2), ("W", "y", 1)), (("R", "y"), ("W", "x", 1))),
    "R": ((("W", "x", 1), ("W", "y", 1)), (("W", "y", 2), ("R", "x"))),
    "2+2W": ((("W", "x", 1), ("W", "y", 2)), (("W", "y", 1), ("W", "x", 2))),
    "WRC": ((("W", "x", 1),), (("R", "x"), ("W", "y", 1)), (("R", "y"), ("R", "x"))),
    "RWC": ((("W", "x", 1),), (("R", "x"), ("R", "y")), (("W", "y", 1), ("R", "x"))),
    "ISA2": (
        (("W", "x", 1), ("W", "y", 1)),
        (("R", "y"), ("W", "z", 1)),
        (("R", "z"), ("R", "x")),
    ),
    "IRIW": ((("W", "x", 1),), (("R", "x"), ("R", "y")), (("W", "y", 1),), (("R", "y"), ("R", "x"))),
}
FENCES = ("", "DMB SY", "DMB LD", "DMB ST", "DSB SY", "ISB")
SPELLINGS = (Spelling(), Spelling("LDAR", "STLR", "AL"), Spelling("LDAPR", "STLR", "A"))


def fenced(threads: Sequence[Thread], fence: str) -> list[Thread]:
    """Return the threads with a barrier between two operations each."""
    if not fence:
        return list(threads)
    return [
        tuple(part for operation in thread for part in (operation, ("FENCE", fence)))[:-1]
        for thread in threads
    ]
