"""No look-up: the PSCI context ID is a pointer to the CPU's own ``struct secondary_data``.

A CPU that gets 0 (spin-table, or firmware that loses it) falls back to the global ``secondary_data``. The
early status has a byte per failure reason, shared by all CPUs. Source: the arm64 maintainer's branch that
the v2 discussion of June 2026 points to.
"""

from __future__ import annotations

from emu.arch.mpidr import INVALID_HWID
from emu.designs import Design, fragments

NAME = "context-id"
DESIGN = Design(
    name=NAME,
    fragments=fragments(
        early_status="per_reason", entry="boot/context_id/secondary_entry", slot="slot/slot_pointer"
    ),
    lookup_table=None,
    lookup_table_unused=INVALID_HWID,
    table_skips_boot_cpu=False,
    table_clean_to_poc=False,
    data_symbol="cpu_boot_data",
    data_per_cpu=True,
    context_id_pointer=True,
    early_status="per_reason",
    parallel=True,
    decodes_failures=True,
    base="v3",
)
