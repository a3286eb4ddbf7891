"""Contracts of look-ups that tests write: one table, __cpu_logical_map, and the index in X19."""

from __future__ import annotations

from collections.abc import Iterable


def contract_toml(may_change: Iterable[int], *, nr_cpus: str = "2", lookup: str = "", table: str = "") -> str:
    """Return a contract as TOML.

    :param may_change: numbers of the registers that the look-up may change
    :param nr_cpus: the value of NR_CPUS
    :param lookup: further lines of the table ``lookup``; ``table``: of the table in memory
    """
    changed = ", ".join(f'"x{number}"' for number in may_change)
    lines = [
        "[lookup]",
        'entry = "find"',
        'found = "found"',
        'missing = "missing"',
        'index = "x19"',
        f"may_change = [{changed}]",
        *lookup.splitlines(),
        "[defines]",
        f"NR_CPUS = {nr_cpus}",
        "[[table]]",
        'symbol = "__cpu_logical_map"',
        *table.splitlines(),
    ]
    return "".join(f"{line}\n" for line in lines)
