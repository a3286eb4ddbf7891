"""What a look-up finds at entry where the contract leaves it open, and what it has to keep at an exit."""

from __future__ import annotations

from collections.abc import Iterator

import z3

from emu.lookup.contract import RETURN
from emu.lookup.prove import bits
from emu.lookup.prove.bits import Value
from emu.lookup.prove.flags import Plain
from emu.lookup.prove.situation import Situation
from emu.lookup.prove.state import SP, State
from emu.lookup.prove.surroundings import Around, Duty
from emu.lookup.starts import STARTS, Start
from emu.lookup.target import RETURN_PA, SP_ENDS, Target


def at_entry(target: Target, situation: Situation, around: Around) -> State:
    """Return the state at entry: symbols for all that the contract leaves open."""
    contract = target.contract
    x: list[Value] = [z3.BitVec(f"x{number}", 64) for number in range(31)]
    x.append(around.sp if around.sp is not None else z3.BitVec("sp", 64))
    if RETURN in (contract.found, contract.missing):
        x[30] = RETURN_PA
    if contract.mpidr != "mpidr_el1":
        x[int(contract.mpidr[1:])] = situation.mpidr
    for placed in target.tables:
        if placed.table.base:
            x[int(placed.table.base[1:])] = placed.pa
        if placed.table.length:
            x[int(placed.table.length[1:])] = placed.count
    negative, zero, carry, overflow = (z3.Bool(f"flag-{name}") for name in "nzcv")
    daif = bits.both(z3.BitVec("daif", 64), 0x3C0, 64)
    return State(x, Plain((negative, zero, carry, overflow)), target.entry_pa, daif, around, stored={})


def start_of(given: State, target: Target, model: z3.ModelRef) -> Start:
    """Return what the look-up finds at entry by the values of ``model``; ``given`` is the state there."""

    def number(value: Value) -> int:
        return value if isinstance(value, int) else int(model.eval(value, True).as_long())

    registers = tuple(number(value) for value in given.x)
    flags = sum(
        bool(each is True or z3.is_true(model.eval(bits.boolean(each), True))) << 31 - place
        for place, each in enumerate(given.flags.nzcv)
    )
    sp: int | None = registers[31]
    if target.contract.stack:
        sp = None if sp == target.stack_top else registers[31] % SP_ENDS
    stack = _stack_of(target, model)
    return Start(registers[:31], flags, number(given.daif), checks_sp=True, sp=sp, stack=stack)


def _stack_of(target: Target, model: z3.ModelRef) -> tuple[tuple[int, int], ...]:
    # What of the stack the model speaks of, as Start has it. Its bytes are symbols.
    size = target.contract.stack
    data = bytearray(STARTS[0].on_stack(size))
    there: set[int] = set()
    for each in model.decls():
        if each.name().startswith("stack-"):
            below = int(each.name()[6:])
            data[size - below] = model[each].as_long()
            there.add((below + 7) & -8)
    whole = [below for below in sorted(there) if below <= size]
    return tuple((n, int.from_bytes(data[size - n : size - n + 8], "little")) for n in whole)


def at_exit(state: State, given: State, target: Target, situation: Situation) -> Iterator[Duty]:
    """Yield what has to hold at ``found`` or ``missing``, where ``state`` is; ``given`` is that at entry."""
    contract = target.contract
    index = state.x[int(contract.index[1:])]
    if state.pc == target.missing_pa:
        yield Duty(situation.nobody, "answer", "finds nothing")
    elif contract.missing_index is not None and contract.missing == RETURN:
        says_none = bits.equal(index, contract.missing_index, 64)
        right = bits.select(says_none, situation.nobody, situation.finds(index))
        yield Duty(right, "answer", "finds another CPU, or nothing")
    else:
        yield Duty(situation.finds(index), "answer", "finds another CPU")
    kept = {contract.index, *contract.may_change}
    for number in range(32):
        if (number == SP or f"x{number}" not in kept) and state.x[number] is not given.x[number]:
            unchanged = bits.equal(state.x[number], given.x[number], 64)
            name = "SP" if number == SP else f"x{number}"
            yield Duty(unchanged, "registers", f"{name} comes out changed")
    if state.daif is not given.daif:
        yield Duty(bits.equal(state.daif, given.daif, 64), "registers", "DAIF comes out changed")
    if contract.preserve_flags and state.flags is not given.flags:
        pairs = zip(state.flags.nzcv, given.flags.nzcv, strict=True)
        unchanged = bits.every(*(bits.same(one, two) for one, two in pairs))
        yield Duty(unchanged, "registers", "NZCV comes out changed")
    bound = target.instructions_max
    if bound and state.retired_max > bound:
        within = bits.negate(bits.below(bound, state.retired, 64))
        yield Duty(within, "bound", f"takes up to {state.retired_max} instructions")


def without_exit(words: str, target: Target, situation: Situation) -> Duty:
    """Return what has to hold where it comes to no exit: the contract allows that, and it has to miss."""
    contract = target.contract
    if contract.parks or contract.missing is None:
        return Duty(situation.nobody, "exit", words)
    return Duty(False, "exit", words)
