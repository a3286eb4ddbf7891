"""An exploration of the programs of tests/naive.py, in the terms of the naive enumeration."""

from __future__ import annotations

from typing import Any

from bare_pe import assemble
from exploring import Code, X, code_of, explorer_of
from naive import PA_OF, Naive, Thread, draw, results_of, text_of

from emu.explore.ends import EndState, find_ends
from emu.explore.registers import Registers
from emu.explore.search import Bounds

Outcomes = set[tuple[Any, ...]]


def explored(threads: list[Thread], *, caches: bool, **bounds: Any) -> Outcomes:
    """Return what the exploration says, as :meth:`naive.Naive.outcomes` has it."""
    count = len(threads)
    entries = [code_of(cpu) for cpu in range(count)]
    programs = [Code(text_of(thread, entries), thread.mapped, thread.is_on) for thread in threads]
    ends_at = [code_of(cpu) + len(assemble(code.text, code_of(cpu))) - 4 for cpu, code in enumerate(programs)]
    explorer = explorer_of(programs, cached=caches, conduit="smc")
    registers = Registers(explorer.stepper.machine)
    found: Outcomes = set()

    def begin() -> Any:
        found.clear()
        return see

    def see(end: EndState) -> None:
        results = tuple(
            registers.of(local)[21 : 21 + sum(map(results_of, thread.operations))]
            if local.at == ends_at[local.cpu]
            else None
            for local, thread in zip(end.locals, threads, strict=True)
        )
        if caches:
            found.add(results)
        else:
            words = [end.memory(X + at, 8) for at in PA_OF]
            found.add((results, tuple(words[:2]), tuple(words[2:])))

    ends = find_ends(explorer, Bounds(failures=1, **bounds), begin)
    assert not ends.incomplete
    return found


def difference(seed: int, *, caches: bool) -> str:
    """Compare both for the programs of a seed; "" where they agree, else the programs and what differs."""
    threads = draw(seed, caches=caches)
    naive, found = Naive(threads, caches=caches).outcomes(), explored(threads, caches=caches)
    assert naive, "programs without an end"
    if naive == found:
        return ""
    lines = [f"seed {seed}:", *(f"  {thread}" for thread in threads)]
    lines += [f"  not explored: {each}" for each in sorted(naive - found, key=str)]
    lines += [f"  impossible: {each}" for each in sorted(found - naive, key=str)]
    return "\n".join(lines)
