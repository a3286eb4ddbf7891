"""A user's Python file that a contract names: a table format or a model."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from emu.errors import InvalidCase, InvalidContract

_T = TypeVar("_T")
_modules: dict[tuple[str, int, int], ModuleType] = {}  # by path, time and size: a file runs once


def load_definition(path: Path, variable: str, kind: type[_T]) -> tuple[str, _T]:
    """Run a Python file, and return its ``NAME`` and its ``variable``.

    :param kind: the class that ``variable`` is an instance of
    :raises InvalidContract: the file cannot be read or run, or does not define the two
    """
    module = _run(path)
    name, value = getattr(module, "NAME", None), getattr(module, variable, None)
    if not isinstance(name, str) or not name:
        raise InvalidContract(f"{path}: defines no NAME; write NAME = 'a-name'")
    if not isinstance(value, kind):
        raise InvalidContract(
            f"{path}: {variable} is no {kind.__name__}; write {variable} = {kind.__name__}(...)"
        )
    return name, value


def _run(path: Path) -> ModuleType:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise InvalidContract(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    key = (str(path.resolve()), status.st_mtime_ns, status.st_size)
    if key in _modules:
        return _modules[key]
    name = f"emu_user_{len(_modules)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidContract(f"{path}: not a Python file; its name ends in .py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except InvalidCase:
        raise
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        raise InvalidContract(f"{path}: {type(error).__name__}: {error}") from error
    _modules[key] = module
    return module
