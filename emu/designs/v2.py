"""The kernel's own ``__cpu_logical_map`` instead of a second table, scanned with the MMU on.

Entries that are all ones belong to nobody and are skipped; a CPU without an entry parks in
``__secondary_too_slow``. The early status is still one word for all. Source: the v2 series of 18 June 2026.
"""

from __future__ import annotations

from emu.arch.mpidr import INVALID_HWID
from emu.designs import Design, fragments

NAME = "v2"
DESIGN = Design(
    name=NAME,
    fragments=fragments(early_status="global", lookup_mmu_on=("lookup/v2",), slot="slot/slot_per_cpu"),
    lookup_table="__cpu_logical_map",
    lookup_table_unused=INVALID_HWID,
    table_skips_boot_cpu=False,
    table_clean_to_poc=False,
    data_symbol="cpu_boot_data",
    data_per_cpu=True,
    context_id_pointer=False,
    early_status="global",
    parallel=True,
    decodes_failures=False,
    base="6.12",
    asks_boot_cpu=True,
)
