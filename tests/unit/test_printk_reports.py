"""What the log lines of a real kernel say of its CPUs."""

from __future__ import annotations

import pytest

from emu.host.printk import report_of, report_of_panic
from emu.operation import Report, Reported


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        ("CPU3: Booted secondary processor 0x0000000003 [0x410fd083]", Reported(Report.BOOTED, 3)),
        ("CPU12 failed to report alive state", Reported(Report.NOT_ALIVE, 12)),
        ("CPU1: failed to come online", Reported(Report.NOT_ONLINE, 1)),
        ("CPU1: failed to boot: -22", Reported(Report.FAILED, 1)),
        ("CPU1: failed in unknown state : 0x7", Reported(Report.FAILED, 1)),
        ("CPU1: is stuck in kernel", Reported(Report.STUCK, 1)),
        ("CPU1: does not support 52-bit VAs", Reported(Report.NO_52_BIT_VA, 1)),
        ("CPU1: does not support 16K granule", Reported(Report.NO_GRANULE, 1, 16)),
        ("CPU1: died during early boot", Reported(Report.DIED, 1)),
        ("CPU1: may not have shut down cleanly", Reported(Report.UNCLEAN, 1)),
        ("CPU1 may not have shut down cleanly: -110", Reported(Report.UNCLEAN, 1)),
        ("psci: CPU1 killed (polled 0 ms)", Reported(Report.KILLED, 1)),
        (
            "Unable to handle kernel write to read-only memory at virtual address ffff800080002090",
            Reported(Report.READ_ONLY, detail=0xFFFF_8000_8000_2090),
        ),
        ("psci: failed to boot CPU1 (-22)", None),
        ("CPU: All CPU(s) started at EL1", None),
        ("CPU1: will not boot", None),
    ],
)
def test_a_line_says_what_became_of_a_cpu(line: str, reported: Reported | None) -> None:
    """Linux v6.12 kernel/cpu.c, arch/arm64/kernel/smp.c, drivers/firmware/psci/psci.c."""
    assert report_of(line) == reported


def test_a_panic_may_be_about_a_cpu() -> None:
    """arch/arm64/kernel/smp.c, __cpu_up(); any other panic is of the CPU that panics."""
    configuration = "CPU5 detected unsupported configuration"
    assert report_of_panic(configuration) == Reported(Report.CPU_PANIC, 5)
    assert report_of_panic("Attempted to kill init!") == Reported(Report.PANIC)
