"""Look-ups that tests write: one table, __cpu_logical_map, and the index in X19; their contracts as TOML."""

from __future__ import annotations

from collections.abc import Iterable

# How they begin, with the hwid in X0; and how a round of a scan ends, with the entry in X3.
HWID = """find:
        mrs     x0, mpidr_el1
        movz    x2, #0xffff
        movk    x2, #0x00ff, lsl #16
        movk    x2, #0x00ff, lsl #32
        and     x0, x0, x2
"""
NEXT = """        cmp     x3, x0
        b.eq    found
        add     x19, x19, #1
        cmp     x19, #NR_CPUS
        b.lo    1b
missing:
        b       missing
found:  nop
"""


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
