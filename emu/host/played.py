"""Which functions of the kernel the host's functions stand for: :func:`plays` stands over each that does.

A debugger and a report show the kernel's names. A function that yields no operation cannot be stopped in,
and is not declared. Source of names and files: Linux v6.12; of what only kernels with HOTPLUG_SPLIT_STARTUP
have, the v3 series.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import TypeVar

from emu.machine.actor import PACKAGES, HostTask, file_name, generators

_Function = TypeVar("_Function", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """What a host function stands for.

    :ivar names: functions of the kernel, each of which calls the next; the host's does what the last one does
    :ivar file: where the kernel has them
    """

    names: tuple[str, ...]
    file: str


@dataclass(frozen=True, slots=True)
class HostFrame:
    """One function that a host task is in.

    :ivar kernel: the function of the kernel; empty: it stands for none
    :ivar kernel_file: where the kernel has that
    :ivar name: the host's own function
    :ivar file, line: where that is, and stands
    """

    kernel: str
    kernel_file: str
    name: str
    file: str
    line: int

    @property
    def shown(self) -> str:
        """The kernel's name, or that of the host's own function."""
        return self.kernel or self.name


_PLAYED: dict[CodeType, KernelFunction] = {}


def plays(names: str, file: str) -> Callable[[_Function], _Function]:
    """Return a decorator: the function stands for one of the kernel, or for several that call each other.

    :param names: the outermost first, separated by spaces
    :param file: path in the kernel's tree
    """

    def declare(function: _Function) -> _Function:
        assert isinstance(function, FunctionType)
        _PLAYED[function.__code__] = KernelFunction(tuple(names.split()), file)
        return function

    return declare


def declared_names() -> frozenset[str]:
    """Return the kernel functions that modules loaded so far play; :mod:`emu.host.played_names` has all."""
    return frozenset(name for played in _PLAYED.values() for name in played.names)


def played_by(code: CodeType) -> tuple[str, ...]:
    """Return the kernel functions that a function of the host stands for, the outermost first."""
    played = _PLAYED.get(code)
    return played.names if played is not None else ()


def frames(task: HostTask | None) -> list[HostFrame]:
    """Return the functions that a host task is in, the innermost first."""
    found: list[HostFrame] = []
    for generator in generators(task):
        code = generator.gi_code
        line = generator.gi_frame.f_lineno if generator.gi_frame else code.co_firstlineno
        played = _PLAYED.get(code, KernelFunction(("",), ""))
        found += (
            HostFrame(name, played.file, code.co_name, file_name(code.co_filename), line)
            for name in played.names
        )
    return found[::-1]


@cache
def function_at(location: str) -> str:
    """Return what a host task is in at ``file:line``, as a trace has it.

    That is a function of the kernel where the host's stands for one, else the host's own; where the file is
    not known, its name.
    """
    path, _, line = location.rpartition(":")
    found = [name for first, last, name in _functions(path) if first <= int(line) <= last]
    return found[-1] if found else Path(path).stem


@cache
def _functions(path: str) -> list[tuple[int, int, str]]:
    # First line, last line and name of each function of a file, an outer one before those in it.
    try:
        tree = ast.parse((PACKAGES / path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return sorted((node.lineno, node.end_lineno or node.lineno, _name(node)) for node in found)


def _name(node: ast.FunctionDef) -> str:
    # The last one of what its decorator says, or its own name.
    for each in node.decorator_list:
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == plays.__name__:
            names = each.args[0]
            assert isinstance(names, ast.Constant)
            return str(names.value).split()[-1]
    return node.name
