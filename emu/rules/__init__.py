"""Rules: pure functions of a trace. A module here with ``NAME``, ``judge`` and ``WORDS`` is one.

``WORDS`` has a template for each ``what`` of its findings; its fields are the finding's ``cpus`` and data.
``FIX`` has what would keep it from happening, where that can be said. ``SEES`` says what the rule needs in a
trace beside events: operations, caches, or states of an exploration.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection

from emu.finding import Finding, Verdict
from emu.trace import Trace

RULES: dict[str, Callable[[Trace], list[Finding]]] = {}
SEES: dict[str, str] = {}
WORDS: dict[str, dict[str, str]] = {}
FIXES: dict[str, dict[str, str]] = {}

for _info in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_info.name}")
    _name: str = _module.NAME
    assert _name not in RULES, f"two rules named {_name}"
    RULES[_name] = _module.judge
    SEES[_name] = getattr(_module, "SEES", "events")
    WORDS[_name] = _module.WORDS
    FIXES[_name] = getattr(_module, "FIX", {})


def judge(trace: Trace, without: Collection[str] = ()) -> Verdict:
    """Let every rule but those ``without`` look at the trace."""
    return Verdict(
        tuple(
            finding
            for name, judge_one in RULES.items()
            if name not in without
            for finding in judge_one(trace)
        )
    )
