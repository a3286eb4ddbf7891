"""Where tables lie that the text leaves to us: ADR has to reach them, and nothing lies behind them."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.arch import boot
from emu.lookup.contract import Contract, Define, LookupTable
from emu.lookup.target import PAGE, Target, place
from emu.subject.fragment import load_source

TEXT = """/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "macros.inc"
find:   adr_l   x0, table
        adr_l   x1, other
found:
"""


def placed(folder: Path, count: str, nr_cpus: int = 4096) -> Target:
    path = folder / "user.S"
    path.write_text(TEXT)
    tables = (LookupTable("table", 8, count), LookupTable("other", 4, count, holds="sorted-cpu"))
    contract = Contract("user.S", "find", "found", "x19", defines={"NR_CPUS": Define(4096)}, tables=tables)
    return place(
        contract,
        lambda size, defines: load_source(path, nr_cpus=size, defines=defines),
        {"NR_CPUS": nr_cpus},
    )


@pytest.mark.parametrize("nr_cpus", [1, 4096])
def test_adr_reaches_the_tables_of_a_text(tmp_path: Path, nr_cpus: int) -> None:
    """ADR spans 1 MiB either way (Arm DDI 0487, C6.2.10)."""
    target = placed(tmp_path, "NR_CPUS", nr_cpus)
    assert all(abs(table.pa - boot.IMAGE_PA) < 1 << 20 for table in target.tables)
    first, second = target.tables
    assert first.bytes_at.stop % PAGE == second.bytes_at.stop % PAGE == 0
    assert second.pa - first.bytes_at.stop >= PAGE


def test_a_table_too_large_for_adr_lies_behind_the_code(tmp_path: Path) -> None:
    """It assembles no ADR, so the text has to load its address some other way."""
    path = tmp_path / "user.S"
    path.write_text("/* SPDX-License-Identifier: GPL-2.0-or-later */\nfind: mov x0, x1\nfound:\n")
    contract = Contract("user.S", "find", "found", "x19", tables=(LookupTable("table", 8, "1 << 20"),))
    target = place(contract, lambda size, defines: load_source(path, nr_cpus=size, defines=defines), {})
    assert target.tables[0].pa > boot.IMAGE_PA
    assert target.stack_top > target.tables[0].bytes_at.stop
