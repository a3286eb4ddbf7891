"""Registries: the files of a folder as the choices of an option.

A package whose modules are choices describes what each must define by a frozen dataclass, and
:func:`discover` makes one of every module:

    @dataclass(frozen=True, slots=True)
    class Rule:
        name: str                                    # NAME of the module
        judge: Callable[[Trace], list[Finding]]      # judge
        sees: str = "events"                         # SEES, where the module defines it

    RULES = discover(__name__, Rule)

Adding a file to the folder is all that adds a choice. A refusal of a value that is none of them is worded
by :func:`not_one_of`, so that every refusal lists the choices and names the nearest.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
# Types that are checked, by their annotation; mypy checks the others.
_CONSTANTS: dict[object, type] = {"str": str, "int": int, "bool": bool}


class Incomplete(ImportError):
    """A file of a registry lacks what its kind must define, or has the name of another."""


def discover(package: str, kind: Callable[..., T]) -> dict[str, T]:
    """Return a ``kind`` for each module of a package, by its name.

    A field ``x`` of ``kind``, a dataclass, is what the module calls ``X`` or ``x``; a field with a default
    may be missing. The field ``name`` is the key: words of lower case, joined by hyphens. A field
    ``summary`` is the first line of the module's docstring.

    :param package: its ``__name__``; what it calls BESIDES are modules that are no choices
    :raises Incomplete: a module lacks something, has it in another type, or has the name of another; the
        message names the file
    """
    found: dict[str, T] = {}
    files: dict[str, str] = {}
    folder = importlib.import_module(package)
    names = {info.name for info in pkgutil.iter_modules(folder.__path__)}
    for name in sorted(names.difference(getattr(folder, "BESIDES", ()))):
        module = importlib.import_module(f"{package}.{name}")
        values = _exports(module, kind)
        key = values["name"]
        if not _NAME.fullmatch(key):
            raise Incomplete(f"{module.__file__}: NAME = {key!r}: words of a-z and 0-9, joined by hyphens")
        if key in found:
            raise Incomplete(f"{module.__file__}: NAME = {key!r}: {files[key]} has that name")
        found[key], files[key] = kind(**values), str(module.__file__)
    return dict(sorted(found.items()))


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
    """Return the name that ``value`` was probably meant to be, if any is like it."""
    import difflib  # for refusals alone: it takes a while

    like = difflib.get_close_matches(str(value), [str(name) for name in names], n=1, cutoff=0.6)
    return like[0] if like else None


def not_one_of(value: object, names: Iterable[object]) -> str:
    """Return the words that refuse ``value``: what it could be, and the name that is nearest to it."""
    listed = [str(name) for name in names]
    near = nearest(value, listed)
    return f"not one of {', '.join(listed)}" + (f"; did you mean {near}?" if near else "")


def choose(what: str, value: str, choices: Mapping[str, T], error: type[Exception]) -> T:
    """Return the choice called ``value``.

    :param what: what is chosen, for the message: ``WHAT=VALUE: not one of ...``
    :raises error: there is none
    """
    if value not in choices:
        raise error(f"{what}={value}: {not_one_of(value, choices)}")
    return choices[value]
