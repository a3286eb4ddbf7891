"""The rules of the tree, as functions of one file's text: each gives the lines that break it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

# Rooms of emu/, lowest first: a module imports from its own room and from rows above its own. A new room
# goes where its lowest user needs it.
ORDER: tuple[frozenset[str], ...] = tuple(
    frozenset(row.split())
    for row in (
        "cache constraints errors milestone seed registry outcome touched version",
        "cluster operation",
        "arch",
        "case columns instructions memory finding properties schedulers",
        "records semantics",
        "cpu",
        "latency trace",
        "devices models subject topology",
        "machine",
        "designs",
        "host",
        "rules lookup",
        "fuzz explore",
        "compare",
        "report litmus",
        "debug",
        "cli",
        "__main__ pytest_plugin",
    )
)
# A rule shares no code with what it judges.
ONLY = {
    "rules": frozenset(
        [
            "rules",
            "trace",
            "columns",
            "operation",
            "outcome",
            "finding",
            "constraints",
            "arch",
            "errors",
            "registry",
        ]
    )
}
# What reads a trace makes data of it or words of data; nothing reads words back. Where a room like that needs
# regular expressions all the same, this says what for.
NO_REGEX = ("rules", "report")
REGEX_FOR = {"emu/report/property.py": "characters that KTAP and XML have no place for"}
# A report is made of what a run came to; it makes and runs nothing.
RUNS_MACHINES = frozenset(
    {
        "emu.host.build.build",
        "emu.machine.Machine",
        "emu.machine.machine.Machine",
        "emu.explore.explorer.Explorer",
        "emu.explore.explorer.explore_case",
        "emu.explore.confirm.confirm",
        "emu.explore.confirm.confirm_shortest",
    }
)
# The room that knows Unicorn, and the one module outside that imports it.
UNICORN_ROOM, ENGINE_FACTORY = "emu.cpu.unicorn", "emu/cpu/factory.py"
# A program of its own that answers its parent on stdout.
PIPES = frozenset({"emu/subject/keystone_child.py"})
LINES_MAX = 500
CLASS_LINES_MAX, METHODS_MAX = 400, 30
_WHY_LONG = re.compile(r"\bone file because\b|\bover the usual length because\b")
# What differs from run to run. Reports and the command line may ask what time it is.
_UNCERTAIN = re.compile(
    r"time\.(time|monotonic|perf_counter|process_time|localtime|gmtime)(_ns)?"
    r"|datetime\.(datetime|date)\.(now|utcnow|today)"
    r"|random\.(?!Random$)\w+|os\.(urandom|getrandom)|uuid\.uuid[14]|secrets\.\w+"
)
# In pieces, so that this file keeps the rules that it states.
_PRIVATE = re.compile(r"(?<![\w.$}])/(?:" + "home|work|root" + r")(?:/|\b(?![\w-]))")
_REGISTRIES = re.compile(
    r"\b(?:pypi|pythonhosted|npmjs|crates|rubygems|proxy\.golang)" + r"\.(?:org|com|io)\b"
)

Complaints = Iterator[tuple[int, str]]  # line, what is wrong


def _row(room: str) -> int | None:
    return next((index for index, row in enumerate(ORDER) if room in row), None)


def _room(path: str) -> str:
    # "emu/cli/boot.py" -> "cli"; "emu/actor.py" -> "actor"; the package's own __init__ is no room.
    return path.removesuffix(".py").split("/")[1]


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    # Dotted names, also those of imports inside functions and under TYPE_CHECKING.
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def imports(path: str, tree: ast.Module) -> Complaints:
    """Imports point one way, and only one room knows Unicorn."""
    room = _room(path)
    row = _row(room)
    if row is None and room != "__init__":
        yield 1, f"emu/{room} has no place in ORDER (tests/repo/tree_rules.py): put it below its lowest user"
        return
    for line, name in _imports(tree):
        top, _, rest = name.partition(".")
        inside = path.startswith(UNICORN_ROOM.replace(".", "/") + "/")
        if top == "unicorn" and not inside:
            yield line, f"imports {name}: only {UNICORN_ROOM} may know Unicorn"
        if f"{name}.".startswith(f"{UNICORN_ROOM}.") and not inside and path != ENGINE_FACTORY:
            yield line, f"imports {name}: only {ENGINE_FACTORY} may, which makes engines"
        if name.startswith("."):
            yield line, f"imports {name}: write the absolute name, emu.{room}..."
        if top != "emu":
            continue
        target = rest.split(".")[0]
        if target == room or (target.startswith("__") and target != "__main__"):
            continue
        target_row = _row(target)
        if target_row is None:
            yield line, f"imports {name}: emu/{target} has no place in ORDER (tests/repo/tree_rules.py)"
        elif row is None or target_row >= row:
            yield line, f"imports {name}: {room} is not above {target} (tests/repo/tree_rules.py, ORDER)"
        elif room in ONLY and target not in ONLY[room]:
            yield line, f"imports {name}: {room} may import {', '.join(sorted(ONLY[room] - {room}))} only"


def words(path: str, tree: ast.Module) -> Complaints:
    """Rules and reports do not match text, and reports run no machine."""
    room = _room(path)
    for line, name in _imports(tree):
        if room in NO_REGEX and path not in REGEX_FOR and name.partition(".")[0] == "re":
            yield line, "imports re: take the data, not the words made of it (tests/repo/tree_rules.py)"
        if room == "report" and name in RUNS_MACHINES:
            yield line, f"imports {name}: a report runs no machine; that belongs to explore or cli"


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    # "time.time" for what `node` names, through the module's import aliases; "" for anything else.
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([names.get(node.id, node.id), *reversed(parts)])


def _aliases(tree: ast.Module) -> dict[str, str]:
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def output(path: str, tree: ast.Module) -> Complaints:
    """Only the command line prints; reports make text."""
    if path.startswith("emu/cli/") or path in PIPES:
        return
    names = _aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _dotted(node.func, names) in ("print", "click.echo"):
            yield node.lineno, "prints: only emu/cli does; return the text or raise an EmuError"
        if isinstance(node, ast.Attribute) and _dotted(node, names) in ("sys.stdout", "sys.stderr"):
            yield node.lineno, f"uses {_dotted(node, names)}: only emu/cli prints"


def certainty(path: str, tree: ast.Module) -> Complaints:
    """No wall clock and no unseeded randomness inside a run."""
    if path.startswith(("emu/cli/", "emu/report/")):
        return
    names = _aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            name = _dotted(node, names)
            if "." in name and _UNCERTAIN.fullmatch(name):
                yield node.lineno, f"{name}: a run depends on its case alone; take a seed or simulated time"
        if isinstance(node, ast.Call) and not node.args and _dotted(node.func, names) == "random.Random":
            yield node.lineno, "random.Random() without a seed: a run depends on its case alone"


def documentation(tree: ast.Module) -> Complaints:
    """Every public module, class, function and method has a docstring and hints."""
    if tree.body and not ast.get_docstring(tree):
        yield 1, "no docstring of the module"
    yield from _documentation(tree.body, "")


def _documentation(body: list[ast.stmt], owner: str) -> Complaints:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _documentation(node.body, owner)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield node.lineno, f"{owner}{node.name}: no docstring"
            yield from _documentation(node.body, f"{owner}{node.name}.")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_") and node.name != "__init__":
                continue
            decorators = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
            exempt = node.name == "__init__" or decorators & {"setter", "overload", "override"}
            if not exempt and not ast.get_docstring(node):
                yield node.lineno, f"{owner}{node.name}: no docstring"
            missing = _unhinted(node, method=bool(owner) and "staticmethod" not in decorators)
            if missing:
                yield node.lineno, f"{owner}{node.name}: no hint for {', '.join(missing)}"


def _unhinted(node: ast.FunctionDef | ast.AsyncFunctionDef, *, method: bool) -> list[str]:
    positional = [*node.args.posonlyargs, *node.args.args][1 if method else 0 :]
    rest = [argument for argument in (node.args.vararg, node.args.kwarg) if argument]
    missing = [a.arg for a in [*positional, *node.args.kwonlyargs, *rest] if a.annotation is None]
    return missing + (["the result"] if node.returns is None else [])


def length(text: str, docstring: str) -> Complaints:
    """A file over the limit says why it is one file."""
    lines = text.count("\n")
    if lines > LINES_MAX and not _WHY_LONG.search(" ".join(docstring.split())):
        cure = "split it, or say in the docstring 'This is one file because ...'"
        yield 1, f"{lines} lines, over {LINES_MAX}: {cure}"


def classes(tree: ast.Module) -> Complaints:
    """A class fits a few screens, and has no more methods than a reader can keep apart."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        methods = sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)
        if lines > CLASS_LINES_MAX:
            yield node.lineno, f"{node.name}: {lines} lines, over {CLASS_LINES_MAX}"
        if methods > METHODS_MAX:
            yield node.lineno, f"{node.name}: {methods} methods, over {METHODS_MAX}"


def places(text: str) -> Complaints:
    """Nothing names a folder of the author's machine, or the host of a package registry."""
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in (("a private path", _PRIVATE), ("a package registry", _REGISTRIES)):
            found = pattern.search(line)
            if found:
                yield number, f"{found.group()}: {what} does not belong into the project"


def licence(text: str) -> Complaints:
    """Assembly text says its licence in the first line."""
    if not re.match(r"(/\*|//|#) SPDX-License-Identifier: \S", text):
        yield 1, "does not begin with /* SPDX-License-Identifier: ..."
