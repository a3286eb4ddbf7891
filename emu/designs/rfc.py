"""A table of its own, ``__mpidr_to_cpuid_table``, scanned with the MMU on; a slot per CPU.

The table lies in BSS and is filled for logical CPUs 1 onwards, so entry 0 stays 0 and matches hwid 0. A CPU
without an entry branches to itself for ever. Source: the RFC series of 11 June 2026.
"""

from __future__ import annotations

from emu.designs import Design, fragments

NAME = "rfc"
DESIGN = Design(
    name=NAME,
    fragments=fragments(early_status="global", lookup_mmu_on=("lookup/rfc",), slot="slot/slot_per_cpu"),
    lookup_table="__mpidr_to_cpuid_table",
    lookup_table_unused=0,
    table_skips_boot_cpu=True,
    table_clean_to_poc=False,
    data_symbol="cpu_boot_data",
    data_per_cpu=True,
    context_id_pointer=False,
    early_status="global",
    parallel=True,
    decodes_failures=False,
    base="6.12",
    data_read_only_after_init=True,
    forgets_refused=False,
)
