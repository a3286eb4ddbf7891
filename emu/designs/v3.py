"""The v2 scan moved in front of the MMU switch, so that a failing CPU can say who it is.

``secondary_startup`` scans ``__cpu_logical_map`` with the MMU off: the CPU that writes the map cleans it to
the PoC. The early status is a word per CPU, never cleared. Source: the v3 series of 24 June 2026.
"""

from __future__ import annotations

from emu.arch.mpidr import INVALID_HWID
from emu.designs import Design, fragments

NAME = "v3"
DESIGN = Design(
    name=NAME,
    fragments=fragments(early_status="per_cpu", lookup_mmu_off=("lookup/v3",), slot="slot/slot_per_cpu"),
    lookup_table="__cpu_logical_map",
    lookup_table_unused=INVALID_HWID,
    table_skips_boot_cpu=False,
    table_clean_to_poc=True,
    data_symbol="cpu_boot_data",
    data_per_cpu=True,
    context_id_pointer=False,
    early_status="per_cpu",
    parallel=True,
    decodes_failures=True,
    base="v3",
)
