"""Names of a property turned into numbers: symbols into addresses, CPUs into logical numbers.

What a property can see of a state is known then: which words, which places, the registers of which CPUs. An
exploration must not take two orders for the same when they differ in one of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn, Protocol

from emu.errors import InvalidCase
from emu.properties.arithmetic import folded
from emu.properties.expression import (
    At,
    Binary,
    Cpus,
    Expression,
    Memory,
    Number,
    Property,
    Quantified,
    Register,
    Symbol,
    Unary,
)

_ALL = 2**64 - 1


class Names(Protocol):
    """What a subject knows by name.

    :ivar hwids: of each logical CPU; the boot CPU is number 0
    """

    @property
    def hwids(self) -> Sequence[int]:
        """By logical CPU."""

    def address(self, symbol: str) -> int | None:
        """Return the VA of a symbol (u64), or None."""

    def pa_of(self, va: int) -> int | None:
        """Return the PA of a VA, or of a PA as it is; None: there is no memory."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A property with numbers in place of names.

    :ivar condition: memory by PA, CPUs as ``("cpu", number)``; quantifiers are written out
    :ivar places: the PCs of the label of ``at`` and ``unreachable``: its VA, and its PA while the MMU is off
    :ivar cpus: which CPUs these are about
    :ivar words: (PA, bytes) that it looks at
    :ivar labels: PCs that it asks for, those of ``places`` included
    :ivar registers: CPUs whose registers it looks at in any state
    :ivar named: CPUs whose places or registers its condition asks for
    """

    property: Property
    condition: Expression | None
    places: frozenset[int] = frozenset()
    cpus: tuple[int, ...] = ()
    words: tuple[tuple[int, int], ...] = ()
    labels: frozenset[int] = frozenset()
    registers: frozenset[int] = frozenset()
    named: frozenset[int] = frozenset()


def resolve(property_: Property, names: Names, where: str = "assert") -> Resolved:
    """Return the property with the names of a subject resolved.

    :raises InvalidCase: a name that the subject does not have
    """
    return _Resolver(property_, names, where).resolved()


@dataclass(slots=True)
class _Resolver:
    property: Property
    names: Names
    where: str
    words: dict[tuple[int, int], None] = field(default_factory=dict)
    labels: set[int] = field(default_factory=set)
    registers: set[int] = field(default_factory=set)
    named: set[int] = field(default_factory=set)

    def resolved(self) -> Resolved:
        place, condition = self.property.place, self.property.condition
        places: frozenset[int] = frozenset()
        cpus: tuple[int, ...] = ()
        if place is not None:
            places, cpus = self._pcs(place), self._numbers(place.cpus)
            self.labels |= places
        made = None if condition is None else self._expression(condition, {})
        return Resolved(
            self.property,
            made,
            places,
            cpus,
            tuple(self.words),
            frozenset(self.labels),
            frozenset(self.registers),
            frozenset(self.named),
        )

    def _refuse(self, reason: str) -> NoReturn:
        raise InvalidCase(f"{self.where}: {self.property.text[:120]!r}: {reason}")

    def _address(self, symbol: Symbol) -> int:
        address = self.names.address(symbol.name)
        if address is None:
            self._refuse(f"{symbol.name}: no such symbol")
        return address

    def _pcs(self, place: At) -> frozenset[int]:
        va = self._address(place.label) + place.offset & _ALL
        if va % 4:
            self._refuse(f"{place.label.name}: {va:#x} is no address of an instruction")
        pa = self.names.pa_of(va)
        return frozenset({va} if pa is None else {va, pa})

    def _numbers(self, cpus: Cpus) -> tuple[int, ...]:
        count = len(self.names.hwids)
        match cpus.who:
            case "cpu":
                if cpus.number >= count:
                    self._refuse(f"cpu{cpus.number}: there are CPU0 to CPU{count - 1}")
                return (cpus.number,)
            case "hwid":
                found = [cpu for cpu, hwid in enumerate(self.names.hwids) if hwid == cpus.number]
                if not found:
                    self._refuse(f"hwid({cpus.number:#x}): no CPU has it")
                return (found[0],)
            case "boot":
                return (0,)
            case "secondary":
                return tuple(range(1, count))
        return tuple(range(count))

    def _one(self, cpus: Cpus, bound: dict[Cpus, int]) -> Cpus:
        if cpus.who == "here":
            return cpus
        number = bound[cpus] if cpus in bound else self._numbers(cpus)[0]
        self.named.add(number)
        return Cpus("cpu", number)

    def _expression(self, expression: Expression, bound: dict[Cpus, int]) -> Expression:
        match expression:
            case Symbol():
                return Number(self._address(expression))
            case Memory(address, size):
                return self._memory(self._expression(address, bound), size)
            case Register(cpus):
                one = self._one(cpus, bound)
                if one.who == "cpu" and self.property.kind != "finally":
                    self.registers.add(one.number)
                return replace(expression, cpus=one)
            case At(cpus):
                pcs = sorted(self._pcs(expression))
                self.labels |= set(pcs)
                one = self._one(cpus, bound)
                found: Expression = At(one, Symbol(""), pcs[0])
                for pc in pcs[1:]:
                    found = Binary("||", found, At(one, Symbol(""), pc))
                return found
            case Unary(operator, operand):
                return Unary(operator, self._expression(operand, bound))
            case Binary(operator, left, right):
                return Binary(operator, self._expression(left, bound), self._expression(right, bound))
            case Quantified(cpus, body):
                return self._each(cpus, body, bound)
        return expression

    def _each(self, cpus: Cpus, body: Expression, bound: dict[Cpus, int]) -> Expression:
        numbers = self._numbers(cpus)
        found: Expression = Number(int(bool(cpus.every)))
        for number in numbers:
            one = self._expression(body, {**bound, cpus: number})
            found = Binary("&&" if cpus.every else "||", found, one)
        return found

    def _memory(self, address: Expression, size: int) -> Expression:
        constant = folded(address)
        if constant is None:
            self._refuse("[...]: an address is made of symbols and numbers, and of no register or memory")
        pa = self.names.pa_of(constant)
        if pa is None:
            self._refuse(f"{constant:#x}: no memory is there")
        self.words[pa, size] = None
        return Memory(Number(pa), size)


def all_labels(properties: Sequence[Resolved]) -> Iterator[int]:
    """Yield the PCs that any of them asks for, each once, ascending."""
    yield from sorted({pc for each in properties for pc in each.labels})
