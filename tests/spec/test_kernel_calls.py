"""Kernels with a kick of their own: the kernel's C code writes the boot data and reads what failures
leave.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from booting import Run, run
from hypothesis import given
from hypothesis import strategies as st

from emu.host.printk import format_message
from emu.operation import Kind


def log_of(done: Run) -> list[str]:
    trace = done.boot.machine.trace
    return [trace.text_of(record) for record in trace if record.kind is Kind.LOG]


@pytest.mark.parametrize("el", [1, 2])
def test_split_kernel_is_kicked_by_its_own_function(real_kernel: Callable[[str], Path], el: int) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_SPLIT')} topology=flat:6 el={el}", record=True)
    assert done.boot.case.bringup == "split"
    assert done.messages == []
    assert done.outcomes == ["online"] * 6
    subject = done.boot.guest.subject
    task_pa = subject.pa("secondary_data")
    stores = (r for r in done.boot.machine.trace if r.kind is Kind.STORE and r.actor == 0)
    writers = {subject.symbols.describe(r.pc).split("+")[0] for r in stores if r.pa == task_pa}
    assert writers == {"arch_cpuhp_kick_ap_alive"}


def test_failure_is_told_in_the_kernels_own_words(real_kernel: Callable[[str], Path]) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_SPLIT')} topology=flat:4 fault=2:no-granule")
    lines = [line for line in log_of(done) if line.startswith("CPU2")]
    assert lines == [
        "CPU2 failed to report alive state",
        "CPU2: is stuck in kernel",
        "CPU2: does not support 4K granule",
    ]
    assert done.outcomes.count("online") == 3
    assert done.messages == []


def test_killed_and_panicking_cpus_are_told_by_the_kernel(real_kernel: Callable[[str], Path]) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_SPLIT')} topology=flat:4 fault=1:kill-me,3:panic")
    assert "psci: CPU1 killed (polled 0 ms)" in log_of(done)
    assert "CPU1: died during early boot" in log_of(done)
    assert log_of(done)[-1] == "Kernel panic - not syncing: CPU3 detected unsupported configuration"


def test_rfc_kernel_looks_every_secondary_up_in_parallel(real_kernel: Callable[[str], Path]) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_RFC')} topology=flat:16")
    assert done.boot.case.bringup == "parallel"
    assert done.messages == []
    assert done.outcomes == ["online"] * 16


def test_rfc_kernel_parks_a_secondary_of_hwid_0(real_kernel: Callable[[str], Path], tmp_path: Path) -> None:
    """The published patch's own defect, in a kernel built from it: entry 0 is never filled and matches hwid
    0.
    """
    topology = tmp_path / "kexec.json"
    topology.write_text('{"boot_cpu": 1, "cpus": [{"hwid": 0}, {"hwid": 1}, {"hwid": 2}]}')
    done = run(f"{real_kernel('EMU_KERNEL_RFC')} topology={topology}")
    assert done.messages[0].startswith("CPU1 never came to secondary_start_kernel")
    assert done.outcomes[2] == "online"


def test_rfc_kernel_loses_the_reason_of_a_failure(real_kernel: Callable[[str], Path]) -> None:
    done = run(f"{real_kernel('EMU_KERNEL_RFC')} topology=flat:6 fault=2:no-granule")
    assert any("its reason (the granule) was not reported" in message for message in done.messages)


@given(st.integers(-(2**31), 2**31 - 1))
def test_d_takes_32_signed_bits_of_the_register(value: int) -> None:
    assert format_message("%d", lambda: value % 2**64, str) == str(value)
    assert format_message("%d", lambda: value % 2**32 | 0xDEAD << 32, str) == str(value)


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("CPU%u: Booted 0x%010lx [0x%08x]", [3, 0x100, 0x410FD083], "CPU3: Booted 0x0000000100 [0x410fd083]"),
        ("%s is 100%%", [7], "<7> is 100%"),
        ("%luK", [2**40], f"{2**40}K"),
        ("%c%c", [65, 66], "AB"),
        ("%5d|%-5d|", [42, 42], "   42|42   |"),
    ],
)
def test_conversions_that_boot_messages_use(text: str, arguments: list[int], expected: str) -> None:
    left = iter(arguments)
    assert format_message(text, lambda: next(left), lambda va: f"<{va}>") == expected
