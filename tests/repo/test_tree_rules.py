"""Each rule of the tree, on a line that breaks it and on one beside it that does not."""

from __future__ import annotations

import ast

import pytest
import tree_rules as rules


def _lines(complaints: rules.Complaints) -> list[int]:
    return [line for line, _ in complaints]


@pytest.mark.parametrize(
    ("path", "code", "broken"),
    [
        ("emu/machine.py", "from emu.cpu.engine import Engine", False),
        ("emu/machine.py", "import emu.host.smp", True),
        ("emu/machine.py", "def f():\n    from emu import host", True),
        ("emu/subject/elf.py", "from emu.machine import Machine", True),
        ("emu/topology/madt.py", "from emu.machine import Machine", True),
        ("emu/subject/elf.py", "from emu.topology import flat", True),
        ("emu/subject/elf.py", "from emu.subject.image import x", False),
        ("emu/subject/elf.py", "from .image import x", True),
        ("emu/rules/race.py", "from emu.trace import Trace", False),
        ("emu/rules/race.py", "from emu.cpu.engine import Engine", True),
        ("emu/report/text.py", "import unicorn", True),
        ("emu/cpu/pe.py", "import unicorn", True),
        ("emu/cpu/unicorn/binding.py", "from unicorn.unicorn_py3 import unicorn", False),
        ("emu/cpu/unicorn/hooks.py", "from emu.cpu.unicorn.binding import Handle", False),
        ("emu/cpu/factory.py", "from emu.cpu.unicorn.engine import UnicornEngine", False),
        ("emu/cpu/engine.py", "from emu.cpu.unicorn.engine import UnicornEngine", True),
        ("emu/machine.py", "from emu.cpu.unicorn.engine import UnicornEngine", True),
        ("emu/machine.py", "from emu.cpu import unicorn", True),
        ("emu/novelty/x.py", "", True),
        ("emu/cli/boot.py", "from emu.novelty import x", True),
        ("emu/__init__.py", "from emu.cli import main", True),
        ("emu/__main__.py", "from emu.cli import main", False),
    ],
)
def test_imports(path: str, code: str, broken: bool) -> None:
    assert bool(_lines(rules.imports(path, ast.parse(code)))) is broken


@pytest.mark.parametrize(
    ("path", "code", "broken"),
    [
        ("emu/rules/late.py", "import re", True),
        ("emu/report/story.py", "def f():\n    from re import match", True),
        ("emu/report/property.py", "import re", False),
        ("emu/host/printk.py", "import re", False),
        ("emu/report/story.py", "from emu.host.build import Boot", False),
        ("emu/report/story.py", "from emu.host.build import build", True),
        ("emu/report/story.py", "from emu.explore.confirm import Confirmed", False),
        ("emu/cli/replay.py", "from emu.explore.confirm import confirm", False),
    ],
)
def test_words(path: str, code: str, broken: bool) -> None:
    assert bool(_lines(rules.words(path, ast.parse(code)))) is broken


@pytest.mark.parametrize(
    ("path", "code", "broken"),
    [
        ("emu/host/smp.py", "print('x')", True),
        ("emu/host/smp.py", "from click import echo as say\nsay('x')", True),
        ("emu/host/smp.py", "import sys\nsys.stderr.write('x')", True),
        ("emu/host/smp.py", "pretty.print('x')", False),
        ("emu/cli/boot.py", "print('x')", False),
    ],
)
def test_output(path: str, code: str, broken: bool) -> None:
    assert bool(_lines(rules.output(path, ast.parse(code)))) is broken


@pytest.mark.parametrize(
    ("path", "code", "broken"),
    [
        ("emu/machine.py", "import time\nt = time.time()", True),
        ("emu/machine.py", "from time import perf_counter_ns as now\nt = now()", True),
        ("emu/machine.py", "from datetime import datetime\nt = datetime.now()", True),
        ("emu/machine.py", "import random\nt = random.random()", True),
        ("emu/machine.py", "from random import shuffle\nshuffle(x)", True),
        ("emu/machine.py", "import random\nt = random.Random()", True),
        ("emu/machine.py", "import random\nt = random.Random(seed)", False),
        ("emu/machine.py", "t = self.random.random()", False),
        ("emu/machine.py", "t = actor.time", False),
        ("emu/cli/boot.py", "import time\nt = time.time()", False),
    ],
)
def test_certainty(path: str, code: str, broken: bool) -> None:
    assert bool(_lines(rules.certainty(path, ast.parse(code)))) is broken


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("", []),
        ("x = 1", [1]),
        ('"""M."""\ndef f() -> None:\n    """F."""', []),
        ('"""M."""\ndef f() -> None: ...', [2]),
        ('"""M."""\ndef f(a, *b: int):\n    """F."""', [2]),
        ('"""M."""\ndef _f(a): ...', []),
        ('"""M."""\nclass C:\n    """C."""\n    def m(self) -> None: ...', [4]),
        ('"""M."""\nclass C:\n    """C."""\n    def __init__(self, a) -> None: ...', [4]),
        ('"""M."""\nclass C:\n    """C."""\n    @x.setter\n    def x(self, a: int) -> None: ...', []),
        ('"""M."""\nclass _C:\n    def m(self): ...', []),
        ('"""M."""\nclass C: ...', [2]),
    ],
)
def test_documentation(code: str, lines: list[int]) -> None:
    assert _lines(rules.documentation(ast.parse(code))) == lines


def test_length() -> None:
    long = "x\n" * (rules.LINES_MAX + 1)
    assert not _lines(rules.length("x\n" * rules.LINES_MAX, ""))
    assert _lines(rules.length(long, "What it does."))
    assert not _lines(rules.length(long, "What it does.\n\nThis is one file\nbecause it must be."))


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        ("/" + "home/me/linux", True),
        ("cd /" + "root", True),
        ("'/" + "work/main'", True),
        ("asm/" + "work/x, $HOME/" + "root/x, /" + "workers, ./" + "home", False),
        ("see https://pypi" + ".org/project/x", True),
        ("from PyPI, the Python package index", False),
    ],
)
def test_places(line: str, broken: bool) -> None:
    assert bool(_lines(rules.places(line))) is broken


def test_licence() -> None:
    assert not _lines(rules.licence("/* SPDX-License-Identifier: GPL-2.0-or-later\n */"))
    assert _lines(rules.licence("/* find - a lookup */\n/* SPDX-License-Identifier: GPL-2.0-or-later */"))


def test_a_class_over_its_bounds_is_told() -> None:
    small = "class A:\n" + "    def f(self) -> None: ...\n" * 30
    assert list(rules.classes(ast.parse(small))) == []
    assert [what for _, what in rules.classes(ast.parse(small + "    async def g(self): ...\n"))] == [
        "A: 31 methods, over 30"
    ]
    long = "class B:\n" + "    x = 1\n" * 400
    assert [what for _, what in rules.classes(ast.parse(long))] == ["B: 401 lines, over 400"]
