"""The objects of a boot, and what has become of them since it was built.

A boot that is built twice from one case has the same objects in the same places: attributes, elements,
cells of closures. So what a run has changed can be told by numbers of objects and put into the other one.
Whatever the classes are, nothing is left out: there is no list of fields.
"""

from __future__ import annotations

import io
import pickle
from array import array
from collections import deque
from collections.abc import Iterator
from enum import Enum
from functools import partial
from random import Random
from types import BuiltinFunctionType, CellType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

from emu.cpu.pe import PE

# Values, and what never changes in a run: neither is looked into.
_VALUES = (int, float, str, bytes, complex, type(None), range, memoryview, Enum)
_WITH_ATTRIBUTES = ("emu.", "typing.", "abc.")  # modules of classes whose state is in attributes
_CODE = (type, ModuleType, BuiltinFunctionType)
_PE_FIELDS = ("lines", "reached", "entry_el", "e2h_res1", "counters", "overrides")
# Modules that a kept state may name: the file may be anybody's.
_TRUSTED = ("emu.", "collections.", "functools.", "array.", "random.", "enum.")
_BUILTINS = frozenset(
    ("set", "frozenset", "bytearray", "getattr", "range", "complex", "list", "dict", "tuple")
)


class Graph:
    """The objects that can be got to from ``root``, as it is now.

    :param leaves: objects and classes that are not looked into: what they have is kept elsewhere, or constant
    """

    def __init__(self, root: object, pes: tuple[PE, ...], leaves: tuple[object, ...]) -> None:
        self._pes = {id(pe) for pe in pes}
        self._classes = tuple(each for each in leaves if isinstance(each, type))
        self._leaves = {id(each) for each in leaves}
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        waiting: deque[Any] = deque([root])
        while waiting:
            each = waiting.popleft()
            if id(each) in self._numbers or isinstance(each, (*_VALUES, *_CODE)):
                continue
            self._numbers[id(each)] = len(self._objects)
            self._objects.append(each)  # and it keeps its id
            if not self._is_leaf(each):
                waiting.extend(self._children(each))

    @property
    def shape(self) -> str:
        """What the graphs of two boots must have in common: the classes of all objects."""
        return " ".join(type(each).__qualname__ for each in self._objects)

    def dump(self) -> bytes:
        """Return the state of all objects.

        :raises TypeError: something cannot be kept; or PicklingError, AttributeError
        """
        states = [self._state(each) for each in self._objects]
        out = io.BytesIO()
        pickler = _Pickler(out, self._numbers)
        pickler.dump(states)
        return out.getvalue()

    def load(self, data: bytes) -> None:
        """Put all objects into the state that :meth:`dump` of a graph of this shape has returned.

        :raises UnpicklingError: it names what no state has; nothing is changed
        """
        states = _Unpickler(io.BytesIO(data), self._objects).load()
        for each, state in zip(self._objects, states, strict=True):
            self._set_state(each, state)

    # -- one object -------------------------------------------------------------------------------

    def _is_leaf(self, each: object) -> bool:
        return id(each) in self._leaves or isinstance(each, self._classes)

    def _children(self, each: Any) -> Iterator[Any]:
        match each:
            case dict() | MappingProxyType():
                yield from each.values()
            case list() | tuple() | deque():
                yield from each
            case CellType():
                yield from _contents(each)
            case FunctionType():
                yield from each.__closure__ or ()
            case MethodType():
                yield each.__self__
            case partial():
                yield from (each.func, *each.args, *each.keywords.values())
            case _:
                yield from self._fields(each).values()

    def _fields(self, each: Any) -> dict[str, Any]:
        # Attributes of an object by name.
        if id(each) in self._pes:
            return {name: getattr(each, name) for name in _PE_FIELDS}
        found = dict(vars(each)) if hasattr(each, "__dict__") else {}
        for cls in type(each).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(each, name):
                    found[name] = getattr(each, name)
        return found

    def _state(self, each: Any) -> Any:
        # None: it has none of its own.
        if self._is_leaf(each) or _is_frozen(each):
            return None
        match each:
            case list() | deque() | array():
                return list(each)
            case dict():
                return list(each.items())
            case set():
                return sorted(each)
            case bytearray():
                return bytes(each)
            case CellType():
                return list(_contents(each))
            case Random():
                return each.getstate()
        _check_class(each)
        fields = self._fields(each)
        return (fields, each.state()) if id(each) in self._pes else (fields, None)

    def _set_state(self, each: Any, state: Any) -> None:
        if state is None:
            return
        match each:
            case list() | array() | bytearray():
                each[:] = type(each)(each.typecode, state) if isinstance(each, array) else state
            case deque():
                each.clear()
                each.extend(state)
            case dict():
                each.clear()
                each.update(state)
            case set():
                each.clear()
                each.update(state)
            case CellType():
                each.cell_contents = state[0]
            case Random():
                each.setstate(state)
            case _:
                fields, registers = state
                if registers is not None:
                    each.set_state(registers)
                for name, value in fields.items():
                    setattr(each, name, value)


def _check_class(each: Any) -> None:
    # Others may have what is no attribute.
    for cls in type(each).__mro__:
        if cls is not object and not f"{cls.__module__}.".startswith(_WITH_ATTRIBUTES):
            raise TypeError(f"{type(each).__qualname__}: its state is not known")


def _contents(cell: CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # nothing is bound yet
        return ()


def _is_frozen(each: Any) -> bool:
    if isinstance(each, tuple | frozenset | MappingProxyType | FunctionType | MethodType | partial):
        return True
    parameters = getattr(type(each), "__dataclass_params__", None)
    return bool(parameters and parameters.frozen)


class _Pickler(pickle.Pickler):
    def __init__(self, out: io.BytesIO, numbers: dict[int, int]) -> None:
        super().__init__(out, protocol=5)
        self._numbers = numbers

    def persistent_id(self, obj: Any) -> int | None:
        """Tell which of the objects it is."""
        return self._numbers.get(id(obj))


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: io.BytesIO, objects: list[Any]) -> None:
        super().__init__(data)
        self._objects = objects

    def persistent_load(self, pid: int) -> Any:
        """Return an object by its number."""
        return self._objects[pid]

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or function that a state may name."""
        if (module == "builtins" and name in _BUILTINS) or f"{module}.".startswith(_TRUSTED):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} in a kept state")
