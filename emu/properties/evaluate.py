"""The value of an expression in a state."""

from __future__ import annotations

from typing import Protocol

from emu.properties.arithmetic import apply, negate
from emu.properties.expression import At, Binary, Expression, Memory, Number, Register, Unary
from emu.properties.resolve import Resolved


class View(Protocol):
    """What an expression can look at."""

    def word(self, pa: int, size: int) -> int:
        """Return ``size`` bytes at ``pa``, unsigned, as a CPU with its caches on loads them."""

    def register(self, cpu: int, number: int) -> int:
        """Return X0..X30, or SP (31), of a CPU (u64)."""

    def pc(self, cpu: int) -> int:
        """Return the VA of the next instruction of a CPU; 0: it runs no guest code."""


def holds(expression: Expression, view: View, here: int = -1) -> bool:
    """Tell whether a condition is true in a state.

    :param here: the CPU that has come to the label of an ``at``
    """
    return bool(value_of(expression, view, here))


def value_of(expression: Expression, view: View, here: int) -> int:
    """Return the value of a resolved expression (u64)."""
    match expression:
        case Number(value):
            return value
        case Memory(Number(pa), size):
            return view.word(pa, size)
        case Register(cpus, number, is_half):
            value = view.register(here if cpus.who == "here" else cpus.number, number)
            return value & 0xFFFF_FFFF if is_half else value
        case At(cpus, _, pc):
            return int(view.pc(cpus.number) == pc)
        case Unary(operator, operand):
            return negate(operator, value_of(operand, view, here))
        case Binary("&&", left, right):
            return int(holds(left, view, here) and holds(right, view, here))
        case Binary("||", left, right):
            return int(holds(left, view, here) or holds(right, view, here))
        case Binary(operator, left, right):
            return apply(operator, value_of(left, view, here), value_of(right, view, here))
    raise AssertionError(f"not resolved: {expression}")


def broken_in(property_: Resolved, view: View, cpus: int) -> list[int]:
    """Return the CPUs by which a state breaks a ``never``, an ``at`` or an ``unreachable``, if it does.

    :param cpus: how many there are
    :return: of ``never`` CPU 0, for it is about none in particular
    """
    condition = property_.condition
    match property_.property.kind:
        case "never":
            assert condition is not None
            return [0] if holds(condition, view) else []
        case "unreachable" | "at":
            come = [cpu for cpu in property_.cpus if cpu < cpus and view.pc(cpu) in property_.places]
            return [cpu for cpu in come if condition is None or not holds(condition, view, cpu)]
    return []


def broken_at_end(property_: Resolved, view: View, seen: bool) -> bool:
    """Tell whether an end breaks a ``finally`` or an ``eventually``.

    :param seen: the condition of the ``eventually`` has been true on the way
    """
    condition = property_.condition
    match property_.property.kind:
        case "finally":
            assert condition is not None
            return not holds(condition, view)
        case "eventually":
            assert condition is not None
            return not seen and not holds(condition, view)
    return False
