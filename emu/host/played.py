"""The kernel function that a host task plays, by the place of its operation in the sources of emu.

The docstring of a function that plays one begins with its name: ``"cpuhp_ap_sync_alive(): say ..."``. Any
other goes by its own name.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parent.parent.parent
_PLAYED = re.compile(r"(\w+)\(\)")


@cache
def function_at(location: str) -> str:
    """Return the name of the function at ``file:line``; where the file is not known, that of the file."""
    path, _, line = location.rpartition(":")
    names = _functions(path)
    found = [name for first, last, name in names if first <= int(line) <= last]
    return found[-1] if found else Path(path).stem


@cache
def _functions(path: str) -> list[tuple[int, int, str]]:
    # First line, last line and name of each function, an outer one before those in it.
    try:
        tree = ast.parse((_ROOT / path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [(node.lineno, node.end_lineno or node.lineno, _name(node)) for node in found]


def _name(node: ast.FunctionDef) -> str:
    played = _PLAYED.match(ast.get_docstring(node) or "")
    return played[1] if played else node.name.lstrip("_")
