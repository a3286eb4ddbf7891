"""One global ``secondary_data``: the boot CPU fills it, kicks one CPU and waits for it.

No look-up is needed, since only one secondary is under way at a time. The early status is one word that
every passing CPU zeroes. Source: Linux v6.12 (17 November 2024), arch/arm64/kernel/head.S and smp.c.
"""

from __future__ import annotations

from emu.arch.mpidr import INVALID_HWID
from emu.designs import Design, fragments

NAME = "mainline"
DESIGN = Design(
    name=NAME,
    fragments=fragments(early_status="global", slot="slot/slot_global"),
    lookup_table=None,
    lookup_table_unused=INVALID_HWID,
    table_skips_boot_cpu=False,
    table_clean_to_poc=False,
    data_symbol="secondary_data",
    data_per_cpu=False,
    context_id_pointer=False,
    early_status="global",
    parallel=False,
    decodes_failures=True,
    base="6.12",
    split=False,
)
