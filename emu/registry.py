"""Registries: the files of a folder as the choices of an option.

A package whose modules are choices describes what each must define by a frozen dataclass, and
:func:`discover` makes one of every module:

    @dataclass(frozen=True, slots=True)
    class Rule:
        name: str                                    # NAME of the module
        judge: Callable[[Trace], list[Finding]]      # judge
        sees: str = "events"                         # SEES, where the module defines it

    RULES = discover(__name__, Rule)

Adding a file to the folder is all that adds a choice. The names are there at once; a module is imported when
its choice is asked for, so that a run pays for what it uses. :func:`not_one_of` words the refusal of a value
that is none of them: every refusal lists the choices and names the nearest.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")
Part = TypeVar("Part")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
# Types that are checked, by their annotation; mypy checks the others.
_CONSTANTS: dict[object, type] = {"str": str, "int": int, "bool": bool}


class Incomplete(ImportError):
    """A file of a registry lacks what its kind must define, or has the name of another."""


class Registry(Mapping[str, T]):
    """The choices of a folder by name, sorted. :meth:`__getitem__` imports the module on the first call.

    :raises Incomplete: a module lacks something, has it in another type, or its NAME is not that of its
        file; the message names the file
    """

    def __init__(self, package: str, kind: Callable[..., T], files: Mapping[str, str]) -> None:
        self._package, self._kind, self._files = package, kind, files
        self._made: dict[str, T] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            module = importlib.import_module(f"{self._package}.{self._files[name]}")
            values = _exports(module, self._kind)
            if values["name"] != name:
                raise Incomplete(f"{module.__file__}: NAME = {values['name']!r}: the file says {name!r}")
            self._made[name] = self._kind(**values)
        return self._made[name]


class _Part(Mapping[str, Part]):
    # One field of each choice of a registry.

    def __init__(self, registry: Mapping[str, T], field: Callable[[T], Part]) -> None:
        self._registry, self._field = registry, field

    def __iter__(self) -> Iterator[str]:
        return iter(self._registry)

    def __len__(self) -> int:
        return len(self._registry)

    def __contains__(self, name: object) -> bool:
        return name in self._registry

    def __getitem__(self, name: str) -> Part:
        return self._field(self._registry[name])


def discover(package: str, kind: Callable[..., T], order: Callable[[str], Any] | None = None) -> Registry[T]:
    """Return a ``kind`` for each module of a package, by its name: the file's, with hyphens.

    A field ``x`` of ``kind``, a dataclass, is what the module calls ``X`` or ``x``; a field with a default
    may be missing. The field ``name`` is the key. A field ``summary`` is the first line of the module's
    docstring.

    :param package: its ``__name__``; what it calls BESIDES are modules that are no choices
    :param order: key by which names come before the alphabet's order
    :raises Incomplete: the name of a file has other than a-z, 0-9 and underscores
    """
    folder = importlib.import_module(package)
    files = {info.name for info in pkgutil.iter_modules(folder.__path__)}
    found = {
        file.replace("_", "-"): file for file in sorted(files.difference(getattr(folder, "BESIDES", ())))
    }
    for name, file in found.items():
        if not _NAME.fullmatch(name):
            raise Incomplete(f"{folder.__path__[0]}/{file}.py: its name: words of a-z and 0-9, joined by _")
    names = sorted(sorted(found), key=order) if order else sorted(found)
    return Registry(package, kind, {name: found[name] for name in names})


def part_of(registry: Mapping[str, T], field: Callable[[T], Part]) -> Mapping[str, Part]:
    """Return one field of each choice, by the choice's name; a choice is imported when it is asked for."""
    return _Part(registry, field)


def _exports(module: ModuleType, kind: Any) -> dict[str, Any]:
    # What the module defines of the fields of `kind`.
    values: dict[str, Any] = {}
    for field in fields(kind):
        constant = field.name.upper()
        spelt = constant if hasattr(module, constant) else field.name
        expected = _CONSTANTS.get(field.type)
        if field.name == "summary":
            values["summary"] = (module.__doc__ or "").partition("\n")[0]
        elif hasattr(module, spelt):
            values[field.name] = getattr(module, spelt)
            if expected and not isinstance(values[field.name], expected):
                raise Incomplete(f"{module.__file__}: {spelt} is no {expected.__name__}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise Incomplete(
                f"{module.__file__}: defines neither {constant} nor {field.name}, which {kind.__name__} in "
                f"{kind.__module__} asks for"
            )
    return values


def nearest(value: object, names: Iterable[object]) -> str | None:
    """Return the name that ``value`` was probably meant to be, if any is like it, or begins like it."""
    import difflib  # for refusals alone: it takes a while

    listed = [str(name) for name in names]
    begun = [name for name in listed if len(str(value)) > 1 and name.startswith(str(value))]
    like = begun if len(begun) == 1 else difflib.get_close_matches(str(value), listed, n=1, cutoff=0.6)
    return like[0] if like else None


def not_one_of(value: object, names: Iterable[object]) -> str:
    """Return the words that refuse ``value``: what it could be, and the name that is nearest to it."""
    listed = [text for name in names if (text := str(name))]
    near = nearest(value, listed)
    if len(listed) == 1:
        return f"not {listed[0]}, which is the only one"
    return f"not one of {', '.join(listed)}" + (f"; did you mean {near}?" if near else "")


def choose(what: str, value: str, choices: Mapping[str, T], error: type[Exception]) -> T:
    """Return the choice called ``value``.

    :param what: what is chosen, for the message: ``WHAT=VALUE: not one of ...``
    :raises error: there is none
    """
    if value not in choices:
        raise error(f"{what}={value}: {not_one_of(value, choices)}")
    return choices[value]
