"""Rules: pure functions of (case, trace). A module here with ``NAME`` and ``judge`` is one.

``SEES`` says what it needs to have in a trace beside events: operations, caches, or states of an exploration.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection

from emu.finding import Finding, Verdict
from emu.trace import Trace

RULES: dict[str, Callable[[str, Trace], list[Finding]]] = {}
SEES: dict[str, str] = {}

for _info in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_info.name}")
    _name: str = _module.NAME
    assert _name not in RULES, f"two rules named {_name}"
    RULES[_name] = _module.judge
    SEES[_name] = getattr(_module, "SEES", "events")


def judge(case: str, trace: Trace, without: Collection[str] = ()) -> Verdict:
    """Let every rule but those ``without`` look at the trace; ``case`` is the case's text."""
    return Verdict(
        tuple(
            finding
            for name, judge_one in RULES.items()
            if name not in without
            for finding in judge_one(case, trace)
        )
    )
