"""Less than one drawn access in fifty to a system register is of one that emu does not model."""

from __future__ import annotations

import pytest
from reference.cores import COMPARED
from reference.untestable import measure

from emu.cpu.sysregs import debug
from emu.cpu.sysregs.rows import TABLE

COUNT = 1500
MOST_PERCENT = 2.0


@pytest.mark.parametrize("cpu", COMPARED)
def test_few_accesses_are_untestable(cpu: str) -> None:
    share = measure(cpu, COUNT)
    assert share.percent < MOST_PERCENT, share.untestable.most_common()


def test_registers_that_are_taken_from_the_table_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the debug communication channel and claim tags alone are more than the bar."""
    unmodelled = COMPARED["cortex-a72"].core.unmodelled
    assert isinstance(unmodelled, dict)
    for row in debug.ROWS:
        if row.by_host:
            monkeypatch.delitem(TABLE, row.encoding)
            monkeypatch.setitem(unmodelled, row.encoding, row.name)
    share = measure("cortex-a72", COUNT)
    assert share.percent > MOST_PERCENT
    assert any("DBGCLAIMSET_EL1" in what for what in share.untestable)
